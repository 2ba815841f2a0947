"""``aurora-engine explain-retention``: why the bytes on the disks are kept."""

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
)

REASONS = {
    "live_bytes": "the present",
    "history_bytes": "the past",
    "delta_bytes": "not compacted yet",
    "log_bytes": "hot log",
}
CAUSES = {
    "creation": "the volume was made then",
    "window": "the window begins there",
    "limit": "the limit of history cuts the window short",
}


@click.command("explain-retention")
@database_argument
@json_option
def command(path: str, as_json: bool) -> None:
    """Say why the bytes of PATH are kept, for each copy and in all."""
    with aurora.open(path, create=False) as db:
        report = db.explain_retention()
    totals = {reason: report.total(reason) for reason in (*REASONS, "total_bytes")}
    if as_json:
        facts = asdict(report)
        for fact, copy in zip(facts["copies"], report.copies, strict=True):
            fact["total_bytes"] = copy.total_bytes
        print_json(facts | {"totals": totals})
        return
    click.echo(
        f"every moment from LSN {report.oldest_lsn} ({local(report.oldest_time)}) "
        f"to LSN {report.newest_lsn} is kept: {CAUSES[report.cause]}"
    )
    click.echo(
        f"  window {report.backtrack_window}, really {report.actual_backtrack_window}; "
        f"at most {human_bytes(report.limit_bytes)} of the past in each copy"
    )
    for lsn, moment in report.pins.items():
        click.echo(f"  an open view keeps LSN {lsn} ({local(moment)}) as well")
    for reason, text in REASONS.items():
        click.echo(f"  {human_bytes(totals[reason]):>12}  {text}")
    click.echo(
        f"  {human_bytes(totals['total_bytes']):>12}  in all, in {len(report.copies)} copies"
    )
    for copy in report.copies:
        parts = ", ".join(
            f"{human_bytes(getattr(copy, reason))} {text}" for reason, text in REASONS.items()
        )
        click.echo(f"  zone {copy.zone} copy {copy.copy} group {copy.group}: {parts}")
