"""A database against dicts: puts, deletes, scans, transactions, snapshots, reopening."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

import aurora_engine as aurora

PAGE_BYTES = 4096


class Filled(bytes):
    """One byte many times, shown as such when an example fails."""

    def __repr__(self) -> str:
        return f"{bytes(self[:1])!r} * {len(self)}"


# Few different keys, so that operations meet; some as long as a key may be.
KEYS = st.one_of(
    st.sampled_from([b"", b"\0", b"\xff"]),
    st.sampled_from([(b"\xff", 1024), (b"a", 1023), (b"a", 1024)]).map(
        lambda t: Filled(t[0] * t[1])
    ),
    st.integers(0, 40).map(lambda i: b"key %03d" % i),
    st.binary(max_size=6),
)
VALUES = st.one_of(
    st.binary(max_size=30),
    st.tuples(st.sampled_from([200, 1500, 5000, 70_000]), st.integers(0, 255)).map(
        lambda t: Filled(bytes([t[1]]) * t[0])
    ),
)
TABLES = st.sampled_from([None, "one", "two"])
BOUNDS = st.one_of(st.none(), KEYS, KEYS.map(lambda key: key + b"\0"))

State = dict[str | None, dict[bytes, bytes]]


def copied(state: State) -> State:
    return {name: dict(rows) for name, rows in state.items()}


def expected_scan(rows: dict[bytes, bytes], options: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    start, stop, prefix = options["start"], options["stop"], options["prefix"]
    found = [
        (key, value)
        for key, value in sorted(rows.items(), reverse=options["reverse"])
        if (start is None or key >= start)
        and (stop is None or key < stop)
        and (prefix is None or key.startswith(prefix))
    ]
    return found[: options["limit"]]


SCANS = st.fixed_dictionaries(
    {
        "start": BOUNDS,
        "stop": BOUNDS,
        "prefix": st.one_of(st.none(), st.none(), KEYS),
        "reverse": st.booleans(),
        "limit": st.one_of(st.none(), st.integers(0, 5)),
    }
)


class DatabaseMachine(RuleBasedStateMachine):
    transactions = Bundle("transactions")
    snapshots = Bundle("snapshots")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="aurora-model-"))
        self.state: State = {None: {}}
        self.open_count = 0

    @initialize(single=st.booleans(), durability=st.sampled_from(["quorum", "async"]))
    def open_first(self, single: bool, durability: Any) -> None:
        self.options: dict[str, Any] = {
            "topology": aurora.Topology.single() if single else None,
            "durability": durability,
            "page_bytes": PAGE_BYTES,
            "cache_bytes": 1 << 20,
        }
        self.db = aurora.open(self.folder / "db", **self.options)

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def place(self, name: str | None) -> aurora.Database | aurora.Table:
        if name is None:
            return self.db
        self.state.setdefault(name, {})
        return self.db.table(name)

    def let_everything_get_durable(self) -> None:
        """Views and verify() look at what is durable, which lags with durability="async"."""
        self.db.wait_durable(self.db.status().head)

    # ---- one-shot ----

    @rule(name=TABLES, key=KEYS, value=VALUES)
    def put(self, name: str | None, key: bytes, value: bytes) -> None:
        self.place(name).put(key, value)
        self.state[name][key] = value

    @rule(name=TABLES, pairs=st.dictionaries(KEYS, VALUES, max_size=20))
    def put_many(self, name: str | None, pairs: dict[bytes, bytes]) -> None:
        self.place(name).put_many(pairs)
        self.state[name].update(pairs)

    @rule(name=TABLES, key=KEYS)
    def delete(self, name: str | None, key: bytes) -> None:
        assert self.place(name).delete(key) == (self.state[name].pop(key, None) is not None)

    @rule(name=TABLES, key=KEYS)
    def get(self, name: str | None, key: bytes) -> None:
        place = self.place(name)
        assert place.get(key) == self.state[name].get(key)
        assert (key in place) == (key in self.state[name])

    @rule(name=TABLES, options=SCANS)
    def scan(self, name: str | None, options: dict[str, Any]) -> None:
        assert list(self.place(name).scan(**options)) == expected_scan(self.state[name], options)

    @rule(name=TABLES, keys=st.lists(KEYS, max_size=10))
    def get_many(self, name: str | None, keys: list[bytes]) -> None:
        assert self.place(name).get_many(keys) == [self.state[name].get(key) for key in keys]

    @rule(name=st.sampled_from(["one", "two"]))
    def drop_table(self, name: str) -> None:
        if name in self.state:
            self.db.drop_table(name)
            del self.state[name]
        assert name not in self.db.tables()

    # ---- snapshots ----

    @rule(target=snapshots)
    def take_snapshot(self) -> Any:
        self.let_everything_get_durable()
        return self.db.snapshot(), copied(self.state), self.open_count

    @rule(snapshot=snapshots, options=SCANS)
    def read_snapshot(self, snapshot: Any, options: dict[str, Any]) -> None:
        view, state, opened = snapshot
        if opened != self.open_count:
            return
        assert view.tables() == sorted(name for name in state if name is not None)
        for name, rows in state.items():
            assert list(
                (view if name is None else view.table(name)).scan(**options)
            ) == expected_scan(rows, options)

    @rule(snapshot=consumes(snapshots))
    def close_snapshot(self, snapshot: Any) -> None:
        snapshot[0].close()

    # ---- transactions ----

    @rule(target=transactions)
    def begin(self) -> Any:
        return {
            "txn": self.db.begin(),
            "state": copied(self.state),
            "base": copied(self.state),
            "head": self.db.status().head,
            "opened": self.open_count,
            "wrote": False,
            "doomed": False,
        }

    def live(self, entry: Any) -> bool:
        return entry["opened"] == self.open_count and entry["txn"].is_open

    def txn_place(self, entry: Any, name: str | None) -> Any:
        if name is None:
            return entry["txn"]
        if name not in entry["state"]:
            entry["state"][name] = {}
            entry["wrote"] = True
        return entry["txn"].table(name)

    @rule(entry=transactions, name=TABLES, key=KEYS, value=VALUES)
    def txn_put(self, entry: Any, name: str | None, key: bytes, value: bytes) -> None:
        if self.live(entry):
            self.txn_place(entry, name).put(key, value)
            entry["state"][name][key] = value
            entry["wrote"] = True

    @rule(entry=transactions, name=TABLES, key=KEYS)
    def txn_delete(self, entry: Any, name: str | None, key: bytes) -> None:
        if self.live(entry):
            was_there = self.txn_place(entry, name).delete(key)
            assert was_there == (entry["state"][name].pop(key, None) is not None)
            entry["wrote"] = True

    @rule(entry=transactions, name=TABLES, key=KEYS, options=SCANS)
    def txn_read(self, entry: Any, name: str | None, key: bytes, options: dict[str, Any]) -> None:
        if self.live(entry):
            place = self.txn_place(entry, name)
            assert place.get(key) == entry["state"][name].get(key)
            assert list(place.scan(**options)) == expected_scan(entry["state"][name], options)
            assert len(place) == len(entry["state"][name])

    @rule(entry=consumes(transactions), commit=st.booleans())
    def end(self, entry: Any, commit: bool) -> None:
        if not self.live(entry):
            return
        if not commit:
            entry["txn"].rollback()
            return
        try:
            entry["txn"].commit()
        except aurora.ConflictError:
            # Allowed only if somebody else changed something since it began, be it back and forth.
            assert self.db.status().head != entry["head"], "a conflict without a concurrent commit"
            note("conflict")
        else:
            if entry["wrote"]:
                self.apply(entry)

    def apply(self, entry: Any) -> None:
        """The transaction's changes on top of what others committed meanwhile."""
        for name in entry["state"].keys() | entry["base"].keys():
            mine, base = entry["state"].get(name, {}), entry["base"].get(name, {})
            rows = self.state.setdefault(name, {})
            for key in mine.keys() | base.keys():
                if mine.get(key) != base.get(key):
                    if key in mine:
                        rows[key] = mine[key]
                    else:
                        rows.pop(key, None)

    # ---- the volume ----

    @rule()
    def reopen(self) -> None:
        self.db.close()
        self.open_count += 1
        self.db = aurora.open(self.folder / "db", **self.options)

    @rule()
    def compact(self) -> None:
        self.db.compact()

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "db"):
            assert len(self.db) == len(self.state[None])

    @precondition(lambda self: hasattr(self, "db"))
    @rule()
    def verify(self) -> None:
        self.let_everything_get_durable()
        report = self.db.verify()
        assert report.ok, report
        assert report.records == sum(map(len, self.state.values()))


TestDatabaseModel = DatabaseMachine.TestCase
TestDatabaseModel.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
