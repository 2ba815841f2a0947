"""Runs CPython's own tests of `sqlite3` and prints what became of each, as JSON.

Usage: ``python -m tests.compat.cpython_suite [VOLUME]``; with a volume, in databases of it.
"""

from __future__ import annotations

import importlib
import json
import sys
import unittest
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from tests.compat.stand_in import install

import aurora_engine as aurora

SUITE = "test.test_sqlite3"


class Outcomes(unittest.TestResult):
    """What became of each test, why, and whether it had the volume's VFS at work."""

    def __init__(self, db: aurora.Database | None) -> None:
        super().__init__()
        self._db = db
        self._opened_before = 0
        self.found: dict[str, dict[str, Any]] = {}

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._opened_before = self._opened()
        self.found[test.id()] = {"outcome": "passed", "used": False, "why": ""}

    def stopTest(self, test: unittest.TestCase) -> None:
        self.found[test.id()]["used"] = self._opened() > self._opened_before
        super().stopTest(test)

    def _opened(self) -> int:
        return 0 if self._db is None else self._db.sql.counts().opened

    def _note(self, test: unittest.TestCase, outcome: str, why: str) -> None:
        found = self.found.setdefault(test.id(), {"used": False})
        found["outcome"] = outcome
        found["why"] = found.get("why", "") + why

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._note(test, "skipped", reason)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "failed", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.addError(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:
        if err is not None:
            self.addError(test, err)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "failed", "succeeded unexpectedly")


def run(db: aurora.Database | None) -> dict[str, Any]:
    if db is not None:
        install(db)
    outcomes = Outcomes(db)
    with redirect_stdout(sys.stderr):
        suite = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(SUITE))
        suite.run(outcomes)
    counts = None if db is None else db.sql.counts()
    return {
        "tests": outcomes.found,
        "reads": counts.reads if counts else 0,
        "writes": counts.writes if counts else 0,
        "commits": counts.commits if counts else 0,
    }


def main(arguments: list[str]) -> int:
    if not arguments:
        found = run(None)
    else:
        with aurora.open(Path(arguments[0]), topology=aurora.Topology.single()) as db:
            found = run(db)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
