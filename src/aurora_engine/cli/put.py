"""``aurora-engine put``: sets a key."""

from __future__ import annotations

import sys

import click

from aurora_engine.cli.common import (
    database_argument,
    encoding_option,
    opened,
    table_option,
    to_bytes,
)


@click.command("put")
@database_argument
@click.argument("key")
@click.argument("value")
@table_option
@encoding_option
def command(path: str, key: str, value: str, table: str | None, encoding: str) -> None:
    """Set KEY to VALUE in PATH, which is made if it is not there.

    VALUE ``-`` is read from standard input as bytes. Returns when
    four of six copies have it on disk.
    """
    content = sys.stdin.buffer.read() if value == "-" else to_bytes(value, encoding)
    with opened(path, table, create=True) as (_, target):
        target.put(to_bytes(key, encoding), content)
