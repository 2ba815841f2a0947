"""Databases for the tests of the Python face, and a closed one to be hurt."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.volumes import Contents, fill, seeded

import aurora_engine as aurora


@pytest.fixture
def db(tmp_path: Path) -> Iterator[aurora.Database]:
    with aurora.open(tmp_path / "db") as database:
        yield database


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Contents]:
    """A closed volume and what it holds, for copies of it."""
    path = tmp_path_factory.mktemp("damage") / "original"
    with aurora.open(path) as db:
        contents = fill(db, seeded("original"))
    return path, contents


@pytest.fixture
def volume(original: tuple[Path, Contents], tmp_path: Path) -> tuple[Path, Contents]:
    """A closed volume that a test may damage, and what it holds."""
    path, contents = original
    shutil.copytree(path, tmp_path / "volume")
    return tmp_path / "volume", contents.copy()
