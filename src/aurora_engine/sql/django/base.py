"""Django's backend for SQLite, with another way to connect."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.backends.sqlite3._functions import register

from aurora_engine import sql
from aurora_engine.database import Database
from aurora_engine.sql.django.creation import DatabaseCreation
from aurora_engine.sql.django.features import DatabaseFeatures
from aurora_engine.sql.django.names import split_name
from aurora_engine.sql.volumes import volumes

__all__ = ["DatabaseWrapper"]


class _KeptVolumes:
    """Django closes its connections at the end of each request; the volumes stay open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, Database] = {}

    def keep(self, path: str, *, create: bool) -> Database:
        key = os.path.realpath(path)
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.closed:
                kept, release = volumes.acquire(path, create=create)
                atexit.register(release)
                self._kept[key] = kept
            return kept


_kept = _KeptVolumes()


class Cursor(base.SQLiteCursorWrapper, sql.Cursor):
    """Django's cursor, whose errors say what happened in the volume."""


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection of Django's to a database in a volume."""

    display_name = "aurora_engine"
    creation_class = DatabaseCreation
    features_class = DatabaseFeatures
    transaction_mode: str | None

    def get_connection_params(self) -> dict[str, Any]:
        """What `get_new_connection` is called with."""
        options: dict[str, Any] = super().get_connection_params()
        path, name = split_name(self.settings_dict)
        # A deferred transaction that reads first may find that somebody else wrote meanwhile.
        self.transaction_mode = self.transaction_mode or "IMMEDIATE"
        del options["database"], options["uri"]
        return {**options, "target": path, "name": name}

    def get_new_connection(self, conn_params: dict[str, Any]) -> sql.Connection:
        """Connects, as Django's backend for SQLite does."""
        options = dict(conn_params)
        create = options.pop("create", True)
        conn = sql.connect(_kept.keep(options.pop("target"), create=create), **options)
        register(conn)
        commands = ["PRAGMA foreign_keys = ON", "PRAGMA legacy_alter_table = OFF"]
        for command in commands + self.init_commands:
            if command.strip():
                conn.execute(command)
        return conn

    def create_cursor(self, name: str | None = None) -> Cursor:
        """A cursor that takes Django's placeholders."""
        made: Cursor = self.connection.cursor(factory=Cursor)
        return made
