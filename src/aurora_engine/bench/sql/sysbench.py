"""The OLTP scripts of sysbench 1.0: the same tables, statements and numbers of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from aurora_engine.bench.drive import Step
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.sql.base import Client, Connection, Row, SqlEngine
from aurora_engine.bench.sql.clients import (
    check_equal,
    clients_case,
    clients_loop,
    engine_of,
    timed,
)
from aurora_engine.bench.sql.native import RunsSysbench
from aurora_engine.bench.sql.texts import grouped_digits
from aurora_engine.bench.workloads.base import Bench, Case, Workload

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["SCRIPTS", "TABLES", "Draws", "Sysbench", "check", "create", "operation", "special"]

TABLES = 4
C_GROUPS, PAD_GROUPS = 10, 5
RANGE = 100
POINT_SELECTS = 10

# What the options --rand-spec-iter, --rand-spec-pct and --rand-spec-res are by default.
SPECIAL_SUMMANDS, SPECIAL_PERCENT_OF_ROWS, SPECIAL_PERCENT_OF_CHOICES = 12, 1, 75

CHOSEN, TEXTS = 1 << 16, 1 << 12

STATEMENTS = {
    "point": "SELECT c FROM sbtest{0} WHERE id=?",
    "simple": "SELECT c FROM sbtest{0} WHERE id BETWEEN ? AND ?",
    "sum": "SELECT SUM(k) FROM sbtest{0} WHERE id BETWEEN ? AND ?",
    "order": "SELECT c FROM sbtest{0} WHERE id BETWEEN ? AND ? ORDER BY c",
    "distinct": "SELECT DISTINCT c FROM sbtest{0} WHERE id BETWEEN ? AND ? ORDER BY c",
    "index": "UPDATE sbtest{0} SET k=k+1 WHERE id=?",
    "non-index": "UPDATE sbtest{0} SET c=? WHERE id=?",
    "delete": "DELETE FROM sbtest{0} WHERE id=?",
    "put back": "INSERT INTO sbtest{0} (id, k, c, pad) VALUES (?, ?, ?, ?)",
    "insert": "INSERT INTO sbtest{0} (k, c, pad) VALUES (?, ?, ?)",
}
READS = ("point", "simple", "sum", "order", "distinct")


def special(random: Generator, rows: int, count: int) -> NDArray[np.int64]:
    """So many ids from 1 to `rows`, in the distribution that sysbench calls special.

    Three quarters of them are in the middle hundredth of the rows, each as likely as any other
    there. The others are the mean of twelve uniform numbers.
    """
    middle = max(1, rows * SPECIAL_PERCENT_OF_ROWS // 100)
    hot = (rows - middle) // 2 + random.integers(0, middle, count)
    bell = (random.random((count, SPECIAL_SUMMANDS)).mean(axis=1) * rows).astype(np.int64)
    is_hot = random.random(count) * 100 < SPECIAL_PERCENT_OF_CHOICES
    chosen: NDArray[np.int64] = np.where(is_hot, hot, bell) + 1
    return chosen


def create(engine: SqlEngine, rows: int, random: Generator) -> None:
    """The tables as ``sysbench oltp_common prepare`` makes them; ids are given by the engine."""
    names = [f"sbtest{number}" for number in range(1, TABLES + 1)]
    for number, name in enumerate(names, 1):
        engine.run(
            f"CREATE TABLE {name} (id {engine.dialect.serial}, k INTEGER DEFAULT '0' NOT NULL, "
            "c CHAR(120) DEFAULT '' NOT NULL, pad CHAR(60) DEFAULT '' NOT NULL)"
        )
        engine.load(name, ("k", "c", "pad"), _rows(rows, random))
        engine.run(f"CREATE INDEX k_{number} ON {name}(k)")
    engine.settle(names)


def _rows(rows: int, random: Generator) -> Iterator[Row]:
    numbers = special(random, rows, rows).tolist()
    return zip(
        numbers,
        # As long as the columns, which some engines fill with blanks and some do not.
        (text + " " for text in grouped_digits(rows, C_GROUPS, random)),
        (text + " " for text in grouped_digits(rows, PAD_GROUPS, random)),
        strict=True,
    )


class Draws:
    """What a client draws from, and its prepared statements by kind and table."""

    def __init__(self, connection: Connection, rows: int, clients: int, random: Generator) -> None:
        chosen = CHOSEN // clients
        self.id = itertools.cycle(special(random, rows, chosen).tolist()).__next__
        # Of other lengths, so that the same never comes together again.
        self.table = itertools.cycle(random.integers(0, TABLES, chosen - 1).tolist()).__next__
        self.c = itertools.cycle(grouped_digits(TEXTS - 1, C_GROUPS, random)).__next__
        self.pad = itertools.cycle(grouped_digits(TEXTS - 3, PAD_GROUPS, random)).__next__
        self._connection = connection
        self._prepared: dict[str, list[Callable[..., object]]] = {}

    def __getitem__(self, kind: str) -> list[Callable[..., object]]:
        """The statements of a kind, one for each table; prepared when first asked for."""
        if kind not in self._prepared:
            prepare: Callable[[str], Callable[..., object]] = (
                self._connection.selects if kind in READS else self._connection.changes
            )
            self._prepared[kind] = [
                prepare(STATEMENTS[kind].format(number)) for number in range(1, TABLES + 1)
            ]
        return self._prepared[kind]


def _point(draws: Draws, count: int) -> Callable[[], None]:
    select, next_id, next_table = draws["point"], draws.id, draws.table

    def points() -> None:
        one = select[next_table()]
        for _ in range(count):
            one((next_id(),))

    return points


def _ranges(draws: Draws) -> Callable[[], None]:
    selects = [draws[kind] for kind in ("simple", "sum", "order", "distinct")]
    next_id, next_table = draws.id, draws.table

    def ranges() -> None:
        for select in selects:
            id_ = next_id()
            select[next_table()]((id_, id_ + RANGE - 1))

    return ranges


def _index(draws: Draws) -> Callable[[], None]:
    update, next_id, next_table = draws["index"], draws.id, draws.table

    def index() -> None:
        update[next_table()]((next_id(),))

    return index


def _non_index(draws: Draws) -> Callable[[], None]:
    update, next_id, next_table, next_c = draws["non-index"], draws.id, draws.table, draws.c

    def non_index() -> None:
        update[next_table()]((next_c(), next_id()))

    return non_index


def _delete_insert(draws: Draws) -> Callable[[], None]:
    delete, put_back, next_id, next_table = (
        draws["delete"],
        draws["put back"],
        draws.id,
        draws.table,
    )
    next_c, next_pad = draws.c, draws.pad

    def delete_insert() -> None:
        table, id_ = next_table(), next_id()
        delete[table]((id_,))
        put_back[table]((id_, next_id(), next_c(), next_pad()))

    return delete_insert


def _insert(draws: Draws) -> Callable[[], None]:
    insert, next_id, next_table = draws["insert"], draws.id, draws.table
    next_c, next_pad = draws.c, draws.pad

    def one() -> None:
        insert[next_table()]((next_id(), next_c(), next_pad()))

    return one


def _sequence(*parts: Callable[[], None]) -> Callable[[], None]:
    def whole() -> None:
        for part in parts:
            part()

    return whole


def _alone(draws: Draws, name: str) -> Callable[[], None]:
    one_statement: dict[str, Callable[[], Callable[[], None]]] = {
        "point_select": lambda: _point(draws, 1),
        "update_index": lambda: _index(draws),
        "update_non_index": lambda: _non_index(draws),
        "insert": lambda: _insert(draws),
    }
    return one_statement[name]()


def _transaction(draws: Draws, name: str) -> Callable[[], None]:
    parts: list[Callable[[], None]] = []
    if name != "write_only":
        parts += [_point(draws, POINT_SELECTS), _ranges(draws)]
    if name != "read_only":
        parts += [_index(draws), _non_index(draws), _delete_insert(draws)]
    return _sequence(*parts)


SCRIPTS = (
    "point_select",
    "read_only",
    "update_index",
    "update_non_index",
    "write_only",
    "read_write",
    "insert",
)
"""By their names in sysbench, without ``oltp_``; the one that makes the tables larger is last."""

IN_TRANSACTIONS = ("read_only", "write_only", "read_write")


def operation(client: Client, draws: Draws, name: str) -> Callable[[], None]:
    """One event of a script, with the transaction around it if it has one."""
    if name not in IN_TRANSACTIONS:
        statement = _alone(draws, name)
        return lambda: client.alone(statement)
    body = _transaction(draws, name)
    around = client.read if name == "read_only" else client.transact
    return lambda: around(body)


class Sysbench(Workload):
    """The OLTP scripts of sysbench, by Python clients."""

    name = "sysbench"
    title = "SQL: sysbench"
    about = (
        f"The oltp_* scripts of sysbench 1.0 as Python does them: {TABLES} tables with an index on "
        "k, the same statements, as many of them in a transaction, and ids in its distribution "
        "`special`, which has hot rows. Statements are prepared. read_only: 10 point selects and 4 "
        "ranges of 100 rows. write_only: 2 updates, a delete and an insert. read_write: both. A "
        "transaction that clashed is done again, and counts once. Beside them, as measured: the "
        "servers driven by sysbench itself, a program in C."
    )
    kind = "sql"
    shares = "sql"
    heavy = True

    def cases(self, sizes: Sizes) -> list[Case]:
        return [
            clients_case(script, "transactions/s", clients)
            for script in sizes.sysbench_scripts
            for clients in sizes.sql_clients
        ]

    def prepare(self, bench: Bench) -> None:
        random = np.random.default_rng(bench.seed())
        create(engine_of(bench), bench.sizes.sysbench_rows, random)

    def take(self, bench: Bench, case: Case) -> Sample:
        name, clients = case.parameters["what"], case.parameters["clients"]
        if isinstance(bench.server, RunsSysbench):
            return bench.server.sysbench(bench, name, clients, TABLES)
        seed, rows = bench.seed(), bench.sizes.sysbench_rows

        def begin(client: Client, number: int) -> Step:
            random = np.random.default_rng([seed, number])
            draws = Draws(client.connection, rows, clients, random)
            return timed(operation(client, draws, name))

        return clients_loop(bench, clients, begin)

    def finish(self, bench: Bench) -> None:
        check(engine_of(bench), bench.sizes.sysbench_rows)


def check(engine: SqlEngine, rows: int) -> None:
    """What must hold after any of the scripts: each row that was deleted was put back.

    Raises
    ------
    InvariantError
        If it does not hold.
    """
    for number in range(1, TABLES + 1):
        table = f"sbtest{number}"
        found = engine.ask(f"SELECT COUNT(*), MIN(id), MAX(id) FROM {table} WHERE id <= {rows}")
        check_equal(f"rows of {table}, lowest and highest id", tuple(found), (rows, 1, rows))
        every, by_index = (
            engine.ask(f"SELECT COUNT(*) FROM {table}")[0],
            engine.ask(f"SELECT COUNT(*) FROM {table} WHERE k >= 0")[0],
        )
        check_equal(f"rows of {table} by its index", by_index, every)
