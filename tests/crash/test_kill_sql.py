"""SIGKILL under SQL connections: acknowledged commits are there, transactions are whole (I1, I2).

``AURORA_KILLS=200`` raises the number of kills of each variant from the few of the default run.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.crash.sql_writer import BIG_BYTES, BIG_ROWS, PAGE_BYTES, ROWS, connect
from tests.crash.test_kill import TINY_GROUP_BYTES, killed, outcome
from tests.volumes import seeded

import aurora_engine as aurora

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("AURORA_KILLS", "6"))


def whole(conn: Any, sql: str) -> dict[int, list[Any]]:
    """The rows of each thread."""
    found: dict[int, list[Any]] = {}
    for thread, *rest in conn.execute(sql):
        found.setdefault(thread, []).append(tuple(rest))
    return found


def check(db: aurora.Database, acknowledged: list[int]) -> list[int]:
    """The last step of each thread that is there, after a look at everything."""
    with closing(connect(db)) as conn:
        if not conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'progress'").fetchone():
            assert not any(acknowledged)
            return acknowledged
        progress = whole(conn, "SELECT thread, step, beside, big FROM progress")
        rows = whole(conn, "SELECT thread, step, count(*) FROM rows GROUP BY 1, 2")
        big = whole(
            conn, "SELECT thread, step, count(*), min(length(filling)) FROM big GROUP BY 1, 2"
        )
        beside = whole(conn, "SELECT thread, step FROM second.progress")
        last = []
        for thread, acked in enumerate(acknowledged):
            [(step, with_second, with_big)] = progress.get(thread, [(None, None, None)])
            assert (step or 0) in (acked, acked + 1), f"thread {thread}: {acked} acknowledged"
            assert beside.get(thread, [(None,)]) == [(with_second,)]
            assert all(count == ROWS for _, count in rows.get(thread, []))
            assert len(rows.get(thread, [])) <= 1
            filling = BIG_BYTES + (with_big or 0) % 700
            expected = [] if with_big is None else [(with_big, BIG_ROWS, filling)]
            assert big.get(thread, []) == expected
            last.append(step or 0)
        for schema in ("main", "second"):
            assert conn.execute(f"PRAGMA {schema}.integrity_check").fetchall() == [("ok",)]
    report = db.verify()
    assert report.ok, report
    return last


@pytest.mark.parametrize(
    ("threads", "group_bytes"),
    [(1, 10 << 30), (16, 10 << 30), (4, TINY_GROUP_BYTES)],
    ids=["one connection", "sixteen connections", "a growing volume"],
)
def test_acknowledged_sql_commits_survive(tmp_path: Path, threads: int, group_bytes: int) -> None:
    rng = seeded(f"kill sql {threads} {group_bytes}")
    seed = rng.randrange(1 << 30)
    done = [0] * threads
    acknowledged = 0
    for kill in range(KILLS):
        firsts = [step + 1 for step in done]
        arguments = ("-m", "tests.crash.sql_writer", tmp_path, seed, group_bytes, *firsts)
        with killed(*arguments) as process:
            # Mostly at work, now and then while it opens the database.
            if rng.random() < 0.9:
                assert process.stdout is not None
                process.stdout.readline()
            time.sleep(rng.random() * 0.5)
        for line in outcome(process):
            if line != b"open":
                thread, step = map(int, line.split())
                assert step == done[thread] + 1, f"kill {kill}: acknowledged out of order"
                done[thread] = step
                acknowledged += 1
        with aurora.open(tmp_path, page_bytes=PAGE_BYTES, protection_group_bytes=group_bytes) as db:
            done = check(db, done)
    assert acknowledged > KILLS, "the writer was killed before it did anything"
