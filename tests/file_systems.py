"""Real file systems for tests: ext4 in files, made, mounted and shut down. Only root can do it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING = struct.pack("I", 2)


class CommandFailedError(Exception):
    """A command of the system is missing, or failed."""


def cannot_run(reason: object) -> NoReturn:
    """Skips the test for want of something, or fails it if ``AURORA_MUST_RUN`` is set."""
    if os.environ.get("AURORA_MUST_RUN"):
        pytest.fail(f"{reason}, and AURORA_MUST_RUN is set")
    pytest.skip(str(reason))


def run(*command: str | Path) -> str:
    """What a command prints, which must succeed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CommandFailedError(f"{command[0]} is not installed") from None
    if done.returncode:
        raise CommandFailedError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def make_ext4(image: Path, image_bytes: int) -> None:
    """A new file system, complete: nothing is left for the kernel to do in the background."""
    with image.open("wb") as stream:
        stream.truncate(image_bytes)
    run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", image)


def mount(source: Path, folder: Path, *options: str) -> None:
    folder.mkdir(exist_ok=True)
    run("mount", *(("-o", ",".join(options)) if options else ()), source, folder)


def unmount(folder: Path) -> None:
    """Unmounts, even if something in there is still open."""
    if subprocess.run(["umount", folder], capture_output=True, check=False).returncode:
        subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def mounted(source: Path, folder: Path, *options: str) -> Iterator[Path]:
    mount(source, folder, *options)
    try:
        yield folder
    finally:
        unmount(folder)


def shut_down(folder: Path) -> None:
    """Cuts a mounted ext4 off from its disk: all I/O fails, and its journal is never sent."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, WITHOUT_FLUSHING)
    finally:
        os.close(descriptor)
