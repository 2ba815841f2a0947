"""SQL against stock SQLite: the same statements, through the same module of Python.

Stock SQLite runs in WAL mode with synchronous=FULL, so that a commit that has returned is on disk,
as ours is, on six copies. Both have the same rows, the default cache of a connection, and prepared
statements from the module's own cache.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import aurora_engine as aurora
from aurora_engine.bench.measure import Figure, Goal, interleave, ratio

VALUE = "v" * 100
STRIDE = 7919
READERS = 15
# No run writes what an earlier one has written: a transaction that changes nothing is no commit.
RUNS = itertools.count(1)
ROWS_PER_SCAN_TRANSACTION = 1000

Connect = Callable[[], Any]


def _stock(path: Path) -> Connect:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=60
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    return connect


def _ours(db: aurora.Database) -> Connect:
    return lambda: aurora.connect(db, isolation_level=None, check_same_thread=False, timeout=60)


def _fill(connection: Any, rows: int) -> None:
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO t VALUES (?, ?)", ((id_, VALUE) for id_ in range(rows)))
    connection.execute("COMMIT")


def _bulk(connect: Connect, rows: int) -> float:
    """Rows a second of one transaction."""
    with closing(connect()) as connection:
        connection.execute("DROP TABLE IF EXISTS bulk")
        connection.execute("CREATE TABLE bulk (id INTEGER PRIMARY KEY, v TEXT)")
        start = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO bulk VALUES (?, ?)", ((id_, VALUE) for id_ in range(rows))
        )
        connection.execute("COMMIT")
        return rows / (time.perf_counter() - start)


def _commits(connect: Connect, rows: int, seconds: float, threads: int) -> float:
    """One-row commits a second over so many connections, each in its thread."""
    done = [0] * threads
    run = next(RUNS)
    connections = [connect() for _ in range(threads)]
    ready = threading.Barrier(threads + 1)
    end = [0.0]

    def work(number: int) -> None:
        connection, at = connections[number], number
        ready.wait()
        while time.perf_counter() < end[0]:
            at = (at + STRIDE) % rows
            connection.execute(
                "UPDATE t SET v = ? WHERE id = ?", (f"{run:09}.{done[number]:090}", at)
            )
            done[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    end[0] = time.perf_counter() + seconds
    ready.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    rate = sum(done) / (time.perf_counter() - start)
    for connection in connections:
        connection.close()
    return rate


def _points(connect: Connect, rows: int, seconds: float) -> float:
    with closing(connect()) as connection:
        done, at, end = 0, 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            at = (at + STRIDE) % rows
            connection.execute("SELECT v FROM t WHERE id = ?", (at,)).fetchone()
            done += 1
        return done / seconds


def _scans(connect: Connect, rows: int, seconds: float) -> float:
    """Rows a second that reach Python."""
    with closing(connect()) as connection:
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            for _ in connection.execute("SELECT id, v FROM t"):
                pass
            done += rows
        return done / (time.perf_counter() - start)


def _commits_beside_readers(connect: Connect, rows: int, seconds: float) -> float:
    """One-row commits a second of one connection while others read all the time."""
    stop = threading.Event()

    def read() -> None:
        with closing(connect()) as connection:
            at = 0
            while not stop.is_set():
                at = (at + STRIDE) % rows
                connection.execute(
                    "SELECT count(v) FROM t WHERE id BETWEEN ? AND ?", (at, at + 100)
                ).fetchone()
                # As an application does something with what it has read.
                time.sleep(0.001)

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        return _commits(connect, rows, seconds, 1)
    finally:
        stop.set()
        for reader in readers:
            reader.join()


def _redo(db: aurora.Database, connect: Connect, rows: int, commits: int) -> tuple[float, float]:
    """Bytes of redo, and of pages that SQLite hands over, for each one-row commit."""
    with closing(connect()) as connection:
        before, pages = db.status(), db.sql.counts().writes
        connection.execute("PRAGMA synchronous=OFF")
        for number in range(commits):
            connection.execute(
                "UPDATE t SET v = ? WHERE id = ?", (f"redo {number:095}", number * STRIDE % rows)
            )
        connection.wait_durable()
    after = db.status()
    logged = after.log_bytes - before.log_bytes
    written = (db.sql.counts().writes - pages) * after.page_bytes
    return logged / commits, written / commits


def against_sqlite(folder: Path, rows: int, seconds: float, repetitions: int) -> list[Goal]:
    """Every figure of SQL, ours and stock SQLite's in turns."""
    stock = _stock(folder / "stock.db")
    with aurora.open(folder / "sql", cache_bytes=512 << 20) as db:
        ours = _ours(db)
        for connect in (stock, ours):
            with closing(connect()) as connection:
                _fill(connection, rows)
        # What is compared stands side by side; what leaves work for the background comes last.
        work: dict[str, Callable[[Connect], float]] = {
            "one": lambda connect: _commits(connect, rows, seconds, 1),
            "beside": lambda connect: _commits_beside_readers(connect, rows, seconds),
            "sixteen": lambda connect: _commits(connect, rows, seconds, 16),
            "sixty-four": lambda connect: _commits(connect, rows, seconds, 64),
            "points": lambda connect: _points(connect, rows, seconds),
            "scans": lambda connect: _scans(connect, rows, seconds),
            "bulk": lambda connect: _bulk(connect, rows),
        }
        steps: dict[str, Callable[[], float]] = {}
        for name, run in work.items():
            steps[name] = partial(run, ours)
            steps[f"{name} stock"] = partial(run, stock)
        taken = interleave(repetitions, **steps)
        logged, written = _redo(db, ours, rows, min(rows, 5000))

    def pair(name: str, unit: str) -> tuple[Figure, Figure]:
        return Figure("aurora_engine", unit, taken[name]), Figure(
            "sqlite", unit, taken[f"{name} stock"]
        )

    sixteen, sixteen_stock = pair("sixteen", "commits/s")
    at_sixteen = ratio("SQL: one-row commits, 16 connections", 4, "x", sixteen, sixteen_stock)
    one, one_stock = pair("one", "commits/s")
    beside = Figure("with 15 readers", "commits/s", taken["beside"])
    redo = Figure("redo", "bytes", [logged])
    pages = Figure("pages that SQLite wrote", "bytes", [written])
    return [
        ratio("SQL: one-row commits, one connection", 0.5, "x", one, one_stock),
        at_sixteen,
        # Rising: at 64 connections no less than at 16.
        ratio(
            "SQL: one-row commits, 64 connections",
            at_sixteen.value,
            "x",
            *pair("sixty-four", "commits/s"),
        ),
        ratio("SQL: point reads", 0.8, "x", *pair("points", "reads/s")),
        ratio("SQL: scans", 0.8, "x", *pair("scans", "rows/s")),
        ratio("SQL: bulk insert", 0.7, "x", *pair("bulk", "rows/s")),
        ratio("SQL: commits beside 15 readers against alone", 0.8, "x", beside, one),
        Goal(
            "SQL: redo of a one-row commit",
            100 * logged / written,
            "at most",
            5,
            "%",
            [redo, pages],
        ),
    ]
