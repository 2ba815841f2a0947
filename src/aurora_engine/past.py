"""The verbs of time: looking at the past, going back to it, and branching off from it."""

from __future__ import annotations

import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from aurora_engine.options import Topology, checked_history_bytes, checked_window
from aurora_engine.restore import make_equal
from aurora_engine.view import Snapshot

if TYPE_CHECKING:
    from typing import Self

    from aurora_engine.transaction import Transaction
    from aurora_engine.types import At, RetentionReport, Rewind
    from aurora_engine.volume import Volume

__all__: list[str] = []

_T = TypeVar("_T")


class PastVerbs(ABC):
    """What a database does with its past; see `aurora_engine.Database`."""

    __slots__ = ()

    _volume: Volume

    @abstractmethod
    def _require_open(self) -> None:
        """Raises if it is closed."""

    @abstractmethod
    def _opened(self, volume: Volume) -> Self:
        """A database on another volume, with this one's options."""

    @abstractmethod
    def transact(self, work: Callable[[Transaction], _T]) -> _T:
        """Runs a function in a transaction; `Database.transact`."""

    def at(self, at: At) -> Snapshot:
        """A read-only view of a moment of the past.

        Parameters
        ----------
        at : int, datetime or timedelta
            An LSN; a time, which means the newest commit at or before it (local time if it has no
            zone); or how long ago. Moments that a backtrack has left behind are named the same way.

        Returns
        -------
        Snapshot
            Any number of them may be open.

        Raises
        ------
        SnapshotTooOldError
            If the moment is not retained any more; the message names the oldest one that is.
        ValueError
            If it is in the future.
        TypeError
            If it is none of these.

        Examples
        --------
        >>> import aurora_engine as aurora
        >>> with aurora.open(path) as db:
        ...     before = db.put(b"k", b"old")
        ...     after = db.put(b"k", b"new")
        ...     with db.at(before) as view:
        ...         view[b"k"], db[b"k"]
        (b'old', b'new')
        """
        self._require_open()
        return Snapshot(self._volume.past.view(at), self._volume)

    def pinned(self, at: At) -> AbstractContextManager[int]:
        """The LSN of a moment, which is retained until the end of a with block.

        Parameters
        ----------
        at : int, datetime or timedelta
            The moment, as with `at`.
        """
        self._require_open()
        return self._volume.past.pinned(at)

    def moment_time(self, lsn: int) -> datetime:
        """Since when a moment was the present, in UTC.

        Raises
        ------
        ValueError
            If the LSN is negative, or no commit has got it yet.
        """
        self._require_open()
        return self._volume.past.time(operator.index(lsn))

    def backtrack(self, to: At, *, dry_run: bool = False) -> Rewind:
        """Makes a moment of the past the present again, in place, whatever the distance.

        What was committed since is left behind, but not lost: going back to `Rewind.undo_lsn`
        brings it back, as long as history is retained. Open views keep what they see; running
        transactions that write end in `ConflictError`; this handle and its tables go on.

        Parameters
        ----------
        to : int, datetime or timedelta
            The moment, as with `at`.
        dry_run : bool
            Only say what it would be.

        Returns
        -------
        Rewind

        Raises
        ------
        SnapshotTooOldError, ValueError, TypeError
            As with `at`. Nothing was done.
        VolumeFullError
            If thousands of backtracks are retained already. Nothing was done.
        TimeoutError
            If what was committed did not become durable in time. Nothing was done.
        QuorumLostError
            If too few copies could record it; with ``in_doubt`` set, it may have been done all the
            same.

        Examples
        --------
        >>> import aurora_engine as aurora
        >>> with aurora.open(path) as db:
        ...     good = db.put(b"k", b"good")
        ...     _ = db.put(b"k", b"bad")
        ...     point = db.backtrack(good)
        ...     db[b"k"], point.lost_commits
        ...     _ = db.backtrack(point.undo_lsn)  # forward again
        ...     db[b"k"]
        (b'good', 1)
        b'bad'
        """
        self._require_open()
        self._volume.listening.require_outside("backtrack")
        return self._volume.past.backtrack(to, dry_run=dry_run)

    def history(self) -> list[Rewind]:
        """The backtracks that were made, oldest first."""
        self._require_open()
        return self._volume.past.rewinds()

    def restore_table(self, name: str, *, at: At) -> int:
        """Makes a table what it was at a moment, in one transaction, also when it was dropped.

        Everything else stays as it is.

        Parameters
        ----------
        name : str
            The table.
        at : int, datetime or timedelta
            The moment, as with `at`.

        Returns
        -------
        int
            How many records were put or removed; those that had not changed are left alone.

        Raises
        ------
        KeyError
            If there was no such table then.
        SnapshotTooOldError, ValueError, TypeError
            As with `at`.
        ConflictError
            If others kept on changing the table.

        Examples
        --------
        >>> import aurora_engine as aurora
        >>> with aurora.open(path) as db:
        ...     good = db.table("people").put(b"ada", b"Lovelace")
        ...     db.drop_table("people")
        ...     db.restore_table("people", at=good), db.table("people")[b"ada"]
        (1, b'Lovelace')
        """
        with self.at(at) as view:
            then = view.table(name)
            return self.transact(lambda txn: make_equal(then, txn.table(name)))

    def clone(
        self,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        *,
        at: At | None = None,
        topology: Topology | None = None,
        progress: Callable[[int, int], bool] | None = None,
    ) -> Self:
        """Makes a database of its own out of this one as it is, or was at a moment.

        It shares the files of this one by hard links where the file system has them, so that it
        takes no time and no space until one of the two changes. Either may be deleted first, and
        clones may be cloned. Of each file of this one a clone has one link: where its `topology`
        asks for more copies than there are here, the others are copied.

        Parameters
        ----------
        path : path-like
            Directory of the new database; it must not hold one yet.
        at : int, datetime or timedelta, optional
            The moment, as with `at`; by default now.
        topology : Topology, optional
            Where its copies lie; by default in its directory, in zones of the same names.
        progress : callable, optional
            Is called with the bytes done and in total while files have to be copied; returning
            False stops it. It may read and write, but not `clone`, `repair`, `backtrack` or `close`
            this database: that is a `ValueError`.

        Returns
        -------
        Database
            The clone, open.

        Raises
        ------
        ValueError
            If there is a database in `path`, or other files, or it or one of its zones lies inside
            of this one; or if `at` is in the future.
        SnapshotTooOldError
            If the moment is not retained any more.
        StorageIOError, VolumeFullError
            If the file system refuses, or `progress` stopped it. What was made is removed; after a
            crash it is left, `open` says so, and cloning to `path` again begins anew.

        Examples
        --------
        >>> import aurora_engine as aurora
        >>> with aurora.open(path / "one") as db:
        ...     db[b"k"] = b"shared"
        ...     with db.clone(path / "two") as clone:
        ...         clone[b"k"] = b"its own"
        ...         db[b"k"], clone[b"k"]
        (b'shared', b'its own')
        """
        self._require_open()
        self._volume.listening.require_outside("clone")
        return self._opened(self._volume.clone(path, at=at, topology=topology, progress=progress))

    def set_backtrack_window(self, window: timedelta) -> None:
        """Changes how far back history is kept, from now on and in later openings.

        A shorter window gives up what lies before it; a longer one fills as time goes by.

        Parameters
        ----------
        window : timedelta
            Zero keeps only the present, and what open views show.

        Raises
        ------
        TypeError, ValueError
            If it is no timedelta, or negative.
        StorageIOError, VolumeFullError
            If the volume's metadata cannot be written.
        """
        self._require_open()
        self._volume.past.set_window(checked_window(window))

    def set_history_bytes(self, limit: int | None) -> None:
        """Changes how many bytes of history each copy may keep, from now on and in later openings.

        Parameters
        ----------
        limit : int or None
            Where it is reached, the window gets shorter. None allows as much as the live data
            takes, and 1 GiB more.

        Raises
        ------
        TypeError, ValueError
            If it is no int, or negative.
        StorageIOError, VolumeFullError
            If the volume's metadata cannot be written.
        """
        self._require_open()
        self._volume.past.set_history_bytes(checked_history_bytes(limit))

    def explain_retention(self) -> RetentionReport:
        """Why the bytes on the disks are kept, for each copy and in all.

        For the present, the window, open views, or because they were not collected yet.
        """
        self._require_open()
        return self._volume.explain_retention()
