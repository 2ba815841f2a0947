"""The hot log of a segment: extents, and the chain of their frames. Normative: segment.md."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .checksums import checksum, volume_seed
from .damage import Damage, Findings, Place
from .files import STEP_BYTES, StoredFile
from .frames import ALIGN, FrameHeader, decode_header, decode_payload
from .history import is_truncated
from .manifest import Manifest
from .records import Record

EXTENT_MAGIC = b"AUREXTNT"
EXTENT = struct.Struct("<8sII16sIIQQQQ")
EXTENT_SUM_AT = 64

NOTHING_THERE = "no frame is there, but later ones are"


@dataclass
class StoredFrame:
    """A frame in an extent; ``problem`` is what is wrong with its payload."""

    file: str
    offset: int
    header: FrameHeader
    stale: bool = False
    records: list[Record] = field(default_factory=list)
    problem: Damage | None = None


@dataclass
class Extent:
    """One file of the hot log.

    ``unborn`` is one that was being made when its writer was killed. ``broken`` are places that
    begin as a frame does, and are none.
    """

    path: Path
    sequence: int
    size: int
    volume: bytes = b""
    group: int = 0
    copy: int = 0
    stale: int = 0
    unborn: bool = False
    problem: Damage | None = None
    frames: dict[int, StoredFrame] = field(default_factory=dict)
    broken: dict[int, Damage] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The file's name for people."""
        return str(self.path)

    @property
    def hurt(self) -> dict[int, str]:
        """What is wrong where a frame should be that is no leftover, by the place."""
        found = {at: problem.what for at, problem in self.broken.items()}
        for at, frame in self.frames.items():
            if frame.problem is not None:
                found[at] = frame.problem.what
        if self.live and ALIGN not in self.frames:
            found.setdefault(ALIGN, NOTHING_THERE)
        return dict(sorted(found.items()))

    @property
    def live(self) -> list[StoredFrame]:
        """The frames that are no leftovers, in the order of their places."""
        return [frame for _, frame in sorted(self.frames.items()) if not frame.stale]


def extent_number(path: Path) -> int | None:
    """The sequence number in a file's name; None when it is no extent's."""
    digits = path.name.removeprefix("log-")
    if digits == path.name or len(digits) != 16 or digits.strip("0123456789abcdef"):
        return None
    return int(digits, 16)


def read_extent(path: Path, manifest: Manifest | None, findings: Findings) -> Extent:
    """Reads one extent and every frame in it; without a manifest, what its header says counts."""
    with StoredFile(path) as stored:
        extent = Extent(path, extent_number(path) or 0, stored.size)
        _read_header(extent, stored, manifest)
        volume = manifest.volume if manifest is not None else extent.volume
        pages = range(1 << 64)
        group = extent.group
        if manifest is not None:
            pages = range(manifest.first_page, manifest.end_page)
            group = manifest.group
        _survey(extent, stored, volume_seed(volume), group, pages)
        findings.advance(stored.size)
    findings.counts["files"] += 1
    findings.counts["bytes"] += extent.size
    findings.counts["frames"] += len(extent.live)
    findings.counts["records"] += sum(len(frame.records) for frame in extent.live)
    return extent


def _read_header(extent: Extent, stored: StoredFile, manifest: Manifest | None) -> None:
    head = stored.read(0, min(ALIGN, stored.size))
    place = Place(extent.file, 0)
    if len(head) < ALIGN or not head.strip(b"\0"):
        extent.unborn = True
        extent.problem = place.damage("the header of the extent is missing")
        return
    magic, version, group, volume, copy, reserved, number, size, stale, stated = EXTENT.unpack_from(
        head
    )
    if magic != EXTENT_MAGIC or stated != checksum(head[:EXTENT_SUM_AT]) or version != 1:
        extent.problem = place.damage("the header of the extent fails its checksum")
        return
    extent.volume, extent.group, extent.copy = volume, group, copy
    if manifest is not None and (volume, group, copy) != (
        manifest.volume,
        manifest.group,
        manifest.copy,
    ):
        raise place.damage(
            f"the extent is that of copy {copy} of group {group} of volume {volume.hex()}"
        )
    if number != extent.sequence:
        # Taken into use anew, and killed before the new header was written.
        extent.unborn = True
        extent.problem = place.damage(f"the extent's header names it {number:016x}")
        return
    extent.stale = stale
    if reserved or head[EXTENT.size :].strip(b"\0"):
        extent.problem = place.damage("bytes behind the extent's header are not zero", EXTENT.size)
    elif size != extent.size:
        extent.problem = place.damage(f"the extent has {extent.size} bytes, its header says {size}")


def _blocks(stored: StoredFile) -> Iterator[tuple[int, bytes]]:
    """The places where frames can start, with the bytes there, in steps of the alignment."""
    for offset in range(ALIGN, stored.size - ALIGN + 1, STEP_BYTES):
        window = stored.read(offset, min(STEP_BYTES, (stored.size - offset) // ALIGN * ALIGN))
        for at in range(0, len(window), ALIGN):
            yield offset + at, window[at : at + ALIGN]


def _survey(extent: Extent, stored: StoredFile, seed: int, group: int, pages: range) -> None:
    """Finds every frame, also behind bytes that are none."""
    behind = 0  # the end of the last good frame: what lies inside of one is not looked at
    for offset, block in _blocks(stored):
        if offset < behind:
            continue
        place = Place(extent.file, offset)
        try:
            header = decode_header(block, seed, place)
            if header is None:
                continue
            frame = StoredFrame(extent.file, offset, header, header.last <= extent.stale)
        except Damage as found:
            extent.broken[offset] = found
            continue
        extent.frames[offset] = frame
        if frame.stale:
            continue
        try:
            if header.group != group:
                raise place.damage(f"a frame of group {header.group}")
            content = stored.read(offset, header.padded)
            frame.records = decode_payload(content, header, seed, pages, place)
            behind = offset + header.padded
        except Damage as found:
            frame.problem = found


@dataclass
class HotLog:
    """The extents of a segment, and the chain that leads from ``flushed`` to the SCL."""

    extents: list[Extent]
    chain: list[StoredFrame] = field(default_factory=list)
    scl: int = 0
    vdl: int = 0
    end_file: str = ""
    end_offset: int = 0
    _pages: dict[int, list[tuple[Record, Place]]] = field(default_factory=dict)

    def records_of(self, page: int) -> list[tuple[Record, Place]]:
        """The records of a page that no layer has, oldest first."""
        return self._pages.get(page, [])

    @property
    def pages(self) -> set[int]:
        """The pages that have such records."""
        return set(self._pages)

    def index(self) -> None:
        """Sorts the records of the chain by page."""
        for frame in self.chain:
            for record in frame.records:
                self._pages.setdefault(record.page, []).append(
                    (record, Place(frame.file, frame.offset))
                )


def read_log(folder: Path, manifest: Manifest, findings: Findings) -> HotLog:
    """Reads the hot log of the segment in ``folder``, follows the chain, and checks it all."""
    paths = [path for path in sorted(folder.glob("log-*")) if extent_number(path) is not None]
    extents = []
    for path in paths:
        with findings.catching():
            extents.append(read_extent(path, manifest, findings))
    log = HotLog(extents, scl=manifest.flushed, vdl=manifest.vdl)
    _follow_chain(log, manifest)
    log.index()
    _check_end(log, manifest, folder, findings)
    _check_flushed(log, manifest, findings)
    for extent in extents:
        _check_extent(extent, log, manifest, findings)
    return log


def _follow_chain(log: HotLog, manifest: Manifest) -> None:
    for extent in log.extents:
        if extent.sequence < manifest.replay_sequence:
            continue
        first = extent.sequence == manifest.replay_sequence and manifest.replay_offset > 0
        offset = manifest.replay_offset if first else ALIGN
        linked = False
        while (frame := extent.frames.get(offset)) is not None and not frame.stale:
            header = frame.header
            if header.last > log.scl and not is_truncated(
                manifest.rewinds, header.last, header.epoch
            ):
                if header.prev != log.scl or frame.problem is not None:
                    break
                log.chain.append(frame)
                log.scl = header.last
                log.vdl = max(log.vdl, header.vdl)
                linked = True
            offset += header.padded
        if linked or not log.end_file:
            log.end_file, log.end_offset = extent.file, offset


def _check_end(log: HotLog, manifest: Manifest, folder: Path, findings: Findings) -> None:
    """Tells damage at the chain's end from the torn end of writes that nobody was told of."""
    beyond = 0
    for extent in log.extents:
        for frame in extent.live:
            header = frame.header
            if header.last > log.scl and not is_truncated(
                manifest.rewinds, header.last, header.epoch
            ):
                beyond = max(beyond, header.vdl)
    if log.scl >= max(manifest.proven, beyond):
        return
    known = (
        f"the manifest knows of LSN {manifest.proven}"
        if manifest.proven > log.scl
        else f"a later frame knows of VDL {beyond}"
    )
    file, offset, reason = _break_behind(log, log.end_file or str(folder), log.end_offset)
    findings.add(
        file,
        offset,
        f"the hot log breaks off behind LSN {log.scl}, although {known}: {reason}",
    )


def _break_behind(log: HotLog, file: str, offset: int) -> tuple[str, int | None, str]:
    """Where the frame that should follow is hurt, and how: right there, or in a later extent."""
    places = [(extent, offset) for extent in log.extents if extent.file == file]
    if not places:
        return file, None, "no extent is there"
    here = places[0][0].sequence
    places += [(extent, ALIGN) for extent in log.extents if extent.sequence > here]
    for extent, at in places:
        frame = extent.frames.get(at)
        if frame is not None and frame.problem is not None:
            return extent.file, at, frame.problem.what
        if at in extent.broken:
            return extent.file, at, extent.broken[at].what
        if at not in extent.frames and extent.sequence > here and extent.live:
            return extent.file, at, NOTHING_THERE
    return file, offset, "no frame is there"


def _check_flushed(log: HotLog, manifest: Manifest, findings: Findings) -> None:
    """The frames that are in layers already and are kept for copies that fell behind.

    They must lead to ``flushed`` without a hole.
    """
    kept: dict[int, StoredFrame] = {}
    for extent in log.extents:
        if extent.problem is not None and extent.sequence < manifest.replay_sequence:
            return  # without its header leftovers cannot be told from what is kept
        for frame in extent.live:
            header = frame.header
            dropped = is_truncated(manifest.rewinds, header.last, header.epoch)
            if header.last > manifest.flushed or dropped or frame.problem is not None:
                continue
            # Of two that follow one LSN the newer epoch counts: a truncation that the manifest
            # knows no more has dropped the other.
            other = kept.get(header.prev)
            if other is None or other.header.epoch < header.epoch:
                kept[header.prev] = frame
    if not kept:
        return
    frame = kept[min(kept)]
    while frame.header.last in kept:
        frame = kept[frame.header.last]
    last = frame.header.last
    if last < manifest.flushed:
        file, offset, reason = _break_behind(log, frame.file, frame.offset + frame.header.padded)
        findings.add(
            file,
            offset,
            f"the frame that follows LSN {last} is lost, although later ones up to "
            f"{manifest.flushed} were there: {reason}",
        )


def _check_extent(extent: Extent, log: HotLog, manifest: Manifest, findings: Findings) -> None:
    used = bool(extent.live)
    if extent.problem is not None and (used or not extent.unborn):
        findings.damage.append(extent.problem)
    elif extent.problem is not None:
        findings.notes.append(f"{extent.file}: an extent that was being made when it was cut short")
    if any(found.file == extent.file for found in findings.damage):
        return
    torn = [offset for offset in extent.broken if extent.file == log.end_file]
    replay = (manifest.replay_sequence, manifest.replay_offset)
    spent = [(at, what) for at, what in extent.hurt.items() if (extent.sequence, at) < replay]
    if spent:
        at, what = spent[0]
        findings.notes.append(f"{extent.file} at {at}: {what}; what was there is in layers")
    elif torn:
        findings.notes.append(
            f"{extent.file} at {torn[0]}: the torn end of writes that nobody was told of"
        )
