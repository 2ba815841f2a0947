"""What weaker isolation lets through, each as its textbook history: none under the default.

Berenson et al., "A Critique of ANSI SQL Isolation Levels" (1995); Fekete et al., "A Read-Only
Transaction Anomaly Under Snapshot Isolation" (2004).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import aurora_engine as aurora


@pytest.fixture
def db(tmp_path: Path) -> Iterator[aurora.Database]:
    with aurora.open(tmp_path) as database:
        database.put_many({b"x": b"0", b"y": b"0"})
        yield database


def committed(*transactions: aurora.Transaction) -> list[bool]:
    """Commits in the given order; which of them were accepted."""
    accepted = []
    for txn in transactions:
        try:
            txn.commit()
        except aurora.ConflictError:
            accepted.append(False)
        else:
            accepted.append(True)
    return accepted


def test_dirty_write_and_dirty_read(db: aurora.Database) -> None:
    first, second = db.begin(), db.begin()
    first[b"x"] = first[b"y"] = b"1"
    assert second[b"x"] == db[b"x"] == b"0"
    first.rollback()
    assert second[b"x"] == db[b"x"] == b"0"
    assert committed(second) == [True]


def test_non_repeatable_and_skewed_reads(db: aurora.Database) -> None:
    """What one transaction reads is of one moment, whatever others commit meanwhile."""
    reader, view = db.begin(), db.snapshot()
    assert reader[b"x"] == view[b"x"] == b"0"
    db.put_many({b"x": b"1", b"y": b"1", b"z": b"1"})
    for source in (reader, view):
        assert source[b"x"] == source[b"y"] == b"0"
        assert list(source) == [b"x", b"y"]
    view.close()
    reader[b"w"] = reader[b"y"]
    assert committed(reader) == [False]


def test_lost_update(db: aurora.Database) -> None:
    first, second = db.begin(), db.begin()
    for txn in (first, second):
        txn[b"x"] = b"%d" % (int(txn[b"x"]) + 1)
    assert committed(first, second) == [True, False]
    assert db[b"x"] == b"1"


def test_blind_writes_do_not_conflict(db: aurora.Database) -> None:
    """Without a read there is nothing to lose: the later commit wins, in the order of the LSNs."""
    first, second = db.begin(), db.begin()
    first[b"x"] = b"first"
    second[b"x"] = b"second"
    accepted = committed(second, first)
    assert accepted[0]
    assert db[b"x"] == (b"first" if accepted[1] else b"second")


def test_write_skew(db: aurora.Database) -> None:
    """Two on call; each goes home because the other is there."""
    db.put_many({b"on call/ann": b"yes", b"on call/bob": b"yes"})
    first, second = db.begin(), db.begin()
    for txn, own in ((first, b"ann"), (second, b"bob")):
        if sum(value == b"yes" for _, value in txn.scan(prefix=b"on call/")) > 1:
            txn[b"on call/" + own] = b"no"
    assert committed(first, second) == [True, False]


@pytest.mark.parametrize("verb", ["insert", "delete"])
def test_phantom(db: aurora.Database, verb: str) -> None:
    """Two count a range, then each adds to it (or takes from it) by what it counted."""
    db.put_many({b"row %d" % number: b"" for number in range(4)})
    first, second = db.begin(), db.begin()
    for number, txn in enumerate((first, second)):
        rows = list(txn.scan(prefix=b"row "))
        if verb == "insert":
            txn[b"row %d" % (100 + number)] = b"%d" % len(rows)
        else:
            txn.delete(rows[number][0])
    assert committed(first, second) == [True, False]


def test_phantom_at_the_ends_of_a_scan(db: aurora.Database) -> None:
    """A scan that ran to its end has seen that nothing more is there; one that stopped has not."""
    for limit, conflict in ((None, True), (1, False)):
        db.put(b"a0", b"")
        reader = db.begin()
        list(reader.scan(b"a", b"b", limit=limit))
        reader[b"out"] = b"1"
        db.put(b"a9", b"")
        assert committed(reader) == [not conflict]
        db.delete(b"a9")


def test_an_empty_range_is_read_too(db: aurora.Database) -> None:
    first, second = db.begin(), db.begin()
    for number, txn in enumerate((first, second)):
        assert list(txn.scan(prefix=b"leader")) == []
        txn[b"leader %d" % number] = b"me"
    assert committed(first, second) == [True, False]


def test_a_missing_key_is_read_too(db: aurora.Database) -> None:
    first, second = db.begin(), db.begin()
    for txn in (first, second):
        assert b"lock" not in txn
        txn[b"lock"] = b"mine"
    assert committed(first, second) == [True, False]


def test_length_and_many_keys_are_reads(db: aurora.Database) -> None:
    def by_length(txn: aurora.Transaction) -> object:
        return len(txn)

    def by_keys(txn: aurora.Transaction) -> object:
        return txn.get_many([b"x", b"none"])

    def by_delete(txn: aurora.Transaction) -> object:
        return txn.delete(b"none")

    for read in (by_length, by_keys, by_delete):
        txn = db.begin()
        read(txn)
        txn[b"out"] = b"1"
        db.put(b"none", b"now there")
        assert committed(txn) == [False], read.__name__
        db.delete(b"none")


def test_read_only_transaction_anomaly(db: aurora.Database) -> None:
    """Fekete: a read-only transaction makes a history wrong that would be right without it.

    x and y are accounts. T2 takes 10 from x, with a fee of 1 if x + y < 0; T1 puts 20 into y. T3
    reads both after T1 and before T2. Saw T3 (0, 20), then T2 has to come after T1, and must see
    the 20.
    """
    withdraw = db.begin()
    balance = int(withdraw[b"x"]) + int(withdraw[b"y"])
    deposit = db.begin()
    deposit[b"y"] = b"%d" % (int(deposit[b"y"]) + 20)
    assert committed(deposit) == [True]
    with db.begin(read_only=True) as report:
        assert (report[b"x"], report[b"y"]) == (b"0", b"20")
    withdraw[b"x"] = b"%d" % (-10 if balance - 10 >= 0 else -11)
    assert committed(withdraw) == [False]


def test_long_fork(db: aurora.Database) -> None:
    """Two readers never see two independent writes in different orders."""
    early = db.snapshot()
    db.put(b"x", b"1")
    between = db.snapshot()
    db.put(b"y", b"1")
    late = db.snapshot()
    seen = [(view[b"x"], view[b"y"]) for view in (early, between, late)]
    assert seen == [(b"0", b"0"), (b"1", b"0"), (b"1", b"1")]
    for view in (early, between, late):
        view.close()


def test_conflicts_across_tables(db: aurora.Database) -> None:
    """Read in one table, write in another."""
    db.table("a").put(b"k", b"0")
    db.table("b").put(b"k", b"0")
    first, second = db.begin(), db.begin()
    first.table("b")[b"k"] = first.table("a")[b"k"] + b"1"
    second.table("a")[b"k"] = second.table("b")[b"k"] + b"2"
    assert committed(first, second) == [True, False]
    # The same key of another table is another key.
    third = db.begin()
    assert third.table("a")[b"k"] == b"0"
    third[b"out"] = b"1"
    db.put(b"k", b"elsewhere")
    assert committed(third) == [True]


def test_a_dropped_table_conflicts(db: aurora.Database) -> None:
    db.table("gone").put(b"k", b"v")
    txn = db.begin()
    txn.table("gone")[b"k"] = b"new"
    db.drop_table("gone")
    with pytest.raises((aurora.ConflictError, KeyError)):
        txn.commit()
    assert db.tables() == []
    assert db.verify().ok
