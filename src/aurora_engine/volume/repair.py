"""When to rebuild a copy that is lost or damaged, and when to recover the write path in place.

A sans-I/O state machine: `observe` takes what is seen and the time, and returns what to do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from aurora_engine.volume.messages import Place
from aurora_engine.volume.quorums import write_quorum


class CopyCondition(Enum):
    """What is seen of a copy."""

    HEALTHY = "healthy"
    LAGGING = "lagging"
    DAMAGED = "damaged"
    """Takes frames, but something at rest in it failed its checksum."""
    FULL = "full"
    """Its disk is full: it serves reads, and takes frames again when there is room."""
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Observation:
    """One copy as it is seen now."""

    condition: CopyCondition
    scl: int


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Copy ``source`` over the copy at ``place``."""

    place: Place
    source: Place


@dataclass(frozen=True, slots=True)
class RecoverInPlace:
    """Run a recovery over the open segments: a write quorum is back."""


RepairAction = Rebuild | RecoverInPlace


class Repair:
    """Decides on repairs for one volume.

    Parameters
    ----------
    copies
        Copies of each group.
    delay_s
        How long a copy must have been away before it is rebuilt: a folder that is only being moved,
        or a disk that is
        being remounted, comes back by itself.
    """

    RETRY_FACTOR = 2.0
    RETRY_LIMIT_S = 300.0

    def __init__(self, *, copies: int, delay_s: float) -> None:
        self._copies = copies
        self._delay_s = delay_s
        self._due: dict[Place, float] = {}
        self._wait_s: dict[Place, float] = {}

    def observe(
        self,
        now_s: float,
        seen: Mapping[Place, Observation],
        *,
        serving_writes: bool,
        at_once: bool = False,
        refused: Collection[Place] = (),
    ) -> list[RepairAction]:
        """What to do now. ``at_once``: somebody asked for repair, do not wait.

        Rebuilds come one to a group at a time, and copies in ``refused`` are passed over. An
        in-place recovery is asked for when writes are not served although every group has a write
        quorum.
        """
        self._note(now_s, seen)
        actions: list[RepairAction] = []
        for group in sorted({place[0] for place in seen}):
            action = self._rebuild(now_s, group, seen, at_once, refused)
            if action is not None:
                actions.append(action)
        if not actions and not serving_writes and self._has_write_quorum(seen):
            actions.append(RecoverInPlace())
        return actions

    def hopeless(self, seen: Mapping[Place, Observation]) -> list[Place]:
        """The lost and damaged copies of the groups that have no whole copy to rebuild them from.

        A copy that lags, or whose disk is full, is whole once it has caught up.
        """
        whole = {
            place[0]
            for place, observation in seen.items()
            if observation.condition not in (CopyCondition.LOST, CopyCondition.DAMAGED)
        }
        return sorted(place for place in seen if place[0] not in whole)

    def stuck(self, seen: Mapping[Place, Observation]) -> list[Place]:
        """The copies that stay as they are, though a group may have others that are whole.

        Their disk is full; or they are lost or damaged, and no copy of their group can be a source.
        """
        sources = {
            place[0]
            for place, observation in seen.items()
            if observation.condition is CopyCondition.HEALTHY
        }
        return sorted(
            place
            for place, observation in seen.items()
            if observation.condition is CopyCondition.FULL
            or (
                observation.condition in (CopyCondition.LOST, CopyCondition.DAMAGED)
                and place[0] not in sources
            )
        )

    def failed(self, now_s: float, place: Place) -> None:
        """A rebuild did not work out: try again, each time later."""
        wait = min(
            self._wait_s.get(place, max(self._delay_s, 1.0)) * self.RETRY_FACTOR, self.RETRY_LIMIT_S
        )
        self._wait_s[place] = wait
        self._due[place] = now_s + wait

    def _note(self, now_s: float, seen: Mapping[Place, Observation]) -> None:
        for place, observation in seen.items():
            if observation.condition in (CopyCondition.LOST, CopyCondition.DAMAGED):
                self._due.setdefault(place, now_s + self._delay_s)
            else:
                self._due.pop(place, None)
                self._wait_s.pop(place, None)

    def _rebuild(
        self,
        now_s: float,
        group: int,
        seen: Mapping[Place, Observation],
        at_once: bool,
        refused: Collection[Place],
    ) -> Rebuild | None:
        members = {place: observation for place, observation in seen.items() if place[0] == group}
        sources = [place for place, o in members.items() if o.condition is CopyCondition.HEALTHY]
        due = [
            place
            for place in members
            if place in self._due
            and place not in refused
            and (at_once or self._due[place] <= now_s)
        ]
        if not sources or not due:
            return None
        place = min(
            due,
            key=lambda place: (
                members[place].condition is not CopyCondition.LOST,
                self._due[place],
                place,
            ),
        )
        source = max(sources, key=lambda place: (members[place].scl, -place[1]))
        return Rebuild(place, source)

    def _has_write_quorum(self, seen: Mapping[Place, Observation]) -> bool:
        usable: dict[int, int] = {}
        for (group, _), observation in seen.items():
            takes_frames = observation.condition not in (CopyCondition.LOST, CopyCondition.FULL)
            usable[group] = usable.get(group, 0) + takes_frames
        return all(count >= write_quorum(self._copies) for count in usable.values())
