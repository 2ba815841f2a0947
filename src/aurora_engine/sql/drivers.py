"""The SQLite libraries that can be used: Python's own, and newer ones that wheels bring along."""

from __future__ import annotations

import importlib
import sqlite3
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from aurora_engine._ext import sql as extension
from aurora_engine.sql.databases import SqlDatabases

if TYPE_CHECKING:
    from aurora_engine.database import Database

__all__ = ["register_vfs"]

BY_EXTENSION = "extension"
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
    if driver.__name__ == "apsw":
        return _register_by_extension(sql, driver)
    return sql.register(library_of(driver))


def _register_by_extension(sql: SqlDatabases, driver: Any) -> str:
    """Lets SQLite load us, where its functions cannot be found from outside."""
    core = Path(extension.__file__).with_name("libaurora.so")
    connection = driver.Connection(":memory:")
    try:
        connection.enable_load_extension(True)
        connection.load_extension(str(core), "aur_sql_extension_init")
        return sql.register(BY_EXTENSION)
    finally:
        connection.close()


def register_vfs(database: Database, driver: ModuleType = sqlite3) -> str:
    """Makes a volume's SQL databases known to a driver's SQLite, for those who connect themselves.

    Parameters
    ----------
    database : Database
        The volume.
    driver : module
        `sqlite3`, a driver of its kind, or ``apsw``.

    Returns
    -------
    str
        Name of the VFS, to be used in a URI: ``file:main?vfs=NAME``; until the volume is closed.

    Raises
    ------
    TypeError
        If the module is no driver of SQLite.
    ValueError
        If its SQLite cannot be found.
    """
    return vfs_of(database.sql, driver)
