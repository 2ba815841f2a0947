"""``aurora-engine delete``: removes a key."""

from __future__ import annotations

import click

from aurora_engine.cli.common import (
    database_argument,
    encoding_option,
    fail_not_found,
    opened,
    table_option,
    to_bytes,
)


@click.command("delete")
@database_argument
@click.argument("key")
@table_option
@encoding_option
def command(path: str, key: str, table: str | None, encoding: str) -> None:
    """Remove KEY from PATH; exit code 1 when it was not there."""
    with opened(path, table) as (_, target):
        existed = target.delete(to_bytes(key, encoding))
    if not existed:
        fail_not_found(f"no key {key!r}")
