"""One record a transaction, durable when it returns."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable

from aurora_engine.bench import data
from aurora_engine.bench.drive import Step, closed_loop
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads.base import Bench, Case, Sample, Workload

__all__ = ["Upserts"]

CHOSEN = 1 << 16


class Upserts(Workload):
    """Durable single-record upserts over threads."""

    name = "upserts"
    title = "Durable single-record upserts"
    about = (
        "Every thread overwrites records chosen uniformly, one a transaction, and goes on when the "
        "engine says that it is durable. Six copies of ours beside one copy of each peer."
    )
    shares = "records"

    def cases(self, sizes: Sizes) -> list[Case]:
        """One for each number of threads."""
        return [
            Case(f"{threads} thread{'s' * (threads > 1)}", "upserts/s", {"threads": threads})
            for threads in sizes.threads
        ]

    def prepare(self, bench: Bench) -> None:
        """Loads the records."""
        assert bench.keys

    def take(self, bench: Bench, case: Case) -> Sample:
        """Upserts a second."""
        seed = bench.seed()

        def begin(number: int) -> tuple[Step, Callable[[], None]]:
            session = bench.engine.session()
            numbers = data.chosen(bench.sizes.records, CHOSEN, seed=[seed, number])
            pairs = zip(
                data.keys_of(numbers), data.values(CHOSEN, seed=[seed, number]), strict=True
            )
            put, clock, next_pair = session.put, time.perf_counter_ns, data.endless(list(pairs))

            def step(latencies: array[int]) -> int:
                key, value = next_pair()
                start = clock()
                put(key, value)
                latencies.append(clock() - start)
                return 1

            return step, session.close

        return closed_loop(bench, case.parameters["threads"], bench.sizes.seconds, begin)
