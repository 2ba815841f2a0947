"""The rules that the SQL workloads follow: statements, distributions, mixes, retries."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("numpy")

import numpy as np

from aurora_engine.bench.engines.registry import engine_type
from aurora_engine.bench.servers.clashes import ATTEMPTS_MAX, ClashError
from aurora_engine.bench.sql import base, sysbench, tpcb
from aurora_engine.bench.sql.base import Client, Connection, SqlEngine
from aurora_engine.bench.sql.sqlite_family import Sqlite
from aurora_engine.bench.sql.texts import digits, grouped_digits
from aurora_engine.bench.sql.tpcc import tables
from aurora_engine.bench.sql.tpcc.rules import Choices, Scale, last_name
from aurora_engine.bench.sql.tpcc.transactions import DECK, Terminal

SCALE = Scale(warehouses=2, divisor=100)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqlEngine]:
    made = Sqlite(tmp_path / "sqlite", cache_bytes=8 << 20)
    yield made
    made.close()


class Recorded:
    """A client of SQLite whose statements are written down."""

    def __init__(self, engine: SqlEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        real: Callable[..., sqlite3.Connection] = engine._connect  # type: ignore[attr-defined]

        def connect() -> sqlite3.Connection:
            connection = real()
            connection.set_trace_callback(self.statements.append)
            return connection

        with monkeypatch.context() as patched:
            patched.setattr(engine, "_connect", connect)
            self.client = Client(engine)


def first_words(statements: list[str]) -> str:
    return " ".join(statement.split()[0] for statement in statements)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("point_select", "SELECT"),
        ("update_index", "UPDATE"),
        ("update_non_index", "UPDATE"),
        ("insert", "INSERT"),
        ("read_only", "BEGIN" + " SELECT" * 14 + " COMMIT"),
        ("write_only", "BEGIN UPDATE UPDATE DELETE INSERT COMMIT"),
        ("read_write", "BEGIN" + " SELECT" * 14 + " UPDATE UPDATE DELETE INSERT COMMIT"),
    ],
)
def test_a_script_of_sysbench_has_its_statements(
    engine: SqlEngine, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    random = np.random.default_rng(1)
    sysbench.create(engine, 200, random)
    recorded = Recorded(engine, monkeypatch)
    drawn = sysbench.Draws(recorded.client.connection, 200, 1, random)
    operation = sysbench.operation(recorded.client, drawn, script)
    recorded.statements.clear()
    operation()
    assert first_words(recorded.statements) == words
    sysbench.check(engine, 200)


def test_tpcb_has_seven_statements(engine: SqlEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    tpcb.create(engine, 1)
    recorded = Recorded(engine, monkeypatch)
    body = tpcb.transaction(recorded.client, 1, np.random.default_rng(1))
    recorded.statements.clear()
    recorded.client.transact(body)
    assert first_words(recorded.statements) == "BEGIN UPDATE SELECT UPDATE UPDATE INSERT COMMIT"
    assert engine.ask("SELECT COUNT(*) FROM pgbench_accounts") == (100_000,)
    assert engine.ask("SELECT COUNT(*) FROM pgbench_history") == (1,)
    tpcb.check(engine)


def test_the_special_distribution_has_a_hot_hundredth_in_the_middle() -> None:
    ids = sysbench.special(np.random.default_rng(1), 100_000, 200_000)
    assert ids.min() >= 1
    assert ids.max() <= 100_000
    hot = (ids > 49_500) & (ids <= 50_500)
    # Three quarters, and what the bell has in the middle.
    assert 0.75 < hot.mean() < 0.80
    counts = np.bincount(ids[hot] - 49_501, minlength=1000)
    assert counts.min() > 0.5 * counts.mean()
    assert 40_000 < ids[~hot].mean() < 60_000
    assert 5_000 < ids[~hot].std() < 12_000


def test_texts_are_as_long_as_the_columns_of_sysbench() -> None:
    random = np.random.default_rng(1)
    (text,) = grouped_digits(1, 10, random)
    assert len(text) == 119
    assert [len(group) for group in text.split("-")] == [11] * 10
    assert len(grouped_digits(1, 5, random)[0]) == 59
    assert len(set(digits(100, 50, random))) == 100


def test_the_deck_of_tpcc_gives_its_mix() -> None:
    assert Counter(DECK) == {
        "new-order": 10,
        "payment": 10,
        "order-status": 1,
        "delivery": 1,
        "stock-level": 1,
    }


def test_choices_of_tpcc_stay_within_what_there_is() -> None:
    choices = Choices(SCALE, Random(1))
    names = {last_name(number) for number in range(SCALE.last_names)}
    for _ in range(2000):
        assert 1 <= choices.customer() <= SCALE.customers
        assert 1 <= choices.item() <= SCALE.items
        assert choices.last_name() in names
        assert choices.other_warehouse(1) == 2
    full = Scale(warehouses=1, divisor=1)
    assert [full.constant(a) for a in (255, 1023, 8191)] == [255, 1023, 8191]
    assert (full.items, full.customers, full.delivered) == (100_000, 3000, 2100)
    assert Choices(full, Random(1)).other_warehouse(1) == 1
    assert last_name(371) == "PRICALLYOUGHT"


def test_some_choices_of_tpcc_are_more_frequent() -> None:
    choices = Choices(Scale(1, 1), Random(1))
    counts = Counter(choices.item() for _ in range(100_000))
    hundred = sum(count for _, count in counts.most_common(1000))
    assert hundred > 5 * 1000


def test_a_terminal_does_all_five_and_rolls_some_orders_back(
    engine: SqlEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.create(engine, SCALE, 1)
    recorded = Recorded(engine, monkeypatch)
    terminal = Terminal(recorded.client, Choices(SCALE, Random(1)), 1, 1)
    for _ in range(23 * 100):
        terminal.next()
    done = terminal.committed
    assert done["payment"] == 1000
    assert done["delivery"] == done["order-status"] == done["stock-level"] == 100
    rolled_back = 1000 - done["new-order"]
    assert 2 < rolled_back < 25
    # After each line but the last, of which there is no item.
    assert recorded.statements.count("ROLLBACK") == rolled_back
    remote = engine.ask("SELECT COUNT(*) FROM history WHERE h_c_w_id <> h_w_id")[0]
    assert 100 < remote < 200
    elsewhere = engine.ask("SELECT COUNT(*) FROM order_line WHERE ol_supply_w_id <> ol_w_id")[0]
    assert 50 < elsewhere < 170


class Clashes(Exception):
    """What an engine raises where two were in each other's way."""


def nothing(*_: Any) -> None:
    """Stands for a call that succeeds."""


def client_of(connection: Connection) -> Client:
    class Engine:
        dialect = base.Dialect(serial="")

        def connect(self) -> Connection:
            return connection

        def is_clash(self, error: Exception) -> bool:
            return isinstance(error, Clashes)

    engine: Any = Engine()
    return Client(engine)


CONNECTION = Connection(nothing, nothing, nothing, nothing, nothing, nothing, nothing)  # type: ignore[arg-type]


def test_a_clash_is_done_again_from_the_beginning() -> None:
    done: list[str] = []
    connection = replace(
        CONNECTION,
        begin=lambda: done.append("begin"),
        commit=lambda: done.append("commit"),
        rollback=lambda: done.append("rollback"),
    )
    client = client_of(connection)
    failures = [Clashes(), Clashes()]

    def body() -> str:
        if failures:
            raise failures.pop()
        return "result"

    assert client.transact(body) == "result"
    assert done == ["begin", "rollback", "begin", "rollback", "begin", "commit"]
    assert client.retries == 2


def test_another_failure_is_not_done_again() -> None:
    client = client_of(CONNECTION)

    def body() -> None:
        raise KeyError("of another kind")

    with pytest.raises(KeyError):
        client.alone(body)
    assert client.retries == 0


def test_who_never_gets_through_is_told() -> None:
    client = client_of(CONNECTION)

    def body() -> None:
        raise Clashes

    with pytest.raises(ClashError, match=f"{ATTEMPTS_MAX} attempts"):
        client.read(body)


def test_busy_is_a_clash_of_sqlite_and_a_constraint_is_not(tmp_path: Path) -> None:
    kind: Any = engine_type("sql", "sqlite")
    file = tmp_path / "busy.db"
    first, second = sqlite3.connect(file, timeout=0), sqlite3.connect(file, timeout=0)
    first.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    first.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.OperationalError) as busy:
        second.execute("BEGIN IMMEDIATE")
    assert kind.is_clash(busy.value)
    with pytest.raises(sqlite3.IntegrityError) as constraint:
        first.execute("INSERT INTO t VALUES (1)")
    assert not kind.is_clash(constraint.value)
    first.close()
    second.close()
