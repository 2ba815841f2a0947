"""What a run says of the code it measured: its own commit, or that there is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("numpy")

from aurora_engine.bench import machine

with_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> None:
    person = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", "-C", folder, *person, *arguments], check=True, capture_output=True)


@with_git
def test_a_commit_is_told_with_whether_files_were_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "machine.py"
    monkeypatch.setattr(machine, "__file__", str(file))
    file.write_text("as committed")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit = machine.facts(tmp_path)["commit"]
    assert len(commit) == 40
    file.write_text("changed")
    assert machine.facts(tmp_path)["commit"] == f"{commit}, with changes"


@with_git
def test_the_commit_of_a_repository_around_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "somebody else's")
    (tmp_path / "machine.py").write_text("installed, and not theirs")
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))
    assert machine.facts(tmp_path)["commit"] == "not a checkout"


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.facts(tmp_path)["commit"] == "not a checkout"
