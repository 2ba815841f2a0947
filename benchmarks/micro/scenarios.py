"""The scenarios of benchmarks/instructions as a library, to be timed.

Python calls it once for a whole batch, so what is timed is C.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import NamedTuple

LIBRARY = (
    Path(__file__).resolve().parents[2]
    / "build/release/benchmarks/instructions/libaurora_scenarios.so"
)


class Scenario(NamedTuple):
    """One hot path of the core; ``run`` does ``operations`` operations, once after ``prepare``."""

    library: ctypes.CDLL
    number: int
    name: str
    operations: int

    @property
    def layer(self) -> str:
        """The layer of the core whose path it is."""
        return self.name.partition(".")[0]

    def prepare(self) -> None:
        """Builds what the run works on."""
        self.library.scenario_prepare(self.number)

    def run(self) -> None:
        """The operations, and nothing else."""
        self.library.scenario_run(self.number)

    def finish(self) -> None:
        """Frees what was prepared."""
        self.library.scenario_finish(self.number)


def load_scenarios() -> list[Scenario]:
    """Every scenario of the library, which ``make bench-micro`` builds."""
    library = ctypes.CDLL(str(LIBRARY))
    library.scenario_name.restype = ctypes.c_char_p
    library.scenario_operations.restype = ctypes.c_uint32
    for function in ("name", "operations", "prepare", "run", "finish"):
        getattr(library, f"scenario_{function}").argtypes = [ctypes.c_size_t]
    scenarios: list[Scenario] = []
    while (name := library.scenario_name(len(scenarios))) is not None:
        number = len(scenarios)
        operations = library.scenario_operations(number)
        scenarios.append(Scenario(library, number, name.decode(), operations))
    return scenarios
