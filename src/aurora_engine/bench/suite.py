"""Which workloads there are, in the order in which they run.

The order matters where workloads share the records: reads come before what changes them.
"""

from __future__ import annotations

import importlib
from functools import cache
from itertools import groupby

from aurora_engine.bench.workloads.base import Workload

__all__ = ["WORKLOADS", "groups", "workload"]

_WORKLOADS = "aurora_engine.bench.workloads"
_SQL = "aurora_engine.bench.sql"

WORKLOADS: dict[str, str] = {
    "loading": f"{_WORKLOADS}.loading:Loading",
    "reads": f"{_WORKLOADS}.reads:Reads",
    "upserts": f"{_WORKLOADS}.upserts:Upserts",
    "batches": f"{_WORKLOADS}.upserts:Batches",
    "unwaited": f"{_WORKLOADS}.unwaited:Unwaited",
    "amplification": f"{_WORKLOADS}.amplification:Amplification",
    "ycsb": f"{_WORKLOADS}.ycsb:Ycsb",
    "cold": f"{_WORKLOADS}.cold:Cold",
    "recovery": f"{_WORKLOADS}.recovery:Recovery",
    "backtrack": f"{_WORKLOADS}.history:Backtracks",
    "clones": f"{_WORKLOADS}.history:Clones",
    "repair": f"{_WORKLOADS}.repair:Repairs",
    "growth": f"{_WORKLOADS}.growth:Growth",
    "growth-six": f"{_WORKLOADS}.growth:GrowthSix",
    "sql-rows": f"{_SQL}.rows:Rows",
    "sysbench": f"{_SQL}.sysbench:Sysbench",
    "tpcb": f"{_SQL}.tpcb:Tpcb",
    "tpcc": f"{_SQL}.tpcc.workload:Tpcc",
}
"""By name: ``module:class``."""


@cache
def workload(name: str) -> Workload:
    """The workload of a name."""
    module, _, attribute = WORKLOADS[name].partition(":")
    made: Workload = getattr(importlib.import_module(module), attribute)()
    return made


def groups(names: list[str]) -> list[list[Workload]]:
    """The workloads of these names in the order of the suite, those together that share workers."""
    chosen = [workload(name) for name in WORKLOADS if name in names]
    keyed = groupby(chosen, key=lambda each: (each.kind, each.shares or each.name))
    return [list(group) for _, group in keyed]
