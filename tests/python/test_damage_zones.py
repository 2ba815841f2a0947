"""Zones on other disks outlive their root: they are found again, or named; never built over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.volumes import Contents, all_good, assert_holds, assert_writable, fill, seeded, until

import aurora_engine as aurora


class Elsewhere:
    """A closed volume with a root and three zone folders, each of which could be a disk."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "root"
        self.disks = {zone: tmp_path / f"disk {zone}" for zone in "abc"}
        self.topology = aurora.Topology(
            zones={zone: str(disk) for zone, disk in self.disks.items()}
        )
        with aurora.open(self.root, topology=self.topology) as db:
            self.contents: Contents = fill(db, seeded("zones"))

    def files(self) -> dict[Path, bytes]:
        """Every file in the zones."""
        return {
            file: file.read_bytes()
            for disk in self.disks.values()
            for file in sorted(disk.rglob("*"))
            if file.is_file() and not file.is_symlink()
        }

    def assert_opens(self, topology: aurora.Topology | None, *, create: bool = True) -> None:
        with aurora.open(self.root, topology=topology, create=create) as db:
            assert_holds(db, self.contents)
            assert_writable(db, self.contents, b"found again")
            until(lambda: all_good(db), "all copies are good")
            assert db.verify().ok
        with aurora.open(self.root, create=False) as db:
            assert_holds(db, self.contents)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path)


@pytest.mark.parametrize("told", [True, False], ids=["with topology", "without"])
@pytest.mark.parametrize("create", [True, False])
def test_the_root_lost_its_metadata(elsewhere: Elsewhere, told: bool, create: bool) -> None:
    """The root's links lead to the zones, whose metadata counts; no second volume is made."""
    (elsewhere.root / "volume.json").unlink()
    elsewhere.assert_opens(elsewhere.topology if told else None, create=create)


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("left", ["nothing", "an empty directory", "its lock"])
def test_the_root_is_gone(elsewhere: Elsewhere, left: str, create: bool) -> None:
    """The zones say whose they are, and bring their root back."""
    shutil.rmtree(elsewhere.root)
    if left != "nothing":
        elsewhere.root.mkdir()
    if left == "its lock":
        (elsewhere.root / "LOCK").touch()
    elsewhere.assert_opens(elsewhere.topology, create=create)


def test_zones_of_a_lost_root_are_not_for_another(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Another root is refused as long as nobody knows the volume; after that they share."""
    shutil.rmtree(elsewhere.root)
    before = elsewhere.files()
    for _ in range(2):
        with pytest.raises(aurora.CorruptionError, match="does not know it"):
            aurora.open(tmp_path / "another", topology=elsewhere.topology)
    assert elsewhere.files() == before
    elsewhere.assert_opens(elsewhere.topology)
    with aurora.open(tmp_path / "another", topology=elsewhere.topology) as db:
        assert len(db) == 0
    elsewhere.assert_opens(None)


def test_a_root_that_moved_stays_known(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """The zones learn where their root is with the next opening, and are refused until then."""
    moved = elsewhere.root.rename(tmp_path / "moved")
    with pytest.raises(aurora.CorruptionError, match="does not know it"):
        aurora.open(tmp_path / "another", topology=elsewhere.topology)
    elsewhere.root = moved
    elsewhere.assert_opens(None)
    with aurora.open(tmp_path / "another", topology=elsewhere.topology) as db:
        assert len(db) == 0
    (moved / "volume.json").unlink()
    elsewhere.assert_opens(elsewhere.topology)


def test_a_copy_of_the_root_is_no_second_way_in(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Each has a lock, and both have the same zones: a second writer's commits were lost."""
    copy = tmp_path / "copy"
    shutil.copytree(elsewhere.root, copy, symlinks=True)
    with aurora.open(elsewhere.root) as db:
        with pytest.raises(aurora.DatabaseLockedError, match=f"{elsewhere.root}\\)"):
            aurora.open(copy)
        assert_writable(db, elsewhere.contents, b"goes on")
    with aurora.open(copy) as db:
        assert_holds(db, elsewhere.contents)
        with pytest.raises(aurora.DatabaseLockedError, match=f"{copy}\\)"):
            aurora.open(elsewhere.root)
    elsewhere.assert_opens(None)


def test_a_zone_without_copies_is_let_go_until_it_has_some(elsewhere: Elsewhere) -> None:
    """Else a dead disk could not be unmounted while the database is open."""
    (zone,) = elsewhere.disks["a"].glob("volume-*")

    def is_held() -> bool:
        held = False
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):  # another thread has just closed it
                held = held or descriptor.readlink() == zone
        return held

    with aurora.open(elsewhere.root) as db:
        assert is_held()
        for folder in zone.glob("group-*"):
            shutil.rmtree(folder)
        until(lambda: not is_held(), "the zone is let go")
        db.repair()
        assert all_good(db)
        assert is_held()
    assert not is_held()


@pytest.mark.parametrize("zones", ["elsewhere", "inside"])
def test_the_folder_around_a_volume_is_no_volume(
    elsewhere: Elsewhere, tmp_path: Path, zones: str
) -> None:
    """It was taken for a root that had lost its metadata, and opened under a lock of its own."""
    around = tmp_path / "around"
    around.mkdir()
    if zones == "elsewhere":
        elsewhere.root = elsewhere.root.rename(around / "root")
    else:
        aurora.open(around / "root").close()
    for create in (True, False):
        with pytest.raises(aurora.CorruptionError, match=r"no complete volume .*\(root\)"):
            aurora.open(around, create=create)
    assert [entry.name for entry in around.iterdir()] == ["root"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"{}")])
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "links lost"])
def test_segments_without_metadata_are_not_built_over(
    elsewhere: Elsewhere, damage: Callable[[Path], object], linked: bool
) -> None:
    """No metadata verifies anywhere: an error that names a place, and every byte stays."""
    kept = (elsewhere.root / "volume.json").read_bytes()
    shutil.rmtree(elsewhere.root)
    for disk in elsewhere.disks.values():
        (place,) = disk.iterdir()
        damage(place / "volume.json")
        if not linked:
            (place / "root").unlink()
    before = elsewhere.files()
    for create in (True, False):
        with pytest.raises(aurora.AuroraError, match="volume"):
            aurora.open(elsewhere.root, topology=elsewhere.topology, create=create)
    assert elsewhere.files() == before
    elsewhere.root.mkdir(exist_ok=True)
    (elsewhere.root / "volume.json").write_bytes(kept)
    elsewhere.assert_opens(None)


def test_metadata_of_too_few_zones_proves_nothing(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """One zone of three may have missed a growth: the others are asked for."""
    shutil.rmtree(elsewhere.root)
    for zone in "ab":
        elsewhere.disks[zone].rename(tmp_path / f"away {zone}")
    with pytest.raises(aurora.QuorumLostError, match="2 copies only, 3 are needed"):
        aurora.open(elsewhere.root, topology=elsewhere.topology)
    (tmp_path / "away a").rename(elsewhere.disks["a"])
    with aurora.open(elsewhere.root, topology=elsewhere.topology) as db:
        assert_holds(db, elsewhere.contents)
        assert_writable(db, elsewhere.contents, b"two of three")


def test_metadata_from_before_a_growth_is_refused(tmp_path: Path) -> None:
    """It would cut off what stands in groups that it does not know of."""
    path = tmp_path / "volume"
    with aurora.open(path, page_bytes=4096, protection_group_bytes=64 * 4096) as db:
        old = (path / "volume.json").read_bytes()
        db.put_many({b"%04d" % number: bytes(1000) for number in range(800)})
        assert db.status().protection_groups > 1
    new = (path / "volume.json").read_bytes()
    for file in (path / "volume.json", *path.glob("*/volume.json")):
        file.write_bytes(old)
    with pytest.raises(aurora.CorruptionError, match="restore the newest"):
        aurora.open(path)
    (path / "volume.json").write_bytes(new)
    with aurora.open(path) as db:
        assert len(db) == 800
        assert db.verify().ok


def test_a_creation_that_was_cut_short_begins_anew(elsewhere: Elsewhere) -> None:
    """Its zones hold segments and no metadata: they are its own, and nobody's data."""
    metadata = json.loads((elsewhere.root / "volume.json").read_text())
    (elsewhere.root / "volume.creating").write_text(metadata["volume_id"])
    (elsewhere.root / "volume.json").unlink()
    for disk in elsewhere.disks.values():
        (place,) = disk.iterdir()
        (place / "volume.json").unlink()
    with pytest.raises(aurora.StorageIOError, match="no volume"):
        aurora.open(elsewhere.root, topology=elsewhere.topology, create=False)
    with aurora.open(elsewhere.root, topology=elsewhere.topology) as db:
        assert len(db) == 0
        assert db.tables() == []


def test_an_old_note_of_the_creation_is_no_leave_to_begin_anew(elsewhere: Elsewhere) -> None:
    """A process that was killed between metadata and note; much later, all metadata is lost."""
    metadata = json.loads((elsewhere.root / "volume.json").read_text())
    (elsewhere.root / "volume.creating").write_text(metadata["volume_id"])
    elsewhere.assert_opens(None)
    (elsewhere.root / "volume.json").unlink()
    for disk in elsewhere.disks.values():
        (place,) = disk.iterdir()
        (place / "volume.json").unlink()
    before = elsewhere.files()
    for topology in (None, elsewhere.topology):
        with pytest.raises(aurora.CorruptionError):
            aurora.open(elsewhere.root, topology=topology)
    assert elsewhere.files() == before


def test_zones_deeper_in_the_root_are_found_too(tmp_path: Path) -> None:
    topology = aurora.Topology(zones={zone: f"disks/{zone}" for zone in "abc"})
    with aurora.open(tmp_path / "here", topology=topology) as db:
        contents = fill(db, seeded("deeper"))
    (tmp_path / "here").rename(tmp_path / "there")
    (tmp_path / "there" / "volume.json").unlink()
    with aurora.open(tmp_path / "there") as db:
        assert_holds(db, contents)
        assert_writable(db, contents, b"deeper")


@pytest.mark.parametrize("folder", ["../outside", "inside/../../outside", ""])
def test_a_relative_folder_stays_inside(folder: str) -> None:
    """What it leads out to could be another volume's zone."""
    with pytest.raises(ValueError, match="in the volume's directory"):
        aurora.Topology(zones={"a": folder, "b": "b", "c": "c"})


def test_a_wrong_topology_changes_nothing(tmp_path: Path) -> None:
    """Zones that lead nowhere: the volume cannot be opened so, and is found again without them."""
    right = aurora.Topology({name: str(tmp_path / f"disk {name}") for name in "abc"})
    wrong = aurora.Topology({name: str(tmp_path / f"elsewhere {name}") for name in "abc"})
    with aurora.open(tmp_path / "volume", topology=right) as db:
        db[b"k"] = b"v"
    before = (tmp_path / "volume" / "volume.json").read_bytes()
    with pytest.raises(aurora.QuorumLostError):
        aurora.open(tmp_path / "volume", topology=wrong)
    assert (tmp_path / "volume" / "volume.json").read_bytes() == before
    with aurora.open(tmp_path / "volume") as db:
        assert db[b"k"] == b"v"
        assert all("disk" in segment.path for segment in db.status().segments)
