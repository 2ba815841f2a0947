"""Power cuts under a writer on a real file system: what was acknowledged is there (I1, I2).

The disk has a volatile write cache, so whoever acknowledges before the cache was flushed loses
commits here. `make test-power-cut` installs what these tests need; where it cannot be had they are
skipped, unless ``AURORA_MUST_RUN`` is set. ``AURORA_POWER_CUTS=100`` raises the number of cuts.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crash.power_check import Acknowledged, check_volume
from tests.crash.power_journal import Journal, PowerCut
from tests.crash.power_recording import IMAGE_BYTES, Recording, record, volatile_disk, writing
from tests.crash.power_writer import Scenario
from tests.crash.test_kill import TINY_GROUP_BYTES
from tests.file_systems import (
    CommandFailedError,
    cannot_run,
    make_ext4,
    mounted,
    run,
    shut_down,
)
from tests.volumes import seeded

pytestmark = [pytest.mark.crash, pytest.mark.usefixtures("real_disks")]

CUTS = int(os.environ.get("AURORA_POWER_CUTS", "4"))
CUTS_OF_A_RECORDING = 20
SECONDS = 2.0
SURVIVALS = (0.0, 0.0, 0.1, 0.5, 0.9, 1.0)
BLOCK = 4096
MILLISECOND = 1_000_000


@pytest.fixture(scope="module")
def real_disks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where no disk with a volatile cache can be made."""
    if os.geteuid() != 0:
        cannot_run("only root can mount a file system")
    folder = tmp_path_factory.mktemp("probe")
    try:
        make_ext4(folder / "image", 16 << 20)
        with (
            volatile_disk(folder / "image", folder / "journal", folder / "fuse") as device,
            mounted(device, folder / "mount"),
        ):
            pass
    except CommandFailedError as missing:
        cannot_run(missing)


@contextlib.contextmanager
def recorded(
    scenario: Scenario, folder: Path, seconds: float = SECONDS, *, flushes: bool = True
) -> Iterator[Recording]:
    """A recording that stays only if the block fails: it is large."""
    yield record(scenario, folder, seconds, flushes=flushes)
    shutil.rmtree(folder)


def cuts(recording: Recording, rng: random.Random) -> Iterator[PowerCut]:
    """Mostly at work, half of that at once after an acknowledgement; now and then while opening."""
    (start, *_), (opened, *_), *_, (last, *_) = recording.acknowledged.lines
    while True:
        kind = rng.random()
        if kind < 0.45:
            at = rng.choice(recording.acknowledged.lines)[0]
        elif kind < 0.9:
            at = rng.randint(opened, last)
        else:
            at = rng.randint(start, opened)
        yield PowerCut(at, rng.choice(SURVIVALS), str(rng.randrange(1 << 30)))


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param({"keys": 1}, id="one thread"),
        pytest.param({"keys": 8}, id="eight threads"),
        pytest.param({"copies": 1, "keys": 2, "sql": 2, "others": True}, id="one copy"),
        pytest.param(
            {"group_bytes": TINY_GROUP_BYTES, "keys": 2, "sql": 2, "others": True},
            id="a growing volume",
        ),
    ],
)
def test_acknowledged_commits_survive(tmp_path: Path, scenario: dict[str, int]) -> None:
    rng = seeded(f"power cut {scenario}")
    for done in range(0, CUTS, CUTS_OF_A_RECORDING):
        seed = rng.randrange(1 << 30)
        with recorded(Scenario(seed, **scenario), tmp_path / f"recording {done}") as recording:
            drawn = cuts(recording, rng)
            for _ in range(min(CUTS_OF_A_RECORDING, CUTS - done)):
                recording.check(next(drawn))


def test_a_flush_that_comes_late_is_noticed(tmp_path: Path) -> None:
    """The check would notice a writer that acknowledges before the flush has ended."""
    with recorded(Scenario(1, keys=1), tmp_path / "recording") as recording:
        at, *_ = recording.acknowledged.lines[-1]
        recording.check(PowerCut(at, 0.0, "as it was"))
        late = PowerCut(at, 0.0, "late", flush_delay=200 * MILLISECOND)
        with pytest.raises(AssertionError, match="acknowledged"):
            recording.check(late)


def test_a_flush_that_is_missing_is_noticed(tmp_path: Path) -> None:
    """Without write barriers the same system calls of the same writer send no flush."""
    with recorded(Scenario(1, keys=1), tmp_path / "recording", flushes=False) as recording:
        at, *_ = recording.acknowledged.lines[-1]
        with pytest.raises(AssertionError, match="acknowledged"):
            recording.check(PowerCut(at, 0.0, "missing"))


def test_one_flush_makes_the_direct_writes_to_all_files_durable(tmp_path: Path) -> None:
    """What the write path builds on: a flush is the disk's, not the file's, and loop passes it on."""
    base, image = tmp_path / "base", tmp_path / "image"
    make_ext4(base, 64 << 20)
    run("cp", "--sparse=always", base, image)
    with (
        volatile_disk(image, tmp_path / "journal", tmp_path / "fuse") as device,
        mounted(device, tmp_path / "mount") as mount,
    ):
        files = [mount / f"copy {number}" for number in range(6)]
        for file in files:
            file.write_bytes(bytes(4 * BLOCK))
        os.sync()
        written = write_directly(files, b"written")
        flushed = write_directly(files, b"flushed", sync=files[-1])
    journal = Journal(tmp_path / "journal")
    for at, expected in ((written, bytes(BLOCK)), (flushed, b"flushed".ljust(BLOCK, b"."))):
        shutil.copyfile(base, image)
        PowerCut(at, 0.0, "").apply(journal, image)
        with mounted(image, tmp_path / "mount", "loop"):
            assert {file.read_bytes()[:BLOCK] for file in files} == {expected}


def write_directly(files: list[Path], content: bytes, sync: Path | None = None) -> int:
    """Writes the first block of each file past the page cache; returns when it was done."""
    with mmap.mmap(-1, BLOCK) as aligned:
        aligned[:] = content.ljust(BLOCK, b".")
        for file in files:
            descriptor = os.open(file, os.O_WRONLY | os.O_DIRECT)
            try:
                os.pwrite(descriptor, aligned, 0)
                if file == sync:
                    os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
    return time.monotonic_ns()


def test_no_metadata_is_owed(tmp_path: Path) -> None:
    """The file system goes down without sending its journal: acknowledged commits need none of it."""
    scenario = Scenario(seeded("no metadata").randrange(1 << 30), keys=4, sql=1, others=True)
    image, said = tmp_path / "image", tmp_path / "said"
    make_ext4(image, IMAGE_BYTES)
    with (
        mounted(image, tmp_path / "mount", "loop") as mount,
        writing(scenario, mount, said) as process,
    ):
        time.sleep(SECONDS)
        assert process.poll() is None, process.communicate()[1]
        shut_down(mount)
        time.sleep(0.1)
    with mounted(image, tmp_path / "mount", "loop") as mount:
        check_volume(scenario, mount, Acknowledged.read(said).by(time.monotonic_ns()))
