"""Django over a volume: migrations, models, transactions, threads, and Django's test runner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.compat.suites import ROOT

pytest.importorskip("django")

SECONDS = 120


def test_a_project_works(tmp_path: Path) -> None:
    """Each step in a process of its own, as `manage.py` commands are."""
    for step in ("migrate", "rows", "threads", "suite"):
        ended = subprocess.run(
            [
                *(sys.executable, "-W", "error", "-m", "tests.compat.django_project"),
                *(str(tmp_path / "volume"), step),
            ],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert ended.returncode == 0, f"{step}: {ended.stderr}"
