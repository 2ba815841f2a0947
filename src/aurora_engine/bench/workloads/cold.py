"""Data ten times as large as the cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aurora_engine.bench import data
from aurora_engine.bench.drive import Step, closed_loop
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads import steps
from aurora_engine.bench.workloads.base import Bench, Case, Workload, threads_case

__all__ = ["Cold"]

TIMES = 10
BATCH = 100


class Cold(Workload):
    """Random gets and overwrites of what is mostly not in the cache."""

    name = "cold"
    title = f"Data {TIMES} times the cache"
    about = (
        f"Records of {TIMES} times the cache that each engine is given, keys chosen uniformly: "
        f"single gets, and durable transactions of {BATCH} overwrites. They were loaded in the "
        "order of their keys, which is not timed. Before each repetition the kernel is asked to "
        "forget the files. What an engine reads through the kernel's page cache (RocksDB and ours "
        "do) it may find there the second time, beyond the cache it was given, and LMDB's map is "
        "not forgotten as long as it is open."
    )

    def cases(self, sizes: Sizes) -> list[Case]:
        return [
            *(threads_case("gets/s", count, prefix="random gets, ") for count in (1, 8)),
            threads_case("upserts/s", 1, prefix="random overwrites, "),
        ]

    def prepare(self, bench: Bench) -> None:
        cache_bytes = bench.sizes.cold_cache_bytes
        records = TIMES * cache_bytes // data.RECORD_BYTES
        bench.open(cache_bytes)
        bench.engine.load(data.batches(sorted(data.keys(0, records))))
        bench.engine.settle()
        bench.state["cold"] = records

    def take(self, bench: Bench, case: Case) -> Sample:
        seed, records = bench.seed(), bench.state["cold"]
        threads, reading = case.parameters["threads"], case.name.startswith("random gets")

        def begin(number: int) -> tuple[Step, Callable[[], None]]:
            session = bench.engine.session()
            if reading:
                keys = steps.chosen_keys(records, threads, [seed, number])
                return steps.gets(session, keys), session.close
            pairs = steps.new_values(records, threads, [seed, number])
            return steps.batches(session, pairs, BATCH), session.close

        _forget(bench.folder)
        return closed_loop(bench, threads, bench.sizes.seconds, begin)


def _forget(folder: Path) -> None:
    """Asks the kernel to drop what it has cached of the files in a folder."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # an engine may still be removing what it compacted
            if path.is_file():
                _forget_file(path)


def _forget_file(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)
