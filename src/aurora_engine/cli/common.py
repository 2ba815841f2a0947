"""What the commands share.

Opening, keys and values as text, facts as JSON, progress, exit codes.
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

import aurora_engine as aurora
from aurora_engine.errors import (
    AuroraError,
    CorruptionError,
    DatabaseLockedError,
    QuorumLostError,
    SnapshotTooOldError,
    StorageIOError,
    VolumeFullError,
)
from aurora_engine.moments import parse_moment

EXIT_NOT_FOUND = 1
EXIT_NOT_CONFIRMED = 1
EXIT_DAMAGED = 3
EXIT_IO = 6
EXIT_TOO_OLD = 8
EXIT_SQL = 9
EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141
"""As of a program that SIGPIPE ended."""

_EXIT_CODES: tuple[tuple[type[AuroraError], int], ...] = (
    (CorruptionError, EXIT_DAMAGED),
    (DatabaseLockedError, 4),
    (QuorumLostError, 5),
    (StorageIOError, EXIT_IO),
    (VolumeFullError, EXIT_IO),
    (SnapshotTooOldError, EXIT_TOO_OLD),
)

_Function = TypeVar("_Function", bound=Callable[..., Any])
if TYPE_CHECKING:
    from aurora_engine.types import At

ENCODINGS = ("text", "hex", "base64")


def exit_code(error: AuroraError) -> int:
    """Exit code of the process for an error."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 7)


def database_argument(function: _Function) -> _Function:
    """The argument PATH."""
    return click.argument("path", type=click.Path())(function)


def table_option(function: _Function) -> _Function:
    """The option --table."""
    return click.option("--table", "-t", help="Work in this table instead of the database itself.")(
        function
    )


def json_option(function: _Function) -> _Function:
    """The option --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")(function)


def moment(text: str) -> int | datetime | timedelta:
    """What names a moment: an LSN, an ISO time, or a duration (90s, 2h30m, 1d), that long ago."""
    try:
        return parse_moment(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def at_option(function: _Function) -> _Function:
    """The option --at."""
    return click.option(
        "--at",
        type=moment,
        metavar="MOMENT",
        help="As it was at a moment: an LSN, an ISO time, or a duration such as 2h, that long ago.",
    )(function)


def local(moment: datetime) -> str:
    """A time for people: local, to the second."""
    return moment.astimezone().isoformat(" ", "seconds")


def encoding_option(function: _Function) -> _Function:
    """The option --encoding."""
    return click.option(
        "--encoding",
        "-e",
        type=click.Choice(ENCODINGS),
        default="text",
        show_default=True,
        help="How keys and values are written on the command line and in the output.",
    )(function)


def to_bytes(text: str, encoding: str) -> bytes:
    """A key or value that was written in ``encoding``."""
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise click.BadParameter(f"not {encoding}: {error}") from None
    return text.encode("utf-8", "surrogateescape")


def to_text(content: bytes, encoding: str) -> str:
    """The inverse of `to_bytes`; bytes that are not UTF-8 are escaped."""
    if encoding == "hex":
        return content.hex()
    if encoding == "base64":
        return base64.b64encode(content).decode("ascii")
    return content.decode("utf-8", "backslashreplace")


@contextmanager
def reading(path: str, table: str | None, at: At | None) -> Iterator[Any]:
    """What to read from: the database in ``path`` or a table of it, now or at a moment."""
    with aurora.open(path, create=False) as db, db.snapshot() if at is None else db.at(at) as view:
        try:
            source = view if table is None else view.table(table)
        except KeyError:
            fail_not_found(f"no table {table!r} in {path}" + (" then" if at is not None else ""))
        yield source


@contextmanager
def opened(
    path: str, table: str | None, *, create: bool = False
) -> Iterator[tuple[aurora.Database, Any]]:
    """The database in ``path`` and what to work in: itself, or one of its tables."""
    with aurora.open(path, create=create) as db:
        try:
            target = db if table is None else db.table(table, create=create)
        except KeyError:
            fail_not_found(f"no table {table!r} in {path}")
        yield db, target


def fail_not_found(message: str) -> None:
    """Ends the process because something is not there."""
    click.echo(f"aurora-engine: {message}", err=True)
    sys.exit(EXIT_NOT_FOUND)


def print_json(facts: Any) -> None:
    """Prints facts as JSON."""
    click.echo(json.dumps(facts, indent=2, default=_plain))


def _plain(fact: Any) -> Any:
    if isinstance(fact, datetime):
        return fact.isoformat()
    if isinstance(fact, timedelta):
        return fact.total_seconds()
    if isinstance(fact, BaseException):
        return f"{type(fact).__name__}: {fact}"
    raise TypeError(f"no JSON for {type(fact).__name__}")


def human_bytes(count: float) -> str:
    """A size for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, on a terminal, for what takes longer than a second.

    Yields ``advance(amount)``.
    """
    if not sys.stderr.isatty():
        yield lambda _amount: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda amount: bar.advance(task, amount)


@contextmanager
def bytes_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes, as `progress`. Yields what is called with bytes done and bytes in all."""
    reached = 0
    with progress(label, 100) as advance:

        def report(done: int, total: int) -> None:
            nonlocal reached
            percent = 100 * done // max(total, 1)
            advance(percent - reached)
            reached = percent

        yield report


@contextmanager
def told_shortly() -> Iterator[None]:
    """What is wrong with a file, or a name, is one line and an exit code."""
    try:
        yield
    except KeyError as error:
        fail_not_found(f"no SQL database {error}")
    except (FileExistsError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from None
    except AuroraError:
        raise
    except OSError as error:
        click.echo(f"aurora-engine: {error}", err=True)
        sys.exit(EXIT_IO)


def sql_bytes(db: aurora.Database, name: str) -> int:
    """Bytes of the pages of an SQL database."""
    with closing(aurora.connect(db, name=name, read_only=True)) as connection:
        pages, page_bytes = connection.execute(
            "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size"
        ).fetchone()
    return int(pages) * int(page_bytes)
