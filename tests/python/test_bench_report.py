"""The report of the macro benchmarks says what the results say, and what they lack."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")

from aurora_engine.bench import report
from aurora_engine.bench.results import Results
from aurora_engine.bench.sizes import FULL, QUICK, SMOKE, Sizes
from aurora_engine.bench.targets import Pick, Target, judge

USAGE = {
    "cpu_s": 0.5,
    "foreign_cpu_s": 0.1,
    "written_bytes": 1000,
    "device_writes": 10,
    "device_bytes": 40_960,
    "device_flushes": 5,
}
LATENCY = {"p50": 100.0, "p99": 900.0, "p99.9": 1500.0, "max": 2000.0}


def samples(engine: str, case: str, threads: int, values: list[float]) -> list[dict[str, Any]]:
    return [
        {
            "workload": "upserts",
            "case": {
                "name": case,
                "unit": "upserts/s",
                "parameters": {"threads": threads},
                "better": "more",
            },
            "engine": engine,
            "repetition": number,
            "value": value,
            "latency_us": LATENCY,
            "usage": USAGE,
            "details": {"operations": 10, "seconds": 1.0},
        }
        for number, value in enumerate(values)
    ]


@pytest.fixture
def results() -> Results:
    return Results(
        samples=[
            *samples("aurora", "1 thread", 1, [100, 110, 90]),
            *samples("lmdb", "1 thread", 1, [50, 100, 30]),
            *samples("aurora", "16 threads", 16, [800, 900, 1000]),
            *samples("lmdb", "16 threads", 16, [20, 30, 25]),
        ],
        engines={"key-value lmdb": {"version": "liblmdb 9.9", "settings": {"sync": "on"}}},
        missing={"leveldb": "no Python module plyvel"},
        failed=[{"workload": "ycsb", "case": "A", "engine": "sqlite", "why": "it fell over"}],
        machine={"processor": "2 x test"},
        sizes={"seconds": 1},
        seconds=12,
    )


def test_the_report_has_medians_spreads_ratios_and_what_is_missing(results: Results) -> None:
    text = report.markdown(results)
    assert "**100** (90 to 110)" in text
    assert "**900** (800 to 1,000)" in text
    # Paired: 100/50, 110/100, 90/30; not 100/50 of the medians by chance.
    assert "**2** (1.1 to 3)" in text
    assert "leveldb: no Python module plyvel" in text
    assert "sqlite in ycsb, A: it fell over" in text
    assert "liblmdb 9.9 | sync: on" in text
    assert "## What this does not show" in text
    # Flushes, bytes and microseconds of an operation.
    assert "| 0.5 | 4,096 | 50.0k |" in text.replace("50,000", "50.0k")


def test_a_case_says_where_less_is_better(results: Results) -> None:
    assert "less is better" not in report.markdown(results)
    for sample in results.samples[:3]:  # all of aurora with one thread
        sample["case"]["better"] = "less"
    text = report.markdown(results)
    assert "| 1 thread, upserts/s (less is better) | **100** (90 to 110) |" in text
    assert "| 1 thread (less is better) | **2** (1.1 to 3) |" in text
    assert "| 16 threads, upserts/s | **900**" in text


def test_a_busy_machine_is_said(results: Results) -> None:
    assert "busy" not in report.markdown(results).split("##")[0]
    for sample in results.samples:
        sample["usage"] = USAGE | {"foreign_cpu_s": 0.4}
    assert "0.40 processors" in report.markdown(results).split("##")[0]


@pytest.mark.parametrize("sizes", [SMOKE, QUICK, FULL])
def test_a_run_of_small_sizes_says_so_at_the_top(results: Results, sizes: Sizes) -> None:
    """Nobody is to take the figures of a smoke run for a verdict."""
    results.sizes = asdict(sizes)
    text = report.markdown(results)
    top = text.splitlines()[2]
    assert ("smoke run" in top and "figures mean nothing" in top) == (sizes is SMOKE)
    assert ("quick run" in top) == (sizes is QUICK)
    judged = sizes is not SMOKE
    assert ("## Targets" in text) == judged
    assert (re.search(r"\bmet\b", text) is not None) == judged
    assert ("missed" in text) == judged
    # What was measured is there in any case.
    assert "**900** (800 to 1,000)" in text


def test_targets_are_judged_by_the_best_thread_count_of_each(results: Results) -> None:
    against = (Pick("lmdb", "upserts"),)
    met = Target("met", Pick("aurora", "upserts"), 12, against=against)
    missed = Target("missed", Pick("aurora", "upserts", "1 thread"), 3, against=against)
    unknown = Target("unknown", Pick("aurora", "upserts"), 3, against=(Pick("mariadb", "upserts"),))
    limit = Target("limit", Pick("aurora", "upserts", which="first"), 100, "at most")
    verdicts = judge(results, [met, missed, unknown, limit])
    # lmdb is best with one thread: 50, 100, 30; ours with 16: 800, 900, 1000.
    assert verdicts[0].value == pytest.approx(16)
    assert verdicts[0].against == "lmdb"
    assert [verdict.word for verdict in verdicts] == ["met", "**missed**", "not measured", "met"]


def test_a_ratio_to_nothing_is_not_measured(results: Results) -> None:
    idle = [sample for sample in results.samples if sample["engine"] == "lmdb"]
    for sample in idle:
        sample["value"] = 0.0
    against = Target("idle", Pick("aurora", "upserts"), 3, against=(Pick("lmdb", "upserts"),))
    assert [verdict.word for verdict in judge(results, [against])] == ["not measured"]
    assert "not measured" in report.markdown(results, targets=[against])


def test_plots_of_an_earlier_run_are_not_in_the_report(results: Results, tmp_path: Path) -> None:
    (tmp_path / "growth-records.svg").write_text("of the run before")
    report.write(results, tmp_path, ["upserts-threads.svg"])
    assert re.findall(r"!\[(.*)\]", (tmp_path / "report.md").read_text()) == ["upserts-threads.svg"]


def test_what_is_written_can_be_read_again(results: Results, tmp_path: Path) -> None:
    report.write(results, tmp_path)
    assert Results.load(tmp_path / "raw.json") == results
    assert json.loads((tmp_path / "raw.json").read_text())["missing"] == results.missing


def test_plots_are_drawn_of_what_there_is(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from aurora_engine.bench import plots

    drawn = plots.draw(results, tmp_path)
    assert [file.name for file in drawn] == ["upserts-threads.svg", "upserts-latency.svg"]
    for file in drawn:
        assert "aurora" in file.read_text()
        assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert plots.draw(Results(), tmp_path) == []
