"""YCSB in the macro benchmarks: what is written and what is read are keys of one distribution."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("numpy")

from aurora_engine.bench import data
from aurora_engine.bench.engines.base import Pair, Session
from aurora_engine.bench.engines.sqlite_engine import Sqlite
from aurora_engine.bench.sizes import SMOKE
from aurora_engine.bench.suite import workload
from aurora_engine.bench.workloads import ycsb
from aurora_engine.bench.workloads.base import Bench

RECORDS = 20_000
SHARES = {"A": 0.5, "B": 0.05, "C": 0.0, "D": 0.05, "E": 0.05, "F": 0.5}


@pytest.mark.parametrize(("letter", "share"), SHARES.items())
def test_a_frequent_key_is_written_and_read_in_the_shares_of_the_mix(
    letter: str, share: float
) -> None:
    entries = [entry for burst in ycsb._plan(letter, RECORDS, 1, [7, 0]) for entry in burst]
    writes = Counter(key for key, wrote in entries if wrote)
    assert writes.total() / len(entries) == pytest.approx(share, rel=0.1)
    (most, times), *_ = Counter(key for key, _ in entries).most_common()
    assert times > 0.05 * len(entries)
    assert writes[most] / times == pytest.approx(share, rel=0.25)


class _Stored(dict[bytes, bytes]):
    """An engine that counts the writes that change nothing."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        super().__init__(dict.fromkeys(keys, b"loaded"))
        self.idle = 0

    def session(self) -> Session:
        return Session(self._put, self.update, self.get, self._get_many, self._scan)

    def _put(self, key: bytes, value: bytes) -> None:
        self.idle += self.get(key) == value
        self[key] = value

    def _get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return [*map(self.get, keys)]

    def _scan(self, start: bytes, count: int) -> Sequence[Pair]:
        found = sorted(pair for pair in self.items() if pair[0] >= start)
        return found[:count]


def _actor(letter: str, stored: _Stored) -> ycsb._Actor:
    keys = list(stored)
    plan = ycsb._plan(letter, len(keys), 1, [7, 0])
    values = ycsb._values(plan, [7, 0])
    return ycsb._Actor(stored.session(), letter, ycsb._Inserted(keys), plan, values)


@pytest.mark.parametrize("letter", "ABF")
def test_an_update_writes_what_is_not_there_already(letter: str) -> None:
    """Nor does it when the plan begins again, after more operations than it has."""
    stored = _Stored(data.keys(0, 1000))
    actor, latencies = _actor(letter, stored), array("q")
    done = 0
    while done < 12_000:
        done += actor.step(latencies)
    assert stored.idle <= 1


@pytest.mark.parametrize("letter", SHARES)
def test_a_record_that_is_gone_is_noticed(letter: str) -> None:
    actor, latencies = _actor(letter, stored := _Stored(data.keys(0, 1000))), array("q")
    actor.step(latencies)
    stored.clear()

    def many_steps() -> None:
        for _ in range(250):
            actor.step(latencies)

    with pytest.raises(AssertionError, match="a record is gone"):
        many_steps()


def test_inserted_records_that_are_gone_fail_the_workload(tmp_path: Path) -> None:
    bench, done = Bench(Sqlite, tmp_path, SMOKE), workload("ycsb")
    try:
        done.prepare(bench)
        for case in done.cases(SMOKE):
            done.take(bench, case)
        done.finish(bench)
        bench.state["ycsb"].keys.append(b"a key that nobody has inserted")
        with pytest.raises(AssertionError, match="not every inserted record"):
            done.finish(bench)
    finally:
        bench.close()
