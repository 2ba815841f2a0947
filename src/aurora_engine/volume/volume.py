"""One opened volume: the engine, its segments, and the thread that watches over them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from aurora_engine._ext.engine import Engine
from aurora_engine._ext.segment import Segment
from aurora_engine._ext.status import STATUSES
from aurora_engine.errors import (
    AuroraError,
    CorruptionError,
    DatabaseClosedError,
    FencedError,
    QuorumLostError,
    StorageIOError,
    VolumeFullError,
)
from aurora_engine.options import OpenOptions, Topology
from aurora_engine.types import At, RetentionReport, VerifyReport, VolumeStatus
from aurora_engine.volume import report
from aurora_engine.volume.clones import require_apart
from aurora_engine.volume.compaction import compact_copies
from aurora_engine.volume.copies import Copies
from aurora_engine.volume.layout import Layout, Metadata
from aurora_engine.volume.members import (
    Driver,
    await_catching_up,
    copy_segment,
    create_segment,
    discard_unused,
    in_parallel,
    open_segment,
    swap_in,
)
from aurora_engine.volume.messages import Failed, Place
from aurora_engine.volume.monitor import Monitor
from aurora_engine.volume.opening import Found, find_or_create
from aurora_engine.volume.past import Past
from aurora_engine.volume.progress import Listening
from aurora_engine.volume.quorums import write_quorum
from aurora_engine.volume.recovery import Recovered, Recovery
from aurora_engine.volume.repair import CopyCondition, Rebuild, Repair, RepairAction

_log = logging.getLogger("aurora_engine.volume")

VOLUME_BYTES_MAX = 128 << 40
REPAIR_DELAY_S = 5.0
COMPACT_ATTEMPTS = 3
"""If copies are lost, and come back, meanwhile, or if what came into the base exceeds the limit."""


def _named(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> Path:
    """The directory of that name; none is no name for the one that the process is in.

    Raises
    ------
    ValueError
        If it is empty.
    """
    name = os.fsdecode(path)
    if not name:
        raise ValueError("the path of a volume is empty; '.' is the directory that you are in")
    return Path(name).absolute()


class Volume:
    """A volume that this process has open for writing.

    Thread rule: every method from any thread. `_lock` guards the table of segments and serializes
    recovery and growth;
    `_repair_lock`, taken before it, lets one repair run at a time and is held while a copy is being
    made; `_compacting` does the same for compactions. The data path takes none of them.
    """

    def __init__(self, found: Found, options: OpenOptions) -> None:
        self._found = found
        metadata = found.layout.metadata
        self._lock = threading.RLock()
        self._repair_lock = threading.Lock()
        self._compacting = threading.Lock()
        self._repair = Repair(copies=metadata.copies, delay_s=REPAIR_DELAY_S)
        self._attached = False
        self._closing = False
        self._closed = False
        self.engine = Engine(
            metadata.volume_id,
            metadata.page_bytes,
            metadata.copies,
            metadata.group_pages,
            options.cache_bytes,
            VOLUME_BYTES_MAX // metadata.page_bytes,
            "ring",
            options.durability == "async",
            lock_descriptor=found.lock.descriptor,
        )
        self._copies = Copies(found.layout, self.engine, found.lock)
        self._options = options
        self.past = Past(self, self.engine, self._lock)
        self.listening = Listening()
        self._monitor = Monitor(self.engine, self._tick)

    @classmethod
    def open(
        cls, path: str | bytes | os.PathLike[str] | os.PathLike[bytes], options: OpenOptions
    ) -> Volume:
        """Opens or creates the volume in ``path`` and recovers it by quorum (I4).

        Raises
        ------
        QuorumLostError
            If too few copies can be opened to prove what is current.
        DatabaseLockedError, CorruptionError, VersionError, StorageIOError, ValueError
            As `find_or_create` says.
        """
        found = find_or_create(_named(path), options)
        try:
            volume = cls(found, options)
        except BaseException:
            found.lock.release()
            raise
        try:
            volume._start()
        except BaseException:
            volume.close()
            raise
        return volume

    @property
    def path(self) -> Path:
        """The volume's directory."""
        return self.layout.root

    @property
    def layout(self) -> Layout:
        """Where its parts lie."""
        return self._copies.layout

    @property
    def metadata(self) -> Metadata:
        """What it is."""
        return self.layout.metadata

    @property
    def segments(self) -> Mapping[Place, Segment]:
        """The open copies."""
        return self._copies.in_service

    def change_metadata(self, **changes: Any) -> None:
        """Writes the metadata anew with ``changes``, durably; the lock is held.

        Raises
        ------
        StorageIOError, VolumeFullError
            If the volume's directory cannot be written.
        """
        changed = Layout(self.layout.root, self.layout.metadata.changed(**changes))
        changed.write_metadata()
        self._copies.layout = changed

    def _start(self) -> None:
        places = list(self.layout.places())
        for place, opened in zip(
            places, in_parallel(lambda p: open_segment(self.layout, p), places), strict=True
        ):
            self._copies.adopt(place, opened)
        recovered = self._recover_and_rebuild()
        self._found.settle()
        copies = range(self.layout.metadata.copies)
        for group in range(self.layout.metadata.groups):
            self.engine.add_group([self._copies.in_service.get((group, copy)) for copy in copies])
        self._attached = True
        self._serve(recovered)
        self._monitor.start()

    def _recover(self) -> Recovered:
        """Runs a recovery over the open segments; those that fail on the way are closed."""
        metadata = self.layout.metadata
        driver = Driver(self._copies.in_service)
        machine = Recovery(
            groups=metadata.groups,
            copies=metadata.copies,
            places=self._copies.in_service,
            now_us=time.time_ns() // 1000,
        )
        actions = machine.start()
        while actions:
            replies = in_parallel(driver.carry_out, actions)
            for action, reply in zip(actions, replies, strict=True):
                if isinstance(reply, Failed):
                    self._copies.errors[action.place] = reply.error
            following = [
                machine.reply(action, reply) for action, reply in zip(actions, replies, strict=True)
            ]
            actions = [action for each in following for action in each]
        if isinstance(machine.outcome, AuroraError):
            reasons = "; ".join(
                f"copy {copy} of group {group}: {e}"
                for (group, copy), e in sorted(self._copies.errors.items())
            )
            if isinstance(machine.outcome, QuorumLostError) and reasons:
                raise QuorumLostError(f"{machine.outcome} ({reasons})")
            raise machine.outcome
        assert machine.outcome is not None
        for place in set(self._copies.in_service) - machine.outcome.members:
            self._drop(place)
        return machine.outcome

    def _drop(self, place: Place) -> None:
        """Closes a segment that did not come through a recovery."""
        if self._attached:
            self.engine.replace(*place, None)
        self._copies.drop(place)

    def _recover_and_rebuild(self) -> Recovered:
        """Recovers; if copies that lag too far cost the write quorum, makes those anew first."""
        recovered = self._recover()
        if recovered.writable or not recovered.behind:
            return recovered
        for place in sorted(recovered.behind):
            source = next(each for each in sorted(recovered.members) if each[0] == place[0])
            try:
                fresh = copy_segment(self.layout, place, self._copies.in_service[source])
                self._copies.adopt(place, swap_in(self.layout, place, fresh))
            except AuroraError as error:
                _log.warning("segment %s cannot be made anew: %s", place, error)
                self._copies.errors[place] = error
        # With too few of them made (the disks are full) what was recovered is still good to read.
        return self._recover() if self._copies.have_write_quorum() else recovered

    def _serve(self, recovered: Recovered) -> None:
        self.engine.start(
            recovered.epoch,
            recovered.vdl,
            recovered.next_lsn,
            recovered.time_us,
            list(recovered.group_lsns),
            recovered.rewinds,
        )
        self._copies.serving_writes = recovered.writable
        self.past.served(recovered.rewinds)

    # ---- watching over the copies ----

    def give_up(self, place: Place, error: AuroraError) -> None:
        """Takes a copy out of service."""
        self._copies.give_up(place, error)

    def _tick(self) -> None:
        """One look at the copies, then at the window, and what follows from it."""
        self._grow_for_waiters()
        self._repair_once({}, at_once=False)
        self.past.tick(time.monotonic())

    def _grow_for_waiters(self) -> None:
        """Commits of SQL connections have no caller here that could grow the volume for them."""
        groups = self.engine.growth_wanted
        if groups == 0:
            return
        try:
            self.grow(groups)
        except AuroraError as error:
            self.engine.refuse_growth(STATUSES[error.status_name], str(error))

    def _repair_once(
        self,
        refused: dict[Place, AuroraError],
        *,
        at_once: bool,
        progress: Callable[[int, int], bool] | None = None,
    ) -> bool:
        """Looks at the copies and does the first thing that `Repair` asks for, if it does.

        A copy that cannot be rebuilt is added to ``refused``, and what is in there is passed over.

        Raises
        ------
        AuroraError
            If a recovery in place did not work out; it is tried again later. With ``at_once`` also
            if it leaves too few copies to write.
        """
        with self._repair_lock:
            for action in self._wanted(at_once, refused):
                if isinstance(action, Rebuild):
                    error = self._rebuild(action, progress)
                    if error is not None:
                        refused[action.place] = error
                else:
                    with self._lock:
                        self.recover_in_place()
                        if at_once:
                            self._require_writable()
                return True
        return False

    def _require_writable(self) -> None:
        """Makes sure that a recovery in place was of use; another one would end as it did.

        Raises
        ------
        AuroraError
            The reason of the first copy that did not come through it; else QuorumLostError.
        """
        if self._copies.serving_writes:
            return
        missing = set(self.layout.places()) - set(self._copies.in_service)
        self._copies.require_repaired(sorted(missing))
        raise QuorumLostError("too few copies came through a recovery in place: writes are refused")

    def _wanted(self, at_once: bool, refused: Collection[Place]) -> list[RepairAction]:
        with self._lock:
            if self._closed:
                return []
            seen = self._copies.observe()
            stopped = self.engine.status().write_error
            if isinstance(stopped, FencedError):
                self._copies.give_way(stopped)
                return []
            if any(observation.condition is CopyCondition.LOST for observation in seen.values()):
                self._copies.bring_back(self.past.history.rewinds)
                seen = self._copies.observe()
                stopped = self.engine.status().write_error
            serving = self._copies.serving_writes and stopped is None
            return self._repair.observe(
                time.monotonic(), seen, serving_writes=serving, at_once=at_once, refused=refused
            )

    def _rebuild(
        self, action: Rebuild, progress: Callable[[int, int], bool] | None
    ) -> AuroraError | None:
        """Copies a healthy peer beside the lost copy, without the lock, and lets it catch up.

        The reason, if it cannot be done now. That the peer turned out to be damaged, or cannot be
        read, is none: it knows by now, and the next look at the copies finds another.
        """
        place = action.place
        with self._lock:
            source = None if self._closed else self._copies.in_service.get(action.source)
            if source is None:
                return None
            self._copies.rebuilding.add(place)
        try:
            error = self._make_anew(place, source, progress)
        except AuroraError as failure:
            error = failure
        finally:
            with self._lock:
                self._copies.rebuilding.discard(place)
                self._copies.close_retired()
        is_of_source = error is not None and (error.group, error.copy) == action.source
        if is_of_source and isinstance(error, CorruptionError | StorageIOError):
            _log.warning("segment %s has to be rebuilt from another peer: %s", place, error)
            return None
        if error is not None and not self._closing:
            _log.warning("segment %s cannot be rebuilt: %s", place, error)
            self._copies.errors[place] = error
            self._repair.failed(time.monotonic(), place)
        return error

    def _make_anew(
        self, place: Place, source: Segment, progress: Callable[[int, int], bool] | None
    ) -> AuroraError | None:
        fresh = copy_segment(self.layout, place, source, self._until_closing(progress))
        with self._lock:
            if self._closing:
                return None
            self._copies.retire(place)
            rebuilt = swap_in(self.layout, place, fresh)
            refused = self._copies.join(place, rebuilt, self.past.history.rewinds)
            if refused is not None or not self._copies.serving_writes:
                return refused
        return await_catching_up(self.engine, place, lambda: not self._closing)

    def _until_closing(
        self, progress: Callable[[int, int], bool] | None
    ) -> Callable[[int, int], bool]:
        """Progress of a copy that stops when the volume is being closed."""

        def go_on(done: int, total: int) -> bool:
            return not self._closing and (progress is None or progress(done, total))

        return go_on

    def recover_in_place(self) -> None:
        """Brings the write path back: the volatile head falls back to VDL, with a new epoch."""
        self.engine.stop()
        recovered = self._recover_and_rebuild()
        for place in self.layout.places():
            self.engine.replace(*place, self._copies.in_service.get(place))
        self._serve(recovered)
        _log.info("recovered in place at VDL %d, epoch %d", recovered.vdl, recovered.epoch)

    def heal(self, refusal: QuorumLostError) -> bool:
        """Tries to bring the write path back at once; whether it serves writes now.

        For callers whose write was refused.

        Raises
        ------
        VolumeFullError
            If want of space is the reason; as much in doubt as the refusal was.
        """
        with self._lock:
            if self._closed:
                return False
            self._copies.observe()
            if isinstance(self.engine.status().write_error, FencedError):
                return False
            self._copies.bring_back(self.past.history.rewinds)
            if self._copies.serving_writes and self.engine.status().write_error is None:
                return True
            full = [o for o in self._copies.observe().values() if o.condition is CopyCondition.FULL]
            if full:
                error = VolumeFullError(
                    f"no space for {len(full)} of the copies under {self.path}: "
                    "make room on their disks; reads go on"
                )
                error.in_doubt = refusal.in_doubt
                raise error from refusal
            if not self._copies.have_write_quorum():
                return False
            self.recover_in_place()
            return self._copies.serving_writes

    # ---- what the face asks for ----

    def grow(self, groups: int) -> None:
        """Adds protection groups until there are ``groups``.

        Raises
        ------
        QuorumLostError
            If too few zones can take a new segment.
        """
        with self._lock:
            while self.layout.metadata.groups < groups:
                self._add_group(self.layout.metadata.groups)

    def _add_group(self, group: int) -> None:
        copies = self.layout.metadata.copies
        epoch = self.engine.status().epoch

        def create(copy: int) -> Segment | AuroraError:
            place = (group, copy)
            try:
                discard_unused(self.layout, place)
                create_segment(self.layout, place, epoch)
            except AuroraError as error:
                return error
            return open_segment(self.layout, place)

        made = in_parallel(create, range(copies))
        opened = [segment for segment in made if isinstance(segment, Segment)]
        if len(opened) < write_quorum(copies):
            for segment in opened:
                segment.close()
            reasons = "; ".join(str(error) for error in made if isinstance(error, AuroraError))
            raise QuorumLostError(
                f"the volume cannot grow: too few copies of group {group} could be made ({reasons})"
            )
        self.change_metadata(groups=group + 1)
        for copy, result in enumerate(made):
            self._copies.adopt((group, copy), result)
        self.engine.add_group(
            [self._copies.in_service.get((group, copy)) for copy in range(copies)]
        )

    def status(self) -> VolumeStatus:
        """Where the volume stands, copy by copy."""
        with self._lock:
            for segment in self._copies.in_service.values():
                report.notice_missing_files(segment)
            self._copies.observe()
            return report.volume_status(
                self.layout,
                self.engine,
                self._copies.in_service,
                self._copies.reasons,
                self._copies.rebuilding,
                self.past.kept(),
            )

    def explain_retention(self) -> RetentionReport:
        """Why bytes are kept, copy by copy."""
        with self._lock:
            return report.retention(self.layout, self._copies.in_service, self.past)

    def clone(
        self,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        *,
        at: At | None,
        topology: Topology | None,
        progress: Callable[[int, int], bool] | None,
    ) -> Volume:
        """Makes a volume of its own out of this one, as it is or was at a moment, and opens it.

        Repairs wait meanwhile, and backtracks; commits and reads do not.

        Raises
        ------
        TypeError, ValueError, AuroraError
            As `Past.clone` says; and as `Volume.open` says.
        """
        root = _named(path)
        cache_bytes = self.engine.status().cache_budget_bytes
        options = self._options.for_clone(topology, cache_bytes)
        require_apart(self.layout, root, topology)
        with self.past.still(), self._repair_lock:
            self.past.clone(root, at, topology, self.listening.to(progress))
        return Volume.open(root, options)

    def verify(self) -> VerifyReport:
        """Reads and checks every byte of every copy, and the structure of every tree."""
        with self._lock:
            for segment in self._copies.in_service.values():
                report.notice_missing_files(segment)
            self._copies.observe()
            segments, errors = dict(self._copies.in_service), dict(self._copies.errors)
        verified, damaged = report.verify(self.engine, segments, errors)
        with self._lock:
            self._copies.note_damage(segments, damaged)
        return verified

    def compact(self) -> None:
        """Flushes and compacts the layers of every copy.

        A copy that is damaged, full or away is left to `status` and `repair`: only when so few
        copies of a group are left that it could not be written either, the reason is raised.
        """
        copies = self.layout.metadata.copies
        with self._compacting:
            for _ in range(COMPACT_ATTEMPTS):
                with self._lock:
                    self.past.tell_segments()
                    segments = dict(self._copies.in_service)
                failed = compact_copies(segments, copies)
                with self._lock:
                    came_back = any(self._copies.is_back(p, segments[p]) for p in failed)
                    # What deltas hold counts as history once it is compacted.
                    is_over = self.past.is_over_limit()
                if not came_back and not is_over:
                    break
        done = Counter(group for group, copy in segments if (group, copy) not in failed)
        for (group, copy), error in failed.items():
            _log.warning("copy %d of group %d was not compacted: %s", copy, group, error)
            if done[group] < write_quorum(copies):
                raise self._reason_of((group, copy), error)

    def _reason_of(self, place: Place, error: AuroraError) -> AuroraError:
        """Why a copy could not be worked on: if it was closed meanwhile, why that was."""
        if isinstance(error, DatabaseClosedError) and not self._closing:
            with self._lock:
                return self._copies.errors.get(
                    place, QuorumLostError(f"the copy at {place} was lost and came back meanwhile")
                )
        return error

    def repair(self, progress: Callable[[int, int], bool] | None = None) -> None:
        """Rebuilds every lost or damaged copy now, without the usual delay.

        Raises
        ------
        StorageIOError, VolumeFullError, QuorumLostError
            The reason of the first copy that could not be rebuilt; the others were. A copy whose
            disk is full is one of them.
        QuorumLostError, CorruptionError
            If no copy of a group is whole: there is nothing to rebuild its copies from.
        """
        refused: dict[Place, AuroraError] = {}
        progress = self.listening.to(progress)
        while self._repair_once(refused, at_once=True, progress=progress):
            pass
        for error in refused.values():
            raise error
        with self._lock:
            if not self._closed:
                seen = self._copies.observe()
                self._copies.require_whole(self._repair.hopeless(seen))
                self._copies.require_repaired(self._repair.stuck(seen))

    def close(self) -> None:
        """Stops every thread and closes every file. Idempotent."""
        self._closing = True
        self.engine.close()
        self._monitor.stop()
        with self._repair_lock, self._lock:
            if self._closed:
                return
            self._closed = True
            self.engine.destroy()
            self._copies.close()
            self._found.lock.release()
