"""The verbs of a database as Python programs call them, on a volume that is all in memory.

What is timed is a batch of BATCH, but for commits that wait for the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import aurora_engine as aurora
from benchmarks.workloads import VALUE_BYTES, key

BATCH = 1000
RANGE = 100
ROUNDS = 50
VALUE = bytes(VALUE_BYTES)

Pairs = list[tuple[bytes, bytes]]


@pytest.fixture
def keys() -> list[bytes]:
    """Some of the keys that are there, scattered."""
    return [key(number) for number in range(BATCH)]


@pytest.fixture
def new_keys(pairs: Pairs) -> Iterator[bytes]:
    """Keys that are not there."""
    return (key(number) for number in count(len(pairs)))


@pytest.mark.benchmark(group="get")
def test_get(benchmark: BenchmarkFixture, db: aurora.Database, keys: list[bytes]) -> None:
    def run() -> None:
        get = db.get
        for wanted in keys:
            get(wanted)

    benchmark(run)


@pytest.mark.benchmark(group="get")
def test_get_in_snapshot(
    benchmark: BenchmarkFixture, db: aurora.Database, keys: list[bytes]
) -> None:
    def run() -> None:
        with db.snapshot() as view:
            get = view.get
            for wanted in keys:
                get(wanted)

    benchmark(run)


@pytest.mark.benchmark(group="get")
def test_get_many(benchmark: BenchmarkFixture, db: aurora.Database, keys: list[bytes]) -> None:
    batches = [keys[at : at + RANGE] for at in range(0, BATCH, RANGE)]

    def run() -> None:
        for batch in batches:
            db.get_many(batch)

    benchmark(run)


@pytest.mark.benchmark(group="scan")
def test_scan(benchmark: BenchmarkFixture, db: aurora.Database) -> None:
    benchmark(lambda: list(db.scan(limit=BATCH)))


@pytest.mark.benchmark(group="scan")
def test_scan_ranges(benchmark: BenchmarkFixture, db: aurora.Database, keys: list[bytes]) -> None:
    starts = keys[: BATCH // RANGE]

    def run() -> None:
        for start in starts:
            list(db.scan(start, limit=RANGE))

    benchmark(run)


@pytest.mark.benchmark(group="commit")
def test_commit_unwaited(
    benchmark: BenchmarkFixture, db: aurora.Database, new_keys: Iterator[bytes]
) -> None:
    def batch() -> tuple[tuple[list[bytes]], dict[str, object]]:
        db.wait_durable(last_lsn)
        return (list(islice(new_keys, BATCH)),), {}

    last_lsn = 0

    def run(keys: list[bytes]) -> None:
        nonlocal last_lsn
        for fresh in keys:
            with db.begin() as transaction:
                transaction.put(fresh, VALUE)
                last_lsn = transaction.commit(wait=False)

    benchmark.pedantic(run, setup=batch, rounds=ROUNDS, warmup_rounds=1)
    db.wait_durable(last_lsn)


@pytest.mark.benchmark(group="commit")
def test_put_many(
    benchmark: BenchmarkFixture, db: aurora.Database, new_keys: Iterator[bytes]
) -> None:
    def batch() -> tuple[tuple[Pairs], dict[str, object]]:
        return ([(fresh, VALUE) for fresh in islice(new_keys, BATCH)],), {}

    benchmark.pedantic(db.put_many, setup=batch, rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.benchmark(group="durable commit")
def test_put(benchmark: BenchmarkFixture, db: aurora.Database, new_keys: Iterator[bytes]) -> None:
    benchmark(lambda: db.put(next(new_keys), VALUE))
