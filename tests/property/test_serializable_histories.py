"""Long random histories of concurrent transactions, checked for serializability.

A commit's LSN is its place in the order of commits. So a history is right if running the committed transactions one
after another in that order lets each of them read exactly what it did read, and if each read-only view shows the
state at its LSN. That is stricter than serializability asks for, and it is what the engine promises.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.volumes import seeded

import aurora_engine as aurora

KEYS = [b"k%d" % number for number in range(8)]
SOMETHING = b"something"
"""Stands for a value of which only the presence was seen."""


@dataclass
class Committed:
    """What one transaction did: what it read before its own writes, and what it left."""

    lsn: int
    reads: dict[bytes, bytes | None]
    ranges: list[tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]]
    writes: dict[bytes, bytes | None]
    read_only: bool = False


@dataclass
class Client:
    """One thread's transactions."""

    db: aurora.Database
    rng: random.Random
    name: bytes
    committed: list[Committed] = field(default_factory=list)
    conflicts: int = 0
    failure: BaseException | None = None

    def run(self, transactions: int) -> None:
        try:
            for number in range(transactions):
                self._one(b"%s.%d" % (self.name, number))
        except BaseException as failure:
            self.failure = failure
            raise

    def _one(self, unique: bytes) -> None:
        kind = self.rng.random()
        if kind < 0.15:
            with self.db.snapshot() as view:
                self.committed.append(Committed(view.lsn, *self._read(view, {}), {}, read_only=True))
            return
        if kind < 0.25:
            # Its result shows that the engine sees it as a transaction of its own.
            key = self.rng.choice(KEYS)
            self.committed.append(Committed(self.db.put(key, unique), {}, [], {key: unique}))
            return
        with self.db.begin() as txn:
            writes: dict[bytes, bytes | None] = {}
            reads, ranges = self._read(txn, writes)
            for key in self.rng.sample(KEYS, self.rng.randrange(3)):
                if self.rng.random() < 0.8:
                    txn[key] = writes[key] = unique + b"!" + key
                elif txn.delete(key):
                    reads.setdefault(key, SOMETHING)
                    writes[key] = None
                else:
                    # Nothing was written then, only seen.
                    reads.setdefault(key, None)
                assert txn.get(key) == writes.get(key), "a transaction reads its own writes"
            if self.rng.random() < 0.3:
                more_reads, more_ranges = self._read(txn, writes)
                reads = more_reads | reads
                ranges += more_ranges
            if self.rng.random() < 0.1:
                txn.rollback()
                return
            try:
                lsn = txn.commit(wait=self.rng.random() < 0.5)
            except aurora.ConflictError as error:
                assert error.retryable
                self.conflicts += 1
                return
            self.committed.append(Committed(lsn, reads, ranges, writes, read_only=not writes))

    def _read(
        self, source: aurora.Transaction | aurora.Snapshot, own: dict[bytes, bytes | None]
    ) -> tuple[
        dict[bytes, bytes | None], list[tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]]
    ]:
        reads = {
            key: source.get(key)
            for key in self.rng.sample(KEYS, self.rng.randrange(4))
            if key not in own
        }
        ranges = []
        if self.rng.random() < 0.4:
            start, stop = sorted(self.rng.sample(KEYS, 2))
            found = tuple(pair for pair in source.scan(start, stop) if pair[0] not in own)
            hidden = [key for key in own if start <= key < stop]
            if not hidden:
                ranges.append((start, stop, found))
        return reads, ranges


def check(history: list[Committed], start: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Replays a history in the order of its LSNs; the state that it ends in."""
    state = dict(start)
    # A reader at an LSN comes after the commit that has it.
    for each in sorted(history, key=lambda entry: (entry.lsn, entry.read_only)):
        for key, value in each.reads.items():
            if value == SOMETHING:
                assert key in state, f"at LSN {each.lsn} {key!r} was not there to delete"
            else:
                assert state.get(key) == value, f"at LSN {each.lsn}, {key!r}"
        for first, last, found in each.ranges:
            expected = tuple(sorted((k, v) for k, v in state.items() if first <= k < last))
            assert found == expected, f"at LSN {each.lsn}, range {first!r} to {last!r}"
        for key, written in each.writes.items():
            if written is None:
                state.pop(key, None)
            else:
                state[key] = written
    return state


@pytest.mark.parametrize("threads", [2, 8])
@pytest.mark.parametrize("durability", ["quorum", "async"])
def test_histories_are_serializable(tmp_path: Path, threads: int, durability: str) -> None:
    rng = seeded(f"history {threads} {durability}")
    state: dict[bytes, bytes] = {}
    conflicts = 0
    for round_number in range(3):
        with aurora.open(tmp_path, durability=durability, cache_bytes=1 << 20) as db:  # type: ignore[arg-type]
            assert dict(db.scan()) == state
            clients = [
                Client(db, random.Random(rng.random()), b"%d.%d" % (round_number, number))
                for number in range(threads)
            ]
            run_together([lambda client=client: client.run(1200 // threads) for client in clients])
            state = check([entry for client in clients for entry in client.committed], state)
            conflicts += sum(client.conflicts for client in clients)
            db.wait_durable(max(e.lsn for c in clients for e in c.committed))
            assert dict(db.scan()) == state
            assert db.verify().ok
    assert conflicts > 0, "the threads never met"


def run_together(works: list[Callable[[], None]]) -> None:
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


Step = tuple[int, str, int, int]
STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["get", "get", "put", "delete", "scan", "commit", "rollback"]),
        st.integers(0, len(KEYS) - 1),
        st.integers(0, len(KEYS)),
    ),
    min_size=5,
    max_size=60,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> aurora.Database:
    db = aurora.open(tmp_path_factory.mktemp("interleaved"))
    yield db
    db.close()


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_interleavings_are_serializable(shared: aurora.Database, steps: list[Step]) -> None:
    """Up to four transactions interleaved step by step; those that meet nobody always commit."""
    db = shared
    for key in KEYS:
        db.delete(key)
    state: dict[bytes, bytes] = {}
    commits = 0
    values = count()
    open_: dict[int, tuple[aurora.Transaction, Committed, dict[bytes, bytes], int]] = {}
    for who, verb, first, second in steps:
        if who not in open_:
            txn = db.begin()
            open_[who] = (txn, Committed(0, {}, [], {}), dict(state), commits)
        txn, seen, snapshot, began = open_[who]
        now = {k: v for k, v in (snapshot | seen.writes).items() if v is not None}
        key, last = KEYS[first], KEYS[second] if second < len(KEYS) else b"z"
        if verb == "get":
            assert txn.get(key) == now.get(key)
            if key not in seen.writes:
                seen.reads[key] = now.get(key)
        elif verb == "put":
            txn[key] = seen.writes[key] = b"%d" % next(values)
        elif verb == "delete":
            assert txn.delete(key) == (key in now)
            if key not in seen.writes:
                seen.reads[key] = snapshot.get(key)
            if key in now:
                seen.writes[key] = None
        elif verb == "scan":
            expected = sorted((k, v) for k, v in now.items() if key <= k < last)
            assert list(txn.scan(key, last)) == expected
            if not seen.writes:
                seen.ranges.append((key, last, tuple(expected)))
        else:
            del open_[who]
            if verb == "rollback":
                txn.rollback()
                continue
            try:
                seen.lsn = txn.commit(wait=False)
            except aurora.ConflictError:
                assert commits > began, "a conflict with nobody"
                continue
            if seen.writes:
                state = check([seen], state)
                commits += 1
    for txn, *_ in open_.values():
        txn.rollback()
    with db.begin() as txn:
        assert dict(txn.scan()) == state
