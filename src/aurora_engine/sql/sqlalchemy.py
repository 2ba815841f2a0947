"""SQLAlchemy's dialect: ``create_engine("aurora:////path/to/volume")``.

It is SQLAlchemy's own for SQLite, with another way to connect. An engine's name is ``sqlite``, so
that whatever is made for SQLite (Alembic's batch mode, ``sqlite_autoincrement``) applies.

Examples
--------
>>> import sqlalchemy as sa
>>> engine = sa.create_engine(f"aurora:///{path}?name=shop")
>>> with engine.begin() as conn:
...     _ = conn.execute(sa.text("CREATE TABLE people (name TEXT)"))
...     _ = conn.execute(sa.text("INSERT INTO people VALUES ('Ada')"))
>>> with engine.connect() as conn:
...     conn.scalar(sa.text("SELECT name FROM people"))
'Ada'
>>> engine.dispose()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import exc, pool, util
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from aurora_engine import sql
from aurora_engine.errors import DatabaseClosedError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL
    from sqlalchemy.engine.interfaces import (
        ConnectArgsType,
        DBAPIConnection,
        DBAPIModule,
        IsolationLevel,
    )

__all__ = ["AuroraDialect"]

ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "name": str,
    "as_of": str,
    "create": util.asbool,
    "read_only": util.asbool,
    "timeout": float,
    "isolation_level": str,
    "detect_types": int,
    "check_same_thread": util.asbool,
    "cached_statements": int,
}


class AuroraDialect(SQLiteDialect_pysqlite):
    """SQLite's dialect over databases in a volume.

    A URL is ``aurora:///relative/path``, or with four slashes an absolute one, and what
    `aurora_engine.connect` takes behind a question mark: ``?name=shop&as_of=...``. Instead of a
    path, ``connect_args={"target": db}`` gives an open volume.
    """

    driver = "aurora"
    supports_statement_cache = True
    _begins = "IMMEDIATE"

    @classmethod
    def import_dbapi(cls) -> DBAPIModule:
        """The driver's module."""
        return cast("DBAPIModule", sql)

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        """Connections that wait for use; each keeps the volume open."""
        return pool.QueuePool

    def create_connect_args(self, url: URL) -> ConnectArgsType:
        """What `aurora_engine.sql.connect` is called with."""
        unknown = sorted(set(url.query) - set(ARGUMENTS))
        if url.username or url.password or url.host or url.port or unknown:
            raise exc.ArgumentError(
                f"{url} names no volume: write aurora:///relative/path or aurora:////absolute/path"
                f", and behind a question mark any of {', '.join(ARGUMENTS)}"
            )
        options = {argument: ARGUMENTS[argument](text) for argument, text in url.query.items()}
        options.setdefault("check_same_thread", False)
        self._begins = options.get("isolation_level", self._begins)
        return ([url.database] if url.database else [], options)

    def set_isolation_level(self, dbapi_connection: DBAPIConnection, level: IsolationLevel) -> None:
        """AUTOCOMMIT, or transactions that are begun as `connect` was asked to begin them."""
        super().set_isolation_level(dbapi_connection, level)
        if level != "AUTOCOMMIT":
            dbapi_connection.isolation_level = self._begins

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """Whether it is of no use to go on with the connection: somebody has closed the volume."""
        return isinstance(e, DatabaseClosedError) or super().is_disconnect(e, connection, cursor)
