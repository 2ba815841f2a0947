"""SQL connections while copies, the quorum, the disk, the database or the process go away."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.volumes import all_good, remove, seeded, segment_folder, until

import aurora_engine as aurora

Conn = Any


@pytest.fixture
def conn(db: aurora.Database) -> Iterator[Conn]:
    with closing(aurora.connect(db)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
        connection.commit()
        yield connection


def rows(conn: Conn) -> list[tuple[Any, ...]]:
    return conn.execute("SELECT * FROM t ORDER BY a").fetchall()


def test_two_lost_copies_stop_nobody(db: aurora.Database, conn: Conn, tmp_path: Path) -> None:
    rng = seeded("sql two copies")
    lost = rng.sample(range(6), 2)
    for number in range(60):
        if number in (20, 40):
            remove(segment_folder(tmp_path / "db", lost[number // 20 - 1]), rng)
        conn.execute("INSERT INTO t VALUES (?, zeroblob(3000))", (number,))
        conn.commit()
    until(lambda: all_good(db), "the copies are repaired", seconds=20)
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (60,)
    assert db.verify().ok


def refuse_writes(root: Path, copies: range) -> Callable[[], None]:
    """Puts the copies' folders out of reach; what is returned brings them back."""
    moved = []
    for copy in copies:
        folder = segment_folder(root, copy)
        aside = folder.with_name(f"aside-{copy}")
        folder.rename(aside)
        folder.write_bytes(b"")  # so that nobody makes it anew
        moved.append((folder, aside))

    def back() -> None:
        for folder, aside in moved:
            folder.unlink()
            aside.rename(folder)

    return back


def insert_and_commit(conn: Conn, sql: str) -> None:
    conn.execute(sql)
    conn.commit()


def commit_until_refused(conn: Conn, limit: int = 3000) -> tuple[int, sqlite3.OperationalError]:
    """Inserts numbered rows; how many were acknowledged, and the refusal."""
    for number in range(limit):
        try:
            conn.execute("INSERT INTO t VALUES (?, zeroblob(20000))", (number,))
            conn.commit()
        except sqlite3.OperationalError as refusal:
            return number, refusal
    pytest.fail(f"{limit} commits without a quorum")


def test_a_lost_quorum_is_told_and_nothing_lost_was_ever_read(
    db: aurora.Database, conn: Conn, tmp_path: Path
) -> None:
    """Readers never see more than what stays; whoever waited for more is told."""
    stop = threading.Event()
    seen = [0]

    def read() -> None:
        with closing(aurora.connect(db)) as reader:
            while not stop.is_set():
                [(count,)] = reader.execute("SELECT count(*) FROM t").fetchall()
                assert count >= seen[0]
                seen[0] = count

    reading = threading.Thread(target=read)
    reading.start()
    back = None
    try:
        for number in range(-20, 0):
            conn.execute("INSERT INTO t VALUES (?, 0)", (number,))
            conn.commit()
        back = refuse_writes(tmp_path / "db", range(4))
        count, refusal = commit_until_refused(conn)
        assert isinstance(refusal, aurora.QuorumLostError), refusal
        conn.rollback()
        acknowledged = count + 20
        assert seen[0] <= acknowledged + refusal.in_doubt
        with closing(aurora.connect(db)) as other, pytest.raises(aurora.QuorumLostError):
            insert_and_commit(other, "INSERT INTO t VALUES (-100, 0)")
    finally:
        stop.set()
        reading.join()
        if back is not None:
            back()
    db.repair()
    found = {number for number, _ in rows(conn)}
    assert set(range(-20, count)) <= found
    assert len(found) <= acknowledged + 1
    conn.execute("INSERT INTO t VALUES (100000, 'later')")
    conn.commit()
    until(lambda: all_good(db), "all copies are good", seconds=20)
    assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.verify().ok


def test_the_quorum_goes_under_a_transaction_over_two_databases(
    db: aurora.Database, conn: Conn, tmp_path: Path
) -> None:
    conn.execute("ATTACH 'file:second' AS second")
    conn.execute("CREATE TABLE second.u (a)")
    conn.commit()
    back = refuse_writes(tmp_path / "db", range(4))
    try:
        conn.execute(
            "CREATE TEMP TRIGGER both AFTER INSERT ON main.t "
            "BEGIN INSERT INTO u VALUES (new.a); END"
        )
        _, refusal = commit_until_refused(conn)
        assert isinstance(refusal, aurora.QuorumLostError)
        conn.rollback()
    finally:
        back()
    db.repair()
    assert [(a,) for a, _ in rows(conn)] == conn.execute("SELECT a FROM second.u").fetchall()


def test_backtrack_under_open_connections(db: aurora.Database, conn: Conn) -> None:
    """A reader stays where it is, a writer is refused, and whoever comes next sees the new head."""
    conn.execute("INSERT INTO t VALUES (1, 1)")
    conn.commit()
    then = conn.lsn
    conn.execute("INSERT INTO t VALUES (2, 2)")
    conn.commit()
    with (
        closing(aurora.connect(db, isolation_level=None)) as reader,
        closing(aurora.connect(db)) as writer,
    ):
        reader.execute("BEGIN")
        assert rows(reader) == [(1, 1), (2, 2)]
        writer.execute("INSERT INTO t VALUES (3, 3)")
        undo = db.backtrack(then).undo_lsn
        assert rows(reader) == [(1, 1), (2, 2)]
        assert rows(writer) == [(1, 1), (2, 2), (3, 3)]
        with pytest.raises(sqlite3.OperationalError) as refusal:
            writer.commit()
        assert isinstance(refusal.value, aurora.ConflictError)
        assert not writer.in_transaction
        reader.execute("COMMIT")
        for each in (reader, writer, conn):
            assert rows(each) == [(1, 1)]
        writer.execute("INSERT INTO t VALUES (4, 4)")
        writer.commit()
        assert rows(conn) == [(1, 1), (4, 4)]
        assert conn.execute("SELECT aurora_backtrack(?)", (undo,)).fetchone()[0] > undo
        assert rows(conn) == [(1, 1), (2, 2)]


def test_the_database_is_closed_under_connections(tmp_path: Path) -> None:
    db = aurora.open(tmp_path / "db")
    conns = [aurora.connect(db) for _ in range(3)]
    conns[0].execute("CREATE TABLE t (a)")
    conns[0].commit()
    conns[0].execute("INSERT INTO t VALUES (1)")
    cursor = conns[1].execute("SELECT 1 FROM t")
    db.close()
    with pytest.raises((sqlite3.Error, aurora.DatabaseClosedError)):
        conns[0].commit()
    for conn in conns:
        with pytest.raises((sqlite3.Error, aurora.DatabaseClosedError)):
            conn.execute("SELECT * FROM t").fetchall()
        conn.close()
    del cursor
    with aurora.open(tmp_path / "db") as again, closing(aurora.connect(again)) as conn:
        assert conn.execute("SELECT * FROM t").fetchall() == []


def refused_in_a_child(uses: list[Callable[[], Any]]) -> int:
    """How many of the uses are refused in a child, with the reason."""
    child = os.fork()
    if child == 0:
        refused = 0
        for use in uses:
            try:
                use()
            except sqlite3.OperationalError as refusal:
                told = "does not survive a fork into process" in str(refusal)
                refused += told and isinstance(refusal, aurora.DatabaseClosedError)
            except Exception:
                pass
        os._exit(refused)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_child_process_cannot_use_connections(db: aurora.Database, conn: Conn) -> None:
    """Not even to read what SQLite has in its own cache, where it asks nobody."""
    conn.execute("INSERT INTO t VALUES (1, 1)")
    conn.commit()
    select = "SELECT * FROM t"
    reader = aurora.connect(db, isolation_level=None)
    reader.set_trace_callback(lambda statement: None)
    for begin in ("", "BEGIN", "BEGIN IMMEDIATE"):
        reader.executescript(begin)
        cursor = reader.execute(select)
        uses: list[Callable[[], Any]] = [
            lambda: reader.execute(select),
            lambda: reader.executemany("INSERT INTO t VALUES (?, 0)", [(3,)]),
            lambda: reader.executescript(select),
            lambda: reader.cursor().execute(select),
            cursor.fetchone,
            cursor.fetchmany,
            cursor.fetchall,
            partial(list, cursor),
            lambda: list(reader.iterdump()),
            lambda: reader.backup(sqlite3.connect(":memory:")),
            reader.commit,
        ]
        assert refused_in_a_child(uses) == len(uses)
        cursor.close()
        reader.rollback()
    conn.execute("INSERT INTO t VALUES (2, 2)")
    conn.commit()
    assert rows(conn) == [(1, 1), (2, 2)]


WAITS = """
import os, signal, sqlite3, sys, threading, time
import aurora_engine as aurora
from aurora_engine.sql.drivers import vfs_of

db = aurora.open(sys.argv[1])
holder, conn = aurora.connect(db), aurora.connect(db, timeout=100)
holder.execute("CREATE TABLE t (a)")
holder.commit()
stock = sqlite3.connect(f"file:main?vfs={vfs_of(db.sql, sqlite3)}", uri=True, timeout=100)

def stock_insert():
    try:
        stock.execute("INSERT INTO t VALUES (3)")
    except sqlite3.OperationalError:  # what happened to it is told by the interpreter
        for _ in range(1000):
            time.time()
        raise

waits = {
    "execute": lambda: conn.execute("INSERT INTO t VALUES (1)"),
    "executemany": lambda: conn.executemany("INSERT INTO t VALUES (?)", [(2,)]),
    "script": lambda: conn.executescript("BEGIN IMMEDIATE; COMMIT"),
    "deferred": lambda: conn.executescript("BEGIN; SELECT * FROM t; DELETE FROM t; COMMIT"),
    "stock": stock_insert,
    "drop": lambda: db.sql.drop("main", timeout=100),
}
seen = []
# A shell starts what runs in the background with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
holder.execute("INSERT INTO t VALUES (0)")
for name, wait in waits.items():
    begun = time.monotonic()
    for after, number in ((0.2, signal.SIGUSR1), (0.5, signal.SIGINT)):
        threading.Timer(after, os.kill, (os.getpid(), number)).start()
    try:
        wait()
    except KeyboardInterrupt:
        waited = time.monotonic() - begun
        assert 0.5 <= waited < 10, (name, waited)
    except sqlite3.OperationalError as failure:
        told = (name, time.monotonic() - begun, failure.sqlite_errorname, seen)
        raise AssertionError(told) from failure
    else:
        raise AssertionError(name)
    assert not conn.in_transaction and not stock.in_transaction
assert len(seen) == len(waits)  # a handler that raises nothing ends no wait
holder.commit()
for each in (conn, stock):
    each.execute("INSERT INTO t VALUES (9)")
    each.commit()
assert conn.execute("SELECT a FROM t").fetchall() == [(0,), (9,), (9,)]

holder.execute("INSERT INTO t VALUES (0)")
signal.signal(signal.SIGALRM, lambda number, frame: db.close())
signal.setitimer(signal.ITIMER_REAL, 0.2)
begun = time.monotonic()
try:
    conn.execute("INSERT INTO t VALUES (1)")
except aurora.DatabaseClosedError:
    assert time.monotonic() - begun < 10
    print("all waits ended")
"""


def test_signals_end_the_wait_for_the_right_to_write(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WAITS, str(tmp_path / "db")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stdout, done.returncode) == ("all waits ended\n", 0), done.stderr


def test_interrupt_ends_the_wait_for_the_right_to_write(db: aurora.Database, conn: Conn) -> None:
    """Of one connection, with what is attached to it, and only while it waits."""
    conn.execute("INSERT INTO t VALUES (1, 1)")
    is_over = threading.Event()

    def interrupt() -> None:
        while not is_over.wait(0.2):
            other.interrupt()

    with (
        closing(aurora.connect(db, name="second", timeout=60)) as other,
        closing(aurora.connect(db, timeout=60, check_same_thread=False)) as patient,
    ):
        other.execute("ATTACH 'file:main' AS m")
        other.interrupt()  # it does not wait yet
        waiting = threading.Thread(target=patient.execute, args=("BEGIN IMMEDIATE",))
        waiting.start()
        begun = time.monotonic()
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            other.execute("INSERT INTO m.t VALUES (2, 2)")
        is_over.set()
        interrupting.join()
        assert 0.2 <= time.monotonic() - begun < 10
        assert waiting.is_alive()
        conn.commit()
        waiting.join(30)
        patient.rollback()
        other.execute("INSERT INTO m.t VALUES (3, 3)")
        other.commit()
    assert rows(conn) == [(1, 1), (3, 3)]


def test_a_second_process_is_told_who_has_the_volume(db: aurora.Database, tmp_path: Path) -> None:
    program = "import sys, aurora_engine as aurora; aurora.connect(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "db")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "DatabaseLockedError" in done.stderr
    assert f"process {os.getpid()}" in done.stderr


def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a tmpfs")
    try:
        with aurora.open(disk / "db") as db, closing(aurora.connect(db)) as conn:
            conn.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
            conn.commit()
            count, refusal = commit_until_refused(conn)
            assert isinstance(refusal, aurora.VolumeFullError | aurora.QuorumLostError)
            conn.rollback()
            assert count <= len(rows(conn)) <= count + refusal.in_doubt
            subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
            db.repair()
            conn.execute("DELETE FROM t WHERE a >= ?", (count,))
            conn.execute("INSERT INTO t VALUES (100000, 1)")
            conn.commit()
            assert len(rows(conn)) == count + 1
            assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        shutil.rmtree(disk, ignore_errors=True)


def test_waiting_commits_fail_together(db: aurora.Database, tmp_path: Path) -> None:
    """Sixteen connections in the middle of commits when the quorum goes: none waits for ever."""
    with closing(aurora.connect(db)) as conn:
        conn.execute("CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT, b)")
        conn.commit()
    acknowledged: list[str] = []
    refused: list[BaseException] = []

    def write(name: int) -> None:
        with closing(aurora.connect(db)) as conn:
            try:
                for number in range(4000):
                    conn.execute("INSERT INTO t(b) VALUES (?)", (f"{name}.{number}",))
                    conn.commit()
                    acknowledged.append(f"{name}.{number}")
            except sqlite3.OperationalError as refusal:
                refused.append(refusal)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    back = refuse_writes(tmp_path / "db", range(4))
    try:
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    finally:
        back()
    db.repair()
    with closing(aurora.connect(db)) as conn:
        found = {b for _, b in rows(conn)}
        assert set(acknowledged) <= found
        if refused:
            assert all(isinstance(each, aurora.QuorumLostError) for each in refused)
            assert len(found) <= len(acknowledged) + len(refused)
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
