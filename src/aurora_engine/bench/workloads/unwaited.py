"""Commits that are not waited for one by one, and one wait at the end."""

from __future__ import annotations

from typing import cast

from aurora_engine.bench import data
from aurora_engine.bench.drive import timed
from aurora_engine.bench.engines.aurora import SixCopies
from aurora_engine.bench.engines.base import Server
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads.base import Bench, Case, Workload

__all__ = ["Unwaited"]


class Unwaited(Workload):
    """One Python thread that commits without waiting."""

    name = "unwaited"
    title = "Commits without waiting, then one durable wait"
    about = (
        "One thread, one upsert a transaction, `commit(wait=False)`; the clock stops when "
        "`wait_durable` says that the last of them is durable. It is not compared with peers: most "
        "have no such call."
    )
    shares = "records"

    def cases(self, sizes: Sizes) -> list[Case]:
        return [Case("1 thread", "commits/s")]

    def takes_part(self, engine_type: type[Server]) -> bool:
        return issubclass(engine_type, SixCopies)

    def prepare(self, bench: Bench) -> None:
        assert bench.keys

    def take(self, bench: Bench, case: Case) -> Sample:
        db, seed, count = cast("SixCopies", bench.server).db, bench.seed(), bench.sizes.records
        keys = data.keys_of(data.chosen(count, count, seed))
        pairs = list(zip(keys, data.values(count, seed), strict=True))

        def commit_all() -> int:
            lsn, begin = 0, db.begin
            for key, value in pairs:
                transaction = begin()
                transaction.put(key, value)
                lsn = transaction.commit(wait=False)
            db.wait_durable(lsn)
            return count

        return timed(bench, commit_all)
