"""Runs seeds: `python -m tests.simulation --seeds 0:200`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.simulation.bugs import BUGS, is_symptom_of, run_with_bug
from tests.simulation.cluster import Cluster


def main() -> int:
    """Runs the chosen seeds; exit code 1 if one fails (with --bug: if none does)."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed")
    parser.add_argument("--seeds", default="0:50", help="FIRST:END")
    parser.add_argument("--steps", type=int, default=1500, help="actions in a run")
    parser.add_argument(
        "--bug", choices=sorted(BUGS), help="plant this bug and expect it to be caught"
    )
    arguments = parser.parse_args()
    first, end = (
        (arguments.seed, arguments.seed + 1)
        if arguments.seed is not None
        else map(int, arguments.seeds.split(":"))
    )
    start = time.perf_counter()
    failures = 0
    for seed in range(first, end):
        try:
            digest = (
                Cluster(seed).run(arguments.steps)
                if arguments.bug is None
                else run_with_bug(arguments.bug, seed, arguments.steps)
            )
        except Exception as shown:
            failures += 1
            if arguments.bug is not None:
                if is_symptom_of(arguments.bug, shown):
                    print(f"{arguments.bug}: caught by seed {seed}: {shown}")
                    return 0
                print(f"{arguments.bug}: seed {seed} shows something else: {shown!r}")
                continue
            traceback.print_exc()
            print(
                f"replay with: python -m tests.simulation --seed {seed} --steps {arguments.steps}",
                flush=True,
            )
        else:
            if arguments.seed is not None:
                print(f"seed {seed}: trace {digest}")
    seconds = time.perf_counter() - start
    if arguments.bug is not None:
        print(f"{arguments.bug}: NOT caught by its symptom in seeds {first}:{end}")
        return 1
    print(f"{end - first - failures} passed, {failures} failed in {seconds:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
