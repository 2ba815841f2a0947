"""``aurora-engine export-sqlite``: a database of a volume becomes an SQLite file."""

from __future__ import annotations

import time
from pathlib import Path

import click

import aurora_engine as aurora
from aurora_engine.cli.common import (
    bytes_progress,
    database_argument,
    human_bytes,
    json_option,
    print_json,
    told_shortly,
)
from aurora_engine.sql import export_sqlite


@click.command("export-sqlite")
@database_argument
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--name", default="main", show_default=True, help="The database in the volume.")
@click.option(
    "--as-of",
    metavar="MOMENT",
    help="As it was at a moment: an LSN, an ISO time, or a duration such as 2h, that long ago.",
)
@click.option("--replace", is_flag=True, help="Put it in the place of a file that is there.")
@json_option
def command(
    path: str, file: str, name: str, as_of: str | None, replace: bool, as_json: bool
) -> None:
    """Copy an SQL database of PATH into FILE, an ordinary SQLite file."""
    start = time.perf_counter()
    with (
        aurora.open(path, create=False) as db,
        told_shortly(),
        bytes_progress("exporting") as progress,
    ):
        export_sqlite(db, file, name=name, as_of=as_of, replace=replace, progress=progress)
    seconds = time.perf_counter() - start
    size = Path(file).stat().st_size
    if as_json:
        print_json({"file": file, "bytes": size, "seconds": seconds})
    else:
        click.echo(f"exported {human_bytes(size)} to {file} in {seconds:.2f} s")
