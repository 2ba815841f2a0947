"""A volume: its metadata, its segments, and whether the copies of a group agree."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .damage import Damage, Findings, WrongUse
from .frames import FrameHeader
from .manifest import Manifest, read_manifest
from .metadata import NAME, Metadata, read_metadata
from .pages import FREE, Page
from .segments import MANIFEST_NAME, Segment

LOCK_NAME = "LOCK"
CREATING_NAME = "volume.creating"
CLONING_NAME = "volume.cloning"


class Copy(NamedTuple):
    """Where a copy of a group should be."""

    folder: Path
    zone: str
    group: int
    copy: int


def is_volume(path: Path) -> bool:
    """Whether the folder holds a volume, or what is left of one."""
    return any((path / name).exists() for name in (NAME, CREATING_NAME, CLONING_NAME)) or any(
        path.glob("*/group-*-copy-*")
    )


@contextmanager
def shared_lock(root: Path, findings: Findings) -> Iterator[None]:
    """Keeps writers out meanwhile; where one has the volume open, that is noted."""
    try:
        descriptor = os.open(root / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        findings.notes.append(
            f"{root} is open in another process: files change while they are read, and what looks "
            "like damage may be none"
        )
    try:
        yield
    finally:
        os.close(descriptor)


def find_metadata(root: Path, findings: Findings) -> Metadata:
    """The newest metadata that verifies; damaged and missing copies are noted.

    Raises
    ------
    Damage
        If there is none.
    """
    found = _read_all([root / NAME], findings)
    if found:
        zones = [found[0][0].zone_folder(root, zone) for zone in range(len(found[0][0].zones))]
    else:
        # Zones below the root, or linked there; one folder may be found by both ways.
        below = {path.parent.resolve(): path.parent for path in sorted(root.glob(f"*/{NAME}"))}
        zones = list(below.values())
    found += _read_all([folder / NAME for folder in zones], findings)
    if not found:
        begun = [name for name in (CREATING_NAME, CLONING_NAME) if (root / name).exists()]
        told = f"; {begun[0]} says that making it was cut short" if begun else ""
        raise Damage(str(root), None, f"no metadata of the volume can be read{told}")
    newest = max((metadata for metadata, _ in found), key=lambda metadata: metadata.revision)
    for metadata, path in found:
        if metadata.volume_id != newest.volume_id:
            findings.add(str(path), 0, f"the metadata of volume {metadata.volume_id.hex()}")
        elif metadata.revision < newest.revision:
            findings.notes.append(f"{path}: revision {metadata.revision}, not {newest.revision}")
    return newest


def _read_all(paths: list[Path], findings: Findings) -> list[tuple[Metadata, Path]]:
    found = []
    for path in paths:
        with findings.catching():
            found.append((read_metadata(path), path))
            findings.counts["files"] += 1
    return found


def copies_of(root: Path, metadata: Metadata) -> Iterator[Copy]:
    """Where every copy of every group should be."""
    for group in range(metadata.groups):
        for copy in range(metadata.copies):
            folder = metadata.segment_folder(root, group, copy)
            yield Copy(folder, metadata.zones[copy // metadata.copies_per_zone][0], group, copy)


def open_segment(place: Copy, metadata: Metadata, findings: Findings) -> Segment | None:
    """Opens a copy and compares what it says it is with where it lies; None when it is lost."""
    if not place.folder.is_dir():
        findings.add(str(place.folder), None, "the copy is missing")
        return None
    try:
        _check_identity(read_manifest(place.folder / MANIFEST_NAME), place, metadata)
        return Segment(place.folder, findings)
    except Damage as found:
        findings.damage.append(found)
        return None


def _check_identity(manifest: Manifest, place: Copy, metadata: Metadata) -> None:
    own = (manifest.volume, manifest.group, manifest.copy, manifest.copies)
    expected = (metadata.volume_id, place.group, place.copy, metadata.copies)
    shape = (manifest.page_bytes, manifest.group_pages)
    if own != expected or shape != (metadata.page_bytes, metadata.group_pages):
        raise Damage(
            str(place.folder / MANIFEST_NAME),
            16,
            f"this is copy {manifest.copy} of group {manifest.group} of volume "
            f"{manifest.volume.hex()}, which does not belong here",
        )


def check_leftovers(root: Path, metadata: Metadata, findings: Findings) -> None:
    """Notes folders in the zones that belong to nothing."""
    known = {place.folder for place in copies_of(root, metadata)}
    for zone in range(len(metadata.zones)):
        folder = metadata.zone_folder(root, zone)
        for path in sorted(folder.glob("group-*")):
            if path not in known:
                told = (
                    "left by a repair that was cut short"
                    if path.suffix in (".rebuild", ".retired")
                    else "no copy of this volume"
                )
                findings.notes.append(f"{path}: {told}")


def compare_layers(segments: list[Segment], findings: Findings) -> None:
    """Layers with one number must be one file in all copies of a group."""
    known: dict[int, tuple[int, int, str]] = {}
    for segment in segments:
        for listed in segment.manifest.layers:
            if listed.size == 0:
                continue
            name = str(segment.folder / listed.file_name)
            sums = (listed.file_sum, listed.size)
            first = known.setdefault(listed.number, (*sums, name))
            if first[:2] != sums:
                findings.add(name, None, f"the layer is another one than {first[2]}")


def moment_of_all(segments: list[Segment]) -> tuple[int, list[Segment]]:
    """The copies that have all that is known to be durable, and the newest moment that they share.

    The end of the log may be ahead of the VDL that it knows of; where these copies all have it,
    their pages must be the same there too.
    """
    vdl = max(segment.log.vdl for segment in segments)
    rewound = max((segment.manifest.rewinds[-1:] for segment in segments), default=())
    needed = 0
    for segment in segments:
        lasts = [frame.header.last for frame in segment.log.chain if frame.header.last <= vdl]
        needed = max([needed, segment.manifest.flushed, *lasts])
    complete = [
        segment
        for segment in segments
        if segment.log.scl >= needed and segment.manifest.rewinds[-1:] == rewound
    ]
    complete = complete or segments
    newest = min(segment.newest_moment for segment in complete)
    # The horizon may have passed a group that was not written for long: nothing lies in between.
    return max(newest, *(segment.manifest.horizon for segment in complete)), complete


def moment_of_volume(segments: list[Segment]) -> int:
    """The newest moment that all groups have in common, from one copy of each.

    That is the VDL that they know of, or behind it the end of the last boxcar that is complete and
    ends with a commit (docs/format/frame.md).
    """
    rewinds = [segment.manifest.rewinds[-1].at for segment in segments if segment.manifest.rewinds]
    known = end = max(segment.log.vdl for segment in segments)
    moment = max(known, *(at + 1 for at in rewinds)) if rewinds else known
    starts = max(at + 2 for at in rewinds) if rewinds else 0
    boxcars: dict[int, list[FrameHeader]] = {}
    for segment in segments:
        for frame in segment.log.chain:
            if frame.header.volume_last > known:
                boxcars.setdefault(frame.header.volume_first, []).append(frame.header)
    for first, frames in sorted(boxcars.items()):
        if first > max(end + 1, starts) or len(frames) < frames[0].groups:
            break
        end = frames[0].volume_last
        moment = max(moment, frames[0].cpl)
    return moment


def compare_pages(segments: list[Segment], moment: int | None, findings: Findings) -> int:
    """Builds every page of a group from each copy, and compares the bytes; how many there were."""
    newest, complete = moment_of_all(segments)
    for segment in segments:
        if segment not in complete:
            findings.notes.append(f"{segment.folder}: not compared, it lags behind")
    at = newest if moment is None else moment
    pages: set[int] = set()
    for segment in complete:
        with findings.catching():
            pages |= segment.pages()
    for page_id in sorted(pages):
        compare_page(complete, page_id, at, findings)
    findings.counts["pages"] += len(pages)
    return len(pages)


def compare_page(
    segments: list[Segment], page_id: int, moment: int, findings: Findings
) -> Page | None:
    """Builds a page from each copy and compares them; the first one's is returned.

    Raises
    ------
    WrongUse
        If no copy retains the moment.
    """
    built: list[tuple[Page | None, Path]] = []
    refused: WrongUse | None = None
    for segment in segments:
        with findings.catching():
            try:
                page = segment.build(page_id, moment)
            except WrongUse as refusal:
                refused = refusal
                continue
            built.append((page, segment.folder))
            first, folder = built[0]
            if _content(page) != _content(first):
                findings.add(
                    str(segment.folder),
                    None,
                    f"page {page_id} at LSN {moment} differs from that of {folder}",
                )
    if not built and refused is not None:
        raise refused
    return built[0][0] if built else None


def _content(page: Page | None) -> bytes | None:
    """What must be equal in all copies; one that has collected more may lack a free page."""
    return None if page is None or page.type == FREE else bytes(page.bytes)
