"""``aurora-engine clone``: makes a volume of its own that shares this one's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import aurora_engine as aurora
from aurora_engine.cli.common import (
    at_option,
    database_argument,
    human_bytes,
    json_option,
    print_json,
    progress,
)

if TYPE_CHECKING:
    from aurora_engine.types import At


@click.command("clone")
@database_argument
@click.argument("target", type=click.Path())
@at_option
@json_option
def command(path: str, target: str, at: At | None, as_json: bool) -> None:
    """Make a volume in TARGET out of PATH as it is, or was at a moment, by hard links."""
    done = 0
    with aurora.open(path, create=False) as db, progress("cloning", None) as advance:

        def watch(copied: int, _total: int) -> bool:
            nonlocal done
            advance(max(copied - done, 0))
            done = copied
            return True

        with db.clone(target, at=at, progress=watch) as clone:
            status = clone.status()
    if as_json:
        print_json(
            {
                "path": status.path,
                "volume_id": status.volume_id,
                "parent_id": status.parent_id,
                "parent_lsn": status.parent_lsn,
                "disk_bytes": status.disk_bytes,
                "own_bytes": status.own_bytes,
            }
        )
    else:
        click.echo(
            f"made a clone of LSN {status.parent_lsn} in {status.path}: "
            f"{human_bytes(status.disk_bytes)}, {human_bytes(status.own_bytes)} of them its own"
        )
