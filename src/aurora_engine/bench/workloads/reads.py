"""Reads of records that fit in the cache."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable

from aurora_engine.bench import data
from aurora_engine.bench.drive import Step, closed_loop, timed
from aurora_engine.bench.engines.base import Session
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads import steps
from aurora_engine.bench.workloads.base import Bench, Case, Workload, threads_case

__all__ = ["Reads"]

BURST = 256
MANY = 100


class Reads(Workload):
    """Point gets, gets of many keys, short scans and full scans."""

    name = "reads"
    title = "Reads of cached records"
    about = (
        "Keys are chosen uniformly. Every call is a transaction of its own at the newest state, "
        "and what it finds arrives in Python as bytes. Latencies are those of single calls, one of "
        f"{BURST} timed."
    )
    shares = "records"

    def cases(self, sizes: Sizes) -> list[Case]:
        return [
            threads_case("gets/s", 1, prefix="get, "),
            threads_case("gets/s", 2, prefix="get, "),
            Case(f"get_many of {MANY}", "keys/s", {"threads": 1}),
            Case(f"scan of {MANY}", "records/s", {"threads": 1}),
            Case("full scan", "records/s"),
        ]

    def prepare(self, bench: Bench) -> None:
        expected = len(bench.keys)
        assert bench.engine.count() == expected, "not every record is there"

    def take(self, bench: Bench, case: Case) -> Sample:
        if case.name == "full scan":
            return timed(bench, bench.engine.count)
        threads, seed = case.parameters["threads"], bench.seed()
        steps_of = _STEPS[case.name.partition(",")[0]]

        def begin(number: int) -> tuple[Step, Callable[[], None]]:
            session = bench.engine.session()
            keys = steps.chosen_keys(bench.sizes.records, threads, [seed, number])
            return steps_of(session, keys), session.close

        return closed_loop(bench, threads, bench.sizes.seconds, begin)


def _gets(session: Session, keys: list[bytes]) -> Step:
    get, clock = session.get, time.perf_counter_ns
    next_burst = data.endless([keys[start : start + BURST] for start in range(0, len(keys), BURST)])

    def step(latencies: array[int]) -> int:
        first, *others = next_burst()
        start = clock()
        found = get(first)
        latencies.append(clock() - start)
        assert found is not None, "a record is gone"
        for key in others:
            get(key)
        return BURST

    return step


def _gets_of_many(session: Session, keys: list[bytes]) -> Step:
    get_many, clock = session.get_many, time.perf_counter_ns
    next_keys = data.endless(
        [keys[start : start + MANY] for start in range(0, len(keys) - MANY, MANY)]
    )

    def step(latencies: array[int]) -> int:
        wanted = next_keys()
        start = clock()
        found = get_many(wanted)
        latencies.append(clock() - start)
        assert len(found) == MANY, "get_many gave another number than it was asked for"
        assert found[-1] is not None, "a record is gone"
        return MANY

    return step


def _scans(session: Session, keys: list[bytes]) -> Step:
    scan, clock, next_key = session.scan, time.perf_counter_ns, data.endless(keys)

    def step(latencies: array[int]) -> int:
        start = clock()
        found = scan(next_key(), MANY)
        latencies.append(clock() - start)
        return len(found)

    return step


_STEPS: dict[str, Callable[[Session, list[bytes]], Step]] = {
    "get": _gets,
    f"get_many of {MANY}": _gets_of_many,
    f"scan of {MANY}": _scans,
}
