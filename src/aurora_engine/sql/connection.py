"""Connections: `sqlite3.Connection`, with its files in a volume."""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from aurora_engine._ext.records import SqlState
from aurora_engine._ext.sql_verbs import CursorVerbs, StatementVerbs
from aurora_engine.database import Database
from aurora_engine.errors import DatabaseClosedError
from aurora_engine.moments import parse_moment
from aurora_engine.sql.databases import milliseconds
from aurora_engine.sql.drivers import vfs_of
from aurora_engine.sql.failures import as_both, explained, with_cause
from aurora_engine.sql.functions import Raised, install_functions
from aurora_engine.sql.volumes import Release, volumes

if TYPE_CHECKING:
    from typing import Self

    from aurora_engine.types import At

    # The verbs are mixed into the class of a driver, all of which are like this.
    _DriverConnection = sqlite3.Connection
else:
    _DriverConnection = object

__all__ = ["Connection", "Cursor", "connect"]

TIMEOUT_S = 5.0
NAME_BYTES_MAX = 254

Target = Database | str | bytes | os.PathLike[str] | os.PathLike[bytes]


class ConnectionVerbs(StatementVerbs, _DriverConnection):
    """What connections do on top of a driver's own."""

    driver: ModuleType
    _uri_options = ""

    _process: int
    _database: Database
    _raised: Raised
    _release: weakref.finalize[Any, Any]
    _id: int

    def __init__(
        self,
        target: Target,
        *,
        name: str = "main",
        as_of: At | str | None = None,
        create: bool = True,
        read_only: bool = False,
        timeout: float = TIMEOUT_S,
        isolation_level: str | None = "IMMEDIATE",
        **options: Any,
    ) -> None:
        check_name(name)
        # Who only looks makes nothing.
        database, release = database_of(target, create and not read_only and as_of is None)
        mode = "&mode=ro" if read_only else ""
        # As with the driver's own, a connection can be initialized again.
        release_before = getattr(self, "_release", None)
        try:
            self._open(database, name, mode, as_of, timeout, isolation_level, options)
        except BaseException:
            release()
            raise
        finally:
            let_go(release_before)
        self._name = name
        self._release = weakref.finalize(self, release, wait=False)

    def _open(
        self,
        database: Database,
        name: str,
        mode: str,
        as_of: At | str | None,
        timeout: float,
        isolation_level: str | None,
        options: dict[str, Any],
    ) -> None:
        sql = database.sql
        with _pinned(database, as_of) as moment:
            past = "" if moment is None else f"&as_of={moment}"
            vfs = vfs_of(sql, self.driver)
            uri = f"file:{quote(name, safe='')}?vfs={vfs}&cache=private{mode}{past}"
            try:
                super().__init__(
                    uri + self._uri_options,
                    timeout=timeout,
                    # Checked by the driver, which knows more of them in later versions.
                    isolation_level=cast("Any", isolation_level),
                    uri=True,
                    **options,
                )
            except self.driver.DatabaseError as failure:
                reason = SqlState(0, 0, 0, sql.thread_error())
                raise explained(failure, reason) from failure.__cause__
        # Not before: the driver clears the attributes of a connection that is initialized again.
        self._process = os.getpid()
        self._database = database
        self._id = sql.opened()
        sql.set_timeout(self._id, milliseconds(timeout))
        self._raised = Raised()
        install_functions(self, self._raised, read_only=bool(mode or past))

    # ---- what it is ----

    @property
    def database(self) -> Database:
        """The volume that it works in."""
        return self._database

    @property
    def name(self) -> str:
        """Name of the SQL database in the volume."""
        return self._name

    @property
    def lsn(self) -> int:
        """The moment that it stands at.

        While it is in a transaction or looks at the past, the one that it reads at; else its newest
        commit; before its first one, what is durable now.
        """
        state = self._database.sql.state(self._id)
        return state.read_point or state.last_commit or self._database.durable_lsn

    # ---- transactions ----

    def commit(self, *, wait: bool = True) -> None:
        """Commits the transaction that is open, if one is.

        Parameters
        ----------
        wait : bool
            Wait until it is durable. Without, the commit is ordered but may be lost in a crash,
            from the end; `wait_durable` waits for it, and so does the end of the next transaction
            of this connection that only reads.

        Raises
        ------
        sqlite3.OperationalError
            With ``in_doubt`` set if it may have been done all the same (`QuorumLostError`): ask for
            ``lsn`` when the quorum is back.
        """
        self.check_process()
        try:
            if wait:
                super().commit()
            else:
                self._commit_without_waiting()
        except self.driver.DatabaseError as failure:
            raise self.explain(failure) from failure.__cause__

    def _commit_without_waiting(self) -> None:
        sql = self._database.sql
        try:
            before = sql.set_wait(self._id, False)
        except DatabaseClosedError:
            super().commit()  # it is for the driver to say, as by all verbs
            return
        try:
            super().commit()
        finally:
            with suppress(DatabaseClosedError):
                sql.set_wait(self._id, before)

    def wait_durable(self, *, timeout: float | None = None) -> None:
        """Waits until every commit of this connection is durable.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Raises
        ------
        TimeoutError
            If they are not durable in time.
        QuorumLostError
            If they cannot become durable now.
        """
        newest = self._database.sql.state(self._id).last_commit
        if newest:
            self._database.wait_durable(newest, timeout=timeout)

    def at(self, moment: At | str) -> Self:
        """Another connection, to the same database as it was at a moment; read-only.

        It keeps the volume open as this one does.

        Parameters
        ----------
        moment : int, datetime, timedelta or str
            As with `Database.at`; or any of them as text.
        """
        return type(self)(self._database, name=self._name, as_of=moment)

    def rollback(self) -> None:
        """Rolls the transaction back, if one is open."""
        try:
            super().rollback()
        except self.driver.DatabaseError as failure:
            raise self.explain(failure) from failure.__cause__

    def __exit__(self, *raised: Any) -> Any:
        try:
            return super().__exit__(*raised)
        except self.driver.DatabaseError as failure:
            raise self.explain(failure) from failure.__cause__

    def interrupt(self) -> None:
        """Ends what the connection runs, and its wait for its turn to write; from any thread."""
        super().interrupt()
        with suppress(DatabaseClosedError):  # nobody waits any more
            self._database.sql.interrupt(self._id)

    # ---- blobs and whole databases ----

    def blobopen(self, *where: Any, **options: Any) -> sqlite3.Blob:
        """Opens a value for reading and writing; see `sqlite3.Connection.blobopen`."""
        self.check_process()
        try:
            return super().blobopen(*where, **options)
        except self.driver.DatabaseError as failure:
            raise self.explain(failure) from failure.__cause__

    def backup(self, target: Any, **options: Any) -> None:
        """Copies the database into another connection's; see `sqlite3.Connection.backup`.

        Into one of a volume only what lies in a volume with pages of the same size can be copied
        like this.
        """
        self.check_process()
        try:
            super().backup(target, **options)
        except self.driver.DatabaseError as failure:
            # A target of the driver itself has nothing to say.
            told = self.explain(failure)
            raise getattr(target, "explain", lambda as_it_is: as_it_is)(told) from failure.__cause__

    def serialize(self, **options: Any) -> bytes:
        """The bytes of a database; see `sqlite3.Connection.serialize`."""
        self.check_process()
        try:
            return super().serialize(**options)
        except self.driver.DatabaseError as failure:
            raise self.explain(failure) from failure.__cause__

    def deserialize(self, data: Any, /, *, name: str = "main") -> None:
        """Puts bytes in the place of a database; see `sqlite3.Connection.deserialize`.

        Not in the place of one in a volume, which would go on as one in memory: attach
        ``':memory:'`` and give its name.
        """
        files = {row[1]: row[2] for row in self.cursor().execute("PRAGMA database_list")}
        if is_name(files.get(name, "")):
            raise self.driver.NotSupportedError(
                "deserialize would replace the database in the volume by one in memory: attach "
                "':memory:' and deserialize into that"
            )
        super().deserialize(data, name=name)

    def check_process(self) -> None:
        """Raises in a child of the process that connected."""
        if getattr(self, "_process", os.getpid()) != os.getpid():
            refusal = self.driver.OperationalError("a connection does not survive a fork")
            raise self.explain(refusal)

    def explain(self, failure: Exception) -> Exception:
        """What an error of the driver really was."""
        database: Database | None = getattr(self, "_database", None)
        # How it is used, or that it is closed itself, is for the driver to say.
        is_own = isinstance(failure, cast("type[Exception]", self.driver.ProgrammingError))
        if database is None or is_own:
            return failure
        theirs = cast("sqlite3.Error", failure)
        try:
            state = database.sql.state(self._id)
            raised = self._raised.take(failure)
            return with_cause(theirs, raised) if raised else explained(theirs, state)
        except DatabaseClosedError as closed:
            return as_both(closed, theirs)

    def close(self) -> None:
        """Closes it. What was not committed is rolled back. Idempotent."""
        super().close()
        let_go(getattr(self, "_release", None))

    def __repr__(self) -> str:
        name, database = (getattr(self, attribute, None) for attribute in ("_name", "_database"))
        return f"<aurora_engine.sql.Connection to {name!r} of {database!r}>"


class Cursor(CursorVerbs, sqlite3.Cursor):
    """A cursor of Python's own `sqlite3` whose errors say what happened in the volume."""

    __slots__ = ()

    driver_class = sqlite3.Cursor
    failure_class = sqlite3.DatabaseError


class Connection(ConnectionVerbs, sqlite3.Connection):
    """A connection to an SQL database in a volume; made by `connect`.

    Everything of `sqlite3.Connection` works on it.
    """

    driver = sqlite3
    driver_class = sqlite3.Connection
    cursor_class = Cursor


@cache
def classes_of(driver: ModuleType) -> type[Connection]:
    """The connection class for a driver."""
    if driver is sqlite3:
        return Connection
    cursor = type(
        "Cursor",
        (CursorVerbs, driver.Cursor),
        {"__slots__": (), "driver_class": driver.Cursor, "failure_class": driver.DatabaseError},
    )
    return type(
        "Connection",
        (ConnectionVerbs, driver.Connection),
        {"driver": driver, "driver_class": driver.Connection, "cursor_class": cursor},
    )


def connect(
    target: Target,
    *,
    name: str = "main",
    as_of: At | str | None = None,
    create: bool = True,
    read_only: bool = False,
    timeout: float = TIMEOUT_S,
    isolation_level: str | None = "IMMEDIATE",
    driver: ModuleType = sqlite3,
    factory: Callable[..., Any] | None = None,
    **options: Any,
) -> Connection:
    """Connects to an SQL database in a volume.

    Parameters
    ----------
    target : Database or path-like
        An open volume, or the directory of one. Connections of one process that name the same
        directory share the volume, which is closed with the last of them.
    name : str
        Which database of the volume; it is made with the first commit. Up to 254 bytes in UTF-8.
    as_of : int, datetime, timedelta or str, optional
        Connect to the past, read-only: a moment as with `Database.at`, or one as text.
    create : bool
        Make the volume when there is none; not to read only, or the past.
    read_only : bool
        Refuse to write. The database must be there.
    timeout : float
        Seconds to wait while another connection writes the database; they wait in line.
    isolation_level : str or None
        As with `sqlite3.connect`; by default transactions that are begun for a write are IMMEDIATE,
        so that they never fail because their snapshot was old.
    driver : module
        `sqlite3`, or another driver of its kind with a newer SQLite, such as ``pysqlite3``.
    factory : callable, optional
        A subclass of `Connection` to make.
    **options
        What else `sqlite3.connect` takes: detect_types, check_same_thread, cached_statements,
        autocommit.

    Returns
    -------
    Connection

    Raises
    ------
    TypeError, ValueError
        If something else is given as a target, or the name is empty or too long.
    SnapshotTooOldError
        If the moment is no longer retained.
    DatabaseLockedError
        If another process has the volume open.
    QuorumLostError, CorruptionError, StorageIOError
        As with `aurora_engine.open`; `StorageIOError` if there is no volume, and none is made.

    Examples
    --------
    >>> import aurora_engine as aurora
    >>> with aurora.open(path) as db, aurora.connect(db) as conn:
    ...     _ = conn.execute("CREATE TABLE t (x)")
    ...     _ = conn.execute("INSERT INTO t VALUES (1)")
    ...     conn.commit()
    ...     before = conn.lsn
    ...     _ = conn.execute("DELETE FROM t")
    ...     conn.commit()
    ...     conn.at(before).execute("SELECT x FROM t").fetchall()
    [(1,)]
    """
    made = (factory or classes_of(driver))(
        target,
        name=name,
        as_of=as_of,
        create=create,
        read_only=read_only,
        timeout=timeout,
        isolation_level=isolation_level,
        **options,
    )
    return cast("Connection", made)


def is_name(file: str) -> bool:
    """Whether what SQLite calls a file is a database of a volume: not empty, not in a folder."""
    return file != "" and not file.startswith("/")


def check_name(name: str) -> None:
    """Raises if a database cannot have this name."""
    if not isinstance(name, str):
        raise TypeError(f"the name of an SQL database is a str, not {type(name).__name__}")
    if not 0 < len(name.encode()) <= NAME_BYTES_MAX or name.startswith("/") or "\0" in name:
        raise ValueError(
            f"an SQL database has a name of 1 to {NAME_BYTES_MAX} bytes that does not begin with a "
            f"slash, not {name!r}"
        )
    if name == ":memory:":
        raise ValueError("a database in a volume is not in memory: give it another name")


def let_go(kept: weakref.finalize[Any, Any] | None) -> None:
    """Gives back at once what a connection keeps open, if it still does."""
    detached = kept.detach() if kept is not None else None
    if detached is not None:
        _, release, *_ = detached
        release()


def database_of(target: Target, create: bool) -> tuple[Database, Release]:
    """The volume that a target means, and its release."""
    if isinstance(target, Database):
        return target, volumes.share(target)
    if isinstance(target, str | bytes | os.PathLike):
        return volumes.acquire(os.fsdecode(target), create=create)
    raise TypeError(
        f"connect takes a Database or a path, not {type(target).__name__}; a transaction of keys "
        "and values and one of SQL are two transactions, and a view of the past is as_of=..."
    )


def _pinned(database: Database, as_of: At | str | None) -> AbstractContextManager[int | None]:
    if as_of is None:
        return nullcontext(None)
    return database.pinned(parse_moment(as_of) if isinstance(as_of, str) else as_of)
