"""Compacting every copy now: in each group one copy does the work, the others take it over."""

from __future__ import annotations

from collections.abc import Mapping

from aurora_engine._ext.segment import Segment
from aurora_engine.errors import AuroraError, DatabaseClosedError
from aurora_engine.volume.members import in_parallel
from aurora_engine.volume.messages import Place


def compact_copies(segments: Mapping[Place, Segment], copies: int) -> dict[Place, AuroraError]:
    """Compacts all segments, of ``copies`` a group; returns the reasons of those that failed.

    Segments may be taken out of service and closed meanwhile; those fail.
    """
    groups = sorted({group for group, _ in segments})
    failed = in_parallel(
        lambda group: _compact_group({p: s for p, s in segments.items() if p[0] == group}, copies),
        groups,
    )
    return {place: error for each in failed for place, error in each.items()}


def _compact_group(segments: Mapping[Place, Segment], copies: int) -> dict[Place, AuroraError]:
    failed: dict[Place, AuroraError] = {}
    leader: Segment | None = None
    for place in sorted(segments, key=lambda place: _order(place, segments[place], copies)):
        segment = segments[place]
        try:
            if leader is None or not _follow(segment, leader):
                segment.compact()
        except AuroraError as error:
            failed[place] = error
        else:
            leader = leader or segment
    if not failed and len(segments) == copies:
        failed |= _trim_logs(segments)
    return failed


def _order(place: Place, segment: Segment, copies: int) -> tuple[int, int, int]:
    """The order in which the storage worker chooses who builds layers (choose_leader in C).

    With another one its choice would take over the older layers again, and undo the work.
    """
    group, copy = place
    try:
        state = segment.state()
    except DatabaseClosedError:
        return 0, 0, copies
    return -state.base_progress, -state.flushed_lsn, (copy - group) % copies


def _follow(segment: Segment, leader: Segment) -> bool:
    """Takes over what the leader has; whether the segment is then as the leader was."""
    try:
        wanted = leader.state()
        while segment.follow(leader):
            pass
        return segment.state().flushed_lsn >= wanted.flushed_lsn
    except DatabaseClosedError:
        # One of the two was taken out of service. If it is the leader, there is work to do.
        return False


def _trim_logs(segments: Mapping[Place, Segment]) -> dict[Place, AuroraError]:
    """Lets the logs of a group shrink if every copy has all that there is, in layers."""
    failed: dict[Place, AuroraError] = {}
    try:
        level = len({segment.state().scl for segment in segments.values()}) == 1
    except DatabaseClosedError:
        # A copy was taken out of service: it may want what the logs have when it comes back.
        level = False
    for place, segment in segments.items() if level else ():
        try:
            segment.tidy(False)
        except AuroraError as error:
            failed[place] = error
    return failed
