"""Compacting every copy now: in each group one copy does the work, the others take it over."""

from __future__ import annotations

from collections.abc import Mapping

from aurora_engine._ext.segment import Segment
from aurora_engine.errors import AuroraError
from aurora_engine.volume.members import in_parallel
from aurora_engine.volume.messages import Place


def compact_copies(segments: Mapping[Place, Segment], copies: int) -> dict[Place, AuroraError]:
    """Compacts all segments, of ``copies`` a group; returns the reasons of those that failed."""
    groups = sorted({group for group, _ in segments})
    failed = in_parallel(
        lambda group: _compact_group({p: s for p, s in segments.items() if p[0] == group}, copies),
        groups,
    )
    return {place: error for each in failed for place, error in each.items()}


def trim_logs(segments: Mapping[Place, Segment], copies: int) -> None:
    """Lets the log of each group shrink in which all ``copies`` have all of it, in layers.

    Raises
    ------
    StorageIOError
        If a copy's files cannot be changed; it has failed then.
    """
    for group in sorted({group for group, _ in segments}):
        members = [segment for place, segment in segments.items() if place[0] == group]
        if len(members) == copies and len({segment.state().scl for segment in members}) == 1:
            for segment in members:
                while segment.tidy(False):
                    pass


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
    return failed


def _order(place: Place, segment: Segment, copies: int) -> tuple[int, int]:
    """The order in which the storage worker chooses who builds layers (choose_leader in C).

    With another one its choice would take over the older layers again, and undo the work.
    """
    group, copy = place
    return -segment.state().flushed_lsn, (copy - group) % copies


def _follow(segment: Segment, leader: Segment) -> bool:
    """Takes over what the leader has; whether the segment is then as the leader was."""
    wanted = leader.state()
    while segment.follow(leader):
        pass
    return segment.state().flushed_lsn >= wanted.flushed_lsn
