"""What must be in a volume whose writer was cut off, given what the writer had acknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.crash import test_kill, test_kill_sql
from tests.crash.power_writer import BATCH, UNWAITED, Scenario
from tests.crash.writer import steps
from tests.volumes import all_good, until

import aurora_engine as aurora


@dataclass(frozen=True)
class Acknowledged:
    """Every step that was acknowledged: time, kind of work, number; in the order of time."""

    lines: list[tuple[int, str, int]]

    @classmethod
    def read(cls, path: Path) -> Acknowledged:
        # The last line may be cut off.
        words = [line.split() for line in path.read_text().split("\n")[:-1]]
        return cls(sorted((int(at), name, int(number)) for name, number, at in words))

    def by(self, at: int) -> dict[str, int]:
        """The last step of each kind of work that had been acknowledged at a time."""
        return {name: number for time, name, number in self.lines if time <= at}


def check_volume(scenario: Scenario, folder: Path, done: dict[str, int]) -> None:
    """Everything acknowledged is there, nothing is there in part, and the volume can be used."""
    with scenario.open(folder) as db:
        if not all_good(db):
            db.repair()
            until(lambda: all_good(db), "all copies are good", 10)
        if "open" in done:
            test_kill.check(db, _workers(scenario, done))
            test_kill_sql.check(db, [done.get(f"sql/{n}", 0) for n in range(scenario.sql)])
            _check_batches(db, done.get("batches", 0))
            _check_stream(db, done.get("stream", 0))
        db.put(b"after", b"the cut")
        db.table("after").put(b"the", b"cut")
        assert db.verify().ok
    with scenario.open(folder) as db:
        assert (db[b"after"], db.table("after")[b"the"]) == (b"the cut", b"cut")


def _workers(scenario: Scenario, done: dict[str, int]) -> list[test_kill.Worker]:
    workers = [test_kill.Worker(steps(scenario.seed, n)) for n in range(scenario.keys)]
    for n, worker in enumerate(workers):
        for _ in range(done.get(f"keys/{n}", 0)):
            worker.advance()
    return workers


def _check_batches(db: aurora.Database, acknowledged: int) -> None:
    """One batch is there, as a whole: the last one that was acknowledged, or the next."""
    rows = list(db.table("batches").scan())
    found = {int(value) for _, value in rows} or {0}
    assert len(found) == 1, f"batches in part: {found}"
    assert found <= {acknowledged, acknowledged + 1}, f"batch {acknowledged} acknowledged, {found}"
    assert len(rows) == (0 if found == {0} else BATCH)


def _check_stream(db: aurora.Database, acknowledged: int) -> None:
    """The first commits are there without a gap, up to the one that was waited for at least."""
    rows = list(db.table("stream").scan())
    is_whole = rows == [(b"%08d" % n, b"x" * (n % 300)) for n in range(1, len(rows) + 1)]
    assert is_whole, f"a gap in {len(rows)} commits"
    assert acknowledged <= len(rows) <= acknowledged + UNWAITED, f"{acknowledged} acknowledged"
