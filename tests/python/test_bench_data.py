"""The data of the macro benchmarks: distinct keys, values that compress by half, zipfian ranks."""

from __future__ import annotations

import itertools
import zlib

import pytest

np = pytest.importorskip("numpy")

from aurora_engine.bench import data  # noqa: E402

DRAWN = 400_000


def test_keys_are_distinct_scattered_and_the_same_every_time() -> None:
    keys = data.keys(0, 20_000)
    assert len(set(keys)) == 20_000
    assert {len(key) for key in keys} == {data.KEY_BYTES}
    assert keys == data.keys(0, 10_000) + data.keys(10_000, 20_000)
    first_bytes = np.bincount([key[0] for key in keys], minlength=256)
    assert first_bytes.min() > 20_000 / 256 * 0.5
    assert first_bytes.max() < 20_000 / 256 * 1.6
    assert sum(a < b for a, b in itertools.pairwise(keys)) < 11_000


def test_values_compress_by_half_and_differ_by_seed() -> None:
    values = data.values(1000)
    assert {len(value) for value in values} == {data.VALUE_BYTES}
    packed = len(zlib.compress(b"".join(values), 9)) / len(b"".join(values))
    assert 0.45 < packed < 0.6
    assert values == data.values(1000)
    assert not set(values) & set(data.values(1000, [data.SEED, 1]))


@pytest.mark.parametrize("count", [10, 1000, 100_000])
def test_zipfian_ranks_have_the_frequencies_of_the_law(count: int) -> None:
    ranks = data.Zipfian(count, seed=7).ranks(DRAWN)
    assert ranks.max() < count
    weights = 1 / np.arange(1, count + 1) ** 0.99
    expected = weights / weights.sum() * DRAWN
    seen = np.bincount(ranks.astype(np.int64), minlength=count)
    for rank in range(10):
        # Five standard deviations of a count.
        assert abs(seen[rank] - expected[rank]) < 5 * np.sqrt(expected[rank])
    half = count // 2
    assert abs(seen[half:].sum() - expected[half:].sum()) < 5 * np.sqrt(expected[half:].sum())


def test_scrambling_scatters_the_frequent_records() -> None:
    count = 1000
    numbers = data.Zipfian(count, seed=7).scrambled(DRAWN)
    seen = np.bincount(numbers.astype(np.int64), minlength=count)
    most = seen.argsort()[::-1][:5]
    assert seen[most[0]] > 0.1 * DRAWN
    assert sorted(most.tolist()) != list(range(5))
