"""Which rewinds make up the history of a volume, and how a segment stands to them. Sans-I/O.

Copies may know different rewinds: each was away at times, and who recorded one may have died
half-way. The *lineage* is the list of the copy that took part in the newest one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aurora_engine._ext.records import RewindRecord
from aurora_engine.volume.history import BACKTRACK, TRUNCATION
from aurora_engine.volume.messages import Surveyed

REWINDS_KEPT = 64
"""A segment keeps that many of the newest; older ones it may forget (docs/format/segment.md)."""

Lineage = tuple[RewindRecord, ...]
"""Rewinds of one history, oldest first."""


def lineage_of(surveyed: Iterable[Surveyed]) -> Lineage:
    """The history that the copies tell of: what the one with the newest rewind knows.

    A copy of a group that was added later knows none from before; those are told by the first
    group.
    """
    lists = [(each.state.identity.group, _in_order(each.rewinds)) for each in surveyed]
    lineage = max((rewinds for _, rewinds in lists), key=_newest, default=[])
    if not lineage:
        return ()
    first = lineage[0]
    complete = [rewinds for group, rewinds in lists if group == 0]
    sharing = [rewinds for rewinds in complete if _same(first) in map(_same, rewinds)]
    older = [[r for r in rewinds if r.at < first.at] for rewinds in sharing or complete]
    return (*max(older, key=_newest, default=[]), *lineage)


def _in_order(rewinds: Sequence[RewindRecord]) -> list[RewindRecord]:
    return sorted(rewinds, key=_order)


def _order(rewind: RewindRecord) -> tuple[int, int]:
    # A writer may make several backtracks in its epoch, each above the one before.
    return rewind.epoch, rewind.at


def _newest(rewinds: Sequence[RewindRecord]) -> tuple[int, int]:
    return _order(rewinds[-1]) if rewinds else (0, 0)


def _same(rewind: RewindRecord) -> tuple[int, ...]:
    """What makes it the same rewind on two copies.

    A backtrack that a later recovery had to finish carries the epoch of that one on some copies.
    """
    return rewind.kind, rewind.at, rewind.to, 0 if rewind.kind == BACKTRACK else rewind.epoch


def missed_rewinds(
    segment: Surveyed, lineage: Sequence[RewindRecord], epoch: int
) -> tuple[RewindRecord, ...]:
    """The rewinds of the history that a segment has not heard of, oldest first.

    One below the segment's epoch is not among them: whoever made it promise that epoch gave it all
    that counted, or it is of a group that was added since. Only a backtrack of the last writer may
    have been under way just then; it is given in the name of ``epoch``, since the segment refuses
    older ones.
    """
    heard = {_same(rewind) for rewind in segment.rewinds}
    promised = segment.state.epoch
    last_writer = max((r.at for r in lineage if r.kind == TRUNCATION), default=0)
    missed = [rewind for rewind in lineage if _same(rewind) not in heard]
    return tuple(
        rewind if rewind.epoch >= promised else rewind._replace(epoch=epoch)
        for rewind in missed
        if rewind.epoch >= promised or rewind.at > last_writer
    )


def left_lineage(segment: Surveyed, lineage: Sequence[RewindRecord]) -> bool:
    """Whether a segment holds a rewind that the volume's history does not.

    A recovery or a backtrack that died after a few copies, and that the next recovery did not see,
    leaves such copies: what they dropped, or annulled, may have been kept.
    """
    known = {_same(rewind) for rewind in lineage}
    # Of those before the newest, each copy forgets by itself what no retained moment needs.
    oldest = lineage[-REWINDS_KEPT].at if len(lineage) >= REWINDS_KEPT else 0
    return any(r.at >= oldest and _same(r) not in known for r in segment.rewinds)
