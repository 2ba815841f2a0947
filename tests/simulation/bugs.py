"""Bugs planted on purpose: the simulator is worth nothing if it does not catch them."""

from __future__ import annotations

from tests.simulation.cluster import Cluster

from aurora_engine.volume.messages import Action
from aurora_engine.volume.recovery import Phase, Recovered, Recovery


class RecoveryWithoutWriteBack(Recovery):
    """Serves the highest SCL of the survey without copying it to a write quorum first."""

    def _write_back(self) -> list[Action]:
        self._phase = Phase.WRITE_BACK
        return self._truncate()

    def _finish(self) -> list[Action]:
        assert self._rewind is not None
        self._phase = Phase.OVER
        self.outcome = Recovered(
            epoch=self._epoch,
            vdl=self._vdl,
            next_lsn=self._rewind.at + 1,
            time_us=0,
            group_lsns=self._group_lsns,
            rewinds=(*self._lineage, self._rewind),
            members=frozenset(self._alive),
            behind=frozenset(),
            writable=True,
        )
        return []


BUGS: dict[str, int | type[Recovery]] = {
    "ack_at_3": 1 << 0,
    "no_epoch_check": 1 << 1,
    "vdl_past_hole": 1 << 2,
    "no_checksum": 1 << 3,
    "torn_frame": 1 << 4,
    "no_write_back": RecoveryWithoutWriteBack,
}
"""Mask of csrc/base/planted.h, or the broken state machine."""


def run_with_bug(name: str, seed: int, steps: int) -> str:
    """One run with a planted bug; raises when the bug shows."""
    bug = BUGS[name]
    if isinstance(bug, int):
        return Cluster(seed, planted_bugs=bug).run(steps)
    return Cluster(seed, recovery=bug).run(steps)
