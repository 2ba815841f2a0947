"""What history costs: backtrack, views, clones, space, and overwriting without end."""

from __future__ import annotations

import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from rocksdict import DBCompressionType, Options, Rdict

import aurora_engine as aurora
from aurora_engine.bench import data
from aurora_engine.bench.measure import Figure, Goal, interleave
from aurora_engine.bench.workloads.chunks import key_of_chunk, volume_of
from aurora_engine.bench.workloads.history import commit_many
from aurora_engine.bench.workloads.loading import bytes_of
from benchmarks import workloads

NEAR_COMMITS = 10
NO_WINDOW = timedelta(0)
MIB = 1 << 20


def _milliseconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def backtracks(folder: Path, commits: int, repetitions: int) -> list[Goal]:
    """Going back over ten commits and over millions, and forward again."""
    near: list[float] = []
    far: list[float] = []
    with aurora.open(folder / "backtrack") as db:
        db.put(b"first", b"commit")
        origin = commit_many(db, commits)
        for _ in range(repetitions):
            close_by = commit_many(db, NEAR_COMMITS)
            for target, samples in ((close_by, near), (origin, far)):
                undo = db.durable_lsn
                samples.append(_milliseconds(partial(db.backtrack, to=target)))
                assert (db.get(data.keys(0, 1)[0]) is None) == (target == origin)
                db.backtrack(to=undo)
    few = Figure(f"over {NEAR_COMMITS} commits", "ms", near)
    many = Figure(f"over {commits:,} commits", "ms", far)
    return [
        Goal("backtrack over few commits", few.median, "at most", 100, "ms", [few]),
        Goal("backtrack over many commits", many.median, "at most", 100, "ms", [many]),
        Goal(
            "backtrack, many commits against few",
            many.median / few.median,
            "at most",
            2,
            "x",
            [many, few],
        ),
    ]


def views(folder: Path, records: int, commits: int, gets: int) -> list[Goal]:
    """Reading a moment many commits ago, from a cache that does not have it."""
    pairs = workloads.records(records)
    source = random.Random(workloads.SEED)
    keys = [source.choice(pairs)[0] for _ in range(gets)]
    with aurora.open(folder / "views", cache_bytes=256 * MIB) as db:
        for start in range(0, len(pairs), 10_000):
            db.put_many(pairs[start : start + 10_000])
        moment = commit_many(db, commits)
        with db.at(moment) as view:
            first = Figure("first read", "ms", [_milliseconds(lambda: view.get(keys[0]))])
            for key in keys:  # both caches warm
                view.get(key)
            with db.snapshot() as now:
                for key in keys:
                    now.get(key)
                then = Figure("then", "gets/s", [_rate(view, keys) for _ in range(3)])
                head = Figure("at the head", "gets/s", [_rate(now, keys) for _ in range(3)])
    return [
        Goal(f"first read {commits:,} commits ago", first.median, "at most", 10, "ms", [first]),
        Goal(
            "reads then against the head",
            then.median / head.median,
            "at least",
            0.5,
            "x",
            [then, head],
        ),
    ]


def _rate(view: aurora.Snapshot, keys: list[bytes]) -> float:
    start = time.perf_counter()
    for key in keys:
        view.get(key)
    return len(keys) / (time.perf_counter() - start)


def clones(folder: Path, small_mib: int, large_mib: int, repetitions: int) -> list[Goal]:
    """Cloning a small and a large volume, on a file system with hard links."""

    def clone(db: aurora.Database, mib: int) -> float:
        target = folder / f"clone of {mib}"
        start = time.perf_counter()
        made = db.clone(target)
        taken_ms = (time.perf_counter() - start) * 1000
        assert made.get(key_of_chunk(mib - 1, 255)) is not None
        made.close()
        shutil.rmtree(target)
        return taken_ms

    one_copy = aurora.Topology.single()
    with (
        volume_of(folder / "small parent", small_mib, one_copy) as small_db,
        volume_of(folder / "large parent", large_mib, one_copy) as large_db,
    ):
        clone(small_db, small_mib)
        clone(large_db, large_mib)
        taken = interleave(
            repetitions,
            small=lambda: clone(small_db, small_mib),
            large=lambda: clone(large_db, large_mib),
        )
    small = Figure(f"of {small_mib} MiB", "ms", taken["small"])
    large = Figure(f"of {large_mib} MiB", "ms", taken["large"])
    ratio = statistics.median(a / b for a, b in zip(large.samples, small.samples, strict=True))
    return [
        Goal("clone of a large volume", large.median, "at most", 200, "ms", [large]),
        Goal("clone, large against small", ratio, "at most", 2, "x", [large, small]),
    ]


def space(folder: Path, records: int) -> list[Goal]:
    """Bytes a copy of the same records after compaction, without history."""
    pairs = workloads.records(records)
    ours = folder / "space"
    with aurora.open(ours, backtrack_window=NO_WINDOW) as db:
        for start in range(0, len(pairs), 10_000):
            db.put_many(pairs[start : start + 10_000])
        time.sleep(1)  # the window moves on
        db.compact()
        status = db.status()
        copy = max(segment.layer_bytes for segment in status.segments)
    theirs = folder / "space rocksdb"
    options = Options(raw_mode=True)
    options.set_compression_type(DBCompressionType.zstd())
    peer = Rdict(str(theirs), options)
    for key, value in pairs:
        peer[key] = value
    peer.flush()
    peer.compact_range(None, None)
    peer.close()
    aurora_mib = Figure("one copy", "MiB", [copy / MIB])
    peer_mib = Figure("RocksDB, zstd", "MiB", [bytes_of(theirs) / MIB])
    return [
        Goal(
            "size after compaction against RocksDB",
            aurora_mib.median / peer_mib.median,
            "at most",
            1,
            "x",
            [aurora_mib, peer_mib],
        )
    ]


def overwrites(folder: Path, cache_mib: int, seconds: float) -> list[Goal]:
    """Random overwrites of data ten times the cache: does it stay as fast as it begins?"""
    records = 10 * cache_mib * MIB // 128
    source = random.Random(workloads.SEED)
    slices: list[float] = []
    with aurora.open(
        folder / "overwrites", cache_bytes=cache_mib * MIB, backtrack_window=timedelta(seconds=10)
    ) as db:
        for start in range(0, records, 10_000):
            db.put_many(_some(source, range(start, min(start + 10_000, records))))
        slice_s = seconds / 5
        for _ in range(5):
            done = 0
            start_s = time.perf_counter()
            while time.perf_counter() - start_s < slice_s:
                db.put_many(_some(source, (source.randrange(records) for _ in range(1000))))
                done += 1000
            slices.append(done / (time.perf_counter() - start_s))
    rate = Figure("rate by fifths of the time", "puts/s", slices)
    return [
        Goal(
            "overwriting ten times the cache, last fifth against first",
            slices[-1] / slices[0],
            "at least",
            0.7,
            "x",
            [rate],
        )
    ]


def _some(source: random.Random, numbers: Iterator[int] | range) -> list[tuple[bytes, bytes]]:
    return [(workloads.key(number), workloads.value(source)) for number in numbers]
