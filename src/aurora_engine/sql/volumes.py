"""Volumes that connections have opened by their path: one for all connections of this process."""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from aurora_engine.database import Database, opened_at
from aurora_engine.database import open as open_database

__all__: list[str] = []


class Release(Protocol):
    """What to call, once, when a volume is no longer used.

    Without ``wait`` it never waits for another thread: for what is called at any time, in the
    middle of anything, because a connection is collected.
    """

    def __call__(self, *, wait: bool = True) -> None: ...


@dataclass(slots=True, eq=False)
class _Shared:
    key: str
    database: Database
    users: int


def _keep(*, wait: bool = True) -> None:
    """The release of a volume that is its owner's to close."""


class Volumes:
    """The volumes that are open because somebody is connected to them.

    Connections name a volume by its path, as drivers have it; a volume has one writer, so all
    connections of a process share what the first of them has opened, and the last one closes it.

    Thread rule: any thread.
    """

    def __init__(self) -> None:
        # Held while a volume is opened or closed, so that nobody finds one that is half of either.
        # By one thread twice: a connection may be collected while it opens another volume.
        self._lock = threading.RLock()
        self._shared: dict[str, _Shared] = {}
        self._given_back: deque[_Shared] = deque()

    def acquire(self, path: str, *, create: bool) -> tuple[Database, Release]:
        """The database at a path, and its release."""
        key = os.path.realpath(path)
        try:
            with self._lock:
                self._take_back()
                shared = self._shared.get(key)
                if shared is not None and self._use(shared):
                    return shared.database, self._release_of(shared)
                opened = opened_at(key)
                if opened is not None:
                    return opened, _keep
                shared = _Shared(key, open_database(path, create=create), 1)
                self._shared[key] = shared
                return shared.database, self._release_of(shared)
        finally:
            self._try_to_take_back()

    def share(self, database: Database) -> Release:
        """The release for one user more of a database that is open.

        Only one that connections have opened is counted; looking for it waits for nobody.
        """
        for shared in list(self._shared.values()):
            if shared.database is database:
                with self._lock:
                    return self._release_of(shared) if self._use(shared) else _keep
        return _keep

    @staticmethod
    def _use(shared: _Shared) -> bool:
        """Counts one user more, if it is open. First, so that nobody closes it in between."""
        shared.users += 1
        return not shared.database.closed

    def _release_of(self, shared: _Shared) -> Release:
        def release(*, wait: bool = True) -> None:
            self._given_back.append(shared)
            if wait:
                with self._lock:
                    self._take_back()
            self._try_to_take_back()

        return release

    def _try_to_take_back(self) -> None:
        # Whoever has the lock looks again when it has let go of it.
        while self._given_back and self._lock.acquire(blocking=False):
            try:
                self._take_back()
            finally:
                self._lock.release()

    def _take_back(self) -> None:
        while self._given_back:
            shared = self._given_back.popleft()
            shared.users -= 1
            if shared.users > 0:
                continue
            if self._shared.get(shared.key) is shared:
                del self._shared[shared.key]
            shared.database.close()


volumes = Volumes()
