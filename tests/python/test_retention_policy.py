"""Where the horizon should be: the pure policy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.python.test_history_moments import SECOND, START_US, FakeCommits, rewind

from aurora_engine.volume.history import TRUNCATION, Bounds, History
from aurora_engine.volume.retention import HISTORY_BYTES_FREE, CopyUsage, Decision, Retention, Usage

COMMITS = FakeCommits([(n, START_US + n * SECOND) for n in range(1, 1001)])
NOTHING = Usage(live_bytes=0, history_bytes=0, retained_bytes=0)


def bounds(now_s: float, horizon: int = 0, vdl: int = 1000) -> Bounds:
    return Bounds(horizon, vdl, START_US + int(now_s * SECOND), START_US)


def horizon(retention: Retention, where: Bounds, usage: Usage = NOTHING) -> int:
    decision = retention.decide(History([]), COMMITS, where, usage)
    return decision.horizon if decision is not None else where.horizon


def test_the_window_keeps_what_was_the_present_at_its_beginning() -> None:
    minute = Retention(timedelta(minutes=1), None)
    assert horizon(minute, bounds(1000)) == 940
    assert horizon(minute, bounds(1000.9)) == 940
    assert horizon(minute, bounds(5000)) == 1000
    assert horizon(minute, bounds(30)) == 0


def test_it_never_moves_back() -> None:
    assert horizon(Retention(timedelta(hours=72), None), bounds(1000, horizon=700)) == 700
    assert horizon(Retention(timedelta(minutes=1), None), bounds(1000, horizon=970)) == 970


def test_no_window_keeps_only_the_present() -> None:
    assert horizon(Retention(timedelta(0), None), bounds(1000)) == 1000
    assert horizon(Retention(timedelta(hours=1), 0), bounds(1000)) == 1000


def test_a_limit_cuts_the_oldest_share_and_counts_on_what_that_gives() -> None:
    limited = Retention(timedelta(hours=72), 1 << 20)
    full = Usage(live_bytes=5, history_bytes=4 << 20, retained_bytes=4 << 20)
    cut = horizon(limited, bounds(1000), full)
    assert 750 < cut < 800
    waiting = Usage(live_bytes=5, history_bytes=4 << 20, retained_bytes=1 << 20)
    assert horizon(limited, bounds(1000, horizon=cut), waiting) == cut
    gave_less = Usage(live_bytes=5, history_bytes=3 << 20, retained_bytes=3 << 20)
    assert cut < horizon(limited, bounds(1000, horizon=cut), gave_less) < 1000
    enough = Usage(live_bytes=5, history_bytes=1 << 20, retained_bytes=1 << 20)
    assert horizon(limited, bounds(1000, horizon=cut), enough) == cut


def test_a_cut_counts_records_and_not_what_recovery_cut_off() -> None:
    commits = FakeCommits(
        [(n, START_US + n * SECOND) for n in range(1, 501)]
        + [(n, START_US + n * SECOND) for n in range(10_000_501, 10_001_001)]
    )
    history = History([rewind(10_000_500, 500, TRUNCATION)])
    usage = Usage(live_bytes=0, history_bytes=90, retained_bytes=90)
    limited = Retention(timedelta(days=400), 50)
    decision = limited.decide(history, commits, bounds(1e7, vdl=10_001_000), usage)
    assert decision == Decision(500, "limit")


def test_a_cut_inside_of_a_large_commit_takes_it_whole() -> None:
    commits = FakeCommits([(n * 1000, START_US + n * SECOND) for n in range(1, 8)])
    limited = Retention(timedelta(days=400), 100)
    usage = Usage(live_bytes=0, history_bytes=101, retained_bytes=101)
    decision = limited.decide(History([]), commits, bounds(8, horizon=1000, vdl=7000), usage)
    assert decision == Decision(2000, "limit")
    stays = limited.decide(History([]), commits, bounds(8, horizon=7000, vdl=7000), usage)
    assert stays is None


@pytest.mark.parametrize("live", [0, 7 << 30])
def test_the_default_limit_is_the_live_data_and_a_gibibyte(live: int) -> None:
    retention = Retention(timedelta(hours=72), None)
    assert retention.limit(live) == live + HISTORY_BYTES_FREE
    below = Usage(live, live + HISTORY_BYTES_FREE, live + HISTORY_BYTES_FREE)
    assert horizon(retention, bounds(1000), below) == 0
    above = Usage(live, below.history_bytes + 1, below.retained_bytes + 1)
    assert horizon(retention, bounds(1000), above) > 0


def test_usage_takes_the_largest_copy_of_each_group() -> None:
    usage = Usage.of([CopyUsage(0, 10, 100, 50), CopyUsage(0, 11, 90, 0), CopyUsage(1, 1, 2, 1)])
    assert usage == Usage(live_bytes=12, history_bytes=102, retained_bytes=91)
    assert Usage.of([]) == Usage(0, 0, 0)
