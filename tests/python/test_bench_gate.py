"""The gate on instruction counts, on output of callgrind that is made up here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.instructions import gate

BUILD = "x86_64-v3 gcc-12 glibc-2.36 Release"
BASELINE = {"format.apply": 250.0, "btree.get": 1400.0}
OPERATIONS = {"format.apply": 64, "btree.get": 1000}
CALLGRIND = """# callgrind format
version: 1
creator: callgrind-3.19.0
cmd:  aurora_instructions {scenario}
positions: line
events: Ir
summary: {total}


fl=(1) scenario.c
fn=(1) scenario_run
29 {total}
totals: {total}
"""


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    file = tmp_path / "baseline.json"
    file.write_text(json.dumps({BUILD: BASELINE}))
    return file


def counted(folder: Path, counts: dict[str, float], build: str = BUILD) -> Path:
    """A folder as it is after callgrind has run."""
    folder.mkdir(exist_ok=True)
    operations = {scenario: OPERATIONS.get(scenario, 1) for scenario in counts}
    (folder / gate.DESCRIPTION).write_text(json.dumps({"build": build, "operations": operations}))
    for scenario, count in counts.items():
        total = round(count * operations[scenario])
        text = CALLGRIND.format(scenario=scenario, total=total)
        (folder / f"{scenario}.callgrind").write_text(text)
    return folder


def judged(baseline: Path, results: Path, *options: str) -> int:
    return gate.main(["--judge", str(results), "--baseline", str(baseline), *options])


def test_equal_counts_pass(baseline: Path, tmp_path: Path) -> None:
    assert judged(baseline, counted(tmp_path / "results", BASELINE)) == 0


@pytest.mark.parametrize(("factor", "status"), [(1.029, 0), (1.031, 1), (2.0, 1), (0.9, 0)])
def test_only_more_than_the_tolerance_fails(
    baseline: Path, tmp_path: Path, factor: float, status: int
) -> None:
    counts = BASELINE | {"btree.get": BASELINE["btree.get"] * factor}
    assert judged(baseline, counted(tmp_path / "results", counts)) == status


def test_failure_names_the_scenario(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = BASELINE | {"btree.get": 1540.0}
    assert judged(baseline, counted(tmp_path / "results", counts)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if "MORE" in line] == [
        ["btree.get", "1,540.0", "+10.00%", "MORE"]
    ]


def test_improvement_asks_for_a_new_baseline(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = BASELINE | {"format.apply": 200.0}
    assert judged(baseline, counted(tmp_path / "results", counts)) == 0
    assert "--record" in capsys.readouterr().out


@pytest.mark.parametrize("counts", [{"format.apply": 250.0}, BASELINE | {"log.append": 90.0}])
def test_scenario_on_one_side_only_fails(
    baseline: Path, tmp_path: Path, counts: dict[str, float]
) -> None:
    assert judged(baseline, counted(tmp_path / "results", counts)) == 1


def test_another_build_is_compared_with_nothing(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doubled = {scenario: 2 * count for scenario, count in BASELINE.items()}
    results = counted(tmp_path / "results", doubled, build="x86_64-v3 gcc-14 glibc-2.41 Release")
    assert judged(baseline, results) == 0
    assert "NOTHING WAS COMPARED" in capsys.readouterr().out


def test_record_makes_the_counts_the_baseline_of_their_build(
    baseline: Path, tmp_path: Path
) -> None:
    doubled = {scenario: 2 * count for scenario, count in BASELINE.items()}
    results = counted(tmp_path / "results", doubled)
    assert judged(baseline, results) == 1
    assert judged(baseline, results, "--record") == 0
    other = counted(tmp_path / "other", BASELINE, build="aarch64 gcc-12 glibc-2.36 Release")
    assert judged(baseline, other, "--record") == 0
    assert judged(baseline, results) == 0


@pytest.mark.parametrize("text", ["", "summary: 0\ntotals: 0\n"])
def test_nothing_counted_is_an_error(baseline: Path, tmp_path: Path, text: str) -> None:
    results = counted(tmp_path / "results", BASELINE)
    (results / "btree.get.callgrind").write_text(text)
    with pytest.raises(ValueError, match="counted nothing"):
        judged(baseline, results)


def test_committed_baseline_is_of_release_builds() -> None:
    baselines = json.loads(gate.BASELINE.read_text())
    assert baselines
    for build, counts in baselines.items():
        assert build.endswith(" Release")
        assert all(count > 0 for count in counts.values())
