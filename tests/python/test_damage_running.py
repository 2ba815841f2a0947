"""Copies lost or damaged under a database that is open."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from tests.volumes import (
    COPIES,
    DAMAGES,
    Contents,
    all_good,
    assert_holds,
    assert_writable,
    named_damage,
    seeded,
    segment_folder,
    until,
)

import aurora_engine as aurora

PAIRS = list(combinations(range(COPIES), 2))
TRIPLES = list(combinations(range(COPIES), 3))


@pytest.fixture
def running(
    volume: tuple[Path, Contents],
) -> Iterator[tuple[aurora.Database, Path, Contents]]:
    """An open database with a small cache, so that reads go to the copies."""
    path, contents = volume
    with aurora.open(path, cache_bytes=1 << 20) as db:
        yield db, path, contents


def refuses_writes(db: aurora.Database, contents: Contents) -> bool:
    """Tries a write; one that is accepted is kept in mind."""
    key = b"refused? %d" % (len(contents.main) + len(contents.doubtful))
    try:
        db.put(key, b"v")
    except aurora.QuorumLostError as error:
        if error.in_doubt:
            contents.doubtful[key] = b"v"
        return True
    contents.main[key] = b"v"
    return False


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("damage", DAMAGES)
def test_any_two_copies(
    running: tuple[aurora.Database, Path, Contents], pair: tuple[int, int], damage: str
) -> None:
    db, path, contents = running
    rng = seeded(f"running {damage} {pair}")
    assert_writable(db, contents, b"before")
    for copy in pair:
        DAMAGES[damage](segment_folder(path, copy), rng)
    assert_writable(db, contents, b"during")
    assert_holds(db, contents)
    db.compact()
    assert_holds(db, contents)
    # A copy that was found out just now is given up a little later.
    damaged = {str(segment_folder(path, copy)) for copy in pair}
    until(lambda: named_damage(db) == damaged, "both are named")
    db.repair()
    assert_writable(db, contents, b"after")
    assert named_damage(db) == set()
    assert_holds(db, contents)
    db.close()
    for copy in set(range(COPIES)) - set(pair) - {min(set(range(COPIES)) - set(pair))}:
        shutil.rmtree(segment_folder(path, copy))
    with aurora.open(path) as again:
        assert_holds(again, contents)


@pytest.mark.parametrize("triple", TRIPLES[::3], ids=str)
@pytest.mark.parametrize("damage", ["removed", "emptied"])
def test_any_three_copies(
    running: tuple[aurora.Database, Path, Contents], triple: tuple[int, int, int], damage: str
) -> None:
    db, path, contents = running
    for copy in triple:
        DAMAGES[damage](segment_folder(path, copy), seeded(damage))
    # Nobody asks for the status: the database has to notice by itself that files are gone.
    until(lambda: refuses_writes(db, contents), "writes are refused")
    assert_holds(db, contents)
    db.repair()
    assert_writable(db, contents, b"rebuilt")
    assert_holds(db, contents)
    assert named_damage(db) == set()
    db.close()
    for copy in set(range(COPIES)) - set(triple):
        shutil.rmtree(segment_folder(path, copy))
    with aurora.open(path) as again:
        assert_holds(again, contents)


@pytest.mark.parametrize("triple", TRIPLES[1::5], ids=str)
def test_three_folders_moved_away_and_back(
    running: tuple[aurora.Database, Path, Contents], triple: tuple[int, int, int], tmp_path: Path
) -> None:
    db, path, contents = running
    for copy in triple:
        segment_folder(path, copy).rename(tmp_path / f"away {copy}")
    db.status()
    until(lambda: refuses_writes(db, contents), "writes are refused")
    assert_holds(db, contents)
    (tmp_path / f"away {triple[0]}").rename(segment_folder(path, triple[0]))
    until(lambda: not refuses_writes(db, contents), "writes go on")
    assert_writable(db, contents, b"back")
    assert_holds(db, contents)
    for copy in triple[1:]:
        (tmp_path / f"away {copy}").rename(segment_folder(path, copy))
    until(lambda: all_good(db), "the others came back and caught up")
    assert_holds(db, contents)
    assert db.verify().ok


def test_lost_copies_are_rebuilt_without_being_asked(
    running: tuple[aurora.Database, Path, Contents],
) -> None:
    db, path, contents = running
    for copy in (1, 4):
        shutil.rmtree(segment_folder(path, copy))
    assert {s.copy for s in db.status().segments if s.state != "ok"} == {1, 4}
    until(lambda: all_good(db), "rebuilt", seconds=20)
    assert_holds(db, contents)
    assert db.verify().ok


def test_reads_and_writes_while_copies_come_and_go(
    running: tuple[aurora.Database, Path, Contents],
) -> None:
    """Two copies at a time are lost and rebuilt; each round ends with all of them good."""
    db, path, contents = running
    rng = seeded("come and go")
    for round_number in range(6):
        for copy in rng.sample(range(COPIES), 2):
            DAMAGES[rng.choice(list(DAMAGES))](segment_folder(path, copy), rng)
        assert_writable(db, contents, b"round %d" % round_number)
        assert_holds(db, contents)
        db.verify()
        db.repair()
    assert_holds(db, contents)
    assert db.verify().ok
