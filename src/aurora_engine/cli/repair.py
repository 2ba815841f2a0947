"""``aurora-engine repair``: rebuilds lost and damaged copies."""

from __future__ import annotations

import click

import aurora_engine as aurora
from aurora_engine.cli.common import database_argument, json_option, print_json, progress


@click.command("repair")
@database_argument
@json_option
def command(path: str, as_json: bool) -> None:
    """Check the copies in PATH, and rebuild lost and damaged ones from the others."""
    with aurora.open(path, create=False) as db:
        db.verify()
        bad = [segment.path for segment in db.status().segments if segment.state != "ok"]
        done = 0
        with progress("rebuilding", None) as advance:

            def watch(copied: int, _total: int) -> bool:
                nonlocal done
                advance(max(copied - done, 0))
                done = copied
                return True

            db.repair(progress=watch)
        left = [segment.path for segment in db.status().segments if segment.state != "ok"]
    if as_json:
        print_json({"rebuilt": [path for path in bad if path not in left], "left": left})
    else:
        click.echo(
            f"rebuilt {len(bad) - len(left)} of {len(bad)} copies" if bad else "every copy is good"
        )
        for each in left:
            click.echo(f"not rebuilt: {each}")
