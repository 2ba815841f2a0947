"""Recording a backtrack in every copy: a write quorum of every group must have it.

The order of the whole is in docs/internals/history.md; `Past` holds commits meanwhile.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from aurora_engine._ext.records import RewindRecord
from aurora_engine._ext.segment import Segment
from aurora_engine.errors import AuroraError
from aurora_engine.types import Rewind
from aurora_engine.volume.history import time_of
from aurora_engine.volume.members import in_parallel
from aurora_engine.volume.messages import Place
from aurora_engine.volume.quorums import write_quorum

_log = logging.getLogger("aurora_engine.volume")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of recording a rewind."""

    failures: Mapping[Place, AuroraError]
    """Copies that may or may not have it: they are to be given up."""
    certain: bool
    """Whether a write quorum of every group has it."""
    refused: AuroraError | None = None
    """Why no copy has it, nor failed: nothing was done, and all is as before."""


def record(
    segments: Mapping[Place, Segment], rewind: RewindRecord, *, groups: int, copies: int
) -> Recorded:
    """Records a rewind in every open segment at once, durably."""

    def into(place: Place) -> AuroraError | None:
        try:
            segments[place].rewind(rewind)
        except AuroraError as error:
            _log.warning("segment %s did not record %s: %s", place, rewind, error)
            return error
        return None

    places = sorted(segments)
    answers = dict(zip(places, in_parallel(into, places), strict=True))
    failures = {place: error for place, error in answers.items() if error is not None}
    if len(failures) == len(places) and _all_whole(segments):
        return Recorded({}, False, next(iter(failures.values()), None))
    have = Counter(group for (group, _), error in answers.items() if error is None)
    return Recorded(failures, all(have[g] >= write_quorum(copies) for g in range(groups)))


def _all_whole(segments: Mapping[Place, Segment]) -> bool:
    return all(segment.state().health != "failed" for segment in segments.values())


def rewind_of(record: RewindRecord, *, dry_run: bool = False) -> Rewind:
    """The public form of a backtrack."""
    return Rewind(
        from_lsn=record.at,
        to_lsn=record.to,
        lsn=record.at + 1,
        lost_commits=record.lost_commits,
        time=time_of(record.time_us),
        who=record.who,
        dry_run=dry_run,
    )
