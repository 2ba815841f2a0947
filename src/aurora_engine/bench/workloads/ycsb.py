"""The core workloads of YCSB."""

from __future__ import annotations

import itertools
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from aurora_engine.bench import data
from aurora_engine.bench.drive import Step, closed_loop
from aurora_engine.bench.engines.base import Session
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads import steps
from aurora_engine.bench.workloads.base import Bench, Case, Workload, threads_case

__all__ = ["Ycsb"]

SAMPLED = 16
SCAN_MAX = 100
BLOCK = 4096
THREADS = (1, 8)

Burst = list[tuple[Any, bool]]
"""Keys (of D ranks), each with whether it is written."""


@dataclass(frozen=True, slots=True)
class Mix:
    """One of the core workloads: what comes beside reads, in what share."""

    other: str
    share: float
    newest: bool = False


MIXES = {
    "C": Mix("update", 0.0),
    "B": Mix("update", 0.05),
    "A": Mix("update", 0.5),
    "F": Mix("modify", 0.5),
    "E": Mix("insert", 0.05),
    "D": Mix("insert", 0.05, newest=True),
}


class Ycsb(Workload):
    """A to F, in the order in which they leave the records as they are for the next."""

    name = "ycsb"
    title = "YCSB"
    about = (
        "The six core workloads, keys zipfian with the constant 0.99 and scattered (D: the newest "
        "most often). A: half reads, half updates. B: 95 reads, 5 updates. C: reads. D: 95 reads, "
        "5 inserts. E: 95 scans of 1 to 100 records, 5 inserts. F: half reads, half "
        "read-modify-writes. An update writes the whole record, and every write is durable before "
        f"the thread goes on. One operation of {SAMPLED} is timed for the latencies, which mix "
        "reads and writes."
    )
    shares = "records"
    heavy = True

    def cases(self, sizes: Sizes) -> list[Case]:
        return [
            Case(
                threads_case("", threads, prefix=f"{mix}, ").name,
                "operations/s",
                {"mix": mix, "threads": threads},
            )
            for mix in MIXES
            if mix in sizes.ycsb
            for threads in THREADS
        ]

    def prepare(self, bench: Bench) -> None:
        bench.state.setdefault("ycsb", _Inserted(bench.keys))

    def take(self, bench: Bench, case: Case) -> Sample:
        letter, threads = case.parameters["mix"], case.parameters["threads"]
        seed = bench.seed()

        def begin(number: int) -> tuple[Step, Callable[[], None]]:
            session = bench.engine.session()
            plan = _plan(letter, len(bench.keys), threads, [seed, number])
            values = _values(plan, [seed, number])
            actor = _Actor(session, letter, bench.state["ycsb"], plan, values)
            return actor.step, session.close

        return closed_loop(bench, threads, bench.sizes.seconds, begin)

    def finish(self, bench: Bench) -> None:
        expected = len(bench.state["ycsb"].keys)
        assert bench.engine.count() == expected, "not every inserted record is there"


class _Inserted:
    """The keys that there are, in the order of their insertion, shared by all threads."""

    def __init__(self, keys: list[bytes]) -> None:
        self.keys = list(keys)
        self._blocks = itertools.count(len(keys), BLOCK)

    def new(self) -> Iterator[bytes]:
        """Keys that nobody else gets."""
        while True:
            start = next(self._blocks)
            yield from data.keys(start, start + BLOCK)


class _Actor:
    """What one thread does: its calls, and the keys and values it does them with."""

    def __init__(
        self,
        session: Session,
        letter: str,
        inserted: _Inserted,
        plan: list[Burst],
        values: list[bytes],
    ) -> None:
        self._read = self._reader(session, letter, inserted)
        self._write = self._writer(session, MIXES[letter].other, inserted)
        self._next_burst, self._next_value = data.endless(plan), data.endless(values)

    def _reader(
        self, session: Session, letter: str, inserted: _Inserted
    ) -> Callable[[Any], object]:
        if letter == "E":
            lengths = np.random.default_rng(data.SEED).permutation(SCAN_MAX) + 1
            scan, next_length = session.scan, data.endless(lengths.tolist())
            return lambda key: scan(key, next_length())
        if letter == "D":
            get, keys = session.get, inserted.keys
            return lambda rank: get(keys[-1 - rank])
        return session.get

    def _writer(
        self, session: Session, other: str, inserted: _Inserted
    ) -> Callable[[Any, bytes], object]:
        get, put = session.get, session.put

        def modify(key: bytes, value: bytes) -> None:
            assert get(key) is not None, "a record is gone"
            put(key, value)

        next_new, append = inserted.new().__next__, inserted.keys.append

        def insert(_key: Any, value: bytes) -> None:
            key = next_new()
            put(key, value)
            append(key)

        return {"update": put, "modify": modify, "insert": insert}[other]

    def step(self, latencies: array[int]) -> int:
        """A burst, the first operation of it timed."""
        read, write, clock = self._read, self._write, time.perf_counter_ns
        next_value, burst = self._next_value, self._next_burst()
        key, wrote = burst[0]
        start = clock()
        found = write(key, next_value()) if wrote else read(key)
        latencies.append(clock() - start)
        assert wrote or found, "a record is gone"
        for key, wrote in burst[1:]:
            if wrote:
                write(key, next_value())
            else:
                read(key)
        return len(burst)


def _plan(letter: str, records: int, threads: int, seed: list[int]) -> list[Burst]:
    """Bursts for one of the threads, which begins with the first again after the last."""
    mix, zipfian = MIXES[letter], data.Zipfian(records, seed)
    operations = steps.round_length(records) // threads
    keys: list[Any] = (
        zipfian.ranks(operations).tolist()
        if mix.newest
        else data.keys_of(zipfian.scrambled(operations))
    )
    # Numbers of their own: those of the ranks would write the frequent keys and read the others.
    writes = np.random.default_rng([*seed, 1]).random(operations) < mix.share
    entries = list(zip(keys, writes.tolist(), strict=True))
    return [entries[start : start + SAMPLED] for start in range(0, operations, SAMPLED)]


def _values(plan: list[Burst], seed: list[int]) -> list[bytes]:
    """One less than the plan has writes, so that a key meets another value in each round."""
    writes = sum(wrote for burst in plan for _, wrote in burst)
    return data.values(max(writes - 1, 1), seed)
