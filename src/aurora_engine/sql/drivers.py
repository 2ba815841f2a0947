"""The SQLite libraries that can be used: Python's own, and newer ones that wheels bring along."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from aurora_engine.sql.databases import SqlDatabases

__all__: list[str] = []

MAIN_PROGRAM = ""
"""Where SQLite is built into the interpreter."""


def library_of(driver: ModuleType) -> str:
    """The shared object that holds or loads a driver's SQLite.

    Raises
    ------
    TypeError
        If it is no driver of the family of `sqlite3`.
    """
    for name in (f"{driver.__name__}._sqlite3", "_sqlite3"):
        extension = sys.modules.get(name) or _import(name, driver)
        if extension is not None and getattr(driver, "Connection", None) is getattr(
            extension, "Connection", False
        ):
            return getattr(extension, "__file__", None) or MAIN_PROGRAM
    raise TypeError(
        f"{driver.__name__} is no driver like sqlite3 (pysqlite3, sqlean): its Connection is not "
        "that of an extension module _sqlite3"
    )


def _import(name: str, driver: ModuleType) -> ModuleType | None:
    try:
        return importlib.import_module(name, driver.__name__)
    except ImportError:
        return None


def vfs_of(sql: SqlDatabases, driver: ModuleType) -> str:
    """The name of a volume's VFS in a driver's SQLite, where it is registered if need be."""
    return sql.register(library_of(driver))
