"""What the loss of a copy costs: the time until there are six again, and commits meanwhile."""

from __future__ import annotations

import shutil
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

import aurora_engine as aurora
from aurora_engine.bench import data
from aurora_engine.bench.drive import percentiles_us
from aurora_engine.bench.engines.base import Server
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads.base import Bench, Case, Workload
from aurora_engine.bench.workloads.chunks import volume_of

__all__ = ["Repairs"]

KEYS = 1000


class Repairs(Workload):
    """Rebuilding a copy that was lost, beside a writer."""

    name = "repair"
    title = "Repair"
    about = (
        "The folder of one of six copies is removed while one thread commits single records. "
        "Milliseconds of `repair`, until that copy has been rebuilt from its peers; the latencies "
        "are those of the commits meanwhile. The copies hold so many MiB of values that do not "
        "compress. At the end every byte of all copies is verified, which is not timed."
    )
    warm = False

    def cases(self, sizes: Sizes) -> list[Case]:
        return [
            Case(f"of {mib} MiB", "ms", {"mib": mib}, better="less") for mib in sizes.repair_mib
        ]

    def takes_part(self, engine_type: type[Server]) -> bool:
        return engine_type.name == "aurora"

    def prepare(self, bench: Bench) -> None:
        bench.state["repair"] = {
            mib: volume_of(bench.folder / f"volume of {mib}", mib, aurora.Topology())
            for mib in bench.sizes.repair_mib
        }

    def take(self, bench: Bench, case: Case) -> Sample:
        mib = case.parameters["mib"]
        db: aurora.Database = bench.state["repair"][mib]
        latencies: array[int] = array("q")
        with _commits_beside(db, latencies):
            shutil.rmtree(db.status().segments[-1].path)
            start = time.perf_counter()
            db.repair()
            seconds = time.perf_counter() - start
        states = {segment.state for segment in db.status().segments}
        assert states <= {"ok", "lagging"}, f"copies are {states} after the repair"
        return Sample(
            seconds * 1000,
            percentiles_us(latencies),
            details={"MiB/s": mib / seconds, "commits/s": len(latencies) / seconds},
        )

    def finish(self, bench: Bench) -> None:
        for db in bench.state.pop("repair").values():
            with db:
                assert db.verify().ok, "a copy is not as its peers"


@contextmanager
def _commits_beside(db: aurora.Database, latencies: array[int]) -> Iterator[None]:
    """Commits single records in another thread meanwhile, and keeps the nanoseconds of each."""
    over = threading.Event()
    errors: list[Exception] = []
    keys = data.keys(0, KEYS)

    def commit() -> None:
        number = 0
        try:
            while not over.is_set():
                start = time.perf_counter_ns()
                db.put(keys[number % KEYS], b"%d" % number)
                latencies.append(time.perf_counter_ns() - start)
                number += 1
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    writer = threading.Thread(target=commit)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()
    if errors:
        raise errors[0]
