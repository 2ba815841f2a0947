"""Opening by quorum: fence, survey, find VCL and VDL, write back, truncate (I4).

The order is Aurora's (SIGMOD 2017 section 4.3, SIGMOD 2018 section 2.4) with two points that the
papers leave open:

* The epoch is bumped at a write quorum *first*. Otherwise an old writer that is still alive could
complete a write after
  the SCLs were read.
* A group's recovery point is the *highest* SCL of the survey, since any read quorum holds one copy
of every acknowledged
  write. That may bring back a write that only one segment had, so everything up to the new VDL is
  copied to a write
  quorum before anything is served.

The machine is sans-I/O: `start` and `reply` return the next actions; `outcome` is set at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from aurora_engine._ext.records import FrameInfo, RewindRecord
from aurora_engine.errors import AuroraError, CorruptionError, FencedError, QuorumLostError
from aurora_engine.volume.messages import (
    Action,
    CopyLog,
    Failed,
    Inspect,
    Inspected,
    Place,
    Promise,
    Reply,
    Survey,
    Surveyed,
    Truncate,
)
from aurora_engine.volume.quorums import read_quorum, write_quorum

LSN_ALLOCATION_LIMIT = 10_000_000
"""No LSN is issued further above VCL than this (csrc/format/types.h)."""

TRUNCATION = 1
"""Kind of a rewind made by recovery (csrc/format/history.h)."""


def missed_rewinds(segment: Surveyed, known: Iterable[RewindRecord]) -> tuple[RewindRecord, ...]:
    """The rewinds that a segment has not heard of, oldest first.

    None is below its epoch: whoever made it promise that gave it all earlier rewinds first.
    """
    missed = {r for r in known if r.epoch >= segment.state.epoch} - set(segment.rewinds)
    return tuple(sorted(missed, key=lambda rewind: rewind.epoch))


def left_lineage(segment: Surveyed, lineage: Sequence[RewindRecord]) -> bool:
    """Whether a segment holds a rewind that the volume's history does not.

    A recovery that died after truncating a few copies, and that the next one did not see, leaves
    such copies: what they dropped may have been kept. (Lists are cut at their old end.)
    """
    oldest = lineage[0].epoch if lineage else 0
    happened = {_meaning(rewind) for rewind in lineage}
    return any(r.epoch >= oldest and _meaning(r) not in happened for r in segment.rewinds)


def _meaning(rewind: RewindRecord) -> tuple[int, int, int, int]:
    """What a rewind does to history; when it was made does not count.

    Two recoveries that open different copies for reading only come to the same rewind, and neither
    can know of the other.
    """
    return rewind.at, rewind.to, rewind.epoch, rewind.kind


def _newest_epoch(rewinds: Sequence[RewindRecord]) -> int:
    return rewinds[-1].epoch if rewinds else 0


class Phase(Enum):
    """Where a recovery stands; each phase ends when all of its actions have been answered."""

    SURVEY = "survey"
    FENCE = "fence"
    INSPECT = "inspect"
    WRITE_BACK = "write back"
    TRUNCATE = "truncate"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """The point at which the volume goes on."""

    epoch: int
    vdl: int
    next_lsn: int
    time_us: int
    group_lsns: tuple[int, ...]
    members: frozenset[Place]
    """Segments that took part to the end. Others must be rebuilt, or caught up from these."""
    behind: frozenset[Place]
    """Segments that write-back could not bring up to VDL, because no peer has the log any more."""
    writable: bool
    """Whether every group has a write quorum. If not, recover again once copies are back."""


class Recovery:
    """One recovery of a volume.

    Parameters
    ----------
    groups, copies
        Shape of the volume.
    places
        Segments that could be opened.
    now_us
        Wall clock, noted in the rewind.
    """

    def __init__(self, *, groups: int, copies: int, places: Iterable[Place], now_us: int) -> None:
        self._groups = groups
        self._copies = copies
        self._now_us = now_us
        self._alive: set[Place] = set(places)
        self._known: dict[Place, Surveyed] = {}
        self._frames: dict[int, tuple[FrameInfo, ...]] = {}
        self._inspected: set[Place] = set()
        self._waiting: set[Place] = set()
        self._failures: dict[Place, AuroraError] = {}
        self._behind: set[Place] = set()
        self._phase = Phase.SURVEY
        self._epoch = 0
        self._vdl = 0
        self._rewind: RewindRecord | None = None
        self._group_lsns: tuple[int, ...] = ()
        self.outcome: Recovered | AuroraError | None = None

    def start(self) -> list[Action]:
        """The first actions."""
        return self._ask([Survey(place) for place in sorted(self._alive)])

    def reply(self, action: Action, reply: Reply) -> list[Action]:
        """Takes the reply to an action; returns the actions that follow."""
        if self.outcome is not None:
            return []
        self._waiting.discard(action.place)
        match reply:
            case Failed(error):
                self._alive.discard(action.place)
                self._failures[action.place] = error
                if self._phase is Phase.WRITE_BACK:
                    self._behind.add(action.place)
            case Surveyed():
                self._known[action.place] = reply
            case Inspected(frames):
                self._frames[action.place[0]] = frames
        return [] if self._waiting else self._advance()

    def _ask(self, actions: list[Action]) -> list[Action]:
        self._waiting = {action.place for action in actions}
        return actions or self._advance()

    def _advance(self) -> list[Action]:
        fenced = [error for error in self._failures.values() if isinstance(error, FencedError)]
        if fenced:
            return self._end(fenced[0])
        lost = self._lost_group()
        if lost is not None:
            return self._end(lost)
        match self._phase:
            case Phase.SURVEY:
                return self._fence()
            case Phase.FENCE | Phase.INSPECT:
                return self._inspect()
            case Phase.WRITE_BACK:
                return self._truncate()
            case _:
                return self._finish()

    def _end(self, error: AuroraError) -> list[Action]:
        self._phase = Phase.OVER
        self.outcome = error
        return []

    def _members(self, group: int) -> list[Place]:
        return sorted(place for place in self._alive if place[0] == group)

    def _lost_group(self) -> QuorumLostError | None:
        # Once VDL is proved, one copy that has everything is enough to go on reading.
        proved = self._phase in (Phase.WRITE_BACK, Phase.TRUNCATE)
        need = 1 if proved else read_quorum(self._copies)
        for group in range(self._groups):
            have = len(self._members(group))
            if have < need:
                reasons = "; ".join(
                    f"copy {copy}: {error}"
                    for (of, copy), error in sorted(self._failures.items())
                    if of == group
                )
                return QuorumLostError(
                    f"only {have} of {self._copies} copies of protection group {group} can be "
                    f"opened, {need} are needed to prove what is current"
                    f"{'; ' + reasons if reasons else ''}. "
                    "Bring a missing copy back and open again."
                )
        return None

    def _fence(self) -> list[Action]:
        self._phase = Phase.FENCE
        self._epoch = 1 + max(known.state.epoch for known in self._known.values())
        lineage = max((known.rewinds for known in self._known.values()), key=_newest_epoch)
        for place in sorted(self._alive):
            if left_lineage(self._known[place], lineage):
                self._alive.discard(place)
                self._behind.add(place)
                self._failures[place] = CorruptionError(
                    "it took part in a recovery that was never finished and that a later one "
                    "overruled: this copy must be rebuilt"
                )
        lost = self._lost_group()
        if lost is not None:
            return self._end(lost)
        return self._ask(
            [
                Promise(place, missed_rewinds(self._known[place], lineage), self._epoch)
                for place in sorted(self._alive)
            ]
        )

    def _inspect(self) -> list[Action]:
        """Asks the segment of each group that reaches furthest for its frames above the VDL."""
        self._phase = Phase.INSPECT
        floor = self._floor()
        missing = [group for group in range(self._groups) if group not in self._frames]
        if not missing:
            return self._find_vdl()
        return self._ask([Inspect(self._furthest(group), floor) for group in missing])

    def _floor(self) -> int:
        return max(known.state.vdl for place, known in self._known.items() if place in self._alive)

    def _furthest(self, group: int) -> Place:
        return max(
            self._members(group), key=lambda place: (self._known[place].state.scl, -place[1])
        )

    def _find_vdl(self) -> list[Action]:
        """VCL: the boxcars that are complete without a gap. VDL: the highest CPL among them."""
        boxcars: dict[tuple[int, int], list[FrameInfo]] = defaultdict(list)
        for frames in self._frames.values():
            for frame in frames:
                boxcars[frame.volume_first, frame.volume_last].append(frame)
        vcl = vdl = floor = self._floor()
        for (first, last), parts in sorted(boxcars.items()):
            if last <= floor:
                continue
            if first != self._successor(vcl) or len(parts) < parts[0].groups:
                break
            vcl = last
            vdl = max(vdl, parts[0].last_cpl)
        self._vdl = vdl
        self._rewind = RewindRecord(
            at=self._issued(vcl) + LSN_ALLOCATION_LIMIT,
            to=vdl,
            epoch=self._epoch,
            time_us=self._now_us,
            kind=TRUNCATION,
        )
        self._group_lsns = tuple(self._group_lsn(group) for group in range(self._groups))
        return self._write_back()

    def _issued(self, vcl: int) -> int:
        """An LSN such that none above it plus the allocation limit was ever issued.

        A writer issues at most that far above its VCL, or above the rewind it began after,
        whichever is higher.
        """
        known = [self._known[place] for place in self._alive]
        rewinds = [rewind.at for each in known for rewind in each.rewinds]
        return max([vcl, *(each.state.scl for each in known), *rewinds])

    def _successor(self, lsn: int) -> int:
        """The LSN that was issued after ``lsn``.

        The next one, or the first after the rewind that ended there. What was overruled (a rewind
        of a copy that has left the lineage) never happened.
        """
        known = [self._known[place] for place in self._alive]
        rewinds = [rewind for each in known for rewind in each.rewinds if rewind.to == lsn]
        return max([lsn, *(rewind.at for rewind in rewinds)]) + 1

    def _group_lsn(self, group: int) -> int:
        """Where the group's chain stands at VDL."""
        frames = self._frames[group]
        inside = [frame.last_lsn for frame in frames if frame.last_lsn <= self._vdl]
        if inside:
            return inside[-1]
        return frames[0].prev_lsn if frames else self._known[self._furthest(group)].state.scl

    def _write_back(self) -> list[Action]:
        self._phase = Phase.WRITE_BACK
        actions: list[Action] = []
        for group in range(self._groups):
            upto = self._group_lsns[group]
            behind = [
                place for place in self._members(group) if self._known[place].state.scl < upto
            ]
            sources = tuple(place for place in self._members(group) if place not in behind)
            actions += [CopyLog(place, sources, upto, self._epoch) for place in behind]
        return self._ask(actions)

    def _truncate(self) -> list[Action]:
        assert self._rewind is not None
        self._phase = Phase.TRUNCATE
        return self._ask([Truncate(place, self._rewind) for place in sorted(self._alive)])

    def _finish(self) -> list[Action]:
        assert self._rewind is not None
        self._phase = Phase.OVER
        for place in self._alive:
            scl = self._known[place].state.scl
            if scl != self._group_lsns[place[0]]:
                self.outcome = CorruptionError(
                    f"segment {place} stands at {scl} after recovery to VDL {self._vdl}"
                )
                return []
        writable = all(
            len(self._members(group)) >= write_quorum(self._copies) for group in range(self._groups)
        )
        times = [frame.time_us for frames in self._frames.values() for frame in frames]
        self.outcome = Recovered(
            epoch=self._epoch,
            vdl=self._vdl,
            next_lsn=self._rewind.at + 1,
            time_us=max(times, default=0),
            group_lsns=self._group_lsns,
            members=frozenset(self._alive),
            behind=frozenset(self._behind),
            writable=writable,
        )
        return []
