"""Copies lost or damaged while the database is closed: any 2 hinder nothing, any 3 stop writes."""

from __future__ import annotations

import contextlib
import shutil
from itertools import combinations
from pathlib import Path

import pytest
from tests.volumes import (
    COPIES,
    DAMAGES,
    Contents,
    all_good,
    assert_holds,
    assert_writable,
    files_of,
    flip_bytes,
    named_damage,
    seeded,
    segment_folder,
    until,
)

import aurora_engine as aurora

PAIRS = list(combinations(range(COPIES), 2))
TRIPLES = list(combinations(range(COPIES), 3))


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("damage", DAMAGES)
def test_any_two_copies(volume: tuple[Path, Contents], pair: tuple[int, int], damage: str) -> None:
    path, contents = volume
    rng = seeded(f"{damage} {pair}")
    for copy in pair:
        DAMAGES[damage](segment_folder(path, copy), rng)
    with aurora.open(path) as db:
        named = named_damage(db)
        assert_holds(db, contents)
        assert_writable(db, contents, b"two")
        assert named == {str(segment_folder(path, copy)) for copy in pair}
        db.repair()
        assert named_damage(db) == set()
        assert_holds(db, contents)
    # What was rebuilt carries the volume without the copies that it was rebuilt from.
    for copy in set(range(COPIES)) - set(pair) - {min(set(range(COPIES)) - set(pair))}:
        shutil.rmtree(segment_folder(path, copy))
    with aurora.open(path) as db:
        assert_holds(db, contents)


@pytest.mark.parametrize("round_number", range(20))
def test_one_file_of_each_of_two_copies(volume: tuple[Path, Contents], round_number: int) -> None:
    """A file that is cut short or flipped in each of two copies hides and stops nothing."""
    path, contents = volume
    rng = seeded(f"one file {round_number}")
    for copy in rng.sample(range(COPIES), 2):
        file = rng.choice(files_of(segment_folder(path, copy)))
        if rng.random() < 0.5:
            with file.open("r+b") as stream:
                stream.truncate(rng.randrange(file.stat().st_size))
        else:
            flip_bytes(file, rng, count=rng.randrange(5))
    for mark in (b"first", b"second"):
        with aurora.open(path) as db:
            assert_holds(db, contents)
            assert_writable(db, contents, mark)
            db.verify()
            db.repair()
            assert db.verify().ok
            assert_holds(db, contents)


@pytest.mark.parametrize("triple", TRIPLES, ids=str)
@pytest.mark.parametrize("damage", ["removed", "emptied"])
def test_any_three_copies(
    volume: tuple[Path, Contents], triple: tuple[int, int, int], damage: str
) -> None:
    path, contents = volume
    for copy in triple:
        DAMAGES[damage](segment_folder(path, copy), seeded(damage))
    with aurora.open(path) as db:
        assert_holds(db, contents)
        status = db.status()
        assert not status.writable
        assert isinstance(status.write_error, aurora.QuorumLostError)
        assert sum(s.state == "failed" for s in status.segments) == 3
        for write in (
            lambda: db.put(b"k", b"v"),
            lambda: db.delete(min(contents.main)),
            lambda: db.put_many([(b"k", b"v")]),
            lambda: db.transact(lambda txn: txn.put(b"k", b"v")),
            lambda: db.table("another"),
        ):
            with pytest.raises(aurora.QuorumLostError):
                write()
        assert_holds(db, contents)
        with db.snapshot() as view:
            assert len(view) == len(contents.main)
        assert db.tables() == ["side table"]
        db.repair()
        assert db.status().writable
        assert_writable(db, contents, b"three")
        assert_holds(db, contents)
        assert named_damage(db) == set()
    with aurora.open(path) as db:
        assert_holds(db, contents)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_three_damaged_copies_lose_nothing(volume: tuple[Path, Contents], damage: str) -> None:
    path, contents = volume
    rng = seeded(f"three {damage}")
    for copy in rng.sample(range(COPIES), 3):
        DAMAGES[damage](segment_folder(path, copy), rng)
    with aurora.open(path) as db:
        assert_holds(db, contents)
        assert len(named_damage(db)) == 3
        db.repair()
        assert_writable(db, contents, b"three")
        assert_holds(db, contents)
        assert db.verify().ok


@pytest.mark.parametrize("triple", TRIPLES[::5], ids=str)
def test_a_fourth_copy_comes_back(
    volume: tuple[Path, Contents], triple: tuple[int, int, int], tmp_path: Path
) -> None:
    """Three folders moved away, one moved back while the database is open: writes go on."""
    path, contents = volume
    for copy in triple:
        segment_folder(path, copy).rename(tmp_path / f"away {copy}")
    with aurora.open(path) as db:
        with pytest.raises(aurora.QuorumLostError):
            db.put(b"k", b"v")
        assert_holds(db, contents)
        (tmp_path / f"away {triple[1]}").rename(segment_folder(path, triple[1]))
        assert_writable(db, contents, b"back")
        assert_holds(db, contents)
    # The two others come back while it is closed: they missed writes, and catch up.
    for copy in (triple[0], triple[2]):
        (tmp_path / f"away {copy}").rename(segment_folder(path, copy))
    with aurora.open(path) as db:
        assert_holds(db, contents)
        assert_writable(db, contents, b"all")
        db.repair()
        until(lambda: all_good(db), "all copies are good")
        assert db.verify().ok
    for copy in set(range(COPIES)) - set(triple):
        shutil.rmtree(segment_folder(path, copy))
    with aurora.open(path) as db:
        assert_holds(db, contents)


@pytest.mark.parametrize("count", [4, 5, 6])
@pytest.mark.parametrize("damage", ["removed", "emptied"])
def test_four_lost_copies_are_an_error(
    volume: tuple[Path, Contents], count: int, damage: str, tmp_path: Path
) -> None:
    path, contents = volume
    rng = seeded(f"four {damage} {count}")
    lost = rng.sample(range(COPIES), count)
    for copy in lost:
        shutil.copytree(segment_folder(path, copy), tmp_path / f"kept {copy}")
        DAMAGES[damage](segment_folder(path, copy), rng)
    for create in (False, True):
        with pytest.raises(aurora.QuorumLostError, match=f"only {COPIES - count} of 6"):
            aurora.open(path, create=create)
    # The refusal changed nothing: with the copies back, all is there.
    for copy in lost:
        shutil.rmtree(segment_folder(path, copy), ignore_errors=True)
        (tmp_path / f"kept {copy}").rename(segment_folder(path, copy))
    with aurora.open(path) as db:
        assert_holds(db, contents)
        assert_writable(db, contents, b"back")


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
@pytest.mark.parametrize("count", [4, 5, 6])
def test_four_damaged_copies_give_no_wrong_data(
    volume: tuple[Path, Contents], count: int, damage: str
) -> None:
    """Beyond what the quorum covers: what is returned is right, all else is an error."""
    path, contents = volume
    rng = seeded(f"{count} {damage}")
    for copy in rng.sample(range(COPIES), count):
        DAMAGES[damage](segment_folder(path, copy), rng)
    with (
        contextlib.suppress(aurora.CorruptionError, aurora.QuorumLostError),
        aurora.open(path) as db,
    ):
        for key, value in contents.main.items():
            with contextlib.suppress(aurora.CorruptionError, aurora.QuorumLostError):
                assert db.get(key, value) == value
        for key, value in db.scan():
            assert contents.main[key] == value
