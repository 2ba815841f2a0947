"""The gate on instruction counts: a hot path that takes more than it did fails.

Time on a shared machine differs by more than most changes are worth; the number of instructions
repeats to the last digits. Each scenario is run by callgrind, and what it takes is compared with
``baseline.json`` of builds alike: same processor, compiler, C library and build type. Another build
is counted, so that its scenarios are known to work, and compared with nothing.

Usage: ``python -m benchmarks.instructions.gate PROGRAM RESULTS``, with ``--record`` to make what
was counted the baseline; ``--judge RESULTS`` compares what was counted before.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BASELINE = Path(__file__).with_name("baseline.json")
DESCRIPTION = "scenarios.json"
TOLERANCE = 0.03
# Callgrind counts every byte of a `rep movsb` as an instruction, so the C library is told to move
# and clear in loops of wide registers, whose count stands for the work.
TUNABLES = "glibc.cpu.x86_rep_movsb_threshold={0}:glibc.cpu.x86_rep_stosb_threshold={0}"
# Nothing of the caller's environment, which lies on the stack and moves what is there.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C",
    "GLIBC_TUNABLES": TUNABLES.format(1 << 40),
}

Counts = dict[str, float]  # instructions an operation, by scenario


class Verdict(NamedTuple):
    """What the gate says of one scenario."""

    scenario: str
    now: float | None
    baseline: float | None

    @property
    def change(self) -> float | None:
        """Part of the baseline that was gained or lost; None where there is nothing to compare."""
        if self.now is None or self.baseline is None:
            return None
        return self.now / self.baseline - 1

    @property
    def failed(self) -> bool:
        """Whether it takes more than it may, or stands on one side only."""
        return self.change is None or self.change > TOLERANCE

    @property
    def improved(self) -> bool:
        """Whether it takes so much less that the baseline has lost its meaning."""
        return self.change is not None and self.change < -TOLERANCE

    def line(self) -> str:
        """One line for people."""
        if self.now is None:
            return f"{self.scenario:34}  in the baseline, but there is no such scenario any more"
        if self.change is None:
            return f"{self.scenario:34} {self.now:12,.1f}  not in the baseline"
        remark = "  MORE" if self.failed else "  less" if self.improved else ""
        return f"{self.scenario:34} {self.now:12,.1f} {self.change:+8.2%}{remark}"


def count(program: Path, results: Path) -> None:
    """Run every scenario under callgrind, and leave what it wrote in ``results``."""
    results.mkdir(parents=True, exist_ok=True)
    for old in results.glob("*.callgrind"):
        old.unlink()
    description = subprocess.run(
        [program, "--describe"], check=True, capture_output=True, text=True
    ).stdout
    (results / DESCRIPTION).write_text(description)
    for scenario in json.loads(description)["operations"]:
        command = [
            "valgrind",
            "--quiet",
            "--tool=callgrind",
            "--collect-atstart=no",
            "--toggle-collect=scenario_run",
            f"--callgrind-out-file={results / scenario}.callgrind",
            str(program),
            scenario,
        ]
        subprocess.run(command, check=True, env=ENVIRONMENT)


def total(file: Path) -> int:
    """Instructions in a file of callgrind, which must have counted some."""
    found = re.search(r"^totals: (\d+)$", file.read_text(), re.MULTILINE)
    if found is None or int(found.group(1)) == 0:
        raise ValueError(f"{file}: callgrind has counted nothing")
    return int(found.group(1))


def read_counts(results: Path) -> tuple[str, Counts]:
    """Return the build that was counted, and what its scenarios took."""
    description = json.loads((results / DESCRIPTION).read_text())
    return description["build"], {
        scenario: round(total(results / f"{scenario}.callgrind") / operations, 1)
        for scenario, operations in description["operations"].items()
    }


def compare(counts: Counts, baseline: Counts) -> Iterator[Verdict]:
    """Yield a verdict for each scenario of either side."""
    for scenario in dict.fromkeys([*counts, *baseline]):
        yield Verdict(scenario, counts.get(scenario), baseline.get(scenario))


def record(file: Path, build: str, counts: Counts) -> None:
    """Make the counts the baseline of their build; those of other builds stay."""
    baselines = json.loads(file.read_text()) if file.exists() else {}
    baselines[build] = counts
    file.write_text(json.dumps(baselines, indent=2, sort_keys=True) + "\n")
    print(f"recorded in {file.name} as the baseline of {build}")


def judge(file: Path, results: Path) -> int:
    """Print the verdicts and what to do about them, and return the exit status."""
    build, counts = read_counts(results)
    baselines: dict[str, Counts] = json.loads(file.read_text())
    print(f"instructions an operation, {build}")
    if build not in baselines:
        for scenario, instructions in counts.items():
            print(f"{scenario:34} {instructions:12,.1f}")
        print(f"NOTHING WAS COMPARED: no baseline of this build, only of {', '.join(baselines)}")
        return 0
    verdicts = list(compare(counts, baselines[build]))
    for verdict in verdicts:
        print(verdict.line())
    failed = [verdict for verdict in verdicts if verdict.failed]
    if failed:
        print(f"{len(failed)} of {len(verdicts)} failed; the limit is {TOLERANCE:+.0%}.")
        print(f"Where the instructions go: callgrind_annotate {results}/SCENARIO.callgrind")
        print("If that is what the change is for: make bench-gate BENCH=--record, and say why.")
    elif any(verdict.improved for verdict in verdicts):
        print("Better by more than the limit: record it with make bench-gate BENCH=--record, and")
        print("say in the commit what brought it about; until then it can be lost unseen.")
    else:
        print(f"{len(verdicts)} scenarios within {TOLERANCE:.0%} of the baseline")
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    """Count and judge, as the module says."""
    parser = argparse.ArgumentParser(description="the gate on instruction counts")
    parser.add_argument("program", type=Path, nargs="?", help="aurora_instructions, as built")
    parser.add_argument("results", type=Path, help="folder for what callgrind writes")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--record", action="store_true", help="make the counts the baseline")
    parser.add_argument("--judge", action="store_true", help="take RESULTS as they are")
    options = parser.parse_args(arguments)
    if not options.judge:
        if options.program is None:
            parser.error("PROGRAM is missing")
        count(options.program, options.results)
    if options.record:
        record(options.baseline, *read_counts(options.results))
    return judge(options.baseline, options.results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
