"""The copies of an opened volume: which are in service, and why the others are not."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from aurora_engine._ext.engine import Engine
from aurora_engine._ext.segment import Segment
from aurora_engine.errors import (
    AuroraError,
    CorruptionError,
    FencedError,
    QuorumLostError,
    VolumeFullError,
)
from aurora_engine.volume.layout import Layout
from aurora_engine.volume.lineage import Lineage, lineage_of
from aurora_engine.volume.lock import WriterLock
from aurora_engine.volume.members import has_room, joined, may_return, open_segment, surveyed
from aurora_engine.volume.messages import Place
from aurora_engine.volume.quorums import write_quorum
from aurora_engine.volume.repair import CopyCondition, Observation

_log = logging.getLogger("aurora_engine.volume")


class Copies:
    """The segments of a volume, in and out of service.

    Thread rule: the volume's lock is held in every method.
    """

    def __init__(self, layout: Layout, engine: Engine, lock: WriterLock) -> None:
        self._writer_lock = lock
        self.layout = layout
        """Where they lie; a new one whenever the volume's metadata change."""
        self.in_service: dict[Place, Segment] = {}
        self.errors: dict[Place, AuroraError] = {}
        """Why those that are not in service are not, or not yet rebuilt."""
        self.damage: dict[Place, AuroraError] = {}
        """What a verification found in those that are in service."""
        self.rebuilding: set[Place] = set()
        self.serving_writes = False
        """Whether the engine was started for writes: it knows then how each copy fares."""
        self._engine = engine
        self._barred: set[Place] = set()
        self._retired: list[tuple[Place, Segment]] = []

    @property
    def reasons(self) -> dict[Place, AuroraError]:
        """What is wrong with each copy that is not whole."""
        return self.errors | self.damage

    def adopt(self, place: Place, opened: Segment | AuroraError) -> None:
        """Takes note of a segment that was opened, or could not be."""
        if isinstance(opened, AuroraError):
            _log.warning("segment %s cannot be opened: %s", place, opened)
            self.errors[place] = opened
        else:
            self.in_service[place] = opened
            self.errors.pop(place, None)
            self._barred.discard(place)

    def have_write_quorum(self) -> bool:
        """Whether enough copies of every group are in service for writes."""
        metadata = self.layout.metadata
        have = [
            sum(place[0] == group for place in self.in_service) for group in range(metadata.groups)
        ]
        return min(have) >= write_quorum(metadata.copies)

    def observe(self) -> dict[Place, Observation]:
        """What each copy looks like now.

        Copies that the engine has given up are closed and forgotten.
        """
        self.close_retired()
        return {place: self._observe(place) for place in self.layout.places()}

    def _observe(self, place: Place) -> Observation:
        segment = self.in_service.get(place)
        if segment is None:
            return Observation(CopyCondition.LOST, 0)
        folder = self.layout.segment_folder(*place)
        if not folder.is_dir():
            # Its open files would go on taking writes that no later opening finds.
            segment.fail(f"the folder {folder} was moved away or removed")
        status = self._engine.copy_status(*place) if self.serving_writes else None
        state = segment.state()
        if state.health == "failed" or (status is not None and status.state == "failed"):
            error = (status and status.error) or state.damage
            if isinstance(error, VolumeFullError) and not has_room(folder):
                self.errors[place] = error
                return Observation(CopyCondition.FULL, state.scl)
            self.give_up(place, error)
            return Observation(CopyCondition.LOST, 0)
        if status is not None and status.state == "lagging":
            return Observation(CopyCondition.LAGGING, state.scl)
        if state.health == "damaged" or place in self.damage:
            return Observation(CopyCondition.DAMAGED, state.scl)
        return Observation(CopyCondition.HEALTHY, state.scl)

    def is_back(self, place: Place, lost: Segment) -> bool:
        """Whether another segment is in service where ``lost`` was."""
        return self.in_service.get(place) not in (None, lost)

    def give_up(self, place: Place, error: AuroraError | None) -> None:
        """Takes a copy out of service; it comes back, or is rebuilt, by way of `Repair`."""
        self.errors[place] = error or QuorumLostError("the copy failed")
        self._bar(place)
        _log.warning("segment %s is given up: %s", place, error)
        self.retire(place)

    def drop(self, place: Place) -> None:
        """Closes a segment that did not come through a recovery; nobody uses it."""
        self.in_service.pop(place).close()
        self._bar(place)

    def _bar(self, place: Place) -> None:
        """Keeps a copy from being opened again, if what is wrong with it asks for a new one."""
        if place in self.errors and not may_return(self.errors[place]):
            self._barred.add(place)

    def bring_back(self, lineage: Lineage) -> None:
        """Takes copies back that were missing and are there again.

        ``lineage``: the rewinds that the engine knows of.
        """
        # A segment that is not closed yet may still have a file under way.
        open_still = {place for place, _ in self._retired}
        out_of_reach = self._barred | self.rebuilding | open_still
        for place in self.layout.places():
            if place in self.in_service or place in out_of_reach:
                continue
            opened = open_segment(self.layout, place)
            if isinstance(opened, AuroraError):
                self.errors[place] = opened
            else:
                self.join(place, opened, lineage)

    def join(self, place: Place, segment: Segment, lineage: Lineage) -> AuroraError | None:
        """Puts a segment that was opened or rebuilt into service; it catches up from its peers.

        Why not, if it has to stay out; it is closed then.
        """
        if self.serving_writes:
            # A copy may know of a backtrack that the engine is not sure of. With no copy left to
            # ask, what the engine knows is all there is: without it, none could ever come back.
            told = lineage_of(surveyed(self.in_service.values())) or lineage
            refused = joined(segment, place, told, self._engine.status().epoch)
            if refused is not None:
                self.errors[place] = refused
                segment.close()
                self._bar(place)
                return refused
            self._engine.replace(*place, segment)
        self.in_service[place] = segment
        self._writer_lock.take_again(self.layout.segment_folder(*place).parent)
        self.errors.pop(place, None)
        self.damage.pop(place, None)
        self._barred.discard(place)
        _log.info("segment %s is in service", place)
        return None

    def retire(self, place: Place) -> None:
        """Takes a segment out of service. It is closed once nobody uses it any more."""
        segment = self.in_service.pop(place, None)
        if segment is not None:
            self._engine.replace(*place, None)
            # What changes its files, as a compaction does, ends at its next step.
            segment.fail("the copy was taken out of service")
            self._retired.append((place, segment))
        folder = self.layout.segment_folder(*place).parent
        if all(self.layout.segment_folder(*other).parent != folder for other in self.in_service):
            self._writer_lock.let_go(folder)  # its disk can be exchanged
        self.close_retired()

    def give_way(self, fenced: FencedError) -> None:
        """The volume is another writer's now: nothing is done to its files any more.

        Neither is it recovered in place, which would take it from the writer that followed.
        """
        for segment in self.in_service.values():
            segment.fail(str(fenced))

    def close_retired(self) -> None:
        """Closes what was retired and is neither in use nor, perhaps, about to be copied."""
        kept = []
        for place, segment in self._retired:
            if segment.busy or self.rebuilding - {place}:
                kept.append((place, segment))
            else:
                segment.close()
        self._retired = kept

    def note_damage(
        self, checked: Mapping[Place, Segment], damage: Mapping[Place, AuroraError]
    ) -> None:
        """Remembers what was found in segments, if they are still in service."""
        for place, error in damage.items():
            if self.in_service.get(place) is checked[place]:
                self.damage[place] = error

    def require_whole(self, hopeless: list[Place]) -> None:
        """Raises if there are copies that nothing can be rebuilt from, with all that is known.

        Raises
        ------
        CorruptionError
            If copies of such a group can be read in part.
        QuorumLostError
            If none is left.
        """
        if not hopeless:
            return
        group = hopeless[0][0]
        reasons = self.reasons
        told = "; ".join(str(reasons[place]) for place in hopeless if place in reasons)
        if any(place in self.in_service for place in hopeless):
            raise CorruptionError(
                f"no copy of protection group {group} is whole, so none can be rebuilt ({told}). "
                "What is good in any of them can be read: save it with dump"
            )
        raise QuorumLostError(
            f"no copy of protection group {group} is left to rebuild others from ({told})"
        )

    def require_repaired(self, stuck: list[Place]) -> None:
        """Raises the reason of the first copy that a repair could do nothing for, if there is one.

        Raises
        ------
        StorageIOError, VolumeFullError, QuorumLostError, CorruptionError
            What is wrong with it.
        """
        for group, copy in stuck:
            unknown = QuorumLostError(f"copy {copy} of protection group {group} is not rebuilt")
            raise self.reasons.get((group, copy), unknown)

    def close(self) -> None:
        """Closes every segment."""
        for segment in (*self.in_service.values(), *(segment for _, segment in self._retired)):
            segment.close()
        self.in_service.clear()
        self._retired.clear()
