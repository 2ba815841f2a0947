"""What the volume must look like.

Every commit in LSN order, and which of them were acknowledged.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

State = dict[bytes, bytes]


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(slots=True)
class Model:
    """The history of one volume.

    ``commits`` is the surviving history: (LSN, {key: value or None}). A commit is *seen* once
    its LSN was at or below a
    VDL that the volume reported: from then on it was acknowledged, or may have been read (I1, I3).
    """

    commits: list[tuple[int, dict[bytes, bytes | None]]] = field(default_factory=list)
    seen: int = 0
    base: State = field(default_factory=dict)

    def commit(self, lsn: int, writes: dict[bytes, bytes | None]) -> None:
        """A commit got an LSN; it is not durable yet."""
        if self.commits and lsn <= self.commits[-1][0]:
            raise Violation(f"LSN {lsn} was issued after {self.commits[-1][0]}")
        self.commits.append((lsn, writes))

    def state_at(self, lsn: int) -> State:
        """What a read at ``lsn`` sees (I6)."""
        state = dict(self.base)
        for _, writes in self.commits[
            : bisect_right(self.commits, lsn, key=lambda commit: commit[0])
        ]:
            for key, value in writes.items():
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
        return state

    def saw_vdl(self, vdl: int) -> None:
        """The volume reported a VDL."""
        if vdl < self.seen:
            raise Violation(f"I3: VDL went back from {self.seen} to {vdl}")
        self.seen = vdl

    def recovered(self, vdl: int) -> None:
        """A recovery found ``vdl``: later commits are gone, acknowledged ones may not be."""
        if vdl < self.seen:
            raise Violation(
                f"I1: recovery to VDL {vdl} lost what was acknowledged up to {self.seen}"
            )
        self.commits = [commit for commit in self.commits if commit[0] <= vdl]
        self.seen = vdl
        self._fold()

    def _fold(self) -> None:
        """Keeps the history short: what everybody sees becomes the base."""
        if len(self.commits) > 500:
            lsn = self.commits[-200][0]
            self.base = self.state_at(lsn)
            self.commits = [commit for commit in self.commits if commit[0] > lsn]
