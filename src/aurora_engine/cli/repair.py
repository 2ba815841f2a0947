"""``aurora-engine repair``: rebuilds lost and damaged copies."""

from __future__ import annotations

import click

import aurora_engine as aurora
from aurora_engine.cli.common import database_argument, json_option, print_json, progress
from aurora_engine.errors import AuroraError


@click.command("repair")
@database_argument
@json_option
def command(path: str, as_json: bool) -> None:
    """Check the copies in PATH, and rebuild lost and damaged ones from the others.

    It goes on past copies that cannot be rebuilt; the exit code then tells why the first could not.
    """
    with aurora.open(path, create=False) as db:
        db.verify()
        bad = _bad(db)
        done, failure = 0, None
        with progress("rebuilding", None) as advance:

            def watch(copied: int, _total: int) -> bool:
                nonlocal done
                advance(max(copied - done, 0))
                done = copied
                return True

            try:
                db.repair(progress=watch)
            except AuroraError as error:
                failure = error
        left = _bad(db)
    bad = list(dict.fromkeys([*bad, *left]))
    rebuilt = [path for path in bad if path not in left]
    if as_json:
        print_json({"rebuilt": rebuilt, "left": left})
    else:
        click.echo(f"rebuilt {len(rebuilt)} of {len(bad)} copies" if bad else "every copy is good")
        for each in left:
            click.echo(f"not rebuilt: {each}")
    if failure is not None:
        raise failure


def _bad(db: aurora.Database) -> list[str]:
    """Folders of the copies that are not good."""
    return [segment.path for segment in db.status().segments if segment.state != "ok"]
