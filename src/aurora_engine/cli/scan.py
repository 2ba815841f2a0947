"""``aurora-engine scan``: prints a range of records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from aurora_engine.cli.common import (
    at_option,
    database_argument,
    encoding_option,
    json_option,
    reading,
    table_option,
    to_bytes,
    to_text,
)

if TYPE_CHECKING:
    from aurora_engine.types import At


@click.command("scan")
@database_argument
@click.argument("start", required=False)
@click.argument("stop", required=False)
@table_option
@encoding_option
@click.option("--prefix", "-p", help="Only keys that begin so; instead of START and STOP.")
@click.option("--reverse", "-r", is_flag=True, help="From the last key down.")
@click.option("--limit", "-n", type=click.IntRange(min=0), help="At most this many.")
@click.option("--keys-only", "-k", is_flag=True, help="Leave the values out.")
@at_option
@json_option
def command(
    path: str,
    start: str | None,
    stop: str | None,
    table: str | None,
    encoding: str,
    prefix: str | None,
    reverse: bool,
    limit: int | None,
    keys_only: bool,
    at: At | None,
    as_json: bool,
) -> None:
    """Print the records of PATH with START <= key < STOP, one a line: key, tab, value.

    With --json each line is an object.
    """
    bounds = {
        name: to_bytes(text, encoding)
        for name, text in (("start", start), ("stop", stop), ("prefix", prefix))
        if text is not None
    }
    with reading(path, table, at) as target:
        for key, value in target.scan(**bounds, reverse=reverse, limit=limit):
            key_text = to_text(key, encoding)
            fields = [key_text] if keys_only else [key_text, to_text(value, encoding)]
            click.echo(
                json.dumps(dict(zip(("key", "value"), fields, strict=False)))
                if as_json
                else "\t".join(fields)
            )
