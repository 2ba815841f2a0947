"""Directories with no volume, half of one, or parts of another: an error, never wrong data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.volumes import (
    COPIES,
    Contents,
    all_good,
    assert_holds,
    assert_writable,
    flip_bytes,
    seeded,
    segment_folder,
    until,
)

import aurora_engine as aurora


def assert_fine(path: Path, contents: Contents) -> None:
    with aurora.open(path) as db:
        assert_holds(db, contents)
        assert_writable(db, contents, b"fine")


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("name", ["photo.jpg", "a/photo.jpg", "group-00000-copy-0/manifest"])
def test_foreign_directory(tmp_path: Path, create: bool, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"not ours")
    with pytest.raises(aurora.CorruptionError, match=str(tmp_path)):
        aurora.open(tmp_path, create=create)
    assert (tmp_path / name).read_bytes() == b"not ours"
    assert len(list(tmp_path.iterdir())) == 1


def test_paths_that_cannot_hold_a_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(aurora.StorageIOError, match="missing"):
        aurora.open(tmp_path / "missing", create=False)
    assert not (tmp_path / "missing").exists()
    with pytest.raises(aurora.StorageIOError, match="no volume"):
        aurora.open(tmp_path, create=False)
    file = tmp_path / "file"
    file.write_bytes(b"x")
    for path in (file, file / "below"):
        with pytest.raises(aurora.StorageIOError, match="file"):
            aurora.open(path)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(aurora.StorageIOError):
        aurora.open(dangling, create=False)
    with pytest.raises(ValueError, match="null byte"):
        aurora.open("null\0byte")
    monkeypatch.chdir(tmp_path)
    for nothing in ("", b""):
        with pytest.raises(ValueError, match="path of a volume is empty"):
            aurora.open(nothing)
    with pytest.raises(TypeError):
        aurora.open(17)  # type: ignore[arg-type]


@pytest.mark.parametrize("made", range(COPIES + 1))
def test_creation_that_was_cut_short(volume: tuple[Path, Contents], made: int) -> None:
    """With some segments made and no metadata yet, create begins anew; without it is an error."""
    path, _ = volume
    metadata = json.loads((path / "volume.json").read_text())
    (path / "volume.creating").write_text(metadata["volume_id"])
    for file in path.rglob("volume.json"):
        file.unlink()
    for copy in range(made, COPIES):
        shutil.rmtree(segment_folder(path, copy))
    if made:
        (segment_folder(path, 0) / "manifest").write_bytes(b"half")
    with pytest.raises(aurora.StorageIOError, match="no volume"):
        aurora.open(path, create=False)
    assert_fine_and_empty(path)


def assert_fine_and_empty(path: Path) -> None:
    with aurora.open(path) as db:
        assert len(db) == 0
        assert db.tables() == []
        db.put(b"k", b"v")
        assert db.verify().ok
    assert not (path / "volume.creating").exists()
    with aurora.open(path, create=False) as db:
        assert db[b"k"] == b"v"


def test_creation_that_was_cut_short_while_noting_it(tmp_path: Path) -> None:
    (tmp_path / "LOCK").write_bytes(b"")
    (tmp_path / "volume.creating.replacing").write_bytes(b"0123")
    with pytest.raises(aurora.StorageIOError, match="no volume"):
        aurora.open(tmp_path, create=False)
    assert_fine_and_empty(tmp_path)


def test_creation_that_had_only_its_note_left(volume: tuple[Path, Contents]) -> None:
    """Killed between the metadata and the end of the creation: the volume counts."""
    path, contents = volume
    metadata = json.loads((path / "volume.json").read_text())
    (path / "volume.creating").write_text(metadata["volume_id"])
    assert_fine(path, contents)


DAMAGED_METADATA: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "emptied": lambda file: file.write_bytes(b""),
    "no json": lambda file: file.write_bytes(b"\xff\x00{"),
    "other json": lambda file: file.write_bytes(b"[1, 2]"),
    "number": lambda file: file.write_bytes(b"7"),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-40]),
    "edited": lambda file: file.write_bytes(
        file.read_bytes().replace(b'"page_bytes":8192', b'"page_bytes":4096')
    ),
    "flipped": lambda file: flip_bytes(file, seeded("metadata"), 5),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGED_METADATA)
def test_metadata_lost_in_one_place(volume: tuple[Path, Contents], damage: str) -> None:
    path, contents = volume
    DAMAGED_METADATA[damage](path / "volume.json")
    assert_fine(path, contents)
    DAMAGED_METADATA[damage](path / "a" / "volume.json")
    assert_fine(path, contents)


@pytest.mark.parametrize("damage", DAMAGED_METADATA)
def test_metadata_lost_everywhere(volume: tuple[Path, Contents], damage: str) -> None:
    path, contents = volume
    kept = (path / "volume.json").read_bytes()
    for file in [path / "volume.json", *path.glob("*/volume.json")]:
        DAMAGED_METADATA[damage](file)
    for create in (False, True):
        with pytest.raises(aurora.AuroraError, match=r"volume"):
            aurora.open(path, create=create)
    if (path / "volume.json").is_dir():
        (path / "volume.json").rmdir()
    (path / "volume.json").write_bytes(kept)
    assert_fine(path, contents)


def test_metadata_of_a_later_release(volume: tuple[Path, Contents]) -> None:
    from aurora_engine._ext.frame import checksum

    path, _ = volume
    for file in [path / "volume.json", *path.glob("*/volume.json")]:
        fields = json.loads(file.read_text()) | {"format_version": 2}
        del fields["checksum"]
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        fields["checksum"] = f"{checksum(canonical.encode()):016x}"
        file.write_text(json.dumps(fields, sort_keys=True, separators=(",", ":")) + "\n")
    with pytest.raises(aurora.VersionError, match="upgrade"):
        aurora.open(path)


@pytest.mark.parametrize("swapped", [1, 2, 3, 4, 6])
def test_segments_of_another_volume(
    volume: tuple[Path, Contents], swapped: int, tmp_path: Path
) -> None:
    path, contents = volume
    other = tmp_path / "other"
    with aurora.open(other) as db:
        db.put_many(dict.fromkeys(contents.main, b"wrong"))
    for copy in range(swapped):
        shutil.rmtree(segment_folder(path, copy))
        shutil.copytree(segment_folder(other, copy), segment_folder(path, copy))
    if swapped > 3:
        with pytest.raises(aurora.QuorumLostError, match="another volume"):
            aurora.open(path)
        return
    with aurora.open(path) as db:
        assert_holds(db, contents)
        bad = [s for s in db.status().segments if s.state != "ok"]
        assert [s.copy for s in bad] == list(range(swapped))
        assert all(isinstance(s.error, aurora.CorruptionError) for s in bad)
        db.repair()
        assert_writable(db, contents, b"repaired")
        assert_holds(db, contents)
        assert db.verify().ok


def test_two_copies_changed_places(volume: tuple[Path, Contents], tmp_path: Path) -> None:
    """A folder says which copy it is; in another's place it is not believed."""
    path, contents = volume
    first, second = segment_folder(path, 0), segment_folder(path, 5)
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    with aurora.open(path) as db:
        assert_holds(db, contents)
        assert {s.copy for s in db.status().segments if s.state != "ok"} == {0, 5}
        db.repair()
        assert_writable(db, contents, b"repaired")
        assert db.verify().ok


def test_an_old_copy_of_a_folder_comes_back(volume: tuple[Path, Contents], tmp_path: Path) -> None:
    """Two folders put back from an old backup: valid, but behind. They catch up or are rebuilt."""
    path, contents = volume
    for copy in (0, 3):
        shutil.copytree(segment_folder(path, copy), tmp_path / f"old {copy}")
    with aurora.open(path) as db:
        for number in range(300):
            contents.main[b"newer %d" % number] = b"x" * 500
            db.put(b"newer %d" % number, b"x" * 500)
        db.compact()
    for copy in (0, 3):
        shutil.rmtree(segment_folder(path, copy))
        (tmp_path / f"old {copy}").rename(segment_folder(path, copy))
    with aurora.open(path) as db:
        assert_holds(db, contents)
        assert_writable(db, contents, b"old")
        db.repair()
        until(lambda: all_good(db), "all copies are good")
        assert db.verify().ok
    for copy in (1, 2, 4):
        shutil.rmtree(segment_folder(path, copy))
    with aurora.open(path) as db:
        assert_holds(db, contents)


def test_leftovers_of_a_repair_are_ignored(volume: tuple[Path, Contents]) -> None:
    path, contents = volume
    folder = segment_folder(path, 2)
    shutil.copytree(folder, folder.with_name(folder.name + ".rebuild"))
    (folder.with_name(folder.name + ".rebuild") / "manifest").write_bytes(b"half")
    folder.rename(folder.with_name(folder.name + ".retired"))
    with aurora.open(path) as db:
        assert_holds(db, contents)
        assert [s.copy for s in db.status().segments if s.state != "ok"] == [2]
        db.repair()
        assert_writable(db, contents, b"repaired")
        assert db.verify().ok


def test_log_extents_that_were_being_made(volume: tuple[Path, Contents]) -> None:
    """Killed before a new log file had its header, or a recycled one its new header: no damage."""
    path, contents = volume
    for copy in range(COPIES):
        folder = segment_folder(path, copy)
        first = min(folder.glob("log-*"))
        (folder / f"log-{0xFE:016x}").write_bytes(bytes(1 << 20))
        shutil.copy(first, folder / f"log-{0xFF:016x}")
        (folder / f"log-{0x100:016x}").write_bytes(b"")
    for _ in range(2):
        with aurora.open(path) as db:
            assert_holds(db, contents)
            report = db.verify()
            assert report.ok, report
            assert_writable(db, contents, b"extents")
            db.compact()


def test_leftovers_of_growth_do_not_stop_growth(tmp_path: Path) -> None:
    """Segments of a group that was being made when the process was killed are made again."""
    small = {"page_bytes": 4096, "protection_group_bytes": 64 * 4096}
    with aurora.open(tmp_path / "volume", **small) as db:
        db.put(b"first", b"1")
        grown = {b"%04d" % number: bytes(1000) for number in range(800)}
    shutil.copytree(tmp_path / "volume", tmp_path / "killed")
    with aurora.open(tmp_path / "volume") as db:
        db._volume.grow(2)
    for copy in range(COPIES):
        left, place = (segment_folder(tmp_path / name, copy, 1) for name in ("volume", "killed"))
        if copy % 3 == 0:
            shutil.copytree(left, place)
        elif copy % 3 == 1:
            place.mkdir()
            (place / "manifest").write_bytes(b"half")
    with aurora.open(tmp_path / "killed") as db:
        db.put_many(grown)
        assert dict(db.scan()) == grown | {b"first": b"1"}
        assert db.status().protection_groups > 1
        assert [s.state for s in db.status().segments if s.group == 1] == ["ok"] * COPIES
        assert db.verify().ok
