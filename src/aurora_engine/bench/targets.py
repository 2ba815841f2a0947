"""What this engine is held to, as data, and how a run is judged by it.

Six copies of ours stand beside one copy of each peer, on the same machine in the same run.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from aurora_engine.bench.results import Cell, Results, Table, paired_ratios, tables

__all__ = ["TARGETS", "Pick", "Target", "Verdict", "judge"]

Which = Literal["best", "first", "last"]
Kind = Literal["at least", "at most"]

OURS, SINGLE = "aurora", "aurora-single"
EMBEDDED = ("lmdb", "rocksdb", "leveldb", "sqlite")


@dataclass(frozen=True, slots=True)
class Pick:
    """A cell: an engine in one of the cases of a workload.

    Attributes
    ----------
    engine, workload : str
        Their names.
    cases : str
        How the names of the cases begin that are looked at.
    which : {"best", "first", "last"}
        The one to take of those.
    """

    engine: str
    workload: str
    cases: str = ""
    which: Which = "best"

    def find(self, found: dict[str, list[Table]]) -> Cell | None:
        """The cell; None where there is none."""
        cells = [
            (table, table.cells[self.engine])
            for table in found.get(self.workload, [])
            if table.case["name"].startswith(self.cases) and self.engine in table.cells
        ]
        if not cells:
            return None
        if self.which != "best":
            return cells[0 if self.which == "first" else -1][1]
        return _best(cells)


def _best(cells: list[tuple[Table, Cell]]) -> Cell:
    """The cell with the best median; all cases of a pick agree on what is better."""
    choose = max if cells[0][0].case["better"] == "more" else min
    return choose((cell for _, cell in cells), key=lambda cell: cell.median)


@dataclass(frozen=True, slots=True)
class Target:
    """A limit on a value of ours, or on its ratio to the best of others.

    Attributes
    ----------
    name : str
        One line.
    ours : Pick
        What is judged.
    limit : float
        On the value, or on the ratio.
    kind : {"at least", "at most"}
        Which side of the limit is right.
    against : tuple of Pick
        What it is divided by: the best of them, by median. Empty: nothing.
    """

    name: str
    ours: Pick
    limit: float
    kind: Kind = "at least"
    against: tuple[Pick, ...] = ()


@dataclass(slots=True)
class Verdict:
    """What a run says about a target.

    Attributes
    ----------
    target : Target
        The target.
    value : float or None
        The median; None when the run does not have what it takes.
    spread : list of float
        Every repetition's.
    against : str
        The engine that was the best of the others.
    """

    target: Target
    value: float | None = None
    spread: list[float] = field(default_factory=list)
    against: str = ""

    @property
    def word(self) -> str:
        """Met, missed, or not measured."""
        if self.value is None:
            return "not measured"
        limit = self.target.limit
        met = self.value >= limit if self.target.kind == "at least" else self.value <= limit
        return "met" if met else "**missed**"


def _peers(workload: str, cases: str = "", peers: Iterable[str] = EMBEDDED) -> tuple[Pick, ...]:
    return tuple(Pick(peer, workload, cases) for peer in peers)


def _upserts() -> Iterable[Target]:
    best = Pick(OURS, "upserts")
    for peer, limit in (
        ("mariadb", 5),
        ("postgresql", 3),
        ("leveldb", 1.1),
        ("rocksdb", 8),
        ("lmdb", 12),
        ("sqlite", 6),
    ):
        yield Target(
            f"durable upserts against {peer}, best thread count of each",
            best,
            limit,
            against=(Pick(peer, "upserts"),),
        )
    yield Target(
        "durable upserts with one copy against leveldb, best thread count of each",
        Pick(SINGLE, "upserts"),
        1.8,
        against=(Pick("leveldb", "upserts"),),
    )
    for copies, case, bare, limit in (
        (OURS, "1 thread", "bare-six", 0.85),
        (OURS, "16 threads", "bare-six", 0.7),
        (SINGLE, "1 thread", "bare-one", 0.85),
    ):
        yield Target(
            f"durable upserts of {copies}, {case}, against {bare}",
            Pick(copies, "upserts", case),
            limit,
            against=(Pick(bare, "upserts", case),),
        )
    yield Target(
        "durable upserts with one copy, 1 thread, against the fastest peer",
        Pick(SINGLE, "upserts", "1 thread"),
        1.0,
        against=_peers("upserts", "1 thread"),
    )


def _writes() -> Iterable[Target]:
    yield Target(
        "commits a second without waiting, the faster of two ways", Pick(OURS, "unwaited"), 400_000
    )
    yield Target(
        "durable batches of 100 against rocksdb",
        Pick(OURS, "batches"),
        1.5,
        against=(Pick("rocksdb", "batches"),),
    )
    for case in ("random order", "sorted"):
        for copies, limit in ((OURS, 0.8), (SINGLE, 1.5)):
            yield Target(
                f"bulk load of {copies}, {case}, against the fastest peer",
                Pick(copies, "loading", case),
                limit,
                against=_peers("loading", case),
            )


def _reads() -> Iterable[Target]:
    one, two = "get, 1 thread", "get, 2 threads"
    yield Target(
        "point gets, 1 thread, against lmdb",
        Pick(OURS, "reads", one),
        1.3,
        against=(Pick("lmdb", "reads", one),),
    )
    yield Target(
        "point gets, 2 threads against 1 (no collapse)",
        Pick(OURS, "reads", two),
        0.9,
        against=(Pick(OURS, "reads", one),),
    )
    for case, limit in (("get_many", 2), ("scan", 1.2), ("full scan", 1.2)):
        yield Target(
            f"{case} against the fastest peer",
            Pick(OURS, "reads", case),
            limit,
            against=_peers("reads", case),
        )
    for letter in "ABCF":
        for copies, threads in ((OURS, "8 threads"), (SINGLE, "1 thread"), (OURS, "1 thread")):
            if copies == SINGLE or threads == "8 threads" or letter == "C":
                case = f"{letter}, {threads}"
                yield Target(
                    f"YCSB {case}, {copies} against the fastest embedded peer",
                    Pick(copies, "ycsb", case),
                    1.0,
                    against=_peers("ycsb", case),
                )


def _sizes() -> Iterable[Target]:
    for case in ("random gets", "random overwrites"):
        yield Target(
            f"data ten times the cache, {case}, against rocksdb",
            Pick(OURS, "cold", case),
            1.0,
            against=(Pick("rocksdb", "cold", case),),
        )
    yield Target(
        "milliseconds to reopen after SIGKILL, largest log",
        Pick(OURS, "recovery", which="last"),
        50,
        "at most",
    )
    yield Target(
        "reopening, largest log against smallest (flat)",
        Pick(OURS, "recovery", which="last"),
        2.0,
        "at most",
        (Pick(OURS, "recovery", which="first"),),
    )
    for copies, workload in ((SINGLE, "growth"), (OURS, "growth-six")):
        for case in ("put", "get"):
            yield Target(
                f"cost of a {case} with {copies}, most records against fewest",
                Pick(copies, workload, case, "last"),
                1.7,
                "at most",
                (Pick(copies, workload, case, "first"),),
            )
    for case in ("1 thread", "16 threads", "batches"):
        yield Target(
            f"bytes written per committed byte and copy, {case}, against rocksdb and lmdb",
            Pick(OURS, "amplification", case),
            1.0,
            "at most",
            _peers("amplification", case, ("rocksdb", "lmdb")),
        )


def _sql() -> Iterable[Target]:
    """Of the servers what their Python drivers give, best number of connections of each."""
    for name, workload, cases, limits in (
        ("one-row writes", "sql-rows", "write", {"mariadb": 3, "postgresql": 3, "sqlite": 5}),
        ("point selects", "sql-rows", "select", {"sqlite": 1}),
        ("scans", "sql-rows", "scan", {"sqlite": 1}),
        ("oltp_write_only", "sysbench", "write_only", {"mariadb": 5, "postgresql": 3}),
        ("oltp_read_write", "sysbench", "read_write", {"mariadb": 5, "postgresql": 3}),
        ("TPC-B", "tpcb", "", {"mariadb": 5, "postgresql": 3}),
    ):
        for peer, limit in limits.items():
            yield Target(
                f"SQL: {name} against {peer}",
                Pick(OURS, workload, cases),
                limit,
                against=(Pick(peer, workload, cases),),
            )


TARGETS: tuple[Target, ...] = (*_upserts(), *_writes(), *_reads(), *_sizes(), *_sql())


def judge(results: Results, targets: Iterable[Target] = TARGETS) -> list[Verdict]:
    """What a run says about each target."""
    found = tables(results)
    return [_judge(target, found) for target in targets]


def _judge(target: Target, found: dict[str, list[Table]]) -> Verdict:
    ours = target.ours.find(found)
    if ours is None:
        return Verdict(target)
    if not target.against:
        return Verdict(target, ours.median, ours.values)
    others = [cell for pick in target.against if (cell := pick.find(found)) is not None]
    if not others:
        return Verdict(target)
    choose = max if target.kind == "at least" else min
    best = choose(others, key=lambda cell: cell.median)
    ratios = paired_ratios(ours, best)
    if not ratios:  # it did nothing in the time it had
        return Verdict(target)
    return Verdict(target, statistics.median(ratios), ratios, best.engine)
