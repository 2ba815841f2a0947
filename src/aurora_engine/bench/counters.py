"""What the machine did while something was measured: flushes, bytes, processor time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "device_of", "measured"]

SECTOR_BYTES = 512
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of a line of /proc/diskstats: writes completed, sectors written, flushes completed.
_WRITES, _SECTORS_WRITTEN, _FLUSHES = 7, 9, 18


@dataclass(slots=True)
class Usage:
    """Differences over a measurement.

    Attributes
    ----------
    cpu_s : float
        Processor time of the engine: this process, and those that work for it.
    foreign_cpu_s : float
        Processor time of everything else on the machine.
    written_bytes : int
        Bytes that these processes made the kernel write, as /proc/PID/io counts them.
    device_writes, device_bytes, device_flushes : int
        What the disk as a whole did, as /proc/diskstats counts it; -1 where it is not counted, as
        on a file system without a device of its own.
    """

    cpu_s: float = 0.0
    foreign_cpu_s: float = 0.0
    written_bytes: int = 0
    device_writes: int = -1
    device_bytes: int = -1
    device_flushes: int = -1


def device_of(folder: Path) -> str | None:
    """Name of the block device that a folder lies on; None if it has none of its own."""
    number = folder.stat().st_dev
    for line in _diskstats():
        if (int(line[0]), int(line[1])) == (os.major(number), os.minor(number)):
            return line[2]
    return None


def _diskstats() -> list[list[str]]:
    return [line.split() for line in Path("/proc/diskstats").read_text().splitlines()]


@dataclass(frozen=True, slots=True)
class _Reading:
    own_cpu_s: float
    busy_cpu_s: float
    written_bytes: int
    device: tuple[int, int, int] | None


def _read(device: str | None, processes: Iterable[int]) -> _Reading:
    own, written = 0.0, 0
    everyone: list[int | str] = ["self", *processes]
    for process in everyone:
        try:
            own += _cpu_s(process)
            written += _written_bytes(process)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended meanwhile
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _waiting, irq, soft_irq, *_ = fields
    return _Reading(
        own, (user + nice + system + irq + soft_irq) / _TICKS_PER_S, written, _device(device)
    )


def _cpu_s(process: int | str) -> float:
    """User and system time of a process and of its children that have ended."""
    if process == "self":
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system
    stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(int(each) for each in stat[11:15]) / _TICKS_PER_S


def _written_bytes(process: int | str) -> int:
    for line in Path(f"/proc/{process}/io").read_text().splitlines():
        name, _, count = line.partition(":")
        if name == "write_bytes":
            return int(count)
    return 0


def _device(name: str | None) -> tuple[int, int, int] | None:
    for line in _diskstats() if name else ():
        if line[2] == name:
            flushes = int(line[_FLUSHES]) if len(line) > _FLUSHES else -1
            return int(line[_WRITES]), int(line[_SECTORS_WRITTEN]) * SECTOR_BYTES, flushes
    return None


@contextmanager
def measured(folder: Path, processes: Iterable[int] = ()) -> Iterator[Usage]:
    """Yields what is filled at the end of the with block."""
    usage = Usage()
    device, ids = device_of(folder), list(processes)
    before = _read(device, ids)
    yield usage
    after = _read(device, ids)
    usage.cpu_s = after.own_cpu_s - before.own_cpu_s
    usage.foreign_cpu_s = max(0.0, after.busy_cpu_s - before.busy_cpu_s - usage.cpu_s)
    usage.written_bytes = after.written_bytes - before.written_bytes
    if before.device and after.device:
        writes, written, flushes = (
            new - old for new, old in zip(after.device, before.device, strict=True)
        )
        usage.device_writes, usage.device_bytes = writes, written
        usage.device_flushes = flushes if after.device[2] >= 0 else -1
