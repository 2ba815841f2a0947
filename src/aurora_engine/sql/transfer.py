"""SQLite files into a volume, and out of it.

Both are one `VACUUM INTO` of SQLite's own: everything that a database is, row by row in the order
of its trees, with rowids as they were, indexes built once, and nothing left of what was deleted.
Modules of virtual tables are not needed; functions and collations that the schema itself computes
with are (``setup``).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from aurora_engine.errors import AuroraError, DatabaseClosedError
from aurora_engine.sql.connection import (
    TIMEOUT_S,
    Connection,
    Target,
    check_name,
    connect,
    database_of,
)
from aurora_engine.sql.drivers import vfs_of
from aurora_engine.sql.failures import explained
from aurora_engine.volume.layout import sync_path

if TYPE_CHECKING:
    from aurora_engine.database import Database
    from aurora_engine.types import At

__all__ = ["export_sqlite", "import_sqlite"]

Progress = Callable[[int, int], Any]
Setup = Callable[[sqlite3.Connection], Any]

POLL_FIRST_S = 0.001
POLL_S = 0.1
TIMEOUT_MIN_S = 0.1
CACHE_KIB = 8192
"""SQLite's page caches of the source and of the target, each."""
WAL_HEADER = struct.Struct(">I12x8s8s")
"""Of SQLite's WAL: which order its checksums take bytes in, its salts, and a checksum."""
WAL_FRAME = struct.Struct(">II8s8s")
"""Of a frame: page, size of the file after a commit, salts, checksum so far; a page follows."""
WAL_SUMMED_OF_HEADER, WAL_SUMMED_OF_FRAME = 24, 8


def import_sqlite(
    source_path: str | os.PathLike[str],
    target: Target,
    *,
    name: str = "main",
    replace: bool = False,
    timeout: float = TIMEOUT_S,
    setup: Setup | None = None,
    progress: Progress | None = None,
) -> None:
    """Copies an SQLite file into a volume, as one transaction.

    Page size and encoding do not matter; memory is bounded. The file is opened as every program
    that uses SQLite does: one that was not closed properly is restored from its journal, and who
    was the last to use it empties its WAL. A file that cannot be written is copied to the folder
    for temporary files first.

    Parameters
    ----------
    source_path : path-like
        The file. An empty one is an empty database.
    target : Database or path-like
        An open volume, or the directory of one, which is made if there is none.
    name : str
        Which database of the volume it becomes.
    replace : bool
        Put it in the place of a database of that name, if there is one; its past stays in reach.
    timeout : float
        Seconds to wait while another connection writes that database, or has the file locked.
    setup : callable, optional
        Called with the connection that reads the file, to add functions and collations that
        indexes, generated columns or constraints of its schema call.
    progress : callable, optional
        Called about ten times a second with bytes that are done and bytes in all; ``False`` stops
        the import, of which nothing is left then, unless its commit has begun.

    Raises
    ------
    FileNotFoundError, OSError
        If the file cannot be read.
    FileExistsError
        If the volume has a database of that name, and ``replace`` is not set.
    sqlite3.DatabaseError
        If it is no SQLite file, is damaged or cut off, or names functions that are not there; or
        what the volume refuses. Nothing is imported then.
    sqlite3.OperationalError
        "interrupted", if ``progress`` has stopped it.
    """
    check_name(name)
    source = Path(source_path).absolute()
    source.stat()
    database, release = database_of(target, create=True)
    try:
        if not replace and name in database.sql.names():
            raise FileExistsError(
                f"the volume has an SQL database {name!r}: choose another name, or replace it"
            )
        with _reader(source, timeout) as reader:
            if setup is not None:
                setup(reader)
            _Import(reader, database, name, replace).run(progress)
    finally:
        release()


def export_sqlite(
    source: Target,
    target_path: str | os.PathLike[str],
    *,
    name: str = "main",
    as_of: At | str | None = None,
    replace: bool = False,
    setup: Setup | None = None,
    progress: Progress | None = None,
) -> None:
    """Copies a database of a volume into an ordinary SQLite file, as one moment saw it.

    The file appears under its name when it is complete and on disk. Its pages have the size of the
    volume's, and leave 56 bytes at their ends unused, as those in the volume do; every SQLite since
    3.0 reads and writes such files.

    Parameters
    ----------
    source : Database or path-like
        An open volume, or the directory of one.
    target_path : path-like
        The file to make.
    name : str
        Which database of the volume.
    as_of : int, datetime, timedelta or str, optional
        The moment, as with `connect`; now by default.
    replace : bool
        Put it in the place of a file that is there.
    setup, progress : callable, optional
        As with `import_sqlite`.

    Raises
    ------
    KeyError
        If there was no database of that name then.
    FileExistsError
        If there is such a file, and ``replace`` is not set; or a journal or WAL that would be taken
        for one of the new file's.
    OSError, sqlite3.DatabaseError
        If it cannot be written, or read; no file is left then.
    SnapshotTooOldError
        If the moment is no longer retained.
    """
    path = Path(target_path).absolute()
    _require_free(path, replace)
    with closing(
        connect(
            source,
            name=name,
            as_of=as_of,
            create=False,
            factory=_Copied,
            isolation_level=None,
            check_same_thread=False,
        )
    ) as connection:
        pages = _number(connection, "PRAGMA page_count")
        if pages == 0:
            raise KeyError(name)
        if setup is not None:
            setup(connection)
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        # In a folder of its own, so that nothing is left, whatever SQLite puts beside it.
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}.", dir=path.parent))
        try:
            _export(connection, folder / "copy", pages, progress)
            _require_free(path, replace)
            (folder / "copy").replace(path)
            sync_path(path.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


# ---- import ----


@contextmanager
def _reader(source: Path, timeout: float) -> Iterator[sqlite3.Connection]:
    """A connection to the file, or to a copy of it, that could write.

    Of files that it cannot write SQLite leaves the constraints out, and then copies rows without
    their rowids.
    """
    with ExitStack() as stack:
        reader = stack.enter_context(_opened(source, timeout))
        _require_complete(source, reader)
        if not os.access(source, os.W_OK):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="aurora-import-"))
            copy = Path(folder) / "copy"
            with closing(sqlite3.connect(copy)) as copied:
                reader.backup(copied)
            reader = stack.enter_context(_opened(copy, timeout))
        yield reader


@contextmanager
def _opened(path: Path, timeout: float) -> Iterator[sqlite3.Connection]:
    with closing(
        sqlite3.connect(
            f"{path.as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            # It is SQLite that waits, for the file and for the right to write the database.
            timeout=max(timeout, TIMEOUT_MIN_S),
        )
    ) as connection:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except UnicodeDecodeError as failure:
            # SQLite quotes what it cannot parse, and the driver cannot read that.
            text = failure.object.decode(errors="backslashreplace")
            raise sqlite3.DatabaseError(text) from failure
        yield connection


def _require_complete(source: Path, reader: sqlite3.Connection) -> None:
    """Makes sure that the file has all of its last page: SQLite takes zeros for what is cut off.

    Raises
    ------
    sqlite3.DatabaseError
        If neither the file nor its WAL has it.
    """
    reader.execute("BEGIN")
    try:
        pages, page_bytes = (
            _number(reader, "PRAGMA page_count"),
            _number(reader, "PRAGMA page_size"),
        )
        whole, rest = divmod(source.stat().st_size, page_bytes)
        is_cut = rest > 0 and whole < pages
        if is_cut and whole + 1 not in _pages_in_wal(source, page_bytes):
            raise sqlite3.DatabaseError(
                f"{source} is cut off: page {whole + 1} of {pages} has {rest} of {page_bytes} bytes"
            )
    finally:
        reader.execute("COMMIT")


def _pages_in_wal(source: Path, page_bytes: int) -> set[int]:
    """Numbers of the pages that a file's WAL holds of commits (www.sqlite.org/fileformat2.html)."""
    committed: set[int] = set()
    pending: set[int] = set()
    with suppress(FileNotFoundError), source.with_name(source.name + "-wal").open("rb") as wal:
        header = wal.read(WAL_HEADER.size)
        if len(header) < WAL_HEADER.size:
            return committed
        magic, salts, stated = WAL_HEADER.unpack(header)
        order = ">" if magic & 1 else "<"
        so_far = _wal_checksum(order, header[:WAL_SUMMED_OF_HEADER])
        while struct.pack(">II", *so_far) == stated:
            frame, page = wal.read(WAL_FRAME.size), wal.read(page_bytes)
            if len(page) < page_bytes:
                break
            number, pages_after_commit, own_salts, stated = WAL_FRAME.unpack(frame)
            if own_salts != salts:
                break  # of the WAL's life before: it is written from its beginning again
            so_far = _wal_checksum(order, frame[:WAL_SUMMED_OF_FRAME] + page, so_far)
            if struct.pack(">II", *so_far) == stated:
                pending.add(number)
                committed |= pending if pages_after_commit > 0 else set()
    return committed


def _wal_checksum(order: str, data: bytes, so_far: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """SQLite's checksum of a WAL, which goes on from frame to frame."""
    first, second = so_far
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


class _Import:
    """One import: where it goes, and how far it is."""

    def __init__(
        self,
        reader: sqlite3.Connection,
        database: Database,
        name: str,
        replace: bool,
    ) -> None:
        self._reader = reader
        self._sql = database.sql
        self._page_bytes = database.status().page_bytes
        self._uri = (
            f"file:{quote(name, safe='')}?vfs={vfs_of(database.sql, sqlite3)}"
            f"&blank={'replace' if replace else 'new'}&timeout=0"
        )

    def run(self, progress: Progress | None) -> None:
        reader = self._reader
        # What it holds now: a WAL may grow meanwhile, and the copy is of one moment.
        total = _number(reader, "PRAGMA page_count") * _number(reader, "PRAGMA page_size")
        reader.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        reader.execute("PRAGMA mmap_size=0")
        reader.execute(f"PRAGMA page_size={self._page_bytes}")
        # One file of the volume stays open, to tell what went wrong with the one that VACUUM opens.
        reader.execute("ATTACH ? AS aurora", (self._uri,))
        witness = self._sql.opened()
        before = self._sql.counts()

        def done() -> int:
            now = self._sql.counts()
            written = (now.writes - before.writes) * self._page_bytes
            return min(written, total)

        def report() -> Any:
            return None if progress is None else progress(done(), total)

        try:
            _vacuum_into(reader, self._uri, report)
        except sqlite3.DatabaseError as failure:
            raise self._explain(witness, failure) from failure.__cause__
        if progress is not None:
            progress(total, total)

    def _explain(self, witness: int, failure: sqlite3.DatabaseError) -> Exception:
        try:
            return explained(failure, self._sql.state(witness))
        except DatabaseClosedError as closed:
            return closed
        except AuroraError:
            return failure


# ---- export ----


class _Copied(Connection):
    _uri_options = "&copied=1"


def _require_free(path: Path, replace: bool) -> None:
    if not replace and path.exists():
        raise FileExistsError(f"there is a file {path}: choose another name, or replace it")
    for suffix in ("-journal", "-wal"):
        beside = path.with_name(path.name + suffix)
        if beside.exists() and beside.stat().st_size > 0:
            raise FileExistsError(
                f"{beside} belongs to a database that is in use, or was not closed properly; it "
                "would be taken for one of the new file's"
            )


def _export(connection: Any, copy: Path, pages: int, progress: Progress | None) -> None:
    total = pages * _number(connection, "PRAGMA page_size")

    def report() -> Any:
        if progress is None:
            return None
        try:
            written = copy.stat().st_size
        except FileNotFoundError:
            written = 0
        return progress(min(written, total), total)

    _vacuum_into(connection, f"{copy.as_uri()}?vfs=unix", report)
    sync_path(copy)
    if progress is not None:
        progress(total, total)


# ---- both ----


def _number(connection: Any, pragma: str) -> int:
    return cast("int", connection.execute(pragma).fetchone()[0])


def _vacuum_into(connection: Any, uri: str, report: Callable[[], Any]) -> None:
    """Runs it in a thread of its own, so that it can be watched, and stopped (Ctrl-C too)."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            connection.execute("VACUUM INTO ?", (uri,))
        except BaseException as failure:  # noqa: BLE001 - raised again by who waits
            failures.append(failure)

    worker = threading.Thread(target=work, name="aurora-vacuum", daemon=True)
    worker.start()
    pause, is_stopped = POLL_FIRST_S, False
    try:
        while worker.is_alive():
            worker.join(pause)
            pause = min(2 * pause, POLL_S)
            if report() is False:
                is_stopped = True
                _stop(connection, worker)
    except BaseException:
        _stop(connection, worker)
        raise
    if failures:
        raise _interrupted(failures[0]) if is_stopped else failures[0]


def _interrupted(failure: BaseException) -> BaseException:
    """What SQLite says of a statement that is stopped; while it opens a file it says less."""
    is_opening = str(failure).startswith("unable to open database")
    if type(failure) is not sqlite3.OperationalError or not is_opening:
        return failure
    interrupted = sqlite3.OperationalError("interrupted")
    interrupted.sqlite_errorcode = sqlite3.SQLITE_INTERRUPT
    interrupted.sqlite_errorname = "SQLITE_INTERRUPT"
    interrupted.__cause__ = failure
    return interrupted


def _stop(connection: Any, worker: threading.Thread) -> None:
    # Again and again, since what has not begun cannot be interrupted.
    while worker.is_alive():
        connection.interrupt()
        worker.join(POLL_FIRST_S)
