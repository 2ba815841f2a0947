"""MariaDB through mysqlclient."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from aurora_engine.bench.servers import mariadb
from aurora_engine.bench.servers.mariadb import MariadbServer, prepared
from aurora_engine.bench.sql.base import Connection, Dialect, Parameters, Row, SqlEngine

__all__ = ["Mariadb"]


class Mariadb(SqlEngine):
    """InnoDB tables; one connection a thread."""

    name = "mariadb"
    dialect = Dialect(
        serial="INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY", for_update=" FOR UPDATE"
    )

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        self.server = MariadbServer(folder, cache_bytes)

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
            "isolation": "its default, REPEATABLE READ",
            "connections": "one a thread, over a Unix socket; prepared statements",
        }

    def connect(self) -> Connection:
        connection = self.server.connect()
        cursor, numbers = connection.cursor(), itertools.count()

        def selects(sql: str) -> Callable[[Parameters], Sequence[Row]]:
            execute = prepared(cursor, sql, f"s{next(numbers)}")

            def select(parameters: Parameters) -> Sequence[Row]:
                execute(parameters)
                rows: Sequence[Row] = cursor.fetchall()
                return rows

            return select

        def changes(sql: str) -> Callable[[Parameters], int]:
            change: Callable[[Parameters], int] = prepared(cursor, sql, f"s{next(numbers)}")
            return change

        return Connection(
            selects,
            changes,
            begin=connection.begin,
            begin_reading=connection.begin,
            commit=connection.commit,
            rollback=connection.rollback,
            close=connection.close,
        )

    def load(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        marks = ", ".join(["%s"] * len(columns))
        with closing(self.server.connect()) as connection:
            connection.begin()
            connection.cursor().executemany(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows
            )
            connection.commit()

    def settle(self, tables: Sequence[str]) -> None:
        with closing(self.server.connect()) as connection:
            mariadb.settle(connection.cursor(), tables)

    @classmethod
    def is_clash(cls, error: Exception) -> bool:
        return mariadb.is_clash(error)

    def processes(self) -> list[int]:
        return self.server.processes()

    def close(self) -> None:
        self.server.close()
