"""Durable writes of threads in closed loops: one record a transaction, and many."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from aurora_engine.bench.drive import Step, closed_loop
from aurora_engine.bench.engines.bare import Bare
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads import steps
from aurora_engine.bench.workloads.base import Bench, Case, Workload, threads_case

__all__ = ["Batches", "Upserts"]

BATCH = 100
BATCH_THREADS = (1, 16)


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
            pairs = steps.new_values(bench.sizes.records, threads, [seed, number])
            return steps.puts(session, pairs), session.close

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
        threads, seed = case.parameters["threads"], bench.seed()

        def begin(number: int) -> tuple[Step, Callable[[], None]]:
            session = bench.engine.session()
            pairs = steps.new_values(bench.sizes.records, threads, [seed, number])
            return steps.batches(session, pairs, BATCH), session.close

        return closed_loop(bench, threads, bench.sizes.seconds, begin)
