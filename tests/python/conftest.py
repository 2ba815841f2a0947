"""Databases for the tests of the Python face."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import aurora_engine as aurora


@pytest.fixture
def db(tmp_path: Path) -> Iterator[aurora.Database]:
    with aurora.open(tmp_path / "db") as database:
        yield database
