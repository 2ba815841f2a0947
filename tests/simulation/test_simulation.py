"""Seeded runs of the whole volume; a failing seed is printed and replays exactly."""

from __future__ import annotations

import pytest
from tests.simulation.cluster import Cluster

SEEDS = range(40)
STEPS = 800


@pytest.mark.parametrize("seed", SEEDS)
def test_invariants_hold_whatever_happens(seed: int) -> None:
    """I1 to I6 and I10 hold under torn, lost, misdirected, flipped writes, EIO and crashes."""
    Cluster(seed).run(STEPS)


def test_a_seed_replays_exactly() -> None:
    assert Cluster(7).run(STEPS) == Cluster(7).run(STEPS)
