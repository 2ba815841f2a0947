"""``aurora-engine dump``: writes all records as JSON lines that ``load`` reads back."""

from __future__ import annotations

import base64
import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from aurora_engine.cli.common import (
    EXIT_DAMAGED,
    at_option,
    database_argument,
    progress,
    reading,
    table_option,
)
from aurora_engine.errors import CorruptionError
from aurora_engine.salvage import Lost, salvage

if TYPE_CHECKING:
    from aurora_engine.types import At

PROGRESS_STEP = 1000


def field(name: str, content: bytes) -> dict[str, str]:
    """``content`` as JSON can carry it.

    As text under ``name``, or else as base64 under ``name_base64``.
    """
    try:
        return {name: content.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode("ascii")}


@click.command("dump")
@database_argument
@table_option
@click.option("--all-tables", is_flag=True, help="Every table too; each line then names its table.")
@click.option(
    "--output",
    "-o",
    type=click.Path(),
    default="-",
    help="File to write to (default: standard output).",
)
@at_option
def command(path: str, table: str | None, all_tables: bool, output: str, at: At | None) -> None:
    """Write the records of PATH as JSON lines, as one moment saw them.

    What cannot be read is left out, named on standard error, and the exit code is 3.
    """
    if table is not None and all_tables:
        raise click.UsageError("--table and --all-tables exclude each other")
    with reading(path, table, at) as source, _written(output) as file:
        is_whole = _dump(source, "the database" if table is None else _table(table), {}, file)
        if all_tables:
            is_whole &= _dump_tables(source, file)
    if not is_whole:
        sys.exit(EXIT_DAMAGED)


def _written(output: str) -> AbstractContextManager[IO[str]]:
    """The file to write to, which is not made before there is something to read."""
    if output == "-":
        return nullcontext(sys.stdout)
    return Path(output).open("w", encoding="utf-8")


def _dump(source: Any, name: str, tag: dict[str, str], output: IO[str]) -> bool:
    """Writes what can be read of the database or a table; whether that is all of it."""
    is_whole = True
    with progress(f"dumping {name}", _count(source)) as advance:
        for number, piece in enumerate(salvage(source), 1):
            if isinstance(piece, Lost):
                is_whole = False
                click.echo(f"aurora-engine: lost in {name}: {_told(piece)}", err=True)
                continue
            key, value = piece
            output.write(json.dumps(tag | field("key", key) | field("value", value)) + "\n")
            if number % PROGRESS_STEP == 0:
                advance(PROGRESS_STEP)
    return is_whole


def _dump_tables(source: Any, output: IO[str]) -> bool:
    try:
        names = source.tables()
    except CorruptionError as error:
        click.echo(f"aurora-engine: lost are all tables, with their names ({error})", err=True)
        return False
    whole = [_dump(source.table(name), _table(name), {"table": name}, output) for name in names]
    return all(whole)


def _table(name: str) -> str:
    return f"table {name!r}"


def _count(source: Any) -> int | None:
    """How many records there should be, if the page that counts them can be read."""
    try:
        return len(source)
    except CorruptionError:
        return None


def _told(lost: Lost) -> str:
    """Between which keys something is lost, and why."""
    if lost.after is not None and lost.after == lost.before:
        return f"the value of {_shown(lost.after)} ({lost.reason})"
    after = "the beginning" if lost.after is None else _shown(lost.after)
    before = "the end" if lost.before is None else _shown(lost.before)
    return f"what is between {after} and {before} ({lost.reason})"


def _shown(key: bytes) -> str:
    """A key as ``dump`` writes it, so that its neighbours can be found in the output."""
    return json.dumps(field("key", key))
