"""aurora_engine: an embeddable storage engine where the log is the database.

A writer sends only redo to six copies in three zones, and a commit is done when four have it on
disk.

Examples
--------
>>> import aurora_engine as aurora
>>> with aurora.open(path) as db:
...     db[b"key"] = b"value"
...     list(db.scan(prefix=b"k"))
[(b'key', b'value')]
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aurora_engine.database import Database, open  # noqa: A004
from aurora_engine.errors import (
    AuroraError,
    ConflictError,
    CorruptionError,
    DatabaseClosedError,
    DatabaseLockedError,
    FencedError,
    QuorumLostError,
    ReadOnlyError,
    SnapshotTooOldError,
    StorageIOError,
    VersionError,
    VolumeFullError,
)
from aurora_engine.options import Topology
from aurora_engine.table import Table
from aurora_engine.transaction import Transaction, TransactionTable
from aurora_engine.types import (
    CopyRetention,
    RetentionReport,
    Rewind,
    SegmentStatus,
    VerifyReport,
    VolumeStatus,
)
from aurora_engine.view import Snapshot, SnapshotTable

__all__ = [
    "AuroraError",
    "ConflictError",
    "CopyRetention",
    "CorruptionError",
    "Database",
    "DatabaseClosedError",
    "DatabaseLockedError",
    "FencedError",
    "QuorumLostError",
    "ReadOnlyError",
    "RetentionReport",
    "Rewind",
    "SegmentStatus",
    "Snapshot",
    "SnapshotTable",
    "SnapshotTooOldError",
    "StorageIOError",
    "Table",
    "Topology",
    "Transaction",
    "TransactionTable",
    "VerifyReport",
    "VersionError",
    "VolumeFullError",
    "VolumeStatus",
    "__version__",
    "connect",
    "open",
]

__version__: str

logging.getLogger(__name__).addHandler(logging.NullHandler())


if TYPE_CHECKING:
    from aurora_engine.sql import connect
else:
    # A type checker would take any name for one of the package's.
    def __getattr__(name: str) -> object:
        # SQL comes with a module of its own, which who wants keys and values need not load.
        if name == "connect":
            from aurora_engine.sql import connect

            return connect
        # The version is written once, in the package's metadata; looking it up is too slow for an
        # import.
        if name == "__version__":
            from importlib.metadata import version

            return version("aurora-engine")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
