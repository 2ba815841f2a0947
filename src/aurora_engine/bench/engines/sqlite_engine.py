"""SQLite through Python's own module, as a store of keys and values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from aurora_engine.bench.engines.base import Engine, Pair, Session

__all__ = ["Sqlite"]

BUSY_TIMEOUT_S = 120
UPSERT = "INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v"


class Sqlite(Engine):
    """A table without row ids; one connection a thread, one writer at a time."""

    name = "sqlite"

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "kv.db"
        self._cache_bytes = cache_bytes
        self._main = self._connect()
        self._main.execute(
            "CREATE TABLE IF NOT EXISTS kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID"
        )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
        )
        for name, value in _pragmas(self._cache_bytes).items():
            connection.execute(f"PRAGMA {name} = {value}")
        return connection

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return f"SQLite {sqlite3.sqlite_version} as in Python's sqlite3"

    @classmethod
    def settings(cls, cache_bytes: int) -> dict[str, str]:
        return {
            **_pragmas(cache_bytes),
            "table": "WITHOUT ROWID, key BLOB PRIMARY KEY",
            "busy timeout": f"{BUSY_TIMEOUT_S} s",
            "connections": "one a thread",
        }

    def session(self) -> Session:
        connection = self._connect()
        execute = connection.execute

        def put(key: bytes, value: bytes) -> None:
            execute(UPSERT, (key, value))

        def put_batch(pairs: Sequence[Pair]) -> None:
            _write(connection, [pairs])

        def get(key: bytes) -> bytes | None:
            row = execute("SELECT v FROM kv WHERE k = ?", (key,)).fetchone()
            return None if row is None else row[0]

        def get_many(keys: Sequence[bytes]) -> list[bytes | None]:
            marks = ",".join("?" * len(keys))
            found = dict(execute(f"SELECT k, v FROM kv WHERE k IN ({marks})", keys).fetchall())
            return [*map(found.get, keys)]

        def scan(start: bytes, count: int) -> list[Pair]:
            return execute(
                "SELECT k, v FROM kv WHERE k >= ? ORDER BY k LIMIT ?", (start, count)
            ).fetchall()

        return Session(put, put_batch, get, get_many, scan, connection.close)

    def load(self, batches: Iterable[Sequence[Pair]]) -> None:
        _write(self._main, batches)

    def count(self) -> int:
        return sum(1 for _ in self._main.execute("SELECT k, v FROM kv ORDER BY k"))

    def settle(self) -> None:
        self._main.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._main.close()


def _write(connection: sqlite3.Connection, batches: Iterable[Sequence[Pair]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for batch in batches:
        connection.executemany(UPSERT, batch)
    connection.execute("COMMIT")


def _pragmas(cache_bytes: int) -> dict[str, str]:
    return {
        "journal_mode": "WAL",
        "synchronous": "FULL",
        # Negative: KiB. Half of what the others get, since each connection has a cache of its own.
        "cache_size": str(-(cache_bytes // 2 >> 10)),
    }
