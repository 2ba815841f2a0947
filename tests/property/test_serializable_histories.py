"""Long random histories of concurrent transactions, checked for serializability.

A commit's LSN is its place in the order of commits. So a history is right if running the committed
transactions one after another in that order lets each of them read exactly what it did read, and if
each read-only view shows the state at its LSN. That is stricter than serializability asks for, and
it is what the engine promises.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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

    def run(self, transactions: int) -> None:
        for number in range(transactions):
            self._one(b"%s.%d" % (self.name, number))

    def _one(self, unique: bytes) -> None:
        kind = self.rng.random()
        if kind < 0.15:
            with self.db.snapshot() as view:
                self.committed.append(
                    Committed(view.lsn, *self._read(view, {}), {}, read_only=True)
                )
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
            except aurora.ConflictError:
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
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()


@dataclass
class Interleaving:
    """Up to four transactions that take turns, and what each of them must see."""

    db: aurora.Database
    state: dict[bytes, bytes] = field(default_factory=dict)
    commits: int = 0
    values: Iterator[int] = field(default_factory=count)
    running: dict[int, Running] = field(default_factory=dict)

    def step(self, who: int, verb: str, first: int, second: int) -> None:
        if who not in self.running:
            self.running[who] = Running(self.db.begin(), dict(self.state), self.commits)
        stop = KEYS[second] if second < len(KEYS) else b"z"
        getattr(self.running[who], verb)(KEYS[first], stop, self)
        if verb in ("commit", "rollback"):
            del self.running[who]


@dataclass
class Running:
    """One transaction of an interleaving."""

    txn: aurora.Transaction
    snapshot: dict[bytes, bytes]
    began: int
    seen: Committed = field(default_factory=lambda: Committed(0, {}, [], {}))

    def now(self) -> dict[bytes, bytes]:
        """What it sees: its snapshot under its own writes."""
        return {k: v for k, v in (self.snapshot | self.seen.writes).items() if v is not None}

    def note_read(self, key: bytes) -> None:
        if key not in self.seen.writes:
            self.seen.reads[key] = self.snapshot.get(key)

    def get(self, key: bytes, stop: bytes, all_: Interleaving) -> None:
        assert self.txn.get(key) == self.now().get(key)
        self.note_read(key)

    def put(self, key: bytes, stop: bytes, all_: Interleaving) -> None:
        self.txn[key] = self.seen.writes[key] = b"%d" % next(all_.values)

    def delete(self, key: bytes, stop: bytes, all_: Interleaving) -> None:
        there = key in self.now()
        assert self.txn.delete(key) == there
        self.note_read(key)
        if there:
            self.seen.writes[key] = None

    def scan(self, key: bytes, stop: bytes, all_: Interleaving) -> None:
        expected = sorted((k, v) for k, v in self.now().items() if key <= k < stop)
        assert list(self.txn.scan(key, stop)) == expected
        if not self.seen.writes:
            self.seen.ranges.append((key, stop, tuple(expected)))

    def commit(self, key: bytes, stop: bytes, all_: Interleaving) -> None:
        try:
            self.seen.lsn = self.txn.commit(wait=False)
        except aurora.ConflictError:
            assert all_.commits > self.began, "a conflict with nobody"
            return
        if self.seen.writes:
            all_.state = check([self.seen], all_.state)
            all_.commits += 1

    def rollback(self, key: bytes, stop: bytes, all_: Interleaving) -> None:
        self.txn.rollback()


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
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[aurora.Database]:
    with aurora.open(tmp_path_factory.mktemp("interleaved")) as db:
        yield db


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_interleavings_are_serializable(
    shared: aurora.Database, steps: list[tuple[int, str, int, int]]
) -> None:
    """Transactions interleaved step by step; those that meet nobody always commit."""
    for key in KEYS:
        shared.delete(key)
    interleaving = Interleaving(shared)
    for step in steps:
        interleaving.step(*step)
    for running in interleaving.running.values():
        running.txn.rollback()
    with shared.begin() as txn:
        assert dict(txn.scan()) == interleaving.state
