"""Recovery of volumes that were backtracked: what VDL is, and who wins when copies disagree."""

from __future__ import annotations

from typing import Any

import pytest
from tests.python.test_recovery_machine import COPIES, FakeSegment, answer, boxcar, run, volume
from tests.volumes import seeded

from aurora_engine._ext.records import FrameInfo, RewindRecord
from aurora_engine.errors import QuorumLostError
from aurora_engine.volume.history import BACKTRACK, TRUNCATION, History
from aurora_engine.volume.lineage import (
    REWINDS_KEPT,
    left_lineage,
    lineage_of,
    missed_rewinds,
)
from aurora_engine.volume.messages import Place, Promise
from aurora_engine.volume.recovery import LSN_ALLOCATION_LIMIT, Recovered, Recovery

TIME_US = 1000


def backtrack(at: int, to: int, epoch: int = 1, **more: Any) -> RewindRecord:
    return RewindRecord(at, to, epoch, TIME_US, BACKTRACK, **more)


def recovered(segments: dict[Place, FakeSegment]) -> Recovered:
    machine, _ = run(segments)
    assert isinstance(machine.outcome, Recovered), machine.outcome
    assert all(
        segments[place].rewinds[-1] == machine.outcome.rewinds[-1]
        for place in members(machine.outcome)
    )
    return machine.outcome


def members(outcome: Recovered) -> list[Place]:
    return sorted(outcome.members)


def give(
    segments: dict[Place, FakeSegment], rewind: RewindRecord, copies: range | list[int]
) -> None:
    for copy in copies:
        segments[0, copy].rewinds.append(rewind)


def write(segments: dict[Place, FakeSegment], lsn: int, copies: range = range(COPIES)) -> None:
    """One more record on some copies, linked to the last one that they have."""
    for copy in copies:
        segment = segments[0, copy]
        segment.frames.append(one(segment.scl, lsn))


def one(prev: int, lsn: int) -> FrameInfo:
    return boxcar(lsn, lsn, groups={0: (prev, lsn, lsn)})[0]


def test_the_first_moment_after_a_backtrack_is_vdl() -> None:
    segments = volume([9] * COPIES)
    give(segments, backtrack(9, 4), range(COPIES))
    outcome = recovered(segments)
    assert outcome.vdl == 10
    assert outcome.group_lsns == (9,)
    assert outcome.next_lsn == 10 + LSN_ALLOCATION_LIMIT + 1
    assert outcome.time_us == TIME_US
    assert [(r.at, r.to, r.kind) for r in outcome.rewinds] == [
        (9, 4, BACKTRACK),
        (10 + LSN_ALLOCATION_LIMIT, 10, TRUNCATION),
    ]
    assert History(outcome.rewinds).visible(outcome.next_lsn)[1:] == [(9, 10), (0, 4)]


def test_records_after_a_backtrack_are_found() -> None:
    """None has the LSN of the new history's first moment: 11 follows 9."""
    segments = volume([9] * COPIES)
    give(segments, backtrack(9, 4), range(COPIES))
    write(segments, 11)
    write(segments, 12, range(3))
    assert recovered(segments).vdl == 12
    # And again, after the truncation that this recovery made.
    assert recovered(segments).vdl == 12


@pytest.mark.parametrize("committed", [False, True])
def test_records_after_a_backtrack_right_after_a_recovery(committed: bool) -> None:
    """Whether or not its own LSN was a record's, the next ones are found."""
    segments = volume([9] * COPIES)
    first = recovered(segments)
    if committed:
        write(segments, first.next_lsn)
    give(segments, backtrack(first.next_lsn, 4, first.epoch), range(COPIES))
    assert recovered(segments).vdl == first.next_lsn + 1
    segments = volume([9] * COPIES)
    first = recovered(segments)
    if committed:
        write(segments, first.next_lsn)
    give(segments, backtrack(first.next_lsn, 4, first.epoch), range(COPIES))
    write(segments, first.next_lsn + 2)
    assert recovered(segments).vdl == first.next_lsn + 2


def test_back_and_forth_and_recoveries_between() -> None:
    segments = volume([9] * COPIES)
    give(segments, backtrack(9, 4), range(COPIES))
    first = recovered(segments)
    # Nothing was committed since: the next backtrack is made above what the recovery skipped.
    again = backtrack(first.next_lsn, 9, first.epoch)
    give(segments, again, range(COPIES))
    give(segments, backtrack(again.at + 1, 2, first.epoch), range(COPIES))
    second = recovered(segments)
    assert second.vdl == again.at + 2
    write(segments, second.next_lsn)
    give(segments, backtrack(second.next_lsn, 5, second.epoch), range(COPIES))
    write(segments, second.next_lsn + 2)
    third = recovered(segments)
    assert third.vdl == second.next_lsn + 2
    assert [r.kind for r in third.rewinds] == [2, 1, 2, 2, 1, 2, 1]


@pytest.mark.parametrize("copy", range(COPIES))
def test_a_backtrack_that_one_copy_tells_of_is_finished(copy: int) -> None:
    segments = volume([9] * COPIES)
    give(segments, backtrack(9, 4, who="ada", lost_commits=5), [copy])
    outcome = recovered(segments)
    assert outcome.vdl == 10
    assert outcome.rewinds[0].who == "ada"
    assert all(segment.rewinds == list(outcome.rewinds) for segment in segments.values())


def test_a_backtrack_that_nobody_tells_of_is_never_heard_of_again() -> None:
    """It was under way on a copy that was away; when that comes back, it has to be rebuilt."""
    segments = volume([9] * COPIES)
    give(segments, backtrack(9, 4), [5])
    away = segments.pop((0, 5))
    assert recovered(segments).vdl == 9
    segments[0, 5] = away
    outcome = recovered(segments)
    assert outcome.vdl == 9
    assert (0, 5) in outcome.behind
    assert (0, 5) not in outcome.members
    assert all(r.kind == TRUNCATION for r in outcome.rewinds)


def test_several_backtracks_of_one_epoch_and_copies_that_missed_some() -> None:
    segments = volume([9] * COPIES)
    rewinds = [backtrack(9, 4), backtrack(10, 9), backtrack(11, 1)]
    for copy, known in enumerate([3, 3, 2, 1, 0, 3]):
        segments[0, copy].rewinds += rewinds[:known]
    outcome = recovered(segments)
    assert outcome.vdl == 12
    assert list(outcome.rewinds[:-1]) == rewinds
    assert len(outcome.members) == COPIES
    assert all(segment.rewinds == list(outcome.rewinds) for segment in segments.values())


def test_a_copy_that_promised_more_before_it_heard_gets_it_in_the_new_name() -> None:
    """A recovery died when it had fenced one copy; the old writer then finished a backtrack."""
    segments = volume([9] * COPIES)
    segments[0, 0].epoch = 2
    give(segments, backtrack(9, 4), range(1, COPIES))
    machine, asked = run(segments)
    assert isinstance(machine.outcome, Recovered)
    promise = next(a for a in asked if isinstance(a, Promise) and a.place == (0, 0))
    assert promise.missed == (backtrack(9, 4, epoch=3),)
    assert len(machine.outcome.members) == COPIES
    assert machine.outcome.vdl == 10
    # From now on copies name different epochs for it; nobody minds.
    again = recovered(segments)
    assert len(again.members) == COPIES
    assert again.vdl == 10


def test_a_read_quorum_finishes_it_too() -> None:
    segments = {place: each for place, each in volume([9] * COPIES).items() if place[1] < 3}
    give(segments, backtrack(9, 4), [2])
    outcome = recovered(segments)
    assert outcome.vdl == 10
    assert not outcome.writable


def test_two_groups_decide_as_one() -> None:
    """Recorded on one copy of one group: the other group gets it as well."""
    first = boxcar(1, 2, groups={0: (0, 1, 1), 1: (0, 2, 2)})
    segments = {
        (group, copy): FakeSegment((group, copy), [first[group]])
        for group in (0, 1)
        for copy in range(COPIES)
    }
    segments[1, 3].rewinds.append(backtrack(2, 0))
    machine, _ = run(segments, groups=2)
    assert isinstance(machine.outcome, Recovered)
    assert machine.outcome.vdl == 3
    assert machine.outcome.group_lsns == (1, 2)
    assert all(len(segment.rewinds) == 2 for segment in segments.values())


def test_whatever_dies_whenever_acknowledged_backtracks_stay() -> None:
    """Random backtracks at random copies, recoveries cut short, copies that come and go.

    One that reached a write quorum is in the history for ever; one that did not is wholly there or
    wholly not, and the same in every recovery that is finished by a write quorum.
    """
    rng = seeded("rewinds")
    for _ in range(150):
        segments = volume([9] * COPIES)
        certain: list[RewindRecord] = []
        for _ in range(rng.randrange(1, 6)):
            up = rng.sample(range(COPIES), rng.randrange(3, COPIES + 1))
            there = {(0, copy): segments[0, copy] for copy in up}
            outcome = cut_short(there, rng.randrange(1, 25)) if rng.random() < 0.4 else None
            if outcome is None:
                machine, _ = run(there)
                outcome = machine.outcome
            if isinstance(outcome, QuorumLostError):
                continue
            assert isinstance(outcome, Recovered)
            known = {(r.at, r.to) for r in outcome.rewinds}
            assert {(r.at, r.to) for r in certain} <= known
            for place in outcome.behind - outcome.members:
                rebuild(segments, place, members(outcome)[0])
            if not outcome.writable:
                continue
            rewind = backtrack(outcome.next_lsn, rng.randrange(10), outcome.epoch)
            reached = [copy for copy in up if (0, copy) in outcome.members and rng.random() < 0.7]
            give(segments, rewind, reached)
            if len(reached) >= 4:
                certain.append(rewind)


def cut_short(segments: dict[Place, FakeSegment], after: int) -> Recovered | QuorumLostError | None:
    """A recovery whose coordinator dies after so many actions, if it takes as many."""
    machine = Recovery(groups=1, copies=COPIES, places=segments, now_us=5)
    actions = machine.start()
    for _ in range(after):
        if not actions:
            break
        action = actions.pop(0)
        actions += machine.reply(action, answer(segments, action, set()))
    outcome = machine.outcome
    assert outcome is None or isinstance(outcome, Recovered | QuorumLostError)
    return outcome


def rebuild(segments: dict[Place, FakeSegment], place: Place, source: Place) -> None:
    """What a repair does: the copy becomes what its peer is."""
    peer = segments[source]
    segments[place] = FakeSegment(
        place, list(peer.frames), peer.epoch, peer.vdl, list(peer.rewinds)
    )


def test_a_survey_says_the_rewinds_in_any_order() -> None:
    segment = FakeSegment((0, 0), epoch=1, rewinds=[backtrack(11, 1), backtrack(9, 4)])
    survey = segment.surveyed()
    lineage = lineage_of([survey, FakeSegment((0, 1), rewinds=[backtrack(9, 4)]).surveyed()])
    assert [each.at for each in lineage] == [9, 11]
    assert not left_lineage(survey, lineage)
    assert left_lineage(survey, lineage[:1])
    assert missed_rewinds(survey, (*lineage, backtrack(12, 3)), 1) == (backtrack(12, 3),)


def test_a_group_that_was_added_later_knows_only_what_came_since() -> None:
    """Its copies are given nothing older, whoever of them knows the newest rewind."""
    old = [RewindRecord(100, 0, 1, 0, TRUNCATION), backtrack(120, 110), backtrack(121, 105)]
    begun = RewindRecord(300, 122, 2, 0, TRUNCATION)
    segments = {
        (0, copy): FakeSegment((0, copy), epoch=2, rewinds=[*old, begun]) for copy in range(COPIES)
    }
    segments |= {(1, copy): FakeSegment((1, copy), epoch=2) for copy in range(COPIES)}
    segments[1, 4].rewinds.append(backtrack(310, 301, epoch=2))
    machine, _ = run(segments, groups=2)
    assert isinstance(machine.outcome, Recovered)
    assert len(machine.outcome.members) == 2 * COPIES
    assert [r.at for r in machine.outcome.rewinds[:-1]] == [100, 120, 121, 300, 310]
    assert machine.outcome.vdl == 311
    assert {len(segments[0, copy].rewinds) for copy in range(COPIES)} == {6}
    assert all(r.at >= begun.at for copy in range(COPIES) for r in segments[1, copy].rewinds)
    again, _ = run(segments, groups=2)
    assert isinstance(again.outcome, Recovered)
    assert len(again.outcome.members) == 2 * COPIES


def test_copies_forget_old_rewinds_each_by_itself() -> None:
    """Only the newest ones are in every list; a copy may still know an older one."""
    rewinds = [RewindRecord(100 * n, 100 * n - 50, n, 0, TRUNCATION) for n in range(1, 100)]
    segments = volume([9] * COPIES)
    for copy, segment in enumerate(segments.values()):
        segment.epoch = 99
        kept = [r for n, r in enumerate(rewinds[:-REWINDS_KEPT]) if n % 6 != copy]
        segment.rewinds += kept + rewinds[-REWINDS_KEPT:]
    assert len(recovered(segments).members) == COPIES
