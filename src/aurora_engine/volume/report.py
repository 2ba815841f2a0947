"""What status() and verify() tell of a volume, gathered from the engine and from each copy."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from aurora_engine._ext.engine import Engine
from aurora_engine._ext.records import VerifyCounts
from aurora_engine._ext.segment import Segment
from aurora_engine.errors import AuroraError, CorruptionError
from aurora_engine.types import CopyState, SegmentStatus, VerifyReport, VolumeStatus
from aurora_engine.volume.layout import Layout
from aurora_engine.volume.members import in_parallel
from aurora_engine.volume.messages import Place


def notice_missing_files(segment: Segment) -> None:
    """Lets a segment look whether its files are still there; one that lost them fails by itself."""
    with contextlib.suppress(AuroraError):
        segment.check()


def segment_status(
    layout: Layout,
    engine: Engine,
    place: Place,
    segment: Segment | None,
    error: AuroraError | None,
    rebuilding: bool,
) -> SegmentStatus:
    """One copy; ``segment`` is None for a copy that could not be opened or was given up."""
    group, copy = place
    zone, path = layout.zone_of(copy), str(layout.segment_folder(*place))
    if segment is None:
        state: CopyState = "rebuilding" if rebuilding else "failed"
        return SegmentStatus(
            zone=zone, path=path, state=state, scl=0, group=group, copy=copy, error=error
        )
    known = segment.state()
    damaged = known.health == "damaged" or error is not None
    lagging = engine.copy_status(group, copy).state == "lagging"
    state = "rebuilding" if rebuilding else "failed" if damaged else "lagging" if lagging else "ok"
    return SegmentStatus(
        zone=zone,
        path=path,
        state=state,
        scl=known.scl,
        group=group,
        copy=copy,
        damaged=damaged,
        error=error or known.damage,
        epoch=known.epoch,
        log_bytes=known.log_bytes,
        layer_bytes=known.layer_bytes,
        unflushed_bytes=known.unflushed_bytes,
    )


def volume_status(
    layout: Layout,
    engine: Engine,
    segments: Mapping[Place, Segment],
    errors: Mapping[Place, AuroraError],
    rebuilding: Collection[Place],
) -> VolumeStatus:
    """The whole volume."""
    metadata = layout.metadata
    status = engine.status()
    copies = [
        segment_status(
            layout, engine, place, segments.get(place), errors.get(place), place in rebuilding
        )
        for place in layout.places()
    ]
    created = datetime.fromtimestamp(metadata.created_us / 1e6, UTC)
    durable_time = (
        datetime.fromtimestamp(status.durable_time_us / 1e6, UTC)
        if status.durable_time_us
        else None
    )
    asked = timedelta(seconds=metadata.backtrack_window_s)
    return VolumeStatus(
        path=str(layout.root),
        volume_id=metadata.volume_id.hex(),
        segments=copies,
        writable=status.write_error is None,
        write_error=status.write_error,
        epoch=status.epoch,
        vdl=status.vdl,
        vcl=status.vcl,
        head=status.head,
        protection_groups=metadata.groups,
        page_bytes=metadata.page_bytes,
        protection_group_bytes=metadata.group_pages * metadata.page_bytes,
        data_bytes=status.pages_used * metadata.page_bytes,
        disk_bytes=sum(copy.log_bytes + copy.layer_bytes for copy in copies),
        backtrack_window=asked,
        # Nothing is collected yet, so history reaches back to the creation of the volume.
        actual_backtrack_window=max((durable_time or created) - created, timedelta(0)),
        history_bytes=metadata.history_bytes,
        durable_time=durable_time,
        cache_bytes=status.cache_budget_bytes,
        cache_used_bytes=status.cache_used_bytes,
        cache_hits=status.cache_hits,
        cache_misses=status.cache_misses,
        cache_evictions=status.cache_evictions,
        commits=status.commits,
        conflicts=status.conflicts,
        records=status.records,
        log_bytes=status.log_bytes,
        snapshots=status.snapshots,
    )


def verify(
    engine: Engine,
    segments: Mapping[Place, Segment],
    errors: Mapping[Place, AuroraError],
) -> tuple[VerifyReport, dict[Place, AuroraError]]:
    """Reads every copy and walks every tree.

    The report, and the first damage of each copy that has any.
    """
    places = sorted(segments)
    checked = in_parallel(lambda place: _verify_segment(segments[place]), places)
    found: list[AuroraError] = [
        error for place, error in sorted(errors.items()) if place not in segments
    ]
    damaged: dict[Place, AuroraError] = {}
    for place, (_, of_segment) in zip(places, checked, strict=True):
        found += of_segment
        if of_segment:
            damaged[place] = of_segment[0]
    counts = [each for each, _ in checked]
    try:
        trees = engine.verify()
    except CorruptionError as error:
        found.append(error)
        trees = None
    return (
        VerifyReport(
            errors=found,
            tables=trees.tables if trees else 0,
            pages=trees.pages if trees else 0,
            records=trees.records if trees else 0,
            leaked_pages=trees.leaked_pages if trees else 0,
            segments_checked=len(places),
            files_checked=sum(each.files for each in counts),
            bytes_checked=sum(each.bytes for each in counts),
            frames_checked=sum(each.frames for each in counts),
        ),
        damaged,
    )


def _verify_segment(segment: Segment) -> tuple[VerifyCounts, list[AuroraError]]:
    try:
        return segment.verify()
    except AuroraError as error:
        return VerifyCounts(0, 0, 0, 0, 1), [error]
