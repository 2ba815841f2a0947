"""What reaches the disk for what was committed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aurora_engine.bench import data
from aurora_engine.bench.counters import measured
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads.base import Bench, Case, Workload

__all__ = ["Amplification"]

BATCH = 100
QUIET_S = 0.5
QUIETS_MAX = 60


class Amplification(Workload):
    """Bytes written for each committed byte."""

    name = "amplification"
    title = "Bytes written to disk for each committed byte, per copy"
    about = (
        "A fixed number of records, chosen uniformly, is overwritten by durable transactions. "
        "What was written before is compacted first. Counted is what the disk wrote "
        "(/proc/diskstats), from the first write until the engine has been quiet and the kernel "
        "has nothing left to write, divided by the bytes of the keys and values and by the copies. "
        "The file system's journal is in it, and so is whatever else writes to that disk "
        "meanwhile; compaction that the engine puts off for longer is not. "
        "Where the disk does not count, it is what the processes made the kernel write "
        "(`write_bytes` of /proc/PID/io), which says more than the truth of files in its cache."
    )
    shares = "records"
    warm = False
    heavy = True

    def cases(self, sizes: Sizes) -> list[Case]:
        single, batched = sizes.records // 50, sizes.records // 5 // BATCH * BATCH
        return [
            _case("1 thread", {"threads": 1, "records": single, "batch": 1}),
            _case("16 threads", {"threads": 16, "records": single, "batch": 1}),
            _case(f"batches of {BATCH}", {"threads": 1, "records": batched, "batch": BATCH}),
        ]

    def prepare(self, bench: Bench) -> None:
        assert bench.keys
        bench.engine.settle()  # what earlier workloads left is not written by this one

    def take(self, bench: Bench, case: Case) -> Sample:
        threads, batch = case.parameters["threads"], case.parameters["batch"]
        each = max(case.parameters["records"] // threads // batch, 1)
        seed = bench.seed()
        _wait_until_quiet(bench)
        with measured(bench.folder, bench.server.processes()) as usage:
            with ThreadPoolExecutor(threads) as pool:
                work = _work(bench, each, batch, seed)
                assert sum(pool.map(work, range(threads))) == threads * each * batch
            _wait_until_quiet(bench)
        committed = threads * each * batch * data.RECORD_BYTES
        written = usage.device_bytes if usage.device_bytes >= 0 else usage.written_bytes
        return Sample(
            written / bench.engine_type.copies / committed,
            usage=usage,
            details={"operations": threads * each, "committed bytes": committed},
        )


def _case(name: str, parameters: dict[str, int]) -> Case:
    return Case(name, "bytes per byte", parameters, better="less")


def _work(bench: Bench, transactions: int, batch: int, seed: int) -> Callable[[int], int]:
    """What a thread does; returns the records that it wrote."""

    def run(number: int) -> int:
        session = bench.engine.session()
        wanted = data.chosen(bench.sizes.records, transactions * batch, [seed, number])
        pairs = list(
            zip(data.keys_of(wanted), data.values(len(wanted), [seed, number]), strict=True)
        )
        for start in range(0, len(pairs), batch):
            if batch == 1:
                session.put(*pairs[start])
            else:
                session.put_batch(pairs[start : start + batch])
        session.close()
        return len(pairs)

    return run


def _wait_until_quiet(bench: Bench) -> None:
    """Waits until the engine writes nothing more by itself, and the kernel neither."""
    for _ in range(QUIETS_MAX):
        with measured(bench.folder, bench.server.processes()) as usage:
            time.sleep(min(QUIET_S, bench.sizes.seconds))
        if not usage.written_bytes:
            break
    os.sync()
