"""Plots of a run, each as SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aurora_engine.bench.results import Results, Table, tables

__all__ = ["draw"]

COLOURS = {
    "aurora": "#c2410c",
    "aurora-single": "#f59e0b",
    "lmdb": "#2563eb",
    "rocksdb": "#059669",
    "leveldb": "#7c3aed",
    "sqlite": "#0891b2",
    "mariadb": "#64748b",
    "postgresql": "#334155",
    "bare-six": "#a8a29e",
    "bare-six-one-flush": "#d6d3d1",
    "bare-one": "#78716c",
}


def draw(results: Results, folder: Path) -> list[Path]:
    """Draws what the run has results for.

    Returns
    -------
    list of Path
        The SVG files.
    """
    found = tables(results)
    drawn = []
    for workload, each in found.items():
        for name, axis, title in _LINES:
            chosen = [table for table in each if axis in table.case["parameters"]]
            if workload == name and len({table.case["parameters"][axis] for table in chosen}) > 1:
                drawn.append(_figure(folder / f"{workload}-{axis}", _lines(chosen, axis), title))
    if "upserts" in found:
        title = "Latency of a durable upsert, one thread and many"
        drawn.append(_figure(folder / "upserts-latency", _latencies(found["upserts"]), title))
    return drawn


_LINES = (
    ("upserts", "threads", "Durable upserts over threads"),
    ("recovery", "committed_bytes", "Reopening after SIGKILL over committed bytes"),
    ("repair", "mib", "Rebuilding a lost copy over what it holds"),
    ("growth", "records", "Cost over the number of records, one copy"),
    ("growth-six", "records", "Cost over the number of records, six copies"),
)


def _figure(stem: Path, fill: Callable[[Axes], None], title: str) -> Path:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    fill(axes)
    axes.set_title(title)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    for suffix in (".svg", ".png"):
        figure.savefig(stem.with_suffix(suffix), dpi=150)
    return stem.with_suffix(".svg")


def _lines(found: Sequence[Table], axis: str) -> Callable[[Axes], None]:
    """One line for each engine, and for each kind of case where there are several."""
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for table in found:
        what = table.case["parameters"].get("what", "")
        for engine, cell in table.cells.items():
            point = (table.case["parameters"][axis], cell.median)
            series.setdefault((engine, what), []).append(point)

    def fill(axes: Axes) -> None:
        for (engine, what), points in series.items():
            across, up = zip(*sorted(points), strict=True)
            style: dict[str, Any] = {"linestyle": "--" if what == "get" else "-"}
            label = f"{engine}, {what}" if what else engine
            axes.plot(across, up, marker="o", color=COLOURS.get(engine), label=label, **style)
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = sorted({table.case["parameters"][axis] for table in found})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel(axis.replace("_", " "))
        axes.set_ylabel(found[0].case["unit"])

    return fill


def _latencies(found: Sequence[Table]) -> Callable[[Axes], None]:
    """Percentiles of the first case and of the last."""

    def fill(axes: Axes) -> None:
        names = ("p50", "p99", "p99.9")
        for table, style in ((found[0], "-"), (found[-1], "--")):
            for engine, cell in table.cells.items():
                latency = cell.typical["latency_us"]
                if latency:
                    axes.plot(
                        names,
                        [latency[name] for name in names],
                        style,
                        marker="o",
                        color=COLOURS.get(engine),
                        label=f"{engine}, {table.case['name']}",
                    )
        axes.set_yscale("log")
        axes.set_ylabel("microseconds")

    return fill
