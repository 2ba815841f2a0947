"""Moments, what each of them sees, and which moment a time means (docs/internals/history.md).

Sans-I/O: `History` is a list of rewinds; when commits happened is asked of a `Commits`, which in
production is the engine.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, SupportsIndex

from aurora_engine._ext.records import RewindRecord
from aurora_engine.errors import SnapshotTooOldError
from aurora_engine.types import At

TRUNCATION = 1
BACKTRACK = 2
"""Kinds of rewinds (csrc/format/history.h)."""

WHO_BYTES = 48
EPOCH = datetime.fromtimestamp(0, UTC)

Interval = tuple[int, int]
"""The LSNs above the first and up to the second."""


class Commits(Protocol):
    """When commits happened, by LSN alone: abandoned ones are among them."""

    def commit_at_time(self, time_us: int) -> tuple[int, int] | None:
        """LSN and time of the newest commit at or before a time; None when none is retained."""

    def commit_at_lsn(self, lsn: int) -> tuple[int, int] | None:
        """LSN and time of the newest commit at or below an LSN; None when none is retained."""

    def count_commits(self, after: int, upto: int) -> int:
        """How many commits there are in an interval."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What can be asked for now: the oldest retained moment, the newest, and the clock."""

    horizon: int
    vdl: int
    now_us: int
    created_us: int
    pins: tuple[int, ...] = ()
    """Moments below the horizon that open views keep."""
    creation: int = 0
    """LSN of the commit that made the volume, if it is the oldest retained moment, else 0."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment, and since when it was the present."""

    lsn: int
    time_us: int

    def __str__(self) -> str:
        return f"LSN {self.lsn}, {time_of(self.time_us).astimezone().isoformat(' ', 'seconds')}"


def time_of(time_us: int) -> datetime:
    """Microseconds since 1970 as a time in UTC."""
    return EPOCH + timedelta(microseconds=time_us)


def microseconds(moment: datetime) -> int:
    """A time as microseconds since 1970, not before; one without zone is local time."""
    try:
        return max((moment.astimezone(UTC) - EPOCH) // timedelta(microseconds=1), 0)
    except (OverflowError, ValueError):
        # On the first and the last day that Python knows, no zone can be taken into account.
        return 0 if moment.year < EPOCH.year else microseconds(moment.replace(tzinfo=UTC))


class History:
    """What each moment sees, by the rewinds of a volume in the order in which they were made."""

    def __init__(self, rewinds: Iterable[RewindRecord]) -> None:
        self.rewinds = tuple(sorted(rewinds, key=lambda each: each.at))
        self._gaps = _merged((each.to, each.at) for each in self.rewinds if each.kind == TRUNCATION)

    @property
    def backtracks(self) -> list[RewindRecord]:
        """The rewinds that somebody asked for, oldest first."""
        return [rewind for rewind in self.rewinds if rewind.kind == BACKTRACK]

    def visible(self, lsn: int) -> list[Interval]:
        """The LSNs that a read at ``lsn`` sees, newest interval first (I6).

        The newest rewind with at < L decides: visible(L) = (at, L] + visible(to).
        """
        intervals: list[Interval] = []
        for rewind in reversed(self.rewinds):
            # What lies between goes by: a rewind that was made at or after L says nothing of L.
            if rewind.at < lsn:
                intervals.append((rewind.at, lsn))
                lsn = rewind.to
        intervals.append((0, lsn))
        return [(after, upto) for after, upto in intervals if after < upto]

    def only_visible(self, here: int, there: int) -> list[Interval]:
        """The LSNs that a read at ``here`` sees and one at ``there`` does not, oldest first."""
        left = []
        excluded = sorted(self.visible(there))
        for after, upto in sorted(self.visible(here)):
            begin = after
            for hidden_after, hidden_upto in excluded:
                if hidden_upto <= begin or hidden_after >= upto:
                    continue
                if begin < hidden_after:
                    left.append((begin, hidden_after))
                begin = max(begin, hidden_upto)
            if begin < upto:
                left.append((begin, upto))
        return left

    def commits_left_behind(self, commits: Commits, here: int, to: int) -> int:
        """How many commits a rewind at ``here`` to ``to`` leaves behind."""
        return sum(commits.count_commits(*interval) for interval in self.only_visible(here, to))

    def records_between(self, after: int, upto: int) -> int:
        """How many LSNs in (after, upto] may have been issued: what recovery did not cut off."""
        return (upto - after) - sum(
            max(0, min(end, upto) - max(start, after)) for start, end in self._gaps
        )

    def lsn_after(self, after: int, records: int) -> int:
        """The inverse of `records_between`: how far to go from ``after`` to pass ``records``."""
        lsn = after
        for start, end in self._gaps:
            if end <= lsn:
                continue
            step = max(start - lsn, 0)
            if records <= step:
                break
            records -= step
            lsn = end
        return lsn + records

    # ---- moments and times ----

    def at_time(self, commits: Commits, time_us: int) -> Moment | None:
        """The newest moment with a time at or before ``time_us``; None when none is known.

        The newest commit, or the backtrack that was made after it and not after the time.
        """
        found = commits.commit_at_time(time_us)
        made = [each for each in self.backtracks if each.time_us <= time_us]
        return _newest(found, made)

    def at_lsn(self, commits: Commits, lsn: int) -> Moment | None:
        """Since when an LSN is what it is: the newest commit or backtrack at or below it."""
        return _newest(
            commits.commit_at_lsn(lsn), [each for each in self.backtracks if each.at < lsn]
        )

    def oldest(self, commits: Commits, bounds: Bounds) -> Moment:
        """The oldest moment that is retained; every moment from it on is."""
        found = self.at_lsn(commits, bounds.horizon)
        return Moment(bounds.horizon, found.time_us if found is not None else bounds.created_us)

    def resolve(self, at: At, commits: Commits, bounds: Bounds) -> int:
        """The LSN of the moment that a caller named.

        Raises
        ------
        TypeError
            If it is no LSN, time or time span.
        ValueError
            If it is in the future, or negative.
        SnapshotTooOldError
            If it is not retained; the message names the oldest moment that is.
        """
        match at:
            case bool():
                pass
            case SupportsIndex():
                return self._resolve_lsn(at.__index__(), commits, bounds)
            case datetime():
                return self._resolve_time(microseconds(at), str(at), commits, bounds)
            case timedelta():
                if at < timedelta(0):
                    raise ValueError(f"{at} ago would be in the future; give a positive timedelta")
                now_us = self._now(commits, bounds)
                ago_us = max(now_us - at // timedelta(microseconds=1), 0)
                return self._resolve_time(ago_us, f"{at} ago", commits, bounds)
        raise TypeError(
            "a moment is an LSN (int), a datetime, or a timedelta for that long ago, "
            f"not {type(at).__name__}"
        )

    def _resolve_lsn(self, lsn: int, commits: Commits, bounds: Bounds) -> int:
        if lsn < 0:
            raise ValueError(f"an LSN is not negative: {lsn}")
        if lsn > bounds.vdl:
            raise ValueError(
                f"LSN {lsn} is in the future: everything durable so far has LSNs up to {bounds.vdl}"
            )
        if lsn in bounds.pins:
            return lsn
        if lsn < bounds.creation:
            raise self._before_creation(f"LSN {lsn}", commits, bounds)
        if lsn < bounds.horizon:
            raise self.too_old(f"LSN {lsn}", commits, bounds)
        # An LSN inside of a commit would show half of it (I2).
        moment = self.at_lsn(commits, lsn)
        return lsn if moment is None else max(moment.lsn, bounds.horizon)

    def _resolve_time(self, time_us: int, named: str, commits: Commits, bounds: Bounds) -> int:
        if time_us > self._now(commits, bounds):
            raise ValueError(
                f"{named} is in the future: it is {time_of(bounds.now_us).astimezone()} now"
            )
        if time_us < bounds.created_us:
            raise self._before_creation(named, commits, bounds)
        moment = self.at_time(commits, time_us)
        if moment is None and bounds.creation > 0:
            # The volume was being made.
            return bounds.creation
        if moment is None:
            raise self.too_old(named, commits, bounds)
        if moment.lsn >= bounds.horizon:
            # A commit may have got its time and its LSN, and not be durable yet.
            return min(moment.lsn, bounds.vdl)
        # The horizon need not stand on a commit: what was the present at it is retained all the
        # same.
        if self.at_lsn(commits, bounds.horizon) == moment:
            return bounds.horizon
        raise self.too_old(named, commits, bounds)

    def _now(self, commits: Commits, bounds: Bounds) -> int:
        """The clock, or the newest commit's time: a clock that was set back takes nothing away."""
        newest = self.at_lsn(commits, bounds.vdl)
        return max(bounds.now_us, newest.time_us if newest is not None else 0)

    def too_old(self, named: str, commits: Commits, bounds: Bounds) -> SnapshotTooOldError:
        """The error for a moment that is not retained."""
        oldest = self.oldest(commits, bounds)
        error = SnapshotTooOldError(
            f"{named} is no longer retained; the oldest moment that is: {oldest}. "
            "A longer backtrack_window, or more history_bytes, keeps more from now on."
        )
        error.lsn = oldest.lsn
        return error

    def _before_creation(self, named: str, commits: Commits, bounds: Bounds) -> SnapshotTooOldError:
        oldest = self.oldest(commits, bounds)
        error = SnapshotTooOldError(
            f"{named} was before the volume was created; the oldest moment that is retained: "
            f"{oldest}."
        )
        error.lsn = oldest.lsn
        return error


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Intervals without overlaps; truncations overlap when nothing was committed between them."""
    merged: list[Interval] = []
    for after, upto in sorted(intervals):
        if merged and after <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(upto, merged[-1][1]))
        else:
            merged.append((after, upto))
    return merged


def _newest(commit: tuple[int, int] | None, backtracks: Sequence[RewindRecord]) -> Moment | None:
    """The newer of a commit and the last of some backtracks, by LSN."""
    moments = [Moment(*commit)] if commit is not None else []
    if backtracks:
        moments.append(Moment(backtracks[-1].at + 1, backtracks[-1].time_us))
    return max(moments, key=lambda moment: moment.lsn, default=None)


def who_asks() -> str:
    """User, host and process, to be noted in a rewind: at most 48 bytes of UTF-8."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A user without a name, as in many containers.
        user = str(os.getuid())
    return noted(user, socket.gethostname(), os.getpid())


def noted(user: str, host: str, process: int) -> str:
    """``user@host process``, cut so that it fits and the process stays."""
    tail = f" {process}"
    head = f"{user}@{host}".encode()[: WHO_BYTES - len(tail)]
    return head.decode("utf-8", "ignore") + tail
