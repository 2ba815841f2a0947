"""Closing, use after close, garbage collection, forks and signals."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import aurora_engine as aurora


def test_use_after_close(tmp_path: Path) -> None:
    db = aurora.open(tmp_path / "db")
    db[b"k"] = b"v"
    table, txn, view = db.table("t"), db.begin(), db.snapshot()
    scans = [db.scan(), txn.scan(), view.scan(), iter(db)]
    db.close()
    db.close()
    assert db.closed
    uses: list[Any] = [
        lambda: db.get(b"k"),
        lambda: db.put(b"k", b""),
        lambda: db.delete(b"k"),
        lambda: b"k" in db,
        lambda: len(db),
        lambda: list(db),
        lambda: db.scan(),
        lambda: db.get_many([b"k"]),
        lambda: db.put_many([]),
        lambda: db.begin(),
        lambda: db.snapshot(),
        lambda: db.transact(print),
        lambda: db.table("t"),
        lambda: db.tables(),
        lambda: db.drop_table("t"),
        lambda: db.durable_lsn,
        lambda: db.wait_durable(1),
        lambda: db.status(),
        lambda: db.verify(),
        lambda: db.compact(),
        lambda: db.repair(),
        lambda: db.set_cache_bytes(1 << 20),
        lambda: db.__enter__(),
        lambda: table.get(b"k"),
        lambda: table.put(b"k", b""),
        lambda: txn.get(b"k"),
        lambda: txn.commit(),
        lambda: view.get(b"k"),
        *(lambda scan=scan: next(scan) for scan in scans),
    ]
    for use in uses:
        with pytest.raises(aurora.DatabaseClosedError, match="closed"):
            use()
    txn.rollback()
    view.close()
    for scan in scans[:3]:
        scan.close()  # type: ignore[union-attr]
    with aurora.open(tmp_path / "db") as again:
        assert again[b"k"] == b"v"


def test_a_block_cut_short_by_close_does_not_pass_for_a_commit(tmp_path: Path) -> None:
    db = aurora.open(tmp_path / "db")

    def close_inside() -> None:
        with db.begin() as txn:
            txn[b"k"] = b"v"
            db.close()

    with pytest.raises(aurora.DatabaseClosedError):
        close_inside()


def test_close_while_32_threads_work(tmp_path: Path) -> None:
    db = aurora.open(tmp_path / "db")
    db.put_many((b"%05d" % i, b"v" * 100) for i in range(20_000))
    unexpected: list[BaseException] = []
    running = threading.Barrier(33)

    def work(number: int) -> None:
        running.wait()
        try:
            while True:
                if number % 4 == 0:
                    db.put(b"own %d" % number, b"v")
                elif number % 4 == 1:
                    sum(len(v) for _, v in db.scan())
                elif number % 4 == 2:
                    with db.begin() as txn:
                        txn[b"%d" % number] = txn.get(b"00000") or b""
                else:
                    db.get_many([b"%05d" % i for i in range(1000)])
        except aurora.DatabaseClosedError:
            pass
        except aurora.ConflictError:
            pass
        except BaseException as error:
            unexpected.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(32)]
    for thread in threads:
        thread.start()
    running.wait()
    time.sleep(0.3)
    db.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert unexpected == []
    with aurora.open(tmp_path / "db") as again:
        assert again.verify().ok


def test_an_unclosed_database_warns_and_is_closed(tmp_path: Path) -> None:
    def forget() -> None:
        aurora.open(tmp_path / "db")[b"k"] = b"v"
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed"):
        forget()
    with aurora.open(tmp_path / "db") as again:
        assert again[b"k"] == b"v"


def test_forgotten_transactions_and_scans_are_freed(db: aurora.Database) -> None:
    db.put_many((b"%05d" % i, b"v" * 100) for i in range(1000))
    for _ in range(100):
        next(db.scan())
        db.begin()[b"k"] = b"v"
        db.snapshot().get(b"00001")
    assert db.status().snapshots == 0


def test_an_open_database_does_not_keep_the_interpreter_alive(tmp_path: Path) -> None:
    program = (
        "import sys, aurora_engine; db = aurora_engine.open(sys.argv[1]); "
        "db[b'k'] = b'v'; scan = db.scan(); txn = db.begin()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "db")],
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with aurora.open(tmp_path / "db") as db:
        assert db[b"k"] == b"v"


# ---- fork ----


def in_child(work: Any) -> int:
    """Runs ``work`` in a forked child; 0 when it returned true."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_handles_refuse_use_after_a_fork(db: aurora.Database, tmp_path: Path) -> None:
    db[b"k"] = b"v"
    table, txn, view, scan = db.table("t"), db.begin(), db.snapshot(), db.scan()

    def work() -> bool:
        for use in (
            lambda: db.get(b"k"),
            lambda: db.put(b"k", b""),
            lambda: db.status(),
            lambda: table.get(b"k"),
            lambda: txn.get(b"k"),
            lambda: txn.commit(),
            lambda: view.get(b"k"),
            lambda: next(scan),
        ):
            try:
                use()
            except aurora.DatabaseClosedError as error:
                if "fork" not in str(error):
                    return False
            else:
                return False
        txn.rollback()
        view.close()
        db.close()
        return db.closed

    assert in_child(work) == 0
    assert db[b"k"] == b"v"
    txn[b"k"] = b"w"
    txn.commit()
    assert db[b"k"] == b"w"


def test_a_forked_child_frees_nothing_and_may_open_its_own(
    db: aurora.Database, tmp_path: Path
) -> None:
    db[b"k"] = b"v"
    held = [db.scan(), db.begin(), db.snapshot()]

    def work() -> bool:
        held.clear()
        gc.collect()
        with aurora.open(tmp_path / "own") as own:
            own[b"k"] = b"child"
            return own[b"k"] == b"child"

    assert in_child(work) == 0
    assert db[b"k"] == b"v"
    with aurora.open(tmp_path / "own") as own:
        assert own[b"k"] == b"child"


def write_elsewhere(path: str) -> None:
    with aurora.open(path) as db:
        db[b"from"] = b"spawned"


def test_spawned_processes_and_the_lock(db: aurora.Database, tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=write_elsewhere, args=(str(tmp_path / "other"),)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    with aurora.open(tmp_path / "other") as other:
        assert other[b"from"] == b"spawned"
    with pytest.raises(aurora.DatabaseLockedError, match=str(os.getpid())):
        aurora.open(db.path)


# ---- signals ----

WAITING = """
import signal, sys
import aurora_engine as aurora
# Whoever runs the tests in the background may have left the signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
db = aurora.open(sys.argv[1])
lsn = db.put(b"k", b"v")
# An LSN that no commit will ever have: the wait would be endless.
print("waiting", flush=True)
try:
    db._source.wait_durable(lsn + 1_000_000)
except KeyboardInterrupt:
    print("interrupted", db[b"k"].decode(), flush=True)
    db.close()
"""


def test_ctrl_c_ends_a_wait(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, str(tmp_path / "db")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.3)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted v\n"
        assert time.monotonic() - started < 2
    assert process.returncode == 0


def test_a_signal_may_close_what_a_scan_reads(db: aurora.Database) -> None:
    db.put_many((b"%06d" % number, b"") for number in range(200_000))
    seen: list[bytes] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: db.close())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        with pytest.raises(aurora.DatabaseClosedError, match="was open when its database was"):
            # No Python code runs in between, so it is the scan that looks for signals.
            seen.extend(db)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_wait_with_a_timeout(db: aurora.Database) -> None:
    lsn = db.put(b"k", b"v")
    started = time.monotonic()
    assert not db._source.wait_durable(lsn + 1_000_000, 0.25)
    assert 0.2 < time.monotonic() - started < 2
    assert db._source.wait_durable(lsn, 0)


def test_closing_while_it_is_backtracked(tmp_path: Path) -> None:
    """Whatever the backtrack was at: it ends with an error, and closing waits for no more."""
    for attempt in range(30):
        db = aurora.open(tmp_path / "db")
        lsn = db.put(b"k", b"1")
        db.put(b"k", b"2")

        def back(db: aurora.Database = db, lsn: int = lsn) -> None:
            with contextlib.suppress(aurora.DatabaseClosedError):
                while True:
                    db.backtrack(lsn)

        thread = threading.Thread(target=back)
        thread.start()
        time.sleep(0.002 * attempt)
        closing = threading.Thread(target=db.close, daemon=True)
        closing.start()
        closing.join(20)
        assert not closing.is_alive(), "close() does not return"
        thread.join()
    with aurora.open(tmp_path / "db") as db:
        assert db[b"k"] in (b"1", b"2")
        assert db.verify().ok
