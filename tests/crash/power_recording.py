"""A writer at work on a disk with a volatile cache, recorded, and what power cuts leave of its work.

A recording is a folder: ``base``, the empty file system; ``journal``, what the disk was asked to do;
``acknowledged``, what the writer said; ``scenario``, what it did. A failure prints how to look at
one cut again: ``python -m tests.crash.power_recording FOLDER AT SURVIVAL SEED``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aurora_engine as aurora
from tests.crash import test_kill, test_kill_sql
from tests.crash.power_journal import Journal, PowerCut
from tests.crash.power_writer import BATCH, UNWAITED, Scenario
from tests.crash.writer import steps
from tests.file_systems import CannotHereError, make_ext4, mounted, run
from tests.volumes import ROOT, until

IMAGE_BYTES = 512 << 20
PLUGIN = ROOT / "tests" / "crash" / "volatile_disk.py"


@contextlib.contextmanager
def volatile_disk(image: Path, journal: Path, folder: Path) -> Iterator[Path]:
    """A loop device over a disk that forgets what was not flushed."""
    folder.mkdir()
    disk = folder / "disk"
    server = ["nbdkit", "-s", "python", str(PLUGIN), f"image={image}", f"journal={journal}"]
    try:
        process = subprocess.Popen(
            ["nbdfuse", disk, "--command", *server], env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    except FileNotFoundError:
        raise CannotHereError("nbdfuse is not installed") from None
    try:
        until(lambda: disk.exists() or process.poll() is not None, "the disk is there", 10)
        if process.poll() is not None:
            raise CannotHereError(f"nbdfuse ended with status {process.returncode}")
        # Direct: else the flush of a caller would meet writes that still are in the page cache.
        device = run("losetup", "--direct-io=on", "--find", "--show", disk)
        try:
            yield Path(device)
        finally:
            run("losetup", "--detach", device)
    finally:
        # A loop device lets go of its file a little after it was told to.
        until(lambda: process.poll() is not None or _unmounted(folder), "the disk is free", 10)
        process.wait(timeout=10)


def _unmounted(folder: Path) -> bool:
    done = subprocess.run(["fusermount3", "-u", folder], capture_output=True, check=False)
    return done.returncode == 0


@dataclass(frozen=True)
class Acknowledged:
    """By time, what had been done of each kind of work."""

    lines: list[tuple[int, str, int]]

    @classmethod
    def read(cls, path: Path) -> Acknowledged:
        # The last line may be cut off.
        words = [line.split() for line in path.read_text().split("\n")[:-1]]
        return cls(sorted((int(at), name, int(number)) for name, number, at in words))

    def by(self, at: int) -> dict[str, int]:
        return {name: number for time, name, number in self.lines if time <= at}


class Recording:
    """A writer's run, and images of its disk at any moment of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scenario = Scenario.parse((folder / "scenario").read_text())
        self.journal = Journal(folder / "journal")
        self.acknowledged = Acknowledged.read(folder / "acknowledged")

    def check(self, cut: PowerCut) -> None:
        """Raises an AssertionError if the cut costs an acknowledged commit, or anything else."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            image = Path(folder) / "image"
            run("cp", "--sparse=always", self.folder / "base", image)
            cut.apply(self.journal, image)
            with mounted(image, Path(folder) / "mount", "loop") as mount:
                check_volume(self.scenario, mount, self.acknowledged.by(cut.at))
            # What the model of the disk does must be possible, and so never cost a file system.
            run("e2fsck", "-f", "-n", image)


def check_volume(scenario: Scenario, folder: Path, done: dict[str, int]) -> None:
    """Everything acknowledged is there, nothing is there in part, and the volume can be used."""
    with scenario.open(folder) as db:
        if "open" in done:
            workers = [test_kill.Worker(steps(scenario.seed, n)) for n in range(scenario.keys)]
            for n, worker in enumerate(workers):
                for _ in range(done.get(f"keys/{n}", 0)):
                    worker.advance()
            test_kill.check(db, workers)
            test_kill_sql.check(db, [done.get(f"sql/{n}", 0) for n in range(scenario.sql)])
            check_batches(db, done.get("batches", 0))
            check_stream(db, done.get("stream", 0))
        db.put(b"after", b"the cut")
        db.table("after").put(b"the", b"cut")
        assert db.verify().ok
    with scenario.open(folder) as db:
        assert (db[b"after"], db.table("after")[b"the"]) == (b"the cut", b"cut")


def check_batches(db: aurora.Database, acknowledged: int) -> None:
    rows = list(db.table("batches").scan())
    found = {int(value) for _, value in rows} or {0}
    assert len(found) == 1, f"batches in part: {found}"
    assert found <= {acknowledged, acknowledged + 1}, f"{acknowledged} acknowledged, found {found}"
    assert len(rows) == (BATCH if found != {0} else 0)


def check_stream(db: aurora.Database, acknowledged: int) -> None:
    """A beginning of the commits is there, to the one that was waited for at least."""
    rows = list(db.table("stream").scan())
    assert rows == [(b"%08d" % n, b"x" * (n % 300)) for n in range(1, len(rows) + 1)]
    assert acknowledged <= len(rows), f"{acknowledged} acknowledged, found {len(rows)}"
    assert len(rows) <= acknowledged + UNWAITED


@contextlib.contextmanager
def writing(scenario: Scenario, folder: Path, said: Path) -> Iterator[subprocess.Popen[str]]:
    """A writer that has opened its volume in ``folder``; dead, by SIGKILL, at the end."""
    command = [sys.executable, "-m", "tests.crash.power_writer", scenario.dump(), str(folder)]
    with said.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=stream, stderr=subprocess.PIPE, text=True
        )
    try:
        until(lambda: "open" in said.read_text() or process.poll() is not None, "it is open", 30)
        yield process
    finally:
        process.kill()
        process.communicate()


def record(scenario: Scenario, folder: Path, seconds: float, *, flushes: bool = True) -> Recording:
    """Lets a writer run on a new disk; without ``flushes`` the file system sends none from then on."""
    folder.mkdir()
    base, image = folder / "base", folder / "image"
    (folder / "scenario").write_text(scenario.dump())
    make_ext4(base, IMAGE_BYTES)
    run("cp", "--sparse=always", base, image)
    with (
        volatile_disk(image, folder / "journal", folder / "fuse") as device,
        mounted(device, folder / "mount") as mount,
    ):
        os.sync()
        with writing(scenario, mount, folder / "acknowledged") as process:
            if not flushes:
                os.sync()
                run("mount", "-o", "remount,barrier=0", mount)
            time.sleep(seconds)
            assert process.poll() is None, process.communicate()[1]
    image.unlink()
    return Recording(folder)


def main() -> None:
    """Looks at one cut again."""
    folder, at, survival, seed = sys.argv[1:]
    Recording(Path(folder)).check(PowerCut(int(at), float(survival), seed))


if __name__ == "__main__":
    main()
