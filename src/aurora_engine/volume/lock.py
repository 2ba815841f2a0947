"""One writer process at a time: an advisory lock that names its holder.

Fencing by epoch stands behind it all the same.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
import time
import weakref
from pathlib import Path

from aurora_engine.errors import DatabaseLockedError, StorageIOError


class WriterLock:
    """The exclusive lock of a volume's directory, held until `release` or the process ends."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = -1
        self._folders: dict[Path, int] = {}
        try:
            self._take()
            while not self._is_in_place():
                # Who held it has removed the file meanwhile: others would lock another one.
                self._close()
                self._take()
            self._sign()
        except BaseException:
            self._close()
            raise
        _held.add(self)

    def __del__(self) -> None:
        # Made when Ctrl-C came, and known to nobody: it would keep others out.
        self._close()

    def _take(self) -> None:
        try:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageIOError(
                error.errno, f"cannot open the lock file ({error.strerror})", str(self._file)
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise DatabaseLockedError(
                    f"{self._file.parent} is open in {self._holder()}; close it there first"
                ) from None
            raise StorageIOError(
                error.errno, f"cannot lock ({error.strerror})", str(self._file)
            ) from error

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._file.stat())
        except OSError:
            return False

    def _sign(self) -> None:
        note = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "program": sys.argv[0] if sys.argv else "",
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(note).encode(), 0)
        except OSError:
            # The lock is held all the same; on a full disk only the holder's name is missing.
            return

    def _holder(self) -> str:
        try:
            note = json.loads(os.pread(self._descriptor, 4096, 0))
            return (
                f"process {note['pid']} on {note['host']} ({note['program']}) since {note['since']}"
            )
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    @property
    def descriptor(self) -> int:
        """Of the file that is locked. Once the file has no name, others may lock another one."""
        return self._descriptor

    def include(self, folder: Path) -> bool:
        """Locks a folder as well, until the end of the lock; false if another lock includes it.

        One that is lost, or whose file system cannot lock folders, is passed over.
        """
        self._folders[folder] = -1
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return True
        self._folders[folder] = descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
        return True

    def let_go(self, folder: Path) -> None:
        """Gives an included folder up, whose disk may have to be exchanged, until `take_again`."""
        descriptor = self._folders.get(folder, -1)
        if descriptor >= 0:
            self._folders[folder] = -1
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def take_again(self, folder: Path) -> None:
        """Includes a folder again that was let go, or lost."""
        if self._folders.get(folder) == -1:
            self.include(folder)

    def remove(self) -> None:
        """Removes the file while the lock is held, which is then given up."""
        self._file.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Gives the lock up. Idempotent."""
        if self._descriptor >= 0:
            # A child that was forked meanwhile may have them too: unlock, not just close.
            for folder in self._folders:
                self.let_go(folder)
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.forget()

    def forget(self) -> None:
        """Closes the descriptors; the lock stays with whoever else has it."""
        _held.discard(self)
        self._close()

    def _close(self) -> None:
        for descriptor in self._folders.values():
            if descriptor >= 0:
                os.close(descriptor)
        self._folders.clear()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()
"""The locks of this process, so that a forked child can let go of them: else it would hold them on
when its parent is killed."""


def _forget_after_fork() -> None:
    for lock in list(_held):
        lock.forget()


os.register_at_fork(after_in_child=_forget_after_fork)
