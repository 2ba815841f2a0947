"""Bare programs that write and sync records and do nothing else: what the disk allows.

They take part where durable commits are measured, as a scale and not as engines.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

from aurora_engine.bench.counters import measured
from aurora_engine.bench.engines.base import Server
from aurora_engine.bench.sample import Sample

__all__ = ["Bare", "OneFile", "SixFiles", "SixFilesOneFlush"]

SOURCE = Path(__file__).with_name("bare.c")


class Bare(Server):
    """A program compiled on the spot, that takes turns with the engines."""

    mode: ClassVar[str]
    workloads = frozenset({"upserts"})

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._program = folder / "bare"
        subprocess.run([_compiler(), "-O2", "-pthread", "-o", self._program, SOURCE], check=True)

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which(_compiler()) else "no C compiler to build it with"

    @classmethod
    def version(cls) -> str:
        return "built from bare.c of this package"

    @classmethod
    def settings(cls, cache_bytes: int) -> dict[str, str]:
        return {"record": "132 bytes", "files": "written beforehand, O_DIRECT"}

    def commits(self, threads: int, seconds: float) -> Sample:
        """Durable commits a second of so many threads in closed loops."""
        with measured(self._folder) as usage:
            output = subprocess.run(
                [self._program, self.mode, self._folder, str(threads), str(seconds)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        told = json.loads(output)
        return Sample(told["rate"], {}, usage, {"operations": told["commits"]})

    def close(self) -> None:
        """It runs only while it is measured."""


class SixFiles(Bare):
    """Six files, each written and synced by itself; a commit waits for the fourth."""

    name = "bare-six"
    copies = 6
    mode = "six"


class SixFilesOneFlush(Bare):
    """Six files written at once, then one flush of the disk on which all of them lie."""

    name = "bare-six-one-flush"
    copies = 6
    mode = "flush"


class OneFile(Bare):
    """One file."""

    name = "bare-one"
    mode = "one"


def _compiler() -> str:
    return os.environ.get("CC", "cc")
