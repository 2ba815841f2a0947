"""Many keys at once give what each gives alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import aurora_engine as aurora

KEYS = [b"%05d" % number for number in range(3000)]
CACHE_BYTES = 1 << 20


def value_of(number: int, rng: random.Random) -> bytes:
    """Short, empty, long, and too long for the cache."""
    length = rng.choice([0, 8, 90, 1500])
    if number % 500 == 0:
        length = rng.choice([30_000, CACHE_BYTES // 8])
    return rng.randbytes(length)


def chosen(rng: random.Random) -> list[bytes]:
    """Keys of which some are neighbours, some the same, and some not there."""
    keys = [rng.choice(KEYS) for _ in range(rng.choice([0, 1, 31, 32, 33, 300]))]
    first = rng.randrange(len(KEYS))
    keys += KEYS[first : first + rng.choice([0, 50])]
    keys += [key + b"+" for key in keys[:10]]
    rng.shuffle(keys)
    return keys


@pytest.mark.parametrize("seed", range(3))
def test_as_one_by_one(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    with aurora.open(tmp_path, cache_bytes=CACHE_BYTES) as db:
        db.put_many((key, value_of(number, rng)) for number, key in enumerate(KEYS))
        before = db.snapshot()
        writer = db.begin()
        for key in rng.sample(KEYS, 300):
            writer.put(key, b"own" * rng.randrange(2000))
        for key in rng.sample(KEYS, 300):
            writer.delete(key)
        db.put_many((key, b"new") for key in rng.sample(KEYS, 300))
        for _ in range(20):
            for place in (db, before, writer):
                keys = chosen(rng)
                assert place.get_many(keys, ...) == [place.get(key, ...) for key in keys]
        before.close()
        writer.rollback()


def test_keys_are_any_buffers_of_any_iterable(db: aurora.Database) -> None:
    db.put_many({b"": b"empty", b"a": b"1", b"b": b"2", b"k" * 1024: b"long"})
    keys = [memoryview(b"a"), bytearray(b"b"), b"", b"k" * 1024, memoryview(b"xax")[1:2]]
    expected = [b"1", b"2", b"empty", b"long", b"1"]
    assert db.get_many(keys) == db.get_many(iter(keys)) == expected
    assert db.get_many({b"a": 0, b"b": 0, b"c": 0}, 7) == [b"1", b"2", 7]
    wrong: list[Any] = [b"a", "b"]
    with pytest.raises(TypeError, match="not str"):
        db.get_many(wrong)
    with pytest.raises(ValueError, match="1025 bytes"):
        db.get_many([b"a", b"k" * 1025])


def test_a_table_that_was_dropped(db: aurora.Database) -> None:
    table = db.table("t")
    table.put(b"a", b"1")
    db.drop_table("t")
    with pytest.raises(KeyError):
        table.get_many([b"a"] * 100)
