"""SQLite files into a volume and out of it: nothing is lost, nothing is half there."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.volumes import seeded

import aurora_engine as aurora
from aurora_engine.sql import export_sqlite, import_sqlite

MIB = 1 << 20
FULL = os.environ.get("AURORA_LARGE") == "1"

SCHEMA = """
CREATE TABLE plain (a, b TEXT COLLATE NOCASE, c BLOB);
CREATE TABLE shadowed (rowid TEXT, value);
CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, x);
CREATE TABLE keyed (k TEXT PRIMARY KEY, v ANY) WITHOUT ROWID;
CREATE TABLE strict (i INTEGER, r REAL, t TEXT, b BLOB, a ANY) STRICT;
CREATE TABLE made (x INT, twice AS (x * 2) STORED, thrice AS (x * 3), CHECK (x > 0));
CREATE TABLE child (id INTEGER PRIMARY KEY, of INTEGER REFERENCES counted ON DELETE CASCADE);
CREATE TABLE "a ""quoted"" näme; --" ("select" INTEGER, "x y", [], `t``k`);
CREATE INDEX half ON plain (b) WHERE a > 10;
CREATE UNIQUE INDEX by_expression ON plain (lower(b), a DESC);
CREATE INDEX "index of things" ON "a ""quoted"" näme; --" ("x y");
CREATE VIEW seen AS SELECT a, length(b) AS n FROM plain WHERE a < 50;
CREATE TRIGGER noted AFTER INSERT ON counted BEGIN INSERT INTO child VALUES (NULL, new.id); END;
CREATE VIRTUAL TABLE words USING fts5 (title, body, tokenize = 'porter');
CREATE VIRTUAL TABLE boxes USING rtree (id, x0, x1);
CREATE VIRTUAL TABLE old_words USING fts4 (text);
PRAGMA user_version = -12345;
PRAGMA application_id = 252006674;
"""


PRAGMAS = ("encoding", "user_version", "application_id", "auto_vacuum", "integrity_check")


def furnish(path: Path, *pragmas: str) -> None:
    """Makes a file that has everything that SQLite files have."""
    rng = seeded(path)
    with closing(sqlite3.connect(path)) as conn:
        for pragma in pragmas:
            conn.execute(f"PRAGMA {pragma}")
        conn.executescript(SCHEMA)
        odd = ["", "a\0b", "ключ", "\U0001f600" * 3, b"\0\xff" * 9, None, 2**63 - 1, -0.0, 1e308]
        for number in range(300):
            thing = rng.choice(odd)
            blob = rng.randbytes(rng.choice((0, 10, 900, 30_000 if number % 50 == 0 else 5)))
            row = (number, f"Name {rng.randrange(10**9)} é", blob)
            conn.execute("INSERT INTO plain VALUES (?, ?, ?)", row)
            conn.execute("INSERT INTO keyed VALUES (?, ?)", (f"{rng.random()}", thing))
            conn.execute("INSERT INTO strict VALUES (1, 2, 'x', x'00', ?)", (thing,))
            conn.execute("INSERT INTO made (rowid, x) VALUES (?, ?)", (number * 7, number + 1))
            conn.execute("INSERT INTO words VALUES (?, ?)", (f"title {number}", "running dogs"))
            conn.execute("INSERT INTO boxes VALUES (?, ?, ?)", (number, number, number + 1))
            conn.execute("INSERT INTO old_words VALUES (?)", (f"word{number}",))
            # Rowids that no counting would give.
            rowid = rng.randrange(-(2**62), 2**62)
            conn.execute("INSERT INTO shadowed (_rowid_, rowid) VALUES (?, ?)", (rowid, "r"))
        conn.executemany("INSERT INTO counted (x) VALUES (?)", [(n,) for n in range(20)])
        conn.execute("DELETE FROM counted WHERE id > 15")
        conn.execute("DELETE FROM plain WHERE a % 3 = 0")
        conn.executemany(
            """INSERT INTO "a ""quoted"" näme; --" VALUES (?, ?, ?, ?)""", [(1, 2, 3, 4)]
        )
        conn.execute("ANALYZE")
        conn.commit()


def contents(conn: sqlite3.Connection) -> list[Any]:
    """Everything that can be asked of a database, rowids and bytes of texts too."""
    told: list[Any] = list(conn.iterdump())
    told += [(pragma, conn.execute(f"PRAGMA {pragma}").fetchall()) for pragma in PRAGMAS]
    told += sorted(conn.execute("SELECT name, type, tbl_name, sql FROM sqlite_master"), key=str)
    conn.text_factory = bytes
    for schema, name, kind, _, without_rowid, _ in sorted(conn.execute("PRAGMA table_list")):
        if schema == b"main" and kind in (b"table", b"shadow") and name != b"sqlite_schema":
            quoted = '"' + name.decode().replace('"', '""') + '"'
            rowid = "1" if without_rowid else "_rowid_"
            told += conn.execute(f"SELECT {rowid}, * FROM {quoted}").fetchall()
    conn.text_factory = str
    return told


def contents_of(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as conn:
        return contents(conn)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[aurora.Database]:
    with aurora.open(tmp_path / "volume") as opened:
        yield opened


@pytest.mark.parametrize(
    "pragmas",
    [
        ("page_size = 512", "encoding = 'UTF-16le'"),
        ("page_size = 4096", "journal_mode = WAL"),
        ("page_size = 8192", "auto_vacuum = INCREMENTAL", "legacy_file_format = 1"),
        ("page_size = 65536", "encoding = 'UTF-16be'"),
    ],
    ids=str,
)
def test_everything_comes_in_and_goes_out(
    db: aurora.Database, tmp_path: Path, pragmas: tuple[str, ...]
) -> None:
    """Both ways, and again over what is there, beside another database that stays as it is."""
    source, out = tmp_path / "with space & ?x=%20.db", tmp_path / "out.db"
    furnish(source, *pragmas)
    expected = contents_of(source)
    with aurora.connect(db, name="other") as other:
        other.execute("CREATE TABLE t AS SELECT 1")
    progress: list[tuple[int, int]] = []
    import_sqlite(source, db, name="imported", progress=lambda *at: progress.append(at))
    assert progress == sorted(progress)
    assert progress[-1][0] == progress[-1][1] > 0
    with closing(aurora.connect(db, name="imported")) as conn:
        assert contents(conn) == expected
        assert conn.execute("SELECT count(*) FROM words WHERE words MATCH 'run'").fetchone() == (
            300,
        )
        conn.execute("INSERT INTO counted (x) VALUES (99)")
        assert conn.execute("SELECT max(id) FROM counted").fetchone() == (21,)
        conn.commit()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)  # a file that cannot be written
        import_sqlite(source, db, name="imported", replace=True)
    export_sqlite(db, tmp_path / "then.db", name="imported", as_of=db.durable_lsn)
    assert contents_of(tmp_path / "then.db") == expected
    (tmp_path / "then.db").unlink()
    export_sqlite(db, out, name="imported")
    assert contents_of(out) == expected
    # A file as any other for whoever has only SQLite, for writing as well.
    with closing(sqlite3.connect(out)) as plain, plain:
        plain.execute("INSERT INTO plain VALUES (-1, 'new', zeroblob(100000))")
        plain.execute("INSERT INTO words VALUES ('t', 'walking')")
    assert ("integrity_check", [("ok",)]) in contents_of(out)
    assert db.sql.names() == ["imported", "other"]
    assert db.verify().ok
    assert sorted(p.name for p in tmp_path.iterdir() if "-" not in p.name) == sorted(
        ["volume", source.name, "out.db"]
    )


def test_empty_and_small_files(db: aurora.Database, tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    import_sqlite(tmp_path / "empty.db", db)
    with closing(aurora.connect(db)) as conn:
        assert list(conn.iterdump()) == ["BEGIN TRANSACTION;", "COMMIT;"]
        conn.execute("CREATE TABLE t (x)")
        conn.commit()
    export_sqlite(db, tmp_path / "out.db")
    assert contents_of(tmp_path / "out.db")[1] == "CREATE TABLE t (x);"


def test_the_past_is_exported(db: aurora.Database, tmp_path: Path) -> None:
    with closing(aurora.connect(db)) as conn:
        conn.execute("CREATE TABLE t (x)")
        conn.execute("INSERT INTO t VALUES ('old')")
        conn.commit()
        before = conn.lsn
    with closing(sqlite3.connect(tmp_path / "new.db")) as plain, plain:
        plain.execute("CREATE TABLE other (y)")
    import_sqlite(tmp_path / "new.db", db, replace=True)
    export_sqlite(db, tmp_path / "then.db", as_of=before)
    assert "INSERT INTO \"t\" VALUES('old');" in contents_of(tmp_path / "then.db")
    with pytest.raises(FileExistsError, match=r"then\.db"):
        export_sqlite(db, tmp_path / "then.db")
    export_sqlite(db, tmp_path / "then.db", replace=True)
    assert "CREATE TABLE other (y);" in contents_of(tmp_path / "then.db")
    with pytest.raises(KeyError, match="nothing"):
        export_sqlite(db, tmp_path / "none.db", name="nothing")
    (tmp_path / "stale.db-wal").write_bytes(b"x")
    with pytest.raises(FileExistsError, match=r"stale\.db-wal"):
        export_sqlite(db, tmp_path / "stale.db")
    assert not (tmp_path / "stale.db").exists()


def test_what_is_refused_leaves_everything_as_it_was(db: aurora.Database, tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    with closing(sqlite3.connect(source)) as conn, conn:
        conn.create_collation("backwards", lambda a, b: (a < b) - (a > b))
        conn.create_function("twice", 1, lambda x: x * 2, deterministic=True)
        conn.execute("CREATE TABLE t (x TEXT COLLATE backwards, y)")
        conn.execute("CREATE INDEX i ON t (x, twice(y))")
        conn.executemany("INSERT INTO t VALUES (?, ?)", [(f"{n}", n) for n in range(1000)])
    with pytest.raises(sqlite3.DatabaseError, match=r"twice|backwards"):
        import_sqlite(source, db)
    (tmp_path / "noise.db").write_bytes(b"noise" * 1000)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        import_sqlite(tmp_path / "noise.db", db)
    text = source.read_bytes().replace(b"CREATE TABLE", b"CREA\xacE TABLE")
    (tmp_path / "schema.db").write_bytes(text)
    with pytest.raises(sqlite3.DatabaseError, match=r"malformed database schema .*\\xac"):
        import_sqlite(tmp_path / "schema.db", db)
    with pytest.raises(FileNotFoundError):
        import_sqlite(tmp_path / "missing.db", db)
    with pytest.raises(ValueError, match="name"):
        import_sqlite(source, db, name="")
    assert db.sql.names() == []

    def setup(conn: sqlite3.Connection) -> None:
        conn.create_collation("backwards", lambda a, b: (a < b) - (a > b))
        conn.create_function("twice", 1, lambda x: x * 2, deterministic=True)

    import_sqlite(source, db, setup=setup)
    with pytest.raises(FileExistsError, match="main"):
        import_sqlite(source, db, setup=setup)
    with closing(aurora.connect(db)) as conn:
        setup(conn)
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        # Damaged in the middle: half of it would have been read already.
        with source.open("r+b") as file:
            file.seek(source.stat().st_size // 2 // 4096 * 4096)
            file.write(b"\xff" * 4096)
        with pytest.raises(sqlite3.DatabaseError):
            import_sqlite(source, db, setup=setup, replace=True)
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (1000,)


@pytest.mark.parametrize("page_bytes", [512, 4096, 8192, 65536])
@pytest.mark.parametrize("cut", [1, 100, 511])
def test_a_file_that_was_cut_off(
    db: aurora.Database, tmp_path: Path, page_bytes: int, cut: int
) -> None:
    """SQLite itself reads zeros for the end of the last page, and says nothing."""
    source = tmp_path / "source.db"
    with closing(sqlite3.connect(source)) as conn, conn:
        conn.execute(f"PRAGMA page_size={page_bytes}")
        conn.execute("CREATE TABLE t (x)")
        conn.executemany("INSERT INTO t VALUES (?)", [(b"x" * 300,)] * 1000)
    whole = source.read_bytes()
    source.write_bytes(whole[:-cut])
    with pytest.raises(sqlite3.DatabaseError, match=r"source\.db is cut off"):
        import_sqlite(source, db)
    assert db.sql.names() == []
    # What stands behind the last page belongs to nothing.
    source.write_bytes(whole + b"\xff" * cut)
    import_sqlite(source, db)
    with closing(aurora.connect(db)) as conn:
        assert conn.execute("SELECT count(*), min(x), max(x) FROM t").fetchone() == (
            1000,
            b"x" * 300,
            b"x" * 300,
        )


@pytest.mark.parametrize("in_wal", ["whole", "damaged", "not"])
def test_a_file_that_was_cut_off_beside_its_wal(
    db: aurora.Database, tmp_path: Path, in_wal: str
) -> None:
    """A page that a checkpoint wrote half is whole in the WAL; only others are lost."""
    live, source = tmp_path / "live.db", tmp_path / "source.db"
    with closing(sqlite3.connect(live, isolation_level=None)) as conn:
        conn.execute("CREATE TABLE t (x)")
        conn.executemany("INSERT INTO t VALUES (?)", [(b"%d" % n * 300,) for n in range(100)])
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("PRAGMA wal_autocheckpoint=0")
        changed = "min" if in_wal == "not" else "max"
        conn.execute(f"UPDATE t SET x='new' WHERE rowid=(SELECT {changed}(rowid) FROM t)")
        expected = conn.execute("SELECT * FROM t").fetchall()
        source.write_bytes(live.read_bytes()[:-100])
        wal = bytearray(Path(f"{live}-wal").read_bytes())
        wal[-1] ^= in_wal == "damaged"
        Path(f"{source}-wal").write_bytes(wal)
    if in_wal != "whole":
        with pytest.raises(sqlite3.DatabaseError, match="is cut off"):
            import_sqlite(source, db)
        return
    import_sqlite(source, db)
    with closing(aurora.connect(db)) as conn:
        assert conn.execute("SELECT * FROM t").fetchall() == expected


def big_file(path: Path, mib: int) -> None:
    rng = seeded("big file")
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT, v BLOB); CREATE INDEX i ON t (k)"
        )
        number = 0
        while path.stat().st_size < mib * MIB:
            rows = [
                (
                    number + at,
                    f"{(number + at) * 2654435761 % 2**32:08x}",
                    rng.randbytes(rng.choice((50, 300, 900, 5000))),
                )
                for at in range(5000)
            ]
            number += len(rows)
            conn.execute("BEGIN")
            conn.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
            conn.execute("COMMIT")


def test_an_import_that_is_stopped(db: aurora.Database, tmp_path: Path) -> None:
    """By its progress, by an exception, and by who writes the database."""
    source = tmp_path / "source.db"
    big_file(source, 16)
    with closing(aurora.connect(db)) as conn:
        conn.execute("CREATE TABLE old (x)")
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            import_sqlite(source, db, name="a", progress=lambda *_: False)

        def fail(*_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            import_sqlite(source, db, name="a", progress=fail)
        assert db.sql.names() == ["main"]
        # Somebody else writes it: the import waits, and is refused.
        conn.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            import_sqlite(source, db, replace=True, timeout=0.3)
        assert 0.2 < time.monotonic() - started < 5
        conn.rollback()
        assert conn.execute("SELECT name FROM sqlite_master").fetchall() == [("old",)]
    out = tmp_path / "out.db"
    # Again and again, over pages that others have left.
    for _ in range(3):
        import_sqlite(source, db, name="b", replace=True)
    with closing(aurora.connect(db, name="b")) as conn:
        assert contents(conn) == contents_of(source)
    assert db.sql.names() == ["b", "main"]
    assert db.status().data_bytes < 3 * source.stat().st_size
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        export_sqlite(db, out, name="b", progress=lambda *_: False)
    assert not out.exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_stop_while_files_are_opened_is_told_as_one(
    db: aurora.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite then says "unable to open database" of the file that it was about to make."""
    with closing(aurora.connect(db)) as conn:
        conn.execute("CREATE TABLE a (x)")
        conn.executemany("INSERT INTO a VALUES (?)", [(b"x" * 900,)] * 4000)
        conn.commit()
    told = []
    for number in range(100):
        pause_s = 0.00005 * (number % 10)
        monkeypatch.setattr("aurora_engine.sql.transfer.POLL_FIRST_S", pause_s)
        try:
            export_sqlite(db, tmp_path / f"out{number}.db", progress=lambda *_: False)
        except sqlite3.OperationalError as stopped:
            told.append((str(stopped), stopped.sqlite_errorcode))
    assert told
    assert set(told) == {("interrupted", sqlite3.SQLITE_INTERRUPT)}


LOADER = """
import sys
import aurora_engine as aurora
from aurora_engine.sql import import_sqlite
with aurora.open(sys.argv[1]) as db:
    print("begins", flush=True)
    import_sqlite(sys.argv[2], db, replace=True)
    print("done", flush=True)
    sys.stdin.read()
"""


@pytest.mark.crash
def test_sigkill_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    source, volume = tmp_path / "source.db", tmp_path / "volume"
    big_file(source, 24)
    rng = seeded("import killed")
    with aurora.open(volume) as db, closing(aurora.connect(db)) as conn:
        conn.execute("CREATE TABLE old (x)")
        conn.executemany("INSERT INTO old VALUES (?)", [(n,) for n in range(5000)])
        conn.commit()
    expected = contents_of(source)
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", LOADER, volume, source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begins\n"
            time.sleep(rng.uniform(0.02, 0.8))
            process.send_signal(signal.SIGKILL)
            done = process.stdout.read() == b"done\n"
        with aurora.open(volume) as db, closing(aurora.connect(db)) as conn:
            assert db.sql.names() == ["main"]
            assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            if conn.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,):
                assert not done
                assert conn.execute("SELECT count(*) FROM old").fetchone() == (5000,)
            else:
                assert contents(conn) == expected
            # A copy that was behind when the others were killed may have to be rebuilt.
            db.repair()
            assert db.verify().ok
    with aurora.open(volume) as db:
        import_sqlite(source, db, replace=True)
        # What the killed ones had written is not kept for ever.
        assert db.status().data_bytes < 3.2 * source.stat().st_size


IMPORTER = """
import sys
import aurora_engine as aurora
from aurora_engine.sql import export_sqlite, import_sqlite
with aurora.open(sys.argv[1], cache_bytes=int(sys.argv[3])) as db:
    import_sqlite(sys.argv[2], db)
    peaks = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
    export_sqlite(db, sys.argv[4])
    print(*peaks)
"""


@pytest.mark.large
@pytest.mark.slow
def test_memory_is_bounded(tmp_path: Path) -> None:
    """2 GiB with a cache of 64 MiB when AURORA_LARGE=1; else less of both.

    Beside the cache there are the interpreter and, on a busy machine, log that waits for its layer.
    """
    mib, cache_mib, overhead_mib = (2048, 64, 150) if FULL else (192, 8, 150)
    source, out = tmp_path / "source.db", tmp_path / "out.db"
    big_file(source, mib)
    done = subprocess.run(
        [sys.executable, "-c", IMPORTER, tmp_path / "volume", source, str(cache_mib * MIB), out],
        capture_output=True,
        text=True,
        check=True,
    )
    peak_mib = int(done.stdout) // 1024
    print(f"{peak_mib} MiB at most, {mib} MiB imported")
    assert peak_mib < cache_mib + overhead_mib
    query = "SELECT count(*), sum(id), sum(length(v)), max(k) FROM t"
    with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(out)) as here:
        assert here.execute(query).fetchone() == there.execute(query).fetchone()
        assert here.execute("PRAGMA quick_check").fetchone() == ("ok",)
