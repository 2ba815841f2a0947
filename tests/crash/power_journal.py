"""What a disk with a volatile write cache was asked to do, and what a power cut may leave of it.

A disk keeps what it has completed in a cache that a power cut empties. Only a flush moves it to the
medium, and only what was complete when the flush arrived: a write that was under way then may be
lost although the flush succeeds. `volatile_disk.py` writes the journal while the disk is in use;
`PowerCut` makes images from it afterwards. Times are CLOCK_MONOTONIC in nanoseconds, which all
processes of a machine share, so they compare with the times that a writer notes.
"""

from __future__ import annotations

import os
import random
import struct
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

SECTOR = 512
WRITE, FLUSH = 1, 2
STALL_EVERY_NS = 25_000_000
STALL_NS = 4_000_000
# kind, offset, number of bytes that follow, arrival, completion
RECORD = struct.Struct("<QQQQQ")


@dataclass(frozen=True)
class Write:
    """Bytes for the disk; ``source`` is where they stand in the journal."""

    offset: int
    length: int
    arrived: int
    completed: int
    source: int


@dataclass(frozen=True)
class Flush:
    arrived: int
    completed: int


class Journal:
    """The writes in the order in which they arrived, and the flushes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writes: list[Write] = []
        self.flushes: list[Flush] = []
        with path.open("rb") as stream:
            while len(header := stream.read(RECORD.size)) == RECORD.size:
                kind, offset, length, arrived, completed = RECORD.unpack(header)
                if kind == FLUSH:
                    self.flushes.append(Flush(arrived, completed))
                else:
                    self.writes.append(Write(offset, length, arrived, completed, stream.tell()))
                    stream.seek(length, os.SEEK_CUR)
        self.writes.sort(key=lambda write: write.arrived)
        self.flushes.sort(key=lambda flush: flush.completed)
        self._flushed = [flush.completed for flush in self.flushes]
        self._covered = list(accumulate((flush.arrived for flush in self.flushes), max))
        self._completed = sorted(write.completed for write in self.writes)

    def durable_before(self, at: int) -> int:
        """What was complete before this moment had reached the medium at time ``at``."""
        flushed = bisect_right(self._flushed, at)
        return self._covered[flushed - 1] if flushed else 0

    def at_risk(self, at: int) -> int:
        """The number of writes that a cut at a time may undo although they were complete."""
        return bisect_right(self._completed, at) - bisect_left(
            self._completed, self.durable_before(at)
        )


@dataclass(frozen=True)
class PowerCut:
    """One power cut; ``seed`` decides the fate of what was in the cache.

    Each write of it survives with the probability ``survival``, some in part. ``flush_delay`` makes
    every flush take that much longer than its answer, as on a disk that lies.
    """

    at: int
    survival: float
    seed: str
    flush_delay: int = 0

    def apply(self, journal: Journal, image: Path) -> None:
        """Turns an image of the disk at the start of the journal into what the cut leaves."""
        rng = random.Random(self.seed)
        durable_before = journal.durable_before(self.at - self.flush_delay)
        with journal.path.open("rb", buffering=0) as source, image.open("r+b", buffering=0) as disk:
            for write in journal.writes:
                if write.arrived > self.at:
                    break
                content = os.pread(source.fileno(), write.length, write.source)
                durable = write.completed < durable_before
                for start, end in (
                    [(0, write.length)] if durable else fate(write, rng, self.survival)
                ):
                    os.pwrite(disk.fileno(), content[start:end], write.offset + start)


def fate(write: Write, rng: random.Random, survival: float) -> list[tuple[int, int]]:
    """The ranges of a write that a cut leaves of it: all, nothing, a beginning, or some sectors."""
    kind = rng.random()
    if kind < 0.8:
        return [(0, write.length)] if rng.random() < survival else []
    if survival == 0.0:
        return []
    sectors = range(0, write.length, SECTOR)
    if kind < 0.9:
        return [(0, rng.choice(sectors))]
    return [(at, at + SECTOR) for at in sectors if rng.random() < survival]
