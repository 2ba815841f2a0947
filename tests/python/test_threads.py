"""Thirty-two threads on one database, and handles shared between threads."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import aurora_engine as aurora
from aurora_engine.volume.members import in_parallel

THREADS = 32


def together(work: Callable[[int], None], threads: int = THREADS) -> None:
    barrier = threading.Barrier(threads)

    def run(number: int) -> None:
        barrier.wait()
        work(number)

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run, number) for number in range(threads)]:
            done.result()


def test_everything_at_once(db: aurora.Database) -> None:
    def work(number: int) -> None:
        table = db.table(f"table {number % 5}")
        mine = {b"%d/%d" % (number, i): b"%d" % i for i in range(100)}
        for key, value in mine.items():
            db.put(key, value)
            assert db[key] == value
        table.put_many(mine)
        assert table.get_many(list(mine)) == list(mine.values())
        prefix = b"%d/" % number
        assert dict(db.scan(prefix=prefix)) == mine
        with db.snapshot() as view:
            assert dict(view.scan(prefix=prefix)) == mine

        def move(txn: aurora.Transaction) -> None:
            for key in list(txn.table(table.name).scan(prefix=prefix, limit=50)):
                txn.table(table.name).delete(key[0])

        db.transact(move)
        assert len(list(table.scan(prefix=prefix))) == 50
        assert db.status().writable

    together(work)
    assert len(db) == THREADS * 100
    assert db.verify().ok


def test_transfers_keep_the_sum(db: aurora.Database) -> None:
    accounts = [b"account %02d" % i for i in range(20)]
    db.put_many((account, b"100") for account in accounts)
    stop = threading.Event()
    sums: list[int] = []

    def watch() -> None:
        while not stop.is_set():
            with db.snapshot() as view:
                sums.append(sum(int(value) for _, value in view.scan()))

    watcher = threading.Thread(target=watch)
    watcher.start()

    def work(number: int) -> None:
        for i in range(20):
            source, target = accounts[(number + i) % 20], accounts[(number * 7 + i * 3 + 1) % 20]
            if source == target:
                continue

            def transfer(
                txn: aurora.Transaction, source: bytes = source, target: bytes = target
            ) -> None:
                txn[source] = b"%d" % (int(txn[source]) - 1)
                txn[target] = b"%d" % (int(txn[target]) + 1)

            db.transact(transfer)

    together(work, 8)
    stop.set()
    watcher.join()
    assert set(sums) == {2000}


def test_a_view_shared_by_threads(db: aurora.Database) -> None:
    db.put_many((b"%05d" % i, b"v") for i in range(2000))
    with db.snapshot() as view:

        def work(number: int) -> None:
            assert len(list(view.scan())) == 2000
            assert view[b"%05d" % number] == b"v"

        together(work)


def test_one_cursor_gives_each_entry_to_one_thread(db: aurora.Database) -> None:
    db.put_many((b"%05d" % i, b"v") for i in range(20_000))
    scan = db.scan()
    seen: list[list[bytes]] = [[] for _ in range(8)]

    def work(number: int) -> None:
        # A thread that comes while another one fetches from disk is refused.
        with contextlib.suppress(ValueError):
            for key, _ in scan:
                seen[number].append(key)

    together(work, 8)
    keys = [key for mine in seen for key in mine] + [key for key, _ in scan]
    assert sorted(keys) == list(db)


def test_threads_share_a_cursor_that_reads_from_disk(db: aurora.Database) -> None:
    """Some fetch, some take, and the one that fetched is left with nothing or refused."""
    mine = {b"%05d" % number: b"v" * (number % 500) for number in range(3000)}
    db.put_many(mine)
    db.put(b"~", b"v" * (3 << 20))
    db.set_cache_bytes(1 << 20)
    scans = [db.scan()]
    until = time.monotonic() + 3

    def work(number: int) -> None:
        while time.monotonic() < until:
            db.get(b"~") if number % 2 else scans.append(db.scan(b"%05d" % (number * 300)))
            with contextlib.suppress(ValueError, StopIteration):
                for _ in range(100):
                    key, value = next(scans[-1])
                    assert key == b"~" or mine[key] == value

    together(work, 8)


def test_a_scan_that_two_threads_share_with_a_write(tmp_path: Path) -> None:
    """Not to be done, and yet: nobody is given what is not there."""
    value = b"v" * (4 << 20)
    with aurora.open(tmp_path / "db", topology=aurora.Topology.single()) as db:
        db.put_many((b"%02d" % number, value) for number in range(6))
        for _ in range(5):
            txn = db.begin()
            scan = txn.scan()
            pairs: list[tuple[bytes, bytes]] = []

            def read(scan: Iterator[tuple[bytes, bytes]] = scan, pairs: list[Any] = pairs) -> None:
                with contextlib.suppress(ValueError):
                    pairs.extend(scan)

            reader = threading.Thread(target=read)
            reader.start()
            time.sleep(0.003)
            txn.put(b"0", b"")
            with contextlib.suppress(ValueError, StopIteration):
                pairs.append(next(scan))
            reader.join()
            assert {key for key, _ in pairs} <= {b"%02d" % number for number in range(6)}
            txn.rollback()


def test_a_scan_while_another_thread_commits(db: aurora.Database) -> None:
    for attempt in range(5):
        txn = db.begin()
        prefix = b"%d " % attempt
        mine = {prefix + b"%04d" % number: b"%04d" % number * 750 for number in range(2000)}
        txn.put_many(mine)
        scan = txn.scan(prefix=prefix)
        # The cursor has warmed up: it holds many entries that it has not given out.
        assert sum(1 for _, _ in zip(range(200), scan, strict=False)) == 200
        committer = threading.Thread(target=txn.commit)
        committer.start()
        with contextlib.suppress(aurora.DatabaseClosedError):
            for key, value in scan:
                assert mine[key] == value
                time.sleep(0.001)
        committer.join()


def test_who_reads_memory_waits_for_no_disk_of_others(db: aurora.Database) -> None:
    """A view that threads share: one reads a big value, and all of Python goes on."""
    db.put_many({b"big": b"v" * (96 << 20), b"small": b"v"})
    db.set_cache_bytes(1 << 20)
    with db.snapshot() as view, ThreadPoolExecutor(2) as pool:
        calls: list[Callable[[], object]] = [
            lambda: view.get(b"small"),
            lambda: view.get_many([b"small"]),
            lambda: next(view.scan(b"small")),
        ]
        for call in calls:
            read = pool.submit(lambda: len(list(view.scan())))
            time.sleep(0.01)
            other = pool.submit(call)
            turns = 0
            while not read.done():
                time.sleep(0.001)
                turns += 1
            assert turns > 10, "no other thread ran during the read"
            assert read.result() == 2
            assert other.result()


def test_caches_can_be_resized_meanwhile(db: aurora.Database) -> None:
    db.put_many((b"%06d" % i, b"v" * 200) for i in range(20_000))

    def work(number: int) -> None:
        if number == 0:
            for size in (1 << 20, 8 << 20, 2 << 20, 64 << 20):
                db.set_cache_bytes(size)
                assert db.status().cache_bytes == size
        else:
            assert sum(len(value) for _, value in db.scan()) == 20_000 * 200

    together(work, 4)
    with pytest.raises(ValueError, match="cache_bytes"):
        db.set_cache_bytes(10)


def test_transactions_that_begin_while_others_commit(db: aurora.Database) -> None:
    """Both keys of a commit are seen, or none, at whatever moment a transaction begins."""
    keys = [b"%03d" % number for number in range(400)]
    db.put_many(dict.fromkeys(keys, b"0" * 50))
    seen: set[bytes] = set()
    stop = threading.Event()

    def commit() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            txn = db.begin()
            for key in (keys[number % 200], keys[200 + number % 200], b"newest"):
                txn.put(key, b"%d" % number)
            txn.commit(wait=False)

    def look() -> None:
        for _ in range(1000):
            time.sleep(0.001)  # so that commits come in between which nobody reads beside
            txn = db.begin()
            newest = txn.get(b"newest", b"0")
            number = int(newest) % 200
            assert (
                txn[keys[number]]
                == txn[keys[200 + number]]
                == (newest if newest != b"0" else b"0" * 50)
            )
            seen.add(newest)
            txn.rollback()

    with ThreadPoolExecutor(3) as pool:
        committing = pool.submit(commit)
        looking = [pool.submit(look) for _ in range(2)]
        try:
            for each in looking:
                each.result()
        finally:
            stop.set()
        committing.result()
    assert len(seen) > 10


@pytest.mark.parametrize("failing", [{0}, {3}, {0, 1, 2, 3, 4, 5}])
def test_what_a_parallel_call_raises_is_raised_when_all_have_ended(
    failing: set[int], capfd: pytest.CaptureFixture[str]
) -> None:
    """An exception of a thread is the caller's, and says nothing on standard error."""
    ended, told = [], []

    def work(number: int) -> int:
        if number in failing:
            raise ZeroDivisionError(number)
        time.sleep(0.1)
        ended.append(number)
        return number

    with pytest.raises(ZeroDivisionError) as raised:
        in_parallel(work, range(6), on_failure=lambda: told.append(1))
    assert raised.value.args[0] in failing
    assert set(ended) == set(range(6)) - failing
    assert len(told) == len(failing)
    assert capfd.readouterr().err == ""
    assert in_parallel(lambda number: number * 2, range(6)) == [0, 2, 4, 6, 8, 10]
    assert in_parallel(work, []) == []


def test_a_parallel_call_that_is_interrupted_waits_for_its_threads() -> None:
    ended = []

    def work(number: int) -> None:
        if number == 0:
            return
        if number == 1:
            for _ in range(3):
                time.sleep(0.05)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.3)
        ended.append(number)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            in_parallel(work, range(6))
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(ended) == [1, 2, 3, 4, 5]
