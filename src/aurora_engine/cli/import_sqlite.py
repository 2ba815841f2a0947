"""``aurora-engine import-sqlite``: an SQLite file becomes a database of a volume."""

from __future__ import annotations

import time

import click

import aurora_engine as aurora
from aurora_engine.cli.common import (
    bytes_progress,
    human_bytes,
    json_option,
    print_json,
    sql_bytes,
    told_shortly,
)
from aurora_engine.sql import import_sqlite


@click.command("import-sqlite")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.argument("path", type=click.Path())
@click.option("--name", default="main", show_default=True, help="The database in the volume.")
@click.option("--replace", is_flag=True, help="Put it in the place of one of that name.")
@json_option
def command(file: str, path: str, name: str, replace: bool, as_json: bool) -> None:
    """Copy the SQLite file FILE into the volume PATH, which is made if it is not there.

    It is one transaction: nobody sees a part of it.
    """
    start = time.perf_counter()
    with aurora.open(path) as db:
        with told_shortly(), bytes_progress("importing") as progress:
            import_sqlite(file, db, name=name, replace=replace, progress=progress)
        size = sql_bytes(db, name)
    seconds = time.perf_counter() - start
    if as_json:
        print_json({"name": name, "bytes": size, "seconds": seconds})
    else:
        click.echo(f"imported {human_bytes(size)} into {name} in {seconds:.2f} s")
