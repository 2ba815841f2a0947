"""SQL statements over a connection, on a database that is all in memory."""

from __future__ import annotations

import sqlite3
from itertools import count

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.micro.conftest import RECORDS

RANGE = 100


@pytest.mark.benchmark(group="SQL")
def test_select_row(benchmark: BenchmarkFixture, connection: sqlite3.Connection) -> None:
    numbers = count()

    def run() -> None:
        wanted = next(numbers) % RECORDS
        connection.execute("SELECT text FROM note WHERE id = ?", (wanted,)).fetchone()

    benchmark(run)


@pytest.mark.benchmark(group="SQL")
def test_select_range(benchmark: BenchmarkFixture, connection: sqlite3.Connection) -> None:
    numbers = count()

    def run() -> None:
        start = next(numbers) * RANGE % (RECORDS - RANGE)
        query = "SELECT id, text FROM note WHERE id >= ? LIMIT ?"
        connection.execute(query, (start, RANGE)).fetchall()

    benchmark(run)


@pytest.mark.benchmark(group="SQL")
def test_insert_in_transaction(benchmark: BenchmarkFixture, connection: sqlite3.Connection) -> None:
    numbers = count(RECORDS)
    connection.execute("BEGIN IMMEDIATE")
    benchmark(lambda: connection.execute("INSERT INTO note VALUES (?, 'a note')", (next(numbers),)))
    connection.commit()


@pytest.mark.benchmark(group="durable commit")
def test_insert_and_commit(benchmark: BenchmarkFixture, connection: sqlite3.Connection) -> None:
    numbers = count(RECORDS)

    def run() -> None:
        with connection:
            connection.execute("INSERT INTO note VALUES (?, 'a note')", (next(numbers),))

    benchmark(run)
