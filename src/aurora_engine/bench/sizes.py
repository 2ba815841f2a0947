"""How much is done: the full sizes are the ones that the targets speak of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["FULL", "QUICK", "SMOKE", "Sizes"]

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of a run.

    Attributes
    ----------
    name : str
        What they are called: full, quick or smoke.
    seconds : float
        Length of a repetition that is ended by the clock.
    repetitions : int
        Repetitions that count, after one that warms up.
    threads : tuple of int
        Thread counts of the durable upserts.
    ycsb : str
        Letters of the core workloads of YCSB.
    records : int
        Records that reads, writes and YCSB find.
    loaded : int
        Records of a bulk load.
    cache_bytes : int
        Cache of every engine that has one.
    cold_cache_bytes : int
        Cache where the data is ten times as large.
    log_bytes : tuple of int
        Committed bytes, keys and values, before a kill.
    growth : tuple of int
        Numbers of records at which puts and gets are compared.
    growth_six : tuple of int
        The same with six copies.
    history_commits : tuple of int
        Commits that a backtrack goes back over.
    clone_mib : tuple of int
        MiB of the volumes that are cloned.
    repair_mib : tuple of int
        MiB of a copy that is rebuilt.
    sql_clients : tuple of int
        Numbers of clients of SQL transactions, a connection each.
    sql_writers : tuple of int
        The same of statements that write one row.
    sql_rows : int
        Rows of the table that is read and written row by row.
    sysbench_rows : int
        Rows of each table of sysbench.
    sysbench_scripts : tuple of str
        Its scripts, without ``oltp_``.
    tpcb_scale : int
        Branches of TPC-B, of 100,000 accounts each.
    tpcc_warehouses : int
        Warehouses of TPC-C.
    tpcc_divisor : int
        By which items, and customers and orders of a district, are fewer than TPC-C wants.
    """

    name: str
    seconds: float
    repetitions: int
    threads: tuple[int, ...]
    ycsb: str
    records: int
    loaded: int
    cache_bytes: int
    cold_cache_bytes: int
    log_bytes: tuple[int, ...]
    growth: tuple[int, ...]
    growth_six: tuple[int, ...]
    history_commits: tuple[int, ...]
    clone_mib: tuple[int, ...]
    repair_mib: tuple[int, ...]
    sql_clients: tuple[int, ...]
    sql_writers: tuple[int, ...]
    sql_rows: int
    sysbench_rows: int
    sysbench_scripts: tuple[str, ...]
    tpcb_scale: int
    tpcc_warehouses: int
    tpcc_divisor: int

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Sizes:
        """The inverse of writing the fields as JSON, which knows no tuples."""
        typed: dict[str, Any] = {
            name: tuple(each) if isinstance(each, list) else each for name, each in fields.items()
        }
        return cls(**typed)


FULL = Sizes(
    name="full",
    seconds=1.0,
    repetitions=3,
    threads=(1, 2, 8, 16, 32, 64, 128),
    ycsb="ABCDEF",
    records=1_000_000,
    loaded=1_000_000,
    cache_bytes=1024 * MIB,
    cold_cache_bytes=64 * MIB,
    log_bytes=(16 * MIB, 64 * MIB, 256 * MIB),
    growth=(1_000_000, 10_000_000, 100_000_000),
    growth_six=(1_000_000, 5_000_000, 20_000_000),
    history_commits=(10, 1_000_000),
    clone_mib=(100, 4096),
    repair_mib=(100, 1024),
    sql_clients=(1, 8, 32),
    sql_writers=(1, 8, 16, 32, 64),
    sql_rows=100_000,
    sysbench_rows=100_000,
    sysbench_scripts=(
        "point_select",
        "read_only",
        "update_index",
        "update_non_index",
        "write_only",
        "read_write",
        "insert",
    ),
    tpcb_scale=10,
    tpcc_warehouses=4,
    tpcc_divisor=10,
)
QUICK = Sizes(
    name="quick",
    seconds=0.16,
    repetitions=2,
    threads=(1, 16),
    ycsb="ABCF",
    records=100_000,
    loaded=100_000,
    cache_bytes=256 * MIB,
    cold_cache_bytes=1 * MIB,
    log_bytes=(1 * MIB, 8 * MIB),
    growth=(50_000, 200_000),
    growth_six=(50_000, 100_000),
    history_commits=(10, 20_000),
    clone_mib=(4, 32),
    repair_mib=(4, 32),
    sql_clients=(8,),
    sql_writers=(1, 16),
    sql_rows=20_000,
    sysbench_rows=10_000,
    sysbench_scripts=("write_only", "read_write"),
    tpcb_scale=1,
    tpcc_warehouses=2,
    tpcc_divisor=100,
)
SMOKE = Sizes(
    name="smoke",
    seconds=0.02,
    repetitions=1,
    threads=(1, 2),
    ycsb="ADEF",
    records=2_000,
    loaded=2_000,
    cache_bytes=32 * MIB,
    cold_cache_bytes=1 * MIB,
    log_bytes=(100_000, 200_000),
    growth=(1_000, 2_000),
    growth_six=(1_000, 2_000),
    history_commits=(5, 100),
    clone_mib=(1, 2),
    repair_mib=(1, 2),
    sql_clients=(2,),
    sql_writers=(2,),
    sql_rows=1_000,
    sysbench_rows=1_000,
    sysbench_scripts=("read_write",),
    tpcb_scale=1,
    tpcc_warehouses=2,
    tpcc_divisor=100,
)
