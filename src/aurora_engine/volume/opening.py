"""Finding or making a volume in a directory; an error says what is wrong with any other."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import time
from datetime import timedelta
from pathlib import Path

from aurora_engine.errors import AuroraError, CorruptionError, StorageIOError
from aurora_engine.options import Topology
from aurora_engine.volume.layout import (
    CREATING_NAME,
    LOCK_NAME,
    METADATA_NAME,
    Layout,
    Metadata,
    finish_creating,
    interrupted_creation,
    mark_creating,
    new_volume_id,
    read_metadata,
)
from aurora_engine.volume.lock import WriterLock
from aurora_engine.volume.members import create_segment, in_parallel, require_unused
from aurora_engine.volume.zones import find_lost, is_claimed, link_zones

_log = logging.getLogger("aurora_engine.volume")

OWN_NAMES = {LOCK_NAME, f"{CREATING_NAME}.replacing"}
"""What a creation that was cut short at its very beginning leaves; the second is the note as the
disk layer writes it, before its atomic rename."""


def prepare_root(root: Path, *, create: bool) -> None:
    """Makes sure that ``root`` is a directory that holds a volume or may come to hold one.

    Raises
    ------
    StorageIOError
        If it is missing and may not be created, or is no directory, or cannot be read or made.
    CorruptionError
        If it holds files that are not a volume's.
    """
    try:
        if create:
            root.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in root.iterdir()}
    except OSError as error:
        raise StorageIOError(
            error.errno, f"cannot open the volume's directory ({error.strerror})", str(root)
        ) from error
    if METADATA_NAME in names or CREATING_NAME in names or read_metadata(root) is not None:
        return
    foreign = sorted(name for name in names - OWN_NAMES if not _is_empty_folder(root / name))
    if foreign:
        raise CorruptionError(
            f"{root} holds no complete volume but other files ({', '.join(foreign[:3])}): "
            f"give an empty or new directory, or restore {METADATA_NAME}"
        )
    if not create:
        raise StorageIOError(
            errno.ENOENT, "no volume here; open with create=True to make one", str(root)
        )


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def find_or_create(
    root: Path,
    *,
    create: bool,
    topology: Topology | None,
    page_bytes: int,
    group_bytes: int,
    backtrack_window: timedelta,
    history_bytes: int | None,
) -> tuple[WriterLock, Layout]:
    """Locks the directory and returns what lies in it, creating the volume where there is none.

    Raises
    ------
    DatabaseLockedError
        If another process, or another handle in this one, has the volume open.
    ValueError
        If ``topology`` has other zones than the volume.
    """
    prepare_root(root, create=create or is_claimed(root, topology))
    lock = WriterLock(root / LOCK_NAME)
    try:
        found = _find(root, topology)
        if found is not None:
            return lock, found
        if not create:
            raise StorageIOError(
                errno.ENOENT, "no volume here; open with create=True to make one", str(root)
            )
        layout = Layout(
            root,
            Metadata(
                volume_id=interrupted_creation(root) or new_volume_id(),
                page_bytes=page_bytes,
                group_pages=max(group_bytes // page_bytes, 1),
                zones=_zones(topology or Topology()),
                copies_per_zone=(topology or Topology()).copies_per_zone,
                groups=1,
                created_us=time.time_ns() // 1000,
                backtrack_window_s=backtrack_window.total_seconds(),
                history_bytes=history_bytes,
            ),
        )
        _create(layout)
        return lock, layout
    except BaseException:
        lock.release()
        raise


def _find(root: Path, topology: Topology | None) -> Layout | None:
    """The volume of this root, if there is one; it may have to be found by its zones.

    Raises
    ------
    CorruptionError
        If a segment was used of which the metadata does not know: it is not the newest.
    """
    metadata = read_metadata(root)
    is_lost = metadata is None
    if metadata is None:
        metadata = find_lost(root, topology)
    if metadata is None:
        return None
    layout = _with_zones(Layout(root, metadata), topology)
    for place in layout.unknown_places():
        require_unused(layout, place)
    if is_lost:
        _log.warning("%s had lost its metadata; found it in the volume's zones", root)
    if is_lost or layout.metadata != metadata:
        layout.write_metadata()
    link_zones(layout)
    # Were the note of the creation to stay, and all metadata to be lost, the volume would be taken
    # for one that was never finished, and made anew.
    finish_creating(root)
    return layout


def _zones(topology: Topology) -> tuple[tuple[str, str], ...]:
    return tuple(zip(topology.zones, topology.paths, strict=True))


def _with_zones(layout: Layout, topology: Topology | None) -> Layout:
    """The layout with the folders that the caller gives.

    Zones may move, but not change in name or number.
    """
    if topology is None:
        return layout
    metadata = layout.metadata
    wanted = _zones(topology)
    have = tuple(name for name, _ in metadata.zones)
    if (
        tuple(name for name, _ in wanted) != have
        or topology.copies_per_zone != metadata.copies_per_zone
    ):
        raise ValueError(
            f"the volume has zones {have} with {metadata.copies_per_zone} copies each; "
            "open it with that topology, or without one"
        )
    if wanted == metadata.zones:
        return layout
    return Layout(layout.root, metadata.changed(zones=wanted))


def _create(layout: Layout) -> None:
    """Makes the segments of the first group, then, as the last step, the metadata."""
    folders = [layout.zone_folder(index) for index in range(len(layout.metadata.zones))]
    for folder in folders:
        for leftover in folder.glob("group-*-copy-*"):
            shutil.rmtree(leftover, ignore_errors=True)
    mark_creating(layout.root, layout.metadata.volume_id)
    for folder in folders:
        # What cannot be made here, the first segment in it will say.
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
    link_zones(layout)

    def create(copy: int) -> AuroraError | None:
        try:
            create_segment(layout, (0, copy), 0)
        except AuroraError as error:
            return error
        return None

    for error in in_parallel(create, range(layout.metadata.copies)):
        if error is not None:
            raise error
    layout.write_metadata()
    finish_creating(layout.root)
