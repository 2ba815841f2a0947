"""What a moment sees and which moment a time means: the pure part, against a plain enumeration."""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from tests.volumes import seeded

from aurora_engine._ext.records import RewindRecord
from aurora_engine.errors import SnapshotTooOldError
from aurora_engine.volume.history import (
    BACKTRACK,
    TRUNCATION,
    Bounds,
    History,
    microseconds,
    noted,
    time_of,
    who_asks,
)

FIRST, LAST = datetime.min, datetime.max  # noqa: DTZ901
START_US = microseconds(datetime(2026, 3, 1, 12, tzinfo=UTC))
SECOND = 1_000_000


@dataclass
class FakeCommits:
    """Commits as (LSN, time), ascending in both; those below ``first`` are no longer retained."""

    commits: list[tuple[int, int]]
    first: int = 0

    def commit_at_time(self, time_us: int) -> tuple[int, int] | None:
        return self._last(bisect_right(self.commits, time_us, key=lambda commit: commit[1]))

    def commit_at_lsn(self, lsn: int) -> tuple[int, int] | None:
        return self._last(bisect_right(self.commits, lsn, key=lambda commit: commit[0]))

    def _last(self, end: int) -> tuple[int, int] | None:
        found = self.commits[:end][-1:]
        return found[0] if found and found[0][0] >= self.first else None

    def count_commits(self, after: int, upto: int) -> int:
        return sum(after < lsn <= upto for lsn, _ in self.commits)


def rewind(
    at: int, to: int, kind: int = BACKTRACK, time_us: int = 0, epoch: int = 1
) -> RewindRecord:
    return RewindRecord(at, to, epoch, time_us, kind)


def seen(history: History, lsn: int) -> set[int]:
    return {each for after, upto in history.visible(lsn) for each in range(after + 1, upto + 1)}


def test_the_intervals_are_what_the_recursion_says() -> None:
    rng = seeded("visible")
    for _ in range(300):
        rewinds = random_rewinds(rng)
        history = History(rewinds)
        for lsn in range(70):
            assert seen(history, lsn) == by_recursion(rewinds, lsn)
        here, there = rng.randrange(70), rng.randrange(70)
        left = {
            each
            for after, upto in history.only_visible(here, there)
            for each in range(after + 1, upto + 1)
        }
        assert left == seen(history, here) - seen(history, there)


def random_rewinds(rng: random.Random) -> list[RewindRecord]:
    ats = sorted(rng.sample(range(1, 60), rng.randrange(6)))
    return [rewind(at, rng.randrange(at + 1), rng.choice((TRUNCATION, BACKTRACK))) for at in ats]


def by_recursion(rewinds: list[RewindRecord], lsn: int) -> set[int]:
    below = [each for each in rewinds if each.at < lsn]
    if not below:
        return set(range(1, lsn + 1))
    newest = max(below, key=lambda each: each.at)
    return set(range(newest.at + 1, lsn + 1)) | by_recursion(rewinds, newest.to)


def test_records_are_counted_without_what_recovery_cut_off() -> None:
    history = History(
        [
            rewind(1000, 10, TRUNCATION),
            rewind(2000, 10, TRUNCATION),
            rewind(2005, 3),
            rewind(9000, 2010, TRUNCATION),
        ]
    )
    assert history.records_between(0, 10) == 10
    assert history.records_between(5, 2005) == 10
    assert history.records_between(1500, 9005) == 15
    for records in range(25):
        lsn = history.lsn_after(0, records)
        assert history.records_between(0, lsn) == records


def test_the_commits_that_a_backtrack_leaves_behind() -> None:
    commits = FakeCommits([(lsn, START_US + lsn) for lsn in range(10, 200, 10)])
    # 100 went back to 40; then 110 and 120 were committed; back to 90, which was left behind.
    history = History([rewind(100, 40)])
    assert history.commits_left_behind(commits, 100, 40) == 6
    assert history.commits_left_behind(commits, 125, 90) == 2
    assert history.commits_left_behind(commits, 125, 125) == 0
    assert history.commits_left_behind(commits, 125, 20) == 4  # 30, 40, 110, 120


COMMITS = FakeCommits([(10 * n, START_US + n * SECOND) for n in range(1, 10)])
"""LSN 10 at 12:00:01 and so on up to 90 at 12:00:09."""


def bounds(
    horizon: int = 0, vdl: int = 90, seconds: float = 20, pins: tuple[int, ...] = ()
) -> Bounds:
    return Bounds(horizon, vdl, START_US + int(seconds * SECOND), START_US, pins)


def at(seconds: float) -> datetime:
    return time_of(START_US + int(seconds * SECOND))


def test_a_time_is_the_newest_commit_at_or_before_it() -> None:
    history = History([])
    assert history.resolve(at(3), COMMITS, bounds()) == 30
    assert history.resolve(at(3.999), COMMITS, bounds()) == 30
    assert history.resolve(at(15), COMMITS, bounds()) == 90
    assert history.resolve(timedelta(seconds=20 - 3.5), COMMITS, bounds()) == 30
    assert history.resolve(timedelta(0), COMMITS, bounds()) == 90


def test_zones_and_local_time() -> None:
    history = History([])
    elsewhere = at(4).astimezone(timezone(timedelta(hours=-7)))
    assert history.resolve(elsewhere, COMMITS, bounds()) == 40
    local = at(4).astimezone().replace(tzinfo=None)
    assert history.resolve(local, COMMITS, bounds()) == 40


def test_a_time_between_a_backtrack_and_the_next_commit_means_the_backtrack() -> None:
    """60 went back to 20 at 12:00:06.5; what was the present at 12:00:06 is the abandoned 60."""
    commits = FakeCommits(
        [(10 * n, START_US + n * SECOND) for n in range(1, 7)] + [(70, START_US + 8 * SECOND)]
    )
    history = History([rewind(60, 20, time_us=START_US + int(6.5 * SECOND))])
    view = bounds(vdl=70)
    assert history.resolve(at(6.2), commits, view) == 60
    assert history.resolve(at(7), commits, view) == 61
    assert history.resolve(at(8), commits, view) == 70
    assert history.resolve(61, commits, view) == 61
    assert history.resolve(65, commits, view) == 61


def test_an_lsn_inside_of_a_commit_or_a_gap_means_the_moment_before() -> None:
    history = History([rewind(5000, 90, TRUNCATION)])
    assert history.resolve(34, COMMITS, bounds()) == 30
    assert history.resolve(4000, COMMITS, bounds(vdl=5010)) == 90
    assert history.resolve(90, COMMITS, bounds()) == 90


def test_the_future_is_refused() -> None:
    history = History([])
    for future in (91, at(20.1), timedelta(seconds=-1), LAST, at(1e6)):
        with pytest.raises(ValueError, match="future"):
            history.resolve(future, COMMITS, bounds())
    with pytest.raises(ValueError, match="negative"):
        history.resolve(-1, COMMITS, bounds())


@pytest.mark.parametrize("wrong", [True, "now", 1.5, None, b"1"])
def test_what_is_no_moment(wrong: Any) -> None:
    with pytest.raises(TypeError, match="LSN"):
        History([]).resolve(wrong, COMMITS, bounds())


def test_what_is_too_old_names_the_oldest_moment() -> None:
    history = History([])
    kept = FakeCommits(COMMITS.commits, first=40)
    for old in (39, 0, at(3.9), at(-5), timedelta(seconds=18), FIRST, timedelta.max):
        with pytest.raises(
            SnapshotTooOldError, match=r"oldest moment that is( retained)?: LSN 40, 20"
        ) as raised:
            history.resolve(old, kept, bounds(horizon=40))
        assert raised.value.lsn == 40
    assert history.resolve(40, kept, bounds(horizon=40)) == 40
    assert history.resolve(at(4), kept, bounds(horizon=40)) == 40


def test_before_the_creation() -> None:
    with pytest.raises(SnapshotTooOldError, match=r"before the volume was created.*LSN 0"):
        History([]).resolve(at(-1), COMMITS, bounds())


def test_after_the_creation_and_before_the_first_commit() -> None:
    made = replace(bounds(horizon=10), creation=10)
    assert History([]).resolve(at(0.5), COMMITS, made) == 10
    for lsn in (0, 9):
        with pytest.raises(SnapshotTooOldError, match=r"before the volume was created.*LSN 10"):
            History([]).resolve(lsn, COMMITS, made)
    assert History([]).resolve(10, COMMITS, made) == 10
    kept = FakeCommits(COMMITS.commits, first=40)
    with pytest.raises(SnapshotTooOldError, match="no longer retained"):
        History([]).resolve(at(0.5), kept, bounds(horizon=40))


def test_a_horizon_between_two_commits_keeps_what_was_the_present_there() -> None:
    history = History([])
    assert history.resolve(at(4.5), COMMITS, bounds(horizon=45)) == 45
    with pytest.raises(SnapshotTooOldError):
        history.resolve(at(3.5), COMMITS, bounds(horizon=45))


def test_a_pinned_moment_below_the_horizon_can_be_named_by_its_lsn() -> None:
    assert History([]).resolve(20, COMMITS, bounds(horizon=40, pins=(20,))) == 20


def test_a_clock_that_was_set_back_hides_nothing() -> None:
    history = History([])
    behind = bounds(seconds=2)
    assert history.resolve(at(8), COMMITS, behind) == 80
    assert history.resolve(timedelta(0), COMMITS, behind) == 90
    assert history.resolve(timedelta(seconds=1), COMMITS, behind) == 80
    with pytest.raises(ValueError, match="future"):
        history.resolve(at(9.5), COMMITS, behind)


def test_a_commit_that_is_not_durable_yet_is_not_shown() -> None:
    assert History([]).resolve(at(10), COMMITS, bounds(vdl=85)) == 85


def test_who_asks_fits_the_record_and_keeps_the_process() -> None:
    assert "@" in who_asks()
    assert noted("ada", "engine", 4711) == "ada@engine 4711"
    long = noted("ä" * 40, "host", 123)
    assert len(long.encode()) <= 48
    assert long.endswith("ä 123")
