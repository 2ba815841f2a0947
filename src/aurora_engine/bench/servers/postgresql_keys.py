"""PostgreSQL as a store of keys and values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path

from aurora_engine.bench.engines.base import Engine, Pair, Session
from aurora_engine.bench.servers import postgresql
from aurora_engine.bench.servers.clashes import until_through
from aurora_engine.bench.servers.postgresql import PostgresqlServer, prepared

__all__ = ["Postgresql"]

TABLE = "CREATE TABLE IF NOT EXISTS kv (k bytea PRIMARY KEY, v bytea NOT NULL)"
UPSERT = "INSERT INTO kv VALUES (%b, %b) ON CONFLICT (k) DO UPDATE SET v = excluded.v"
MOVE = "INSERT INTO kv SELECT * FROM loaded ON CONFLICT (k) DO UPDATE SET v = excluded.v"


class Postgresql(Engine):
    """A table with a key of bytes; one connection a thread."""

    name = "postgresql"
    workloads = frozenset({"upserts", "batches"})

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        self._server = PostgresqlServer(folder, cache_bytes)
        self._main = self._server.connect()
        self._main.execute(TABLE)

    @classmethod
    def missing(cls) -> str | None:
        return PostgresqlServer.missing()

    @classmethod
    def version(cls) -> str:
        return PostgresqlServer.version()

    @classmethod
    def settings(cls, cache_bytes: int) -> dict[str, str]:
        return {
            **postgresql.settings(cache_bytes),
            "table": "key bytea PRIMARY KEY",
            "connections": "one a thread, over a Unix socket; prepared statements, binary values",
        }

    def session(self) -> Session:
        connection = self._server.connect()
        cursor = connection.cursor(binary=True)
        upsert = prepared(cursor, UPSERT)
        select = prepared(cursor, "SELECT v FROM kv WHERE k = %b")
        select_many = prepared(cursor, "SELECT k, v FROM kv WHERE k = ANY(%b)")
        select_from = prepared(cursor, "SELECT k, v FROM kv WHERE k >= %b ORDER BY k LIMIT %b")

        def put(key: bytes, value: bytes) -> None:
            upsert((key, value))

        def put_batch(pairs: Sequence[Pair]) -> None:
            # In order, so that two seldom wait for each other.
            batch = sorted(pairs, key=itemgetter(0))

            def write() -> None:
                with connection.transaction():
                    cursor.executemany(UPSERT, batch)

            until_through(write, connection.rollback, postgresql.is_clash)

        def get(key: bytes) -> bytes | None:
            row = select((key,)).fetchone()
            return None if row is None else row[0]

        def get_many(keys: Sequence[bytes]) -> list[bytes | None]:
            found = dict(select_many((list(keys),)).fetchall())
            return [*map(found.get, keys)]

        def scan(start: bytes, count: int) -> list[Pair]:
            return select_from((start, count)).fetchall()

        return Session(
            put, put_batch, get, get_many, scan, partial(self._server.disconnect, connection)
        )

    def load(self, batches: Iterable[Sequence[Pair]]) -> None:
        # COPY knows no overwriting: a table of its own takes each batch, and gives it on.
        with self._main.transaction(), self._main.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE loaded (LIKE kv) ON COMMIT DROP")
            for batch in batches:
                with cursor.copy("COPY loaded FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(["bytea", "bytea"])
                    for pair in batch:
                        copy.write_row(pair)
                cursor.execute(MOVE)
                cursor.execute("TRUNCATE loaded")

    def count(self) -> int:
        return sum(1 for _ in self._main.execute("SELECT k, v FROM kv ORDER BY k", binary=True))

    def settle(self) -> None:
        self._main.execute("VACUUM ANALYZE kv")
        self._main.execute("CHECKPOINT")

    def processes(self) -> list[int]:
        return self._server.processes()

    def close(self) -> None:
        self._main.close()
        self._server.close()
