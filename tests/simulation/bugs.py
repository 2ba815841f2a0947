"""Bugs planted on purpose: the simulator is worth nothing if it does not catch them."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.cluster import Cluster
from tests.simulation.model import Violation

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


@dataclass(frozen=True, slots=True)
class Bug:
    """How a bug is planted, and how it shows.

    It counts as caught only by its own symptom: a checker that another bug sets off is no proof
    that this one would be found.
    """

    symptom: str
    """What the violation's text begins with."""
    mask: int = 0
    """Bit of csrc/base/planted.h."""
    recovery: type[Recovery] = Recovery


BUGS = {
    "ack_at_3": Bug("I1: recovery", mask=1 << 0),
    "no_epoch_check": Bug("I4: a fenced writer completed", mask=1 << 1),
    "vdl_past_hole": Bug("I1: recovery", mask=1 << 2),
    "no_checksum": Bug("I5: page", mask=1 << 3),
    "torn_frame": Bug("I2: read", mask=1 << 4),
    "no_write_back": Bug("I6: read", recovery=RecoveryWithoutWriteBack),
}


def run_with_bug(name: str, seed: int, steps: int) -> str:
    """One run with a planted bug; raises when the bug shows."""
    bug = BUGS[name]
    return Cluster(seed, planted_bugs=bug.mask, recovery=bug.recovery).run(steps)


def is_symptom_of(name: str, shown: Exception) -> bool:
    """Whether what a run raised is what this bug does."""
    return isinstance(shown, Violation) and str(shown).startswith(BUGS[name].symptom)
