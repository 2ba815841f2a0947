"""Compacting every copy now: in each group one copy does the work, the others take it over."""

from __future__ import annotations

from collections.abc import Mapping

from aurora_engine._ext.segment import Segment
from aurora_engine.errors import AuroraError
from aurora_engine.volume.members import in_parallel
from aurora_engine.volume.messages import Place


def compact_copies(segments: Mapping[Place, Segment]) -> dict[Place, AuroraError]:
    """Compacts all segments; returns the reasons of those that could not be."""
    groups = sorted({group for group, _ in segments})
    failed = in_parallel(
        lambda group: _compact_group({p: s for p, s in segments.items() if p[0] == group}), groups
    )
    return {place: error for each in failed for place, error in each.items()}


def _compact_group(segments: Mapping[Place, Segment]) -> dict[Place, AuroraError]:
    failed: dict[Place, AuroraError] = {}
    leader: Segment | None = None
    # The storage worker lets the copy build layers that is furthest; so does this.
    for place in sorted(segments, key=lambda place: -segments[place].state().flushed_lsn):
        segment = segments[place]
        try:
            if leader is None or not _follow(segment, leader):
                segment.compact()
        except AuroraError as error:
            failed[place] = error
        else:
            leader = leader or segment
    return failed


def _follow(segment: Segment, leader: Segment) -> bool:
    """Takes over what the leader has; whether the segment is then as the leader was."""
    wanted = leader.state()
    while segment.follow(leader):
        pass
    return segment.state().flushed_lsn >= wanted.flushed_lsn
