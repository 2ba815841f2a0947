"""What keys and values may be: lengths, buffers, arrays."""

from __future__ import annotations

import array
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aurora_engine as aurora


def test_keys_from_empty_to_1024_bytes(db: aurora.Database) -> None:
    for length in (0, 1, 255, 256, 1023, 1024):
        key = b"k" * length
        db.put(key, b"%d" % length)
        assert db[key] == b"%d" % length
    with pytest.raises(ValueError, match="1025 bytes is longer"):
        db.put(b"k" * 1025, b"")
    with pytest.raises(ValueError, match="longer"):
        db.get(b"k" * 1025)
    assert len(db) == 6


@pytest.mark.parametrize("length", [0, 1, 2000, 8191, 8192, 100_000, 5 << 20])
def test_values_of_all_lengths(db: aurora.Database, length: int) -> None:
    value = os.urandom(length)
    db.put(b"v", value)
    assert db.get(b"v") == value
    assert bytes(db.get(b"v", as_view=True) or b"") == value
    assert list(db.scan()) == [(b"v", value)]
    with db.begin() as txn:
        txn.put(b"w", value)
        assert txn.get(b"w") == value
        assert list(txn.scan()) == [(b"v", value), (b"w", value)]
    assert db[b"w"] == value
    assert db.delete(b"v")
    assert list(db.scan()) == [(b"w", value)]


def test_values_above_1_gib_are_refused(db: aurora.Database) -> None:
    with mmap.mmap(-1, (1 << 30) + 1) as huge, pytest.raises(ValueError, match="1 GiB"):
        db.put(b"v", huge)


@pytest.mark.parametrize("bad", ["text", None, 5, 1.5, ["list"]])
def test_what_is_no_buffer_is_refused(db: aurora.Database, bad: Any) -> None:
    with pytest.raises(TypeError, match="must be bytes"):
        db.put(bad, b"")
    with pytest.raises(TypeError, match="must be bytes"):
        db.put(b"k", bad)
    for call in (db.get, db.delete, db.__contains__, db.__getitem__):
        with pytest.raises(TypeError, match="a key must be bytes"):
            call(bad)
    for bound in ("start", "stop", "prefix"):
        if bad is not None:
            with pytest.raises(TypeError, match=f"{bound} must be bytes"):
                db.scan(**{bound: bad})
    with db.begin() as txn:
        with pytest.raises(TypeError):
            txn.put(bad, b"")
        with pytest.raises(TypeError):
            txn.put_many([(b"k", bad)])
        txn.rollback()
    assert len(db) == 0


def test_the_error_for_text_says_what_to_do(db: aurora.Database) -> None:
    with pytest.raises(TypeError, match="encode text first"):
        db.put("key", b"")  # type: ignore[arg-type]


def test_other_buffers(db: aurora.Database) -> None:
    db.put(bytearray(b"k1"), memoryview(b"value"))
    db.put(memoryview(b"xxk2xx")[2:4], array.array("H", [1, 2]))
    db.put(np.frombuffer(b"k3", np.uint8), np.arange(4, dtype=np.float64))
    assert db.get(memoryview(b"k1")) == b"value"
    assert db[b"k2"] == array.array("H", [1, 2]).tobytes()
    assert np.frombuffer(db[b"k3"], np.float64).tolist() == [0, 1, 2, 3]
    assert bytearray(b"k1") in db
    with pytest.raises(ValueError, match="C-contiguous"):
        db.put(b"k", memoryview(b"abcdef")[::2])


def test_a_buffer_is_copied_at_the_put(db: aurora.Database) -> None:
    key, value = bytearray(b"key"), bytearray(b"value")
    with db.begin() as txn:
        txn.put(key, value)
        key[:] = b"KEY"
        value.extend(b" and more")
    assert list(db.scan()) == [(b"key", b"value")]


def test_arrays_of_bytes(db: aurora.Database) -> None:
    keys = np.array([b"a", b"bb", b"ccc", b""], dtype="S3")
    values = np.array([b"1", b"", b"333", b"4444"], dtype="S4")
    db.put_many((keys, values))
    assert dict(db.scan()) == dict(zip(keys.tolist(), values.tolist(), strict=True))
    assert db.get_many(keys) == values.tolist()
    assert db.get_many(np.array([b"bb", b"no"], dtype="S9")) == [b"", None]


def test_arrays_of_every_fixed_width(db: aurora.Database) -> None:
    count = 5000
    numbers = np.arange(count, dtype=">u8")
    values = np.random.default_rng(1).integers(0, 256, (count, 20), dtype=np.uint8)
    lsn = db.put_many(numbers, values)
    assert lsn == db.durable_lsn
    assert [int.from_bytes(k) for k in db] == list(range(count))
    assert db.get_many(numbers[:10]) == [row.tobytes() for row in values[:10]]
    assert db.get_many(values[:0]) == []
    # Strided arrays, rows as keys, and void items, whose zero bytes are theirs.
    db.table("s").put_many((values[::2, 4:12], numbers[::2]))
    assert db.table("s").get_many(values[::2, 4:12]) == [int(n).to_bytes(8) for n in numbers[::2]]
    void = np.array([b"x\0", b"y\0"], dtype="V2")
    db.table("v").put_many((void, np.array([1.5, 2.5])))
    assert list(db.table("v")) == [b"x\0", b"y\0"]
    # Names of fields, which stand in the format of items, say nothing about these.
    fields = np.array([(1, b"x")], dtype=[("ORDER", "<u4"), ("größe", "S2")])
    db.table("f").put_many(np.array([b"k"]), fields)
    assert db.table("f")[b"k"] == b"\1\0\0\0x\0"


@pytest.mark.parametrize(
    ("keys", "values", "error"),
    [
        (
            np.array([1, 2]),
            np.array([b"1", b"2"]),
            TypeError,
        ),  # native integers do not sort as bytes
        (np.array(["a", "b"]), np.array([b"1", b"2"]), TypeError),
        (np.array([b"a", b"b"]), np.array([{}, {}]), TypeError),
        (np.array([b"a", b"b"]), np.array([b"1"]), ValueError),
        (np.array([b"a", b"b"])[::-1], np.array([b"1", b"2"]), ValueError),
        (np.array([b"k" * 1025]), np.array([b"1"]), ValueError),
        (np.zeros((2, 2, 2), np.uint8), np.array([b"1", b"2"]), TypeError),
    ],
)
def test_arrays_that_do_not_fit(
    db: aurora.Database, keys: Any, values: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        db.put_many((keys, values))
    assert len(db) == 0


class Closing:
    """A key or value whose bytes Python code makes, which closes what it is given to."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close

    def __buffer__(self, flags: int) -> memoryview:
        self.close()
        return memoryview(b"k")


# Before PEP 688 such an object has no bytes.
REFUSAL = aurora.DatabaseClosedError if sys.version_info >= (3, 12) else TypeError


@pytest.mark.parametrize("whose", ["database", "transaction"])
@pytest.mark.parametrize(
    "use",
    [
        lambda place, bad: place.put(bad, b"v"),
        lambda place, bad: place.put(b"k", bad),
        lambda place, bad: place.get(bad),
        lambda place, bad: place.delete(bad),
        lambda place, bad: place.get_many([bad]),
        lambda place, bad: place.put_many([(bad, b"v")]),
        lambda place, bad: list(place.scan(bad)),
        lambda place, bad: list(place.scan(prefix=bad)),
    ],
)
def test_buffers_that_close_what_they_are_given_to(tmp_path: Path, use: Any, whose: str) -> None:
    with aurora.open(tmp_path / "db", topology=aurora.Topology.single()) as db:
        txn = db.begin()
        place, close = (db, db.close) if whose == "database" else (txn, txn.rollback)
        with pytest.raises(REFUSAL):
            use(place, Closing(close))


def test_put_many_of_a_list_that_changes_meanwhile(db: aurora.Database) -> None:
    """Unpacking a pair may run anything, which may drop the list's references to its pairs."""
    pairs: list[Any] = []

    class Clears:
        def __iter__(self) -> Iterator[bytes]:
            pairs.clear()
            yield from (b"key", b"value")

    pairs.extend(Clears() for _ in range(50))
    db.put_many(pairs)
    assert list(db.scan()) == [(b"key", b"value")]


def test_put_many_is_one_transaction(db: aurora.Database) -> None:
    def pairs() -> Any:
        yield b"a", b"1"
        yield b"b", b"2"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        db.put_many(pairs())
    with pytest.raises(ValueError, match="shorter"):
        db.put_many([b"a", b"b"], [b"1"])
    for bad in ([b"a"], [(b"a",)], [(b"a", b"1", b"2")], [5]):
        with pytest.raises((TypeError, ValueError)):
            db.put_many(bad)  # type: ignore[arg-type]
    assert len(db) == 0
    assert db.put_many([]) == db.durable_lsn
