"""``aurora-engine history``: the backtracks that were made."""

from __future__ import annotations

from dataclasses import asdict

import click

import aurora_engine as aurora
from aurora_engine.cli.common import database_argument, json_option, local, print_json


@click.command("history")
@database_argument
@json_option
def command(path: str, as_json: bool) -> None:
    """List the backtracks of PATH, oldest first, and how far back one can go."""
    with aurora.open(path, create=False) as db:
        rewinds = db.history()
        status = db.status()
    if as_json:
        print_json(
            {
                "rewinds": [asdict(each) | {"undo_lsn": each.undo_lsn} for each in rewinds],
                "oldest_lsn": status.oldest_lsn,
                "oldest_time": status.oldest_time,
                "newest_lsn": status.vdl,
            }
        )
        return
    for each in rewinds:
        click.echo(
            f"{local(each.time)}  from LSN {each.from_lsn} to LSN {each.to_lsn}, "
            f"left {each.lost_commits:,} commits behind  ({each.who})"
        )
    click.echo(
        f"every moment from LSN {status.oldest_lsn} ({local(status.oldest_time)}) "
        f"to LSN {status.vdl} is retained"
    )
