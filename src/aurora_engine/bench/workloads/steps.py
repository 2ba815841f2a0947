"""The steps that several workloads have in common; each operation is timed."""

from __future__ import annotations

import itertools
import time
from array import array
from collections.abc import Iterator, Sequence

from aurora_engine.bench import data
from aurora_engine.bench.drive import Step
from aurora_engine.bench.engines.base import Pair, Session

__all__ = ["batches", "chosen_keys", "gets", "new_values", "puts", "round_length"]

CHOSEN_MAX = 1 << 17
CHOSEN_FOR_A_RECORD = 4


def round_length(records: int) -> int:
    """Operations that all threads together have before each begins with its own again."""
    return min(CHOSEN_MAX, CHOSEN_FOR_A_RECORD * records)


def chosen_keys(records: int, threads: int, seed: list[int]) -> list[bytes]:
    """Keys of records chosen uniformly, for one of so many threads."""
    return data.keys_of(data.chosen(records, round_length(records) // threads, seed))


def new_values(records: int, threads: int, seed: list[int]) -> Iterator[Pair]:
    """Records chosen uniformly, each time with a value that it did not have before, without end."""
    keys = chosen_keys(records, threads, seed)
    # One less, so that a key meets another value in each round.
    values = data.values(len(keys) - 1, seed)
    return zip(itertools.cycle(keys), itertools.cycle(values), strict=False)


def puts(session: Session, pairs: Iterator[Pair]) -> Step:
    """One durable upsert."""
    put, clock, next_pair = session.put, time.perf_counter_ns, pairs.__next__

    def step(latencies: array[int]) -> int:
        key, value = next_pair()
        start = clock()
        put(key, value)
        latencies.append(clock() - start)
        return 1

    return step


def batches(session: Session, pairs: Iterator[Pair], size: int) -> Step:
    """One durable transaction of so many upserts."""
    put_batch, clock = session.put_batch, time.perf_counter_ns

    def step(latencies: array[int]) -> int:
        batch = list(itertools.islice(pairs, size))
        start = clock()
        put_batch(batch)
        latencies.append(clock() - start)
        return size

    return step


def gets(session: Session, keys: Sequence[bytes]) -> Step:
    """One get of a record that is there."""
    get, clock, next_key = session.get, time.perf_counter_ns, data.endless(keys)

    def step(latencies: array[int]) -> int:
        key = next_key()
        start = clock()
        found = get(key)
        latencies.append(clock() - start)
        assert found is not None, "a record is gone"
        return 1

    return step
