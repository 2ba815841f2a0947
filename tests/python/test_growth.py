"""A volume grows by what a commit takes, not by a worst case: protection groups are counted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import aurora_engine as aurora

PAGE_BYTES = 4096
GROUP_PAGES = 64


@pytest.fixture
def db(tmp_path: Path) -> Iterator[aurora.Database]:
    """A database whose protection groups are as small as they may be."""
    with aurora.open(
        tmp_path / "db", page_bytes=PAGE_BYTES, protection_group_bytes=GROUP_PAGES * PAGE_BYTES
    ) as database:
        yield database


def groups(db: aurora.Database) -> int:
    return db.status().protection_groups


def groups_for(db: aurora.Database) -> int:
    """Groups that the pages in use would fill."""
    return -(-db.verify().pages // GROUP_PAGES)


def test_small_commits_take_one_group(db: aurora.Database) -> None:
    """Two hundred records fit into a few pages, however they are committed."""
    db.put_many({b"%03d" % number: bytes(20) for number in range(100)})
    for number in range(100):
        db.put(b"%03d" % number, bytes(30))
    with db.begin() as txn:
        txn.table("side")[b"k"] = b"v"
    assert groups(db) == 1


def test_updates_in_place_take_nothing(db: aurora.Database) -> None:
    """A thousand records of the same size as those that they replace, in one commit."""
    db.put_many({b"%04d" % number: bytes(100) for number in range(1000)})
    before = groups(db)
    assert before <= 1 + groups_for(db)
    db.put_many({b"%04d" % number: b"x" * 100 for number in range(1000)})
    assert groups(db) == before


@pytest.mark.parametrize("value_bytes", [10, 100, 900, 3000, 20_000])
@pytest.mark.parametrize("order", ["ascending", "random"])
def test_one_large_commit(db: aurora.Database, order: str, value_bytes: int) -> None:
    """It asks for at most twice what it takes."""
    keys = [b"%06d" % number for number in range(2_000_000 // (value_bytes + 50))]
    if order == "random":
        random.Random(value_bytes).shuffle(keys)
    for part in (keys[::2], keys[1::2]):
        db.put_many(dict.fromkeys(part, bytes(value_bytes)))
    assert groups(db) <= 1 + 2 * groups_for(db)
    assert db.verify().ok


def test_pages_that_were_freed_are_used_first(db: aurora.Database) -> None:
    """What one table gave back is enough for another one of the same kind."""
    rows = {b"%05d" % number: bytes(100) for number in range(5000)}
    for name in ("first", "second", "third"):
        db.table(name).put_many(rows)
        if name == "first":
            before = groups(db)
        db.drop_table(name)
    assert groups(db) <= before + 1
