"""What the past costs: going back, and clones. No peer has either."""

from __future__ import annotations

import shutil
import time
from typing import cast

import aurora_engine as aurora
from aurora_engine.bench import data
from aurora_engine.bench.engines.aurora import SixCopies
from aurora_engine.bench.engines.base import Server
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads.base import Bench, Case, Workload
from aurora_engine.bench.workloads.chunks import key_of_chunk, volume_of

__all__ = ["Backtracks", "Clones"]

KEYS = 100_000


class Backtracks(Workload):
    """Going back over commits."""

    name = "backtrack"
    title = "Backtrack"
    about = (
        "Milliseconds of `backtrack` to the moment before so many commits of one record; that they "
        "are gone afterwards, and there again when it is undone, is checked and not timed."
    )
    shares = "history"
    warm = False

    def cases(self, sizes: Sizes) -> list[Case]:
        return [
            Case(f"over {commits:,} commits", "ms", {"commits": commits}, better="less")
            for commits in sizes.history_commits
        ]

    def takes_part(self, engine_type: type[Server]) -> bool:
        return issubclass(engine_type, SixCopies)

    def take(self, bench: Bench, case: Case) -> Sample:
        db = cast("SixCopies", bench.server).db
        moments: dict[int, int] = bench.state.setdefault("backtrack", {})
        commits = case.parameters["commits"]
        if commits not in moments:
            moments[commits] = commit_many(db, commits)
        db.put(b"newest", b"commit %d" % commits)
        start = time.perf_counter()
        rewind = db.backtrack(to=moments[commits])
        milliseconds = (time.perf_counter() - start) * 1000
        gone = db.get(b"newest")
        db.backtrack(to=rewind.undo_lsn)
        assert gone != b"commit %d" % commits, "what was gone back over is still there"
        assert db.get(b"newest") == b"commit %d" % commits, "what was undone is not there again"
        return Sample(milliseconds)


class Clones(Workload):
    """Clones of volumes of several sizes."""

    name = "clones"
    title = "Clones"
    about = (
        "Milliseconds of `clone`, until the clone is open, of volumes with one copy of values that "
        "do not compress, on a file system with hard links."
    )
    warm = False

    def cases(self, sizes: Sizes) -> list[Case]:
        return [Case(f"of {mib} MiB", "ms", {"mib": mib}, better="less") for mib in sizes.clone_mib]

    def takes_part(self, engine_type: type[Server]) -> bool:
        return engine_type.name == "aurora-single"

    def prepare(self, bench: Bench) -> None:
        bench.state["clones"] = {
            mib: volume_of(bench.folder / f"parent of {mib}", mib, aurora.Topology.single())
            for mib in bench.sizes.clone_mib
        }

    def take(self, bench: Bench, case: Case) -> Sample:
        mib = case.parameters["mib"]
        parent: aurora.Database = bench.state["clones"][mib]
        target = bench.folder / "clone"
        start = time.perf_counter()
        clone = parent.clone(target)
        milliseconds = (time.perf_counter() - start) * 1000
        with clone:
            assert clone.get(key_of_chunk(mib - 1, 0)) is not None, "the clone lacks a record"
        shutil.rmtree(target)
        return Sample(milliseconds)

    def finish(self, bench: Bench) -> None:
        for parent in bench.state.pop("clones").values():
            parent.close()


def commit_many(db: aurora.Database, count: int) -> int:
    """Commits one record so many times; returns the moment before the first."""
    before = lsn = db.durable_lsn
    keys = data.keys(0, min(count, KEYS))
    for number in range(count):
        transaction = db.begin()
        transaction.put(keys[number % KEYS], b"%d" % number)
        lsn = transaction.commit(wait=False)
    db.wait_durable(lsn)
    return before
