"""What SQL connections promise beyond SQLite: each decision, tried."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import aurora_engine as aurora
from aurora_engine.sql.drivers import vfs_of

Conn = Any


@pytest.fixture
def conn(db: aurora.Database) -> Iterator[Conn]:
    with closing(aurora.connect(db)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
        connection.commit()
        yield connection


def rows(conn: Conn, table: str = "t") -> list[tuple[Any, ...]]:
    return conn.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


def stock(db: aurora.Database, name: str = "main", **options: Any) -> sqlite3.Connection:
    """A connection of Python's own, which knows nothing of this package."""
    return sqlite3.connect(f"file:{name}?vfs={vfs_of(db.sql, sqlite3)}", uri=True, **options)


def plain(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE p (x)")
        file.commit()
    return path


@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        ("PRAGMA journal_mode=WAL", [("delete",)]),
        ("PRAGMA journal_mode=''", [("delete",)]),
        ("PRAGMA main.journal_mode=OFF", [("delete",)]),
        ("PRAGMA locking_mode=EXCLUSIVE", [("normal",)]),
        ("PRAGMA page_size=4096", []),
    ],
)
def test_what_a_volume_decides_is_refused_quietly(
    db: aurora.Database, conn: Conn, statement: str, answer: list[tuple[str]]
) -> None:
    assert conn.execute(statement).fetchall() == answer
    conn.execute("INSERT INTO t VALUES (1, 2)")
    conn.commit()
    conn.execute("VACUUM")
    with closing(aurora.connect(db)) as other:
        other.execute("INSERT INTO t VALUES (2, 3)")
        other.commit()
    assert rows(conn) == [(1, 2), (2, 3)]
    assert conn.execute("PRAGMA page_size").fetchone() == (8192,)


PRAGMAS = (
    "busy_timeout",
    "busy_timeout=100",
    "busy_timeout",
    "busy_timeout=0x10",
    "busy_timeout='7 or so'",
    "busy_timeout=99999999999",
    "busy_timeout=2147483647",
    "busy_timeout=-5",
    "busy_timeout=word",
    "synchronous",
    "synchronous=normal",
    "synchronous",
    "synchronous=3",
    "main.synchronous",
    "synchronous=off",
    "synchronous=full",
    "synchronous",
    "journal_mode",
    "main.journal_mode=delete",
    "locking_mode",
    "locking_mode=normal",
    "page_size=8192",
)


def test_pragmas_answer_as_in_a_file(db: aurora.Database, conn: Conn, tmp_path: Path) -> None:
    """With the same names and types, for tools that read rows by name."""

    def named(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> list[tuple[str, Any]]:
        return list(zip((column[0] for column in cursor.description), row, strict=True))

    with closing(sqlite3.connect(tmp_path / "file.db")) as file, closing(stock(db)) as other:
        file.executescript("PRAGMA page_size=8192; CREATE TABLE t (x)")
        for each in (file, conn, other):
            each.row_factory = named
        for pragma in PRAGMAS:
            expected = file.execute(f"PRAGMA {pragma}").fetchall()
            for each in (conn, other):
                assert each.execute(f"PRAGMA {pragma}").fetchall() == expected, pragma
        for pragma in ("busy_timeout", "synchronous", "journal_mode", "locking_mode", "page_size"):
            query = f"SELECT * FROM pragma_{pragma}"
            assert conn.execute(query).fetchall() == file.execute(query).fetchall()


@pytest.mark.parametrize("value", ["off", "OFF", "0", "no", "false", "7", "256"])
def test_synchronous_off_waits_for_nothing_and_still_commits_all_together(
    db: aurora.Database, conn: Conn, value: str
) -> None:
    """SQLite would write no super-journal, and commit one database after the other."""
    conn.execute("ATTACH 'file:second' AS second")
    conn.execute("CREATE TABLE second.u (x)")
    conn.commit()
    with pytest.raises(sqlite3.OperationalError, match="inside a transaction"):
        conn.executescript(f"BEGIN; PRAGMA synchronous={value}")
    conn.rollback()
    assert db.sql._sql.set_wait(conn._id, True) is True
    conn.execute(f"PRAGMA synchronous={value}")
    conn.execute(f"PRAGMA second.synchronous={value}")
    assert db.sql._sql.set_wait(conn._id, False) is False
    assert conn.execute("PRAGMA synchronous").fetchone() == (1,)
    before = db.sql.counts().commits
    conn.execute("INSERT INTO t VALUES (1, 1)")
    conn.execute("INSERT INTO second.u VALUES (1)")
    conn.commit()
    conn.wait_durable()
    assert db.sql.counts().commits == before + 2
    both = conn.lsn
    with closing(aurora.connect(db, as_of=both - 1)) as earlier:
        assert rows(earlier) == []
    with closing(aurora.connect(db, name="second", as_of=both - 1)) as earlier:
        assert rows(earlier, "u") == []


def test_a_busy_timeout_that_was_asked_for_holds(db: aurora.Database, conn: Conn) -> None:
    """Once, not for SQLite's handler and for ours; for what is attached as well."""
    conn.execute("BEGIN IMMEDIATE")
    with closing(aurora.connect(db, name="second", timeout=60, isolation_level=None)) as other:
        other.execute("ATTACH 'file:main' AS m")
        assert other.execute("PRAGMA busy_timeout=800").fetchone() == (800,)
        for _ in range(2):
            begun = time.monotonic()
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("INSERT INTO m.t VALUES (1, 1)")
            assert 0.75 < time.monotonic() - begun < 1.55
            assert other.execute("PRAGMA busy_timeout").fetchone() == (800,)
    conn.rollback()


def test_a_plain_file_beside_is_read_and_written_but_not_in_one_transaction(
    db: aurora.Database, conn: Conn, tmp_path: Path
) -> None:
    """The plain file must not keep its half of what was refused."""
    path = plain(tmp_path / "plain.db")
    conn.execute(f"ATTACH 'file:{path}?vfs=unix' AS file")
    conn.execute("INSERT INTO t VALUES (1, 1)")  # BEGIN IMMEDIATE locks the plain file as well
    conn.commit()
    conn.execute("BEGIN")
    conn.execute("INSERT INTO file.p SELECT b FROM t")
    conn.commit()
    conn.execute("INSERT INTO t VALUES (2, 2)")
    conn.execute("INSERT INTO file.p VALUES (2)")
    with pytest.raises(sqlite3.OperationalError) as refusal:
        conn.commit()
    [note] = refusal.value.__notes__
    assert note.startswith("a transaction writes in one volume only")
    assert note.endswith("begun with plain BEGIN")  # no place, which it does not have
    assert not conn.in_transaction
    assert rows(conn) == [(1, 1)]
    with closing(sqlite3.connect(path)) as file:
        assert rows(file, "p") == [(1,)]
    conn.execute("INSERT INTO t VALUES (3, 3)")
    conn.commit()
    with closing(aurora.connect(db)) as other:
        assert rows(other) == [(1, 1), (3, 3)]


def test_two_volumes_are_not_written_in_one_transaction(
    db: aurora.Database, conn: Conn, tmp_path: Path
) -> None:
    with aurora.open(tmp_path / "other") as second, closing(aurora.connect(second)) as beside:
        beside.execute("CREATE TABLE u (x)")
        beside.commit()
        conn.execute(f"ATTACH 'file:main?vfs={vfs_of(second.sql, sqlite3)}' AS o")
        conn.execute("INSERT INTO t VALUES (1, 1)")
        conn.execute("INSERT INTO o.u VALUES (1)")
        with pytest.raises(sqlite3.OperationalError) as refusal:
            conn.commit()
        assert "in one volume only" in "".join(refusal.value.__notes__)
        assert (rows(conn), rows(conn, "o.u"), rows(beside, "u")) == ([], [], [])
        for statement in ("INSERT INTO t VALUES (2, 2)", "INSERT INTO o.u VALUES (2)"):
            conn.execute("BEGIN")
            conn.execute(statement)
            conn.commit()
        assert (rows(conn), rows(beside, "u")) == ([(2, 2)], [(2,)])
        for statement in ("INSERT INTO t VALUES (3, 3)", "INSERT INTO o.u VALUES (3)"):
            conn.execute("BEGIN IMMEDIATE")  # locks both; they have the same name
            conn.execute(statement)
            if "t VALUES" in statement:
                conn.commit()
                continue
            with pytest.raises(sqlite3.OperationalError) as refusal:
                conn.commit()
            assert "in one volume only" in "".join(refusal.value.__notes__)
        assert (rows(conn), rows(beside, "u")) == ([(2, 2), (3, 3)], [(2,)])
        with pytest.raises(sqlite3.OperationalError) as other:
            conn.execute("SELECT * FROM nowhere")
        assert not hasattr(other.value, "__notes__")
        conn.close()


def test_two_databases_of_a_volume_commit_at_one_moment(db: aurora.Database, conn: Conn) -> None:
    conn.execute("ATTACH 'file:second' AS second")
    conn.execute("CREATE TABLE second.u (a, b)")
    conn.commit()
    before = conn.lsn
    conn.execute("INSERT INTO t VALUES (1, 'x')")
    conn.execute("INSERT INTO second.u VALUES (1, 'x')")
    conn.commit(wait=False)
    conn.wait_durable()
    after = conn.lsn
    for moment in range(before, after + 1):
        with (
            closing(aurora.connect(db, as_of=moment)) as one,
            closing(aurora.connect(db, name="second", as_of=moment)) as two,
        ):
            assert rows(one) == rows(two, "u") == ([(1, "x")] if moment >= after else [])


def test_an_attached_database_waits_like_the_main_one(db: aurora.Database, conn: Conn) -> None:
    conn.execute("ATTACH 'file:second' AS second")
    with closing(aurora.connect(db, name="second", check_same_thread=False)) as writer:
        writer.execute("CREATE TABLE u (a)")
        ending = threading.Timer(0.3, writer.commit)
        ending.start()
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("INSERT INTO second.u VALUES (1)")
        conn.commit()
        ending.join()
        assert rows(writer, "u") == [(1,)]


@pytest.mark.parametrize("has_own_trace", [False, True])
def test_writers_wait_for_their_turn_before_they_look(
    db: aurora.Database, conn: Conn, has_own_trace: bool
) -> None:
    """A statement that waits sees what was written meanwhile; it is not sent back for an old view,
    unless a trace callback of the user's has taken the place of ours."""
    conn.execute("INSERT INTO t VALUES (1, 0)")
    conn.commit()
    before = db.sql.counts().conflicts
    seen: list[str] = []

    def add() -> None:
        with closing(aurora.connect(db, isolation_level=None)) as other:
            if has_own_trace:
                other.set_trace_callback(seen.append)
            for _ in range(10):
                other.execute("UPDATE t SET b = b + 1")

    conn.execute("BEGIN IMMEDIATE")
    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    conn.execute("UPDATE t SET b = b + 1")
    conn.commit()
    for thread in threads:
        thread.join()
    assert rows(conn) == [(1, 41)]
    assert bool(seen) == has_own_trace
    assert (db.sql.counts().conflicts > before) == has_own_trace


def test_what_only_reads_waits_for_no_writer(db: aurora.Database, conn: Conn) -> None:
    conn.execute("BEGIN IMMEDIATE")
    with closing(aurora.connect(db, isolation_level=None, timeout=60)) as other:
        other.execute("PRAGMA busy_timeout=0")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("INSERT INTO t VALUES (1, 1)")
        assert rows(other) == []
        other.execute("BEGIN")
        assert rows(other) == []
        other.execute("COMMIT")
    conn.execute("INSERT INTO t VALUES (1, 1)")
    conn.commit()
    assert rows(conn) == [(1, 1)]


def test_stock_connections_wait_as_long_as_they_say(db: aurora.Database, conn: Conn) -> None:
    """SQLite's own busy handler counts how often it was called, not how long that took."""
    conn.execute("BEGIN IMMEDIATE")
    for timeout in (0, 0.3):
        with closing(stock(db, timeout=timeout)) as other:
            begun = time.monotonic()
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            assert timeout - 0.05 <= time.monotonic() - begun < timeout + 1
    conn.rollback()


def test_exclusive_locking_that_slips_through_loses_nothing(
    db: aurora.Database, conn: Conn, tmp_path: Path
) -> None:
    """On a plain main file the PRAGMA reaches what is attached: a commit counts, or fails."""
    acknowledged = []
    with closing(sqlite3.connect(plain(tmp_path / "plain.db"), uri=True)) as other:
        other.execute(f"ATTACH 'file:main?vfs={vfs_of(db.sql, sqlite3)}' AS m")
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        for number in range(3):
            try:
                other.execute("INSERT INTO m.t VALUES (?, 0)", (number,))
                other.commit()
                acknowledged.append((number, 0))
            except sqlite3.OperationalError:
                other.rollback()
    assert rows(conn) == acknowledged


def test_no_locks_are_refused_and_immutable_is_one_moment(db: aurora.Database, conn: Conn) -> None:
    vfs = vfs_of(db.sql, sqlite3)
    with pytest.raises(sqlite3.OperationalError):
        sqlite3.connect(f"file:main?vfs={vfs}&nolock=1", uri=True)
    with closing(sqlite3.connect(f"file:main?vfs={vfs}&immutable=1", uri=True)) as still:
        conn.execute("INSERT INTO t VALUES (1, 1)")
        conn.commit()
        assert rows(still) == []


def test_pages_that_were_never_written_are_empty_whoever_had_them_before(
    db: aurora.Database, conn: Conn
) -> None:
    """A page that is free again before its commit is not written by SQLite."""
    with closing(aurora.connect(db, name="first")) as first:
        first.execute("CREATE TABLE f AS SELECT zeroblob(3000000) z")
        first.commit()
    db.sql.drop("first")
    for _ in range(2):
        conn.execute("INSERT INTO t SELECT value, zeroblob(9000) FROM json_each(?)", (NUMBERS,))
        conn.execute("DELETE FROM t")
        conn.commit()
    conn.execute("INSERT INTO t SELECT value, zeroblob(9000) FROM json_each(?)", (NUMBERS,))
    conn.commit()
    assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    report = db.verify()
    assert report.ok, report


NUMBERS = str(list(range(1, 300)))


def test_the_cache_is_dropped_only_for_what_others_wrote(db: aurora.Database, conn: Conn) -> None:
    conn.execute("INSERT INTO t SELECT value, zeroblob(500) FROM json_each(?)", (NUMBERS,))
    conn.commit()

    def reads_of(action: Any) -> int:
        before = db.sql.counts().reads
        action()
        return db.sql.counts().reads - before

    def count() -> None:
        conn.execute("SELECT sum(length(b)) FROM t").fetchall()

    count()
    whole = reads_of(lambda: [conn.execute("PRAGMA shrink_memory"), count()])
    assert whole > 15
    with closing(aurora.connect(db, name="another")) as other:
        other.execute("CREATE TABLE o (a)")
        other.commit()
        db.put(b"key", b"value")
        assert reads_of(count) <= 2, "another database is not this one"
    conn.execute("UPDATE t SET b = 1 WHERE a = 5")
    conn.commit()
    assert reads_of(count) <= 2, "its own commit is in its cache"
    version = conn.execute("PRAGMA data_version").fetchone()
    with closing(aurora.connect(db)) as other:
        other.execute("UPDATE t SET b = 2 WHERE a = 6")
        other.commit()
    assert reads_of(count) >= whole - 2
    assert conn.execute("PRAGMA data_version").fetchone() != version


@pytest.mark.parametrize("target", ["file:other", "x", "/nonexistent/dir/x.db"])
def test_vacuum_into_makes_no_database_of_the_volume(
    db: aurora.Database, conn: Conn, tmp_path: Path, target: str
) -> None:
    conn.execute("INSERT INTO t VALUES (1, 1)")
    conn.commit()
    with pytest.raises(sqlite3.OperationalError) as refusal:
        conn.execute("VACUUM INTO ?", (target,))
    [note] = refusal.value.__notes__
    assert note.startswith("VACUUM INTO makes ordinary files")
    assert target.removeprefix("file:").removeprefix("/") in note
    with closing(stock(db)) as other, pytest.raises(sqlite3.OperationalError):
        other.execute("VACUUM INTO ?", (target,))
    assert db.sql.names() == ["main"]
    conn.execute("VACUUM INTO ?", (f"file:{tmp_path / 'file.db'}?vfs=unix",))
    with closing(sqlite3.connect(tmp_path / "file.db")) as file:
        assert rows(file) == rows(conn) == [(1, 1)]


def test_backup_goes_both_ways(db: aurora.Database, conn: Conn) -> None:
    conn.execute("INSERT INTO t VALUES (1, 'x')")
    conn.commit()
    with closing(sqlite3.connect(":memory:")) as memory:
        conn.backup(memory)
        assert rows(memory) == [(1, "x")]
        with closing(aurora.connect(db, name="copy")) as copy:
            memory.backup(copy)
            assert rows(copy) == [(1, "x")]
    with closing(aurora.connect(db, name="copy")) as copy:
        assert rows(copy) == [(1, "x")]


def test_databases_of_a_volume_are_independent(db: aurora.Database, conn: Conn) -> None:
    """One is written while another has a writer in mid-transaction; and they go alone."""
    conn.execute("INSERT INTO t VALUES (1, 1)")
    with closing(aurora.connect(db, name="b", timeout=0)) as other:
        other.execute("CREATE TABLE t (a, b)")
        other.commit()
        other.execute("INSERT INTO t VALUES (2, 2)")
        other.commit()
        with pytest.raises(TimeoutError):
            db.sql.drop("main", timeout=0)
        conn.commit()
        db.sql.drop("main")
        assert (db.sql.names(), rows(other)) == (["b"], [(2, 2)])
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            rows(conn)
        conn.execute("CREATE TABLE t (a)")
        assert rows(conn) == []


def test_a_clone_and_a_backtrack_take_sql_along(
    db: aurora.Database, conn: Conn, tmp_path: Path
) -> None:
    conn.execute("INSERT INTO t VALUES (1, 1)")
    conn.commit()
    before = conn.lsn
    conn.execute("DELETE FROM t")
    conn.commit()
    with (
        db.clone(tmp_path / "clone", at=before) as clone,
        closing(aurora.connect(clone)) as there,
    ):
        there.execute("INSERT INTO t VALUES (2, 2)")
        there.commit()
        assert rows(there) == [(1, 1), (2, 2)]
    assert rows(conn) == []
    db.backtrack(before)
    assert rows(conn) == [(1, 1)]


def test_a_backtrack_is_no_other_schema_of_the_same_number(db: aurora.Database, conn: Conn) -> None:
    """Else what one history calls a table would be read, and written, as one of the other's."""
    conn.execute("CREATE TABLE first (a)")
    before = db.durable_lsn
    conn.executescript("CREATE TABLE left_behind (a); INSERT INTO left_behind VALUES ('left')")
    number = conn.execute("PRAGMA schema_version").fetchone()
    undo = db.backtrack(before).undo_lsn
    conn.executescript("CREATE TABLE later (a); INSERT INTO later VALUES ('later')")
    with closing(aurora.connect(db)) as fresh:
        assert fresh.execute("PRAGMA schema_version").fetchone() == number
    db.backtrack(undo)
    for statement in ("SELECT * FROM later", "INSERT INTO later VALUES ('lost')"):
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            conn.execute(statement)
    conn.execute("INSERT INTO left_behind VALUES ('new')")
    conn.execute("CREATE TABLE IF NOT EXISTS later (a)")
    conn.commit()
    with closing(aurora.connect(db)) as fresh:
        assert fresh.execute("SELECT a FROM left_behind").fetchall() == [("left",), ("new",)]
        assert fresh.execute("SELECT a FROM later").fetchall() == []
        assert fresh.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_transaction_larger_than_the_cache(tmp_path: Path) -> None:
    with (
        aurora.open(tmp_path / "db", cache_bytes=4 << 20) as db,
        closing(aurora.connect(db)) as conn,
    ):
        conn.execute("PRAGMA cache_size=10")
        conn.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
        conn.execute("INSERT INTO t SELECT value, zeroblob(50000) FROM json_each(?)", (NUMBERS,))
        conn.commit()
        conn.execute("UPDATE t SET b = zeroblob(50001)")
        conn.rollback()
        assert conn.execute("SELECT DISTINCT length(b) FROM t").fetchall() == [(50000,)]
        conn.execute("UPDATE t SET b = zeroblob(50001)")
        conn.commit()
        assert conn.execute("SELECT DISTINCT length(b) FROM t").fetchall() == [(50001,)]
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_was_written_and_rolled_back_is_no_commit(db: aurora.Database, conn: Conn) -> None:
    """Pages that have spilled before the rollback of a savepoint lie behind the end then."""
    conn.isolation_level = None
    conn.execute("PRAGMA cache_size=1")
    commits = db.sql.counts().commits
    for _ in range(3):
        conn.execute("SAVEPOINT s")
        conn.execute("INSERT INTO t SELECT value, zeroblob(9000) FROM json_each(?)", (NUMBERS,))
        conn.execute("ROLLBACK TO s")
        conn.execute("RELEASE s")
    assert db.sql.counts().commits == commits
    conn.execute("INSERT INTO t VALUES (1, 1)")
    assert rows(conn) == [(1, 1)]


def test_a_thousand_tables(db: aurora.Database, conn: Conn) -> None:
    for number in range(1000):
        conn.execute(f"CREATE TABLE n{number} (a)")
    conn.commit()
    with closing(aurora.connect(db)) as other:
        assert other.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1001,)


@pytest.mark.large
def test_beyond_the_hole_at_one_gibibyte(tmp_path: Path) -> None:
    """A blob of 900 MB, and the page that SQLite leaves out."""
    with aurora.open(tmp_path / "db") as db, closing(aurora.connect(db)) as conn:
        conn.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
        conn.execute("INSERT INTO t VALUES (1, zeroblob(900000000))")
        conn.commit()
        with conn.blobopen("t", "b", 1) as blob:
            blob.seek(899_999_990)
            blob.write(b"0123456789")
        conn.commit()
        conn.execute("INSERT INTO t VALUES (2, zeroblob(300000000))")
        conn.commit()
        assert conn.execute("SELECT a, length(b), substr(b, -3) FROM t").fetchone() == (
            1,
            900_000_000,
            b"789",
        )
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.verify().ok
