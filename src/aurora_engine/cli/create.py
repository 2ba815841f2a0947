"""``aurora-engine create``: makes a new volume."""

from __future__ import annotations

import click

import aurora_engine as aurora
from aurora_engine.cli.common import database_argument, json_option, print_json


@click.command("create")
@database_argument
@click.option(
    "--page-bytes",
    default=8192,
    show_default=True,
    help="Page size: 4096 to 65536, a power of two.",
)
@click.option(
    "--zone",
    "zones",
    multiple=True,
    metavar="NAME=FOLDER",
    help="Put a zone in a folder of its own (a relative one lies in PATH); give it once a zone.",
)
@click.option("--copies-per-zone", type=int, help="Copies in each zone; 2 by default.")
@click.option("--single", is_flag=True, help="One copy only, for a plain local store.")
@json_option
def command(
    path: str,
    page_bytes: int,
    zones: tuple[str, ...],
    copies_per_zone: int | None,
    single: bool,
    as_json: bool,
) -> None:
    """Make a new volume in PATH: by default three zones with two copies each."""
    topology = _topology(zones, copies_per_zone, single)
    try:
        aurora.open(path, create=False).close()
    except aurora.StorageIOError:
        pass
    else:
        raise click.UsageError(f"there is a volume in {path} already")
    with aurora.open(path, topology=topology, page_bytes=page_bytes) as db:
        status = db.status()
    if as_json:
        print_json(
            {"path": status.path, "volume_id": status.volume_id, "copies": len(status.segments)}
        )
    else:
        click.echo(f"made a volume of {len(status.segments)} copies in {status.path}")


def _topology(zones: tuple[str, ...], copies_per_zone: int | None, single: bool) -> aurora.Topology:
    if single:
        if zones or copies_per_zone is not None:
            raise click.UsageError("--single is one copy in one zone: leave the other options out")
        return aurora.Topology.single()
    copies = 2 if copies_per_zone is None else copies_per_zone
    if not zones:
        return aurora.Topology(copies_per_zone=copies)
    folders = dict(_name_and_folder(zone) for zone in zones)
    if len(folders) != len(zones):
        raise click.BadParameter("a zone is given twice", param_hint="--zone")
    return aurora.Topology(zones=folders, copies_per_zone=copies)


def _name_and_folder(zone: str) -> tuple[str, str]:
    name, found, folder = zone.partition("=")
    if not (name and found and folder):
        raise click.BadParameter(f"{zone!r} is not NAME=FOLDER", param_hint="--zone")
    return name, folder
