"""Commits that are not waited for one by one, and one wait at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import aurora_engine as aurora
from aurora_engine.bench import data
from aurora_engine.bench.drive import timed
from aurora_engine.bench.engines.aurora import SixCopies
from aurora_engine.bench.engines.base import Pair, Server
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads.base import Bench, Case, Workload, threads_case

__all__ = ["Unwaited"]


class Unwaited(Workload):
    """One Python thread that commits without waiting, in both ways that there are."""

    name = "unwaited"
    title = "Commits without waiting, then one durable wait"
    about = (
        "One thread, one upsert a commit; the clock stops when `wait_durable` says that the last "
        'of them is durable. "commit": a transaction each, ended by `commit(wait=False)`. "put": '
        'single puts to a database that was opened with `durability="async"`. It is not compared '
        "with peers: most have no such call."
    )
    shares = "records"

    def cases(self, sizes: Sizes) -> list[Case]:
        return [threads_case("commits/s", 1, prefix=f"{way}, ") for way in _WAYS]

    def takes_part(self, engine_type: type[Server]) -> bool:
        return issubclass(engine_type, SixCopies)

    def prepare(self, bench: Bench) -> None:
        engine = cast("SixCopies", bench.engine)
        unwaiting = type(engine)(
            bench.folder / "async", cache_bytes=bench.sizes.cache_bytes, durability="async"
        )
        bench.state[self.name] = {"commit": engine, "put": unwaiting}
        unwaiting.load(data.batches(bench.keys))
        unwaiting.settle()

    def take(self, bench: Bench, case: Case) -> Sample:
        way = case.name.partition(",")[0]
        db, seed, count = bench.state[self.name][way].db, bench.seed(), bench.sizes.records
        keys = data.keys_of(data.chosen(count, count, seed))
        pairs = list(zip(keys, data.values(count, seed), strict=True))
        write_all = _WAYS[way]

        def commit_all() -> int:
            db.wait_durable(write_all(db, pairs))
            return count

        return timed(bench, commit_all)

    def finish(self, bench: Bench) -> None:
        bench.state[self.name]["put"].close()


def _commit_each(db: aurora.Database, pairs: list[Pair]) -> int:
    lsn, begin = 0, db.begin
    for key, value in pairs:
        transaction = begin()
        transaction.put(key, value)
        lsn = transaction.commit(wait=False)
    return lsn


def _put_each(db: aurora.Database, pairs: list[Pair]) -> int:
    lsn, put = 0, db.put
    for key, value in pairs:
        lsn = put(key, value)
    return lsn


_WAYS: dict[str, Callable[[aurora.Database, list[Pair]], int]] = {
    "commit": _commit_each,
    "put": _put_each,
}
