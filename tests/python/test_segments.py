"""Segments, frames and disks as the coordinator uses them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import aurora_engine as aurora
from aurora_engine._ext.clock import VirtualClock
from aurora_engine._ext.disk import Disk
from aurora_engine._ext.engine import Engine
from aurora_engine._ext.frame import Frame, checksum
from aurora_engine._ext.records import LogGap, RewindRecord, SegmentIdentity
from aurora_engine._ext.segment import Segment
from aurora_engine._ext.transaction import Txn

VOLUME = bytes(range(16))
GROUP_PAGES = 1 << 20


def identity(copy: int = 0) -> SegmentIdentity:
    return SegmentIdentity(VOLUME, 0, copy, 8192, 6, GROUP_PAGES)


class Cluster:
    """Six segments on disks in memory behind an engine that only moves when it is told to."""

    def __init__(self) -> None:
        self.disks = [Disk.memory() for _ in range(6)]
        for copy, disk in enumerate(self.disks):
            Segment.create(disk, identity(copy), 1, 0)
        self.segments = [Segment.open(disk, identity(copy)) for copy, disk in enumerate(self.disks)]
        self.clock = VirtualClock(1_000_000)
        self.engine = Engine(
            VOLUME, 8192, 6, GROUP_PAGES, 8 << 20, 1 << 30, "manual", clock=self.clock
        )
        self.engine.add_group(self.segments)
        self.engine.start(1, 0, 1, 0, [0])
        self.settle()

    def settle(self) -> None:
        while sum(self.engine.step(0, copy) for copy in range(6)):
            pass

    def put(self, key: bytes, value: bytes) -> int:
        lsn = self.engine.put(None, key, value)
        self.settle()
        assert self.engine.wait_durable(lsn, 0)
        return lsn


def test_a_manual_engine_moves_when_told() -> None:
    cluster = Cluster()
    lsn = cluster.engine.put(None, b"k", b"v")
    assert not cluster.engine.wait_durable(lsn, 0)
    for copy in range(3):
        cluster.engine.step(0, copy)
        cluster.engine.step(0, copy)
    assert not cluster.engine.wait_durable(lsn, 0)
    cluster.engine.step(0, 3)
    assert cluster.engine.wait_durable(lsn, 0)
    assert cluster.engine.get(None, b"k") == b"v"
    cluster.settle()
    assert {segment.state().scl for segment in cluster.segments} == {lsn}
    assert cluster.engine.status().write_status == "ok"
    assert cluster.engine.copy_status(0, 5).state == "ok"


def test_signals_are_seen_in_every_wait() -> None:
    class InterruptedHere(Exception):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise InterruptedHere

    cluster = Cluster()
    lsn = cluster.engine.put(None, b"k", b"nobody steps, so this never gets durable")
    waits: list[Callable[[], object]] = [
        lambda: cluster.engine.get(None, b"k"),
        lambda: cluster.engine.contains(None, b"k"),
        lambda: Txn(cluster.engine, True),
        lambda: cluster.engine.wait_durable(lsn),
        lambda: cluster.engine.wait_durable(lsn, 60),
        lambda: cluster.engine.put(None, b"k", b"v", True),
        lambda: cluster.engine.delete(None, b"k", True),
    ]
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for wait in waits:
            signal.setitimer(signal.ITIMER_REAL, 0.15)
            with pytest.raises(InterruptedHere):
                wait()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    cluster.settle()
    assert cluster.engine.get(None, b"k") is None


@pytest.mark.parametrize(
    "wait",
    [
        lambda engine: engine.get(None, b"k"),
        lambda engine: engine.contains(None, b"k"),
        lambda engine: Txn(engine, True),
        lambda engine: engine.wait_durable(engine.status().head),
        lambda engine: engine.wait_durable(engine.status().head, 60),
        lambda engine: engine.put(None, b"k", b"v", True),
    ],
    ids=["get", "contains", "begin", "wait", "wait with a timeout", "put"],
)
def test_a_signal_may_close_what_is_waited_for(wait: Callable[[Engine], object]) -> None:
    cluster = Cluster()
    cluster.engine.put(None, b"k", b"nobody steps, so this never gets durable")
    before = signal.signal(signal.SIGALRM, lambda number, frame: cluster.engine.destroy())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.15)
        with pytest.raises(aurora.DatabaseClosedError):
            wait(cluster.engine)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_time_comes_from_the_virtual_clock() -> None:
    cluster = Cluster()
    cluster.clock.now_us = 77_000_000
    cluster.put(b"k", b"v")
    assert cluster.engine.status().durable_time_us == 77_000_000


def test_frames_can_be_read_and_adopted() -> None:
    cluster = Cluster()
    for i in range(20):
        cluster.put(b"%d" % i, b"v" * 100)
    source = cluster.segments[0]
    target_disk = Disk.memory()
    Segment.create(target_disk, identity(5), 1, 0)
    target = Segment.open(target_disk, identity(5))
    after = 0
    while (frame := source.next_frame(after)) is not None:
        info = frame.info
        assert info.prev_lsn == after
        assert (info.group, info.groups, info.epoch) == (0, 1, 1)
        again = Frame.from_bytes(bytes(frame), VOLUME)
        assert again.info == info
        assert target.adopt(again, 1) == info.last_lsn
        assert target.append(frame) == info.last_lsn
        after = info.last_lsn
    assert target.state().scl == source.state().scl
    assert target.next_frame(after) is None
    page = source.read_page(3, after)
    assert page is not None
    assert len(page) == 8192
    assert target.read_page(3, after) == page
    assert target.read_page(GROUP_PAGES - 1, after) is None
    damaged = bytearray(bytes(again))
    damaged[-1] ^= 1
    for content, volume in (
        (damaged, VOLUME),
        (bytes(again), b"x" * 16),
        (b"", VOLUME),
        (b"junk" * 100, VOLUME),
    ):
        with pytest.raises(aurora.CorruptionError):
            Frame.from_bytes(content, volume)


def test_gaps_epochs_and_rewinds() -> None:
    cluster = Cluster()
    for i in range(5):
        cluster.put(b"%d" % i, b"v")
    source = cluster.segments[0]
    first = source.next_frame(0)
    assert first is not None
    later = source.next_frame(first.info.last_lsn)
    assert later is not None
    disk = Disk.memory()
    Segment.create(disk, identity(1), 1, 0)
    segment = Segment.open(disk, identity(1))
    with pytest.raises(LogGap):
        segment.append(later)
    segment.append(first)
    segment.append(later)
    segment.set_epoch(5)
    segment.set_epoch(5)
    with pytest.raises(aurora.FencedError):
        segment.set_epoch(4)
    rewind = RewindRecord(later.info.last_lsn + 100, first.info.last_lsn, 5, 123, 1)
    segment.rewind(rewind)
    segment.rewind(rewind)
    assert segment.rewinds() == [rewind]
    assert segment.state().scl == first.info.last_lsn
    following = source.next_frame(later.info.last_lsn)
    assert following is not None
    with pytest.raises(aurora.FencedError):
        segment.append(following)


def test_work_compact_verify_and_copy() -> None:
    cluster = Cluster()
    for i in range(50):
        cluster.put(b"%d" % i, b"v" * 1000)
    segment = cluster.segments[2]
    segment.compact()
    assert segment.state().layers > 0
    while segment.work():
        pass
    segment.check()
    counts, damage = segment.verify()
    assert damage == []
    assert counts.files > 0
    assert counts.bytes > 0
    steps: list[tuple[int, int]] = []
    disk = Disk.memory()
    segment.copy(disk, identity(4), lambda done, total: steps.append((done, total)))
    copy = Segment.open(disk, identity(4))
    lsn = segment.state().scl
    assert copy.state().scl == lsn
    assert copy.read_page(3, lsn) == segment.read_page(3, lsn)
    assert steps
    with pytest.raises(aurora.StorageIOError, match="stopped"):
        segment.copy(Disk.memory(), identity(4), lambda done, total: False)

    def broken(done: int, total: int) -> bool:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        segment.copy(Disk.memory(), identity(4), broken)


def test_a_failed_segment_says_why() -> None:
    cluster = Cluster()
    segment = cluster.segments[1]
    segment.fail("its disk was pulled out")
    state = segment.state()
    assert state.health == "failed"
    assert "pulled out" in str(state.damage)


def test_a_segment_that_serves_is_not_closed() -> None:
    cluster = Cluster()
    with pytest.raises(ValueError, match="serves an engine"):
        cluster.segments[0].close()
    assert cluster.engine.replace(0, 0, None) is cluster.segments[0]
    cluster.segments[0].close()
    cluster.segments[0].close()
    with pytest.raises(aurora.DatabaseClosedError, match="segment is closed"):
        cluster.segments[0].state()
    cluster.put(b"k", b"five copies do")
    txn = Txn(cluster.engine)
    cluster.engine.close()
    with pytest.raises(aurora.DatabaseClosedError):
        cluster.engine.get(None, b"k")
    cluster.engine.destroy()
    cluster.engine.destroy()
    assert txn.closed
    cluster.segments[1].close()


def test_opening_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(aurora.StorageIOError) as caught:
        Disk.posix(tmp_path / "missing", create=False)
    assert caught.value.errno == 2
    disk = Disk.posix(tmp_path / "empty folder")
    with pytest.raises(aurora.StorageIOError, match="no segment"):
        Segment.open(disk)
    Segment.create(disk, identity(), 1, 0)
    with pytest.raises(ValueError, match="segment"):
        Segment.create(disk, identity(), 1, 0)
    with pytest.raises(aurora.CorruptionError):
        Segment.open(disk, identity()._replace(volume_id=b"another volume!!"))
    assert Segment.open(disk).state().identity == identity()


def test_disks(tmp_path: Path) -> None:
    for disk in (Disk.posix(tmp_path / "a b"), Disk.memory(), Disk.faulty(Disk.memory(), 1)):
        assert disk.list() == {}
        disk.replace("one", b"content")
        disk.replace("one", b"other content")
        disk.replace("two", b"")
        assert disk.list() == {"one": 13, "two": 0}
        disk.remove("two")
        with pytest.raises(aurora.StorageIOError):
            disk.remove("two")
        assert disk.list() == {"one": 13}
        with pytest.raises(ValueError, match="not a name"):
            disk.replace("a/b", b"")
        disk.close()
        disk.close()
        with pytest.raises(aurora.DatabaseClosedError, match="disk is closed"):
            disk.list()
    assert (tmp_path / "a b" / "one").read_bytes() == b"other content"
    with pytest.raises(ValueError, match="faulty"):
        Disk.memory().set_dead(True)


def test_a_faulty_disk_fails_as_told_and_outlives_its_segment() -> None:
    medium = Disk.memory()
    disk = Disk.faulty(medium, 7)
    Segment.create(disk, identity(), 1, 0)
    segment = Segment.open(disk, identity())
    disk.crash()
    with pytest.raises(aurora.StorageIOError):
        segment.set_epoch(9)
    segment.close()
    disk.recover()
    assert Segment.open(disk, identity()).state().epoch == 1
    disk.set_dead(True)
    with pytest.raises(aurora.StorageIOError) as caught:
        disk.replace("x", b"")
    assert caught.value.errno == 5
    disk.set_dead(False)
    disk.set_space(0)
    with pytest.raises(aurora.VolumeFullError):
        disk.replace("x", b"12345")
    disk.set_space(None)
    disk.set_rates(read_error_ppm=1_000_000)
    disk.set_rates()
    disk.crash_after(None)
    assert disk.flip("no such file") is False
    assert disk.counts().writes > 0


def test_checksum_is_xxh3() -> None:
    xxhash = pytest.importorskip("xxhash")
    for content in (b"", b"a", b"some text" * 100):
        assert checksum(content) == xxhash.xxh3_64_intdigest(content)
        assert checksum(content, 5) == xxhash.xxh3_64_intdigest(content, seed=5)


def test_engine_arguments() -> None:
    with pytest.raises(ValueError, match="drive"):
        Engine(VOLUME, 8192, 6, GROUP_PAGES, 8 << 20, 1 << 30, "steam")
    with pytest.raises(ValueError, match="16 bytes"):
        Engine(b"short", 8192, 6, GROUP_PAGES, 8 << 20, 1 << 30)
    cluster = Cluster()
    with pytest.raises(ValueError, match="6 copies"):
        cluster.engine.add_group([])
