"""The commands of SQL: sql, import-sqlite, export-sqlite."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.python.test_cli import DONE, NOT_FOUND, PROGRAM, USAGE, facts, run

import aurora_engine as aurora

SQL_FAILED = 9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    run("sql", made, "CREATE TABLE t (n INTEGER, s TEXT, b BLOB, r REAL)")
    run("sql", made, "INSERT INTO t VALUES (1, 'a;b', x'00ff', 0.5), (20, '', NULL, 1e999)")
    return made


def test_rows_are_printed(path: Path) -> None:
    assert run("sql", path, "SELECT * FROM t").decode().splitlines() == [
        "n   s    b        r",
        "--  ---  -------  ---",
        " 1  a;b  x'00ff'  0.5",
        "20       <NULL>   inf",
    ]
    lines = run("sql", path, "SELECT *, 1 AS n FROM t", "--json").splitlines()
    assert list(map(json.loads, lines)) == [
        {"n": 1, "s": "a;b", "b_base64": "AP8=", "r": 0.5, "n:1": 1},
        {"n": 20, "s": "", "b": None, "r": "inf", "n:1": 1},
    ]
    given = b".mode csv\nSELECT s, b,\n n FROM t;\n.headers off\n.mode line\nSELECT n FROM t"
    assert run("sql", path, given=given).decode().splitlines() == [
        "s,b,n", "a;b,x'00ff',1", '"",,20', "n = 1", "", "n = 20",
    ]  # fmt: skip
    assert run("sql", path, "SELECT 'a' || char(10) || 'b' AS x; -- end").endswith(b"\na\\nb\n")


def test_errors_and_where_they_stop(path: Path) -> None:
    printed = run(
        "sql", path, "SELECT 1; DELETE FROM t; SELECT * FROM u; SELECT 2", code=SQL_FAILED
    )
    assert printed.splitlines()[2:] == [b"1"]
    assert run("sql", path, "SELECT count(*) FROM t", "--json") == b'{"count(*)": 0}\n'
    run("sql", path, "INSERT INTO t (n) VALUES (1)", "--read-only", code=SQL_FAILED)
    run("sql", path, ".nothing", code=USAGE)
    run("sql", path, ".mode", code=USAGE)
    # A transaction that is not committed is rolled back.
    run("sql", path, "BEGIN; INSERT INTO t (n) VALUES (5)")
    assert run("sql", path, "SELECT count(*) FROM t", "--json") == b'{"count(*)": 0}\n'


def test_names_and_the_past(path: Path) -> None:
    with aurora.open(path) as db:
        before = db.durable_lsn
    run("sql", path, "DROP TABLE t")
    run("sql", path, "CREATE TABLE v (x)", "--name", "second")
    run("sql", path, "SELECT * FROM t", code=SQL_FAILED)
    rows = run("sql", path, "SELECT count(*) AS c FROM t", "--as-of", before, "--json")
    assert json.loads(rows) == {"c": 2}
    assert run("sql", path, ".databases", "--name", "second") == b"  main\n* second\n"
    assert facts("info", path)["sql_databases"] == {"main": 2 * 8192, "second": 2 * 8192}
    assert b"SQL database second" in run("info", path)


def test_dot_commands(path: Path, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text('id,a name\n1,"x, y"\n2,\n', encoding="utf-8-sig")
    (tmp_path / "more.csv").write_text("3,z\n4\n")
    script = tmp_path / "script.sql"
    script.write_text("CREATE VIEW w AS\nSELECT 1 AS one;\n.tables\n")
    run("sql", path, f".import '{table}' imported")
    run("sql", path, f".import '{tmp_path / 'more.csv'}' imported", code=USAGE)
    assert run("sql", path, f".read '{script}'") == b"imported\nt\nw\n"
    assert run("sql", path, ".mode csv\nSELECT * FROM imported") == b'id,a name\n1,"x, y"\n2,""\n'
    assert run("sql", path, ".schema imported") == (
        b'CREATE TABLE "imported" ("id" TEXT, "a name" TEXT);\n'
    )
    # SQLite of this age has no literal for the infinite.
    run("sql", path, "UPDATE t SET r = NULL WHERE r > 1")
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.executescript(run("sql", path, ".dump").decode())
        assert conn.execute("SELECT count(*) FROM t, imported, w").fetchone() == (4,)
    assert b".import" in run("sql", path, ".help\n.quit\n.nothing")
    assert run("sql", path, ".timer on\nSELECT 1 AS x;").endswith(b"1\n")


def test_import_and_export(path: Path, tmp_path: Path) -> None:
    out, source = tmp_path / "out.db", tmp_path / "source.db"
    assert facts("export-sqlite", path, out)["bytes"] == out.stat().st_size
    with closing(sqlite3.connect(out)) as conn:
        assert conn.execute("SELECT n, s FROM t").fetchall() == [(1, "a;b"), (20, "")]
    run("export-sqlite", path, out, code=USAGE)
    run("export-sqlite", path, tmp_path / "none.db", "--name", "none", code=NOT_FOUND)
    with closing(sqlite3.connect(source)) as conn, conn:
        conn.execute("CREATE TABLE imported AS SELECT 7 AS x")
    assert facts("import-sqlite", source, path, "--name", "new")["bytes"] == 2 * 8192
    run("import-sqlite", source, path, code=USAGE)
    with aurora.open(path) as db:
        before = db.durable_lsn
    assert b"imported 16.0 KiB into main" in run("import-sqlite", source, path, "--replace")
    assert json.loads(run("sql", path, "SELECT x FROM imported", "--json")) == {"x": 7}
    run("export-sqlite", path, out, "--replace", "--as-of", before)
    with closing(sqlite3.connect(out)) as conn:
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (2,)
    source.write_bytes(b"no database" * 100)
    run("import-sqlite", source, path, "--name", "bad", code=SQL_FAILED)


def test_a_terminal(path: Path, tmp_path: Path) -> None:
    """Statements over several lines, an error, Ctrl-C in a statement that would not end."""
    main_end, shell_end = pty.openpty()
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "sql", path],
        stdin=shell_end, stdout=shell_end, stderr=shell_end, env=environment,
    ) as process:  # fmt: skip
        os.close(shell_end)

        def say(text: str, answer: str) -> str:
            os.write(main_end, text.encode())
            seen = ""
            deadline = time.monotonic() + 30
            while answer not in seen:
                assert select.select([main_end], [], [], deadline - time.monotonic())[0], seen
                seen += os.read(main_end, 65536).decode()
            return seen

        try:
            say("", "main> ")
            say("SELECT 40 +\n", "    > ")
            say("2 AS x;\n", "42\r\n")
            say("SELECT * FROM nowhere;\n", "no such table: nowhere")
            os.write(
                main_end,
                b"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
                b" SELECT count(*) FROM c;\n",
            )
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            say("", "interrupted")
            say("SELECT 3 * 5 AS y;\n", "15\r\n")
            os.write(main_end, b".quit\n")
            assert process.wait(30) == DONE
        finally:
            process.kill()
            os.close(main_end)
