"""``aurora-engine get``: prints a value."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from aurora_engine.cli.common import (
    at_option,
    database_argument,
    encoding_option,
    fail_not_found,
    json_option,
    print_json,
    reading,
    table_option,
    to_bytes,
    to_text,
)

if TYPE_CHECKING:
    from aurora_engine.types import At


@click.command("get")
@database_argument
@click.argument("key")
@table_option
@encoding_option
@click.option("--raw", is_flag=True, help="Write the value's bytes as they are, without a newline.")
@at_option
@json_option
def command(
    path: str,
    key: str,
    table: str | None,
    encoding: str,
    raw: bool,
    at: At | None,
    as_json: bool,
) -> None:
    """Print the value of KEY in PATH; exit code 1 when the key is not there."""
    with reading(path, table, at) as target:
        value = target.get(to_bytes(key, encoding))
    if value is None:
        fail_not_found(f"no key {key!r}")
    elif raw:
        sys.stdout.buffer.write(value)
    elif as_json:
        print_json({"key": key, "value": to_text(value, encoding)})
    else:
        click.echo(to_text(value, encoding))
