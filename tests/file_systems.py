"""Real file systems for tests: ext4 in a file, made, mounted, and shut down. Only root can do it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING = struct.pack("I", 2)


class CannotHereError(Exception):
    """This machine or this user cannot do what a test needs."""


def run(*command: str | Path) -> str:
    """What a command of the system prints; `CannotHereError` if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CannotHereError(f"{command[0]} is not installed") from None
    if done.returncode:
        raise CannotHereError(f"cannot {command[0]} here: {done.stderr.strip()}")
    return done.stdout.strip()


def make_ext4(image: Path, image_bytes: int) -> None:
    """A new file system whose tables are complete, so that nothing is written behind our back."""
    with image.open("wb") as stream:
        stream.truncate(image_bytes)
    run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", image)


def mount(source: Path, folder: Path, *options: str) -> None:
    folder.mkdir(exist_ok=True)
    run("mount", *(("-o", ",".join(options)) if options else ()), source, folder)


def unmount(folder: Path) -> None:
    """Unmounts; what still uses the file system is cut off from it."""
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
    """Cuts a mounted ext4 off from its disk: what it has not written is lost, all I/O fails."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, WITHOUT_FLUSHING)
    finally:
        os.close(descriptor)
