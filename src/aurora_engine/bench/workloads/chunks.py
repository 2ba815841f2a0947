"""Volumes of a size: values that do not compress, a MiB a transaction."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import aurora_engine as aurora
from aurora_engine.bench import data

__all__ = ["key_of_chunk", "volume_of"]

CHUNK_BYTES = 4096
MIB = 1 << 20


def key_of_chunk(mib: int, part: int) -> bytes:
    """The key of a chunk of a volume made by `volume_of`."""
    return b"%08d %04d" % (mib, part)


def volume_of(folder: Path, mib: int, topology: aurora.Topology) -> aurora.Database:
    """A database whose copies have so many MiB of values that do not compress."""
    db = aurora.open(folder, topology=topology)
    source = np.random.default_rng(data.SEED)
    for number in range(mib):
        db.put_many(
            [
                (key_of_chunk(number, part), source.bytes(CHUNK_BYTES))
                for part in range(MIB // CHUNK_BYTES)
            ]
        )
    db.compact()
    return db
