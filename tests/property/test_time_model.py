"""Time against a model that keeps every past state.

Random commits, backtracks (into abandoned futures too, back and forth), clones, views, restored
tables, compactions, changes of retention, and reopenings; every view at every LSN is compared.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.volumes import seeded

import aurora_engine as aurora

PAGE_BYTES = 4096
TABLES = (None, "one", "two")
State = dict[str | None, dict[bytes, bytes]]
WIDE = timedelta(hours=1)


def copied(state: State) -> State:
    return {name: dict(rows) for name, rows in state.items()}


@dataclass
class Moments:
    """Every state that was the present once, by the LSN from which on it was."""

    states: list[tuple[int, State]] = field(default_factory=list)
    times: list[tuple[datetime, int]] = field(default_factory=list)

    def add(self, lsn: int, state: State) -> None:
        self.states.append((lsn, copied(state)))
        self.times.append((datetime.now(UTC), lsn))

    def at(self, lsn: int) -> State:
        return self.states[bisect_right(self.states, lsn, key=lambda each: each[0]) - 1][1]

    def fork(self) -> Moments:
        return Moments(list(self.states), list(self.times))


def contents(view: aurora.Snapshot) -> State:
    return {None: dict(view.scan())} | {
        name: dict(view.table(name).scan()) for name in view.tables()
    }


class World:
    """A database and its model; `step` does one random thing to both."""

    def __init__(self, rng: random.Random, folder: Path, *, single: bool) -> None:
        self.rng = rng
        self.folder = folder
        self.path = folder / "0"
        self.names = (folder / str(number) for number in range(1, 1000))
        self.topology = aurora.Topology.single() if single else None
        self.db = aurora.open(
            self.path,
            topology=self.topology,
            page_bytes=PAGE_BYTES,
            cache_bytes=1 << 20,
            backtrack_window=WIDE,
        )
        self.state: State = {None: {}}
        self.moments = Moments()
        self.moments.add(self.db.durable_lsn, self.state)
        self.views: list[tuple[aurora.Snapshot, State]] = []
        self.made: list[aurora.Rewind] = []
        self.number = 0

    # ---- what changes ----

    def commit(self) -> None:
        with self.db.begin() as txn:
            state = copied(self.state)
            for _ in range(self.rng.randrange(1, 6)):
                self.write(txn, state)
            lsn = txn.commit()
        if state != self.state:
            self.state = state
            self.moments.add(lsn, state)

    def write(self, txn: aurora.Transaction, state: State) -> None:
        name = self.rng.choice(TABLES)
        if name is not None and self.rng.random() < 0.06 and name in state:
            txn.drop_table(name)
            del state[name]
            return
        rows = state.setdefault(name, {})
        place = txn if name is None else txn.table(name)
        for _ in range(self.rng.choice((1, 1, 1, 40))):
            key = b"%04d" % self.rng.randrange(300)
            if self.rng.random() < 0.25:
                place.delete(key)
                rows.pop(key, None)
            else:
                self.number += 1
                size = self.rng.choice((0, 10, 100, 100, 1500, 20_000))
                rows[key] = b"%d " % self.number + self.rng.randbytes(size)
                place.put(key, rows[key])

    def is_retained(self, lsn: int) -> bool:
        """Within the window, or shown by a view that is open."""
        return lsn >= self.db.status().oldest_lsn or lsn in {view.lsn for view, _ in self.views}

    def backtrack(self) -> None:
        if self.made and self.rng.random() < 0.4:
            to = self.rng.choice(self.made).undo_lsn
        else:
            to = self.rng.choice(self.moments.states)[0]
        if not self.is_retained(to):
            with pytest.raises(aurora.SnapshotTooOldError):
                self.db.backtrack(to)
            return
        running = self.db.begin()
        running[b"late"] = b"write"
        before = self.db.durable_lsn
        planned = self.db.backtrack(to, dry_run=True)
        assert self.db.durable_lsn == before
        point = self.db.backtrack(to)
        assert (planned.to_lsn, planned.lost_commits) == (point.to_lsn, point.lost_commits)
        with pytest.raises(aurora.ConflictError):
            running.commit()
        assert self.db.durable_lsn == point.lsn > point.undo_lsn >= before
        self.made.append(point)
        assert self.db.history() == self.made
        self.state = copied(self.moments.at(to))
        self.moments.add(point.lsn, self.state)

    def restore_table(self) -> None:
        lsn, then = self.rng.choice(self.moments.states)
        name = self.rng.choice(TABLES[1:])
        if lsn < self.db.status().oldest_lsn:
            return
        if name not in then:
            with pytest.raises(KeyError):
                self.db.restore_table(name, at=lsn)
            return
        had = self.state.get(name)
        changed = self.db.restore_table(name, at=lsn)
        assert (changed == 0) == (had is not None and had == then[name]) or not then[name]
        self.state[name] = dict(then[name])
        self.moments.add(self.db.durable_lsn, self.state)

    def move_into_a_clone(self) -> None:
        """Goes on in a clone of some moment; the parent may be removed."""
        lsn, then = self.rng.choice(self.moments.states)
        now = self.rng.random() < 0.5
        if lsn < self.db.status().oldest_lsn:
            return
        path = next(self.names)
        clone = self.db.clone(path) if now else self.db.clone(path, at=lsn)
        with closing(self.db):
            assert self.current() == self.state
            self.close_views()
        self.db, self.path = clone, path
        assert clone.status().parent_lsn is not None
        if not now:
            self.state = copied(then)
            # What the parent was at goes on to be reachable: the clone begins with a backtrack.
            self.moments.add(clone.durable_lsn, self.state)
        self.made = clone.history()

    def change_retention(self) -> None:
        """Gives up what is older than a moment ago, and is wide open again at once."""
        window = self.rng.choice((timedelta(0), timedelta(seconds=0.05), timedelta(seconds=0.5)))
        self.db.set_backtrack_window(window)
        assert self.db.status().backtrack_window == window
        self.db.set_backtrack_window(WIDE)

    def compact(self) -> None:
        self.db.compact()

    def reopen(self) -> None:
        self.close_views()
        self.db.close()
        self.db = aurora.open(self.path, cache_bytes=1 << 20)
        assert self.db.history() == self.made

    # ---- what is compared ----

    def current(self) -> State:
        with self.db.snapshot() as view:
            return contents(view)

    def look_at_now(self) -> None:
        assert self.current() == self.state

    def look_back(self) -> None:
        first = self.moments.states[0][0]
        lsn = self.rng.choice(
            (
                self.rng.choice(self.moments.states)[0],
                self.rng.randrange(first, self.db.durable_lsn + 1),
            )
        )
        try:
            view = self.db.at(lsn)
        except aurora.SnapshotTooOldError:
            assert lsn < self.db.status().oldest_lsn
            return
        expected = self.moments.at(lsn)
        assert contents(view) == expected, lsn
        if self.rng.random() < 0.2 and len(self.views) < 5:
            self.views.append((view, expected))
        else:
            view.close()

    def look_back_by_time(self) -> None:
        time, _ = self.rng.choice(self.moments.times)
        expected = self.moments.states[
            bisect_right(self.moments.times, time, key=lambda t: t[0]) - 1
        ][1]
        at = self.rng.choice((time, time.astimezone(), time.astimezone().replace(tzinfo=None)))
        try:
            with self.db.at(at) as view:
                assert contents(view) == expected, at
                assert view.time <= time
        except aurora.SnapshotTooOldError:
            assert time < self.db.status().oldest_time

    def look_again(self) -> None:
        for view, expected in self.views:
            assert contents(view) == expected
        if self.rng.random() < 0.3:
            self.close_views()

    def close_views(self) -> None:
        for view, _ in self.views:
            view.close()
        self.views.clear()

    def verify(self) -> None:
        report = self.db.verify()
        assert report.ok, report
        assert report.records == sum(map(len, self.state.values()))

    def steps(self) -> Iterator[None]:
        schedule = {
            self.commit: 30,
            self.backtrack: 8,
            self.restore_table: 2,
            self.move_into_a_clone: 1,
            self.change_retention: 1,
            self.compact: 2,
            self.reopen: 2,
            self.look_at_now: 5,
            self.look_back: 12,
            self.look_back_by_time: 5,
            self.look_again: 3,
            self.verify: 1,
        }
        while True:
            yield self.rng.choices(list(schedule), list(schedule.values()))[0]()

    def look_everywhere(self) -> None:
        """Every moment that is retained, each of them."""
        oldest = self.db.status().oldest_lsn
        for lsn, expected in self.moments.states:
            if lsn >= oldest:
                with self.db.at(lsn) as view:
                    assert contents(view) == expected, lsn


@pytest.mark.parametrize("single", [False, True], ids=["six copies", "one copy"])
@pytest.mark.parametrize("run", range(4))
def test_every_moment_is_what_it_was(tmp_path: Path, run: int, single: bool) -> None:
    world = World(seeded(f"time {run} {single}"), tmp_path, single=single)
    try:
        for _, _ in zip(range(160), world.steps(), strict=False):
            pass
        world.look_everywhere()
    finally:
        world.close_views()
        world.db.close()
