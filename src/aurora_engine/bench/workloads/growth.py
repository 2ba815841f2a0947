"""What a put and a get cost as the data grows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import ClassVar

from aurora_engine.bench import data
from aurora_engine.bench.drive import Step, closed_loop
from aurora_engine.bench.engines.aurora import OneCopy, SixCopies
from aurora_engine.bench.engines.base import Server
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads import steps
from aurora_engine.bench.workloads.base import Bench, Case, Workload

__all__ = ["Growth", "GrowthSix"]

LOADED_AT_ONCE = 1_000_000
CACHE_SHARE = 0.8


class Growth(Workload):
    """One copy, growing from case to case."""

    name = "growth"
    title = "Growing data, one copy"
    about = (
        "One database grows; at each number of records, single durable puts and single gets of "
        "records chosen uniformly, one thread. The cost is the mean of an operation. Gets all over "
        "the data come first: memory that rested for minutes while the data grew may be slow at "
        "its first touch, which is the machine's doing. The cache is "
        f"{CACHE_SHARE:.0%} of the machine's memory, so that it holds the data as far as that "
        "goes. Peers are not shown: the largest sizes would take some of them hours."
    )
    subject: ClassVar[type[Server]] = OneCopy

    def cases(self, sizes: Sizes) -> list[Case]:
        return [
            Case(
                f"{what} at {records:,} records",
                "us",
                {"what": what, "records": records, "threads": 1},
                better="less",
            )
            for records in self.counts(sizes)
            for what in ("put", "get")
        ]

    def counts(self, sizes: Sizes) -> tuple[int, ...]:
        """The numbers of records."""
        return sizes.growth

    def takes_part(self, engine_type: type[Server]) -> bool:
        return engine_type is self.subject

    def prepare(self, bench: Bench) -> None:
        bench.open(int(CACHE_SHARE * memory_bytes()))
        bench.state["records"] = 0

    def take(self, bench: Bench, case: Case) -> Sample:
        records = case.parameters["records"]
        if bench.state["records"] < records:
            bench.engine.load(_new_records(bench.state["records"], records))
            bench.engine.settle()
            bench.state["records"] = records
            _touch(bench, records)
        seed = bench.seed()
        putting = case.parameters["what"] == "put"

        def begin(number: int) -> tuple[Step, Callable[[], None]]:
            session = bench.engine.session()
            if putting:
                pairs = steps.new_values(records, 1, [seed, number])
                return steps.puts(session, pairs), session.close
            return steps.gets(session, steps.chosen_keys(records, 1, [seed, number])), session.close

        sample = closed_loop(bench, 1, bench.sizes.seconds, begin)
        sample.value = 1e6 / sample.value
        return sample


class GrowthSix(Growth):
    """Six copies."""

    name = "growth-six"
    title = "Growing data, six copies"
    subject = SixCopies

    def counts(self, sizes: Sizes) -> tuple[int, ...]:
        return sizes.growth_six


def memory_bytes() -> int:
    """Memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _touch(bench: Bench, records: int) -> None:
    """Gets some records of every MiB."""
    session = bench.engine.session()
    for key in steps.chosen_keys(records, 1, [bench.seed()]):
        session.get(key)
    session.close()


def _new_records(start: int, stop: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Batches of the records from `start` on, made as they are needed."""
    for first in range(start, stop, LOADED_AT_ONCE):
        yield from data.batches(data.keys(first, min(first + LOADED_AT_ONCE, stop)))
