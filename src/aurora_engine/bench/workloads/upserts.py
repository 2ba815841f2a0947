"""Durable writes of threads in closed loops: one record a transaction, and many."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import cast

from aurora_engine.bench import data
from aurora_engine.bench.drive import Step, closed_loop
from aurora_engine.bench.engines.bare import Bare
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads.base import Bench, Case, Sample, Workload, threads_case

__all__ = ["Batches", "Upserts"]

CHOSEN = 1 << 16
BATCH = 100
BATCH_THREADS = (1, 16)


def _pairs(bench: Bench, seed: list[int]) -> list[tuple[bytes, bytes]]:
    """New values for records chosen uniformly."""
    numbers = data.chosen(bench.sizes.records, CHOSEN, seed)
    return list(zip(data.keys_of(numbers), data.values(CHOSEN, seed), strict=True))


class Upserts(Workload):
    """Durable single-record upserts over threads."""

    name = "upserts"
    title = "Durable single-record upserts"
    about = (
        "Every thread overwrites records chosen uniformly, one a transaction, and goes on when the "
        "engine says that it is durable. Six copies of ours beside one copy of each peer. The bare "
        "programs are no engines: they only write and sync records of 132 bytes, one thread for "
        "all that wait, and show what the disk gives."
    )
    shares = "records"

    def cases(self, sizes: Sizes) -> list[Case]:
        return [threads_case("upserts/s", threads) for threads in sizes.threads]

    def prepare(self, bench: Bench) -> None:
        if not issubclass(bench.engine_type, Bare):
            assert bench.keys

    def take(self, bench: Bench, case: Case) -> Sample:
        threads = case.parameters["threads"]
        if issubclass(bench.engine_type, Bare):
            return cast("Bare", bench.server).commits(threads, bench.sizes.seconds)
        seed = bench.seed()

        def begin(number: int) -> tuple[Step, Callable[[], None]]:
            session = bench.engine.session()
            next_pair = data.endless(_pairs(bench, [seed, number]))
            put, clock = session.put, time.perf_counter_ns

            def step(latencies: array[int]) -> int:
                key, value = next_pair()
                start = clock()
                put(key, value)
                latencies.append(clock() - start)
                return 1

            return step, session.close

        return closed_loop(bench, threads, bench.sizes.seconds, begin)


class Batches(Workload):
    """Durable transactions of a hundred upserts."""

    name = "batches"
    title = f"Durable transactions of {BATCH} upserts"
    about = (
        f"Every thread overwrites {BATCH} records chosen uniformly in one transaction, through "
        "whatever the engine has for that, and goes on when it is durable."
    )
    shares = "records"

    def cases(self, sizes: Sizes) -> list[Case]:
        return [threads_case("upserts/s", threads) for threads in BATCH_THREADS]

    def prepare(self, bench: Bench) -> None:
        assert bench.keys

    def take(self, bench: Bench, case: Case) -> Sample:
        seed = bench.seed()

        def begin(number: int) -> tuple[Step, Callable[[], None]]:
            session = bench.engine.session()
            pairs = _pairs(bench, [seed, number])
            next_batch = data.endless(
                [pairs[start : start + BATCH] for start in range(0, CHOSEN - BATCH, BATCH)]
            )
            put_batch, clock = session.put_batch, time.perf_counter_ns

            def step(latencies: array[int]) -> int:
                batch = next_batch()
                start = clock()
                put_batch(batch)
                latencies.append(clock() - start)
                return BATCH

            return step, session.close

        return closed_loop(bench, case.parameters["threads"], bench.sizes.seconds, begin)
