"""Runs the benchmarks and says which goals are met.

`python -m benchmarks`, `--smoke` for tiny sizes.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import aurora_engine as aurora
from aurora_engine.bench.engines.aurora import SixCopies
from aurora_engine.bench.engines.bare import SixFiles
from aurora_engine.bench.engines.lmdb_engine import Lmdb
from aurora_engine.bench.measure import Figure, Goal, interleave, ratio, save
from benchmarks import churn, past, sql, workloads


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done; the full sizes are the canonical ones."""

    seconds: float
    repetitions: int
    records: int
    gets: int
    commits: int
    log_bytes: int
    far_commits: int
    past_commits: int
    small_mib: int
    large_mib: int
    cache_mib: int
    overwrite_s: float
    churned_records: int
    overwrites: int
    sql_rows: int


FULL = Sizes(
    seconds=3.0,
    repetitions=5,
    records=1_000_000,
    gets=200_000,
    commits=300_000,
    log_bytes=1 << 30,
    far_commits=10_000_000,
    past_commits=1_000_000,
    small_mib=100,
    large_mib=4096,
    cache_mib=32,
    overwrite_s=300,
    churned_records=1_000_000,
    overwrites=20_000_000,
    sql_rows=200_000,
)
SMOKE = Sizes(
    seconds=0.2,
    repetitions=1,
    records=5_000,
    gets=5_000,
    commits=5_000,
    log_bytes=4 << 20,
    far_commits=2_000,
    past_commits=2_000,
    small_mib=1,
    large_mib=4,
    cache_mib=1,
    overwrite_s=1,
    churned_records=5_000,
    overwrites=20_000,
    sql_rows=2_000,
)


def durable_commits(folder: Path, sizes: Sizes) -> list[Goal]:
    """Durable puts against the bare probe, and what threads and not waiting add."""
    bare = SixFiles(folder / "bare", cache_bytes=0)
    with aurora.open(folder / "durable") as db:
        workloads.durable_puts(db, sizes.seconds / 3, 1)
        taken = interleave(
            sizes.repetitions,
            probe=lambda: bare.commits(1, sizes.seconds).value,
            one=lambda: workloads.durable_puts(db, sizes.seconds, 1),
            sixteen=lambda: workloads.durable_puts(db, sizes.seconds, 16),
            waiting=lambda: workloads.commits_with_waiting(db, sizes.seconds),
            trusting=lambda: workloads.commits_without_waiting(db, sizes.commits),
        )
    probe = Figure("bare probe", "rounds/s", taken["probe"])
    one = Figure("one thread", "puts/s", taken["one"])
    sixteen = Figure("16 threads", "puts/s", taken["sixteen"])
    waiting = Figure("waiting", "commits/s", taken["waiting"])
    trusting = Figure("not waiting", "commits/s", taken["trusting"])
    return [
        ratio("durable put, one thread, six copies, against the bare probe", 0.7, "x", one, probe),
        ratio("durable put, 16 threads against one", 8, "x", sixteen, one),
        Goal(
            "commit(wait=False), one thread",
            trusting.median,
            "at least",
            200_000,
            "commits/s",
            [trusting],
        ),
        ratio("commit(wait=False) against waiting for each", 40, "x", trusting, waiting),
    ]


def cached_reads(folder: Path, sizes: Sizes) -> list[Goal]:
    """Gets and scans from cache against py-lmdb."""
    pairs = workloads.records(sizes.records)
    source = random.Random(workloads.SEED)
    keys = [source.choice(pairs)[0] for _ in range(sizes.gets)]
    starts = keys[: max(sizes.gets // 100, 10)]
    with (
        closing(SixCopies(folder / "reads", cache_bytes=1 << 30)) as ours,
        closing(Lmdb(folder / "lmdb", cache_bytes=1 << 30)) as peer,
    ):
        for engine in (ours, peer):
            engine.load(pairs[start : start + 50_000] for start in range(0, len(pairs), 50_000))
            engine.count()
        mine, theirs = ours.session(), peer.session()
        taken = interleave(
            sizes.repetitions,
            get=lambda: workloads.gets(mine, keys),
            get_peer=lambda: workloads.gets(theirs, keys),
            get_view=lambda: workloads.gets_of(ours.db.snapshot(), keys),
            get_view_peer=lambda: workloads.gets_of(peer.environment.begin(), keys),
            scan=lambda: workloads.full_scan(ours),
            scan_peer=lambda: workloads.full_scan(peer),
            ranges=lambda: workloads.range_scans(mine, starts),
            ranges_peer=lambda: workloads.range_scans(theirs, starts),
        )

    def pair(name: str, unit: str) -> tuple[Figure, Figure]:
        return Figure("aurora_engine", unit, taken[name]), Figure(
            "py-lmdb", unit, taken[f"{name}_peer"]
        )

    return [
        ratio(
            "get from cache, each its own transaction, against py-lmdb",
            0.9,
            "x",
            *pair("get", "gets/s"),
        ),
        ratio(
            "get from cache in one snapshot against py-lmdb", 0.9, "x", *pair("get_view", "gets/s")
        ),
        ratio("full scan against py-lmdb", 0.9, "x", *pair("scan", "records/s")),
        ratio("scans of 100 records against py-lmdb", 0.9, "x", *pair("ranges", "records/s")),
    ]


def opening(folder: Path, sizes: Sizes) -> list[Goal]:
    """What opening, creating and importing cost."""
    reopen = Figure(
        "reopen",
        "ms",
        [
            workloads.reopen_after_kill(folder / "k", sizes.log_bytes)
            for _ in range(sizes.repetitions)
        ],
    )
    size = Figure("new database", "MiB", [workloads.new_database_mib(folder / "new")])
    imported = Figure("import", "ms", [workloads.import_ms() for _ in range(sizes.repetitions)])
    return [
        Goal(
            f"reopen after SIGKILL, {sizes.log_bytes >> 20} MiB of log",
            reopen.median,
            "at most",
            100,
            "ms",
            [reopen],
        ),
        Goal("a new database on disk", size.median, "at most", 16, "MiB", [size]),
        Goal("import of the package", imported.median, "at most", 100, "ms", [imported]),
    ]


SUITES: dict[str, Callable[[Path, Sizes], list[Goal]]] = {
    "durable": durable_commits,
    "reads": cached_reads,
    "opening": opening,
    "backtrack": lambda folder, sizes: past.backtracks(
        folder, sizes.far_commits, sizes.repetitions
    ),
    "views": lambda folder, sizes: past.views(
        folder, sizes.records, sizes.past_commits, sizes.gets
    ),
    "clones": lambda folder, sizes: past.clones(
        folder, sizes.small_mib, sizes.large_mib, sizes.repetitions
    ),
    "space": lambda folder, sizes: past.space(folder, sizes.records),
    "churn": lambda folder, sizes: churn.overwriting(
        folder, sizes.churned_records, sizes.overwrites, 5 * sizes.seconds
    ),
    "sql": lambda folder, sizes: sql.against_sqlite(
        folder, sizes.sql_rows, sizes.seconds, sizes.repetitions
    ),
    "overwrites": lambda folder, sizes: past.overwrites(folder, sizes.cache_mib, sizes.overwrite_s),
}


def main() -> None:
    """Runs the chosen suites."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--smoke", action="store_true", help="tiny sizes: shows that the benchmarks run, no verdict"
    )
    parser.add_argument(
        "--only", choices=sorted(SUITES), action="append", help="run this suite (may be repeated)"
    )
    parser.add_argument(
        "--path", type=Path, help="folder on the disk to measure (default: a temporary one)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/latest.json"), help="raw results"
    )
    arguments = parser.parse_args()
    sizes = SMOKE if arguments.smoke else FULL
    folder = Path(tempfile.mkdtemp(prefix="aurora-bench-", dir=arguments.path))
    goals: list[Goal] = []
    try:
        for name in arguments.only or SUITES:
            for goal in SUITES[name](folder, sizes):
                print(goal.line() if not arguments.smoke else f"ran {goal.name}", flush=True)
                goals.append(goal)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not arguments.smoke:
        save(goals, arguments.out)
        print(f"raw results: {arguments.out}")


if __name__ == "__main__":
    main()
