"""Stock SQLite, and SQLite's engine over a volume: the same module of Python, the same calls."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import aurora_engine as aurora
from aurora_engine.bench.machine import package_version
from aurora_engine.bench.sql.base import Connection, Dialect, Parameters, Row, SqlEngine

__all__ = ["OneCopy", "SixCopies", "Sqlite"]

BUSY_TIMEOUT_S = 120
BUSY = 5  # SQLITE_BUSY, the low byte of the extended codes


class _SqliteFamily(SqlEngine):
    dialect = Dialect(serial="INTEGER PRIMARY KEY", clustered=" WITHOUT ROWID")

    @classmethod
    def missing(cls) -> str | None:
        return None

    @abstractmethod
    def _connect(self) -> sqlite3.Connection: ...

    def connect(self) -> Connection:
        connection = self._connect()
        # One cursor, as with the other drivers: `Connection.execute` makes one for each statement.
        execute = connection.cursor().execute

        def rollback() -> None:
            # Not what has rolled back by itself.
            if connection.in_transaction:
                execute("ROLLBACK")

        return Connection(
            selects=lambda sql: _selects(execute, sql),
            changes=lambda sql: _changes(execute, sql),
            # Else what has begun to read could not go on to write when another has committed.
            begin=partial(execute, "BEGIN IMMEDIATE"),
            begin_reading=partial(execute, "BEGIN"),
            commit=partial(execute, "COMMIT"),
            rollback=rollback,
            close=connection.close,
        )

    def load(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        marks = ", ".join("?" * len(columns))
        connection = self._connect()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
        connection.execute("COMMIT")
        connection.close()

    @classmethod
    def is_clash(cls, error: Exception) -> bool:
        return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 255 == BUSY


def _selects(execute: Callable[..., Any], sql: str) -> Callable[[Parameters], Sequence[Row]]:
    def select(parameters: Parameters) -> Sequence[Row]:
        rows: Sequence[Row] = execute(sql, parameters).fetchall()
        return rows

    return select


def _changes(execute: Callable[..., Any], sql: str) -> Callable[[Parameters], int]:
    def change(parameters: Parameters) -> int:
        count: int = execute(sql, parameters).rowcount
        return count

    return change


class Sqlite(_SqliteFamily):
    """A file in WAL mode; one connection a thread, one writer at a time."""

    name = "sqlite"

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._cache_bytes = folder / "bench.db", cache_bytes
        # One connection stays, so that the last one of a workload does not remove the WAL.
        self._main = self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
        )
        for name, value in _pragmas(self._cache_bytes).items():
            connection.execute(f"PRAGMA {name} = {value}")
        return connection

    @classmethod
    def version(cls) -> str:
        return f"SQLite {sqlite3.sqlite_version} as in Python's sqlite3"

    @classmethod
    def settings(cls, cache_bytes: int) -> dict[str, str]:
        return {
            **_pragmas(cache_bytes),
            "busy timeout": f"{BUSY_TIMEOUT_S} s",
            "connections": "one a thread; BEGIN IMMEDIATE",
        }

    def settle(self, tables: Sequence[str]) -> None:
        self._main.execute("ANALYZE")
        self._main.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        self._main.close()


def _pragmas(cache_bytes: int) -> dict[str, str]:
    return {
        "journal_mode": "WAL",
        "synchronous": "FULL",
        "cache_size": _own_cache(cache_bytes),
    }


def _own_cache(cache_bytes: int) -> str:
    """Half of what others get, since each connection has a cache of its own; negative: KiB."""
    return str(-(cache_bytes // 2 >> 10))


class SixCopies(_SqliteFamily):
    """aurora_engine: three zones with two copies each."""

    name = "aurora"
    copies = 6
    topology: ClassVar[aurora.Topology] = aurora.Topology()

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        self._cache_bytes = cache_bytes
        # The other half is what a connection has for itself, as much as one of stock SQLite.
        self.db = aurora.open(folder, topology=self.topology, cache_bytes=cache_bytes // 2)

    def _connect(self) -> sqlite3.Connection:
        connection = aurora.connect(
            self.db, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
        )
        connection.execute(f"PRAGMA cache_size = {_own_cache(self._cache_bytes)}")
        return connection

    @classmethod
    def version(cls) -> str:
        mine = f"aurora_engine {package_version('aurora-engine')}"
        return f"{mine}, SQLite {sqlite3.sqlite_version} as in Python's sqlite3"

    @classmethod
    def settings(cls, cache_bytes: int) -> dict[str, str]:
        return {
            "topology": f"{len(cls.topology.zones)} zones, {cls.topology.copies} in all",
            "cache_bytes": str(cache_bytes // 2),
            "cache_size": _own_cache(cache_bytes),
            "durability": '"quorum"',
            "busy timeout": f"{BUSY_TIMEOUT_S} s",
            "connections": "one a thread; BEGIN IMMEDIATE",
        }

    def settle(self, tables: Sequence[str]) -> None:
        self.run("ANALYZE")
        self.db.compact()

    def close(self) -> None:
        self.db.close()


class OneCopy(SixCopies):
    """One copy, as the peers have."""

    name = "aurora-single"
    copies = 1
    topology = aurora.Topology.single()
