"""The workloads behind the goals.

Keys are 16 bytes and hash-scattered, values 100 bytes and half compressible.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import aurora_engine as aurora
from aurora_engine.bench.engines.base import Engine, Session

SEED = 20130101
VALUE_BYTES = 100


def key(number: int) -> bytes:
    """The number-th key."""
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()


def value(source: random.Random) -> bytes:
    """A value of which half compresses away."""
    return source.randbytes(VALUE_BYTES // 2) + b"a" * (VALUE_BYTES // 2)


def records(count: int) -> list[tuple[bytes, bytes]]:
    """``count`` records in key order."""
    source = random.Random(SEED)
    return sorted((key(number), value(source)) for number in range(count))


def durable_puts(db: aurora.Database, seconds: float, threads: int) -> float:
    """Durable puts per second of ``threads`` threads, each in a closed loop."""
    stop = time.perf_counter() + seconds
    done = [0] * threads
    payload = value(random.Random(SEED))

    def run(index: int) -> None:
        number = 0
        while time.perf_counter() < stop:
            db.put(key(index << 40 | number), payload)
            number += 1
        done[index] = number

    start = time.perf_counter()
    workers = [threading.Thread(target=run, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - start)


def commits_without_waiting(db: aurora.Database, count: int) -> float:
    """Commits per second of one thread that waits once, at the end."""
    payload = value(random.Random(SEED))
    keys = [key(number) for number in range(count)]
    lsn = 0
    start = time.perf_counter()
    for each in keys:
        transaction = db.begin()
        transaction.put(each, payload)
        lsn = transaction.commit(wait=False)
    db.wait_durable(lsn)
    return count / (time.perf_counter() - start)


def commits_with_waiting(db: aurora.Database, seconds: float) -> float:
    """Commits per second of one thread that waits for each."""
    payload = value(random.Random(SEED))
    stop = time.perf_counter() + seconds
    start = time.perf_counter()
    number = 0
    while time.perf_counter() < stop:
        transaction = db.begin()
        transaction.put(key(number), payload)
        transaction.commit()
        number += 1
    return number / (time.perf_counter() - start)


def gets(session: Session, keys: list[bytes]) -> float:
    """Gets per second, each its own transaction."""
    get = session.get
    start = time.perf_counter()
    for each in keys:
        get(each)
    return len(keys) / (time.perf_counter() - start)


def gets_of(reader: Any, keys: list[bytes]) -> float:
    """Gets per second of a view or transaction that is given up at the end."""
    with reader as view:
        get = view.get
        start = time.perf_counter()
        for each in keys:
            get(each)
        return len(keys) / (time.perf_counter() - start)


def full_scan(engine: Engine) -> float:
    """Records per second of a full scan."""
    start = time.perf_counter()
    return engine.count() / (time.perf_counter() - start)


def range_scans(session: Session, starts: list[bytes]) -> float:
    """Records per second of scans of 100 records."""
    start = time.perf_counter()
    count = sum(len(session.scan(each, 100)) for each in starts)
    return count / (time.perf_counter() - start)


WRITER = """
import sys, random
import aurora_engine as aurora
db = aurora.open(sys.argv[1])
source = random.Random(1)
log_bytes, row = int(sys.argv[2]), 0
while db.status().log_bytes < log_bytes:
    db.put_many([((row + n).to_bytes(16, "big"), source.randbytes(100)) for n in range(5000)])
    row += 5000
print(row, flush=True)
import time; time.sleep(600)
"""


def reopen_after_kill(folder: Path, log_bytes: int) -> float:
    """Milliseconds to open, and get a record of, a volume whose writer was killed.

    ``log_bytes`` is how much log each copy had taken by then.
    """
    shutil.rmtree(folder, ignore_errors=True)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(log_bytes)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    rows = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    start = time.perf_counter()
    db = aurora.open(folder)
    found = db.get((rows - 1).to_bytes(16, "big"))
    milliseconds = (time.perf_counter() - start) * 1000
    assert found is not None, "an acknowledged row is gone"
    db.close()
    shutil.rmtree(folder)
    return milliseconds


def new_database_mib(folder: Path) -> float:
    """MiB on disk of a new, empty database that was opened and closed."""
    shutil.rmtree(folder, ignore_errors=True)
    aurora.open(folder).close()
    size = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file()) / 2**20
    shutil.rmtree(folder)
    return size


def import_ms() -> float:
    """Milliseconds that importing the package adds to starting Python."""

    def run(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return (time.perf_counter() - start) * 1000

    return run("import aurora_engine") - run("pass")
