"""How much history is kept: the policy that decides on the horizon (docs/internals/history.md).

Sans-I/O: it is shown what the volume looks like and says from which LSN on every moment is kept.
Two things move the horizon: the window, which asks for everything since a time, and the limit in
bytes, which cuts the window short. It never moves back: what was collected is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from aurora_engine.volume.history import Bounds, Commits, History

HISTORY_BYTES_FREE = 1 << 30
"""Without a limit of the user's, history may take this much in each copy, and as much again as the
live data: a library should not fill a disk that it was not given."""

KEPT_SHARE = 0.9
"""A cut leaves this share of the limit, so that it need not be done again at once."""


@dataclass(frozen=True, slots=True)
class CopyUsage:
    """What one copy holds."""

    group: int
    live_bytes: int
    history_bytes: int
    garbage_bytes: int
    """Of the history, what the horizon has passed, by an estimate."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one copy of the whole volume holds: of each group, the largest copy."""

    live_bytes: int
    history_bytes: int
    retained_bytes: int
    """The history without what the horizon has passed, which is going to be collected."""

    @classmethod
    def of(cls, copies: Iterable[CopyUsage]) -> Usage:
        """The sum over the groups."""
        by_group: dict[int, list[CopyUsage]] = {}
        for each in copies:
            by_group.setdefault(each.group, []).append(each)
        groups = by_group.values()
        return cls(
            sum(max(each.live_bytes for each in group) for group in groups),
            sum(max(each.history_bytes for each in group) for group in groups),
            sum(max(each.history_bytes - each.garbage_bytes for each in group) for group in groups),
        )


Cause = Literal["creation", "window", "limit"]
"""Why the oldest moment that is kept is not an older one."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the horizon should be, and what for."""

    horizon: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Retention:
    """Decides on the horizon of one volume.

    Parameters
    ----------
    window
        How far back every moment is to be kept.
    history_bytes
        Limit of history in each copy of the volume; None takes the default limit.
    """

    window: timedelta
    history_bytes: int | None

    def limit(self, live_bytes: int) -> int:
        """Bytes that history may take in each copy."""
        if self.history_bytes is not None:
            return self.history_bytes
        return live_bytes + HISTORY_BYTES_FREE

    def is_over_limit(self, usage: Usage) -> bool:
        """Whether history takes more than the limit."""
        return usage.history_bytes > self.limit(usage.live_bytes)

    def decide(
        self, history: History, commits: Commits, bounds: Bounds, usage: Usage
    ) -> Decision | None:
        """Where the horizon should move to now; None if it should stay."""
        window = Decision(self._window_begins(history, commits, bounds), "window")
        limit = Decision(self._cut(history, commits, bounds, usage), "limit")
        furthest = max(window, limit, key=lambda each: each.horizon)
        return furthest if furthest.horizon > bounds.horizon else None

    def _window_begins(self, history: History, commits: Commits, bounds: Bounds) -> int:
        """The newest moment at or before the beginning of the window."""
        if not self.window:
            return bounds.vdl
        begin_us = bounds.now_us - self.window // timedelta(microseconds=1)
        if begin_us < bounds.created_us:
            return 0
        moment = history.at_time(commits, begin_us)
        return min(moment.lsn, bounds.vdl) if moment is not None else 0

    def _cut(self, history: History, commits: Commits, bounds: Bounds, usage: Usage) -> int:
        """How far the limit in bytes moves the horizon.

        Bytes are known only for the whole, so the oldest share of the records goes. What that gives
        counts at once, by an estimate, and as it is where it was collected: less, if the pages have
        changed since, as a version of each stays. Then some more is cut.
        """
        limit = self.limit(usage.live_bytes)
        if limit == 0:
            return bounds.vdl
        if usage.retained_bytes <= limit:
            return 0
        kept = KEPT_SHARE * limit / usage.retained_bytes
        records = history.records_between(bounds.horizon, bounds.vdl)
        cut = history.lsn_after(bounds.horizon, records - int(records * kept))
        return _moment_past(history, commits, bounds, cut)


def _moment_past(history: History, commits: Commits, bounds: Bounds, cut: int) -> int:
    """The newest moment at or below ``cut``; if the horizon is there already, the next one.

    A cut inside of a large commit would else change nothing, however often it is made.
    """

    def moment_at(lsn: int) -> int:
        moment = history.at_lsn(commits, lsn)
        return moment.lsn if moment is not None else 0

    passed = moment_at(cut)
    if passed > bounds.horizon:
        return passed
    below, above = cut, bounds.vdl
    while above - below > 1:
        middle = (below + above) // 2
        if moment_at(middle) > bounds.horizon:
            above = middle
        else:
            below = middle
    return moment_at(above)
