"""Clones: volumes of their own that share their parent's layers (docs/internals/history.md)."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from aurora_engine._ext.disk import Disk
from aurora_engine._ext.records import RewindRecord
from aurora_engine._ext.segment import Segment
from aurora_engine._ext.segment_snapshot import Snapshot
from aurora_engine.errors import AuroraError, QuorumLostError, StorageIOError
from aurora_engine.options import REPLACING, Topology
from aurora_engine.volume.layout import (
    CLONING_NAME,
    LOCK_NAME,
    METADATA_NAME,
    Layout,
    Metadata,
    finish,
    mark_cloning,
    new_volume_id,
)
from aurora_engine.volume.lock import WriterLock
from aurora_engine.volume.members import identity_of, in_parallel
from aurora_engine.volume.messages import Place
from aurora_engine.volume.progress import Progress


@dataclass(frozen=True, slots=True)
class Origin:
    """What a clone is made from: a moment of a volume, and the copies as they were at VDL."""

    metadata: Metadata
    copies: Mapping[Place, Snapshot]
    vdl: int
    rewind: RewindRecord | None
    """Where it is to begin, if not at ``vdl``."""

    @property
    def lsn(self) -> int:
        """The moment that the clone begins with."""
        return self.vdl if self.rewind is None else self.rewind.to


def make_clone(
    origin: Origin, root: Path, topology: Topology | None, progress: Progress | None
) -> None:
    """Makes the clone in ``root``: its segments first, its metadata last.

    Raises
    ------
    ValueError
        If there is a volume already, or other files.
    DatabaseLockedError
        If another process is at work there.
    StorageIOError, VolumeFullError
        If the file system refuses, or ``progress`` stopped it. Nothing is left behind then.
    """
    layout = Layout(root, _metadata_of_clone(origin, topology))
    site = _Site(layout)
    try:
        site.enter()
        _require_room(root)
        site.is_begun = True
        mark_cloning(root, origin.metadata.volume_id)
        _clone_segments(origin, layout, progress)
        layout.write_metadata()
        finish(root, CLONING_NAME)
        site.leave()
    except BaseException:
        site.clear()
        raise


def require_apart(parent: Layout, root: Path, topology: Topology | None) -> None:
    """Makes sure that a clone in ``root`` and its parent can be deleted without each other.

    Raises
    ------
    ValueError
        If one of the parent's folders contains it, or one of its zones.
    """
    own = [parent.zone_folder(index) for index in range(len(parent.metadata.zones))]
    given = topology.paths if topology is not None else ()
    for place in (root, *(Path(folder) for folder in given if Path(folder).is_absolute())):
        for folder in (parent.root, *own):
            if place.resolve().is_relative_to(folder.resolve()):
                raise ValueError(
                    f"{place} lies inside of {folder}, which is the database's own: "
                    "clone to a directory outside of it"
                )


def _require_room(root: Path) -> None:
    """Makes sure that nothing is there but what a clone that was cut short has left."""
    names = {entry.name for entry in root.iterdir()}
    if METADATA_NAME in names:
        raise ValueError(f"there is a volume in {root} already; clone to another directory")
    foreign = sorted(names - {LOCK_NAME, CLONING_NAME + REPLACING})
    if foreign and CLONING_NAME not in names:
        raise ValueError(
            f"{root} holds other files ({', '.join(foreign[:3])}): "
            "clone to an empty or new directory"
        )


def _metadata_of_clone(origin: Origin, topology: Topology | None) -> Metadata:
    parent = origin.metadata
    # Folders of the parent outside of its directory are the parent's own.
    zones = tuple((name, name) for name, _ in parent.zones)
    return replace(
        parent,
        volume_id=new_volume_id(),
        parent_id=parent.volume_id,
        parent_lsn=origin.lsn,
        zones=zones if topology is None else topology.folders(),
        copies_per_zone=parent.copies_per_zone if topology is None else topology.copies_per_zone,
        revision=1,
    )


def _clone_segments(origin: Origin, layout: Layout, progress: Progress | None) -> None:
    watch = _Watch(progress)
    for leftover in {layout.segment_folder(*place) for place in layout.places()}:
        shutil.rmtree(leftover, ignore_errors=True)

    def clone(place: Place) -> None:
        disk = Disk.posix(os.fsencode(layout.segment_folder(*place)), create=True)
        try:
            source_of(origin, place).clone(
                disk, identity_of(layout, place), origin.vdl, origin.rewind, watch.of(place)
            )
        finally:
            disk.close()

    in_parallel(clone, list(layout.places()), on_failure=watch.stop)


def source_of(origin: Origin, place: Place) -> Snapshot:
    """The parent's copy from which a clone's copy is made: the one at its place, or another.

    Raises
    ------
    QuorumLostError
        If no whole copy of the group is there.
    """
    group, copy = place
    own = origin.copies.get((group, copy % origin.metadata.copies))
    if own is not None:
        return own
    others = [snapshot for (of, _), snapshot in origin.copies.items() if of == group]
    if not others:
        raise QuorumLostError(
            f"no whole copy of protection group {group} is there to be cloned: repair, or save "
            "what can be read with dump"
        )
    return others[copy % len(others)]


def pin_copies(segments: Mapping[Place, Segment], pinned: dict[Place, Snapshot]) -> None:
    """Pins the copies that are whole, as they are now; commits are held meanwhile.

    Of each group those that reach furthest: what is durable is in all of them. They go into
    ``pinned`` one by one, for the caller to release whatever happens: Ctrl-C may come between two,
    and a segment with a pin that nobody knows of could not be closed.
    """
    states = {place: segment.state() for place, segment in segments.items()}
    furthest: dict[int, int] = {}
    for (group, _), state in states.items():
        furthest[group] = max(furthest.get(group, 0), state.scl)
    for place, state in states.items():
        if state.health == "ok" and state.scl == furthest[place[0]]:
            pinned[place] = Snapshot(segments[place])


class _Site:
    """Where a clone is made, and what was there before: it stays when the clone is removed."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock: WriterLock | None = None
        self._had_lock = os.path.lexists(layout.root / LOCK_NAME)
        folders = [layout.root, *map(layout.zone_folder, range(len(layout.metadata.zones)))]
        self._missing = {missing for folder in folders for missing in _missing(folder)}
        self.is_begun = False
        """Whether what lies there is the clone's."""

    def enter(self) -> None:
        """Makes the directory and locks it.

        Raises
        ------
        DatabaseLockedError, StorageIOError
            If another process is at work there, or the file system refuses.
        """
        root = self._layout.root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageIOError(
                error.errno, f"cannot make the clone's directory ({error.strerror})", str(root)
            ) from error
        self._lock = WriterLock(root / LOCK_NAME)

    def leave(self) -> None:
        """Gives the lock up."""
        if self._lock is not None:
            self._lock.release()

    def clear(self) -> None:
        """Removes what was made, and gives the lock up."""
        if self._lock is None:
            # Ctrl-C came while it was being taken; or another process has it, and goes on.
            with suppress(AuroraError):
                self._lock = WriterLock(self._layout.root / LOCK_NAME)
        if self._lock is not None:
            if self.is_begun:
                _remove(self._layout)
            if self._had_lock:
                self._lock.release()
            else:
                self._lock.remove()
        for folder in sorted(self._missing, reverse=True):
            # Only if nobody has put anything there.
            with suppress(OSError):
                folder.rmdir()


def _missing(folder: Path) -> Iterator[Path]:
    """The folder and those above it that are not there."""
    while not os.path.lexists(folder):
        yield folder
        folder = folder.parent


def _remove(layout: Layout) -> None:
    for place in layout.places():
        shutil.rmtree(layout.segment_folder(*place), ignore_errors=True)
    for index in range(len(layout.metadata.zones)):
        folder = layout.zone_folder(index)
        _unlink(folder, METADATA_NAME)
        with suppress(OSError):
            folder.rmdir()
    for name in (METADATA_NAME, CLONING_NAME):
        _unlink(layout.root, name)


def _unlink(folder: Path, name: str) -> None:
    """Removes a file, and what the disk layer wrote it as before its atomic rename."""
    for each in (name, name + REPLACING):
        with suppress(OSError):
            (folder / each).unlink()


class _Watch:
    """Adds up the progress of copies that are made at the same time."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._seen: dict[Place, tuple[int, int]] = {}
        self._is_stopped = False

    def stop(self) -> None:
        """Lets every copy end at its next step."""
        self._is_stopped = True

    def of(self, place: Place) -> Progress:
        """The progress of one copy."""

        def go_on(done: int, total: int) -> bool:
            if self._is_stopped:
                return False
            with self._lock:
                self._seen[place] = done, total
                sums = [sum(each) for each in zip(*self._seen.values(), strict=True)]
                return self._progress is None or self._progress(sums[0], sums[1])

        return go_on
