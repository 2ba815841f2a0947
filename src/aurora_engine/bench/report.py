"""The report of a run: ``report.md``, beside ``raw.json`` and the plots."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from aurora_engine.bench.results import Cell, Results, Table, paired_ratios, tables
from aurora_engine.bench.suite import workload
from aurora_engine.bench.targets import TARGETS, Target, Verdict, judge

__all__ = ["markdown", "write"]

OURS = "aurora"
FOREIGN_CORES_MAX = 0.15
# Processor time is counted in hundredths of a second.
SECONDS_TOLD = 0.1

HOW_TO_READ = """
Every engine runs in a process of its own on a private folder of the same disk. The engines take
turns, repetition by repetition, so that a slow minute of the machine hits all of them, and outside
of its turns an engine is stopped, with what it does in the background. A figure is
the median of the repetitions, with the lowest and the highest in brackets; without brackets there
was one. A short one before them, to warm up, is not counted. A ratio is the median of the ratios of
paired repetitions.

Every write counts only when the engine has said that it is durable: for ours, that four of six
copies have it (`aurora`), or the only one (`aurora-single`); for the peers, that their log or file
is synced. All data is the same: keys of 16 bytes in an order that tells nothing, values of 100
bytes of which half compresses away, unless a workload says otherwise.
"""

SIZES_TOLD = {
    "smoke": "**This was a smoke run. Its sizes are tiny and its figures mean nothing: it shows "
    "that everything runs, and judges nothing.**",
    "quick": "**This was a quick run, with small sizes. The targets speak of the full ones: what "
    "it says about them is a hint.**",
}

NOT_SHOWN = """
- Six disks. All copies lie on the disk that was measured, and share its bandwidth and its flushes;
  six disks in three places would give each copy a whole one, and put a network between.
- What a flush is worth. It is asked for, and counted; whether the disk keeps its word cannot be
  seen from here.
- Long runs. Compaction that comes after minutes or hours is not in figures of seconds.
- Languages other than Python. What a call costs through the driver is part of each figure.
- Larger machines. Some peers use more processors than this machine has.
- The machine when it is busy otherwise, unless it was: the foreign processor time of each
  repetition is in `raw.json`.
"""


def write(results: Results, folder: Path, plots: Sequence[str] = ()) -> None:
    """Writes ``report.md``, which shows these plots of the folder, and ``raw.json``."""
    results.save(folder / "raw.json")
    (folder / "report.md").write_text(markdown(results, plots), encoding="utf-8")


def markdown(
    results: Results, plots: Sequence[str] = (), targets: Iterable[Target] = TARGETS
) -> str:
    """The report as text."""
    found = tables(results)
    parts = [
        "# aurora_engine beside other engines",
        SIZES_TOLD.get(results.sizes_name, ""),
        _headline(results),
        HOW_TO_READ.strip(),
        *_judged(results, targets),
        "## Machine",
        _pairs(results.machine),
        "## Engines",
        _engines(results),
        *(_workload(name, each) for name, each in found.items()),
        "## Sizes",
        _pairs({name: str(value) for name, value in results.sizes.items()}),
        "## What this does not show",
        NOT_SHOWN.strip(),
    ]
    if plots:
        parts += ["## Plots", "\n\n".join(f"![{name}]({name})" for name in plots)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(results: Results) -> str:
    count, begun = len(results.samples), results.machine.get("time", "")
    told = f"{count} measurements in {results.seconds:.0f} s, begun {begun}."
    foreign = _foreign_cores(results)
    if foreign > FOREIGN_CORES_MAX:
        told += (
            f"\n\n**The machine was busy with something else, with {foreign:.2f} processors in the "
            "median of the measurements. The figures say little; run it again on a quiet machine.**"
        )
    return told


def _foreign_cores(results: Results) -> float:
    """Processors that others used, in the median of the measurements of some length."""
    shares = [
        sample["usage"]["foreign_cpu_s"] / sample["details"]["seconds"]
        for sample in results.samples
        if sample["usage"] and sample["details"].get("seconds", 0) > SECONDS_TOLD
    ]
    return statistics.median(shares) if shares else 0.0


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _pairs(facts: dict[str, str]) -> str:
    return grid(("", ""), facts.items())


def number(value: float) -> str:
    """A figure with as many digits as it is worth."""
    if value >= 1_000_000:
        return f"{value / 1_000_000:,.2f}M"
    if value >= 10_000:
        return f"{value / 1000:,.1f}k"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Median, and the lowest and highest in brackets."""
    middle = f"**{number(statistics.median(values))}**"
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))} to {number(max(values))})"


def _judged(results: Results, targets: Iterable[Target]) -> tuple[str, ...]:
    """The targets; a smoke run has none, since its figures say nothing."""
    if results.sizes_name == "smoke":
        return ()
    return "## Targets", _targets(judge(results, targets))


def _targets(verdicts: Sequence[Verdict]) -> str:
    rows = [
        (
            verdict.target.name + (f" ({verdict.against})" if verdict.against else ""),
            f"{verdict.target.kind} {verdict.target.limit:,g}",
            spread(verdict.spread) if verdict.spread else "",
            verdict.word,
        )
        for verdict in verdicts
    ]
    counts = ", ".join(
        f"{sum(verdict.word == word for verdict in verdicts)} {word.strip('*')}"
        for word in ("met", "**missed**", "not measured")
    )
    return f"{counts}.\n\n" + grid(("target", "wanted", "measured", ""), rows)


def _engines(results: Results) -> str:
    rows = [
        (
            name,
            facts["version"],
            "; ".join(f"{key}: {value}" for key, value in facts["settings"].items()),
        )
        for name, facts in results.engines.items()
    ]
    told = [grid(("engine", "version", "settings that are not its defaults"), rows)]
    if results.missing:
        told.append("Not there, and left out:")
        told.append("\n".join(f"- {name}: {why}" for name, why in results.missing.items()))
    if results.failed:
        told.append(
            "Failed, and left out from there on; of those who failed to finish, altogether:"
        )
        told.append(
            "\n".join(
                f"- {each['engine']} in {each['workload']}, {each['case']}: {each['why']}"
                for each in results.failed
            )
        )
    return "\n\n".join(told)


def _workload(name: str, found: Sequence[Table]) -> str:
    kind = workload(name)
    parts = [f"## {kind.title}", kind.about]
    engines = list(dict.fromkeys(engine for table in found for engine in table.cells))
    rows = [
        (
            f"{table.case['name']}, {table.case['unit']}{_better(table)}",
            *(_figure(table, engine) for engine in engines),
        )
        for table in found
    ]
    parts.append(grid(("", *engines), rows))
    if OURS in engines and len(engines) > 1:
        others = [engine for engine in engines if engine != OURS]
        ratios = [
            (table.case["name"] + _better(table), *(_ratio(table, engine) for engine in others))
            for table in found
        ]
        parts.append(f"`{OURS}` divided by each:")
        parts.append(grid(("", *others), ratios))
    details = [row for table in found for row in _details(table)]
    if details:
        head = ("", "engine", "p50 us", "p99 us", "p99.9 us", "flushes", "disk bytes", "CPU us")
        parts.append("Latencies, and what one operation took of the machine, in the median run:")
        parts.append(grid(head, details))
    return "\n\n".join(parts)


def _better(table: Table) -> str:
    """Where a lower figure is the better one, that it is."""
    return " (less is better)" if table.case["better"] == "less" else ""


def _figure(table: Table, engine: str) -> str:
    cell = table.cells.get(engine)
    return spread(cell.values) if cell else ""


def _ratio(table: Table, engine: str) -> str:
    ours, theirs = table.cells.get(OURS), table.cells.get(engine)
    ratios = paired_ratios(ours, theirs) if ours and theirs else []
    return spread(ratios) if ratios else ""


def _details(table: Table) -> Iterable[Sequence[str]]:
    for engine, cell in table.cells.items():
        latency = cell.typical["latency_us"]
        per_operation = _per_operation(cell)
        if latency or any(per_operation):
            yield (
                table.case["name"],
                engine,
                *(number(latency[name]) if latency else "" for name in ("p50", "p99", "p99.9")),
                *per_operation,
            )


def _per_operation(cell: Cell) -> tuple[str, str, str]:
    """Flushes, bytes written by the device and microseconds of processor, of one operation."""
    usage, operations = cell.typical["usage"], cell.typical["details"].get("operations")
    if not usage or not operations:
        return "", "", ""
    counted = usage["device_flushes"] >= 0
    return (
        f"{usage['device_flushes'] / operations:.3g}" if counted else "",
        number(usage["device_bytes"] / operations) if counted else "",
        number(usage["cpu_s"] / operations * 1e6),
    )
