"""What a type checker says about programs that use the face."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import assert_type

import aurora_engine as aurora

with aurora.open("x", topology=aurora.Topology(zones={"a": "/a"}), durability="async") as db:
    assert_type(db, aurora.Database)
    assert_type(db.get(b"k"), bytes | None)
    assert_type(db.get(b"k", 5), bytes | int)
    assert_type(db.get(bytearray(b"k"), as_view=True), memoryview | None)
    assert_type(db[b"k"], bytes)
    assert_type(db.put(b"k", memoryview(b"v")), int)
    assert_type(db.delete(b"k"), bool)
    assert_type(list(db), list[bytes])
    assert_type(list(db.scan(b"a", reverse=True, limit=3)), list[tuple[bytes, bytes]])
    assert_type(db.get_many([b"a"]), list[bytes | None])
    assert_type(db.get_many([b"a"], 1), list[bytes | int])
    db.put_many([(b"a", b"b")])
    db.put_many({b"a": b"b"})
    db.put_many([b"a"], [b"b"])
    table = db.table("t")
    assert_type(table, aurora.Table)
    with db.begin(read_only=True) as txn:
        assert_type(txn, aurora.Transaction)
        assert_type(txn.commit(wait=False), int)
        assert_type(txn.table("t")[b"k"], bytes)

    def work(txn: aurora.Transaction) -> int:
        return len(txn)

    assert_type(db.transact(work, attempts=3), int)
    with db.snapshot() as view, view.scan() as scan:
        assert_type(next(scan), tuple[bytes, bytes])
    with db.at(timedelta(hours=2)) as then, db.at(datetime.now()), db.at(5):
        assert_type(then.table("t")[b"k"], bytes)
        assert_type(then.time, datetime)
    point = db.backtrack(to=7, dry_run=True)
    assert_type(point, aurora.Rewind)
    assert_type(point.undo_lsn, int)
    assert_type(db.history(), list[aurora.Rewind])
    assert_type(db.clone("y", at=point.to_lsn), aurora.Database)
    assert_type(db.restore_table("t", at=5), int)
    assert_type(db.explain_retention().copies, list[aurora.CopyRetention])
    assert_type(db.status().segments[0].zone, str)
    assert_type(db.verify().ok, bool)
try:
    pass
except aurora.StorageIOError as error:
    assert_type(error.errno, int | None)
"""

BAD = [
    'db.put("k", b"v")',
    "db.get(5)",
    "db.scan(b'a', b'b', b'c')",
    "db.begin(True)",
    'db.at("yesterday")',
    "db.backtrack(1.5)",
    'db.table(b"t")',
    "db.put_many([b'a'])",
    'aurora.open("x", durability="never")',
    "db.snapshot().put(b'a', b'b')",
    "aurora.Topology(5)",
    "aurora.Databse",
]


def check(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mypy", reason="mypy is a development tool")
    file = tmp_path / "program.py"
    file.write_text(program)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--cache-dir",
            str(tmp_path),
            "--config-file=",
            str(file),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )


@pytest.mark.slow
def test_a_correct_program_passes(tmp_path: Path) -> None:
    done = check(tmp_path, GOOD)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_mistakes_are_found(tmp_path: Path) -> None:
    lines = ["import aurora_engine as aurora", 'db = aurora.open("x")', *BAD]
    done = check(tmp_path, "\n".join(lines) + "\n")
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    missed = [lines[number - 1] for number in range(3, len(lines) + 1) if number not in found]
    assert missed == [], done.stdout
