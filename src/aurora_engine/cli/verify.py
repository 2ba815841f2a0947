"""``aurora-engine verify``: reads and checks every byte."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

import aurora_engine as aurora
from aurora_engine.cli.common import (
    EXIT_DAMAGED,
    database_argument,
    human_bytes,
    json_option,
    print_json,
)


@click.command("verify")
@database_argument
@json_option
def command(path: str, as_json: bool) -> None:
    """Read every byte of every copy in PATH and check it, then walk every tree.

    Exit code 3 when damage is found.
    """
    with aurora.open(path, create=False) as db:
        report = db.verify()
    if as_json:
        print_json(asdict(report) | {"ok": report.ok})
    else:
        click.echo(
            f"{report.segments_checked} copies, {report.files_checked} files, "
            f"{human_bytes(report.bytes_checked)}, {report.frames_checked:,} frames; "
            f"{report.tables} tables, {report.pages:,} pages, {report.records:,} records"
        )
        for error in report.errors:
            click.echo(f"damage: {error}")
        if report.leaked_pages:
            click.echo(
                f"damage: {report.leaked_pages} pages are marked as used but belong to no table"
            )
        click.echo(
            "all is well"
            if report.ok
            else "damage found; `aurora-engine repair` rebuilds copies from the others"
        )
    if not report.ok:
        sys.exit(EXIT_DAMAGED)
