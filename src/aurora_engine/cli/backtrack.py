"""``aurora-engine backtrack``: makes a moment of the past the present again."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

import aurora_engine as aurora
from aurora_engine.cli.common import (
    EXIT_NOT_CONFIRMED,
    database_argument,
    json_option,
    local,
    moment,
    print_json,
)

if TYPE_CHECKING:
    from aurora_engine.types import At


@click.command("backtrack")
@database_argument
@click.option(
    "--to",
    required=True,
    type=moment,
    metavar="MOMENT",
    help="The moment: an LSN, an ISO time, or a duration such as 2h, that long ago.",
)
@click.option("--dry-run", "-n", is_flag=True, help="Only say what it would leave behind.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@json_option
def command(path: str, to: At, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Make a moment of PATH the present again. What came after it stays in reach.

    Exit code 1 when it is not confirmed, 8 when the moment is no longer retained.
    """
    with aurora.open(path, create=False) as db:
        planned = db.backtrack(to, dry_run=True)
        if not dry_run:
            if not yes:
                _confirm(db, planned)
            # Where it was resolved to, so that time does not move the goal.
            planned = db.backtrack(planned.to_lsn)
    if as_json:
        print_json(asdict(planned) | {"undo_lsn": planned.undo_lsn})
    elif dry_run:
        click.echo(f"would {_what(planned)}")
    else:
        click.echo(f"did {_what(planned)}; to undo it: --to {planned.undo_lsn}")


def _what(rewind: aurora.Rewind) -> str:
    return (
        f"go from LSN {rewind.from_lsn} to LSN {rewind.to_lsn} "
        f"and leave {rewind.lost_commits:,} commits behind"
    )


def _confirm(db: aurora.Database, planned: aurora.Rewind) -> None:
    with db.at(planned.to_lsn) as view:
        click.echo(f"This will {_what(planned)}: as it was {local(view.time)}.", err=True)
    if not click.confirm("Go there?", err=True):
        click.echo("aurora-engine: not confirmed, nothing was done", err=True)
        sys.exit(EXIT_NOT_CONFIRMED)
