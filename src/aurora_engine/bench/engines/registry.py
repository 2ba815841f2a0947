"""Which engines there are, and where each one's class is."""

from __future__ import annotations

import importlib
from typing import Literal

from aurora_engine.bench.engines.base import Server

__all__ = ["ENGINES", "Kind", "engine_type"]

Kind = Literal["key-value", "sql"]

_ENGINES = "aurora_engine.bench.engines"
_SQL = "aurora_engine.bench.sql"
_SERVERS = "aurora_engine.bench.servers"

ENGINES: dict[Kind, dict[str, str]] = {
    "key-value": {
        "aurora": f"{_ENGINES}.aurora:SixCopies",
        "aurora-single": f"{_ENGINES}.aurora:OneCopy",
        "lmdb": f"{_ENGINES}.lmdb_engine:Lmdb",
        "rocksdb": f"{_ENGINES}.rocksdb_engine:RocksDb",
        "leveldb": f"{_ENGINES}.leveldb_engine:LevelDb",
        "sqlite": f"{_ENGINES}.sqlite_engine:Sqlite",
        "mariadb": f"{_SERVERS}.mariadb_keys:Mariadb",
        "postgresql": f"{_SERVERS}.postgresql_keys:Postgresql",
        "bare-six": f"{_ENGINES}.bare:SixFiles",
        "bare-six-one-flush": f"{_ENGINES}.bare:SixFilesOneFlush",
        "bare-one": f"{_ENGINES}.bare:OneFile",
    },
    "sql": {
        "aurora": f"{_SQL}.sqlite_family:SixCopies",
        "aurora-single": f"{_SQL}.sqlite_family:OneCopy",
        "sqlite": f"{_SQL}.sqlite_family:Sqlite",
        "mariadb": f"{_SQL}.mariadb_sql:Mariadb",
        "postgresql": f"{_SQL}.postgresql_sql:Postgresql",
        "mariadb-c": f"{_SQL}.native:MariadbNative",
        "postgresql-c": f"{_SQL}.native:PostgresqlNative",
    },
}
"""By kind of workload and name: ``module:class``, in the order of the report."""


def engine_type(kind: Kind, name: str) -> type[Server]:
    """The class of an engine; its module imports the driver only when it is used."""
    module, _, attribute = ENGINES[kind][name].partition(":")
    found: type[Server] = getattr(importlib.import_module(module), attribute)
    return found
