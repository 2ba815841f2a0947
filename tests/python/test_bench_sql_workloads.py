"""Every SQL workload on every installed engine, and its checks, which have to find damage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.file_systems import cannot_run

pytest.importorskip("numpy")

from aurora_engine.bench.engines.registry import engine_type
from aurora_engine.bench.servers.process import ServerFailedError
from aurora_engine.bench.sizes import SMOKE
from aurora_engine.bench.sql import native
from aurora_engine.bench.sql.base import SqlEngine
from aurora_engine.bench.sql.clients import InvariantError
from aurora_engine.bench.sql.sysbench import SCRIPTS
from aurora_engine.bench.sql.tpcc.consistency import CONDITIONS
from aurora_engine.bench.suite import workload
from aurora_engine.bench.workloads.base import Bench

ENGINES = ("aurora", "aurora-single", "sqlite", "mariadb", "postgresql")
WORKLOADS = ("sql-rows", "sysbench", "tpcb", "tpcc")
TINY = replace(
    SMOKE,
    seconds=0.1,
    sql_clients=(1, 3),
    sql_writers=(1, 3),
    sql_rows=300,
    sysbench_rows=300,
    sysbench_scripts=SCRIPTS,
)


def bench_of(engine: str, folder: Path) -> Bench:
    kind = engine_type("sql", engine)
    lacking = kind.missing()
    if lacking:
        cannot_run(lacking)
    return Bench(kind, folder, TINY)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Bench]:
    bench = bench_of("sqlite", tmp_path)
    yield bench
    bench.close()


def engine_of(bench: Bench) -> SqlEngine:
    engine: Any = bench.server
    return engine


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_workload_does_something_and_its_checks_hold(engine: str, tmp_path: Path) -> None:
    bench = bench_of(engine, tmp_path)
    try:
        for name in WORKLOADS:
            done = workload(name)
            done.prepare(bench)
            for case in done.cases(TINY):
                sample = done.take(bench, case)
                assert sample.value > 0, (name, case.name)
                assert sample.details["operations"] > 0
            done.finish(bench)
    finally:
        bench.close()


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("sql-rows", "DELETE FROM one_table WHERE id = 7", "rows, and the lengths"),
        ("sql-rows", "UPDATE one_table SET v = 'short' WHERE id = 7", "rows, and the lengths"),
        ("sysbench", "DELETE FROM sbtest3 WHERE id = 7", "rows of sbtest3"),
        ("tpcb", "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 7", "accounts"),
        ("tpcb", "UPDATE pgbench_tellers SET tbalance = tbalance + 1 WHERE tid = 7", "tellers"),
        ("tpcb", "UPDATE pgbench_branches SET bbalance = bbalance + 1", "branches"),
        ("tpcc", "UPDATE history SET h_data = 'x'", None),
        ("tpcc", "UPDATE warehouse SET w_ytd = w_ytd + 1", "3.3.2.1:"),
        ("tpcc", "DELETE FROM history WHERE h_c_id = 3", "3.3.2.8:"),
    ],
)
def test_damage_is_found(sqlite: Bench, name: str, damage: str, says: str | None) -> None:
    checked = workload(name)
    checked.prepare(sqlite)
    engine_of(sqlite).run(damage)
    if says is None:
        checked.finish(sqlite)
        return
    with pytest.raises(InvariantError, match=says):
        checked.finish(sqlite)


BREAKS = {
    "1": "UPDATE warehouse SET w_ytd = w_ytd + 1 WHERE w_id = 1",
    "2": "UPDATE district SET d_next_o_id = d_next_o_id + 1 WHERE d_id = 3",
    "3": "DELETE FROM new_order WHERE no_o_id = 25",
    "4": "UPDATE orders SET o_ol_cnt = o_ol_cnt + 1 WHERE o_id = 2",
    "5": "UPDATE orders SET o_carrier_id = 3 WHERE o_id = 25",
    "6": "UPDATE orders SET o_ol_cnt = o_ol_cnt + 1 WHERE o_id = 2",
    "7": "UPDATE order_line SET ol_delivery_d = NULL WHERE ol_o_id = 2",
    "8": "UPDATE history SET h_w_id = 1",
    "9": "UPDATE history SET h_d_id = 1",
    "10": "UPDATE customer SET c_balance = c_balance + 1 WHERE c_id = 4",
    "12": "UPDATE customer SET c_ytd_payment = c_ytd_payment + 1 WHERE c_id = 4",
}


def test_each_consistency_condition_of_tpcc_can_be_broken(sqlite: Bench) -> None:
    workload("tpcc").prepare(sqlite)
    engine = engine_of(sqlite)
    conditions = {name.partition(":")[0]: sql for name, sql in CONDITIONS.items()}
    assert conditions.keys() == BREAKS.keys()
    connection = engine.connect()
    for number, damage in BREAKS.items():
        ask = connection.selects(conditions[number])
        assert not ask(()), number
        connection.begin()
        connection.changes(damage)(())
        assert ask(()), number
        connection.rollback()
    connection.close()


def test_what_was_acknowledged_is_counted(sqlite: Bench) -> None:
    tpcc = workload("tpcc")
    tpcc.prepare(sqlite)
    tpcc.take(sqlite, tpcc.cases(TINY)[1])
    sqlite.state["tpcc"]["new-order"] += 1
    with pytest.raises(InvariantError, match="orders"):
        tpcc.finish(sqlite)


def test_a_lost_update_is_found(sqlite: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = workload("sql-rows")
    rows.prepare(sqlite)
    real = type(sqlite.server).connect
    writes = [case for case in rows.cases(TINY) if case.parameters["what"] == "write"]

    def forgetful(engine: SqlEngine) -> Any:
        """Acknowledges every update, and does none."""
        connection = real(engine)
        return replace(connection, changes=lambda _sql: lambda _parameters: 1)

    monkeypatch.setattr(type(sqlite.server), "connect", forgetful)
    with pytest.raises(InvariantError, match="written last"):
        rows.take(sqlite, writes[1])


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("echo FATAL: no such table; exit 1", "ended with 1: FATAL: no such table"),
        ("echo who cannot connect says it here >&2; exit 2", "ended with 2: who cannot connect"),
        ("echo done 7, of speed nothing", "ended with 0: done 7"),
    ],
)
def test_a_program_that_fails_is_quoted(program: str, says: str, sqlite: Bench) -> None:
    with pytest.raises(ServerFailedError, match=says):
        native._measured_run(
            sqlite, ["sh", "-c", program], count=r"done (\d+)", rate=r"at (\d+)", retries="(never)"
        )


def test_a_program_that_knows_no_retries_had_none(sqlite: Bench) -> None:
    command = ["echo", "done 7 at 3.5"]
    sample = native._measured_run(
        sqlite, command, count=r"done (\d+)", rate=r"at ([\d.]+)", retries="(never)"
    )
    assert sample.value == 3.5
    assert sample.details == {"operations": 7, "retries": 0}
