"""Copies that are away at some openings and back at others, with what they knew when they left."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from tests.volumes import COPIES, Contents, assert_holds, seeded, segment_folder

import aurora_engine as aurora

ROUNDS = 20


def move_folders(volume: Path, aside: Path, rng: random.Random) -> int:
    """Takes some folders away and brings others back; how many there are, at least three."""
    for copy in range(COPIES):
        kept, place = aside / str(copy), segment_folder(volume, copy)
        if kept.exists() and rng.random() < 0.5:
            if place.exists():
                # It was rebuilt meanwhile; what comes back is the old one, or nothing.
                shutil.rmtree(kept)
            else:
                kept.rename(place)
    present = [copy for copy in range(COPIES) if segment_folder(volume, copy).exists()]
    leaving = rng.sample(present, rng.randrange(max(len(present) - 2, 1)))
    for copy in leaving:
        shutil.rmtree(aside / str(copy), ignore_errors=True)
        segment_folder(volume, copy).rename(aside / str(copy))
    return len(present) - len(leaving)


def write(db: aurora.Database, contents: Contents, rng: random.Random) -> None:
    for _ in range(rng.randrange(20)):
        key = b"%03d" % rng.randrange(100)
        if rng.random() < 0.2:
            assert db.delete(key) == (contents.main.pop(key, None) is not None)
        else:
            contents.main[key] = rng.randbytes(rng.choice((0, 10, 300, 9000)))
            db.put(key, contents.main[key])


@pytest.mark.parametrize("history", range(6))
def test_copies_come_and_go_between_openings(tmp_path: Path, history: int) -> None:
    """Whichever copies are there, three are enough to read everything, and four to write."""
    rng = seeded(f"come and go {history}")
    volume, aside = tmp_path / "volume", tmp_path / "aside"
    aside.mkdir()
    contents = Contents()
    with aurora.open(volume) as db:
        db.table("side table")
        write(db, contents, rng)
    for _ in range(ROUNDS):
        present = move_folders(volume, aside, rng)
        with aurora.open(volume) as db:
            assert_holds(db, contents)
            if present > COPIES // 2:
                write(db, contents, rng)
            else:
                with pytest.raises(aurora.QuorumLostError):
                    db.put(b"key", b"value")
            if rng.random() < 0.2:
                db.compact()
            if rng.random() < 0.2:
                db.repair()
                write(db, contents, rng)
            assert_holds(db, contents)
