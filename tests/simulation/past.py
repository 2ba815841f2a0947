"""What the simulated volume does with its past: views, backtracks, collection."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.simulation.model import State, Violation
from tests.simulation.storage import COPIES
from tests.simulation.world import World

from aurora_engine._ext.cursor import Cursor
from aurora_engine._ext.records import RewindRecord
from aurora_engine._ext.transaction import Txn
from aurora_engine.errors import (
    AuroraError,
    ConflictError,
    CorruptionError,
    QuorumLostError,
    SnapshotTooOldError,
)
from aurora_engine.volume.history import BACKTRACK, History
from aurora_engine.volume.quorums import write_quorum
from aurora_engine.volume.recovery import Recovery

VIEWS_MAX = 4


@dataclass
class OpenView:
    """A view that stays open, and what it must show until it is closed."""

    transaction: Txn
    lsn: int
    expected: State


class PastActions(World):
    """The world, and what is done with its past."""

    def __init__(
        self, seed: int, *, planted_bugs: int = 0, recovery: type[Recovery] = Recovery
    ) -> None:
        self._views: list[OpenView] = []
        super().__init__(seed, planted_bugs=planted_bugs, recovery=recovery)

    def _drop_engine(self) -> None:
        self.close_views()
        super()._drop_engine()

    # ---- views ----

    def look_back(self) -> None:
        """I6: a view of any retained moment, abandoned ones too, shows the model at that moment."""
        horizon = self.engine.horizon
        moments = self.model.moments(horizon)
        if not moments:
            return
        lsn = self.source.choice(moments)
        view = OpenView(self.engine.view(lsn), lsn, self.model.state_at(lsn))
        self.check_view(view)
        self.note("looked back", lsn, len(view.expected))
        if self.source.random() < 0.3 and len(self._views) < VIEWS_MAX:
            self._views.append(view)
        else:
            view.transaction.rollback()

    def look_again(self) -> None:
        """An open view still shows what it showed, whatever was rewound or collected since."""
        if self._views:
            view = self.source.choice(self._views)
            self.check_view(view)
            self.note("looked again", view.lsn)
            if self.source.random() < 0.3:
                self._views.remove(view)
                view.transaction.rollback()

    @staticmethod
    def check_view(view: OpenView) -> None:
        try:
            found = dict(Cursor(view.transaction, None))
        except (CorruptionError, QuorumLostError) as error:
            raise Violation(f"I5: damage reached a view at {view.lsn}: {error}") from error
        if found != view.expected:
            wrong = {key for key, _ in found.items() ^ view.expected.items()}
            raise Violation(f"I6: view at {view.lsn} differs at {sorted(wrong)[:3]}")

    def close_views(self) -> None:
        """Before the engine goes."""
        for view in self._views:
            view.transaction.rollback()
        self._views.clear()

    def raise_horizon(self) -> None:
        """The window moves on: what lies before it may be collected, and is refused (I7)."""
        moments = self.model.moments(self.engine.horizon)
        if not moments:
            return
        horizon = self.source.choice(moments)
        self.engine.horizon = horizon
        self.note("horizon", horizon)
        pinned = {view.lsn for view in self._views}
        below = [lsn for lsn in self.model.moments(0) if lsn < horizon and lsn not in pinned]
        if below:
            lsn = self.source.choice(below)
            try:
                self.engine.view(lsn).rollback()
            except SnapshotTooOldError:
                return
            raise Violation(f"I7: a view at {lsn} was given although the horizon is {horizon}")

    # ---- backtracks ----

    def backtrack(self) -> None:
        """Any retained moment becomes the present again; sometimes everything dies on the way."""
        self.settle()
        moments = self.model.moments(self.engine.horizon)
        if not moments:
            return
        running = Txn(self.engine)
        running.put(None, b"late", b"write")
        try:
            here = self.engine.hold(0)
        except (AuroraError, TimeoutError) as refused:
            self.note("not held", type(refused).__name__)
            running.rollback()
            return
        rewind = self._planned(here, self.source.choice(moments))
        copies = sorted(
            place for place, node in self.storage.nodes.items() if node.segment is not None
        )
        self.source.shuffle(copies)
        dies = self.source.random() < 0.2
        recorded = self._record(
            rewind, copies[: self.source.randrange(len(copies))] if dies else copies
        )
        certain = not dies and all(
            recorded[group] >= write_quorum(COPIES) for group in range(self.storage.groups)
        )
        self.note("backtrack", here, rewind.to, sorted(recorded.items()), certain)
        if certain:
            self.engine.rewind(rewind)
            self.rewinds.append(rewind)
            self.model.backtracked(here, rewind.to)
        self.engine.release()
        if not certain:
            running.rollback()
            self.model.doubtful = (here, rewind.to)
            self.crash(power_cut=self.source.random() < 0.5)
            return
        try:
            running.commit(False)
        except ConflictError:
            return
        raise Violation("a transaction that began before a backtrack was committed after it")

    def _planned(self, here: int, to: int) -> RewindRecord:
        before, after = ({lsn for lsn, _ in self.model.visible(end)} for end in (here, to))
        counted = History(self.rewinds).commits_left_behind(self.engine, here, to)
        if counted != len(before - after):
            raise Violation(f"{counted} commits would be left behind, not {len(before - after)}")
        epoch = self.engine.status().epoch
        return RewindRecord(here, to, epoch, self.clock.now_us, BACKTRACK, counted, "simulation")

    def _record(self, rewind: RewindRecord, places: list[tuple[int, int]]) -> Counter[int]:
        recorded: Counter[int] = Counter()
        for place in places:
            node = self.storage.nodes[place]
            assert node.segment is not None
            try:
                node.segment.rewind(rewind)
            except AuroraError as error:
                self._must_be_suspect(node, error)
                self.engine.replace(*place, None)
                self.storage.close(node)
            else:
                recorded[place[0]] += 1
        return recorded
