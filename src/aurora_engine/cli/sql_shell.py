"""What ``aurora-engine sql`` does with the lines that it is given."""

from __future__ import annotations

import csv
import os
import shlex
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from aurora_engine.cli.sql_output import MODES, lines_of

__all__ = ["Quit", "Shell", "interact", "statements_of"]

CHECK_STEPS = 20_000
"""Steps of SQLite's machine between two looks for Ctrl-C."""

HELP = """\
.databases           databases of this volume
.dump                the database as SQL
.headers on|off      names of columns above rows
.help                this text
.import FILE TABLE   rows of a CSV file; its first line names the columns of a new table
.mode MODE           table, csv, json or line
.quit                leave
.read FILE           run what is in a file
.schema [TABLE]      the statements that made tables, indexes, views and triggers
.tables              tables and views
.timer on|off        how long each statement takes"""


class Quit(Exception):
    """The shell is to end."""


def statements_of(text: str) -> Iterator[str]:
    """The statements of a text; the last one may lack its semicolon."""
    start = at = 0
    while (at := text.find(";", at)) >= 0:
        at += 1
        if sqlite3.complete_statement(text[start:at]):
            yield text[start:at].strip()
            start = at
    if text[start:].strip():
        yield text[start:].strip()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class Shell:
    """Runs statements and dot commands on one connection, and prints what comes of them."""

    def __init__(self, connection: Any, *, mode: str = "table") -> None:
        self._connection = connection
        self._mode = mode
        self._headers = True
        self._timer = False
        self._pending = ""
        # Text that is no UTF-8 is shown all the same.
        connection.text_factory = lambda text: text.decode("utf-8", "backslashreplace")
        connection.set_progress_handler(lambda: 0, CHECK_STEPS)
        self._commands: dict[str, tuple[int, int, Callable[..., None]]] = {
            ".databases": (0, 0, self._databases),
            ".dump": (0, 0, self._dump),
            ".headers": (1, 1, self._set_headers),
            ".help": (0, 0, lambda: click.echo(HELP)),
            ".import": (2, 2, self._import),
            ".mode": (1, 1, self._set_mode),
            ".quit": (0, 0, self._quit),
            ".exit": (0, 0, self._quit),
            ".read": (1, 1, self._read),
            ".schema": (0, 1, self._schema),
            ".tables": (0, 0, self._tables),
            ".timer": (1, 1, self._set_timer),
        }

    @property
    def is_within(self) -> bool:
        """Whether a statement has begun that goes on in the next line."""
        return bool(self._pending)

    def forget(self) -> None:
        """Drops a statement that was begun."""
        self._pending = ""

    def feed(self, line: str) -> None:
        """Takes a line, and runs what it completes."""
        if not self._pending and line.lstrip().startswith("."):
            self._command(line.strip())
            return
        self._pending += line + "\n"
        if not self._pending.strip():
            self._pending = ""
        elif sqlite3.complete_statement(self._pending):
            text, self._pending = self._pending, ""
            self.run(text)

    def finish(self) -> None:
        """Runs what was begun and lacks its semicolon."""
        text, self._pending = self._pending, ""
        self.run(text)

    def run(self, text: str) -> None:
        """Runs statements, up to the first that fails."""
        for statement in statements_of(text):
            started = time.perf_counter()
            with self._interruptible():
                cursor = self._connection.execute(statement)
                if cursor.description is not None:
                    self._show([column[0] for column in cursor.description], cursor)
            if self._timer:
                click.echo(f"{time.perf_counter() - started:.3f} s", err=True)

    def _show(self, names: list[str], rows: Any) -> None:
        for line in lines_of(self._mode, names, rows, self._headers):
            click.echo(line)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C stops the statement that runs, which is rolled back."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        was_interrupted = False

        def interrupt(*_: Any) -> None:
            nonlocal was_interrupted
            was_interrupted = True
            self._connection.interrupt()

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        except sqlite3.OperationalError:
            if was_interrupted:
                raise KeyboardInterrupt from None
            raise
        finally:
            signal.signal(signal.SIGINT, before)
        if was_interrupted:
            raise KeyboardInterrupt

    # ---- dot commands ----

    def _command(self, line: str) -> None:
        name, *arguments = shlex.split(line)
        fewest, most, run = self._commands.get(name, (0, -1, self._quit))
        if most < 0:
            raise click.UsageError(f"there is no {name}; .help lists what there is")
        if not fewest <= len(arguments) <= most:
            raise click.UsageError(f"{name} takes another number of arguments; see .help")
        run(*arguments)

    def _databases(self) -> None:
        for name in self._connection.database.sql.names():
            click.echo(f"{'*' if name == self._connection.name else ' '} {name}")

    def _dump(self) -> None:
        with self._interruptible():
            for line in self._connection.iterdump():
                click.echo(line)

    def _set_headers(self, choice: str) -> None:
        self._headers = _switch(choice)

    def _set_timer(self, choice: str) -> None:
        self._timer = _switch(choice)

    def _set_mode(self, mode: str) -> None:
        if mode not in MODES:
            raise click.UsageError(f"the modes are {', '.join(MODES)}")
        self._mode = mode

    def _quit(self) -> None:
        raise Quit

    def _read(self, file: str) -> None:
        for line in Path(file).read_text(encoding="utf-8").splitlines():
            self.feed(line)
        self.finish()

    def _tables(self) -> None:
        for (name,) in self._connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
        ):
            click.echo(name)

    def _schema(self, table: str | None = None) -> None:
        for (sql,) in self._connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql NOT NULL"
            " AND (?1 IS NULL OR tbl_name = ?1 COLLATE NOCASE) ORDER BY rowid",
            (table,),
        ):
            click.echo(f"{sql};")

    def _import(self, file: str, table: str) -> None:
        """All of the rows, or none."""
        with Path(file).open(encoding="utf-8-sig", newline="") as source, self._interruptible():
            rows = csv.reader(source)
            self._connection.execute("SAVEPOINT import")
            try:
                count = self._insert(table, rows)
            except csv.Error as error:
                self._roll_back()
                raise click.UsageError(f"line {rows.line_num} is not a row: {error}") from None
            except BaseException:
                self._roll_back()
                raise
            self._connection.execute("RELEASE import")
        click.echo(f"{count:,} rows", err=True)

    def _roll_back(self) -> None:
        # An error may have ended the transaction already.
        with suppress(sqlite3.OperationalError):
            self._connection.execute("ROLLBACK TO import")
            self._connection.execute("RELEASE import")

    def _insert(self, table: str, rows: Any) -> int:
        known = self._connection.execute(
            "SELECT count(*) FROM pragma_table_info(?)", (table,)
        ).fetchone()[0]
        if known == 0:
            names = next(rows, None)
            if not names:
                raise click.UsageError("the file has no line that names the columns")
            columns = ", ".join(f"{_quoted(name)} TEXT" for name in names)
            self._connection.execute(f"CREATE TABLE {_quoted(table)} ({columns})")
            known = len(names)
        statement = f"INSERT INTO {_quoted(table)} VALUES ({', '.join('?' * known)})"  # noqa: S608
        count = 0
        for row in rows:
            if len(row) != known:
                raise click.UsageError(
                    f"line {rows.line_num} has {len(row)} fields, the table {known} columns"
                )
            self._connection.execute(statement, row)
            count += 1
        return count


def _switch(choice: str) -> bool:
    if choice not in ("on", "off"):
        raise click.UsageError("it is on or off")
    return choice == "on"


# ---- at a terminal ----


def _history() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "aurora-engine" / "sql_history"


@contextmanager
def _line_editing() -> Iterator[None]:
    try:
        import readline
    except ImportError:
        yield
        return
    history = _history()
    with suppress(OSError):
        readline.read_history_file(history)
    try:
        yield
    finally:
        with suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(history)


def interact(shell: Shell, name: str) -> None:
    """Reads and runs lines until there are no more; errors are told, and it goes on."""
    with _line_editing(), suppress(Quit, EOFError):
        while True:
            try:
                shell.feed(input(" " * len(name) + "> " if shell.is_within else f"{name}> "))
            except KeyboardInterrupt:
                shell.forget()
                click.echo("interrupted", err=True)
            except click.UsageError as error:
                click.echo(error.message, err=True)
            except (sqlite3.Error, OSError, ValueError) as error:
                click.echo(f"{type(error).__name__}: {error}", err=True)
    click.echo()
