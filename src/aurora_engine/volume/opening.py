"""Finding or making a volume in a directory; an error says what is wrong with any other."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aurora_engine.errors import AuroraError, CorruptionError, StorageIOError
from aurora_engine.options import BACKTRACK_WINDOW_DEFAULT, REPLACING, OpenOptions, Topology
from aurora_engine.volume.layout import (
    CLONING_NAME,
    CREATING_NAME,
    LOCK_NAME,
    METADATA_NAME,
    Layout,
    Metadata,
    finish,
    interrupted_creation,
    mark_creating,
    new_volume_id,
    read_metadata,
)
from aurora_engine.volume.lock import WriterLock
from aurora_engine.volume.members import create_segment, in_parallel, require_unused
from aurora_engine.volume.zones import find_lost, is_claimed, link_zones, lock_zones

_log = logging.getLogger("aurora_engine.volume")

OWN_NAMES = {LOCK_NAME, CREATING_NAME + REPLACING}
"""What a creation that was cut short at its very beginning leaves."""


def prepare_root(root: Path, *, create: bool) -> None:
    """Makes sure that ``root`` is a directory that holds a volume or may come to hold one.

    Raises
    ------
    StorageIOError
        If it is missing and may not be created, or is no directory, or cannot be read or made.
    CorruptionError
        If it holds files that are not a volume's, or a clone that was never finished.
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
    if names & {CLONING_NAME, CLONING_NAME + REPLACING}:
        raise CorruptionError(
            f"{root} holds a clone that was cut short while it was made: clone to it again, or "
            "remove the directory; the database that it was made from has lost nothing"
        )
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


@dataclass(frozen=True, slots=True)
class Found:
    """A volume that may be opened now: nobody else can."""

    lock: WriterLock
    layout: Layout
    is_changed: bool
    """Whether the layout is not the one that is written."""

    def settle(self) -> None:
        """Makes the layout the one that later openings find; to be called once it has proved right.

        Raises
        ------
        StorageIOError, VolumeFullError
            If the volume's directory cannot be written.
        """
        if self.is_changed:
            self.layout.write_metadata()
        link_zones(self.layout)
        # Were the note of the creation to stay, and all metadata to be lost, the volume would be
        # taken for one that was never finished, and made anew.
        finish(self.layout.root, CREATING_NAME)


def find_or_create(root: Path, options: OpenOptions) -> Found:
    """Locks the directory and returns what lies in it, creating the volume where there is none.

    Raises
    ------
    DatabaseLockedError
        If another process, or another handle in this one, has the volume open, by this root or by
        a copy of it.
    ValueError
        If the topology given has other zones than the volume.
    """
    prepare_root(root, create=options.create or is_claimed(root, options.topology))
    lock = WriterLock(root / LOCK_NAME)
    try:
        found = _find(lock, root, options)
        if found is not None:
            lock_zones(lock, found.layout)
            return found
        if not options.create:
            raise StorageIOError(
                errno.ENOENT, "no volume here; open with create=True to make one", str(root)
            )
        topology = options.topology or Topology()
        layout = Layout(
            root,
            Metadata(
                volume_id=interrupted_creation(root) or new_volume_id(),
                page_bytes=options.page_bytes,
                group_pages=max(options.protection_group_bytes // options.page_bytes, 1),
                zones=topology.folders(),
                copies_per_zone=topology.copies_per_zone,
                groups=1,
                created_us=time.time_ns() // 1000,
                backtrack_window_s=options.backtrack_window.total_seconds(),
                history_bytes=options.history_bytes,
            ),
        )
        _create(layout)
        lock_zones(lock, layout)
        return Found(lock, layout, is_changed=False)
    except BaseException:
        lock.release()
        raise


def _find(lock: WriterLock, root: Path, options: OpenOptions) -> Found | None:
    """The volume of this root, if there is one; it may have to be found by its zones.

    Raises
    ------
    CorruptionError
        If a segment was used of which the metadata does not know: it is not the newest.
    """
    metadata = read_metadata(root)
    is_lost = metadata is None
    if metadata is None:
        metadata = find_lost(root, options.topology)
    if metadata is None:
        return None
    layout = _adapted(Layout(root, metadata), options)
    for place in layout.unknown_places():
        require_unused(layout, place)
    if is_lost:
        _log.warning("%s had lost its metadata; found it in the volume's zones", root)
    return Found(lock, layout, is_changed=is_lost or layout.metadata != metadata)


def _adapted(layout: Layout, options: OpenOptions) -> Layout:
    """The layout with what the caller wants otherwise.

    Zones may move, but not change in name or number. The defaults change nothing, so that what was
    set while the volume was open lasts.
    """
    metadata = layout.metadata
    changes: dict[str, Any] = {}
    if options.topology is not None:
        _require_same_zones(metadata, options.topology)
        changes["zones"] = options.topology.folders()
    if options.backtrack_window != BACKTRACK_WINDOW_DEFAULT:
        changes["backtrack_window_s"] = options.backtrack_window.total_seconds()
    if options.history_bytes is not None:
        changes["history_bytes"] = options.history_bytes
    if all(getattr(metadata, name) == value for name, value in changes.items()):
        return layout
    return Layout(layout.root, metadata.changed(**changes))


def _require_same_zones(metadata: Metadata, topology: Topology) -> None:
    have = tuple(name for name, _ in metadata.zones)
    if topology.zones != have or topology.copies_per_zone != metadata.copies_per_zone:
        raise ValueError(
            f"the volume has zones {have} with {metadata.copies_per_zone} copies each; "
            "open it with that topology, or without one"
        )


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
    finish(layout.root, CREATING_NAME)
