"""SQLAlchemy's own suite for dialects, run twice: over stock SQLite, and over a volume."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.compat.suites import ROOT, outcomes, start_pytest

pytest.importorskip("sqlalchemy")

SECONDS = 300

# Tests that end otherwise than over stock SQLite, and why.
DIFFERENCES: dict[str, str] = {}

TESTS_AT_LEAST = 1500
COMMITS_AT_LEAST = 1500
WRITES_AT_LEAST = 4000


def start(folder: Path, url: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    folder.mkdir()
    (folder / "setup.cfg").write_text(
        "[sqla_testing]\n"
        "requirement_cls = tests.compat.sqlalchemy_requirements:Requirements\n"
        "profile_file = profiles.txt\n"
    )
    plugins = ["sqlalchemy.testing.plugin.pytestplugin", "tests.compat.sqlalchemy_plugin"]
    suite = ROOT / "tests" / "compat" / "sqlalchemy_suite.py"
    options = [option for plugin in plugins for option in ("-p", plugin)]
    return start_pytest(folder, [*options, "--dburi", url, str(suite)], environment)


@pytest.mark.slow
def test_only_what_is_explained_differs(tmp_path: Path) -> None:
    volume = tmp_path / "ours" / "volume"
    sessions = [
        start(tmp_path / "stock", f"sqlite:///{tmp_path}/stock/stock.db", {}),
        start(
            tmp_path / "ours",
            f"aurora:///{volume}?name=suite",
            {"AURORA_SUITE_VOLUME": str(volume)},
        ),
    ]
    logs = [session.communicate(timeout=SECONDS)[0] for session in sessions]
    # Of pytest: 0 is that all passed, 1 that tests failed, anything else that it could not run.
    assert all(session.returncode in {0, 1} for session in sessions), logs
    stock, ours = outcomes(tmp_path / "stock"), outcomes(tmp_path / "ours")
    assert stock.keys() == ours.keys()

    differing = {name: why for name, (end, why) in ours.items() if end != stock[name][0]}
    unexplained = sorted(differing.keys() - DIFFERENCES.keys())
    assert not unexplained, "\n\n".join(f"{name}: {differing[name]}" for name in unexplained)
    agreeing = sorted(DIFFERENCES.keys() - differing.keys())
    assert not agreeing, f"listed, but as with stock SQLite: {agreeing}"

    passed = sum(end == "passed" for end, _ in ours.values())
    counts = json.loads((tmp_path / "ours" / "counts.json").read_text())
    print(f"{len(ours)} tests, {passed} passed, {len(differing)} differ; {counts}")
    assert passed >= TESTS_AT_LEAST
    assert counts["commits"] >= COMMITS_AT_LEAST
    assert counts["writes"] >= WRITES_AT_LEAST
