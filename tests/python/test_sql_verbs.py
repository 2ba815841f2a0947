"""What connections of ours do beyond, and otherwise than, those of `sqlite3`."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aurora_engine as aurora
from aurora_engine import sql
from aurora_engine.moments import parse_moment


@pytest.fixture
def conn(db: aurora.Database) -> aurora.sql.Connection:
    made = aurora.connect(db)
    made.execute("CREATE TABLE t (x)")
    made.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(3)])
    made.commit()
    return made


def test_errors_are_the_drivers_and_ours(db: aurora.Database, conn: sql.Connection) -> None:
    """Whoever catches what PEP 249 names catches all, by whichever verb it comes."""
    with pytest.raises(sqlite3.OperationalError) as caught, conn:  # noqa: PT012
        conn.execute("DELETE FROM t")
        db.close()
    assert isinstance(caught.value, aurora.DatabaseClosedError)
    with pytest.raises(aurora.DatabaseClosedError):
        conn.execute("SELECT x FROM t")
    conn.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        conn.execute("SELECT 1")


def test_every_verb_says_that_the_volume_is_closed(
    db: aurora.Database, conn: sql.Connection
) -> None:
    conn.execute("DELETE FROM t")
    db.close()
    verbs: list[Callable[[], Any]] = [
        lambda: conn.blobopen("t", "x", 1),
        conn.serialize,
        lambda: conn.commit(wait=False),
    ]
    for verb in verbs:
        with pytest.raises(sqlite3.OperationalError) as told:
            verb()
        assert isinstance(told.value, aurora.DatabaseClosedError)
    conn.interrupt()
    conn.close()
    for verb in verbs:
        with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
            verb()


def test_an_error_that_nobody_was_told_explains_no_other(
    db: aurora.Database, conn: sql.Connection
) -> None:
    """What connections of the driver's own met in this thread, and what it told in its own way."""
    uri = f"file:nobody?vfs={sql.register_vfs(db)}&mode=ro"
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        sqlite3.connect(uri, uri=True)
    with pytest.raises(sqlite3.OperationalError, match="syntax error") as told:
        conn.execute("SELEC")
    assert not hasattr(told.value, "__notes__")
    with aurora.connect(db, isolation_level=None) as late:
        late.execute("BEGIN")
        assert late.execute("SELECT count(*) FROM t").fetchone() == (3,)
        conn.execute("UPDATE t SET x = zeroblob(5)")
        conn.commit()
        with pytest.raises(sqlite3.OperationalError, match="has written") as conflict:
            late.blobopen("t", "x", 1)
        assert isinstance(conflict.value, aurora.ConflictError)
        with pytest.raises(sqlite3.OperationalError):
            sqlite3.Connection.blobopen(late, "t", "x", 1)
        with pytest.raises(sqlite3.OperationalError, match="syntax error") as told:
            late.execute("SELEC")
        assert not isinstance(told.value, aurora.AuroraError)
        late.rollback()


@pytest.mark.parametrize("timeout", [float("inf"), 1e300])
def test_for_ever_is_a_time_to_wait(
    db: aurora.Database, conn: sql.Connection, timeout: float
) -> None:
    conn.execute("BEGIN IMMEDIATE")
    with aurora.connect(db, timeout=timeout, check_same_thread=False) as other:
        waiting = threading.Thread(target=lambda: other.execute("DELETE FROM t"))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        conn.commit()
        waiting.join(10)
        assert other.in_transaction
    db.sql.drop("main", timeout=timeout)


def test_read_only(db: aurora.Database, conn: sql.Connection) -> None:
    reader = aurora.connect(db, read_only=True)
    assert reader.execute("SELECT count(*) FROM t").fetchone() == (3,)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM t")
    reader.rollback()
    conn.execute("INSERT INTO t VALUES (3)")
    conn.commit()
    assert reader.execute("SELECT count(*) FROM t").fetchone() == (4,)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        aurora.connect(db, name="nobody made it", read_only=True)


@pytest.mark.parametrize("moment", ["bogus", None, 3.5, b"x", 10**15, "10 years"])
def test_a_moment_that_is_none_is_refused_as_by_backtrack(
    db: aurora.Database, conn: sql.Connection, moment: Any
) -> None:
    conn.execute("DELETE FROM t")
    conn.commit()
    before = db.durable_lsn
    with pytest.raises((ValueError, TypeError)) as reason:
        db.backtrack(parse_moment(moment) if isinstance(moment, str) else moment)
    for run in (conn.execute, conn.cursor().execute):
        with pytest.raises(sqlite3.OperationalError) as refusal:
            run("SELECT aurora_backtrack(?)", (moment,))
        assert refusal.value.__notes__ == [str(reason.value)]
    conn.create_function("fails", 0, lambda: 1 // 0)
    with pytest.raises(sqlite3.OperationalError) as other:
        conn.execute("SELECT fails()")
    assert not hasattr(other.value, "__notes__")
    assert db.durable_lsn == before


def test_a_moment_that_is_gone_is_refused_as_by_backtrack(
    db: aurora.Database, conn: sql.Connection
) -> None:
    with pytest.raises(sqlite3.OperationalError, match="oldest moment") as refusal:
        conn.execute("SELECT aurora_backtrack('2001-01-01')")
    assert isinstance(refusal.value, aurora.SnapshotTooOldError)
    assert refusal.value.lsn == db.status().oldest_lsn


def test_who_only_reads_does_not_go_back_for_all(db: aurora.Database, conn: sql.Connection) -> None:
    then = conn.lsn
    conn.execute("DELETE FROM t")
    conn.commit()
    with (
        aurora.connect(db, read_only=True) as reader,
        aurora.connect(db, as_of=then) as past,
    ):
        for each in (reader, past):
            with pytest.raises(sqlite3.OperationalError, match="only reads") as refusal:
                each.execute("SELECT aurora_backtrack(?)", (then,))
            assert isinstance(refusal.value, aurora.ReadOnlyError)
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert conn.execute("SELECT * FROM aurora_history()").fetchall() == []


def test_who_only_looks_makes_no_volume(tmp_path: Path) -> None:
    path = tmp_path / "nothing"
    looks: list[dict[str, Any]] = [
        {"read_only": True},
        {"as_of": "1h"},
        {"as_of": 5},
        {"create": False},
    ]
    for options in looks:
        with pytest.raises(aurora.StorageIOError, match="cannot open the volume's directory"):
            aurora.connect(path, **options)
        assert not path.exists()
    with aurora.connect(path) as conn:
        conn.execute("CREATE TABLE t (x)")
    conn.close()
    with aurora.connect(path, read_only=True) as reader:
        assert reader.execute("SELECT x FROM t").fetchall() == []
    reader.close()


def test_initialized_again_it_lets_go_of_what_it_had(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    conn = aurora.connect(first)
    conn.execute("CREATE TABLE here (x)")
    conn.__init__(second)  # type: ignore[misc]
    assert conn.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    with aurora.open(first):
        pass  # nobody has it open
    conn.close()
    with aurora.open(second):
        pass


def test_copies_in_and_out(db: aurora.Database, conn: sql.Connection) -> None:
    """Backup and serialize give a whole database of stock SQLite, and backup copies within."""
    with aurora.connect(db, name="copy") as copy:
        conn.backup(copy, pages=1)
        assert copy.execute("SELECT x FROM t").fetchall() == [(0,), (1,), (2,)]
    plain = sqlite3.connect(":memory:")
    conn.backup(plain)
    assert plain.execute("SELECT x FROM t").fetchall() == [(0,), (1,), (2,)]
    assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    plain.backup(copy)

    conn.executescript("ATTACH ':memory:' AS small; CREATE TABLE small.t (x)")
    with pytest.raises(sqlite3.OperationalError, match="pages of 8192 bytes"):
        conn.backup(copy, name="small")
    assert copy.execute("SELECT sum(x) FROM t").fetchone() == (3,)
    with pytest.raises(sqlite3.NotSupportedError, match="in memory"):
        conn.deserialize(conn.serialize())
    conn.deserialize(conn.serialize(), name="small")
    assert conn.execute("SELECT sum(x) FROM small.t").fetchone() == (3,)


def test_cursors_of_other_kinds(conn: sql.Connection) -> None:
    class Mine(sql.Cursor):
        pass

    assert type(conn.cursor()) is sql.Cursor
    assert type(conn.cursor(Mine)) is Mine
    assert type(conn.cursor(factory=sqlite3.Cursor)) is sqlite3.Cursor
    with pytest.raises(TypeError):
        conn.cursor(None)
    assert conn.execute("SELECT x FROM t").fetchmany() == [(0,)]
    assert conn.execute("SELECT x FROM t").fetchmany(2) == [(0,), (1,)]


def test_where_a_connection_stands_between_transactions(db: aurora.Database) -> None:
    one, other = aurora.connect(db), aurora.connect(db)
    one.execute("CREATE TABLE t (x)")
    one.execute("INSERT INTO t VALUES (1)")
    one.commit()
    other.execute("INSERT INTO t VALUES (2)")
    other.commit()
    (before,) = one.execute("SELECT aurora_lsn()").fetchone()
    assert before == one.execute("SELECT aurora_lsn() FROM t").fetchone()[0]
    other.execute("DELETE FROM t")
    other.commit()
    db.backtrack(before)
    assert one.execute("SELECT count(*) FROM t").fetchone() == (2,)
    (now_lsn,) = one.execute("SELECT aurora_lsn()").fetchone()
    with one.at(now_lsn) as now:
        assert now.execute("SELECT count(*) FROM t").fetchone() == (2,)
    one.close()
    other.close()
