"""A disk with a volatile write cache: a plugin for nbdkit that journals writes and flushes.

``nbdkit python volatile_disk.py image=FILE journal=FILE``, with this repository in PYTHONPATH. It
offers flushes and no FUA, as a virtio disk does. The image always shows the newest contents; what a
power cut leaves of them is computed from the journal (`power_journal.py`). While a file with the
journal's name and ``.broken`` is there, flushes fail.

Now and then all disks stall together for some milliseconds, and answer what came meanwhile at the
end. So a flush that does not wait for the answers to writes overtakes those of all copies now and
then, which real disks let happen only rarely.
"""

from __future__ import annotations

import errno
import os
import threading
import time

import nbdkit
from tests.crash.power_journal import FLUSH, RECORD, STALL_EVERY_NS, STALL_NS, WRITE

API_VERSION = 2

given: dict[str, str] = {}
lock = threading.Lock()


def thread_model() -> int:
    return nbdkit.THREAD_MODEL_PARALLEL


def config(key: str, value: str) -> None:
    given[key] = value


class Disk:
    def __init__(self) -> None:
        self.image = os.open(given["image"], os.O_RDWR)
        self.journal = os.open(given["journal"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def open(readonly: bool) -> Disk:  # noqa: A001 - nbdkit calls it by this name
    return Disk()


def get_size(disk: Disk) -> int:
    return os.fstat(disk.image).st_size


def can_flush(disk: Disk) -> bool:
    return True


def can_multi_conn(disk: Disk) -> bool:
    return True


def can_fua(disk: Disk) -> int:
    return nbdkit.FUA_NONE


def pread(disk: Disk, buffer: bytearray, offset: int, flags: int) -> None:
    buffer[:] = os.pread(disk.image, len(buffer), offset)


def pwrite(disk: Disk, buffer: memoryview, offset: int, flags: int) -> None:
    content = bytes(buffer)
    with lock:
        arrived = time.monotonic_ns()
        os.pwrite(disk.image, content, offset)
    since_stall = arrived % STALL_EVERY_NS
    if since_stall < STALL_NS:
        time.sleep((STALL_NS - since_stall) / 1e9)
    record(disk, WRITE, offset, content, arrived)


def flush(disk: Disk, flags: int) -> None:
    if os.path.exists(given["journal"] + ".broken"):  # noqa: PTH110 - nbdkit has no pathlib yet
        nbdkit.set_error(errno.EIO)
        raise OSError(errno.EIO, "flushes fail")
    record(disk, FLUSH, 0, b"", time.monotonic_ns())


def record(disk: Disk, kind: int, offset: int, content: bytes, arrived: int) -> None:
    with lock:
        header = RECORD.pack(kind, offset, len(content), arrived, time.monotonic_ns())
        os.writev(disk.journal, [header, content])
