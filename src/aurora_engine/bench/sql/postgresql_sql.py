"""PostgreSQL through psycopg."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from aurora_engine.bench.servers import postgresql
from aurora_engine.bench.servers.postgresql import PostgresqlServer, prepared
from aurora_engine.bench.sql.base import Connection, Dialect, Parameters, Row, SqlEngine

with suppress(ImportError):  # `missing` says so
    from psycopg.types.numeric import Int4BinaryDumper

__all__ = ["Postgresql"]


class Postgresql(SqlEngine):
    """Tables in heaps; one connection a thread."""

    name = "postgresql"
    dialect = Dialect(serial="SERIAL PRIMARY KEY", for_update=" FOR UPDATE")

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        self.server = PostgresqlServer(folder, cache_bytes)

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
            "isolation": "its default, READ COMMITTED",
            "connections": "one a thread, over a Unix socket; prepared statements, binary values",
        }

    def connect(self) -> Connection:
        connection = self.server.connect()
        # Else the type of a number follows from its size, and each type is a statement of its own.
        connection.adapters.register_dumper(int, Int4BinaryDumper)
        cursor = connection.cursor(binary=True)

        def selects(sql: str) -> Callable[[Parameters], Sequence[Row]]:
            execute = prepared(cursor, sql.replace("?", "%b"))
            return lambda parameters: execute(parameters).fetchall()

        def changes(sql: str) -> Callable[[Parameters], int]:
            execute = prepared(cursor, sql.replace("?", "%b"))
            return lambda parameters: execute(parameters).rowcount

        begin = partial(cursor.execute, "BEGIN")
        return Connection(
            selects,
            changes,
            begin=begin,
            begin_reading=begin,
            commit=partial(cursor.execute, "COMMIT"),
            rollback=connection.rollback,
            close=partial(self.server.disconnect, connection),
        )

    def load(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        with (
            self.server.connect() as connection,
            connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)

    def settle(self, tables: Sequence[str]) -> None:
        with self.server.connect() as connection:
            connection.execute(f"VACUUM ANALYZE {', '.join(tables)}")
            connection.execute("CHECKPOINT")

    @classmethod
    def is_clash(cls, error: Exception) -> bool:
        return postgresql.is_clash(error)

    def processes(self) -> list[int]:
        return self.server.processes()

    def close(self) -> None:
        self.server.close()
