"""``aurora-engine sql``: runs SQL, given as an argument, on standard input, or line by line."""

from __future__ import annotations

import sys
from contextlib import closing, suppress

import click

import aurora_engine as aurora
from aurora_engine.cli.common import database_argument
from aurora_engine.cli.sql_shell import Quit, Shell, interact


@click.command("sql")
@database_argument
@click.argument("statement", required=False)
@click.option("--name", default="main", show_default=True, help="The database in the volume.")
@click.option(
    "--as-of",
    metavar="MOMENT",
    help="As it was at a moment: an LSN, an ISO time, or a duration such as 2h, that long ago.",
)
@click.option("--read-only", is_flag=True, help="Refuse to write, and to make what is not there.")
@click.option("--json", "as_json", is_flag=True, help="Print each row as a JSON object.")
def command(
    path: str,
    statement: str | None,
    name: str,
    as_of: str | None,
    read_only: bool,
    as_json: bool,
) -> None:
    """Run STATEMENT, or several, on an SQL database of PATH, and print the rows.

    Without STATEMENT, run what comes on standard input; at a terminal, line by line, with `.help`.
    Each statement is a transaction, unless there is a BEGIN.
    """
    may_create = not read_only and as_of is None
    with (
        aurora.open(path, create=may_create) as db,
        closing(
            aurora.connect(db, name=name, as_of=as_of, read_only=read_only, isolation_level=None)
        ) as connection,
    ):
        shell = Shell(connection, mode="json" if as_json else "table")
        if statement is not None:
            _run(shell, statement)
        elif sys.stdin.isatty():
            interact(shell, name)
        else:
            _run(shell, None)


def _run(shell: Shell, text: str | None) -> None:
    with suppress(Quit):
        for line in sys.stdin if text is None else text.splitlines():
            shell.feed(line.rstrip("\n"))
        shell.finish()
