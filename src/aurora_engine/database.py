"""The database: opening, transactions, views, tables, and looking after the volume."""

from __future__ import annotations

import logging
import math
import operator
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from aurora_engine._ext.transaction import Txn
from aurora_engine.errors import AuroraError, ConflictError
from aurora_engine.options import (
    BACKTRACK_WINDOW_DEFAULT,
    CACHE_BYTES_DEFAULT,
    PAGE_BYTES_DEFAULT,
    PROTECTION_GROUP_BYTES_DEFAULT,
    OpenOptions,
    Topology,
    checked_cache_bytes,
)
from aurora_engine.past import PastVerbs
from aurora_engine.table import Table, TableVerbs
from aurora_engine.transaction import Transaction
from aurora_engine.view import Snapshot

if TYPE_CHECKING:
    from typing import Self

    from aurora_engine.sql.databases import SqlDatabases
    from aurora_engine.types import Durability, VerifyReport, VolumeStatus
    from aurora_engine.volume import Volume

__all__ = ["Database", "open"]

_T = TypeVar("_T")

_log = logging.getLogger("aurora_engine")

CLOSE_WAIT_S = 30.0
ATTEMPTS_DEFAULT = 100
ATTEMPTS_BEFORE_TURNS = 4
BACKOFF_S = 0.0005


def open(  # noqa: A001
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    create: bool = True,
    topology: Topology | None = None,
    cache_bytes: int = CACHE_BYTES_DEFAULT,
    page_bytes: int = PAGE_BYTES_DEFAULT,
    protection_group_bytes: int = PROTECTION_GROUP_BYTES_DEFAULT,
    backtrack_window: timedelta = BACKTRACK_WINDOW_DEFAULT,
    history_bytes: int | None = None,
    durability: Durability = "quorum",
) -> Database:
    """Opens the database in a directory for reading and writing.

    Parameters
    ----------
    path : path-like
        The volume's directory.
    create : bool
        Make a new database when there is none.
    topology : Topology, optional
        Where the copies lie. A new database gets three zones with two copies each by default; an
        existing one keeps its zones, whose folders may be given anew when they have moved.
    cache_bytes : int
        Memory budget: cached pages, and redo that storage has not put into layers yet (at most
        32 MiB of it, and a third); at least 1 MiB.
    page_bytes : int
        Size of a page of a new database: a power of two from 4096 to 65536.
    protection_group_bytes : int
        Bytes of pages in one protection group of a new database: from 64 to 2**26 pages.
    backtrack_window : timedelta
        How far back every moment can be read and made the present again; 72 hours by default. An
        existing database keeps its window unless another than the default is given.
    history_bytes : int, optional
        How many bytes each copy may keep for the past; where that is reached, the window gets
        shorter. By default as much as the live data takes, and 1 GiB more. An existing database
        keeps its limit unless one is given.
    durability : {"quorum", "async"}
        With ``"quorum"`` a write returns when more than half of the copies (four of six) have it on
        disk, and readers see only what is durable. With ``"async"`` it returns at once, readers see
        it at once, and a crash may lose the newest commits, always from the end;
        `Database.wait_durable` waits for them.

    Returns
    -------
    Database

    Raises
    ------
    TypeError, ValueError
        If an option is out of its range, the path is empty, or the topology has other zones than
        the database.
    DatabaseLockedError
        If another process has it open; the message names it.
    QuorumLostError
        If too few copies can be read to prove what is current.
    CorruptionError, VersionError
        If the directory holds something else, or a later format.
    StorageIOError
        If the file system refuses.

    Examples
    --------
    >>> import aurora_engine as aurora
    >>> with aurora.open(path) as db:
    ...     db[b"greeting"] = b"hello"
    ...     db[b"greeting"]
    b'hello'
    """
    options = OpenOptions(
        create=create,
        topology=topology,
        cache_bytes=cache_bytes,
        page_bytes=page_bytes,
        protection_group_bytes=protection_group_bytes,
        backtrack_window=backtrack_window,
        history_bytes=history_bytes,
        durability=durability,
    )
    # Loaded with the first database, which keeps the import of the package quick.
    from aurora_engine.volume import Volume

    volume = Volume.open(path, options)
    return Database(volume, durability)


# A volume has one writer: who names its directory again in this process finds it here.
_opened: WeakValueDictionary[str, Database] = WeakValueDictionary()


def opened_at(path: str) -> Database | None:
    """The database that this process has open in a directory, by its real path."""
    database = _opened.get(path)
    return None if database is None or database.closed else database


def _backoff_s(attempt: int) -> float:
    """A random time that grows with the attempts, so that those who met here part."""
    return int.from_bytes(os.urandom(2)) / 65536 * BACKOFF_S * attempt


class Database(TableVerbs, PastVerbs):
    """An open database: an ordered, transactional map of bytes to bytes.

    Named tables stand beside it. Made by `open`. Every verb on it is a transaction of its own;
    `begin` and `transact` group several. Usable from any number of threads; not in a child after a
    fork. Close it, best by a with statement.

    Examples
    --------
    >>> import aurora_engine as aurora
    >>> with aurora.open(path) as db:
    ...     db.put_many({b"a": b"1", b"b": b"2", b"c": b"3"}) == db.durable_lsn
    ...     list(db.scan(b"b"))
    ...     with db.begin() as txn:
    ...         txn[b"a"] = txn[b"c"]
    ...         del txn[b"c"]
    ...     db.get_many([b"a", b"c"])
    True
    [(b'b', b'2'), (b'c', b'3')]
    [b'3', None]
    """

    __slots__ = ("__weakref__", "_closed", "_sql", "_turn")

    def __init__(self, volume: Volume, durability: Durability) -> None:
        self._closed = False
        self._volume = volume
        self._source = volume.engine
        self._handle = None
        self._waits = durability == "quorum"
        self._turn = threading.Lock()
        self._sql: SqlDatabases | None = None
        _opened[os.path.realpath(volume.path)] = self

    @property
    def path(self) -> str:
        """The volume's directory."""
        return str(self._volume.path)

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used in this process."""
        return self._source.closed

    # ---- transactions and views ----

    def begin(self, *, read_only: bool = False) -> Transaction:
        """Begins a transaction.

        Transactions are serializable and optimistic: nobody waits for anybody, and a commit whose
        reads were overtaken by another commit raises `ConflictError`.

        Parameters
        ----------
        read_only : bool
            Refuse writes; reads the newest durable state and never conflicts.

        Returns
        -------
        Transaction
            Best used by a with statement: commits at its end, rolls back on an exception.

        Raises
        ------
        DatabaseClosedError
            If the database is closed.
        """
        return Transaction(self, read_only)

    def transact(
        self, work: Callable[[Transaction], _T], *, attempts: int = ATTEMPTS_DEFAULT
    ) -> _T:
        """Runs a function in a transaction and commits, again as long as it conflicts.

        Parameters
        ----------
        work : callable
            Is given the transaction; may be called several times, so it should do nothing else that
            lasts.
        attempts : int
            How often to try at most. Work that keeps losing takes turns with other such work of
            this database, so that it gets through.

        Returns
        -------
        object
            What `work` returned.

        Raises
        ------
        ConflictError
            If every attempt conflicted.
        Exception
            What `work` raised; the transaction is rolled back then.

        Examples
        --------
        >>> import aurora_engine as aurora
        >>> def increment(txn):
        ...     txn[b"n"] = b"%d" % (int(txn.get(b"n", b"0")) + 1)
        ...     return txn[b"n"]
        >>> with aurora.open(path) as db:
        ...     db.transact(increment), db.transact(increment)
        (b'1', b'2')
        """
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {attempts}")
        for attempt in range(1, attempts + 1):
            try:
                with self._turn if attempt > ATTEMPTS_BEFORE_TURNS else nullcontext():
                    result, lsn = self._attempt(work)
            except ConflictError:
                if attempt == attempts:
                    raise
                time.sleep(_backoff_s(attempt))
            else:
                break
        if self._waits and lsn is not None:
            self._source.wait_durable(lsn)
        return result

    def _attempt(self, work: Callable[[Transaction], _T]) -> tuple[_T, int | None]:
        transaction = self.begin()
        try:
            result = work(transaction)
            lsn = transaction.commit(wait=False) if transaction.is_open else None
        finally:
            transaction.rollback()
        return result, lsn

    def snapshot(self) -> Snapshot:
        """A read-only view of the newest durable state.

        Raises
        ------
        DatabaseClosedError
            If the database is closed.
        """
        return Snapshot(Txn(self._source, True), self._volume)

    # ---- tables ----

    def table(self, name: str, *, create: bool = True) -> Table:
        """A table by its name.

        Parameters
        ----------
        name : str
            1 to 255 bytes in UTF-8.
        create : bool
            Make the table when there is none.

        Raises
        ------
        KeyError
            If there is none and `create` is false.
        ValueError
            If the name is empty or too long.
        """
        # Looking it up writes nothing, and so works without a write quorum.
        with self.begin(read_only=True) as transaction:
            handle = transaction._source.table(name, False)
        if handle is None and create:
            handle = self.transact(lambda txn: txn.table(name)._handle)
        if handle is None:
            raise KeyError(name)
        return Table(self._source, self._volume, name, handle, waits=self._waits)

    def tables(self) -> list[str]:
        """Names of all tables."""
        with self.begin(read_only=True) as transaction:
            return transaction.tables()

    def drop_table(self, name: str) -> None:
        """Drops a table with all that is in it.

        Raises
        ------
        KeyError
            If there is none.
        """
        self.transact(lambda txn: txn.drop_table(name))

    # ---- SQL ----

    @property
    def sql(self) -> SqlDatabases:
        """The SQL databases of the volume; `aurora_engine.connect` connects to one."""
        if self._sql is None:
            from aurora_engine.sql.databases import SqlDatabases

            self._sql = SqlDatabases(self._source, self._volume)
        return self._sql

    # ---- durability ----

    @property
    def durable_lsn(self) -> int:
        """Everything committed up to this LSN is durable."""
        return self._source.durable_lsn

    def wait_durable(self, lsn: int, *, timeout: float | None = None) -> None:
        """Waits until everything up to an LSN is durable.

        Parameters
        ----------
        lsn : int
            As returned by `put` or `Transaction.commit`.
        timeout : float, optional
            Seconds to wait at most; None waits as long as it takes.

        Raises
        ------
        TimeoutError
            If it is not durable in time; it may become so later.
        ValueError
            If no commit has that LSN yet.
        QuorumLostError, FencedError
            If it cannot become durable now. It may survive all the same.
        """
        lsn, head = operator.index(lsn), self._source.status().head
        if not 0 <= lsn <= head:
            raise ValueError(f"no commit has LSN {lsn}; the newest one has {head}")
        if timeout is not None and not isinstance(timeout, int | float):
            raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}")
        if timeout is not None and not timeout < threading.TIMEOUT_MAX:
            if math.isnan(timeout):
                raise ValueError("timeout must be a number of seconds, not nan")
            timeout = None
        if not self._source.wait_durable(lsn, timeout):
            raise TimeoutError(
                f"LSN {lsn} was not durable within {timeout} s; durable is {self.durable_lsn}"
            )

    # ---- looking after the volume ----

    def status(self) -> VolumeStatus:
        """Where the volume stands: copies, watermarks, sizes, cache."""
        self._require_open()
        return self._volume.status()

    def verify(self) -> VerifyReport:
        """Reads and checks every byte of every copy and the structure of every tree.

        Returns
        -------
        VerifyReport
            With every damage found; ``report.ok`` is true when there is none.
        """
        self._require_open()
        return self._volume.verify()

    def compact(self) -> None:
        """Merges the layers of every copy into as few as possible, which makes reads faster.

        What exceeds the limit of history is collected as well, as far as no open view needs it.

        Raises
        ------
        StorageIOError, VolumeFullError, CorruptionError
            If the disks of too many copies refuse. Single copies that are damaged or full are
            passed over; `status` names them.
        """
        self._require_open()
        self._volume.compact()

    def repair(self, *, progress: Callable[[int, int], bool] | None = None) -> None:
        """Rebuilds every lost or damaged copy from its peers.

        It happens by itself after a while; this does it now. It goes on past copies that cannot be
        rebuilt, and raises the reason at the end.

        Parameters
        ----------
        progress : callable, optional
            Is called with the bytes copied so far and in total, for each copy; the total grows by
            what is written meanwhile. Returning False stops the repair. What it may not call is
            what that of `clone` may not.

        Raises
        ------
        QuorumLostError, StorageIOError, VolumeFullError
            If a copy cannot be rebuilt, or its disk is full.
        CorruptionError
            If no copy is whole, so that there is nothing to rebuild from.
        """
        self._require_open()
        self._volume.listening.require_outside("repair")
        self._volume.repair(progress)

    def set_cache_bytes(self, cache_bytes: int) -> None:
        """Changes the memory budget of the page cache; less gives memory back at once.

        Raises
        ------
        TypeError, ValueError
            If it is no int or below 1 MiB.
        """
        self._source.set_cache_bytes(checked_cache_bytes(cache_bytes))

    def close(self) -> None:
        """Closes the database, first its cursors, transactions and views. Idempotent.

        Waits for commits that nobody has waited for, unless their quorum is lost. Calls that other
        threads have under way end with `DatabaseClosedError`. In a forked child this does nothing.
        """
        if self._closed or self._source.forked:
            return
        self._volume.listening.require_outside("close")
        self._closed = True
        try:
            self._let_commits_get_durable()
        finally:
            self._volume.close()

    def _let_commits_get_durable(self) -> None:
        head = self._source.status().head
        try:
            durable = self._source.wait_durable(head, CLOSE_WAIT_S)
        except AuroraError as error:
            durable, reason = False, str(error)
        else:
            reason = f"not done within {CLOSE_WAIT_S} s"
        if not durable:
            _log.warning("closing %s with commits up to LSN %d in doubt: %s", self, head, reason)

    def _require_open(self) -> None:
        # Raises the error that says why it is not.
        self._source.durable_lsn  # noqa: B018

    def _opened(self, volume: Volume) -> Self:
        return type(self)(volume, "quorum" if self._waits else "async")

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if sys.is_finalizing() or getattr(self, "_closed", True) or self._source.forked:
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"open, durable up to LSN {self._source.durable_lsn}"
        return f"<aurora_engine.Database {self.path!r}, {state}>"
