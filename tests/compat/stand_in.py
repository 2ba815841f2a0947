"""A module like `sqlite3` whose databases all lie in one volume, for suites that know no other.

Every ``:memory:`` is a new database in the volume. A file is one as well: what stands at its path
is a note with the database's name, so that who unlinks the file is rid of the database, and who
opens it again finds it.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

import aurora_engine as aurora
from aurora_engine import sql

NOTE = b"a database in the volume: "


class Places:
    """Which database of the volume is meant by a name of stock SQLite's."""

    def __init__(self, db: aurora.Database) -> None:
        self.db = db
        self._numbers = itertools.count()

    def options_of(self, database: Any, uri: bool) -> dict[str, Any]:
        """What our connection takes in place of what stock SQLite's does. OSError, as a file."""
        path = os.fsencode(database)
        read_only = False
        if uri and path.startswith(b"file:"):
            split = urlsplit(os.fsdecode(path))
            parameters = parse_qs(split.query)
            path = unquote_to_bytes(os.fsencode(split.path))
            read_only = parameters.get("mode") == ["ro"]
            if parameters.get("mode") == ["memory"]:
                path = b":memory:"
        if path in (b"", b":memory:"):
            return {"name": self._new()}
        return {"name": self._noted(Path(os.fsdecode(path)), read_only), "read_only": read_only}

    def _noted(self, path: Path, read_only: bool) -> str:
        if read_only or path.exists():
            return path.read_bytes().removeprefix(NOTE).decode()
        name = self._new()
        path.write_bytes(NOTE + name.encode())
        return name

    def _new(self) -> str:
        return f"stand-in {next(self._numbers)}"


def install(db: aurora.Database) -> ModuleType:
    """Puts the module in the place of `sqlite3` for whoever imports it from now on."""
    places = Places(db)

    class Connection(sql.Connection):
        """Takes what `sqlite3.Connection` takes, and has its defaults."""

        def __init__(
            self,
            database: Any,
            timeout: float = 5.0,
            detect_types: int = 0,
            isolation_level: str | None = "",
            check_same_thread: bool = True,
            factory: Any = None,
            cached_statements: int = 128,
            uri: bool = False,
            **options: Any,
        ) -> None:
            try:
                place = places.options_of(database, uri)
            except OSError:
                # A volume has no folders; what is wrong with one, stock SQLite says.
                sqlite3.Connection.__init__(self, database, uri=uri)
                raise
            super().__init__(
                db,
                **place,
                timeout=timeout,
                detect_types=detect_types,
                isolation_level=isolation_level,
                check_same_thread=check_same_thread,
                cached_statements=cached_statements,
                **options,
            )

    def connect(*args: Any, **options: Any) -> Any:
        factory = args[5] if len(args) > 5 else options.get("factory")
        return (Connection if factory is None else factory)(*args, **options)

    module = ModuleType("sqlite3")
    vars(module).update(vars(sqlite3))
    vars(module).update(Connection=Connection, Cursor=sql.Cursor, connect=connect)
    sys.modules["sqlite3"] = module
    return module
