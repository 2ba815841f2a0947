"""Overwriting the same keys for long: what it costs on disk, in memory, and other commits."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import aurora_engine as aurora
from aurora_engine.bench.measure import Figure, Goal
from benchmarks import workloads

CACHE_MIB = 64
WINDOW = timedelta(seconds=10)
BATCH = 1000
MIB = 1 << 20


def resident_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MIB


@dataclass(slots=True)
class Watch:
    """What was seen, second by second."""

    disk_ratios: list[float] = field(default_factory=list)
    resident_mib: list[float] = field(default_factory=list)

    def look(self, db: aurora.Database) -> None:
        """The largest copy's bytes against what it has to keep, and resident memory."""
        status = db.status()
        kept = status.live_bytes + status.history_used_bytes
        largest = max(each.log_bytes + each.layer_bytes for each in status.segments)
        self.disk_ratios.append(largest / kept)
        self.resident_mib.append(resident_mib())


def overwriting(folder: Path, keys: int, overwrites: int, seconds: float) -> list[Goal]:
    """Random overwrites of ``keys`` records, with a window of ten seconds."""
    source = random.Random(workloads.SEED)
    before_mib = resident_mib()
    watch = Watch()
    with aurora.open(folder / "churn", cache_bytes=CACHE_MIB * MIB, backtrack_window=WINDOW) as db:
        for start in range(0, keys, BATCH):
            db.put_many(_batch(source, range(start, min(start + BATCH, keys))))
        db.compact()
        quiet = _put_latencies(db, seconds, lambda: None)
        with _each_second(lambda: watch.look(db)):
            for _ in range(overwrites // BATCH):
                db.put_many(_batch(source, (source.randrange(keys) for _ in range(BATCH))))
        busy = _put_latencies(db, seconds, db.compact)
    disk = Figure("disk of a copy over what it keeps", "x", watch.disk_ratios)
    memory = Figure(
        "resident memory above the budget",
        "MiB",
        [each - before_mib - CACHE_MIB for each in watch.resident_mib],
    )
    without = Figure("p99 without", "ms", [_p99(quiet)])
    during = Figure("p99 during", "ms", [_p99(busy)])
    return [
        Goal(
            f"disk during {overwrites:,} overwrites", max(disk.samples), "at most", 1.5, "x", [disk]
        ),
        Goal("memory during it", max(memory.samples), "at most", 64, "MiB", [memory]),
        Goal(
            "latency of a durable put during compaction",
            during.median / without.median,
            "at most",
            5,
            "x",
            [during, without],
        ),
    ]


def _batch(source: random.Random, numbers: Iterator[int] | range) -> list[tuple[bytes, bytes]]:
    return [(workloads.key(number), workloads.value(source)) for number in numbers]


def _put_latencies(
    db: aurora.Database, seconds: float, beside: Callable[[], object]
) -> list[float]:
    """Milliseconds of each of many durable puts, while ``beside`` is done again and again."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            beside()
            stop.wait(0.01)

    helper = threading.Thread(target=repeat)
    helper.start()
    taken = []
    source = random.Random(workloads.SEED)
    end = time.perf_counter() + seconds
    try:
        while (start := time.perf_counter()) < end:
            db.put(workloads.key(source.randrange(1 << 20)), workloads.value(source))
            taken.append((time.perf_counter() - start) * 1000)
    finally:
        stop.set()
        helper.join()
    return taken


def _p99(samples: list[float]) -> float:
    return sorted(samples)[len(samples) * 99 // 100]


@contextmanager
def _each_second(look: Callable[[], None]) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(1.0):
            look()

    watcher = threading.Thread(target=run)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        look()
