"""SIGKILL at random moments: nothing acknowledged is lost, no transaction is seen in part (I1, I2).

``AURORA_KILLS=200`` raises the number of kills of each variant from the few of the default run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.crash.writer import COUNTER, PAGE_BYTES, Step, steps
from tests.volumes import (
    ROOT,
    all_good,
    assert_holds,
    assert_writable,
    fill,
    seeded,
    segment_folder,
    until,
)

import aurora_engine as aurora

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("AURORA_KILLS", "15"))
TINY_GROUP_BYTES = 64 * PAGE_BYTES


@contextlib.contextmanager
def killed(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that is dead, by SIGKILL, at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        bufsize=0,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()


def outcome(process: subprocess.Popen[bytes]) -> list[bytes]:
    """What a killed process had printed; it must not have ended by itself with an error."""
    out, err = process.communicate()
    assert process.returncode in (0, -9), f"it failed before it was killed:\n{err.decode()}"
    # The last line may be cut off; what was not read in full was not acknowledged.
    return out.split(b"\n")[:-1]


@dataclass
class Worker:
    """What is known of a thread of the writer: its work, and the steps that are in the database."""

    work: Iterator[Step]
    done: int = 0
    counted: int = 0
    model: dict[bytes, bytes] = field(default_factory=dict)
    following: Step | None = None

    def next_step(self) -> Step:
        """The first step that is not in the model."""
        if self.following is None:
            self.following = next(self.work)
        return self.following

    def advance(self) -> None:
        """Takes the next step into the model."""
        self.model, self.counted = self.after_next()
        self.following = None
        self.done += 1

    def after_next(self) -> tuple[dict[bytes, bytes], int]:
        """The model and the count as the next step would leave them."""
        step = self.next_step()
        gone = dict.fromkeys(step.deletes)
        model = {key: value for key, value in self.model.items() if key not in gone}
        return model | dict(step.puts), self.counted + step.counts


def check(db: aurora.Database, workers: list[Worker]) -> None:
    """Each thread's keys show its acknowledged steps, and at most the one that was under way."""
    found: list[dict[bytes, bytes]] = [{} for _ in workers]
    for key, value in db.scan():
        if key != COUNTER:
            found[int(key.split(b"/")[0])][key] = value
    for thread, (worker, keys) in enumerate(zip(workers, found, strict=True)):
        if keys != worker.model:
            after, _ = worker.after_next()
            wrong = dict(list(keys.items() ^ after.items())[:4])
            # Said briefly: pytest would take minutes to compare so much.
            assert not wrong, f"thread {thread} after {worker.done} acknowledged steps: {wrong}"
            worker.advance()
    assert int(db.get(COUNTER, b"0")) == sum(worker.counted for worker in workers)
    report = db.verify()
    assert report.ok, report


@pytest.mark.parametrize(
    ("threads", "group_bytes"),
    [(1, 10 << 30), (8, 10 << 30), (4, TINY_GROUP_BYTES)],
    ids=["one thread", "eight threads", "a growing volume"],
)
def test_acknowledged_commits_survive(tmp_path: Path, threads: int, group_bytes: int) -> None:
    rng = seeded(f"kill {threads} {group_bytes}")
    seed = rng.randrange(1 << 30)
    workers = [Worker(steps(seed, thread)) for thread in range(threads)]
    acknowledged = 0
    for kill in range(KILLS):
        firsts = [worker.done for worker in workers]
        with killed("-m", "tests.crash.writer", tmp_path, seed, group_bytes, *firsts) as process:
            # Mostly at work, now and then while it opens the database.
            if rng.random() < 0.85:
                assert process.stdout is not None
                process.stdout.readline()
            time.sleep(rng.random() * 0.2)
        for line in outcome(process):
            if line != b"open":
                thread, number = map(int, line.split())
                assert number == workers[thread].done, f"kill {kill}: acknowledged out of order"
                workers[thread].advance()
                acknowledged += 1
        with aurora.open(tmp_path, page_bytes=PAGE_BYTES, protection_group_bytes=group_bytes) as db:
            check(db, workers)
    assert acknowledged > KILLS, "the writer was killed before it did anything"


CREATE = """
import sys, aurora_engine as aurora
print(flush=True)
aurora.open(sys.argv[1])
print(flush=True)
sys.stdin.read()
"""


def test_creation_can_be_cut_short(tmp_path: Path) -> None:
    rng = seeded("kill creation")
    for kill in range(KILLS):
        path = tmp_path / str(kill)
        with killed("-c", CREATE, path) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.random() * 0.03)
        outcome(process)
        with aurora.open(path) as db:
            db.put(b"k", b"v")
            assert len(db.status().segments) == 6
            assert db.verify().ok
        shutil.rmtree(path)


CARE = """
import sys, aurora_engine as aurora
db = aurora.open(sys.argv[1])
print(flush=True)
getattr(db, sys.argv[2])()
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("verb", ["repair", "compact"])
def test_care_can_be_cut_short(tmp_path: Path, verb: str) -> None:
    """A kill in the middle of a repair or compaction loses nothing; either can be done again."""
    rng = seeded(f"kill {verb}")
    original, path = tmp_path / "original", tmp_path / "copy"
    with aurora.open(original) as db:
        contents = fill(db, rng)
    for _ in range(max(KILLS // 3, 5)):
        shutil.copytree(original, path)
        now = contents.copy()
        for copy in rng.sample(range(6), 2) if verb == "repair" else ():
            shutil.rmtree(segment_folder(path, copy))
        with killed("-c", CARE, path, verb) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.random() * 0.06)
        outcome(process)
        with aurora.open(path) as db:
            assert_holds(db, now)
            db.repair()
            db.compact()
            assert_writable(db, now, b"after")
            assert_holds(db, now)
            until(lambda: all_good(db), "all copies are good")
            assert db.verify().ok
        shutil.rmtree(path)


ASYNC = """
import sys, itertools, aurora_engine as aurora
db = aurora.open(sys.argv[1], durability="async")
for n in itertools.count(int(sys.argv[2])):
    lsn = db.put(b"%012d" % n, b"x" * (n % 300))
    if n % 500 == 499:
        db.wait_durable(lsn)
        print(n, flush=True)
"""


def test_only_the_newest_commits_may_be_lost_when_nobody_waits(tmp_path: Path) -> None:
    """With durability="async" a prefix of the commits survives, and all that were waited for."""
    rng = seeded("kill async")
    there = 0
    for _ in range(max(KILLS // 3, 5)):
        with killed("-c", ASYNC, tmp_path, there) as process:
            assert process.stdout is not None
            waited = [process.stdout.readline()]
            time.sleep(rng.random() * 0.1)
        waited += outcome(process)
        with aurora.open(tmp_path) as db:
            keys = [int(key) for key in db]
        assert keys == list(range(len(keys)))
        assert len(keys) > max(there - 1, *map(int, waited))
        there = len(keys)
