"""What the outside tests share: making a volume with known contents, hurting it, and looking at it.

Random tests take their seed from ``AURORA_SEED`` and print it, so that a failure can be run again.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aurora_engine as aurora

ROOT = Path(__file__).resolve().parents[1]
COPIES = 6
TABLE = "side table"


def seeded(what: object) -> random.Random:
    """Random numbers for one test; different in every run unless ``AURORA_SEED`` is given."""
    seed = os.environ.get("AURORA_SEED") or str(random.SystemRandom().randrange(1 << 32))
    print(f"AURORA_SEED={seed} ({what})")
    return random.Random(f"{seed}/{what}")


@dataclass
class Contents:
    """What a database is known to hold, outside of tables and in one table.

    ``doubtful`` are puts whose quorum was lost while they were under way: there as a whole, or not.
    """

    main: dict[bytes, bytes] = field(default_factory=dict)
    table: dict[bytes, bytes] = field(default_factory=dict)
    doubtful: dict[bytes, bytes] = field(default_factory=dict)

    def copy(self) -> Contents:
        return Contents(dict(self.main), dict(self.table), dict(self.doubtful))


def fill(db: aurora.Database, rng: random.Random) -> Contents:
    """Fills a new database so that its copies have layers, a hot log, and overflow pages."""
    contents = Contents()
    table = db.table(TABLE)
    for part in range(2):
        pairs = {
            b"%05d" % rng.randrange(4000): rng.randbytes(rng.randrange(60)) for _ in range(400)
        }
        pairs[b"big %d" % part] = rng.randbytes(90_000)
        contents.main |= pairs
        db.put_many(pairs)
        rows = {rng.randbytes(rng.randrange(1, 20)): b"row" for _ in range(50)}
        contents.table |= rows
        table.put_many(rows)
        for key in rng.sample(sorted(contents.main), 20):
            del contents.main[key], db[key]
        if part == 0:
            db.compact()
    return contents


def assert_holds(db: aurora.Database, contents: Contents) -> None:
    """Everything is readable, by scan, by key and by count, and nothing else is there."""
    there = {key: value for key, value in contents.doubtful.items() if key in db}
    for source, expected in ((db, contents.main | there), (db.table(TABLE), contents.table)):
        assert list(source.scan()) == sorted(expected.items())
        assert source.get_many(list(expected)) == list(expected.values())
        assert len(source) == len(expected)


def assert_writable(db: aurora.Database, contents: Contents, mark: bytes) -> None:
    """A put, a delete and a transaction are acknowledged; ``contents`` follows."""
    db.put(b"put " + mark, mark * 50)
    contents.main[b"put " + mark] = mark * 50
    victim = min(contents.main)
    assert db.delete(victim)
    del contents.main[victim]
    with db.begin() as txn:
        txn[b"txn " + mark] = mark
        txn.table(TABLE)[b"txn " + mark] = mark
    contents.main[b"txn " + mark] = contents.table[b"txn " + mark] = mark


def until(condition: Callable[[], bool], what: str, seconds: float = 3.0) -> None:
    """Waits for what the database does in the background."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def compact_all(db: aurora.Database) -> None:
    """Compacts until every copy has all of its log in layers: each hears of VDL a little later."""

    def compacted() -> bool:
        db.compact()
        return all(segment.unflushed_bytes == 0 for segment in db.status().segments)

    until(compacted, "every copy has its log in layers", 10)


def all_good(db: aurora.Database) -> bool:
    """Whether every copy is there, whole, and has caught up."""
    return all(segment.state == "ok" for segment in db.status().segments)


def segment_folder(root: Path, copy: int, group: int = 0) -> Path:
    """Folder of one copy in the default topology (docs/format/volume.md)."""
    return root / "abc"[copy // 2] / f"group-{group:05d}-copy-{copy}"


def files_of(folder: Path) -> list[Path]:
    """The files of one copy, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def remove(folder: Path, rng: random.Random) -> None:
    """Removes the folder, of which an open database may be changing files meanwhile."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def empty(folder: Path, rng: random.Random) -> None:
    while files := files_of(folder):
        for file in files:
            file.unlink(missing_ok=True)


def truncate(folder: Path, rng: random.Random) -> None:
    for file in files_of(folder):
        with suppress(FileNotFoundError):
            os.truncate(file, rng.randrange(max(file.stat().st_size, 1)))


def flip(folder: Path, rng: random.Random) -> None:
    """Flips bytes all over every file, one of them surely near its start."""
    for file in files_of(folder):
        with suppress(FileNotFoundError):
            flip_bytes(file, rng, count=20)


def flip_bytes(file: Path, rng: random.Random, count: int) -> None:
    size = file.stat().st_size
    with file.open("r+b") as stream:
        for offset in [rng.randrange(min(size, 64)), *(rng.randrange(size) for _ in range(count))]:
            stream.seek(offset)
            old = stream.read(1)[0]
            stream.seek(offset)
            stream.write(bytes([old ^ rng.randrange(1, 256)]))


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "removed": remove,
    "emptied": empty,
    "truncated": truncate,
    "flipped": flip,
}


def named_damage(db: aurora.Database) -> set[str]:
    """Folders of the copies that status() or verify() say something bad about."""
    status = db.status()
    named = {s.path for s in status.segments if s.state != "ok" or s.damaged}
    for error in db.verify().errors:
        named |= {s.path for s in status.segments if (s.group, s.copy) == (error.group, error.copy)}
        named |= {s.path for s in status.segments if s.path in f"{error} {error.file}"}
    return named
