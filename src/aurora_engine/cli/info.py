"""``aurora-engine info``: what a volume is and how its copies are."""

from __future__ import annotations

from dataclasses import asdict

import click

import aurora_engine as aurora
from aurora_engine.cli.common import (
    database_argument,
    human_bytes,
    json_option,
    local,
    print_json,
    sql_bytes,
)


@click.command("info")
@database_argument
@json_option
def command(path: str, as_json: bool) -> None:
    """Show the size, the tables and the copies of the volume in PATH."""
    with aurora.open(path, create=False) as db:
        status = db.status()
        tables = {name: len(db.table(name)) for name in db.tables()}
        records = len(db)
        databases = {name: sql_bytes(db, name) for name in db.sql.names()}
    if as_json:
        print_json(
            asdict(status)
            | {"records_in_database": records, "tables": tables, "sql_databases": databases}
        )
        return
    click.echo(f"volume {status.volume_id} in {status.path}")
    click.echo(
        f"  {'writable' if status.writable else f'not writable: {status.write_error}'}; "
        f"epoch {status.epoch}, VDL {status.vdl}"
    )
    click.echo(
        f"  {human_bytes(status.data_bytes)} of pages of {status.page_bytes} bytes; "
        f"{human_bytes(status.disk_bytes)} on disk in {len(status.segments)} copies"
    )
    click.echo(
        f"  every moment since {local(status.oldest_time)} (LSN {status.oldest_lsn}) is retained, "
        f"in {human_bytes(status.history_used_bytes)} of each copy"
    )
    if status.parent_id is not None:
        click.echo(f"  cloned from volume {status.parent_id} at LSN {status.parent_lsn}")
    click.echo(f"  {records:,} records in the database itself")
    for name, count in tables.items():
        click.echo(f"  {count:,} records in table {name}")
    for name, size in databases.items():
        click.echo(f"  {human_bytes(size)} in SQL database {name}")
    for segment in status.segments:
        reason = f": {segment.error}" if segment.error is not None else ""
        click.echo(
            f"  zone {segment.zone} copy {segment.copy} group {segment.group}: "
            f"{segment.state}, SCL {segment.scl}{reason}"
        )
