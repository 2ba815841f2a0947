"""The errors of aurora_engine: one class for each error status of the C core.

The statuses are listed in csrc/include/aurora/errors.h.
Every error is an `AuroraError`; misuse is `ValueError`, `TypeError` or `KeyError`, and want of
memory is `MemoryError`. An error says what was tried and on what, and carries the place where it
happened as attributes.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AuroraError",
    "ConflictError",
    "CorruptionError",
    "DatabaseClosedError",
    "DatabaseLockedError",
    "FencedError",
    "QuorumLostError",
    "ReadOnlyError",
    "SnapshotTooOldError",
    "StorageIOError",
    "VersionError",
    "VolumeFullError",
]


class AuroraError(Exception):
    """Base of all errors of the engine.

    Attributes
    ----------
    status_name : str
        Name of the C status that the class stands for; empty for the base.
    retryable : bool
        True when the same work may succeed if it is simply run again.
    in_doubt : bool
        True when what was tried may have taken effect all the same, as with a commit whose quorum
        was lost while it was on its way. Read the data back before doing it again.
    group, copy : int or None
        Protection group and copy of the segment concerned, where known.
    file : str or None
        File concerned.
    offset : int or None
        Byte offset in `file`.
    lsn : int or None
        Log sequence number concerned.
    """

    status_name: ClassVar[str] = ""
    retryable: bool = False
    in_doubt: bool = False
    group: int | None = None
    copy: int | None = None
    file: str | None = None
    offset: int | None = None
    lsn: int | None = None


class CorruptionError(AuroraError):
    """Stored bytes failed their checksum or break their format, and no other copy could serve."""

    status_name = "AUR_ERR_CORRUPT"


class VersionError(AuroraError):
    """The files were written in a format that this release does not know."""

    status_name = "AUR_ERR_VERSION"


class StorageIOError(AuroraError, OSError):
    """The operating system refused an input or output; `errno` tells why."""

    status_name = "AUR_ERR_IO"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        if isinstance(self.filename, str):
            self.file = self.filename


class VolumeFullError(AuroraError):
    """No space is left on the disks that a write quorum needs, or a volume is at its largest."""

    status_name = "AUR_ERR_FULL"


class ReadOnlyError(AuroraError):
    """A write was tried through a read-only transaction or view."""

    status_name = "AUR_ERR_READ_ONLY"


class QuorumLostError(AuroraError):
    """Too few copies can be reached for what was asked."""

    status_name = "AUR_ERR_QUORUM"


class FencedError(AuroraError):
    """Another writer has the volume, or may have it; this handle can never write again."""

    status_name = "AUR_ERR_FENCED"


class ConflictError(AuroraError):
    """A concurrent transaction changed what this one read; `Database.transact` runs it again."""

    status_name = "AUR_ERR_CONFLICT"
    retryable = True


class SnapshotTooOldError(AuroraError):
    """The moment asked for is no longer retained."""

    status_name = "AUR_ERR_SNAPSHOT"


class DatabaseLockedError(AuroraError):
    """Another process holds the database for writing."""

    status_name = "AUR_ERR_LOCKED"


class DatabaseClosedError(AuroraError, ValueError):
    """The handle is closed, or belongs to the parent of a forked process.

    Also a `ValueError`, as with files of the standard library.
    """

    status_name = "AUR_ERR_CLOSED"
