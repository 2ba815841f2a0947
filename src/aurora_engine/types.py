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
    "CopyRetention",
    "CopyState",
    "Durability",
    "FixedWidthArray",
    "PairArrays",
    "Pairs",
    "ReadableBuffer",
    "RetentionReport",
    "Rewind",
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
class Rewind:
    """A backtrack: from one moment the database went on from another.

    Attributes
    ----------
    from_lsn : int
        The moment that was the present before.
    to_lsn : int
        The moment that it went back (or forward) to.
    lsn : int
        The first moment after it, which shows what `to_lsn` shows.
    lost_commits : int
        Commits that were there before and are not after. They stay in reach, at `undo_lsn`, as long
        as history is retained.
    time : datetime
        When it was made, in UTC.
    who : str
        Who asked: user, host and process.
    dry_run : bool
        True when it was only asked what it would be.
    """

    from_lsn: int
    to_lsn: int
    lsn: int
    lost_commits: int
    time: datetime
    who: str
    dry_run: bool = False

    @property
    def undo_lsn(self) -> int:
        """Where to backtrack to in order to undo it: the moment before."""
        return self.from_lsn


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
    live_bytes, history_bytes : int
        Parts of `layer_bytes`: what the present needs, and what only the past needs. The rest is
        not compacted yet.
    own_bytes : int
        What it would free if it were removed: its size without the files that it shares with
        clones.
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
    live_bytes: int = 0
    history_bytes: int = 0
    own_bytes: int = 0


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
    disk_bytes, own_bytes : int
        Bytes of logs and layers of all copies, and of those in files that no clone shares.
    backtrack_window, actual_backtrack_window : timedelta
        How far back the volume was asked to keep its history, and how far it really reaches.
    oldest_lsn : int
        The oldest moment that is retained; so is every later one.
    oldest_time : datetime
        The time of that moment, in UTC.
    history_bytes : int or None
        Limit on the history of each copy that was asked for.
    history_used_bytes, live_bytes : int
        What one copy of the volume keeps for the past, and what for the present.
    parent_id : str or None
        Identity of the volume that it was cloned from.
    parent_lsn : int or None
        The moment of that volume which it began with.
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
    own_bytes: int
    backtrack_window: timedelta
    actual_backtrack_window: timedelta
    oldest_lsn: int
    oldest_time: datetime
    history_bytes: int | None
    history_used_bytes: int
    live_bytes: int
    parent_id: str | None
    parent_lsn: int | None
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
class CopyRetention:
    """Why the bytes of one copy are kept.

    Attributes
    ----------
    zone, path : str
        Where it lies.
    group, copy : int
        Which one it is.
    live_bytes : int
        What the present needs.
    history_bytes : int
        What only the past needs: moments of the window, and open views before it.
    delta_bytes : int
        In layers that were not compacted yet: of the present, of the past, and what nobody needs.
    log_bytes : int
        The hot log: redo that is not in layers yet, or that lagging copies may ask for, and room
        for more.
    collected_lsn : int
        It has collected what only moments before this one needed.
    """

    zone: str
    path: str
    group: int
    copy: int
    live_bytes: int
    history_bytes: int
    delta_bytes: int
    log_bytes: int
    collected_lsn: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.live_bytes + self.history_bytes + self.delta_bytes + self.log_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """Why the bytes of a volume are kept.

    Attributes
    ----------
    oldest_lsn, oldest_time
        The oldest moment that is retained, and since when (in UTC) it was the present.
    newest_lsn : int
        The present.
    cause : {"creation", "window", "limit"}
        Why it is not an older one: nothing was collected yet, the window begins there, or
        `limit_bytes` cut the window short.
    backtrack_window, actual_backtrack_window : timedelta
        What was asked for, and what there is.
    limit_bytes : int
        How much history a copy of the volume may keep.
    pins : dict of int to datetime
        Moments before the oldest that open views and transactions keep, with their times in UTC.
    copies : list of CopyRetention
        Each copy that can be looked at.
    """

    oldest_lsn: int
    oldest_time: datetime
    newest_lsn: int
    cause: Literal["creation", "window", "limit"]
    backtrack_window: timedelta
    actual_backtrack_window: timedelta
    limit_bytes: int
    pins: dict[int, datetime]
    copies: list[CopyRetention]

    def total(self, reason: str) -> int:
        """Bytes of all copies for one reason: the name of a size of `CopyRetention`."""
        return sum(int(getattr(copy, reason)) for copy in self.copies)


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
