"""Plain records and signals that cross between the Cython modules and the coordinator.

Imports nothing of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from aurora_engine.errors import AuroraError


class NeedsGroups(Exception):
    """A commit needs more protection groups; nothing was changed and it may be tried again."""

    def __init__(self, groups: int) -> None:
        super().__init__(f"the volume must grow to {groups} protection groups first")
        self.groups = groups


class NoTable(KeyError):
    """The table of a handle is not there, as a call or a transaction sees it."""


class LogGap(Exception):
    """A frame does not link to the last record of a segment, or is no longer in its log."""


class SegmentIdentity(NamedTuple):
    """Which copy of which protection group of which volume a segment is."""

    volume_id: bytes
    group: int
    copy: int
    page_bytes: int
    copies: int
    group_pages: int


class SegmentState(NamedTuple):
    """What a segment knows of itself. LSNs are inclusive; sizes in bytes."""

    identity: SegmentIdentity
    epoch: int
    scl: int
    vdl: int
    health: str
    """``"ok"``, ``"damaged"`` (readable in part) or ``"failed"`` (takes no more frames)."""
    damage: AuroraError | None = None
    flushed_lsn: int = 0
    log_start: int = 0
    horizon: int = 0
    """Versions that only moments below it saw were collected."""
    base_progress: int = 0
    """How far compacting has come; comparable among copies of a group."""
    layers: int = 0
    deltas: int = 0
    """Layers that are not compacted yet."""
    log_bytes: int = 0
    layer_bytes: int = 0
    """``live_bytes`` (newest versions of pages) and ``history_bytes`` (older ones, and deltas)."""
    live_bytes: int = 0
    history_bytes: int = 0
    delta_bytes: int = 0
    """The part of ``history_bytes`` that is not compacted yet."""
    garbage_bytes: int = 0
    """The part that the horizon has passed, by an estimate: it is going to be collected."""
    memory_bytes: int = 0
    unflushed_bytes: int = 0


class RewindRecord(NamedTuple):
    """After LSN ``at``, history goes on from ``to``; kind 1 is a truncation, 2 a backtrack."""

    at: int
    to: int
    epoch: int
    time_us: int
    kind: int
    lost_commits: int = 0
    """Commits that a read at ``at`` saw and a read after it does not."""
    who: str = ""
    """Who asked for it: at most 48 bytes of UTF-8 are kept."""


class CommitMark(NamedTuple):
    """A commit: its LSN, and when it happened, in microseconds since 1970."""

    lsn: int
    time_us: int


class FrameInfo(NamedTuple):
    """Header of a frame (docs/format/frame.md)."""

    prev_lsn: int
    first_lsn: int
    last_lsn: int
    volume_first: int
    volume_last: int
    last_cpl: int
    vdl: int
    time_us: int
    epoch: int
    group: int
    groups: int


class VerifyCounts(NamedTuple):
    """What a segment's verification read."""

    files: int
    bytes: int
    frames: int
    records: int
    damaged: int


class FaultCounts(NamedTuple):
    """What a faulty disk has done so far."""

    reads: int
    writes: int
    syncs: int
    faults: int


class CopyStatus(NamedTuple):
    """One copy as the quorum sees it."""

    state: str
    """``"ok"``, ``"lagging"``, ``"failed"`` or ``"rebuilding"``."""
    scl: int
    queued_bytes: int
    error: AuroraError | None


class EngineStatus(NamedTuple):
    """Watermarks and counters of a running engine."""

    epoch: int
    vdl: int
    vcl: int
    head: int
    next_lsn: int
    durable_time_us: int
    groups: int
    write_status: str
    """What a write gets now, after the C status: ``"ok"``, ``"quorum"``, ``"fenced"``, ..."""
    write_error: AuroraError | None
    """The same as an exception; None when writes are served."""
    snapshots: int
    cache_budget_bytes: int
    cache_used_bytes: int
    cache_hits: int
    cache_misses: int
    cache_evictions: int
    commits: int
    conflicts: int
    records: int
    boxcars: int
    log_bytes: int
    pages_used: int
    pages_extent: int


class EngineVerified(NamedTuple):
    """What a walk of all trees found."""

    tables: int
    pages: int
    records: int
    leaked_pages: int


class SqlState(NamedTuple):
    """What one SQL connection tells of itself; LSNs are 0 where there is none."""

    last_commit: int
    read_point: int
    in_doubt: int
    """A commit that failed and may have happened all the same."""
    error: Exception | None
    """Why SQLite was given an error last; told once."""


class SqlCounts(NamedTuple):
    """What was asked of the SQL databases of a volume since it was opened."""

    connections: int
    """Open now."""
    opened: int
    views: int
    """Read transactions, those included that went on to write."""
    reads: int
    """Pages that SQLite asked for."""
    writes: int
    """Pages that SQLite handed over."""
    commits: int
    conflicts: int
    """Views that were too old to write."""
