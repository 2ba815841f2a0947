"""Power cuts under a writer on a real file system: what was acknowledged is there (I1, I2).

The disk has a volatile write cache, so whoever acknowledges before the cache was flushed loses
commits here. `make test-power-cut` installs what these tests need; where it cannot be had they are
skipped, unless ``AURORA_MUST_RUN`` is set. ``AURORA_POWER_CUTS=100`` raises the number of cuts.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import shutil
import subprocess
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from tests.crash.power_check import Acknowledged, check_volume
from tests.crash.power_journal import STALL_EVERY_NS, STALL_NS, Journal, PowerCut
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

import aurora_engine as aurora

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.usefixtures("real_disks")]

CUTS = int(os.environ.get("AURORA_POWER_CUTS", "4"))
CUTS_OF_A_RECORDING = 20
SECONDS = 2.0
SURVIVALS = (0.0, 0.1, 0.5, 0.9)
RISKIEST = 12
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


@contextmanager
def recorded(
    scenario: Scenario, folder: Path, without_flushes: Collection[int] = ()
) -> Iterator[Recording]:
    """A recording that stays only if the block fails: it is large."""
    yield record(scenario, folder, SECONDS, without_flushes)
    shutil.rmtree(folder)


def cuts(recording: Recording, rng: random.Random) -> Iterator[PowerCut]:
    """Mostly right after an acknowledgement, best when the cache is full; else at any moment."""
    start, opened, *acknowledged = (at for at, *_ in recording.acknowledged.lines)
    riskiest = sorted(acknowledged, key=recording.at_risk)[-RISKIEST:]
    while True:
        kind = rng.random()
        if kind < 0.4:
            at = rng.choice(riskiest)
        elif kind < 0.6:
            at = rng.choice(acknowledged)
        elif kind < 0.9:
            at = rng.randint(opened, acknowledged[-1])
        else:
            at = rng.randint(start, opened)
        survival = 0.0 if kind < 0.3 else rng.choice(SURVIVALS)
        yield PowerCut(at, survival, str(rng.randrange(1 << 30)))


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(Scenario(keys=1), id="one thread"),
        pytest.param(Scenario(keys=8), id="eight threads"),
        # Four copies share the flush of one disk, two do not.
        pytest.param(Scenario(keys=4, disks=2), id="two disks"),
        pytest.param(Scenario(keys=2, sql=2, others=True, copies=1), id="one copy"),
        pytest.param(
            Scenario(keys=2, sql=2, others=True, group_bytes=TINY_GROUP_BYTES),
            id="a growing volume",
        ),
    ],
)
def test_acknowledged_commits_survive(tmp_path: Path, scenario: Scenario) -> None:
    """A cut, in one of two cases followed by the loss of any two of six copies, costs nothing."""
    rng = seeded(f"power cut {scenario}")
    for done in range(0, CUTS, CUTS_OF_A_RECORDING):
        drawn = replace(scenario, seed=rng.randrange(1 << 30))
        with recorded(drawn, tmp_path / f"recording-{done}") as recording:
            for cut in islice(cuts(recording, rng), min(CUTS_OF_A_RECORDING, CUTS - done)):
                opened = "open" in recording.acknowledged.by(cut.at)
                may_lose = scenario.copies == 6 and opened and rng.random() < 0.5
                recording.check(cut, rng.sample(range(6), 2) if may_lose else ())


def test_six_copies_on_one_disk_share_its_flush(tmp_path: Path) -> None:
    """That they do is what the cuts above are about: six flushes a commit would prove less."""
    with recorded(Scenario(keys=1), tmp_path / "recording") as recording:
        _, opened, *acknowledged = (at for at, *_ in recording.acknowledged.lines)
        flushed = [
            flush
            for journal in recording.journals
            for flush in journal.flushes
            if opened < flush.completed <= acknowledged[-1]
        ]
        # Background work flushes too, now and then.
        assert len(flushed) < 3 * len(acknowledged)


def test_a_flush_that_comes_late_is_noticed(tmp_path: Path) -> None:
    """The check would notice a writer that acknowledges before the flush has ended."""
    with recorded(Scenario(keys=1), tmp_path / "recording") as recording:
        at, *_ = recording.acknowledged.lines[-1]
        recording.check(PowerCut(at, 0.0, "as it was"))
        late = PowerCut(at, 0.0, "late", flush_delay=200 * MILLISECOND)
        with pytest.raises(AssertionError, match="acknowledged"):
            recording.check(late)


@pytest.mark.parametrize(
    ("disks", "without", "lost"),
    [(1, [0], []), (3, [1, 2], [0, 1])],
    ids=["the only disk", "two of three disks"],
)
def test_a_flush_that_is_missing_is_noticed(
    tmp_path: Path, disks: int, without: list[int], lost: list[int]
) -> None:
    """Without write barriers the same system calls of the same writer send no flush.

    Where one of three disks is flushed nothing is lost until that disk is.
    """
    scenario = Scenario(keys=1, disks=disks)
    with recorded(scenario, tmp_path / "recording", without) as recording:
        at, *_ = recording.acknowledged.lines[-1]
        with pytest.raises(AssertionError, match="acknowledged"):
            recording.check(PowerCut(at, 0.0, "missing"), lost)


def test_one_flush_makes_the_direct_writes_to_all_files_durable(tmp_path: Path) -> None:
    """A flush is the disk's and not the file's; without one nothing is durable."""
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
        run("sync", "--file-system", mount)
        for file in files:
            write_directly(file, b"written")
        written = time.monotonic_ns()
        for file in files:
            write_directly(file, b"flushed")
        sync(files[0])
        flushed = time.monotonic_ns()
    journal = Journal(tmp_path / "journal")
    for at, expected in ((written, bytes(BLOCK)), (flushed, b"flushed".ljust(BLOCK, b"."))):
        shutil.copyfile(base, image)
        PowerCut(at, 0.0, "").apply(journal, image)
        with mounted(image, tmp_path / "mount", "loop"):
            assert {file.read_bytes()[:BLOCK] for file in files} == {expected}


def test_a_shared_flush_that_fails_acknowledges_nothing(tmp_path: Path) -> None:
    """It fails all six copies at once (I10), and what was acknowledged before is there (I1)."""
    image, journal = tmp_path / "image", tmp_path / "journal"
    broken = tmp_path / "journal.broken"
    make_ext4(image, IMAGE_BYTES)
    with volatile_disk(image, journal, tmp_path / "fuse") as device:
        with (
            mounted(device, tmp_path / "mount") as mount,
            aurora.open(mount / "volume") as db,
        ):
            db.put(b"before", b"kept")
            broken.touch()
            with pytest.raises(aurora.QuorumLostError):
                db.put(b"after", b"never acknowledged")
            failures = [segment.error for segment in db.status().segments if segment.error]
            assert len(failures) == 6
            assert {getattr(failure, "errno", None) for failure in failures} == {errno.EIO}
            broken.unlink()
        subprocess.run(["e2fsck", "-f", "-y", device], capture_output=True, check=False)
        with (
            mounted(device, tmp_path / "mount") as mount,
            aurora.open(mount / "volume") as db,
        ):
            assert db.get(b"before") == b"kept"
            db.put(b"again", b"written")


def write_directly(path: Path, content: bytes, offset: int = 0) -> None:
    """Writes a block past the page cache."""
    with opened(path, os.O_WRONLY | os.O_DIRECT) as descriptor, mmap.mmap(-1, BLOCK) as aligned:
        aligned[:] = content.ljust(BLOCK, b".")
        os.pwrite(descriptor, aligned, offset)


def sync(path: Path) -> None:
    with opened(path, os.O_WRONLY) as descriptor:
        os.fdatasync(descriptor)


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_a_flush_may_overtake_writes_that_it_does_not_wait_for(tmp_path: Path) -> None:
    """Nothing between a writer and the disk keeps an order for it that real hardware would not."""
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    with (
        volatile_disk(image, tmp_path / "journal", tmp_path / "fuse") as device,
        ThreadPoolExecutor(6) as threads,
    ):
        for _ in range(20):
            time.sleep((STALL_EVERY_NS - time.monotonic_ns() % STALL_EVERY_NS) / 1e9)
            writes = [
                threads.submit(write_directly, device, b"late", number * 2 * BLOCK)
                for number in range(6)
            ]
            time.sleep(STALL_NS / 3e9)
            sync(device)
            wait(writes)
    journal = Journal(tmp_path / "journal")
    overtaken = [
        sum(write.arrived < flush.arrived < write.completed for write in journal.writes)
        for flush in journal.flushes
    ]
    assert max(overtaken) == 6


def test_no_metadata_is_owed(tmp_path: Path) -> None:
    """A file system that goes down without sending its journal still has what was acknowledged."""
    seed = seeded("no metadata").randrange(1 << 30)
    scenario = Scenario(seed, keys=4, sql=1, others=True)
    image, place = tmp_path / "image", scenario.disk(tmp_path, 0)
    make_ext4(image, IMAGE_BYTES)
    with mounted(image, place, "loop"), writing(scenario, tmp_path) as process:
        time.sleep(SECONDS)
        assert process.poll() is None, process.communicate()[1]
        shut_down(place)
        time.sleep(0.1)
    said = Acknowledged.read(tmp_path / "acknowledged")
    with mounted(image, place, "loop"):
        check_volume(scenario, tmp_path, said.by(time.monotonic_ns()))
    image.unlink()
