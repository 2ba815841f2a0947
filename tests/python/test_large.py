"""Big values, long keys, a transaction of a million puts, and a memory budget that is kept.

``AURORA_LARGE=1`` runs the last two at full size: ten million records, a cache of 64 MiB.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.volumes import ROOT, seeded

import aurora_engine as aurora

pytestmark = [pytest.mark.large, pytest.mark.slow]

MIB = 1 << 20
FULL = os.environ.get("AURORA_LARGE") == "1"
RECORDS = 10_000_000 if FULL else 300_000
CACHE_MIB = 64 if FULL else 8
OVERHEAD_MIB = 64


def test_values_from_empty_to_100_mib(tmp_path: Path) -> None:
    rng = seeded("large values")
    sizes = [0, 1, 1000, 8191, 8192, 100_000, MIB, 5 * MIB + 7, 100 * MIB]
    values = {b"%d" % size: rng.randbytes(size) for size in sizes}
    with aurora.open(tmp_path, cache_bytes=8 * MIB) as db:
        for key, value in values.items():
            db.put(key, value)
        with db.begin() as txn:
            for key, value in values.items():
                assert txn[key] == value
        with db.get(b"%d" % (100 * MIB), as_view=True) as view:  # type: ignore[union-attr]
            assert view[50 * MIB : 50 * MIB + 10] == values[b"%d" % sizes[-1]][50 * MIB :][:10]
    with aurora.open(tmp_path, cache_bytes=8 * MIB) as db:
        assert dict(db.scan()) == values
        for key in values:
            # Bigger or smaller than before, over pages that become free.
            db.put(key, values[key][::-1][: len(key) * 100_000])
        for key in values:
            assert db[key] == values[key][::-1][: len(key) * 100_000]
        assert db.verify().ok


def test_keys_from_empty_to_1024_bytes(tmp_path: Path) -> None:
    rng = seeded("long keys")
    pairs = {rng.randbytes(length): b"%d" % length for length in range(1025)}
    pairs |= {b"\xff" * length: b"" for length in range(1025)}
    with aurora.open(tmp_path, page_bytes=4096) as db:
        db.put_many(pairs)
        assert list(db.scan()) == sorted(pairs.items())
        assert list(db.scan(reverse=True, limit=5)) == sorted(pairs.items())[:-6:-1]
        for bad in (bytes(1025), b"\xff" * 5000):
            for call in (db.get, db.delete, lambda key: db.put(key, b"")):
                with pytest.raises(ValueError, match="1024"):
                    call(bad)
        assert len(db) == len(pairs)
        for key in sorted(pairs)[::2]:
            del db[key]
        assert db.verify().ok
    with aurora.open(tmp_path) as db:
        assert list(db.scan()) == sorted(pairs.items())[1::2]


def test_a_transaction_of_a_million_puts(tmp_path: Path) -> None:
    count = 1_000_000
    with aurora.open(tmp_path) as db:
        with db.begin() as txn:
            for number in range(count):
                txn.put(b"%08d" % (number * 7919 % count), b"value of %d" % number)
            assert txn[b"%08d" % 7919] == b"value of 1"
            assert db.get(b"%08d" % 7919) is None
        assert len(db) == count
        with db.begin() as txn:
            txn.put_many((b"other %d" % number, b"") for number in range(100_000))
            txn.rollback()
    with aurora.open(tmp_path) as db:
        keys = [key for key, _ in db.scan()]
        assert keys == [b"%08d" % number for number in range(count)]


BUDGET = """
import random, sys
import aurora_engine as aurora

path, records, cache = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def peak_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

def key(number):
    return b"%012d" % (number * 2654435761 % (1 << 32))

print("import", peak_mib())
with aurora.open(path, cache_bytes=cache) as db:
    for first in range(0, records, 10_000):
        db.put_many([(key(n), b"v" * 60 + b"%012d" % n) for n in range(first, first + 10_000)])
    print("load", peak_mib())
    rng = random.Random(1)
    for _ in range(20_000):
        n = rng.randrange(records)
        assert db[key(n)].endswith(b"%012d" % n)
    print("get", peak_mib())
    assert sum(1 for _ in db.scan()) == records
    print("scan", peak_mib())
    status = db.status()
    assert status.cache_used_bytes <= cache, status
print("closed", peak_mib())
with aurora.open(path, cache_bytes=cache) as db:
    print("reopened", peak_mib())
    assert len(db) == records
    print("counted", peak_mib())
"""


def test_memory_stays_in_its_budget(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUDGET, str(tmp_path), str(RECORDS), str(CACHE_MIB * MIB)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    peaks = {what: float(mib) for what, mib in map(str.split, done.stdout.splitlines())}
    assert max(peaks.values()) < CACHE_MIB + OVERHEAD_MIB, peaks
