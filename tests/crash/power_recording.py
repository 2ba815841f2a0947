"""A writer at work on a disk with a volatile cache, recorded, and what power cuts leave of its work.

A recording is a folder: ``base``, the empty file system; ``journal``, what the disk was asked to do;
``acknowledged``, what the writer said; ``scenario``, what it was told. `Recording.check` prints how to
look at one cut again: ``python -m tests.crash.power_recording FOLDER AT SURVIVAL SEED``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.crash.power_check import Acknowledged, check_volume
from tests.crash.power_journal import Journal, PowerCut
from tests.crash.power_writer import Scenario
from tests.file_systems import CommandFailedError, make_ext4, mounted, run
from tests.volumes import ROOT, until

IMAGE_BYTES = 512 << 20
PLUGIN = ROOT / "tests" / "crash" / "volatile_disk.py"


class Recording:
    """A writer's run, and images of its disk at any moment of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scenario = Scenario.parse((folder / "scenario").read_text())
        self.journal = Journal(folder / "journal")
        self.acknowledged = Acknowledged.read(folder / "acknowledged")

    def check(self, cut: PowerCut) -> None:
        """Raises an AssertionError if the cut costs an acknowledged commit or anything else."""
        again = f"{self.folder} {cut.at} {cut.survival} {cut.seed}"
        print(f"python -m tests.crash.power_recording {again}")
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            image = Path(folder) / "image"
            run("cp", "--sparse=always", self.folder / "base", image)
            cut.apply(self.journal, image)
            with mounted(image, Path(folder) / "mount", "loop") as mount:
                check_volume(self.scenario, mount, self.acknowledged.by(cut.at))
            # No cut may cost the file system: else the model does what no disk would.
            run("e2fsck", "-f", "-n", image)


@contextlib.contextmanager
def volatile_disk(image: Path, journal: Path, folder: Path) -> Iterator[Path]:
    """A block device over ``image`` that forgets what was not flushed; ``folder`` is for its use."""
    folder.mkdir()
    disk = folder / "disk"
    plugin = ["nbdkit", "-s", "python", str(PLUGIN), f"image={image}", f"journal={journal}"]
    try:
        process = subprocess.Popen(
            ["nbdfuse", disk, "--command", *plugin], env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    except FileNotFoundError:
        raise CommandFailedError("nbdfuse is not installed") from None
    try:
        until(lambda: disk.exists() or process.poll() is not None, "the disk is there", 10)
        if process.poll() is not None:
            raise CommandFailedError(f"nbdfuse ended with status {process.returncode}")
        # Direct, so that the writes that a flush is to cover are not in the page cache above it.
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


@contextlib.contextmanager
def writing(scenario: Scenario, folder: Path, said: Path) -> Iterator[subprocess.Popen[str]]:
    """A writer that has opened its volume in ``folder``; at the end it is dead, by SIGKILL."""
    said.write_text(f"start 0 {time.monotonic_ns()}\n")
    with said.open("a") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.power_writer", scenario.dump(), str(folder)],
            cwd=ROOT,
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        until(lambda: "open" in said.read_text() or process.poll() is not None, "it is open", 30)
        yield process
    finally:
        process.kill()
        process.communicate()


def record(scenario: Scenario, folder: Path, seconds: float, *, flushes: bool = True) -> Recording:
    """Lets a writer run on a new disk; without ``flushes`` its file system sends none any more."""
    folder.mkdir()
    (folder / "scenario").write_text(scenario.dump())
    base, image = folder / "base", folder / "image"
    make_ext4(base, IMAGE_BYTES)
    run("cp", "--sparse=always", base, image)
    with (
        volatile_disk(image, folder / "journal", folder / "fuse") as device,
        mounted(device, folder / "mount") as mount,
    ):
        os.sync()
        with writing(scenario, mount, folder / "acknowledged") as process:
            if not flushes:
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
