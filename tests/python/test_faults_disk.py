"""What an operating system does to a database: full and read-only disks, odd paths, lost zones."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.volumes import (
    all_good,
    assert_holds,
    assert_writable,
    fill,
    seeded,
    segment_folder,
    until,
)

import aurora_engine as aurora

Mount = Callable[..., Path]
VALUE = bytes(range(256)) * 80
REFUSALS = (aurora.VolumeFullError, aurora.QuorumLostError)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts small file systems; skips where that is not allowed."""
    mounted: list[Path] = []

    def make(name: str, size_mib: int) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


def write_until_refused(db: aurora.Database, limit: int) -> tuple[int, aurora.AuroraError]:
    """Puts numbered keys; how many were acknowledged, and the refusal."""
    for number in range(limit):
        try:
            db.put(b"%06d" % number, VALUE)
        except REFUSALS as error:
            return number, error
    pytest.fail(f"{limit} puts fitted into a disk that is smaller")


def assert_numbered(db: aurora.Database, count: int, in_doubt: bool) -> None:
    keys = list(db)
    assert keys[:count] == [b"%06d" % number for number in range(count)]
    assert len(keys) - count in ((0, 1) if in_doubt else (0,))
    assert all(value == VALUE for _, value in db.scan())


def test_full_disk(mount: Mount) -> None:
    """A disk that fills up: a clear error, nothing lost, and writes go on with more space."""
    disk = mount("disk", 24)
    path = disk / "volume"
    with aurora.open(path) as db:
        count, error = write_until_refused(db, 5000)
        assert count > 10
        assert_numbered(db, count, error.in_doubt)
        for _ in range(3):
            with pytest.raises(REFUSALS):
                db.put(b"more", VALUE)
        assert_numbered(db, count, True)
        db.verify()
        with pytest.raises(aurora.VolumeFullError):
            db.repair()
        assert_numbered(db, count, True)
    # Full while it opens, too: what was acknowledged is readable.
    with aurora.open(path) as db:
        assert_numbered(db, count, True)
    remount(disk, "size=200m")
    with aurora.open(path) as db:
        assert_numbered(db, count, True)
        db.repair()
        for number in range(300):
            db.put(b"more %d" % number, VALUE)
        until(lambda: all_good(db), "all copies are good", seconds=10)
        assert db.verify().ok
        assert len(list(db.scan(prefix=b"more "))) == 300


def test_space_comes_back_while_open(mount: Mount) -> None:
    disk = mount("disk", 24)
    with aurora.open(disk / "volume") as db:
        count, error = write_until_refused(db, 5000)
        remount(disk, "size=200m")
        db.repair()
        db.put(b"more", VALUE)
        del db[b"more"]
        assert_numbered(db, count, error.in_doubt)
        until(lambda: all_good(db), "all copies are good", seconds=10)


def test_repair_without_space_says_so(mount: Mount, tmp_path: Path) -> None:
    """A copy on a full disk is passed over, the others are rebuilt, and the reason is raised."""
    small = mount("small", 8)
    topology = aurora.Topology(zones={"a": str(small), "b": "b", "c": "c"})
    path = tmp_path / "volume"
    with aurora.open(path, topology=topology) as db:
        db.put_many((b"%05d" % number, os.urandom(500)) for number in range(4000))
        db.compact()
    (folder,) = small.glob("volume-*/*-copy-0")
    shutil.rmtree(folder)
    shutil.rmtree(segment_folder(path, 4))
    with (small / "of others").open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(bytes(1 << 12)):
            pass
    ended = subprocess.run(
        [sys.executable, "-c", "from aurora_engine.cli import main; main()", "repair", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 6, ended
    assert "aurora-engine: VolumeFullError: " in ended.stderr
    assert f"not rebuilt: {folder}\n" in ended.stdout
    assert str(segment_folder(path, 4)) not in ended.stdout
    with aurora.open(path) as db:
        for _ in range(2):
            with pytest.raises(aurora.VolumeFullError):
                db.repair()
        assert {s.copy for s in db.status().segments if s.state == "ok"} >= {2, 3, 4, 5}
        (small / "of others").unlink()
        remount(small, "size=200m")
        db.repair()
        until(lambda: all_good(db), "all copies are good", seconds=10)


def test_tidying_up_does_not_fill_a_disk(mount: Mount) -> None:
    """What an idle database could rearrange stays as it is when others have taken the space."""
    disk = mount("disk", 200)
    with aurora.open(disk / "volume") as db:
        for number in range(40):
            db.put_many((b"%02d %04d" % (number, each), os.urandom(100)) for each in range(1000))
        time.sleep(1)  # what was begun is done, and nothing is tidied up yet
        with (disk / "of others").open("wb", buffering=0) as stream:
            with contextlib.suppress(OSError):
                while stream.write(bytes(1 << 16)):
                    pass
            stream.truncate(stream.tell() - 300_000)
        time.sleep(7)
        assert all_good(db)
        db[b"k"] = b"v"
        assert len(db) == 40_001


def test_no_space_to_create(mount: Mount) -> None:
    disk = mount("disk", 2)
    with pytest.raises((aurora.VolumeFullError, aurora.StorageIOError)):
        aurora.open(disk / "volume")
    remount(disk, "size=50m")
    with aurora.open(disk / "volume") as db:
        db.put(b"k", b"v")
        assert db.verify().ok


@pytest.mark.parametrize("group_bytes", [10 << 30, 64 * 8192], ids=["one group", "many groups"])
def test_one_full_zone_stops_nothing(mount: Mount, tmp_path: Path, group_bytes: int) -> None:
    """Two of six copies on a full disk: writes go on, also where the volume has to grow."""
    small = mount("small", 9 if group_bytes > 1 << 30 else 40)
    zones = {"a": "a", "b": str(small), "c": "c"}
    topology = aurora.Topology(zones=zones)
    with aurora.open(
        tmp_path / "volume", topology=topology, protection_group_bytes=group_bytes
    ) as db:
        for number in range(700):
            db.put(b"%06d" % number, VALUE)
        states = {s.zone: s.state for s in db.status().segments}
        assert states["a"] == states["c"] == "ok"
        assert db.status().writable
        assert_numbered(db, 700, in_doubt=False)
        remount(small, "size=900m")
        db.repair()
        until(lambda: all_good(db), "all copies are good", seconds=10)
        assert db.verify().ok
    with aurora.open(tmp_path / "volume") as db:
        assert_numbered(db, 700, in_doubt=False)


def test_read_only_disk(mount: Mount) -> None:
    disk = mount("disk", 100)
    path = disk / "volume"
    with aurora.open(path) as db:
        db.put(b"k", b"v")
    remount(disk, "ro")
    for create in (False, True):
        with pytest.raises(aurora.StorageIOError, match=str(path)) as caught:
            aurora.open(path, create=create)
        assert caught.value.errno == errno.EROFS
    with pytest.raises(aurora.StorageIOError):
        aurora.open(disk / "another")
    remount(disk, "rw")
    with aurora.open(path) as db:
        assert db[b"k"] == b"v"


def test_no_permission(tmp_path: Path) -> None:
    """As a user who may not read the directory."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    with aurora.open(tmp_path / "volume") as db:
        db.put(b"k", b"v")
    (tmp_path / "volume").chmod(0o700)
    program = (
        "import os, sys, aurora_engine as aurora, aurora_engine.volume\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n    aurora.open(sys.argv[1])\n"
        "except aurora.StorageIOError as error:\n    print(type(error).__name__, error.errno)\n"
    )
    for folder in tmp_path.parents:
        if folder.stat().st_mode & 0o005 != 0o005 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o005)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "volume")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["StorageIOError", str(errno.EACCES)], done.stderr


@pytest.mark.parametrize(
    "name",
    ["two words", "ünïcödé 数据 🗄", "-dash", "new\nline", "x" * 200, b"not utf-8 \xff\xfe"],
    ids=repr,
)
def test_odd_paths(tmp_path: Path, name: str | bytes) -> None:
    path = os.fsencode(tmp_path / os.fsdecode(name))
    rng = seeded(f"odd {name!r}")
    with aurora.open(path) as db:
        contents = fill(db, rng)
        folders = [s.path for s in db.status().segments]
        assert all(Path(folder).is_dir() for folder in folders)
    shutil.rmtree(folders[0])
    with aurora.open(os.fsdecode(path)) as db:
        assert_holds(db, contents)
        assert_writable(db, contents, b"odd")
        db.repair()
        assert db.verify().ok
    with aurora.open(Path(os.fsdecode(path)), create=False) as db:
        assert_holds(db, contents)


def test_relative_path_and_a_changed_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path counts as it was at open, wherever the process goes later."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with aurora.open("volume") as db:
        monkeypatch.chdir(tmp_path / "elsewhere")
        contents = fill(db, seeded("relative"))
        shutil.rmtree(segment_folder(tmp_path / "volume", 3))
        db.status()
        db.repair()
        assert_holds(db, contents)
        assert db.verify().ok
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_volume_that_moved(tmp_path: Path) -> None:
    """A whole directory may be moved or copied while it is closed: nothing in it knows its path."""
    with aurora.open(tmp_path / "here") as db:
        contents = fill(db, seeded("moved"))
    (tmp_path / "here").rename(tmp_path / "there")
    shutil.copytree(tmp_path / "there", tmp_path / "copy")
    for name in ("there", "copy"):
        with aurora.open(tmp_path / name) as db:
            now = contents.copy()
            assert_holds(db, now)
            assert_writable(db, now, name.encode())
            assert db.verify().ok


class TestZonesElsewhere:
    """Zones mapped to folders outside of the volume's directory."""

    def folders(self, tmp_path: Path, prefix: str) -> dict[str, str]:
        return {zone: str(tmp_path / f"{prefix} disk {zone}") for zone in "abc"}

    def test_lost_and_moved_zones(self, tmp_path: Path) -> None:
        path = tmp_path / "volume"
        first = self.folders(tmp_path, "first")
        with aurora.open(path, topology=aurora.Topology(zones=first)) as db:
            contents = fill(db, seeded("elsewhere"))
            assert {os.path.commonpath([s.path, first[s.zone]]) for s in db.status().segments} == {
                *first.values()
            }
        # One disk is gone: the path alone is enough to open what is left.
        Path(first["b"]).rename(tmp_path / "gone")
        with aurora.open(path) as db:
            assert_holds(db, contents)
            assert_writable(db, contents, b"gone")
            assert {s.zone for s in db.status().segments if s.state != "ok"} == {"b"}
        (tmp_path / "gone").rename(first["b"])
        with aurora.open(path) as db:
            assert_holds(db, contents)
        # All disks are mounted elsewhere.
        second = self.folders(tmp_path, "second")
        for zone in "abc":
            Path(first[zone]).rename(second[zone])
        with pytest.raises(aurora.QuorumLostError):
            aurora.open(path)
        with aurora.open(path, topology=aurora.Topology(zones=second)) as db:
            assert_holds(db, contents)
            assert_writable(db, contents, b"moved")
        with aurora.open(path) as db:
            assert_holds(db, contents)
            db.repair()
            assert db.verify().ok

    def test_another_topology_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "volume"
        with aurora.open(path) as db:
            db.put(b"k", b"v")
        for topology in (
            aurora.Topology.single(),
            aurora.Topology(zones=("a", "b")),
            aurora.Topology(zones=("x", "y", "z")),
            aurora.Topology(copies_per_zone=1),
        ):
            with pytest.raises(ValueError, match="zones"):
                aurora.open(path, topology=topology)
        with aurora.open(path, topology=aurora.Topology()) as db:
            assert db[b"k"] == b"v"

    def test_two_volumes_share_folders(self, tmp_path: Path) -> None:
        topology = aurora.Topology(zones=self.folders(tmp_path, "shared"))
        for name in (b"one", b"two"):
            with aurora.open(tmp_path / name.decode(), topology=topology) as db:
                db.put(b"name", name)
        for name in (b"one", b"two"):
            with aurora.open(tmp_path / name.decode()) as db:
                assert db[b"name"] == name
                assert db.verify().ok


SHAPES = {
    "single": aurora.Topology.single(),
    "two zones, one copy": aurora.Topology(zones=("a", "b"), copies_per_zone=1),
    "one zone, three copies": aurora.Topology(zones=("a",), copies_per_zone=3),
    "three zones, one copy": aurora.Topology(copies_per_zone=1),
    "three zones, three copies": aurora.Topology(copies_per_zone=3),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("page_bytes", [4096, 65536])
@pytest.mark.parametrize("group_pages", [64, 1 << 17], ids=["tiny groups", "big groups"])
def test_every_shape_of_volume(
    tmp_path: Path, shape: str, page_bytes: int, group_pages: int
) -> None:
    """As many copies as a write quorum can spare are lost; a read quorum still has everything."""
    topology = SHAPES[shape]
    path = tmp_path / "volume"
    rng = seeded(f"{shape} {page_bytes} {group_pages}")
    with aurora.open(
        path,
        topology=topology,
        page_bytes=page_bytes,
        protection_group_bytes=group_pages * page_bytes,
    ) as db:
        contents = fill(db, rng)
        copies = topology.copies
        assert len(db.status().segments) == copies * db.status().protection_groups
        folders = [s.path for s in db.status().segments]
    spare = copies - (copies // 2 + 1)
    lost = rng.sample(range(copies), spare)
    for number, folder in enumerate(folders):
        if number % copies in lost:
            shutil.rmtree(folder)
    with aurora.open(path) as db:
        assert_holds(db, contents)
        assert_writable(db, contents, b"spare")
        db.repair()
        until(lambda: all_good(db), "all copies are good", seconds=10)
        assert db.verify().ok
    for number, folder in enumerate(folders):
        if number % copies not in range(copies // 2, copies):
            shutil.rmtree(folder)
    readable = copies - copies // 2
    with contextlib.ExitStack() as stack:
        if readable < copies + 1 - (copies // 2 + 1):
            stack.enter_context(pytest.raises(aurora.QuorumLostError))
        db = stack.enter_context(aurora.open(path))
        assert_holds(db, contents)


def test_async_volume_survives_loss(tmp_path: Path) -> None:
    with aurora.open(tmp_path, durability="async") as db:
        contents = fill(db, seeded("async"))
        lsn = 0
        for number in range(2000):
            contents.main[b"async %d" % number] = b"%d" % number
            lsn = db.put(b"async %d" % number, b"%d" % number)
        db.wait_durable(lsn)
        assert db.durable_lsn >= lsn
    for copy in (0, 5):
        shutil.rmtree(segment_folder(tmp_path, copy))
    with aurora.open(tmp_path, durability="async") as db:
        assert_holds(db, contents)
        assert_writable(db, contents, b"async")
        assert_holds(db, contents)


@contextlib.contextmanager
def no_file_descriptors() -> Iterator[None]:
    """Takes every one that there is, and those that are closed meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    is_over = threading.Event()

    def take() -> None:
        while not is_over.wait(0.002):
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.dup(0))

    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    taker = threading.Thread(target=take)
    taker.start()
    try:
        time.sleep(0.1)
        yield
    finally:
        is_over.set()
        taker.join()
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("writes", [False, True])
def test_no_file_descriptors_for_a_while(tmp_path: Path, writes: bool) -> None:
    """It passes, and no copy is rebuilt for it: nothing is wrong with any."""
    path = tmp_path / "volume"
    acknowledged = {b"before": VALUE}
    with aurora.open(path) as db:
        db[b"before"] = VALUE
        folders = [segment_folder(path, copy).stat().st_ino for copy in range(6)]
        with no_file_descriptors():
            end_s = time.monotonic() + 1
            while time.monotonic() < end_s:
                key = b"%06d" % len(acknowledged)
                with contextlib.suppress(aurora.AuroraError):
                    if writes:
                        db[key] = VALUE
                        acknowledged[key] = VALUE
                time.sleep(0.001)
        until(lambda: all_good(db), "all copies are good", 30)
        assert [segment_folder(path, copy).stat().st_ino for copy in range(6)] == folders
        assert acknowledged.items() <= dict(db.scan()).items()
        db[b"after"] = VALUE
        assert db.verify().ok


def test_no_file_descriptor_to_open_with(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    with aurora.open(path) as db:
        db[b"k"] = VALUE
    with no_file_descriptors(), pytest.raises(OSError, match="open files") as raised:
        aurora.open(path)
    assert raised.value.errno == errno.EMFILE
    with aurora.open(path) as db:
        assert db[b"k"] == VALUE
        assert all_good(db)
