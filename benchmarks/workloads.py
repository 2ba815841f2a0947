"""The workloads behind the goals.

Keys are 16 bytes and hash-scattered, values 100 bytes and half compressible.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

import aurora_engine as aurora

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


def build_probe(folder: Path) -> Path:
    """Compiles the bare probe."""
    program = folder / "probe"
    source = Path(__file__).with_name("probe.c")
    subprocess.run(
        [os.environ.get("CC", "cc"), "-O2", "-pthread", "-o", program, source], check=True
    )
    return program


def probe_rounds(program: Path, folder: Path, seconds: float) -> float:
    """Rounds per second of the bare probe."""
    output = subprocess.run(
        [program, folder, str(seconds)], check=True, capture_output=True, text=True
    ).stdout
    return float(output)


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


@contextmanager
def lmdb_with(folder: Path, pairs: list[tuple[bytes, bytes]]) -> Iterator[lmdb.Environment]:
    """An LMDB environment that holds ``pairs``."""
    environment = lmdb.open(str(folder), map_size=8 << 30)
    with environment.begin(write=True) as transaction:
        transaction.cursor().putmulti(pairs)
    try:
        yield environment
    finally:
        environment.close()


def aurora_gets(db: aurora.Database, keys: list[bytes]) -> float:
    """Gets per second, each its own transaction."""
    get = db.get
    start = time.perf_counter()
    for each in keys:
        get(each)
    return len(keys) / (time.perf_counter() - start)


def lmdb_gets(environment: lmdb.Environment, keys: list[bytes]) -> float:
    """Gets per second, each its own transaction."""
    begin = environment.begin
    start = time.perf_counter()
    for each in keys:
        with begin() as transaction:
            transaction.get(each)
    return len(keys) / (time.perf_counter() - start)


def lmdb_gets_one_transaction(environment: lmdb.Environment, keys: list[bytes]) -> float:
    """Gets per second inside one read transaction."""
    with environment.begin() as transaction:
        get = transaction.get
        start = time.perf_counter()
        for each in keys:
            get(each)
        return len(keys) / (time.perf_counter() - start)


def aurora_gets_one_transaction(db: aurora.Database, keys: list[bytes]) -> float:
    """Gets per second inside one snapshot."""
    with db.snapshot() as view:
        get = view.get
        start = time.perf_counter()
        for each in keys:
            get(each)
        return len(keys) / (time.perf_counter() - start)


def aurora_scan(db: aurora.Database) -> float:
    """Records per second of a full scan."""
    start = time.perf_counter()
    count = sum(1 for _ in db.scan())
    return count / (time.perf_counter() - start)


def lmdb_scan(environment: lmdb.Environment) -> float:
    """Records per second of a full scan."""
    start = time.perf_counter()
    with environment.begin() as transaction:
        count = sum(1 for _ in transaction.cursor())
    return count / (time.perf_counter() - start)


def aurora_range_scans(db: aurora.Database, starts: list[bytes]) -> float:
    """Records per second of scans of 100 records."""
    start = time.perf_counter()
    count = sum(1 for each in starts for _ in db.scan(each, limit=100))
    return count / (time.perf_counter() - start)


def lmdb_range_scans(environment: lmdb.Environment, starts: list[bytes]) -> float:
    """Records per second of scans of 100 records."""
    start = time.perf_counter()
    count = 0
    for each in starts:
        with environment.begin() as transaction:
            cursor = transaction.cursor()
            if cursor.set_range(each):
                for _, _entry in zip(range(100), cursor, strict=False):
                    count += 1
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
