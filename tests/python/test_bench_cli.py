"""``aurora-engine bench``: what it prints of a run, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.volumes import until

pytest.importorskip("numpy")
pytest.importorskip("matplotlib")

from aurora_engine.bench.results import Results
from aurora_engine.bench.sizes import SMOKE
from aurora_engine.cli import _group as program
from aurora_engine.cli import bench
from aurora_engine.cli.common import EXIT_IO

FAILED = {"workload": "tpcb", "case": "finish", "engine": "sqlite", "why": "it fell over"}


def run(*options: str) -> Result:
    """Runs the command as a part of the program: how it is run first, it stays in this process."""
    return CliRunner().invoke(program, ["bench", *options])


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Results:
    of_run = Results(missing={"lmdb": "no Python module lmdb"}, sizes=asdict(SMOKE))
    monkeypatch.setattr(bench, "_run", lambda *_: of_run)
    return of_run


@pytest.mark.parametrize("failed", [[], [FAILED]])
def test_what_failed_and_what_is_missing_is_said(
    failed: list[dict[str, str]], results: Results, tmp_path: Path
) -> None:
    """In JSON as well, and by the exit code."""
    results.failed = failed
    options = ["--smoke", "--out", str(tmp_path)]
    text = run(*options)
    assert "left out lmdb: no Python module lmdb" in text.output
    assert ("failed: sqlite, tpcb, finish: it fell over" in text.output) == bool(failed)
    facts = run(*options, "--json")
    assert text.exit_code == facts.exit_code == (EXIT_IO if failed else 0)
    told = json.loads(facts.output)
    assert told["missing"] == results.missing
    assert told["failed"] == failed


def test_where_no_report_can_be_written_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run takes an hour: it is said before."""
    monkeypatch.setattr(bench, "_run", lambda *_: pytest.fail("it ran"))
    # As of a file system that is mounted read-only, which root cannot write to either.
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    ended = run("--smoke", "--out", str(tmp_path))
    assert ended.exit_code == 2
    assert "is not writable" in ended.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_ended_leaves_a_report_and_no_data(number: int, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    # A shell starts what runs in the background with SIGINT ignored, and the command lets it be.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from aurora_engine.cli import main; main()"
    )
    options = ["bench", "--quick", "--only", "recovery", "--against", "sqlite"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *options, "--path", place, "--out", tmp_path / "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        until(lambda: any(place.glob("*/*/*.log")), "at work", 30)
        running.send_signal(number)
        told, _ = running.communicate(timeout=60)
    assert "the run was interrupted" in told
    assert running.returncode == EXIT_IO
    assert not list(place.iterdir())
    assert "the run was interrupted" in (tmp_path / "out" / "report.md").read_text()
