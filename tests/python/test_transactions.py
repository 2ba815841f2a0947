"""Transactions: isolation, conflicts, how they end, and `transact`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import aurora_engine as aurora


def test_a_block_commits_or_rolls_back(db: aurora.Database) -> None:
    with db.begin() as txn:
        txn[b"a"] = b"1"
        assert b"a" not in db
    assert db[b"a"] == b"1"
    txn = db.begin()

    def fail() -> None:
        with txn:
            txn[b"a"] = b"2"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert db[b"a"] == b"1"
    assert not txn.is_open


def test_explicit_ends_make_the_end_of_the_block_a_no_op(db: aurora.Database) -> None:
    with db.begin() as txn:
        txn[b"a"] = b"1"
        lsn = txn.commit()
        assert lsn <= db.durable_lsn
        assert not txn.is_open
    assert db[b"a"] == b"1"
    with db.begin() as txn:
        txn[b"a"] = b"2"
        txn.rollback()
        txn.rollback()
    assert db[b"a"] == b"1"

    def fail_late() -> None:
        with db.begin() as txn:
            txn[b"a"] = b"3"
            txn.commit()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_late()
    assert db[b"a"] == b"3"


def test_commit_without_waiting(db: aurora.Database) -> None:
    lsns = []
    for i in range(100):
        txn = db.begin()
        txn[b"%d" % i] = b"v"
        lsns.append(txn.commit(wait=False))
    assert lsns == sorted(set(lsns))
    db.wait_durable(lsns[-1])
    assert db.durable_lsn >= lsns[-1]
    db.wait_durable(lsns[0], timeout=0)


def test_use_after_the_end(db: aurora.Database) -> None:
    txn = db.begin()
    table = txn.table("t")
    scan = txn.scan()
    txn.commit()
    for use in (
        lambda: txn.get(b"a"),
        lambda: txn.put(b"a", b""),
        lambda: txn.delete(b"a"),
        lambda: txn.commit(),
        lambda: txn.table("t"),
        lambda: txn.tables(),
        lambda: txn.scan(),
        lambda: len(txn),
        lambda: txn.read_point,
        lambda: table.put(b"a", b""),
        lambda: next(scan),
        lambda: txn.__enter__(),
    ):
        with pytest.raises(aurora.DatabaseClosedError, match=r"committed|ended"):
            use()
    assert not txn.is_open


def test_a_lost_update_conflicts(db: aurora.Database) -> None:
    db[b"n"] = b"1"
    first, second = db.begin(), db.begin()
    for txn in (first, second):
        txn[b"n"] = txn[b"n"] + b"+1"
    first.commit()
    with pytest.raises(aurora.ConflictError) as caught:
        second.commit()
    assert caught.value.retryable
    assert not second.is_open
    assert db[b"n"] == b"1+1"


def test_write_skew_conflicts(db: aurora.Database) -> None:
    db.put_many({b"alice": b"on call", b"bob": b"on call"})
    first, second = db.begin(), db.begin()
    for txn, leaver in ((first, b"alice"), (second, b"bob")):
        assert sum(v == b"on call" for _, v in txn.scan()) == 2
        txn[leaver] = b"off"
    first.commit()
    with pytest.raises(aurora.ConflictError):
        second.commit()


def test_a_phantom_conflicts(db: aurora.Database) -> None:
    db.put_many((b"row %d" % i, b"") for i in range(10))
    counter = db.begin()
    counter[b"count"] = b"%d" % len(list(counter.scan(prefix=b"row")))
    db[b"row 55"] = b""
    with pytest.raises(aurora.ConflictError):
        counter.commit()
    # A change outside of what was walked is no conflict.
    counter = db.begin()
    counter[b"count"] = b"%d" % len(list(counter.scan(prefix=b"row")))
    db[b"other"] = b""
    counter.commit()


def test_readers_never_conflict_and_block_nobody(db: aurora.Database) -> None:
    db.put_many((b"%d" % i, b"old") for i in range(100))
    reader = db.begin(read_only=True)
    db.put_many((b"%d" % i, b"new") for i in range(100))
    assert {v for _, v in reader.scan()} == {b"old"}
    reader.commit()
    with db.begin(read_only=True) as reader:
        assert reader.read_only
        for write in (
            lambda: reader.put(b"a", b""),
            lambda: reader.delete(b"a"),
            lambda: reader.put_many([(b"a", b"")]),
            lambda: reader.drop_table("t"),
        ):
            with pytest.raises(aurora.ReadOnlyError):
                write()


def test_tables_are_part_of_transactions(db: aurora.Database) -> None:
    with db.begin() as txn:
        txn.table("new")[b"k"] = b"v"
        assert txn.tables() == ["new"]
        assert db.tables() == []
        txn.rollback()
    assert db.tables() == []
    with db.begin() as txn:
        txn.table("new")[b"k"] = b"v"
        txn[b"k"] = b"main"
    assert db.table("new", create=False)[b"k"] == b"v"
    with db.begin() as txn:
        txn.drop_table("new")
        with pytest.raises(KeyError):
            txn.drop_table("new")
        assert txn.tables() == []
    assert db.tables() == []


def test_a_table_of_another_database_is_refused(db: aurora.Database, tmp_path: Path) -> None:
    with aurora.open(tmp_path / "other") as other, db.begin() as txn:
        table = other.table("t")
        with pytest.raises(ValueError, match="another database"):
            txn._source.get(table._handle, b"k")


def test_transact_retries_conflicts(db: aurora.Database) -> None:
    calls = []

    def work(txn: aurora.Transaction) -> bytes:
        calls.append(txn)
        value = txn.get(b"n", b"0")
        if len(calls) < 3:
            db[b"n"] = b"%d" % len(calls)
        txn[b"n"] = value + b"!"
        return value

    assert db.transact(work) == b"2"
    assert db[b"n"] == b"2!"
    assert len(calls) == 3
    assert not any(txn.is_open for txn in calls)


def test_transact_gives_up_in_the_end(db: aurora.Database) -> None:
    calls = []

    def work(txn: aurora.Transaction) -> None:
        calls.append(txn.get(b"n"))
        db[b"n"] = b"%d" % len(calls)
        txn[b"n"] = b"mine"

    with pytest.raises(aurora.ConflictError):
        db.transact(work, attempts=6)
    assert len(calls) == 6
    with pytest.raises(ValueError, match="attempts"):
        db.transact(work, attempts=0)


def test_transact_rolls_back_and_passes_errors_on(db: aurora.Database) -> None:
    def work(txn: aurora.Transaction) -> None:
        txn[b"a"] = b"1"
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        db.transact(work)
    assert b"a" not in db


def test_transact_leaves_an_ended_transaction_alone(db: aurora.Database) -> None:
    def work(txn: aurora.Transaction) -> str:
        txn[b"a"] = b"1"
        txn.rollback()
        return "rolled back"

    assert db.transact(work) == "rolled back"
    assert b"a" not in db


def test_counters_under_contention(db: aurora.Database) -> None:
    def increment(txn: aurora.Transaction) -> None:
        txn[b"n"] = b"%d" % (int(txn.get(b"n", b"0")) + 1)

    threads = [
        threading.Thread(target=lambda: [db.transact(increment) for _ in range(50)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db[b"n"] == b"400"


def test_async_durability(tmp_path: Path) -> None:
    with aurora.open(tmp_path / "db", durability="async") as db:
        lsn = 0
        for i in range(1000):
            lsn = db.put(b"%04d" % i, b"v")
            assert db.get(b"%04d" % i) == b"v"
        with db.begin() as txn:
            txn[b"last"] = b"v"
            last = txn.commit(wait=True)
        assert db.durable_lsn >= last > lsn
    with aurora.open(tmp_path / "db") as db:
        assert len(db) == 1001


@pytest.mark.parametrize("durability", ["quorum", "async"])
def test_a_clean_close_keeps_what_nobody_waited_for(tmp_path: Path, durability: Any) -> None:
    for round_number in range(5):
        with aurora.open(tmp_path / "db", durability=durability) as db:
            assert len(db) == round_number * 200
            for i in range(200):
                txn = db.begin()
                txn[b"%d/%d" % (round_number, i)] = b"v" * 500
                txn.commit(wait=False)


def test_arguments_of_wait_durable(db: aurora.Database) -> None:
    lsn = db.put(b"k", b"v")
    for bad in (-1, lsn + 1):
        with pytest.raises(ValueError, match="no commit has LSN"):
            db.wait_durable(bad)
    for bad_type in ("5", None, 1.5):
        with pytest.raises(TypeError):
            db.wait_durable(bad_type)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout"):
        db.wait_durable(lsn, timeout="5")  # type: ignore[arg-type]
    db.wait_durable(lsn, timeout=-1)


def test_a_snapshot_never_changes(db: aurora.Database) -> None:
    db.put_many((b"%05d" % i, b"old") for i in range(5000))
    db.table("t")[b"k"] = b"old"
    with db.snapshot() as view:
        lsn = view.lsn
        db.put_many((b"%05d" % i, b"new") for i in range(6000))
        db.drop_table("t")
        for i in range(100):
            db.delete(b"%05d" % i)
        assert len(view) == 5000
        assert {v for _, v in view.scan()} == {b"old"}
        assert view.table("t")[b"k"] == b"old"
        assert view.tables() == ["t"]
        assert view.lsn == lsn < db.durable_lsn
    with pytest.raises(aurora.DatabaseClosedError):
        view.get(b"00000")
    view.close()
