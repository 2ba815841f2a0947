"""A volume on disk with six copies, and an SQL database, for benchmarks of the Python face."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import aurora_engine as aurora
from benchmarks.workloads import records

RECORDS = 20_000


@pytest.fixture(scope="session")
def pairs() -> list[tuple[bytes, bytes]]:
    """Records in key order."""
    return records(RECORDS)


@pytest.fixture
def db(tmp_path: Path, pairs: list[tuple[bytes, bytes]]) -> Iterator[aurora.Database]:
    """A volume that holds the records, all of them cached."""
    with aurora.open(tmp_path / "volume") as database:
        database.put_many(pairs)
        yield database


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An SQL database with a table of numbered rows."""
    with aurora.open(tmp_path / "volume") as database:
        connection = aurora.connect(database)
        connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)")
        with connection:
            connection.executemany(
                "INSERT INTO note VALUES (?, ?)",
                ((number, f"note {number}" * 8) for number in range(RECORDS)),
            )
        yield connection
        connection.close()
