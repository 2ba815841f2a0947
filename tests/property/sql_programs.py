"""Random SQL programs that mean the same to every SQLite, whatever its pages lie on.

Names come from small pools, so that statements meet: many fail, and fail alike. Nothing depends on
random functions of SQLite's or on the clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Fetch", "Program", "Run", "Step"]

TABLES = ("t0", "t1", "t2", "t3")
COLUMNS = ("a", "b", "c", "d")
SAVEPOINTS = ("s1", "s2", "s3")
SIZES = (0, 3, 20, 100, 100, 900, 2_000, 4_100, 9_000, 40_000, 200_000)

OURS_ONLY = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA journal_mode=OFF",
    "PRAGMA journal_mode=MEMORY",
    "PRAGMA main.journal_mode=TRUNCATE",
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA locking_mode=NORMAL",
    "PRAGMA page_size=512",
    "PRAGMA page_size=65536",
    "PRAGMA synchronous=OFF",
    "PRAGMA synchronous=FULL",
    "PRAGMA mmap_size=100000000",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA wal_autocheckpoint=1",
    "PRAGMA journal_size_limit=1000",
)
"""PRAGMAs that would change what the stock database can do, and must change nothing here."""


@dataclass(frozen=True)
class Run:
    """A statement on one connection; ``many``: its parameters are several sets."""

    connection: int
    sql: str
    parameters: tuple[Any, ...] = ()
    many: bool = False
    ours_only: bool = False


@dataclass(frozen=True)
class Fetch:
    """Some rows of the statement that a connection has open; ``rows`` 0: the rest."""

    connection: int
    rows: int


Step = Run | Fetch


class Program:
    """The endless steps of one program; which ones they are follows from the random numbers."""

    def __init__(self, rng: random.Random, connections: int, schemas: tuple[str, ...]) -> None:
        self._rng = rng
        self._connections = connections
        self._schemas = schemas
        self._kinds: list[tuple[Callable[[], Run], int]] = [
            (self._insert, 20),
            (self._bulk, 6),
            (self._update, 10),
            (self._delete, 6),
            (self._select, 14),
            (self._create, 6),
            (self._alter, 2),
            (self._index, 4),
            (self._trigger, 2),
            (self._drop, 2),
            (self._begin, 8),
            (self._end, 7),
            (self._savepoint, 7),
            (self._pragma, 8),
            (self._maintain, 3),
            (self._script, 3),
            (self._alien_pragma, 4),
        ]
        self._favourite = 0

    def steps(self, count: int) -> list[Step]:
        """The next steps. First there is something in each database."""
        first: list[Step] = [
            Run(0, f"CREATE TABLE IF NOT EXISTS {schema}.t0(a INTEGER PRIMARY KEY, b, c, d)")
            for schema in self._schemas
        ]
        return first + [self._step() for _ in range(count)]

    def _step(self) -> Step:
        if self._rng.random() < 0.25:
            self._favourite = self._rng.randrange(self._connections)
        if self._rng.random() < 0.05:
            return Fetch(self._favourite, self._rng.choice((0, 1, 7)))
        kinds, weights = zip(*self._kinds, strict=True)
        make: Callable[[], Run] = self._rng.choices(kinds, weights)[0]
        return make()

    def _run(self, sql: str, *parameters: Any) -> Run:
        return Run(self._favourite, sql, parameters)

    # ---- pieces ----

    def _one_of(self, *choices: str) -> str:
        return self._rng.choice(choices)

    def _table(self) -> str:
        schema = self._rng.choice(("", "", "", *(f"{schema}." for schema in self._schemas)))
        return schema + self._rng.choice(TABLES)

    def _column(self) -> str:
        return self._rng.choice(COLUMNS)

    def _key(self) -> int:
        return self._rng.choice((self._rng.randrange(30), self._rng.randrange(3000)))

    def _value(self) -> Any:
        size = self._rng.choice(SIZES)
        kind = self._rng.randrange(7)
        if kind == 0:
            return None
        if kind == 1:
            return self._rng.randbytes(size)
        if kind == 2:
            return self._rng.choice("xyz") * size
        if kind == 3:
            return self._rng.uniform(-5, 5)
        return self._rng.choice((self._rng.randrange(20), self._rng.getrandbits(40)))

    def _where(self) -> str:
        low = self._key()
        return self._one_of(
            f"a = {low}",
            f"a BETWEEN {low} AND {low + self._rng.choice((3, 50, 500))}",
            f"b = {self._rng.randrange(20)}",
            f"a % {self._rng.randrange(2, 9)} = 1",
            f"length(c) > {self._rng.choice(SIZES)}",
            f"rowid > {low}",
            f"a IN (SELECT b FROM {self._table()} WHERE b < {low})",
            "1",
        )

    # ---- changes ----

    def _insert(self) -> Run:
        verb = self._one_of(
            "INSERT",
            "INSERT",
            "INSERT OR IGNORE",
            "INSERT OR REPLACE",
            "REPLACE",
            "INSERT OR ROLLBACK",
            "INSERT OR FAIL",
            "INSERT OR ABORT",
        )
        tail = self._one_of(
            "",
            "",
            " ON CONFLICT DO NOTHING",
            " ON CONFLICT(a) DO UPDATE SET b = excluded.b, c = excluded.d WHERE b IS NOT 3",
            " ON CONFLICT DO UPDATE SET d = a",
            " RETURNING a, length(c)",
        )
        sql = f"{verb} INTO {self._table()}(a, b, c, d) VALUES (?, ?, ?, ?){tail}"
        if self._rng.random() < 0.2 and "RETURNING" not in tail:
            rows = tuple(self._row() for _ in range(self._rng.randrange(1, 40)))
            return Run(self._favourite, sql, rows, many=True)
        return self._run(sql, *self._row())

    def _row(self) -> tuple[Any, ...]:
        return (self._key(), self._value(), self._value(), self._value())

    def _bulk(self) -> Run:
        count = self._rng.choice((10, 60, 300, 1500))
        step = self._rng.choice((1, 1, 7, 997))
        value = self._one_of(
            "i % 17",
            "i",
            "printf('%0*d', 40 + i % 90, i)",
            f"zeroblob({self._rng.choice(SIZES[:9])})",
            f"printf('%.*c', {self._rng.choice(SIZES[:9])}, 'q')",
        )
        verb = self._one_of("INSERT", "INSERT OR IGNORE", "INSERT OR REPLACE", "INSERT OR FAIL")
        return self._run(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
            f"{verb} INTO {self._table()}(a, b, c) "
            f"SELECT i * {step} % 2999 + {self._rng.choice((0, 0, 5000))}, {value}, {value} FROM n"
        )

    def _update(self) -> Run:
        verb = self._one_of("UPDATE", "UPDATE", "UPDATE OR IGNORE", "UPDATE OR REPLACE")
        column = self._column()
        tail = self._one_of("", "", " RETURNING a, b")
        if self._rng.random() < 0.5:
            change = self._one_of(
                f"{column} = {column} + 1",
                "a = -a",
                "c = d, d = c",
                "b = (SELECT count(*) FROM t0)",
                f"c = printf('%.*c', {self._rng.choice(SIZES[:9])}, 'u')",
            )
            return self._run(f"{verb} {self._table()} SET {change} WHERE {self._where()}{tail}")
        sql = f"{verb} {self._table()} SET {column} = ? WHERE {self._where()}{tail}"
        return self._run(sql, self._value())

    def _delete(self) -> Run:
        tail = self._one_of("", "", " RETURNING a")
        return self._run(f"DELETE FROM {self._table()} WHERE {self._where()}{tail}")

    # ---- reading ----

    def _select(self) -> Run:
        table, other = self._table(), self._table()
        return self._run(
            self._one_of(
                f"SELECT * FROM {table} WHERE {self._where()} ORDER BY a, b",
                f"SELECT count(*), sum(a), sum(length(c)), min(d) FROM {table}",
                f"SELECT b, count(*) FROM {table} GROUP BY b ORDER BY b",
                f"SELECT x.a, y.b FROM {table} x JOIN {other} y ON x.a = y.b ORDER BY 1, 2 LIMIT 9",
                f"SELECT a FROM {table} EXCEPT SELECT a FROM {other} ORDER BY 1",
                f"SELECT DISTINCT length(d) FROM {table} ORDER BY 1 DESC LIMIT 9",
                f"SELECT a, rank() OVER (ORDER BY b, a) FROM {table} ORDER BY a LIMIT 30",
                f"SELECT {self._column()}, rowid FROM {table} ORDER BY {self._column()}, rowid",
                "SELECT name, tbl_name, sql FROM sqlite_master ORDER BY name",
                "SELECT last_insert_rowid(), total_changes(), changes()",
                "SELECT * FROM sqlite_sequence ORDER BY name",
            )
        )

    # ---- schema ----

    def _create(self) -> Run:
        table = self._table()
        form = self._one_of(
            "(a INTEGER PRIMARY KEY, b, c, d)",
            "(a INTEGER PRIMARY KEY AUTOINCREMENT, b UNIQUE, c, d)",
            "(a PRIMARY KEY, b, c, d) WITHOUT ROWID",
            "(a, b, c NOT NULL, d CHECK (d IS NOT 7), PRIMARY KEY (a, b)) WITHOUT ROWID",
            "(a UNIQUE, b, c, d)",
            "(a, b, c, d DEFAULT 'none', e AS (a || b), f AS (length(c)) STORED)",
            "(a INTEGER PRIMARY KEY, b REFERENCES t0(a) ON DELETE CASCADE, c, d)",
            "(a INTEGER PRIMARY KEY, b REFERENCES t0(a) DEFERRABLE INITIALLY DEFERRED, c, d)",
            "(a INT PRIMARY KEY, b INT, c ANY, d ANY) STRICT",
            f" AS SELECT * FROM {self._table()}",
        )
        where = self._one_of("TABLE", "TABLE", "TABLE IF NOT EXISTS", "TEMP TABLE")
        if where == "TEMP TABLE":
            table = table.rpartition(".")[2]
        if self._rng.random() < 0.1:
            return self._run(f"CREATE VIEW v{self._rng.randrange(2)} AS SELECT a, b FROM {table}")
        return self._run(f"CREATE {where} {table}{form}")

    def _alter(self) -> Run:
        table = self._table()
        bare = self._rng.choice(TABLES)
        return self._run(
            self._one_of(
                f"ALTER TABLE {table} RENAME TO {bare}",
                f"ALTER TABLE {table} ADD COLUMN g{self._rng.randrange(3)} DEFAULT 5",
                f"ALTER TABLE {table} RENAME COLUMN d TO g9",
                f"ALTER TABLE {table} RENAME COLUMN g9 TO d",
                f"ALTER TABLE {table} DROP COLUMN g{self._rng.randrange(3)}",
            )
        )

    def _index(self) -> Run:
        name = f"i{self._rng.randrange(5)}"
        table = self._rng.choice(TABLES)
        column, other = self._column(), self._column()
        return self._run(
            self._one_of(
                f"CREATE INDEX {name} ON {table}({column}, {other})",
                f"CREATE UNIQUE INDEX {name} ON {table}({column})",
                f"CREATE INDEX IF NOT EXISTS {name} ON {table}(length({column})) WHERE b > 3",
                f"DROP INDEX {name}",
                f"REINDEX {name}",
                "REINDEX",
                "ANALYZE",
            )
        )

    def _trigger(self) -> Run:
        name, table, other = f"g{self._rng.randrange(3)}", *self._rng.sample(TABLES, 2)
        return self._run(
            self._one_of(
                f"CREATE TRIGGER {name} AFTER INSERT ON {table} BEGIN "
                f"UPDATE {other} SET b = new.a WHERE a = new.b; END",
                f"CREATE TRIGGER {name} BEFORE DELETE ON {table} WHEN old.b > 4 BEGIN "
                f"INSERT OR IGNORE INTO {other}(a, b, c) VALUES (old.a, 1, old.c); END",
                f"CREATE TRIGGER {name} AFTER UPDATE ON {table} WHEN new.b = 5 BEGIN "
                f"SELECT raise({self._one_of('ABORT', 'ROLLBACK', 'FAIL')}, 'no'); END",
                f"DROP TRIGGER {name}",
            )
        )

    def _drop(self) -> Run:
        return self._run(
            self._one_of(f"DROP TABLE {self._table()}", f"DROP VIEW v{self._rng.randrange(2)}")
        )

    # ---- transactions ----

    def _begin(self) -> Run:
        return self._run(self._one_of("BEGIN", "BEGIN IMMEDIATE", "BEGIN IMMEDIATE"))

    def _end(self) -> Run:
        return self._run(self._one_of("COMMIT", "COMMIT", "ROLLBACK"))

    def _savepoint(self) -> Run:
        name = self._rng.choice(SAVEPOINTS)
        return self._run(
            self._one_of(f"SAVEPOINT {name}", f"RELEASE {name}", f"ROLLBACK TO {name}")
        )

    # ---- the rest ----

    def _pragma(self) -> Run:
        schema = self._rng.choice(self._schemas)
        return self._run(
            "PRAGMA "
            + self._one_of(
                f"{schema}.cache_size = {self._rng.choice((1, 5, 10, -16, -2000))}",
                f"{schema}.cache_size = {self._rng.choice((1, 5, 10))}",
                f"cache_spill = {self._rng.choice((0, 1, 3))}",
                f"{schema}.secure_delete = {self._one_of('ON', 'OFF', 'FAST')}",
                f"{schema}.auto_vacuum = {self._rng.randrange(3)}",
                f"{schema}.incremental_vacuum({self._rng.choice((1, 5, 1000))})",
                f"foreign_keys = {self._rng.randrange(2)}",
                f"recursive_triggers = {self._rng.randrange(2)}",
                f"{schema}.user_version = {self._rng.randrange(99)}",
                f"{schema}.user_version",
                f"{schema}.application_id = {self._rng.randrange(99)}",
                "temp_store = " + self._one_of("MEMORY", "FILE", "DEFAULT"),
                f"{schema}.integrity_check",
                "quick_check",
                "foreign_key_check",
                "shrink_memory",
                "optimize",
                "defer_foreign_keys = 1",
                "reverse_unordered_selects = 0",
            )
        )

    def _alien_pragma(self) -> Run:
        sql = self._rng.choice(OURS_ONLY)
        if self._connections > 1 and sql.endswith("synchronous=OFF"):
            sql = "PRAGMA synchronous=FULL"  # others see a commit when it is durable
        return Run(self._favourite, sql, ours_only=True)

    def _maintain(self) -> Run:
        schema = self._rng.choice(self._schemas)
        return self._run(self._one_of("VACUUM", f"VACUUM {schema}", f"VACUUM {schema}"))

    def _script(self) -> Run:
        """Pages that are taken and given back in one transaction, and the like."""
        table = self._table()
        body = f"a INTEGER PRIMARY KEY, b, c, d); INSERT INTO {table}(a, c) SELECT value, "
        many = self._rng.choice((30, 300))
        size = self._rng.choice((900, 4_100, 9_000))
        return self._run(
            self._one_of(
                f"SAVEPOINT x; DROP TABLE IF EXISTS {table}; CREATE TABLE {table}({body}"
                f"zeroblob({size}) FROM generated{many}; DELETE FROM {table} WHERE a > 3; "
                "RELEASE x",
                f"SAVEPOINT x; DROP TABLE IF EXISTS {table}; CREATE TABLE {table}({body}"
                f"zeroblob({size}) FROM generated{many}; ROLLBACK TO x; RELEASE x",
                f"SAVEPOINT x; DELETE FROM {table}; INSERT INTO {table}(a, c) SELECT value, "
                f"zeroblob({size}) FROM generated{many}; RELEASE x",
            ).replace(f"generated{many}", GENERATED.format(many))
        )


GENERATED = (
    "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT {}) "
    "SELECT value FROM n)"
)
