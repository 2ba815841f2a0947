"""What calls report: frozen records, and the types of what they accept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, SupportsIndex, TypeAlias, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from aurora_engine.errors import AuroraError

__all__ = [
    "At",
    "CopyState",
    "Durability",
    "FixedWidthArray",
    "PairArrays",
    "Pairs",
    "ReadableBuffer",
    "SegmentStatus",
    "VerifyReport",
    "VolumeStatus",
]

_ItemT_co = TypeVar("_ItemT_co", covariant=True)


class FixedWidthArray(Protocol):
    """An array of fixed-width items with the buffer protocol, such as a numpy array."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...
    @property
    def itemsize(self) -> int:
        """Bytes of one item."""


class SupportsItems(Protocol):
    """A mapping of keys to values."""

    def items(self) -> Any:
        """Its pairs."""


class SupportsIter(Protocol[_ItemT_co]):
    """Anything that can be iterated."""

    def __iter__(self) -> Iterator[_ItemT_co]: ...


ReadableBuffer: TypeAlias = "Buffer | FixedWidthArray"
"""Keys and values: bytes, or any other C-contiguous buffer."""

PairArrays: TypeAlias = "tuple[FixedWidthArray, FixedWidthArray]"
"""Two arrays of equal length and fixed-width items: keys and values."""

Pairs: TypeAlias = (
    "SupportsIter[tuple[ReadableBuffer, ReadableBuffer]] | SupportsItems | PairArrays"
)
"""What `put_many` takes: an iterable of (key, value), a mapping, or two arrays."""

At: TypeAlias = SupportsIndex | datetime | timedelta
"""How a moment is named: an LSN, a time (local time if it has no zone), or how long ago."""

CopyState: TypeAlias = Literal["ok", "lagging", "failed", "rebuilding"]
"""State of one copy of a protection group."""

Durability: TypeAlias = Literal["quorum", "async"]
"""When a write returns: with four of six copies on disk, or at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentStatus:
    """One copy of one protection group.

    Attributes
    ----------
    zone : str
        Name of the zone that holds it.
    path : str
        Its folder.
    state : {"ok", "lagging", "failed", "rebuilding"}
        ``"ok"`` keeps up; ``"lagging"`` is catching up from its peers; ``"failed"`` takes no
        writes; ``"rebuilding"`` is being copied anew.
    scl : int
        Segment complete LSN: every record of its group up to here is there.
    group, copy : int
        Which protection group, and which of its copies.
    damaged : bool
        True when something on its disk failed a checksum; reads are served by its peers meanwhile.
    error : AuroraError or None
        Why it failed, or the first damage that was found.
    epoch : int
        Highest volume epoch that it has promised to.
    log_bytes, layer_bytes : int
        Its size on disk.
    unflushed_bytes : int
        Log that is not in layers yet.
    """

    zone: str
    path: str
    state: CopyState
    scl: int
    group: int = 0
    copy: int = 0
    damaged: bool = False
    error: AuroraError | None = None
    epoch: int = 0
    log_bytes: int = 0
    layer_bytes: int = 0
    unflushed_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeStatus:
    """Where a volume stands.

    Attributes
    ----------
    path : str
        Its directory.
    volume_id : str
        Its identity, in hexadecimal.
    segments : list of SegmentStatus
        Every copy of every protection group.
    writable : bool
        Whether a commit could complete now.
    write_error : AuroraError or None
        Why not.
    epoch : int
        Volume epoch of this writer; grows with every recovery.
    vdl : int
        Volume durable LSN: everything up to here is durable and readable.
    vcl, head : int
        Volume complete LSN, and the newest commit, durable or not.
    protection_groups : int
        How many there are.
    page_bytes, protection_group_bytes : int
        Sizes that were fixed when the volume was created.
    data_bytes : int
        Bytes of pages in use, once (not times the copies).
    disk_bytes : int
        Bytes of logs and layers of all copies.
    backtrack_window, actual_backtrack_window : timedelta
        How far back the volume was asked to keep its history, and how far it really reaches.
    history_bytes : int or None
        Limit on the history that was asked for.
    durable_time : datetime or None
        When the newest durable commit was shipped, in UTC; None before the first.
    cache_bytes, cache_used_bytes : int
        Budget of the page cache, and what is in it.
    cache_hits, cache_misses, cache_evictions : int
        Since the database was opened.
    commits, conflicts, records, log_bytes : int
        Since the database was opened.
    snapshots : int
        Open transactions and views.
    """

    path: str
    volume_id: str
    segments: list[SegmentStatus]
    writable: bool
    write_error: AuroraError | None = None
    epoch: int
    vdl: int
    vcl: int
    head: int
    protection_groups: int
    page_bytes: int
    protection_group_bytes: int
    data_bytes: int
    disk_bytes: int
    backtrack_window: timedelta
    actual_backtrack_window: timedelta
    history_bytes: int | None
    durable_time: datetime | None
    cache_bytes: int
    cache_used_bytes: int
    cache_hits: int
    cache_misses: int
    cache_evictions: int
    commits: int
    conflicts: int
    records: int
    log_bytes: int
    snapshots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `Database.verify` read and what it found.

    Attributes
    ----------
    errors : list of AuroraError
        Every damage found, each with its place; empty when all is well.
    tables, pages, records : int
        What the trees hold at the durable point.
    leaked_pages : int
        Pages marked as used that no tree reaches.
    segments_checked : int
        Copies that were read.
    files_checked, bytes_checked, frames_checked : int
        What was read of them.
    """

    errors: list[AuroraError] = field(default_factory=list)
    tables: int = 0
    pages: int = 0
    records: int = 0
    leaked_pages: int = 0
    segments_checked: int = 0
    files_checked: int = 0
    bytes_checked: int = 0
    frames_checked: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.errors and self.leaked_pages == 0
