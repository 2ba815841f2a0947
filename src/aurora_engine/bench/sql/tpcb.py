"""TPC-B as pgbench runs it: its tables, its transaction of seven statements."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from aurora_engine.bench.drive import Step
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.sql.base import Client, SqlEngine
from aurora_engine.bench.sql.clients import (
    check_equal,
    clients_case,
    clients_loop,
    engine_of,
    timed,
)
from aurora_engine.bench.sql.native import PostgresqlNative
from aurora_engine.bench.workloads.base import Bench, Case, Workload

__all__ = ["Tpcb", "check", "create", "transaction"]

TELLERS, ACCOUNTS = 10, 100_000
"""For each branch; there are as many branches as the scale."""

DELTA_MAX = 5000
CHOSEN = 1 << 16

TABLES = {
    "pgbench_branches": "bid INTEGER NOT NULL PRIMARY KEY, bbalance INTEGER, filler CHAR(88)",
    "pgbench_tellers": (
        "tid INTEGER NOT NULL PRIMARY KEY, bid INTEGER, tbalance INTEGER, filler CHAR(84)"
    ),
    "pgbench_accounts": (
        "aid INTEGER NOT NULL PRIMARY KEY, bid INTEGER, abalance INTEGER, filler CHAR(84)"
    ),
    "pgbench_history": (
        "tid INTEGER, bid INTEGER, aid INTEGER, delta INTEGER, mtime TIMESTAMP, filler CHAR(22)"
    ),
}
SUMS = {
    "accounts": "SELECT SUM(abalance) FROM pgbench_accounts",
    "tellers": "SELECT SUM(tbalance) FROM pgbench_tellers",
    "branches": "SELECT SUM(bbalance) FROM pgbench_branches",
}


def create(engine: SqlEngine, scale: int) -> None:
    """The tables as ``pgbench --initialize`` makes them."""
    for table, columns in TABLES.items():
        engine.run(f"CREATE TABLE {table} ({columns})")
    branches = range(1, scale + 1)
    engine.load("pgbench_branches", ("bid", "bbalance"), ((bid, 0) for bid in branches))
    engine.load(
        "pgbench_tellers",
        ("tid", "bid", "tbalance"),
        ((tid, (tid - 1) // TELLERS + 1, 0) for tid in range(1, scale * TELLERS + 1)),
    )
    # As long as the column, which some engines fill with blanks and some do not.
    filler = " " * 84
    engine.load(
        "pgbench_accounts",
        ("aid", "bid", "abalance", "filler"),
        ((aid, (aid - 1) // ACCOUNTS + 1, 0, filler) for aid in range(1, scale * ACCOUNTS + 1)),
    )
    engine.settle(list(TABLES))


def check(engine: SqlEngine) -> None:
    """What must hold whenever no transaction is open: all sums of balances agree.

    Raises
    ------
    InvariantError
        If it does not hold.
    """
    expected = engine.ask("SELECT COALESCE(SUM(delta), 0) FROM pgbench_history")[0]
    for name, sql in SUMS.items():
        check_equal(f"sum of the balances of {name}", engine.ask(sql)[0], expected)


def transaction(client: Client, scale: int, random: np.random.Generator) -> Callable[[], int]:
    """What is between BEGIN and END, and returns the new balance of the account."""
    connection = client.connection
    to_account = connection.changes(
        "UPDATE pgbench_accounts SET abalance = abalance + ? WHERE aid = ?"
    )
    balance = connection.selects("SELECT abalance FROM pgbench_accounts WHERE aid = ?")
    to_teller = connection.changes(
        "UPDATE pgbench_tellers SET tbalance = tbalance + ? WHERE tid = ?"
    )
    to_branch = connection.changes(
        "UPDATE pgbench_branches SET bbalance = bbalance + ? WHERE bid = ?"
    )
    to_history = connection.changes(
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) "
        "VALUES (?, ?, ?, ?, CURRENT_TIMESTAMP)"
    )
    drawn = zip(
        random.integers(1, scale * ACCOUNTS, CHOSEN, endpoint=True).tolist(),
        random.integers(1, scale, CHOSEN, endpoint=True).tolist(),
        random.integers(1, scale * TELLERS, CHOSEN, endpoint=True).tolist(),
        random.integers(-DELTA_MAX, DELTA_MAX, CHOSEN, endpoint=True).tolist(),
        strict=True,
    )
    next_draw = itertools.cycle(drawn).__next__

    def seven_statements() -> int:
        aid, bid, tid, delta = next_draw()
        to_account((delta, aid))
        found: int = balance((aid,))[0][0]
        to_teller((delta, tid))
        to_branch((delta, bid))
        to_history((tid, bid, aid, delta))
        return found

    return seven_statements


class Tpcb(Workload):
    """pgbench's default transaction, by Python clients."""

    name = "tpcb"
    title = "SQL: TPC-B"
    about = (
        "The transaction that pgbench runs by default, BEGIN and END of it included seven "
        "statements, with its tables: an account, a teller and a branch change by the same amount, "
        "and the change goes to a history. After the last repetition all four sums agree, or the "
        "workload counts as failed. Where there are fewer branches (tpcb_scale under Sizes) than "
        "clients, as in a quick run, these wait for each other at a branch: pgbench's manual wants "
        "as many, and PostgreSQL is up to twice as fast then. Beside them, as measured: PostgreSQL "
        "driven by pgbench, a program in C."
    )
    kind = "sql"
    shares = "sql"

    def cases(self, sizes: Sizes) -> list[Case]:
        return [clients_case("TPC-B", "transactions/s", clients) for clients in sizes.sql_clients]

    def prepare(self, bench: Bench) -> None:
        create(engine_of(bench), bench.sizes.tpcb_scale)

    def take(self, bench: Bench, case: Case) -> Sample:
        clients = case.parameters["clients"]
        if isinstance(bench.server, PostgresqlNative):
            return bench.server.pgbench(bench, clients)
        seed, scale = bench.seed(), bench.sizes.tpcb_scale

        def begin(client: Client, number: int) -> Step:
            body = transaction(client, scale, np.random.default_rng([seed, number]))
            return timed(lambda: client.transact(body))

        return clients_loop(bench, clients, begin)

    def finish(self, bench: Bench) -> None:
        check(engine_of(bench))
