"""A writer at work on disks with volatile caches, recorded, and what power cuts leave of its work.

A recording is a folder: ``base``, the file system with which every disk began; ``journal-N``, what
disk N was asked to do; ``acknowledged``, what the writer said; ``scenario``, what it was told.
`Recording.check` prints how to look at one cut again, by the main program of this module.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.crash.power_check import Acknowledged, check_volume
from tests.crash.power_journal import Journal, PowerCut
from tests.crash.power_writer import Scenario
from tests.file_systems import CommandFailedError, make_ext4, mounted, run
from tests.volumes import ROOT, until

IMAGE_BYTES = 512 << 20
CONNECTIONS = 32
PLUGIN = ROOT / "tests" / "crash" / "volatile_disk.py"


class Recording:
    """A writer's run, and its disks as they may be after a power cut at any moment of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scenario = Scenario.parse((folder / "scenario").read_text())
        self.journals = [Journal(folder / f"journal-{n}") for n in range(self.scenario.disks)]
        self.acknowledged = Acknowledged.read(folder / "acknowledged")

    def at_risk(self, at: int) -> int:
        """The number of complete writes that a cut at a time may undo."""
        return sum(journal.at_risk(at) for journal in self.journals)

    def check(self, cut: PowerCut, lost: Collection[int] = ()) -> None:
        """Raises an AssertionError if a cut costs an acknowledged commit or anything else.

        ``lost`` are copies that are gone after the cut as well.
        """
        given = (self.folder, cut.at, cut.survival, cut.seed, *lost)
        print("python -m tests.crash.power_recording", *given)
        images = [self.folder / f"cut-{n}" for n in range(self.scenario.disks)]
        with ExitStack() as mounts:
            for number, (image, journal) in enumerate(zip(images, self.journals, strict=True)):
                run("cp", "--sparse=always", self.folder / "base", image)
                cut.apply(journal, image)
                place = self.scenario.disk(self.folder, number)
                mounts.enter_context(mounted(image, place, "loop"))
            for copy in lost:
                segments = list(self.folder.glob(f"disk-*/*/volume-*/group-*-copy-{copy}"))
                assert segments, f"there is no copy {copy}"
                for segment in segments:
                    shutil.rmtree(segment)
            check_volume(self.scenario, self.folder, self.acknowledged.by(cut.at))
        for image in images:
            # No cut may cost the file system: else the model does what no disk would.
            run("e2fsck", "-f", "-n", image)
            image.unlink()


@contextmanager
def volatile_disk(image: Path, journal: Path, folder: Path) -> Iterator[Path]:
    """A block device over ``image`` that forgets what was not flushed; it works in ``folder``."""
    folder.mkdir()
    disk = folder / "disk"
    plugin = ["python", str(PLUGIN), f"image={image}", f"journal={journal}"]
    # A connection takes no request while it waits for an answer, so one would keep order.
    serve = f'exec nbdfuse -C {CONNECTIONS} "$DISK" --unix "$unixsocket"'
    try:
        process = subprocess.Popen(
            ["nbdkit", "--foreground", "--threads=1", "-U", "-", *plugin, "--run", serve],
            env={**os.environ, "PYTHONPATH": str(ROOT), "DISK": str(disk)},
        )
    except FileNotFoundError:
        raise CommandFailedError("nbdkit is not installed") from None
    try:
        until(lambda: disk.exists() or process.poll() is not None, "the disk is there", 10)
        if process.poll() is not None:
            raise CommandFailedError(f"nbdkit and nbdfuse ended with status {process.returncode}")
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


@contextmanager
def writing(scenario: Scenario, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A writer that has opened its volume; at the end it is dead, by SIGKILL."""
    said = folder / "acknowledged"
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


def record(
    scenario: Scenario, folder: Path, seconds: float, without_flushes: Collection[int] = ()
) -> Recording:
    """Lets a writer run on new disks, to some of which the kernel sends no flush while it works."""
    folder.mkdir()
    (folder / "scenario").write_text(scenario.dump())
    base = folder / "base"
    make_ext4(base, IMAGE_BYTES)
    images = [folder / f"image-{n}" for n in range(scenario.disks)]
    with ExitStack() as mounts:
        for number, image in enumerate(images):
            run("cp", "--sparse=always", base, image)
            disk = volatile_disk(image, folder / f"journal-{number}", folder / f"fuse-{number}")
            device = mounts.enter_context(disk)
            place = mounts.enter_context(mounted(device, scenario.disk(folder, number)))
            run("sync", "--file-system", place)
        with writing(scenario, folder) as process:
            for number in without_flushes:
                run("mount", "-o", "remount,barrier=0", scenario.disk(folder, number))
            time.sleep(seconds)
            assert process.poll() is None, process.communicate()[1]
    for image in images:
        image.unlink()
    return Recording(folder)


def main() -> None:
    """Looks at one cut again."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("at", type=int)
    parser.add_argument("survival", type=float)
    parser.add_argument("seed")
    parser.add_argument("lost", type=int, nargs="*")
    given = parser.parse_args()
    Recording(given.folder).check(PowerCut(given.at, given.survival, given.seed), given.lost)


if __name__ == "__main__":
    main()
