"""TPC-C as a workload."""

from __future__ import annotations

from collections import Counter
from random import Random

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
from aurora_engine.bench.sql.tpcc import consistency, tables
from aurora_engine.bench.sql.tpcc.rules import DISTRICTS, Choices, Scale
from aurora_engine.bench.sql.tpcc.transactions import Terminal
from aurora_engine.bench.workloads.base import Bench, Case, Workload

__all__ = ["Tpcc"]


class Tpcc(Workload):
    """The five transactions in their mix, without waiting."""

    name = "tpcc"
    title = "SQL: TPC-C"
    about = (
        "The nine tables and five transactions of TPC-C in the mix of clause 5.2.4.2: of 23, 10 "
        "new orders, 10 payments, and one each of order status, delivery and stock level; a "
        "hundredth of the new orders rolled back, a hundredth of the lines and 15 of a hundred "
        "payments at another warehouse. Not TPC-C: terminals do not wait, and items, customers and "
        "orders are fewer by the divisor under Sizes. After the last repetition conditions 1 to 10 "
        "and 12 of clause 3.3.2 hold, and orders and payments are as many as were acknowledged, or "
        "the workload counts as failed."
    )
    kind = "sql"
    shares = "sql"
    heavy = True

    def cases(self, sizes: Sizes) -> list[Case]:
        return [clients_case("TPC-C", "transactions/s", clients) for clients in sizes.sql_clients]

    def prepare(self, bench: Bench) -> None:
        scale = _scale(bench.sizes)
        tables.create(engine_of(bench), scale, bench.seed())
        consistency.check(engine_of(bench))
        in_the_beginning = scale.warehouses * DISTRICTS * scale.customers
        bench.state["tpcc"] = Counter({"new-order": in_the_beginning, "payment": in_the_beginning})

    def take(self, bench: Bench, case: Case) -> Sample:
        seed, scale = bench.seed(), _scale(bench.sizes)
        terminals: list[Terminal] = []

        def begin(client: Client, number: int) -> Step:
            choices = Choices(scale, Random(f"{seed} {number}"))
            warehouse = number % scale.warehouses + 1
            district = number // scale.warehouses % DISTRICTS + 1
            terminal = Terminal(client, choices, warehouse, district)
            terminals.append(terminal)
            return timed(terminal.next)

        sample = clients_loop(bench, case.parameters["clients"], begin)
        for terminal in terminals:
            bench.state["tpcc"].update(terminal.committed)
            sample.details["new orders"] = (
                sample.details.get("new orders", 0) + terminal.committed["new-order"]
            )
        return sample

    def finish(self, bench: Bench) -> None:
        engine = engine_of(bench)
        consistency.check(engine)
        committed = bench.state["tpcc"]
        orders = engine.ask("SELECT COUNT(*) FROM orders")[0]
        payments = engine.ask("SELECT COUNT(*) FROM history")[0]
        check_equal("orders", orders, committed["new-order"])
        check_equal("payments", payments, committed["payment"])


def _scale(sizes: Sizes) -> Scale:
    return Scale(sizes.tpcc_warehouses, sizes.tpcc_divisor)
