"""Opening again after a kill."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import cast

from aurora_engine.bench import data
from aurora_engine.bench.engines.base import Engine
from aurora_engine.bench.engines.registry import engine_type
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads.base import Bench, Case, Workload

__all__ = ["Recovery"]

BATCH = 1000
MIB = 1 << 20


class Recovery(Workload):
    """Milliseconds from opening to the first record."""

    name = "recovery"
    title = "Reopening after SIGKILL"
    about = (
        f"A process commits durable batches of {BATCH} records and is killed with SIGKILL right "
        "after the last of them. Timed is opening, in a process that has had another database open "
        "before, and one get of the record committed last. Then every record is counted: one that "
        "is not there fails the run. The peers have the settings above and so bound their logs by "
        "their own rules; the kernel's cache is warm for all."
    )
    warm = False
    heavy = True

    def cases(self, sizes: Sizes) -> list[Case]:
        return [
            Case(
                f"{committed / MIB:,.3g} MiB committed",
                "ms",
                {"committed_bytes": committed},
                better="less",
            )
            for committed in sizes.log_bytes
        ]

    def prepare(self, bench: Bench) -> None:
        # What the driver loads with its first database only.
        bench.key_value_type(bench.folder / "first", cache_bytes=bench.sizes.cache_bytes).close()

    def take(self, bench: Bench, case: Case) -> Sample:
        folder = bench.folder / "killed"
        records = case.parameters["committed_bytes"] // data.RECORD_BYTES
        _write_and_kill(bench, folder, records)
        start = time.perf_counter()
        engine = bench.key_value_type(folder, cache_bytes=bench.sizes.cache_bytes)
        with closing(engine):
            session = engine.session()
            found = session.get(data.keys(records - 1, records)[0])
            milliseconds = (time.perf_counter() - start) * 1000
            session.close()
            assert found is not None, "the last acknowledged record is gone"
            assert engine.count() == records, "acknowledged records are gone"
        shutil.rmtree(folder)
        return Sample(milliseconds, details={"records": records})


def _write_and_kill(bench: Bench, folder: Path, records: int) -> None:
    arguments = [bench.engine_type.name, str(folder), str(records), str(bench.sizes.cache_bytes)]
    writer = subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with writer:
        assert writer.stdout is not None
        told = writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    assert told == b"done\n", "the process to be killed ended before it was"


def main(name: str, folder: str, records: str, cache_bytes: str) -> None:
    """What is killed: writes, says so, and waits for its end."""
    kind = cast("type[Engine]", engine_type("key-value", name))
    engine = kind(Path(folder), cache_bytes=int(cache_bytes))
    session = engine.session()
    for batch in data.batches(data.keys(0, int(records)), size=BATCH):
        session.put_batch(batch)
    print("done", flush=True)  # noqa: T201 - the answer
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
