"""SIGKILL while backtracks are made: each is there as a whole or not at all, and the past stays.

``AURORA_KILLS=200`` raises the number of kills.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.crash.test_kill import KILLS, killed, outcome
from tests.volumes import seeded

import aurora_engine as aurora

pytestmark = pytest.mark.crash

State = dict[bytes, bytes]


@dataclass
class Known:
    """Every state that was acknowledged, by the LSN from which on it was the present."""

    moments: list[tuple[int, State]] = field(default_factory=lambda: [(0, {})])
    backtracks: int = 0

    @property
    def now(self) -> State:
        return self.moments[-1][1]

    def at(self, lsn: int) -> State:
        return self.moments[bisect_right(self.moments, lsn, key=lambda each: each[0]) - 1][1]

    def after(self, words: list[bytes]) -> State:
        """What the present is after something that was said to be begun."""
        if words[0] == b"back":
            return self.at(int(words[1]))
        return self.now | {words[1]: words[2]}


def follow(known: Known, lines: list[bytes]) -> list[bytes] | None:
    """Takes what was acknowledged into the model; returns what was under way at the end."""
    pending = None
    for line in lines:
        words = line.split()
        if words[0] == b"done":
            assert pending is not None
            known.backtracks += pending[0] == b"back"
            known.moments.append((int(words[1]), known.after(pending)))
            pending = None
        elif words[0] != b"open":
            pending = words
    return pending


def test_backtracks_can_be_cut_short(tmp_path: Path) -> None:
    rng = seeded("kill backtracks")
    known = Known()
    for kill in range(KILLS):
        targets = [
            str(lsn) for lsn, _ in rng.sample(known.moments[1:], min(20, len(known.moments) - 1))
        ]
        with killed(
            "-m", "tests.crash.rewinder", tmp_path, rng.randrange(1 << 30), *targets
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline().rstrip(b"\n")]
            time.sleep(rng.random() * 0.2)
        lines += outcome(process)
        pending = follow(known, [line for line in lines if line])
        with aurora.open(tmp_path, page_bytes=4096) as db:
            found = dict(db.scan())
            if found != known.now:
                assert pending is not None
                assert found == known.after(pending), f"kill {kill}: {pending}"
                known.backtracks += pending[0] == b"back"
                known.moments.append((db.durable_lsn, found))
            else:
                # It may have gone from a state to an equal one.
                known.backtracks = len(db.history())
            assert len(db.history()) == known.backtracks
            for lsn, expected in rng.sample(known.moments[1:], min(10, len(known.moments) - 1)):
                with db.at(lsn) as view:
                    assert dict(view.scan()) == expected, f"kill {kill}: the past at {lsn}"
            assert db.verify().ok
    assert known.backtracks > 0
