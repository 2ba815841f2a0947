"""A real file system that answers EIO under one or several copies of a running database.

Each copy has an ext4 of its own in a file; the kernel shuts it down on request, after which every
read, write and sync of it fails as on a dead disk. `make test-eio` installs what these tests need;
where that is missing, and without root, they are skipped, unless ``AURORA_MUST_RUN`` is set.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.file_systems import (
    CommandFailedError,
    cannot_run,
    make_ext4,
    mount,
    shut_down,
    unmount,
)
from tests.volumes import (
    all_good,
    assert_holds,
    assert_writable,
    fill,
    seeded,
    until,
)

import aurora_engine as aurora

IMAGE_BYTES = 64 << 20
ZONES = "abcdef"


class Disks:
    """Six disks, a to f, each with one copy of a database; only those that are to fail are real."""

    def __init__(self, tmp_path: Path) -> None:
        self._images = tmp_path / "images"
        self._images.mkdir()
        self.folders = {zone: tmp_path / f"disk {zone}" for zone in ZONES}
        self.mounted: set[str] = set()
        for folder in self.folders.values():
            folder.mkdir()

    def make(self, zone: str) -> None:
        """Puts a file system under a zone; skips where that cannot be done."""
        try:
            make_ext4(self._images / zone, IMAGE_BYTES)
            self.mount(zone)
        except CommandFailedError as failed:
            cannot_run(failed)

    def mount(self, zone: str) -> None:
        mount(self._images / zone, self.folders[zone], "loop")
        self.mounted.add(zone)

    def kill(self, zone: str) -> None:
        """From now on the disk answers EIO."""
        shut_down(self.folders[zone])
        with pytest.raises(OSError, match="Input/output error"):
            (self.folders[zone] / "probe").write_bytes(b"x")

    def unmount(self, zone: str) -> None:
        unmount(self.folders[zone])
        self.mounted.discard(zone)

    @property
    def topology(self) -> aurora.Topology:
        return aurora.Topology(
            zones={zone: str(folder) for zone, folder in self.folders.items()}, copies_per_zone=1
        )


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Disks]:
    if os.geteuid() != 0:
        cannot_run("only root can mount a file system")
    made = Disks(tmp_path)
    yield made
    for zone in sorted(made.mounted):
        made.unmount(zone)


def failed(db: aurora.Database) -> dict[str, aurora.SegmentStatus]:
    """Copies that are not good, by zone."""
    return {s.zone: s for s in db.status().segments if s.state != "ok"}


def repaired(db: aurora.Database, zone: str) -> bool:
    """Asks for repair, which may meet a dead disk first; whether this zone's copy is good now."""
    with contextlib.suppress(aurora.StorageIOError):
        db.repair()
    return zone not in failed(db)


def assert_named(db: aurora.Database, zones: str, disks: Disks) -> None:
    """Exactly the copies of these zones are failed, each with its path and its disk's error."""
    until(lambda: set(failed(db)) == set(zones), f"{zones} failed")
    for zone, segment in failed(db).items():
        assert Path(segment.path).is_relative_to(disks.folders[zone])
        assert isinstance(segment.error, aurora.StorageIOError), segment.error
        assert segment.error.errno == errno.EIO


def test_two_disks_answer_eio(tmp_path: Path, disks: Disks) -> None:
    """Writers and readers notice nothing; status() names the copies and the reason."""
    for zone in "be":
        disks.make(zone)
    with aurora.open(tmp_path / "root", topology=disks.topology) as db:
        contents = fill(db, seeded("two EIO"))
        for zone, mark in (("b", b"one"), ("e", b"two")):
            disks.kill(zone)
            assert_writable(db, contents, mark)
            assert_holds(db, contents)
        assert_named(db, "be", disks)
        assert db.status().writable
    with aurora.open(tmp_path / "root") as db:
        assert_holds(db, contents)
        assert_writable(db, contents, b"reopened")
        assert_named(db, "be", disks)


def test_a_copy_that_saw_eio_is_made_anew(tmp_path: Path, disks: Disks) -> None:
    """The disk works again, with all files: what it held is not trusted, but replaced (I10)."""
    disks.make("c")
    with aurora.open(tmp_path / "root", topology=disks.topology) as db:
        contents = fill(db, seeded("anew"))
        (place,) = [Path(s.path) for s in db.status().segments if s.zone == "c"]
        (place / "witness").touch()
        os.sync()
        disks.kill("c")
        assert_writable(db, contents, b"failed")
        assert_named(db, "c", disks)
        disks.unmount("c")
        disks.mount("c")
        assert (place / "manifest").exists()
        assert (place / "witness").exists()
        db.repair()
        until(lambda: all_good(db), "all copies are good")
        assert not (place / "witness").exists()
        assert_writable(db, contents, b"anew")
        assert db.verify().ok
    with aurora.open(tmp_path / "root") as db:
        assert_holds(db, contents)


def test_reads_of_dead_disks_are_served_by_others(tmp_path: Path, disks: Disks) -> None:
    """With a cache that holds next to nothing reads go to the disks, of which two answer EIO."""
    for zone in "ad":
        disks.make(zone)
    values = {b"%04d" % number: b"%04d" % number * 500 for number in range(2000)}
    with aurora.open(tmp_path / "root", topology=disks.topology, cache_bytes=1 << 20) as db:
        db.put_many(values)
        db.compact()
        for zone in "ad":
            disks.kill(zone)
        rng = seeded("reads of dead disks")
        for key in rng.sample(sorted(values), 500):
            assert db[key] == values[key]
        assert dict(db.scan()) == values
        db.put(b"k", b"v")
        assert_named(db, "ad", disks)


def test_the_quorum_dies_of_eio(tmp_path: Path, disks: Disks) -> None:
    """With three disks dead writes are refused by type, reads go on; a rebuilt copy ends it."""
    for zone in "bdf":
        disks.make(zone)
    with aurora.open(tmp_path / "root", topology=disks.topology) as db:
        contents = fill(db, seeded("quorum EIO"))
        for zone in "bdf":
            disks.kill(zone)
        for number in range(3):
            key = b"in doubt %d" % number
            with pytest.raises(aurora.QuorumLostError) as refused:
                db.put(key, b"value")
            if refused.value.in_doubt:
                contents.doubtful[key] = b"value"
        assert_named(db, "bdf", disks)
        assert not db.status().writable
        assert isinstance(db.status().write_error, aurora.QuorumLostError)
        assert_holds(db, contents)
        # One of the disks is exchanged for an empty one.
        disks.unmount("d")
        disks.make("d")
        until(lambda: repaired(db, "d"), "the new disk has its copy")
        assert_writable(db, contents, b"four")
        assert_holds(db, contents)
        assert set(failed(db)) == {"b", "f"}
    with aurora.open(tmp_path / "root") as db:
        assert_holds(db, contents)
