"""The past of an opened volume: views of it, going back to it, and how much of it is kept.

The decisions are made by `history` and `retention`, which do no I/O; here they meet the engine and
the copies.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Any, Protocol, SupportsIndex

from aurora_engine._ext.engine import Engine
from aurora_engine._ext.records import RewindRecord
from aurora_engine._ext.segment import Segment
from aurora_engine._ext.segment_snapshot import Snapshot
from aurora_engine._ext.transaction import Txn
from aurora_engine.errors import AuroraError, QuorumLostError, SnapshotTooOldError
from aurora_engine.options import Topology
from aurora_engine.types import At, Rewind
from aurora_engine.volume.backtracks import record, rewind_of
from aurora_engine.volume.clones import Origin, make_clone, pin_copies
from aurora_engine.volume.history import BACKTRACK, Bounds, History, Moment, time_of, who_asks
from aurora_engine.volume.layout import Metadata
from aurora_engine.volume.lineage import Lineage
from aurora_engine.volume.messages import Place
from aurora_engine.volume.retention import Cause, CopyUsage, Retention, Usage

_log = logging.getLogger("aurora_engine.volume")

HOLD_S = 30.0
"""How long a backtrack waits for what was committed to become durable."""

RETENTION_S = 0.5
"""How often it is looked at where the window begins."""


class Keeper(Protocol):
    """What the past needs of the volume, called with the volume's lock held."""

    @property
    def metadata(self) -> Metadata:
        """What the volume is."""

    @property
    def segments(self) -> Mapping[Place, Segment]:
        """The open copies."""

    def change_metadata(self, **changes: Any) -> None:
        """Writes the metadata anew, durably."""

    def give_up(self, place: Place, error: AuroraError) -> None:
        """Takes a copy out of service."""

    def recover_in_place(self) -> None:
        """Recovers over the open copies; the engine goes on where that says."""

    def heal(self, refusal: QuorumLostError) -> bool:
        """Tries to bring the write path back; whether it serves writes now."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is retained at one moment, for reports."""

    bounds: Bounds
    oldest: Moment
    usage: Usage
    limit: int


class Past:
    """The past of one volume.

    Thread rule: every method from any thread. The volume's lock is held where history changes, so
    that neither a monitor nor a repair comes in between. `still`, taken before it, keeps history
    from being rewritten for longer.
    """

    def __init__(self, keeper: Keeper, engine: Engine, lock: RLock) -> None:
        self._keeper = keeper
        self._engine = engine
        self._lock = lock
        self._history = History(())
        self._rewriting = RLock()
        self._looked_at = 0.0
        self._cause: Cause = "window"
        metadata = keeper.metadata
        self._oldest = Moment(0, metadata.created_us)
        self._creation = 0
        self._retention = Retention(metadata.backtrack_window, metadata.history_bytes)

    def served(self, rewinds: Lineage) -> None:
        """The engine was started, or started again, with these rewinds."""
        self._history = History(rewinds)
        # What some copy has collected already, no copy is asked for any more.
        states = [segment.state() for segment in self._keeper.segments.values()]
        self._engine.horizon = max((state.horizon for state in states), default=0)

    def bounds(self) -> Bounds:
        """What can be asked for now."""
        horizon = self._engine.horizon
        vdl = self._engine.status().vdl
        creation = self._creation_below(vdl) if horizon == 0 else 0
        return Bounds(
            max(horizon, creation),
            vdl,
            time.time_ns() // 1000,
            self._keeper.metadata.created_us,
            tuple(self._engine.pins(horizon)),
            creation,
        )

    def _creation_below(self, vdl: int) -> int:
        """The LSN of the first commit of all, by which the volume was made; 0 when none is known.

        Before it there is no moment to be seen: pages that every volume has are not there.
        """
        if self._creation == 0:
            try:
                self._creation = self._first_commit(vdl)
            except AuroraError as error:
                # No copy can tell just now.
                _log.warning("when the volume was made cannot be read: %s", error)
        return self._creation

    def _first_commit(self, upto: int) -> int:
        below, found = 0, 0
        while below < upto:
            middle = (below + upto) // 2
            commit = self._engine.commit_at_lsn(middle + 1)
            if commit is None:
                below = middle + 1
            else:
                found, upto = commit[0], min(commit[0] - 1, middle)
        return found

    # ---- looking ----

    def resolve(self, at: At) -> int:
        """The LSN of a moment; raises as `History.resolve` does."""
        bounds = self.bounds()  # first: what lies below its VDL is in the history by now
        return self._history.resolve(at, self._engine, bounds)

    def moment(self, lsn: int) -> Moment:
        """A moment, and since when it was the present."""
        bounds = self.bounds()
        found = self._history.at_lsn(self._engine, lsn)
        return Moment(lsn, bounds.created_us if found is None else found.time_us)

    def time(self, lsn: int) -> datetime:
        """Since when a moment was the present, in UTC.

        Raises
        ------
        ValueError
            If the LSN is negative, or no commit has got it yet.
        """
        head = self._engine.status().head
        if not 0 <= lsn <= head:
            raise ValueError(f"no commit has LSN {lsn}; the newest one has {head}")
        return time_of(self.moment(lsn).time_us)

    def _await_moment(self, at: At) -> None:
        """Lets a commit that is named by its LSN become durable: it may be the caller's own.

        Raises
        ------
        QuorumLostError, StorageIOError
            If it does not become so.
        """
        if isinstance(at, SupportsIndex):
            lsn, status = at.__index__(), self._engine.status()
            if status.vdl < lsn <= status.head:
                self._engine.wait_durable(lsn)

    def view(self, at: At) -> Txn:
        """A read-only transaction at a moment.

        Raises
        ------
        TypeError, ValueError, SnapshotTooOldError
            If there is no such moment, or not any more.
        QuorumLostError, StorageIOError
            As `_await_moment` says.
        """
        self._await_moment(at)
        lsn = self.resolve(at)
        try:
            return self._engine.view(lsn)
        except SnapshotTooOldError as refused:
            # The horizon passed it just now.
            raise self._history.too_old(str(at), self._engine, self.bounds()) from refused

    @contextmanager
    def pinned(self, at: At) -> Iterator[int]:
        """The LSN of a moment, which is retained until the end of the block."""
        view = self.view(at)
        try:
            yield view.read_point
        finally:
            view.rollback()

    def rewinds(self) -> list[Rewind]:
        """The backtracks that were made, oldest first."""
        return [rewind_of(each) for each in self._history.backtracks]

    @property
    def history(self) -> History:
        """The rewinds of the volume."""
        return self._history

    # ---- going back ----

    def still(self) -> AbstractContextManager[object]:
        """Nobody makes a backtrack inside of the block."""
        return self._rewriting

    def clone(
        self,
        root: Path,
        at: At | None,
        topology: Topology | None,
        progress: Callable[[int, int], bool] | None,
    ) -> None:
        """Makes a volume of its own out of a moment; to be called while `still`.

        Raises
        ------
        TypeError, ValueError, SnapshotTooOldError
            As with `view`.
        ValueError, StorageIOError, VolumeFullError, CorruptionError, DatabaseLockedError
            As `make_clone` says.
        """
        if at is not None:
            self._await_moment(at)
        copies: dict[Place, Snapshot] = {}
        try:
            with ExitStack() as stack:
                with self._lock, self._held() as rewind_point:
                    if at is None:
                        vdl, rewind = self._engine.durable_lsn, None
                    else:
                        lsn = stack.enter_context(self.pinned(at))
                        vdl, rewind = rewind_point, self._draft(rewind_point, lsn)
                    pin_copies(self._keeper.segments, copies)
                origin = Origin(self._keeper.metadata, copies, vdl, rewind)
                make_clone(origin, root, topology, progress)
        finally:
            for pinned in copies.values():
                pinned.release()

    @contextmanager
    def _held(self) -> Iterator[int]:
        """Commits wait until the end of the block; yields VDL, up to which all is durable."""
        try:
            try:
                point = self._hold()
            except QuorumLostError:
                # Nothing is committed then anyway, and what is durable can be read. Rewinds come in
                # the order of their LSNs, above what the last recovery skipped.
                skipped = max((rewind.at for rewind in self._history.rewinds), default=0)
                point = max(self._engine.durable_lsn, skipped + 1)
            yield point
        finally:
            self._release()

    def backtrack(self, to: At, *, dry_run: bool) -> Rewind:
        """Makes a moment the present again; O(1) in distance and size.

        Raises
        ------
        TypeError, ValueError, SnapshotTooOldError
            As with `view`. Nothing was done.
        VolumeFullError
            If so many backtracks are retained that no more can be recorded. Nothing was done.
        TimeoutError
            If what was committed did not become durable in time. Nothing was done.
        QuorumLostError
            If too few copies can record it. With ``in_doubt`` set, it may have been done all the
            same: the next recovery decides.
        """
        self._await_moment(to)
        with self.still(), self._lock, self.pinned(to) as lsn:
            if dry_run:
                return rewind_of(self._draft(self._engine.status().vdl, lsn), dry_run=True)
            made = self._rewind(lsn)
        _log.info("backtracked from LSN %d to LSN %d", made.at, made.to)
        return rewind_of(made)

    def _draft(self, here: int, to: int) -> RewindRecord:
        newest = self._history.at_lsn(self._engine, here)
        return RewindRecord(
            at=here,
            to=to,
            epoch=self._engine.status().epoch,
            time_us=max(time.time_ns() // 1000, newest.time_us if newest is not None else 0),
            kind=BACKTRACK,
            lost_commits=self._history.commits_left_behind(self._engine, here, to),
            who=who_asks(),
        )

    def _rewind(self, to: int) -> RewindRecord:
        """Holds commits, records the rewind in every copy, and lets the engine go on from it."""
        metadata = self._keeper.metadata
        in_doubt = False
        try:
            here = self._hold()
            made = self._draft(here, to)
            in_doubt = True
            recorded = record(
                self._keeper.segments, made, groups=metadata.groups, copies=metadata.copies
            )
            if recorded.refused is not None:
                in_doubt = False
                raise recorded.refused
            for place, error in recorded.failures.items():
                self._keeper.give_up(place, error)
            if recorded.certain:
                self._go_on_from(made)
                in_doubt = False
                return made
        finally:
            try:
                if in_doubt:
                    # A recovery may find it on one copy only, and finish it: no commit may come
                    # before.
                    self._engine.stop()
            finally:
                self._release()
        return self._settle(made, recorded.failures)

    def _go_on_from(self, made: RewindRecord) -> None:
        """Lets the engine go on; whoever sees it there finds the rewind in the history already.

        Without, the LSN of the rewind would be taken for one behind the newest commit before it.
        """
        before = self._history
        self._history = History((*before.rewinds, made))
        try:
            self._engine.rewind(made)
        except BaseException:
            self._history = before
            raise

    def _hold(self) -> int:
        try:
            return self._engine.hold(HOLD_S)
        except QuorumLostError as refusal:
            if not self._keeper.heal(refusal):
                raise
        return self._engine.hold(HOLD_S)

    def _release(self) -> None:
        # Ctrl-C may have come when commits were held already, and nobody had been told.
        if self._engine.holds:
            self._engine.release()

    def _settle(self, made: RewindRecord, failures: Mapping[Place, AuroraError]) -> RewindRecord:
        """Too few copies have it: a recovery in place decides whether it was made.

        Raises
        ------
        QuorumLostError
            If it was not, or if the recovery has too few copies itself.
        """
        reasons = "; ".join(f"copy {copy} of group {g}: {e}" for (g, copy), e in failures.items())
        refused = QuorumLostError(
            f"the backtrack from LSN {made.at} to LSN {made.to} could not be recorded by enough "
            f"copies ({reasons}). Bring copies back; status() says which are there"
        )
        try:
            self._keeper.recover_in_place()
        except AuroraError as error:
            refused.in_doubt = True
            raise refused from error
        if any(
            (r.kind, r.at, r.to) == (made.kind, made.at, made.to) for r in self._history.rewinds
        ):
            return made
        raise refused

    # ---- keeping ----

    @property
    def retention(self) -> Retention:
        """The policy in force."""
        return self._retention

    def kept(self) -> Kept:
        """What is retained now."""
        bounds, usage = self.bounds(), self._usage()
        try:
            self._oldest = self._history.oldest(self._engine, bounds)
        except AuroraError as error:
            # No copy can tell just now: what was true last is reported.
            _log.warning("since when history is retained cannot be read: %s", error)
        return Kept(bounds, self._oldest, usage, self._retention.limit(usage.live_bytes))

    def _usage(self) -> Usage:
        states = [segment.state() for segment in self._keeper.segments.values()]
        return Usage.of(
            CopyUsage(
                s.identity.group, s.live_bytes, s.history_bytes - s.delta_bytes, s.garbage_bytes
            )
            for s in states
        )

    def set_window(self, window: timedelta) -> None:
        """Changes how far back every moment is kept, for now and for later openings."""
        with self._lock:
            self._keeper.change_metadata(backtrack_window_s=window.total_seconds())
            self._retention = replace(self._retention, window=window)
            self._move_horizon()

    def set_history_bytes(self, limit: int | None) -> None:
        """Changes the limit of history, for now and for later openings."""
        with self._lock:
            self._keeper.change_metadata(history_bytes=limit)
            self._retention = replace(self._retention, history_bytes=limit)
            self._move_horizon()

    def tick(self, now_s: float) -> None:
        """Moves the horizon on, now and then; the monitor calls it."""
        if now_s - self._looked_at < RETENTION_S:
            return
        self._looked_at = now_s
        with self._lock:
            self._move_horizon()

    def _move_horizon(self) -> None:
        bounds = self.bounds()
        decision = self._retention.decide(self._history, self._engine, bounds, self._usage())
        if decision is not None:
            self._engine.horizon = decision.horizon
            self._cause = decision.cause
            self._retain()

    def _retain(self) -> None:
        """Tells the segments now, not when the storage worker comes by.

        What they can collect counts when it is looked at the next time.
        """
        # In this order: nobody can pin a moment below a horizon that is passed.
        horizon = self._engine.horizon
        pins = self._engine.pins(horizon)
        for segment in self._keeper.segments.values():
            segment.retain(horizon, pins)

    def is_over_limit(self) -> bool:
        """Whether history takes more than it may, so that the horizon is going to move."""
        return self._retention.is_over_limit(self._usage())

    def tell_segments(self) -> None:
        """Moves the horizon on, and tells the segments also when it stays: pins come and go."""
        with self._lock:
            self._move_horizon()
            self._retain()

    @property
    def cause(self) -> Cause:
        """Why the oldest moment that is retained is not an older one."""
        return self._cause if self._engine.horizon > 0 else "creation"
