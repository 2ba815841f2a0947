"""The order of a backtrack, and what comes of copies that fail: with an engine that only notes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aurora_engine._ext.engine import Engine
from aurora_engine._ext.records import RewindRecord, SegmentIdentity, SegmentState
from aurora_engine.errors import AuroraError, QuorumLostError, StorageIOError, VolumeFullError
from aurora_engine.volume.history import Bounds
from aurora_engine.volume.past import Keeper, Past

COPIES = 6
HEAD = 100


class FakeView:
    def __init__(self, lsn: int) -> None:
        self.read_point = lsn
        self.open = True

    def rollback(self) -> None:
        self.open = False


@dataclass
class FakeEngine:
    """Notes what is asked of it, in order; a commit at every tenth LSN."""

    calls: list[str] = field(default_factory=list)
    refusals: list[AuroraError] = field(default_factory=list)
    views: list[FakeView] = field(default_factory=list)
    vdl: int = HEAD
    horizon: int = 0
    holds: bool = False

    @property
    def durable_lsn(self) -> int:
        return self.vdl

    def status(self) -> Any:
        return SimpleNamespace(vdl=self.vdl, epoch=7)

    def pins(self, below: int) -> list[int]:
        return []

    def view(self, lsn: int) -> FakeView:
        self.views.append(FakeView(lsn))
        return self.views[-1]

    def commit_at_lsn(self, lsn: int) -> tuple[int, int] | None:
        return (lsn // 10 * 10, 1) if lsn >= 10 else None

    def commit_at_time(self, time_us: int) -> tuple[int, int] | None:
        return self.commit_at_lsn(self.vdl)

    def count_commits(self, after: int, upto: int) -> int:
        return upto // 10 - after // 10

    def hold(self, timeout: float) -> int:
        self.calls.append("hold")
        if self.refusals:
            raise self.refusals.pop()
        self.holds = True
        return self.vdl

    def rewind(self, record: RewindRecord) -> None:
        self.calls.append("rewind")
        self.vdl = record.at + 1

    def stop(self) -> None:
        self.calls.append("stop")

    def release(self) -> None:
        self.calls.append("release")
        self.holds = False


@dataclass
class FakeCopy:
    fails: bool = False
    recorded: list[RewindRecord] = field(default_factory=list)
    health: Any = "ok"
    refuses: bool = False

    def rewind(self, record: RewindRecord) -> None:
        if self.refuses:
            raise VolumeFullError("too many rewinds")
        if self.fails:
            self.health = "failed"
            raise StorageIOError(5, "it died")
        self.recorded.append(record)

    def state(self) -> SegmentState:
        identity = SegmentIdentity(b"v" * 16, 0, 0, 4096, 6, 64)
        return SegmentState(identity=identity, epoch=7, scl=0, vdl=0, health=self.health)


class FakeKeeper:
    """A volume of one group, some copies of which fail when they are asked to record."""

    def __init__(self, failing: int) -> None:
        self.metadata = SimpleNamespace(
            groups=1,
            copies=COPIES,
            created_us=1,
            backtrack_window=timedelta(hours=72),
            history_bytes=None,
        )
        self.segments = {(0, copy): FakeCopy(fails=copy < failing) for copy in range(COPIES)}
        self.engine = FakeEngine()
        self.past = Past(cast(Keeper, self), cast(Engine, self.engine), threading.RLock())
        self.given_up: list[tuple[int, int]] = []
        self.recovery: Any = None
        self.heals = True

    def give_up(self, place: tuple[int, int], error: AuroraError) -> None:
        self.engine.calls.append("give up")
        self.given_up.append(place)

    def recover_in_place(self) -> None:
        self.engine.calls.append("recover")
        if isinstance(self.recovery, AuroraError):
            raise self.recovery
        self.past.served(self.recovery)

    def heal(self, refusal: QuorumLostError) -> bool:
        self.engine.calls.append("heal")
        return self.heals


def test_all_copies_record_it() -> None:
    keeper = FakeKeeper(0)
    point = keeper.past.backtrack(42, dry_run=False)
    assert keeper.engine.calls == ["hold", "rewind", "release"]
    assert (point.from_lsn, point.to_lsn, point.lsn, point.lost_commits) == (HEAD, 40, HEAD + 1, 6)
    assert all(copy.recorded[0].epoch == 7 for copy in keeper.segments.values())
    assert keeper.past.rewinds() == [point]
    assert not any(view.open for view in keeper.engine.views)


def test_its_own_moment_is_never_taken_for_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By who looks as soon as the engine has gone on, or has begun to look before."""
    keeper = FakeKeeper(0)
    past, engine, bounds = keeper.past, keeper.engine, keeper.past.bounds
    seen = []

    def goes_on(record: RewindRecord) -> None:
        engine.vdl = record.at + 1
        seen.append(past.resolve(record.at + 1))

    def bounds_after_it() -> Bounds:
        monkeypatch.setattr(past, "bounds", bounds)
        past.backtrack(40, dry_run=False)
        return bounds()

    monkeypatch.setattr(engine, "rewind", goes_on)
    monkeypatch.setattr(past, "bounds", bounds_after_it)
    assert past.resolve(HEAD + 1) == HEAD + 1
    assert seen == [HEAD + 1]


def test_two_copies_that_fail_are_given_up_while_commits_are_held() -> None:
    keeper = FakeKeeper(2)
    keeper.past.backtrack(40, dry_run=False)
    assert keeper.engine.calls == ["hold", "give up", "give up", "rewind", "release"]
    assert keeper.given_up == [(0, 0), (0, 1)]


def test_three_that_fail_leave_it_to_a_recovery() -> None:
    done = FakeKeeper(3)
    done.recovery = [RewindRecord(HEAD, 40, 7, 1, 2, 6, "ada"), RewindRecord(9999, 101, 8, 1, 1)]
    point = done.past.backtrack(40, dry_run=False)
    # Nobody commits between what some copies have recorded and the recovery that decides.
    assert done.engine.calls[-3:] == ["stop", "release", "recover"]
    assert [each.to_lsn for each in done.past.rewinds()] == [point.to_lsn]

    never = FakeKeeper(3)
    never.recovery = [RewindRecord(9999, 100, 8, 1, 1)]
    with pytest.raises(QuorumLostError, match=r"copy 2 of group 0: .*it died") as refused:
        never.past.backtrack(40, dry_run=False)
    assert not refused.value.in_doubt
    assert never.past.rewinds() == []

    nobody_knows = FakeKeeper(5)
    nobody_knows.recovery = QuorumLostError("only one copy is left")
    with pytest.raises(QuorumLostError) as refused:
        nobody_knows.past.backtrack(40, dry_run=False)
    assert refused.value.in_doubt


def test_a_write_path_that_is_down_is_healed_first() -> None:
    keeper = FakeKeeper(0)
    keeper.engine.refusals.append(QuorumLostError("down"))
    keeper.past.backtrack(40, dry_run=False)
    assert keeper.engine.calls == ["hold", "heal", "hold", "rewind", "release"]
    keeper.engine.refusals.append(QuorumLostError("down"))
    keeper.heals = False
    with pytest.raises(QuorumLostError, match="down"):
        keeper.past.backtrack(40, dry_run=False)


def test_a_dry_run_holds_nobody() -> None:
    keeper = FakeKeeper(0)
    assert keeper.past.backtrack(40, dry_run=True).dry_run
    assert keeper.engine.calls == []
    assert not any(copy.recorded for copy in keeper.segments.values())


def test_an_interrupt_half_way_stops_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = FakeKeeper(0)

    def interrupted(record: RewindRecord) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(keeper.engine, "rewind", interrupted)
    with pytest.raises(KeyboardInterrupt):
        keeper.past.backtrack(40, dry_run=False)
    assert keeper.engine.calls == ["hold", "stop", "release"]
    assert keeper.past.rewinds() == []
    assert not any(view.open for view in keeper.engine.views)


def test_what_every_copy_refuses_changes_nothing() -> None:
    keeper = FakeKeeper(0)
    for copy in keeper.segments.values():
        copy.refuses = True
    with pytest.raises(VolumeFullError, match="too many") as refused:
        keeper.past.backtrack(40, dry_run=False)
    assert not refused.value.in_doubt
    assert keeper.engine.calls == ["hold", "release"]
    assert keeper.given_up == []
