"""Sessions of pytest that run the suites of others, and what came of their tests."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# SQLAlchemy puts the name of the driver into the names of classes.
DRIVER = re.compile(r"_sqlite\+.*")


def start_pytest(
    folder: Path, arguments: Sequence[str], environment: dict[str, str]
) -> subprocess.Popen[str]:
    """Starts a session in a folder, which gets ``out.xml``."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", str(folder)]
    options = ["--junitxml", "out.xml", "-q", "--tb=short", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [*command, *options, "--import-mode=importlib", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def outcomes(folder: Path) -> dict[str, tuple[str, str]]:
    """How each test of a session ended, and why: "passed", "skipped", "failure" or "error"."""
    found: dict[str, tuple[str, str]] = {}
    for case in ElementTree.parse(folder / "out.xml").iter("testcase"):
        name = DRIVER.sub("", case.attrib["classname"].split(".")[-1]) + "." + case.attrib["name"]
        ends = [part for part in case if part.tag in {"skipped", "failure", "error"}]
        found[name] = (ends[0].tag, ends[0].text or "") if ends else ("passed", "")
    return found
