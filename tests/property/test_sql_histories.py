"""Many SQL connections at once: snapshots are whole, commits are in order, nobody starves.

The list-append check is after Elle: transactions read lists and append unique values to them, so
that a list tells the order of its writers, and every read must be a prefix of it.
"""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.volumes import seeded

import aurora_engine as aurora
from aurora_engine.sql.drivers import vfs_of

SECONDS = 2.0
ACCOUNTS = 30
TOTAL = ACCOUNTS * 100
LISTS = 6


@pytest.fixture
def db(tmp_path: Path) -> Iterator[aurora.Database]:
    with aurora.open(tmp_path / "db") as database:
        yield database


def together(*actions: Callable[[], None]) -> None:
    """Runs them in threads; the first error of any is raised."""
    errors: list[BaseException] = []

    def guarded(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def connect(db: aurora.Database, **options: Any) -> Any:
    return aurora.connect(db, isolation_level=None, **options)


@pytest.mark.slow
def test_transfers_keep_the_sum_in_every_snapshot(db: aurora.Database) -> None:
    """Writers of SQL, some without waiting, beside writers of keys; readers see the sum whole."""
    rng = seeded("sql transfers")
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, money)")
        conn.executemany("INSERT INTO account VALUES (?, 100)", [(n,) for n in range(ACCOUNTS)])
    until = time.monotonic() + SECONDS
    done = [0] * 12

    def write(seed: int, number: int) -> None:
        random_of = random.Random(seed)
        with closing(connect(db)) as conn:
            while time.monotonic() < until:
                one, other = random_of.sample(range(ACCOUNTS), 2)
                conn.execute("BEGIN IMMEDIATE")
                conn.execute("UPDATE account SET money = money - 1 WHERE id = ?", (one,))
                conn.execute("UPDATE account SET money = money + 1 WHERE id = ?", (other,))
                if random_of.random() < 0.1:
                    conn.rollback()
                else:
                    conn.commit(wait=random_of.random() < 0.7)
                done[number] += 1

    def read() -> None:
        with closing(connect(db)) as conn:
            while time.monotonic() < until:
                conn.execute("BEGIN")
                for _ in range(2):
                    money = conn.execute("SELECT sum(money) FROM account").fetchone()
                    assert money == (TOTAL,)
                conn.execute("COMMIT")

    def write_keys() -> None:
        while time.monotonic() < until:
            db.put(b"key", b"value")

    seeds = [rng.getrandbits(32) for _ in done]
    writers = [partial(write, seed, number) for number, seed in enumerate(seeds)]
    together(*writers, read, read, write_keys)
    assert min(done) * 4 > max(done), f"the line is not fair: {done}"
    with closing(connect(db)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.verify().ok


@pytest.mark.slow
def test_lists_grow_in_one_order(db: aurora.Database) -> None:
    """Every read of a list is a prefix of what it became, and reads of one snapshot agree."""
    rng = seeded("sql lists")
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE list (id INTEGER PRIMARY KEY, items)")
        conn.executemany("INSERT INTO list VALUES (?, '[]')", [(n,) for n in range(LISTS)])
    until = time.monotonic() + SECONDS
    reads: list[tuple[int, dict[int, list[str]]]] = []
    appended: list[tuple[int, int, str]] = []
    refused = [0]

    def run(seed: int, name: int) -> None:
        random_of = random.Random(seed)
        count = 0
        with closing(connect(db)) as conn:
            while time.monotonic() < until:
                kind = random_of.random()
                conn.execute("BEGIN IMMEDIATE" if kind < 0.5 else "BEGIN")
                seen = {
                    n: json.loads(items) for n, items in conn.execute("SELECT id, items FROM list")
                }
                if kind > 0.8:
                    reads.append((conn.lsn, seen))
                    conn.execute("COMMIT")
                    continue
                count += 1
                target, item = random_of.randrange(LISTS), f"{name}.{count}"
                try:
                    conn.execute(
                        "UPDATE list SET items = ? WHERE id = ?",
                        (json.dumps([*seen[target], item]), target),
                    )
                except sqlite3.OperationalError as refusal:
                    # Only who has read first can be late.
                    assert kind >= 0.5
                    assert refusal.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT
                    refused[0] += 1
                    conn.rollback()
                    continue
                conn.commit(wait=random_of.random() < 0.5)
                appended.append((conn.lsn, target, item))
            conn.wait_durable()

    together(*(partial(run, rng.getrandbits(32), number) for number in range(8)))
    with closing(connect(db)) as conn:
        final = {n: json.loads(items) for n, items in conn.execute("SELECT * FROM list")}
    appended.sort()
    assert len({lsn for lsn, _, _ in appended}) == len(appended)
    for number in range(LISTS):
        assert final[number] == [item for _, target, item in appended if target == number]
    for lsn, seen in reads:
        for number, items in seen.items():
            visible = [item for at, target, item in appended if target == number and at <= lsn]
            assert items == visible, f"read at {lsn}"
    assert refused[0] > 0, "nobody was late"


def test_readers_and_writers_do_not_wait_for_each_other(db: aurora.Database) -> None:
    with closing(connect(db)) as writer, closing(connect(db, timeout=0)) as reader:
        writer.execute("CREATE TABLE t (a)")
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
        for number in range(300):
            writer.execute("INSERT INTO t VALUES (?)", (number,))
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM t")
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (300,)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            reader.execute("INSERT INTO t VALUES (0)")
        reader.execute("PRAGMA busy_timeout = 200")
        begun = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            reader.execute("INSERT INTO t VALUES (0)")
        assert 0.15 < time.monotonic() - begun < 1
        writer.execute("ROLLBACK")
        reader.execute("INSERT INTO t VALUES (0)")


def test_who_is_late_is_told_at_once_and_holds_up_nobody(db: aurora.Database) -> None:
    with closing(connect(db)) as late, closing(connect(db)) as other:
        other.execute("CREATE TABLE t (a)")
        late.execute("BEGIN")
        late.execute("SELECT * FROM t").fetchall()
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO t VALUES (1)")
        other.execute("COMMIT")
        begun = time.monotonic()
        with pytest.raises(sqlite3.OperationalError) as refusal:
            late.execute("INSERT INTO t VALUES (2)")
        assert refusal.value.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT
        assert isinstance(refusal.value, aurora.ConflictError)
        other.execute("INSERT INTO t VALUES (3)")  # while the late one is still in its transaction
        assert time.monotonic() - begun < 0.5
        assert late.execute("SELECT * FROM t").fetchall() == []
        late.execute("ROLLBACK")


@pytest.mark.slow
def test_stock_connections_take_turns(db: aurora.Database) -> None:
    """With SQLite's own busy handler, which sleeps: not with the right to write in its hands."""
    uri = f"file:main?vfs={vfs_of(db.sql, sqlite3)}"
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE t (a)")
    rounds = 40

    def write() -> None:
        with closing(sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)) as stock:
            for number in range(rounds):
                stock.execute("INSERT INTO t VALUES (?)", (number,))

    begun = time.monotonic()
    together(*[write] * 8)
    assert time.monotonic() - begun < 10
    with closing(connect(db)) as conn:
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (8 * rounds,)
