"""SQL databases in a volume: SQLite's engine, six copies, a quorum's commits, and every moment.

A connection is a connection of Python's own `sqlite3`, whose files lie in the volume. This module
can be used as a PEP 249 driver like `sqlite3` itself.

Examples
--------
>>> import aurora_engine as aurora
>>> with aurora.open(path) as db, aurora.connect(db) as conn:
...     _ = conn.execute("CREATE TABLE people (name TEXT, born INTEGER)")
...     _ = conn.execute("INSERT INTO people VALUES ('Ada', 1815)")
...     conn.commit()
...     conn.execute("SELECT * FROM people").fetchall()
[('Ada', 1815)]
"""

from __future__ import annotations

from sqlite3 import (
    PARSE_COLNAMES,
    PARSE_DECLTYPES,
    Binary,
    DatabaseError,
    DataError,
    Date,
    DateFromTicks,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Row,
    Time,
    TimeFromTicks,
    TimestampFromTicks,
    Warning,  # noqa: A004
    adapters,
    apilevel,
    complete_statement,
    converters,
    paramstyle,
    register_adapter,
    register_converter,
    sqlite_version,
    sqlite_version_info,
    threadsafety,
)
from sqlite3.dbapi2 import Timestamp

from aurora_engine.sql.connection import Connection, Cursor, connect
from aurora_engine.sql.drivers import register_vfs
from aurora_engine.sql.transfer import export_sqlite, import_sqlite

__all__ = [
    "PARSE_COLNAMES",
    "PARSE_DECLTYPES",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Row",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "adapters",
    "apilevel",
    "complete_statement",
    "connect",
    "converters",
    "export_sqlite",
    "import_sqlite",
    "paramstyle",
    "register_adapter",
    "register_converter",
    "register_vfs",
    "sqlite_version",
    "sqlite_version_info",
    "threadsafety",
]
