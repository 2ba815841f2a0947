"""What is stored: keys of 16 bytes, scattered; values of 100 bytes, half of which compress away.

Everything follows from a number or a seed, so every engine gets the same bytes in the same order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aurora_engine.bench.engines.base import Pair

T = TypeVar("T")

__all__ = ["KEY_BYTES", "SEED", "VALUE_BYTES", "Zipfian", "batches", "keys", "values"]

Seed = int | list[int]
SEED = 20130101
KEY_BYTES = 16
VALUE_BYTES = 100
RECORD_BYTES = KEY_BYTES + VALUE_BYTES
BATCH = 10_000
ZIPFIAN_CONSTANT = 0.99


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64: a bijection that scatters neighbours."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def keys_of(numbers: NDArray[np.uint64]) -> list[bytes]:
    """The keys with these numbers: distinct, and in an order that tells nothing."""
    halves = np.empty((len(numbers), 2), dtype=">u8")
    halves[:, 0] = _mixed(numbers)
    halves[:, 1] = _mixed(~numbers)
    return cast("list[bytes]", halves.view(f"V{KEY_BYTES}").ravel().tolist())


def keys(start: int, stop: int) -> list[bytes]:
    """The keys with the numbers from `start` on, up to and without `stop`."""
    return keys_of(np.arange(start, stop, dtype=np.uint64))


def values(count: int, seed: Seed = SEED) -> list[bytes]:
    """So many values: half random bytes, half one letter."""
    content = np.full((count, VALUE_BYTES), ord("a"), dtype=np.uint8)
    half = VALUE_BYTES // 2
    content[:, :half] = np.random.default_rng(seed).integers(0, 256, (count, half), dtype=np.uint8)
    return cast("list[bytes]", content.view(f"V{VALUE_BYTES}").ravel().tolist())


def batches(of_keys: Sequence[bytes], *, size: int = BATCH) -> Iterator[list[Pair]]:
    """Records with these keys, in their order, so many at a time."""
    for start in range(0, len(of_keys), size):
        chunk = of_keys[start : start + size]
        yield list(zip(chunk, values(len(chunk), SEED + start), strict=True))


def chosen(records: int, count: int, seed: Seed) -> NDArray[np.uint64]:
    """So many numbers of records, each as likely as any other."""
    return np.random.default_rng(seed).integers(0, records, count, dtype=np.uint64)


def endless(items: Sequence[T]) -> Callable[[], T]:
    """What returns the items one after the other, again and again."""
    return itertools.cycle(items).__next__


class Zipfian:
    """Ranks from 0 on, with the frequencies 1 / (rank + 1) ** 0.99, as in YCSB.

    YCSB approximates these frequencies; here they are exact.

    Parameters
    ----------
    count : int
        How many ranks there are.
    seed : int
        Of the random numbers.
    """

    def __init__(self, count: int, seed: Seed) -> None:
        weights = 1.0 / np.arange(1, count + 1) ** ZIPFIAN_CONSTANT
        self._bounds = np.cumsum(weights)
        self._random = np.random.default_rng(seed)
        self._count = count

    def ranks(self, count: int) -> NDArray[np.uint64]:
        """So many ranks; 0 is the most frequent."""
        drawn = self._random.random(count) * self._bounds[-1]
        found: NDArray[np.uint64] = np.searchsorted(self._bounds, drawn, "right").astype(np.uint64)
        return found

    def scrambled(self, count: int) -> NDArray[np.uint64]:
        """So many numbers of records, the frequent ones scattered over all of them."""
        scattered: NDArray[np.uint64] = _mixed(self.ranks(count)) % np.uint64(self._count)
        return scattered
