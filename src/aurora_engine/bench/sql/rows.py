"""One table, one row or all rows at a time."""

from __future__ import annotations

import itertools
from array import array

import numpy as np

from aurora_engine.bench.drive import Step
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.sql.base import Client
from aurora_engine.bench.sql.clients import (
    check_equal,
    clients_case,
    clients_loop,
    engine_of,
    timed,
)
from aurora_engine.bench.sql.texts import digits
from aurora_engine.bench.workloads.base import Bench, Case, Workload

__all__ = ["Rows"]

TABLE = "one_table"
VALUE_CHARACTERS = 100
CHOSEN = 1 << 16
SCANNERS, READERS = (1,), (1, 8)
UPDATE = f"UPDATE {TABLE} SET v = ? WHERE id = ?"
SELECT = f"SELECT v FROM {TABLE} WHERE id = ?"
SCAN = f"SELECT id, v FROM {TABLE}"


class Rows(Workload):
    """One-row updates, point selects and scans of the whole table."""

    name = "sql-rows"
    title = "SQL: rows"
    about = (
        f"A table of whole numbers and {VALUE_CHARACTERS} characters. Writes: UPDATE of one row by "
        "its primary key, each a durable transaction of its own; of several clients each has rows "
        "of its own, and what it wrote last is read back at the end. Selects: one row by its "
        "primary key. Scans: all rows, fetched into Python. Here and below, ours and SQLite work "
        "in the process of their clients, and the servers in theirs, over a Unix socket."
    )
    kind = "sql"
    shares = "sql"

    def cases(self, sizes: Sizes) -> list[Case]:
        return [
            *(clients_case("select", "selects/s", clients) for clients in READERS),
            *(clients_case("scan", "rows/s", clients) for clients in SCANNERS),
            *(clients_case("write", "writes/s", clients) for clients in sizes.sql_writers),
        ]

    def prepare(self, bench: Bench) -> None:
        engine, rows = engine_of(bench), bench.sizes.sql_rows
        engine.run(
            f"CREATE TABLE {TABLE} "
            f"(id INTEGER NOT NULL PRIMARY KEY, v VARCHAR({VALUE_CHARACTERS}) NOT NULL)"
        )
        texts = digits(rows, VALUE_CHARACTERS, np.random.default_rng(bench.seed()))
        engine.load(TABLE, ("id", "v"), enumerate(texts))
        engine.settle([TABLE])

    def take(self, bench: Bench, case: Case) -> Sample:
        what, clients = case.parameters["what"], case.parameters["clients"]
        seed, rows = bench.seed(), bench.sizes.sql_rows
        last_writes: list[list[tuple[str, int]]] = []

        def begin(client: Client, number: int) -> Step:
            if what == "scan":
                return _scan(client, rows)
            random = np.random.default_rng([seed, number])
            ids = random.integers(0, rows // clients, CHOSEN // clients) * clients + number
            if what == "select":
                return _select(client, ids.tolist())
            mine: list[tuple[str, int]] = []
            last_writes.append(mine)
            # One less, so that a row gets another value in each round.
            texts = digits(len(ids) - 1, VALUE_CHARACTERS, random)
            return _write(client, ids.tolist(), texts, mine)

        sample = clients_loop(bench, clients, begin)
        read_back = engine_of(bench).connect()
        select = read_back.selects(SELECT)
        for mine in last_writes:
            for text, id_ in mine:
                check_equal(f"row {id_}, written last", select((id_,))[0][0], text)
        read_back.close()
        return sample

    def finish(self, bench: Bench) -> None:
        count = engine_of(bench).ask(
            f"SELECT COUNT(*), MIN(LENGTH(v)), MAX(LENGTH(v)) FROM {TABLE}"
        )
        expected = (bench.sizes.sql_rows, VALUE_CHARACTERS, VALUE_CHARACTERS)
        check_equal("rows, and the lengths of their values", tuple(count), expected)


def _select(client: Client, ids: list[int]) -> Step:
    select, next_id = client.connection.selects(SELECT), itertools.cycle(ids).__next__
    return timed(lambda: select((next_id(),))[0])


def _scan(client: Client, rows: int) -> Step:
    select = client.connection.selects(SCAN)

    def step(_latencies: array[int]) -> int:
        check_equal("rows of a scan", len(select(())), rows)
        return rows

    return step


def _write(client: Client, ids: list[int], texts: list[str], last: list[tuple[str, int]]) -> Step:
    update = client.connection.changes(UPDATE)
    next_pair = zip(itertools.cycle(texts), itertools.cycle(ids), strict=False).__next__

    def write() -> None:
        pair = next_pair()
        check_equal("rows found by an update", client.alone(lambda: update(pair)), 1)
        last[:] = [pair]

    return timed(write)
