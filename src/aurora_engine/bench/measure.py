"""How a figure is taken.

Repetitions interleaved with those of its peer, medians, and raw results kept.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aurora_engine.bench.machine import facts


@dataclass(slots=True)
class Figure:
    """One measured quantity: every repetition, in the order taken."""

    name: str
    unit: str
    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median of the repetitions."""
        return statistics.median(self.samples)


@dataclass(slots=True)
class Goal:
    """A goal of the project with what was measured for it.

    ``kind`` is ``"at least"`` or ``"at most"``; ``value`` is what is compared with ``limit``.
    """

    name: str
    value: float
    kind: str
    limit: float
    unit: str
    figures: list[Figure]

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value >= self.limit if self.kind == "at least" else self.value <= self.limit

    def line(self) -> str:
        """One line for people."""
        parts = ", ".join(
            f"{figure.name} {figure.median:,.4g} {figure.unit}" for figure in self.figures
        )
        verdict = "met" if self.met else "MISSED"
        wanted = f"wanted {self.kind} {self.limit:g}"
        return f"{verdict:6} {self.name}: {self.value:,.3g} {self.unit}, {wanted} ({parts})"


def interleave(repetitions: int, **takes: Callable[[], float]) -> dict[str, list[float]]:
    """Takes all measurements in turn, ``repetitions`` times: a slow minute hits all alike."""
    samples: dict[str, list[float]] = {name: [] for name in takes}
    for _ in range(repetitions):
        for name, take in takes.items():
            samples[name].append(take())
    return samples


def rate_for(seconds: float, operation: Callable[[int], None], *, chunk: int = 1) -> float:
    """Operations per second over at least ``seconds``.

    ``operation(n)`` does the n-th chunk of ``chunk`` operations.
    """
    start = time.perf_counter()
    done = 0
    while (elapsed := time.perf_counter() - start) < seconds:
        operation(done)
        done += 1
    return done * chunk / elapsed


def save(goals: list[Goal], file: Path) -> None:
    """Writes raw results as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        json.dumps(
            {"machine": facts(file.parent), "goals": [asdict(goal) for goal in goals]}, indent=1
        )
        + "\n"
    )


def ratio(name: str, limit: float, unit: str, ours: Figure, peer: Figure) -> Goal:
    """A goal on the median of the ratios of paired samples."""
    median = statistics.median(a / b for a, b in zip(ours.samples, peer.samples, strict=True))
    return Goal(name, median, "at least", limit, unit, [ours, peer])
