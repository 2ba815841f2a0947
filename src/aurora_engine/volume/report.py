"""What status() and verify() tell of a volume, gathered from the engine and from each copy."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from datetime import timedelta

from aurora_engine._ext.engine import Engine
from aurora_engine._ext.records import VerifyCounts
from aurora_engine._ext.segment import Segment
from aurora_engine.errors import AuroraError, CorruptionError
from aurora_engine.types import (
    CopyRetention,
    CopyState,
    RetentionReport,
    SegmentStatus,
    VerifyReport,
    VolumeStatus,
)
from aurora_engine.volume.history import time_of
from aurora_engine.volume.layout import Layout
from aurora_engine.volume.members import in_parallel, shared_bytes
from aurora_engine.volume.messages import Place
from aurora_engine.volume.past import Kept, Past


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
        live_bytes=known.live_bytes,
        history_bytes=known.history_bytes - known.delta_bytes,
        own_bytes=known.log_bytes + known.layer_bytes - shared_bytes(layout.segment_folder(*place)),
    )


def volume_status(
    layout: Layout,
    engine: Engine,
    segments: Mapping[Place, Segment],
    errors: Mapping[Place, AuroraError],
    rebuilding: Collection[Place],
    kept: Kept,
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
    oldest = time_of(kept.oldest.time_us)
    durable_time = time_of(status.durable_time_us) if status.durable_time_us else None
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
        own_bytes=sum(copy.own_bytes for copy in copies),
        backtrack_window=metadata.backtrack_window,
        actual_backtrack_window=_window(kept),
        oldest_lsn=kept.oldest.lsn,
        oldest_time=oldest,
        history_bytes=metadata.history_bytes,
        history_used_bytes=kept.usage.history_bytes,
        live_bytes=kept.usage.live_bytes,
        parent_id=metadata.parent_id.hex() if metadata.parent_id is not None else None,
        parent_lsn=metadata.parent_lsn,
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


def retention(layout: Layout, segments: Mapping[Place, Segment], past: Past) -> RetentionReport:
    """Why the bytes of a volume are kept."""
    kept = past.kept()
    pins = {pin: time_of(past.moment(pin).time_us) for pin in kept.bounds.pins}
    return RetentionReport(
        oldest_lsn=kept.oldest.lsn,
        oldest_time=time_of(kept.oldest.time_us),
        newest_lsn=kept.bounds.vdl,
        cause=past.cause,
        backtrack_window=past.retention.window,
        actual_backtrack_window=_window(kept),
        limit_bytes=kept.limit,
        pins=pins,
        copies=[_copy_retention(layout, place, segments[place]) for place in sorted(segments)],
    )


def _copy_retention(layout: Layout, place: Place, segment: Segment) -> CopyRetention:
    state = segment.state()
    return CopyRetention(
        zone=layout.zone_of(place[1]),
        path=str(layout.segment_folder(*place)),
        group=place[0],
        copy=place[1],
        live_bytes=state.live_bytes,
        history_bytes=state.history_bytes - state.delta_bytes,
        delta_bytes=state.delta_bytes,
        log_bytes=state.log_bytes,
        collected_lsn=state.horizon,
    )


def _window(kept: Kept) -> timedelta:
    """How far back every moment is retained."""
    return max(timedelta(microseconds=kept.bounds.now_us - kept.oldest.time_us), timedelta(0))


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
