"""What repair() brings back, what it cannot, and that it says so."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.volumes import (
    COPIES,
    Contents,
    all_good,
    assert_holds,
    assert_writable,
    compact_all,
    files_of,
    seeded,
    segment_folder,
    until,
)

import aurora_engine as aurora
from aurora_engine.volume.members import Driver, copy_segment
from aurora_engine.volume.messages import Promise, Truncate
from aurora_engine.volume.volume import Volume

RECORDS = {b"%06d" % number: b"value %d" % (number * 7919) for number in range(60_000)}


@pytest.fixture
def compacted(tmp_path: Path) -> Path:
    """A volume whose copies hold everything in a base layer, which is the same in all of them."""
    path = tmp_path / "volume"

    def is_alike() -> bool:
        compact_all(db)
        return len({_contents(path, copy) for copy in range(COPIES)}) == 1

    with aurora.open(path) as db:
        db.put_many(RECORDS)
        until(is_alike, "every copy has the same layers", 30)
    return path


def _contents(path: Path, copy: int) -> tuple[bytes, ...]:
    return tuple(layer.read_bytes() for layer in _large_layers(path, copy))


def _large_layers(path: Path, copy: int) -> list[Path]:
    """The base, and deltas of about its size: which one serves the head is not known here."""
    layers = [f for f in files_of(segment_folder(path, copy)) if f.name.startswith("layer-")]
    largest = max(layer.stat().st_size for layer in layers)
    return sorted(layer for layer in layers if layer.stat().st_size > largest // 4)


def flip_some(path: Path, copies: range) -> None:
    """Flips a byte at each eighth of each large layer, the same ones in each of ``copies``.

    Some are of pages as they are now, others of records that only the past needs.
    """
    for copy in copies:
        for layer in _large_layers(path, copy):
            with layer.open("r+b") as stream:
                for eighth in range(1, 8):
                    stream.seek(layer.stat().st_size * eighth // 8)
                    byte = stream.read(1)[0]
                    stream.seek(-1, 1)
                    stream.write(bytes([byte ^ 0xFF]))


@pytest.mark.parametrize("damaged", [4, 5])
def test_the_same_damage_is_repaired_while_one_copy_is_whole(compacted: Path, damaged: int) -> None:
    flip_some(compacted, range(damaged))
    with aurora.open(compacted) as db:
        assert dict(db.scan()) == RECORDS
        report = db.verify()
        assert {error.copy for error in report.errors} == set(range(damaged))
        db.repair()
        assert db.verify().ok
        assert all_good(db)
        assert dict(db.scan()) == RECORDS


def test_a_progress_that_raises_leaves_nothing_behind(volume: tuple[Path, Contents]) -> None:
    path, contents = volume

    def failing(_done: int, _total: int) -> bool:
        raise ZeroDivisionError

    with aurora.open(path) as db:
        shutil.rmtree(segment_folder(path, 3))
        with pytest.raises(ZeroDivisionError):
            db.repair(progress=failing)
        assert not list(path.rglob("*.rebuild"))
        db.repair()
        assert all_good(db)
        assert_holds(db, contents)


@pytest.mark.parametrize("damaged", [1, 5])
def test_a_copy_is_rebuilt_though_peers_have_damage_that_nobody_has_met(
    compacted: Path, damaged: int
) -> None:
    flip_some(compacted, range(damaged))
    shutil.rmtree(segment_folder(compacted, 5) if damaged < 5 else segment_folder(compacted, 0))
    with aurora.open(compacted) as db:
        db.repair()
        assert all_good(db)
        assert db.verify().ok
        assert dict(db.scan()) == RECORDS


def test_a_copy_is_rebuilt_though_a_peer_cannot_be_read(
    volume: tuple[Path, Contents], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, contents = volume
    sources = []

    def copy(layout: Any, place: Any, source: Any, progress: Any) -> Path:
        sources.append(source.state().identity.copy)
        if len(sources) > 1:
            return copy_segment(layout, place, source, progress)
        error = aurora.StorageIOError(errno.EIO, "planted")
        error.group, error.copy = 0, sources[0]
        raise error

    shutil.rmtree(segment_folder(path, 5))
    with aurora.open(path) as db:
        monkeypatch.setattr("aurora_engine.volume.volume.copy_segment", copy)
        db.repair()
        assert all_good(db)
        assert len(sources) == 2
        assert_holds(db, contents)


def test_a_rebuilt_copy_is_in_its_place_for_good(
    volume: tuple[Path, Contents], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts towards a quorum from then on, so a power cut must not bring back the old one."""
    path, contents = volume
    folder = segment_folder(path, 5)
    fsync = os.fsync
    synced = []

    def note(descriptor: int) -> None:
        fsync(descriptor)
        synced.append((os.fstat(descriptor).st_ino, folder.exists()))

    shutil.rmtree(folder)
    with aurora.open(path) as db:
        monkeypatch.setattr(os, "fsync", note)
        db.repair()
        assert (folder.parent.stat().st_ino, True) in synced
        assert all_good(db)
        assert_holds(db, contents)


def test_a_rebuild_that_was_cut_short_leaves_nothing_for_ever(
    volume: tuple[Path, Contents],
) -> None:
    path, contents = volume
    folder = segment_folder(path, 5)
    remains = [folder.with_name(folder.name + suffix) for suffix in (".rebuild", ".retired")]
    for each in remains:
        shutil.copytree(segment_folder(path, 4), each)
    with aurora.open(path) as db:
        assert not any(each.exists() for each in remains)
        assert all_good(db)
        assert_holds(db, contents)


@pytest.mark.parametrize("action", [Promise, Truncate])
def test_a_copy_whose_disk_fails_in_a_recovery_is_made_anew(
    volume: tuple[Path, Contents], monkeypatch: pytest.MonkeyPatch, action: type
) -> None:
    """Nobody knows what the medium holds of what was written last."""
    path, contents = volume
    folder = segment_folder(path, 5)
    before = folder.stat().st_ino
    carry_out = Driver._carry_out

    def fail(self: Driver, asked: Any) -> Any:
        if isinstance(asked, action) and asked.place == (0, 5):
            raise aurora.StorageIOError(errno.EIO, "planted")
        return carry_out(self, asked)

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "_carry_out", fail)
        db = aurora.open(path)
    with db:
        until(lambda: all_good(db), "it is made anew", 30)
        assert folder.stat().st_ino != before
        assert_holds(db, contents)


def test_a_copy_whose_disk_fails_as_it_comes_back_is_made_anew(
    volume: tuple[Path, Contents], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, contents = volume
    folder = segment_folder(path, 5)
    before = folder.stat().st_ino
    failed = threading.Event()
    carry_out = Driver._carry_out

    def fail(self: Driver, asked: Any) -> Any:
        if isinstance(asked, Promise):
            failed.set()
            raise aurora.StorageIOError(errno.EIO, "planted")
        return carry_out(self, asked)

    with aurora.open(path) as db:
        folder.rename(tmp_path / "away")
        until(lambda: not all_good(db), "it is missed")
        with monkeypatch.context() as patch:
            patch.setattr(Driver, "_carry_out", fail)
            (tmp_path / "away").rename(folder)
            assert failed.wait(10)
        until(lambda: all_good(db), "it is made anew", 30)
        assert folder.stat().st_ino != before
        assert_holds(db, contents)


def test_the_same_damage_on_every_copy_costs_its_pages_alone(compacted: Path) -> None:
    flip_some(compacted, range(COPIES))
    with aurora.open(compacted) as db:
        lost = set()
        for key, value in RECORDS.items():
            try:
                assert db[key] == value
            except aurora.CorruptionError as error:
                assert "layer-" in f"{error.file}{error}"
                lost.add(key)
        assert 0 < len(lost) < len(RECORDS) // 10
        assert not db.verify().ok
        with pytest.raises(aurora.CorruptionError, match="no copy of protection group 0 is whole"):
            db.repair()
        # Everything else goes on as before.
        db[b"new"] = b"value"
        kept = RECORDS.keys() - lost
        assert db.get_many(sorted(kept)) == [RECORDS[key] for key in sorted(kept)]
        before = b"%06d" % (int(min(lost)) - 500)  # in an earlier page
        assert dict(db.scan(stop=before)) == {k: v for k, v in RECORDS.items() if k < before}
        assert dict(db.scan(start=max(kept))) == {max(kept): RECORDS[max(kept)], b"new": b"value"}
        with pytest.raises(aurora.CorruptionError):
            list(db.scan())


def test_a_copy_that_cannot_be_rebuilt_hinders_no_other(
    volume: tuple[Path, Contents],
) -> None:
    path, contents = volume
    shutil.rmtree(path / "a")
    (path / "a").write_bytes(b"not a folder")
    with aurora.open(path) as db:
        shutil.rmtree(segment_folder(path, 5))
        with pytest.raises(aurora.StorageIOError, match="/a"):
            db.repair()
        assert {s.copy for s in db.status().segments if s.state == "ok"} == {2, 3, 4, 5}
        assert_writable(db, contents, b"four")
        (path / "a").unlink()
        db.repair()
        until(lambda: all_good(db), "all six are there")
        assert_holds(db, contents)
        assert db.verify().ok


def test_a_rebuild_ends_in_step_with_a_busy_writer(tmp_path: Path) -> None:
    """What is written while the layers are copied is more than any log reaches back."""
    path = tmp_path / "volume"
    batches = [{b"%06d" % key: os.urandom(1000) for key in range(n, 40_000, 40)} for n in range(40)]
    left = list(batches)
    with aurora.open(path) as db:
        for batch in batches:
            db.put_many(dict.fromkeys(batch, os.urandom(1000)))
        db.compact()

        def write(done: int, total: int) -> bool:
            if left:
                db.put_many(left.pop())
            return True

        shutil.rmtree(segment_folder(path, 5))
        db.repair(progress=write)
        assert not left
        assert all_good(db)
        assert db.verify().ok
        db.put(b"after", b"it")
    for copy in range(3):
        shutil.rmtree(segment_folder(path, copy))
    with aurora.open(path) as db:
        written = {key: value for batch in batches for key, value in batch.items()}
        assert dict(db.scan()) == written | {b"after": b"it"}


@pytest.mark.parametrize("reason", [aurora.VolumeFullError("planted"), None])
def test_a_recovery_in_place_that_is_of_no_use_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: aurora.AuroraError | None
) -> None:
    """Its reason is raised, and it is not begun over and over again."""
    attempts = 0

    def in_vain(self: Any) -> Any:
        nonlocal attempts
        attempts += 1
        recovered = recover(self)
        if reason is not None:
            for copy in (3, 4, 5):
                self._drop((0, copy))
                self._copies.errors[0, copy] = reason
        return replace(recovered, writable=False)

    with aurora.open(tmp_path / "volume") as db:
        db[b"k"] = b"v"
    for copy in range(3):
        shutil.rmtree(segment_folder(tmp_path / "volume", copy))
    with aurora.open(tmp_path / "volume") as db:
        db._volume._monitor.stop()  # it tries on its own
        recover = Volume._recover_and_rebuild
        with monkeypatch.context() as patch:
            patch.setattr(Volume, "_recover_and_rebuild", in_vain)
            with pytest.raises(type(reason) if reason else aurora.QuorumLostError):
                db.repair()
            assert attempts == 1
            assert db[b"k"] == b"v"
        db.repair()
        db[b"k"] = b"x"
        until(lambda: all_good(db), "all copies are good")


def test_every_copy_goes_away_and_comes_back(volume: tuple[Path, Contents], tmp_path: Path) -> None:
    """With no copy left to ask, what the engine knows of the volume's history is enough."""
    path, contents = volume
    with aurora.open(path) as db:
        assert_writable(db, contents, b"before")
        for copy in range(COPIES):
            segment_folder(path, copy).rename(tmp_path / f"away {copy}")
        assert not any(s.state == "ok" for s in db.status().segments)
        with pytest.raises(aurora.QuorumLostError, match="no copy of protection group 0 is left"):
            db.repair()
        for copy in range(COPIES):
            (tmp_path / f"away {copy}").rename(segment_folder(path, copy))
        until(lambda: all_good(db), "all six are back, without being asked", seconds=20)
        assert_writable(db, contents, b"after")
        assert_holds(db, contents)
    with aurora.open(path) as db:
        assert_holds(db, contents)
        assert db.verify().ok


def test_compacting_hinders_nothing(tmp_path: Path) -> None:
    """The volume grows, goes back, loses copies and gets them back while it is compacted."""
    rng = seeded("compacting")
    path = tmp_path / "volume"
    contents: dict[bytes, bytes] = {}
    stop = threading.Event()
    compactions = 0
    with aurora.open(path, protection_group_bytes=64 * 8192) as db:

        def compact() -> None:
            nonlocal compactions
            while not stop.is_set():
                db.compact()
                compactions += 1

        compacting = ThreadPoolExecutor(1).submit(compact)
        try:
            for _ in range(25):
                before, lsn = dict(contents), db.durable_lsn
                pairs = {b"%05d" % rng.randrange(5000): rng.randbytes(200) for _ in range(500)}
                db.put_many(pairs)
                contents |= pairs
                if rng.random() < 0.2:
                    db.backtrack(lsn)
                    contents = before
                if rng.random() < 0.3:
                    group = rng.randrange(db.status().protection_groups)
                    shutil.rmtree(segment_folder(path, rng.randrange(COPIES), group), True)
                    db.verify()
                    db.repair()
        finally:
            stop.set()
            compacting.result()
        assert compactions > 3
        assert dict(db.scan()) == contents
        db.repair()
        until(lambda: all_good(db), "all are good", seconds=10)
        assert db.verify().ok
    with aurora.open(path) as db:
        assert dict(db.scan()) == contents
        assert db.verify().ok
