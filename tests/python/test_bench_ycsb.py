"""YCSB in the macro benchmarks: what is written and what is read are keys of one distribution."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("numpy")

from aurora_engine.bench.workloads import ycsb

RECORDS = 20_000
SHARES = {"A": 0.5, "B": 0.05, "C": 0.0, "D": 0.05, "E": 0.05, "F": 0.5}


@pytest.mark.parametrize(("letter", "share"), SHARES.items())
def test_a_frequent_key_is_written_and_read_in_the_shares_of_the_mix(
    letter: str, share: float
) -> None:
    entries = [entry for burst in ycsb._plan(letter, RECORDS, 1, [7, 0]) for entry in burst]
    writes = Counter(key for key, value in entries if value is not None)
    assert writes.total() / len(entries) == pytest.approx(share, rel=0.1)
    (most, times), *_ = Counter(key for key, _ in entries).most_common()
    assert times > 0.05 * len(entries)
    assert writes[most] / times == pytest.approx(share, rel=0.25)
