"""Filling an empty engine."""

from __future__ import annotations

import shutil
from pathlib import Path

from aurora_engine.bench import data
from aurora_engine.bench.drive import timed_work
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads.base import Bench, Case, Workload

__all__ = ["Loading"]


class Loading(Workload):
    """Bulk loads of records in random and in sorted order."""

    name = "loading"
    title = "Bulk load"
    about = (
        "A new, empty engine takes all records in the fastest way that its interface has, 10,000 "
        "at a time; the clock stops when all of them are durable. Making the records is not "
        "timed. With six copies all six are written."
    )
    warm = False
    heavy = True

    def cases(self, sizes: Sizes) -> list[Case]:
        return [
            Case("random order", "records/s", {"sort": False}),
            Case("sorted", "records/s", {"sort": True}),
        ]

    def take(self, bench: Bench, case: Case) -> Sample:
        keys = data.keys(0, bench.sizes.loaded)
        if case.parameters["sort"]:
            keys.sort()
        batches = list(data.batches(keys))
        folder = bench.folder / "loading"
        engine = bench.key_value_type(folder, cache_bytes=bench.sizes.cache_bytes)
        try:

            def load() -> int:
                engine.load(batches)
                return len(keys)

            sample = timed_work(folder, engine, load)
            assert engine.count() == len(keys), "not every record is there"
        finally:
            engine.close()
        sample.details["bytes on disk"] = bytes_of(folder)
        shutil.rmtree(folder)
        return sample


def bytes_of(folder: Path) -> int:
    """Bytes that the files of a folder take on the disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
