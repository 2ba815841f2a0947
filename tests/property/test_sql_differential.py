"""Random SQL programs on a volume and on stock SQLite: the same results, statement by statement.

The stock file is in WAL mode, which promises what a volume does: readers stay at their snapshot,
and who writes with an old one is refused. ``AURORA_SQL_SECONDS=600`` runs for longer than the
default; ``AURORA_SEED`` replays the first program of a run.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.property.sql_programs import Fetch, Program, Run, Step
from tests.volumes import seeded

import aurora_engine as aurora

SECONDS = float(os.environ.get("AURORA_SQL_SECONDS", "12"))
STEPS = 130
PROGRAMS_A_VOLUME = 4
SECOND = "second"

Result = tuple[Any, ...]


class Diverged(Exception):
    """Stock SQLite has refused an old snapshot, and the volume has not.

    Who writes what was there already has committed nothing for a volume, but has for a WAL.
    """


def dump(conn: sqlite3.Connection) -> list[str]:
    """All that is in a database, but for what SQLite keeps of its own."""
    # A generated column can make text of blobs that is no UTF-8.
    conn.text_factory = lambda text: text.decode(errors="surrogateescape")
    try:
        return [line for line in conn.iterdump() if "sqlite_stat" not in line]
    finally:
        conn.text_factory = str


@dataclass
class Side:
    """The connections of one of the two that are compared."""

    connections: list[sqlite3.Connection]
    open_cursors: dict[int, sqlite3.Cursor] = field(default_factory=dict)

    def run(self, step: Step) -> Result:
        """What a step gives, errors as well."""
        if isinstance(step, Fetch):
            return self._outcome(lambda: self._fetch(step))
        return self._outcome(lambda: self._execute(step))

    def _fetch(self, step: Fetch) -> Any:
        cursor = self.open_cursors.get(step.connection)
        if cursor is None:
            return None
        rows = cursor.fetchmany(step.rows) if step.rows else cursor.fetchall()
        if not rows or not step.rows:
            self.open_cursors.pop(step.connection).close()
        return rows

    def _execute(self, step: Run) -> Any:
        conn = self.connections[step.connection]
        if step.many:
            return conn.executemany(step.sql, step.parameters).rowcount
        if ";" in step.sql and "TRIGGER" not in step.sql:
            return self._script(conn, step.sql)
        cursor = conn.execute(step.sql, step.parameters)
        is_plain = step.sql.startswith("SELECT") and "sqlite_" not in step.sql
        if is_plain and len(step.sql) % 5 == 0 and step.connection not in self.open_cursors:
            self.open_cursors[step.connection] = cursor
            return cursor.fetchmany(2)
        rows = cursor.fetchall()
        return rows, conn.in_transaction, cursor.rowcount, cursor.lastrowid

    @staticmethod
    def _script(conn: sqlite3.Connection, sql: str) -> Any:
        for part in sql.split(";"):
            conn.execute(part)
        return conn.in_transaction

    @staticmethod
    def _outcome(action: Any) -> Result:
        try:
            return ("result", action())
        except sqlite3.Error as error:
            stock = next(c for c in type(error).__mro__ if c.__module__ == "sqlite3")
            code = getattr(error, "sqlite_errorcode", 0)
            # What the engine adds comes behind a colon.
            return ("error", stock.__name__, code & 0xFF, str(error), code)

    def forget_cursor(self, connection: int) -> None:
        """Rows that are being read while their table changes are nobody's promise."""
        cursor = self.open_cursors.pop(connection, None)
        if cursor is not None:
            cursor.close()

    def stop(self) -> None:
        """Ends what is open."""
        for number, conn in enumerate(self.connections):
            self.forget_cursor(number)
            if conn.in_transaction:
                conn.rollback()

    def close(self) -> None:
        for cursor in self.open_cursors.values():
            cursor.close()
        for conn in self.connections:
            conn.close()


def open_ours(db: aurora.Database, name: str, count: int) -> Side:
    side = Side([])
    for _ in range(count):
        # Who was refused for an old snapshot has the right to write for 5 ms, to come back for it.
        conn = aurora.connect(db, name=name, timeout=0.02, isolation_level=None)
        conn.execute(f"ATTACH 'file:{name}-2' AS {SECOND}")
        side.connections.append(conn)
    return side


def open_stock(folder: Path, name: str, count: int, page_bytes: int) -> Side:
    side = Side([])
    for number in range(count):
        conn = sqlite3.connect(folder / f"{name}.db", timeout=0, isolation_level=None)
        conn.execute("ATTACH ? AS second", (str(folder / f"{name}-2.db"),))
        for schema in ("main", SECOND):
            if number == 0:
                conn.execute(f"PRAGMA {schema}.page_size = {page_bytes}")
                conn.execute(f"PRAGMA {schema}.journal_mode = WAL")
            conn.execute(f"PRAGMA {schema}.synchronous = OFF")
        side.connections.append(conn)
    return side


@dataclass
class Comparison:
    """A program that runs on both sides."""

    db: aurora.Database
    rng: random.Random
    folder: Path
    name: str
    trace: list[str] = field(default_factory=list)
    past: list[tuple[int, list[str]]] = field(default_factory=list)
    has_diverged: bool = False

    def run(self, steps: int) -> None:
        """Runs it, and looks at both in the end."""
        count = self.rng.choice((1, 1, 2, 3))
        page_bytes = self.db.status().page_bytes
        ours = open_ours(self.db, self.name, count)
        stock = open_stock(self.folder, self.name, count, page_bytes)
        try:
            for step in Program(self.rng, count, ("main", SECOND)).steps(steps):
                self._compare(step, ours, stock)
            self._end(ours, stock)
        except Diverged:
            self.has_diverged = True
            ours.stop()
            check(ours.connections[0])
        finally:
            ours.close()
            stock.close()

    def _compare(self, step: Step, ours: Side, stock: Side) -> None:
        self.trace.append(repr(step))
        if isinstance(step, Run) and not step.sql.startswith(("SELECT", "SAVEPOINT", "BEGIN")):
            ours.forget_cursor(step.connection)
            stock.forget_cursor(step.connection)
        found = ours.run(step)
        if isinstance(step, Run) and step.ours_only:
            # SQLite refuses some of these: in a transaction, or while a table is read.
            assert (
                found[0] == "result"
                or found[2] == sqlite3.SQLITE_LOCKED
                or "inside a transaction" in found[3]
            ), found
            return
        expected = stock.run(step)
        if expected[-1] == sqlite3.SQLITE_BUSY_SNAPSHOT and found[:3] != expected[:3]:
            raise Diverged
        assert same(found, expected), f"ours {found!r:.500}\nstock {expected!r:.500}"
        if self.rng.random() < 0.02:
            self.db.put(b"key %d" % self.rng.randrange(50), self.rng.randbytes(3000))
        if self.rng.random() < 0.02:
            self._keep_moment(ours.connections[0])

    def _keep_moment(self, conn: Any) -> None:
        """Now, and what is there now; to be looked at when it is the past."""
        if len(self.past) < 3 and not conn.in_transaction:
            with closing(aurora.connect(self.db, name=self.name)) as present:
                present.execute("BEGIN")
                present.execute("SELECT 1 FROM sqlite_master").fetchall()
                self.past.append((present.lsn, dump(present)))

    def _end(self, ours: Side, stock: Side) -> None:
        for side in (ours, stock):
            side.stop()
        for number, conn in enumerate(ours.connections):
            check(conn)
            assert dump(conn) == dump(stock.connections[number])
        for lsn, before in self.past:
            with closing(aurora.connect(self.db, name=self.name, as_of=lsn)) as past:
                assert dump(past) == before
                check(past)
        with (
            closing(sqlite3.connect(":memory:")) as copy,
            closing(sqlite3.connect(self.folder / f"{self.name}.db")) as same_file,
        ):
            ours.connections[0].backup(copy)
            assert dump(copy) == dump(same_file)

    def reopened(self) -> None:
        """What is there after the volume was opened again."""
        with (
            closing(aurora.connect(self.db, name=self.name)) as ours,
            closing(sqlite3.connect(self.folder / f"{self.name}.db")) as stock,
        ):
            ours.execute(f"ATTACH 'file:{self.name}-2' AS {SECOND}")
            check(ours)
            assert self.has_diverged or dump(ours) == dump(stock)


def same(found: Result, expected: Result) -> bool:
    if found[0] == "error" == expected[0]:
        # The engine may say more than SQLite.
        is_busy = expected[2] == sqlite3.SQLITE_BUSY
        return found[1:3] == expected[1:3] and (is_busy or found[3].startswith(expected[3]))
    return found == expected


def check(conn: sqlite3.Connection) -> None:
    schemas = [row[1] for row in conn.execute("PRAGMA database_list")]
    for schema in schemas:
        found = conn.execute(f"PRAGMA {schema}.integrity_check").fetchall()
        # Rows may break a CHECK or NOT NULL that was added behind them: no fault of the file's.
        assert [row for (row,) in found if "NULL value" not in row and "CHECK" not in row] in (
            ["ok"],
            [],
        ), found


@contextmanager
def opened(folder: Path, rng: random.Random) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The options of a volume, small in every way that makes it hard."""
    page_bytes = rng.choice((4096, 8192, 8192, 16384, 65536))
    options: dict[str, Any] = {
        "page_bytes": page_bytes,
        "cache_bytes": rng.choice((4 << 20, 16 << 20, 64 << 20)),
        "protection_group_bytes": rng.choice((64 * page_bytes, 300 * page_bytes, 10 << 30)),
        "topology": rng.choice((aurora.Topology.single(), None)),
        "backtrack_window": timedelta(hours=1),
    }
    print(options)
    yield folder / "volume", options


def run_volume(folder: Path, rng: random.Random) -> None:
    """Some programs on one volume, one after the other; pages of dropped databases come back."""
    kept: list[Comparison] = []
    running: Comparison | None = None
    with ExitStack() as stack:
        path, options = stack.enter_context(opened(folder, rng))
        try:
            with aurora.open(path, **options) as db:
                for number in range(PROGRAMS_A_VOLUME):
                    running = Comparison(db, rng, folder, f"program-{number}")
                    running.run(STEPS)
                    kept.append(running)
                    if rng.random() < 0.5:
                        gone = kept.pop(rng.randrange(len(kept)))
                        for name in (gone.name, f"{gone.name}-2"):
                            if name in db.sql.names():
                                db.sql.drop(name)
                report = db.verify()
                assert report.ok, report
            with aurora.open(path) as db:
                for running in kept:
                    running.db = db
                    running.reopened()
                assert db.verify().ok
        except BaseException:
            if running is not None:
                print("\n".join(each[:300] for each in running.trace[-40:]))
            raise


@pytest.mark.slow
def test_programs_mean_the_same(tmp_path: Path) -> None:
    """As many programs as fit into the time, each volume with a seed of its own."""
    until = time.monotonic() + SECONDS
    base = seeded("sql differential")
    number = 0
    while number == 0 or time.monotonic() < until:
        seed = base.getrandbits(32)
        if number == 0 and "AURORA_SQL_PROGRAM" in os.environ:
            seed = int(os.environ["AURORA_SQL_PROGRAM"])
        print(f"AURORA_SQL_PROGRAM={seed}")
        folder = tmp_path / str(number)
        folder.mkdir()
        run_volume(folder, random.Random(seed))
        number += 1
