"""The results of a run, and how medians and ratios are taken from them."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Cell", "Results", "Table", "paired_ratios", "tables"]


@dataclass(slots=True)
class Results:
    """What a run gave; written as it is to ``raw.json``.

    Attributes
    ----------
    samples : list of dict
        One a repetition that counts: workload, case, engine, repetition, the seconds from the
        beginning of the run to its end, and the sample.
    engines : dict
        By kind and name: version and settings of the engines that took part.
    missing : dict of str to str
        Engines that could not take part, and what would have to be installed.
    failed : list of dict
        Workload, case and engine that has no results there, and why.
    machine : dict of str to str
        What it was taken on.
    sizes : dict
        Of the run.
    seconds : float
        How long it took.
    begun_s : float
        When it began, by a clock that says only how long ago that is.
    """

    samples: list[dict[str, Any]] = field(default_factory=list)
    engines: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failed: list[dict[str, str]] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    begun_s: float = field(default_factory=time.perf_counter)

    @property
    def sizes_name(self) -> str:
        """What the sizes are called: full, quick or smoke."""
        return str(self.sizes.get("name", "full"))

    def forget(self, workload: str, engine: str) -> None:
        """Drops what an engine gave in a workload, where it proved wrong in the end."""
        self.samples = [
            sample
            for sample in self.samples
            if (sample["workload"], sample["engine"]) != (workload, engine)
        ]

    def save(self, file: Path) -> None:
        """Writes everything as JSON."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> Results:
        """Reads what `save` wrote."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))


@dataclass(slots=True)
class Cell:
    """All repetitions of one engine in one case, in the order taken."""

    engine: str
    samples: list[dict[str, Any]]

    @property
    def values(self) -> list[float]:
        """In the unit of the case."""
        return [sample["value"] for sample in self.samples]

    @property
    def median(self) -> float:
        """Of the values."""
        return statistics.median(self.values)

    @property
    def typical(self) -> dict[str, Any]:
        """The repetition whose value is the median, or next below it."""
        return sorted(self.samples, key=lambda sample: sample["value"])[
            (len(self.samples) - 1) // 2
        ]


@dataclass(slots=True)
class Table:
    """One case of a workload: its cells by engine."""

    workload: str
    case: dict[str, Any]
    cells: dict[str, Cell] = field(default_factory=dict)


def tables(results: Results) -> dict[str, list[Table]]:
    """By workload: its cases in the order taken."""
    found: dict[tuple[str, str], Table] = {}
    for sample in results.samples:
        place = (sample["workload"], sample["case"]["name"])
        table = found.setdefault(place, Table(sample["workload"], sample["case"]))
        cell = table.cells.setdefault(sample["engine"], Cell(sample["engine"], []))
        cell.samples.append(sample)
    by_workload: dict[str, list[Table]] = {}
    for (workload, _), table in found.items():
        by_workload.setdefault(workload, []).append(table)
    return by_workload


def paired_ratios(ours: Cell, theirs: Cell) -> list[float]:
    """Ours over theirs, repetition by repetition."""
    return [a / b for a, b in zip(ours.values, theirs.values, strict=False) if b]
