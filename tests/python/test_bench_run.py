"""A whole run of the macro benchmarks with tiny sizes: turns, what fails, what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tests.volumes import until

pytest.importorskip("numpy")

from aurora_engine.bench.engines.registry import ENGINES
from aurora_engine.bench.engines.sqlite_engine import Sqlite
from aurora_engine.bench.results import Results
from aurora_engine.bench.run import WorkerFailedError, WorkerProcess, _Turns, run
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import SMOKE
from aurora_engine.bench.suite import WORKLOADS, groups, workload

TINY = replace(SMOKE, records=500, loaded=500, threads=(1, 3), repetitions=2)


def test_repetitions_are_taken_in_turns_and_counted(tmp_path: Path) -> None:
    told: list[str] = []
    results = run(["upserts", "reads"], ["aurora", "sqlite"], TINY, tmp_path, told.append)
    assert not results.failed
    assert set(results.engines) == {"key-value aurora", "key-value sqlite"}
    takes = [line for line in told if line.startswith("upserts: 3 threads")]
    # One that warms up, two that count.
    assert takes == ["upserts: 3 threads, aurora", "upserts: 3 threads, sqlite"] * 3
    of_case = [
        sample
        for sample in results.samples
        if sample["workload"] == "upserts" and sample["case"]["name"] == "3 threads"
    ]
    assert [(each["engine"], each["repetition"]) for each in of_case] == [
        ("aurora", 0),
        ("sqlite", 0),
        ("aurora", 1),
        ("sqlite", 1),
    ]
    for sample in of_case:
        assert sample["details"]["operations"] > 0
        assert sample["latency_us"]["p50"] <= sample["latency_us"]["p99"]


def test_durable_means_a_flush_for_each_commit_of_a_thread(tmp_path: Path) -> None:
    results = run(["upserts"], ["aurora-single", "sqlite"], TINY, tmp_path)
    for sample in results.samples:
        flushes = sample["usage"]["device_flushes"]
        if flushes >= 0 and sample["case"]["parameters"]["threads"] == 1:
            assert flushes >= 0.9 * sample["details"]["operations"], sample


def test_every_acknowledged_record_is_there_after_a_kill(tmp_path: Path) -> None:
    results = run(["recovery"], ["aurora-single", "sqlite"], TINY, tmp_path)
    assert not results.failed
    assert {sample["engine"] for sample in results.samples} == {"aurora-single", "sqlite"}


def test_who_is_not_installed_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sqlite, "missing", classmethod(lambda cls: "no SQLite in this house"))
    results = run(["loading"], ["aurora", "sqlite"], TINY, tmp_path)
    assert results.missing == {"sqlite": "no SQLite in this house"}
    assert {sample["engine"] for sample in results.samples} == {"aurora"}


def test_who_fails_is_left_out_and_said(tmp_path: Path) -> None:
    # No room for a cache of one byte.
    results = run(["loading"], ["aurora", "sqlite"], replace(TINY, cache_bytes=1), tmp_path)
    assert [each["engine"] for each in results.failed] == ["aurora"]
    assert "cache_bytes must be from" in results.failed[0]["why"]
    assert {sample["engine"] for sample in results.samples} == {"sqlite"}


class _WrongInTheEnd(WorkerProcess):
    """Measures whatever it is asked to, and has something else than it should have."""

    def __init__(self) -> None:
        pass

    def ask(self, do: str, **_details: Any) -> Any:
        if do == "finish":
            raise WorkerFailedError("InvariantError: the sums do not agree")
        return asdict(Sample(1.0))


def test_who_proves_wrong_in_the_end_has_no_figures(tmp_path: Path) -> None:
    results = Results(samples=[{"workload": "tpcb", "engine": "aurora"}])
    _Turns(workload("tpcb"), {"sqlite": _WrongInTheEnd()}, TINY, results, lambda _line: None).take()
    assert [(each["engine"], each["case"]) for each in results.failed] == [("sqlite", "finish")]
    assert [sample["engine"] for sample in results.samples] == ["aurora"]


def test_who_does_not_start_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Here it is known, in its worker it is not.
    monkeypatch.setitem(ENGINES["key-value"], "another", ENGINES["key-value"]["sqlite"])
    results = run(["loading"], ["aurora", "another"], TINY, tmp_path)
    assert [(each["engine"], each["case"]) for each in results.failed] == [("another", "start")]
    assert {sample["engine"] for sample in results.samples} == {"aurora"}


def test_an_interrupted_run_gives_what_there_was(tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line == "upserts: 3 threads, sqlite":
            raise KeyboardInterrupt

    results = run(["loading", "upserts"], ["aurora", "sqlite"], TINY, tmp_path, interrupt)
    assert [(each["workload"], each["why"]) for each in results.failed] == [
        ("upserts", "the run was interrupted")
    ]
    cases = {(sample["workload"], sample["case"]["name"]) for sample in results.samples}
    assert ("upserts", "1 thread") in cases
    assert ("upserts", "3 threads") not in cases


def test_a_workload_that_is_over_takes_no_space(tmp_path: Path) -> None:
    left: list[int] = []

    def look(line: str) -> None:
        if line.startswith("recovery: sqlite gets ready"):
            left.append(len(list(tmp_path.iterdir())))

    assert not run(["loading", "recovery"], ["sqlite"], TINY, tmp_path, look).failed
    assert left == [1]
    assert not list(tmp_path.iterdir())


def test_a_stopped_worker_ends_when_who_asks_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from aurora_engine.bench.run import *; "
        "from aurora_engine.bench.sizes import SMOKE; from dataclasses import asdict; "
        "worker = WorkerProcess(Path(sys.argv[1]) / 'log'); "
        "worker.ask('start', kind='key-value', engine='sqlite', folder=sys.argv[1], "
        "sizes=asdict(SMOKE)); print(worker.process_id, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as asking:
        assert asking.stdout is not None
        status = Path(f"/proc/{int(asking.stdout.readline())}/status")
        until(lambda: "State:\tT (stopped)" in status.read_text(), "stopped", 10)
        asking.kill()
    until(lambda: not status.exists() or "State:\tZ" in status.read_text(), "ended", 10)


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = WorkerProcess(tmp_path / "log")
    with monkeypatch.context() as patch:
        patch.setattr("aurora_engine.bench.run.ANSWER_S_MAX", 0.0)
        with pytest.raises(WorkerFailedError, match="no answer"):
            worker.ask("nonsense")
    with pytest.raises(WorkerFailedError, match="its process has ended"):
        worker.ask("nonsense too")
    worker.close()


def test_a_worker_answers_nonsense_and_goes_on() -> None:
    killer = subprocess.run(
        [sys.executable, "-m", "aurora_engine.bench.worker"],
        input=json.dumps({"do": "nonsense"}) + "\n" + "not even JSON\n",
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in killer.stdout.splitlines()]
    assert len(answers) == 2
    assert all("failed" in answer for answer in answers)


def test_the_suite_names_workloads_that_are_there() -> None:
    for name in WORKLOADS:
        made = workload(name)
        assert made.name == name
        assert made.kind in ENGINES
        cases = made.cases(SMOKE)
        assert len({case.name for case in cases}) == len(cases) > 0
    shared = [[each.name for each in group] for group in groups(["ycsb", "reads", "loading"])]
    assert shared == [["loading"], ["reads", "ycsb"]]
