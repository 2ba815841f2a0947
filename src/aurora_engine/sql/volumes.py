"""Volumes that connections have opened by their path: one for all connections of this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from aurora_engine.database import Database, opened_at
from aurora_engine.database import open as open_database

__all__: list[str] = []


@dataclass(slots=True)
class _Shared:
    database: Database
    users: int


class Volumes:
    """The volumes that are open because somebody is connected to them.

    Connections name a volume by its path, as drivers have it; a volume has one writer, so all
    connections of a process share what the first of them has opened, and the last one closes it.

    Thread rule: any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: dict[str, _Shared] = {}

    def acquire(self, path: str, *, create: bool) -> tuple[Database, Callable[[], None]]:
        """The database at a path, and what to call when it is no longer used."""
        key = os.path.realpath(path)
        with self._lock:
            shared = self._shared.get(key)
            if shared is not None and not shared.database.closed:
                shared.users += 1
                return shared.database, lambda: self._release(key, shared)
            opened = opened_at(key)
            if opened is not None:
                return opened, lambda: None
            shared = _Shared(open_database(path, create=create), 1)
            self._shared[key] = shared
            return shared.database, lambda: self._release(key, shared)

    def _release(self, key: str, shared: _Shared) -> None:
        with self._lock:
            shared.users -= 1
            if shared.users > 0:
                return
            if self._shared.get(key) is shared:
                del self._shared[key]
        shared.database.close()


volumes = Volumes()
