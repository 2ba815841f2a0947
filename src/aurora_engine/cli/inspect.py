"""``aurora-engine inspect``: reads and checks files without the C core."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from aurora_engine.cli.common import database_argument, json_option, print_json, progress
from aurora_engine.inspector.packages import MissingPackages, require_packages


@click.command("inspect")
@database_argument
@click.option("--records", is_flag=True, help="List the records of a log-… or layer-… file.")
@click.option(
    "--page",
    type=click.IntRange(min=0),
    help="Build this page and show it; with --records, list only its records.",
)
@click.option(
    "--at",
    type=click.IntRange(min=0),
    metavar="LSN",
    help="The moment to build pages at; the newest by default.",
)
@click.option("--limit", type=click.IntRange(min=0), help="At most so many records or cells.")
@click.option("--compare", is_flag=True, help="Build every page from every copy, and compare.")
@json_option
def command(
    path: str,
    records: bool,
    page: int | None,
    at: int | None,
    limit: int | None,
    compare: bool,
    as_json: bool,
) -> None:
    """Show and check the files of the closed volume in PATH, without opening it.

    PATH is a volume, the folder of one copy, or one file: volume.json, manifest, log-…, layer-….

    Exit codes: 0 sound, 2 wrong usage, 3 damage.
    """
    try:
        require_packages()
    except MissingPackages as missing:
        raise click.UsageError(str(missing)) from None
    from aurora_engine.inspector.command import DAMAGED, Request, bytes_to_read, inspect
    from aurora_engine.inspector.text import lines

    request = Request(
        path=Path(path), records=records, page=page, at=at, limit=limit, compare=compare
    )
    with progress("inspecting", bytes_to_read(request.path)) as advance:
        facts = inspect(request, advance)
    if as_json:
        print_json(facts)
    else:
        for line in lines(facts):
            click.echo(line)
    if not facts["sound"]:
        sys.exit(DAMAGED)
