"""The process whose power is cut: ``python -m tests.crash.power_writer SCENARIO FOLDER``.

SCENARIO is a `Scenario` as JSON. Every kind of work has a name and numbers its steps from 1; each
acknowledgement is a line ``name step time``, with the time in nanoseconds of CLOCK_MONOTONIC that
it was after the database had answered.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from tests.crash import sql_writer, writer

import aurora_engine as aurora

PAGE_BYTES = 4096
BATCH = 40
UNWAITED = 25


@dataclass(frozen=True)
class Scenario:
    """What a writer does; ``keys`` and ``sql`` are numbers of threads, disks have a zone or all."""

    seed: int = 1
    copies: int = 6
    disks: int = 1
    group_bytes: int = 10 << 30
    keys: int = 0
    sql: int = 0
    others: bool = False

    @classmethod
    def parse(cls, text: str) -> Scenario:
        return cls(**json.loads(text))

    def dump(self) -> str:
        return json.dumps(asdict(self))

    def open(self, folder: Path) -> aurora.Database:
        """The volume, whose disks are mounted in the folder."""
        zones = {zone: str(self.disk(folder, number) / zone) for number, zone in enumerate("abc")}
        single = aurora.Topology.single()
        return aurora.open(
            self.disk(folder, 0) / "volume",
            page_bytes=PAGE_BYTES,
            protection_group_bytes=self.group_bytes,
            topology=single if self.copies == 1 else aurora.Topology(zones=zones),
        )

    def disk(self, folder: Path, number: int) -> Path:
        """Where a disk is mounted."""
        return folder / f"disk-{number % self.disks}"


def work_on_keys(db: aurora.Database, seed: int, thread: int) -> Iterator[int]:
    """Single verbs and transactions, as the kill tests know them."""
    for number, step in enumerate(writer.steps(seed, thread), 1):
        writer.run(db, step)
        yield number


def put_batches(db: aurora.Database) -> Iterator[int]:
    """Each batch replaces the one before it."""
    table = db.table("batches")
    for number in count(1):
        table.put_many({b"%d" % row: b"%d" % number for row in range(BATCH)})
        yield number


def put_without_waiting(db: aurora.Database) -> Iterator[int]:
    """Commits that nobody waits for, until one is waited for: then all before it are durable."""
    for number in count(1):
        with db.begin() as txn:
            txn.table("stream").put(b"%08d" % number, b"x" * (number % 300))
            lsn = txn.commit(wait=False)
        if number % UNWAITED == 0:
            db.wait_durable(lsn)
            yield number


def compact(db: aurora.Database) -> Iterator[int]:
    """Turns the log into layers all the time, so that its extents come and go."""
    for number in count(1):
        time.sleep(0.3)
        db.compact()
        yield number


def say(name: str, number: int) -> None:
    os.write(1, b"%s %d %d\n" % (name.encode(), number, time.monotonic_ns()))


def _acknowledge(name: str, work: Iterator[int]) -> None:
    for number in work:
        say(name, number)


def main() -> None:
    """Writes until it is killed."""
    scenario, folder = Scenario.parse(sys.argv[1]), Path(sys.argv[2])
    seed = scenario.seed
    db = scenario.open(folder)
    sql_writer.connect(db).executescript(sql_writer.SCHEMA)
    for table in ("batches", "stream"):
        db.table(table)
    works = {f"keys/{n}": work_on_keys(db, seed, n) for n in range(scenario.keys)}
    works |= {f"sql/{n}": sql_writer.work(db, seed, n, 1) for n in range(scenario.sql)}
    if scenario.others:
        works["batches"] = put_batches(db)
        works["stream"] = put_without_waiting(db)
        works["compact"] = compact(db)
    say("open", 0)
    threads = [threading.Thread(target=_acknowledge, args=each) for each in works.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Only an error ends a thread: let the test see it instead of a quiet end.
    os._exit(1)


if __name__ == "__main__":
    main()
