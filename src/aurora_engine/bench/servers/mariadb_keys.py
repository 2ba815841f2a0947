"""MariaDB as a store of keys and values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import Any

from aurora_engine.bench.engines.base import Engine, Pair, Session
from aurora_engine.bench.servers import mariadb
from aurora_engine.bench.servers.clashes import until_through
from aurora_engine.bench.servers.mariadb import MariadbServer, prepared

__all__ = ["Mariadb"]

TABLE = "CREATE TABLE IF NOT EXISTS kv (k VARBINARY(64) PRIMARY KEY, v VARBINARY(1024) NOT NULL)"
UPSERT = "INSERT INTO kv VALUES (?, ?) ON DUPLICATE KEY UPDATE v = VALUES(v)"
# The driver joins the rows of an executemany to one statement, and knows only this form.
UPSERTS = "INSERT INTO kv VALUES (%s, %s) ON DUPLICATE KEY UPDATE v = VALUES(v)"


class Mariadb(Engine):
    """An InnoDB table; one connection a thread."""

    name = "mariadb"
    workloads = frozenset({"upserts", "batches"})

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        self._server = MariadbServer(folder, cache_bytes)
        self._main = self._server.connect()
        self._main.cursor().execute(TABLE)

    @classmethod
    def missing(cls) -> str | None:
        return MariadbServer.missing()

    @classmethod
    def version(cls) -> str:
        return MariadbServer.version()

    @classmethod
    def settings(cls, cache_bytes: int) -> dict[str, str]:
        return {
            **mariadb.settings(cache_bytes),
            "table": "key VARBINARY(64) PRIMARY KEY",
            "connections": "one a thread, over a Unix socket; prepared statements",
        }

    def session(self) -> Session:
        connection = self._server.connect()
        cursor = connection.cursor()
        upsert = prepared(cursor, UPSERT, "upsert")
        select = prepared(cursor, "SELECT v FROM kv WHERE k = ?", "one")
        select_from = prepared(
            cursor, "SELECT k, v FROM kv WHERE k >= ? ORDER BY k LIMIT ?", "several"
        )

        def put(key: bytes, value: bytes) -> None:
            upsert((key, value))

        def put_batch(pairs: Sequence[Pair]) -> None:
            # In order, so that two seldom wait for each other.
            batch = sorted(pairs, key=itemgetter(0))
            until_through(
                lambda: _write(connection, [batch]), connection.rollback, mariadb.is_clash
            )

        def get(key: bytes) -> bytes | None:
            select((key,))
            row = cursor.fetchone()
            return None if row is None else row[0]

        def get_many(keys: Sequence[bytes]) -> list[bytes | None]:
            cursor.execute("SELECT k, v FROM kv WHERE k IN %s", (keys,))
            return [*map(dict(cursor.fetchall()).get, keys)]

        def scan(start: bytes, count: int) -> Sequence[Pair]:
            select_from((start, count))
            rows: Sequence[Pair] = cursor.fetchall()
            return rows

        return Session(put, put_batch, get, get_many, scan, connection.close)

    def load(self, batches: Iterable[Sequence[Pair]]) -> None:
        _write(self._main, batches)

    def count(self) -> int:
        with closing(self._main.cursor()) as cursor:
            cursor.execute("SELECT k, v FROM kv ORDER BY k")
            return sum(1 for _ in cursor.fetchall())

    def settle(self) -> None:
        mariadb.settle(self._main.cursor(), ["kv"])

    def processes(self) -> list[int]:
        return self._server.processes()

    def close(self) -> None:
        self._main.close()
        self._server.close()


def _write(connection: Any, batches: Iterable[Sequence[Pair]]) -> None:
    connection.begin()
    cursor = connection.cursor()
    for batch in batches:
        cursor.executemany(UPSERTS, batch)
    connection.commit()
