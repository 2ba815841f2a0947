"""What the volume must look like.

Every commit with its LSN, which of them were acknowledged, and how history was rewound.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

State = dict[bytes, bytes]
Commit = tuple[int, dict[bytes, bytes | None]]
"""LSN, and {key: value or None}."""


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(slots=True)
class Model:
    """The history of one volume.

    ``commits`` are all that were not lost in a crash, those that a backtrack left behind included.
    A commit is *seen* once its LSN was at or below a VDL that the volume reported: from then on it
    was acknowledged, or may have been read (I1, I3). ``backtracks`` are (at, to), oldest first; one
    that was under way when everything died is ``doubtful`` until the next recovery says.
    """

    commits: list[Commit] = field(default_factory=list)
    backtracks: list[tuple[int, int]] = field(default_factory=list)
    doubtful: tuple[int, int] | None = None
    seen: int = 0

    def commit(self, lsn: int, writes: dict[bytes, bytes | None]) -> None:
        """A commit got an LSN; it is not durable yet."""
        if self.commits and lsn <= self.commits[-1][0]:
            raise Violation(f"LSN {lsn} was issued after {self.commits[-1][0]}")
        self.commits.append((lsn, writes))

    def visible(self, lsn: int) -> list[Commit]:
        """The commits that a read at ``lsn`` sees, oldest first (I6)."""
        below = [backtrack for backtrack in self.backtracks if backtrack[0] < lsn]
        if not below:
            return self._between(0, lsn)
        at, to = below[-1]
        return self.visible(to) + self._between(at, lsn)

    def _between(self, after: int, upto: int) -> list[Commit]:
        first, end = (
            bisect_right(self.commits, x, key=lambda commit: commit[0]) for x in (after, upto)
        )
        return self.commits[first:end]

    def state_at(self, lsn: int) -> State:
        """What a read at ``lsn`` finds."""
        state: State = {}
        for _, writes in self.visible(lsn):
            for key, value in writes.items():
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
        return state

    def moments(self, horizon: int) -> list[int]:
        """Moments that can be looked at: commits, and the first after each backtrack."""
        lsns = [lsn for lsn, _ in self.commits] + [at + 1 for at, _ in self.backtracks]
        return sorted(lsn for lsn in lsns if horizon <= lsn <= self.seen)

    def saw_vdl(self, vdl: int) -> None:
        """The volume reported a VDL."""
        if vdl < self.seen:
            raise Violation(f"I3: VDL went back from {self.seen} to {vdl}")
        self.seen = vdl

    def backtracked(self, at: int, to: int) -> None:
        """A backtrack was made; the first moment after it is VDL."""
        self.backtracks.append((at, to))
        self.saw_vdl(at + 1)

    def recovered(self, vdl: int, backtracks: Iterable[tuple[int, int]]) -> None:
        """A recovery found ``vdl``: later commits are gone, acknowledged ones may not be."""
        found = list(backtracks)
        if self.doubtful is not None and self.doubtful in found:
            self.backtracks.append(self.doubtful)
        self.doubtful = None
        if found != self.backtracks:
            raise Violation(f"I3: the history has backtracks {found}, not {self.backtracks}")
        if vdl < self.seen:
            raise Violation(
                f"I1: recovery to VDL {vdl} lost what was acknowledged up to {self.seen}"
            )
        self.commits = [commit for commit in self.commits if commit[0] <= vdl]
        self.seen = vdl
