"""The recovery state machine alone, against segments that are plain Python objects."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from aurora_engine._ext.records import FrameInfo, RewindRecord, SegmentIdentity, SegmentState
from aurora_engine.errors import QuorumLostError, StorageIOError
from aurora_engine.volume.history import TRUNCATION
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
from aurora_engine.volume.recovery import LSN_ALLOCATION_LIMIT, Recovered, Recovery

COPIES = 6


@dataclass
class FakeSegment:
    """Frames in chain order, and what was promised."""

    place: Place
    frames: list[FrameInfo] = field(default_factory=list)
    epoch: int = 0
    vdl: int = 0
    rewinds: list[RewindRecord] = field(default_factory=list)

    @property
    def scl(self) -> int:
        return self.frames[-1].last_lsn if self.frames else 0

    def surveyed(self) -> Surveyed:
        identity = SegmentIdentity(b"v" * 16, *self.place, 4096, COPIES, 64)
        state = SegmentState(
            identity=identity,
            epoch=self.epoch,
            scl=self.scl,
            vdl=self.vdl,
            health="ok",
        )
        return Surveyed(state, tuple(self.rewinds))

    def rewind(self, rewind: RewindRecord) -> None:
        if all(known.at != rewind.at for known in self.rewinds):
            self.rewinds.append(rewind)
            if rewind.kind != TRUNCATION:
                return
            self.frames = [f for f in self.frames if not rewind.to < f.last_lsn <= rewind.at]


def boxcar(
    first: int, last: int, *, groups: dict[int, tuple[int, int, int]], cpl: bool = True
) -> dict[int, FrameInfo]:
    """One boxcar's frames by group; groups maps a group to (prev, first, last) LSN."""
    return {
        group: FrameInfo(
            prev, low, high, first, last, last if cpl else 0, 0, 1, 1, group, len(groups)
        )
        for group, (prev, low, high) in groups.items()
    }


def chain(length: int) -> list[FrameInfo]:
    """One-record boxcars 1..length of a single group."""
    return [boxcar(lsn, lsn, groups={0: (lsn - 1, lsn, lsn)})[0] for lsn in range(1, length + 1)]


def run(
    segments: dict[Place, FakeSegment],
    groups: int = 1,
    dies: set[tuple[Place, type]] = frozenset(),
    dies_after: Callable[[list[Action]], bool] = lambda asked: False,
    now_us: int = 5,
) -> tuple[Recovery, list[Action]]:
    """Carries a recovery out; ``dies`` says which segment fails at which action.

    ``dies_after`` looks at what was carried out, and says whether the recovery itself dies then.
    Returns it and what it asked for.
    """
    source = random.Random(1)
    machine = Recovery(groups=groups, copies=COPIES, places=segments, now_us=now_us)
    asked: list[Action] = []
    actions = machine.start()
    while actions and not dies_after(asked):
        action = actions.pop(source.randrange(len(actions)))
        asked.append(action)
        actions += machine.reply(action, answer(segments, action, dies))
    return machine, asked


def answer(
    segments: dict[Place, FakeSegment], action: Action, dies: set[tuple[Place, type]]
) -> Reply:
    segment = segments[action.place]
    if (action.place, type(action)) in dies:
        return Failed(StorageIOError(5, "it died"))
    match action:
        case Survey():
            pass
        case Promise(missed=missed, epoch=epoch):
            for rewind in missed:
                segment.rewind(rewind)
            segment.epoch = epoch
        case Inspect(above=above):
            return Inspected(tuple(f for f in segment.frames if f.last_lsn > above))
        case CopyLog(sources=sources, upto=upto):
            have = segment.scl
            segment.frames += [f for f in segments[sources[0]].frames if have < f.last_lsn <= upto]
        case Truncate(rewind=rewind):
            segment.rewind(rewind)
    return segment.surveyed()


def volume(lengths: list[int]) -> dict[Place, FakeSegment]:
    """One group whose copies hold so many one-record frames."""
    return {
        (0, copy): FakeSegment((0, copy), chain(length), epoch=1)
        for copy, length in enumerate(lengths)
    }


def test_highest_scl_wins_and_is_written_back() -> None:
    """The trap of one un-acknowledged record on one copy.

    It is kept, and then held by a write quorum (I4).
    """
    segments = volume([5, 3, 3, 3, 3, 3])
    machine, _ = run(segments)
    assert isinstance(machine.outcome, Recovered)
    assert machine.outcome.vdl == 5
    assert [segment.scl for segment in segments.values()] == [5] * 6


def test_every_epoch_promise_comes_before_the_survey_that_counts() -> None:
    segments = volume([2] * 6)
    _, asked = run(segments)
    kinds = [type(action) for action in asked]
    assert max(i for i, kind in enumerate(kinds) if kind is Promise) < kinds.index(Inspect)
    assert all(segment.epoch == 2 for segment in segments.values())


def test_new_lsns_start_above_anything_the_dead_writer_could_have_issued() -> None:
    segments = volume([4] * 6)
    first, _ = run(segments)
    second, _ = run(segments)
    assert isinstance(first.outcome, Recovered)
    assert isinstance(second.outcome, Recovered)
    assert first.outcome.next_lsn == 4 + LSN_ALLOCATION_LIMIT + 1
    assert second.outcome.next_lsn >= first.outcome.next_lsn + LSN_ALLOCATION_LIMIT


def test_a_boxcar_that_lacks_a_group_ends_the_volume_before_it() -> None:
    """Group 1's part of boxcar 2 is nowhere: VCL stops at boxcar 1 although group 0 goes on."""
    first = boxcar(1, 2, groups={0: (0, 1, 1), 1: (0, 2, 2)})
    second = boxcar(3, 4, groups={0: (1, 3, 3), 1: (2, 4, 4)})
    segments = {(0, copy): FakeSegment((0, copy), [first[0], second[0]]) for copy in range(COPIES)}
    segments |= {(1, copy): FakeSegment((1, copy), [first[1]]) for copy in range(COPIES)}
    machine, _ = run(segments, groups=2)
    assert isinstance(machine.outcome, Recovered)
    assert machine.outcome.vdl == 2
    assert machine.outcome.group_lsns == (1, 2)
    assert all(segment.scl == (1, 2)[segment.place[0]] for segment in segments.values())


def test_vcl_is_not_the_least_pgcl() -> None:
    """Figure 3 of SIGMOD 2018: PG1 holds odd LSNs up to 103, PG2 even ones up to 104.

    VCL is 104.
    """
    odd = [boxcar(n, n, groups={0: (n - 2 if n > 2 else 0, n, n)})[0] for n in range(1, 104, 2)]
    even = [boxcar(n, n, groups={1: (n - 2, n, n)})[1] for n in range(2, 105, 2)]
    segments = {(0, copy): FakeSegment((0, copy), list(odd)) for copy in range(COPIES)}
    segments |= {(1, copy): FakeSegment((1, copy), list(even)) for copy in range(COPIES)}
    machine, _ = run(segments, groups=2)
    assert isinstance(machine.outcome, Recovered)
    assert machine.outcome.vdl == 104


def test_half_a_mini_transaction_is_cut_off() -> None:
    whole = boxcar(1, 3, groups={0: (0, 1, 3)})[0]
    part = boxcar(4, 9, groups={0: (3, 4, 9)}, cpl=False)[0]
    segments = {(0, copy): FakeSegment((0, copy), [whole, part]) for copy in range(COPIES)}
    machine, _ = run(segments)
    assert isinstance(machine.outcome, Recovered)
    assert machine.outcome.vdl == 3
    assert all(segment.scl == 3 for segment in segments.values())


def test_three_copies_open_for_reading_only() -> None:
    segments = volume([7, 7, 6])
    machine, _ = run(segments)
    assert isinstance(machine.outcome, Recovered)
    assert machine.outcome.vdl == 7
    assert not machine.outcome.writable


def test_two_copies_are_refused() -> None:
    machine, _ = run(volume([7, 7]))
    assert isinstance(machine.outcome, QuorumLostError)
    assert "only 2 of 6" in str(machine.outcome)


def test_a_copy_that_missed_rewinds_drops_what_they_truncated() -> None:
    """A copy that was away holds records that a recovery cut off; they must not come back."""
    segments = volume([5, 3, 3, 3, 3, 3])
    away = segments.pop((0, 0))
    run(segments)
    segments[0, 0] = away
    machine, _ = run(segments)
    assert isinstance(machine.outcome, Recovered)
    assert machine.outcome.vdl == 3
    assert away.scl == 3


@pytest.mark.parametrize("kind", [Survey, Promise, Inspect, CopyLog, Truncate])
def test_a_copy_that_dies_on_the_way_is_left_out(kind: type[Action]) -> None:
    segments = volume([5, 5, 5, 4, 4, 3])
    victim = (0, 5) if kind is CopyLog else (0, 0)
    machine, _ = run(segments, dies={(victim, kind)})
    assert isinstance(machine.outcome, Recovered)
    assert victim not in machine.outcome.members
    assert machine.outcome.vdl == 5


class TestTruncationThatReachedAMinority:
    """A recovery sees copies 0, 1 and 2, truncates copies 0 and 1, and dies.

    Copies 3, 4 and 5, which it does not see, alone hold record 13: with three copies it was never
    acknowledged, so a later recovery may keep it or cut it off, but the volume must agree.
    """

    SEEN, UNSEEN = (0, 1, 2), (3, 4, 5)

    def cut_short(self) -> dict[Place, FakeSegment]:
        """The six copies after it, with a history that they share."""
        segments = volume([0] * COPIES)
        first, _ = run(segments)
        assert isinstance(first.outcome, Recovered)
        old, new = self.records(first.outcome, 2)
        for (_, copy), segment in segments.items():
            segment.frames = [old, new] if copy in self.UNSEEN else [old]

        def truncated_two(asked: list[Action]) -> bool:
            return sum(isinstance(action, Truncate) for action in asked) == 2

        seen = {(0, copy): segments[0, copy] for copy in self.SEEN}
        machine, asked = run(seen, dies_after=truncated_two)
        assert machine.outcome is None
        self.truncated = {a.place for a in asked if isinstance(a, Truncate)}
        assert len(self.truncated) == 2
        self.old, self.new = old.last_lsn, new.last_lsn
        return segments

    @staticmethod
    def records(recovered: Recovered, count: int) -> list[FrameInfo]:
        """Boxcars of one record, as the writer ships them that begins after a recovery."""
        lsns = range(recovered.next_lsn, recovered.next_lsn + count)
        return [
            boxcar(lsn, lsn, groups={0: (recovered.vdl if lsn == lsns[0] else lsn - 1, lsn, lsn)})[
                0
            ]
            for lsn in lsns
        ]

    def test_it_counts_when_the_next_recovery_sees_it(self) -> None:
        """The rewind is given to the copies that missed it, before anything else."""
        segments = self.cut_short()
        machine, _ = run(segments)
        assert isinstance(machine.outcome, Recovered)
        assert machine.outcome.vdl == self.old
        assert machine.outcome.members == set(segments)
        assert {segment.scl for segment in segments.values()} == {self.old}
        assert len({tuple(segment.rewinds) for segment in segments.values()}) == 1
        assert machine.outcome.next_lsn > self.new + LSN_ALLOCATION_LIMIT

    def test_it_is_overruled_when_the_next_recovery_does_not_see_it(self) -> None:
        """The two copies come back to a history that kept what they dropped: they are made anew."""
        segments = self.cut_short()
        others = {place: each for place, each in segments.items() if place not in self.truncated}
        second, _ = run(others)
        assert isinstance(second.outcome, Recovered)
        assert second.outcome.vdl == self.new
        before = {place: list(segments[place].frames) for place in self.truncated}
        third, asked = run(segments)
        assert isinstance(third.outcome, Recovered)
        assert third.outcome.vdl == self.new
        assert third.outcome.members == set(others)
        assert third.outcome.behind == self.truncated
        assert third.outcome.writable
        assert {type(a) for a in asked if a.place in self.truncated} == {Survey}
        assert {place: segments[place].frames for place in self.truncated} == before

    def test_it_does_not_help_to_make_a_read_quorum(self) -> None:
        """Two good copies and an overruled one prove nothing: the error says what it is."""
        segments = self.cut_short()
        others = {place: each for place, each in segments.items() if place not in self.truncated}
        run(others)
        stale = min(self.truncated)
        few = {place: segments[place] for place in (*sorted(others)[:2], stale)}
        machine, _ = run(few)
        assert isinstance(machine.outcome, QuorumLostError)
        assert "only 2 of 6" in str(machine.outcome)
        assert "must be rebuilt" in str(machine.outcome)


def test_two_openings_for_reading_only_that_did_not_see_each_other_agree() -> None:
    """Each half of the copies is recovered on its own: the same rewind twice, but for its time."""
    segments = volume([4] * COPIES)
    halves = ([0, 1, 2], [3, 4, 5])
    for now_us, half in enumerate(halves):
        machine, _ = run({(0, copy): segments[0, copy] for copy in half}, now_us=now_us)
        assert isinstance(machine.outcome, Recovered)
        assert not machine.outcome.writable
    assert len({rewind for segment in segments.values() for rewind in segment.rewinds}) == 2
    for mixed in ([0, 1, 3], [2, 4, 5], range(COPIES)):
        machine, _ = run({(0, copy): segments[0, copy] for copy in mixed}, now_us=9)
        assert isinstance(machine.outcome, Recovered)
        assert machine.outcome.vdl == 4
        assert machine.outcome.members == {(0, copy) for copy in mixed}
