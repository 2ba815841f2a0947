"""``aurora-engine dump``: writes all records as JSON lines that ``load`` reads back."""

from __future__ import annotations

import base64
import json
from typing import IO, TYPE_CHECKING, Any

import click

from aurora_engine.cli.common import (
    at_option,
    database_argument,
    progress,
    reading,
    table_option,
)

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
    type=click.File("w", encoding="utf-8"),
    default="-",
    help="File to write to (default: standard output).",
)
@at_option
def command(path: str, table: str | None, all_tables: bool, output: IO[str], at: At | None) -> None:
    """Write the records of PATH as JSON lines, as one moment saw them."""
    if table is not None and all_tables:
        raise click.UsageError("--table and --all-tables exclude each other")
    with reading(path, table, at) as source:
        _dump(source, {}, output)
        for name in source.tables() if all_tables else ():
            _dump(source.table(name), {"table": name}, output)


def _dump(source: Any, tag: dict[str, str], output: IO[str]) -> None:
    with progress(f"dumping {tag.get('table', 'the database')}", len(source)) as advance:
        for number, (key, value) in enumerate(source.scan(), 1):
            output.write(json.dumps(tag | field("key", key) | field("value", value)) + "\n")
            if number % PROGRESS_STEP == 0:
                advance(PROGRESS_STEP)
