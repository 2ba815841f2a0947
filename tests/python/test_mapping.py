"""The verbs of databases, tables, transactions and views, which all read alike."""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import aurora_engine as aurora

PAIRS = {b"key %04d" % i: b"value %d" % i for i in range(1000)}


@contextmanager
def reading(db: aurora.Database, kind: str) -> Iterator[Any]:
    if kind == "database":
        yield db
    elif kind == "table":
        yield db.table("t")
    elif kind in {"transaction", "transaction table"}:
        with db.begin() as txn:
            yield txn.table("t") if "table" in kind else txn
    elif kind == "read-only transaction":
        with db.begin(read_only=True) as txn:
            yield txn
    else:
        with db.snapshot() as view:
            yield view.table("t") if "table" in kind else view


KINDS = [
    "database",
    "table",
    "transaction",
    "transaction table",
    "read-only transaction",
    "snapshot",
    "snapshot table",
]


@pytest.fixture
def filled(db: aurora.Database) -> aurora.Database:
    db.put_many(PAIRS)
    db.table("t").put_many(PAIRS)
    return db


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_reads_alike(filled: aurora.Database, kind: str) -> None:
    with reading(filled, kind) as source:
        assert source.get(b"key 0007") == b"value 7"
        assert source.get(b"nothing") is None
        assert source.get(b"nothing", 5) == 5
        assert source[b"key 0999"] == b"value 999"
        with pytest.raises(KeyError):
            source[b"nothing"]
        assert b"key 0000" in source
        assert b"nothing" not in source
        assert len(source) == 1000
        assert list(source) == sorted(PAIRS)
        assert list(source.scan()) == sorted(PAIRS.items())
        assert list(source.scan(reverse=True)) == sorted(PAIRS.items(), reverse=True)
        assert list(source.scan(b"key 0010", b"key 0012")) == [
            (b"key 0010", b"value 10"),
            (b"key 0011", b"value 11"),
        ]
        assert [k for k, _ in source.scan(prefix=b"key 001", limit=2, reverse=True)] == [
            b"key 0019",
            b"key 0018",
        ]
        assert source.get_many([b"key 0001", b"no", b"key 0001"]) == [b"value 1", None, b"value 1"]
        assert source.get_many([b"no"], b"?") == [b"?"]
        view = source.get(b"key 0007", as_view=True)
        assert isinstance(view, memoryview)
        assert view == b"value 7"
        assert view.readonly


@pytest.mark.parametrize("kind", ["database", "table", "transaction", "transaction table"])
def test_every_writer_writes_alike(filled: aurora.Database, kind: str) -> None:
    with reading(filled, kind) as target:
        target.put(b"new", b"1")
        assert target[b"new"] == b"1"
        target[b"new"] = b"2"
        assert target[b"new"] == b"2"
        assert target.delete(b"new") is True
        assert target.delete(b"new") is False
        del target[b"key 0000"]
        with pytest.raises(KeyError):
            del target[b"key 0000"]
        target.put_many([(b"p", b"1"), [b"q", b"2"]])
        target.put_many({b"r": b"3"})
        target.put_many((k, k) for k in (b"s", b"t"))
        target.put_many([b"u", b"v"], [b"4", b"5"])
        assert target.get_many([b"p", b"q", b"r", b"s", b"t", b"u", b"v"]) == [
            b"1", b"2", b"3", b"s", b"t", b"4", b"5",
        ]  # fmt: skip
        assert len(target) == 999 + 7
    with reading(filled, kind) as source:
        assert len(source) == 999 + 7


def test_the_database_and_its_tables_are_apart(db: aurora.Database) -> None:
    db[b"k"] = b"main"
    db.table("a")[b"k"] = b"a"
    db.table("b")[b"k"] = b"b"
    assert (db[b"k"], db.table("a")[b"k"], db.table("b")[b"k"]) == (b"main", b"a", b"b")
    assert db.tables() == ["a", "b"]
    db.drop_table("a")
    assert db.tables() == ["b"]
    with pytest.raises(KeyError):
        db.table("a", create=False)
    with pytest.raises(KeyError):
        db.drop_table("a")
    assert len(db.table("a")) == 0


def test_table_names(db: aurora.Database) -> None:
    names = ["x", "ä table with spaces", "é" * 127, "\U0001f980"]
    for name in names:
        db.table(name)[b"k"] = name.encode()
    assert db.tables() == sorted(names, key=str.encode)
    for bad in ("", "x" * 256, "é" * 128):
        with pytest.raises(ValueError, match="1 to 255 bytes"):
            db.table(bad)
    with pytest.raises(TypeError):
        db.table(b"bytes")  # type: ignore[arg-type]


def test_a_name_may_come_and_go_often(tmp_path: Path) -> None:
    """What tables leave behind in memory is not looked through each time."""

    def come_and_go(times: int) -> float:
        started = time.process_time()
        for _ in range(times):
            with db.begin() as txn:
                txn.table("t").put(b"k", b"v")
            db.drop_table("t")
        return time.process_time() - started

    with aurora.open(tmp_path / "db", topology=aurora.Topology.single(), durability="async") as db:
        come_and_go(100)
        at_first = come_and_go(1000)
        come_and_go(10_000)
        assert come_and_go(1000) < 4 * at_first
        assert db.tables() == []


def test_a_table_can_be_asked_for_without_creating(db: aurora.Database) -> None:
    with pytest.raises(KeyError):
        db.table("t", create=False)
    with db.begin() as txn, pytest.raises(KeyError):
        txn.table("t", create=False)
    with db.snapshot() as view, pytest.raises(KeyError):
        view.table("t")
    with db.begin(read_only=True) as txn, pytest.raises(KeyError):
        txn.table("t")
    assert db.tables() == []


def test_scan_bounds(db: aurora.Database) -> None:
    keys = [b"", b"a", b"a\0", b"a\xff", b"b", b"\xff", b"\xff\xff", b"z" * 1024]
    db.put_many((key, b"") for key in keys)
    keys.sort()
    assert [k for k, _ in db.scan(b"a", b"b")] == [b"a", b"a\0", b"a\xff"]
    assert [k for k, _ in db.scan(b"b", b"a")] == []
    assert [k for k, _ in db.scan(b"", b"")] == []
    assert [k for k, _ in db.scan(stop=b"a")] == [b""]
    assert [k for k, _ in db.scan(prefix=b"")] == keys
    assert [k for k, _ in db.scan(prefix=b"\xff")] == [b"\xff", b"\xff\xff"]
    assert [k for k, _ in db.scan(prefix=b"\xff\xff\xff")] == []
    assert [k for k, _ in db.scan(b"a\0", prefix=b"a")] == [b"a\0", b"a\xff"]
    assert [k for k, _ in db.scan(limit=0)] == []
    # The next key after the longest one: bounds may be longer than keys.
    assert [k for k, _ in db.scan(b"z" * 1024 + b"\0")] == [b"\xff", b"\xff\xff"]
    assert [k for k, _ in db.scan(b"z", b"z" * 1024 + b"\0")] == [b"z" * 1024]
    assert [k for k, _ in db.scan(b"\xff" * 1025)] == []
    assert list(db.scan(bytearray(b"a"), memoryview(b"a\0"))) == [(b"a", b"")]
    with pytest.raises(ValueError, match="negative"):
        db.scan(limit=-1)
    for bad in ("a", 5):
        with pytest.raises(TypeError):
            db.scan(bad)  # type: ignore[arg-type]


def test_a_scan_is_of_one_moment_and_can_be_closed(filled: aurora.Database) -> None:
    scan = filled.scan()
    assert next(scan) == (b"key 0000", b"value 0")
    filled.put(b"key 0000a", b"late")
    filled.delete(b"key 0001")
    assert next(scan) == (b"key 0001", b"value 1")
    scan.close()
    scan.close()
    with pytest.raises(aurora.DatabaseClosedError, match="cursor is closed"):
        next(scan)
    with filled.scan() as scan:
        assert next(scan) == (b"key 0000", b"value 0")
    exhausted = filled.scan(limit=1)
    assert len(list(exhausted)) == 1
    assert list(exhausted) == []
    assert filled.status().snapshots == 0


def test_a_scan_sees_the_writes_of_its_transaction(filled: aurora.Database) -> None:
    with filled.begin() as txn:
        seen = []
        for key, _ in txn.scan():
            seen.append(key)
            if len(seen) % 3 == 0:
                txn.delete(b"key %04d" % (int(key[4:]) + 1))
                txn.put(key + b" new", b"n")
                txn.put(key[:4] + b"0000 behind", b"b")
        assert seen == [k for k, _ in txn.scan() if not k.endswith(b"behind")]
        backwards = []
        for key, _ in txn.scan(reverse=True):
            backwards.append(key)
            txn.delete(key)
        assert len(backwards) == len(set(backwards)) >= 1000
        assert list(txn.scan()) == []
        txn.rollback()


def test_a_scan_that_cannot_go_on_says_so_each_time(filled: aurora.Database) -> None:
    """A write makes it start anew, and that fails after a backtrack."""
    lsn = filled.durable_lsn
    txn = filled.begin()
    scan = txn.scan()
    assert [next(scan)[0] for _ in range(10)] == sorted(PAIRS)[:10]
    txn.put(b"own", b"")
    filled.put(b"other", b"")
    filled.backtrack(lsn)
    for _ in range(3):
        with pytest.raises(aurora.ConflictError):
            next(scan)


def test_many_open_scans(filled: aurora.Database) -> None:
    scans = [filled.scan(b"key %04d" % i) for i in range(300)]
    assert [next(scan)[0] for scan in scans] == [b"key %04d" % i for i in range(300)]
    for scan in scans:
        scan.close()
    assert filled.status().snapshots == 0


def test_reprs_tell_what_things_are(db: aurora.Database) -> None:
    assert db.path in repr(db)
    assert "open" in repr(db)
    assert "'t'" in repr(db.table("t"))
    with db.begin() as txn, db.snapshot() as view:
        assert "open" in repr(txn)
        assert "LSN" in repr(view)
        assert "'t'" in repr(txn.table("t"))
        assert "'t'" in repr(view.table("t"))
    assert "ended" in repr(txn)
    assert "closed" in repr(view)
    db.close()
    assert "closed" in repr(db)


def test_what_is_open_is_not_copied(db: aurora.Database) -> None:
    """The copy of a database read the same data, and knew neither how to close nor that it was."""
    table = db.table("t")
    with db.begin() as txn, db.snapshot() as view, db.scan() as scan:
        for handle in (db, table, txn, txn.table("t"), view, view.table("t"), scan):
            for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="cannot pickle"):
                    duplicate(handle)


def test_object_without_constructor_refuses() -> None:
    """Verbs are inherited from compiled code, which must not trust that there is a core below."""
    for made in (aurora.Database.__new__(aurora.Database), aurora.Table.__new__(aurora.Table)):
        with pytest.raises(TypeError, match="without its constructor"):
            made.get(b"key")
