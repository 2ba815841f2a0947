"""Clones: volumes of their own that share their parent's layers (docs/internals/history.md)."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from aurora_engine._ext.disk import Disk
from aurora_engine._ext.records import RewindRecord, SegmentState
from aurora_engine._ext.segment import Segment
from aurora_engine.errors import AuroraError, CorruptionError, QuorumLostError, StorageIOError
from aurora_engine.options import Topology
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
from aurora_engine.volume.quorums import write_quorum

Progress = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a clone is made from: a moment of a volume, and the copies that have it."""

    metadata: Metadata
    segments: Mapping[Place, Segment]
    vdl: int
    rewind: RewindRecord | None
    """Where it is to begin, if not at ``vdl``."""
    epoch: int

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
        If there is a volume already.
    CorruptionError
        If there are other files.
    DatabaseLockedError
        If another process is at work there.
    StorageIOError, VolumeFullError
        If the file system refuses, or ``progress`` stopped it. Nothing is left behind then.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageIOError(
            error.errno, f"cannot make the clone's directory ({error.strerror})", str(root)
        ) from error
    lock = WriterLock(root / LOCK_NAME)
    try:
        _require_room(root)
        layout = Layout(root, _metadata_of_clone(origin, topology))
        mark_cloning(root, origin.metadata.volume_id)
        try:
            _clone_segments(origin, layout, progress)
            layout.write_metadata()
        except BaseException:
            _remove(layout)
            raise
        finish(root, CLONING_NAME)
    finally:
        lock.release()


def _require_room(root: Path) -> None:
    """Makes sure that nothing is there but what a clone that was cut short has left."""
    names = {entry.name for entry in root.iterdir()}
    if METADATA_NAME in names:
        raise ValueError(f"there is a volume in {root} already; clone to another directory")
    foreign = sorted(names - {LOCK_NAME, f"{CLONING_NAME}.replacing"})
    if foreign and CLONING_NAME not in names:
        raise CorruptionError(
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

    def clone(place: Place) -> AuroraError | None:
        try:
            source = origin.segments[source_of(place, _states(origin, place[0]))]
            disk = Disk.posix(os.fsencode(layout.segment_folder(*place)), create=True)
            try:
                source.clone(
                    disk,
                    identity_of(layout, place),
                    origin.vdl,
                    origin.rewind,
                    origin.epoch,
                    watch.of(place),
                )
            finally:
                disk.close()
        except AuroraError as error:
            return error
        return None

    for error in in_parallel(clone, list(layout.places())):
        if error is not None:
            raise error


def _states(origin: Origin, group: int) -> dict[Place, SegmentState]:
    return {
        place: segment.state() for place, segment in origin.segments.items() if place[0] == group
    }


def source_of(place: Place, states: Mapping[Place, SegmentState]) -> Place:
    """The parent's copy from which a clone's copy is made: its own, or else the best of the group.

    A copy has everything up to VDL if its SCL is not below the one that a write quorum has reached;
    of fewer copies, the furthest has.

    Raises
    ------
    QuorumLostError
        If no copy of the group is whole.
    """
    whole = {each: state for each, state in states.items() if state.health == "ok"}
    if not whole:
        raise QuorumLostError(
            f"no whole copy of protection group {place[0]} is there to be cloned; repair first"
        )
    copies = next(iter(whole.values())).identity.copies
    reached = sorted((state.scl for state in states.values()), reverse=True)
    quorum = write_quorum(copies)
    needed = reached[quorum - 1] if len(reached) >= quorum else reached[0]
    own = whole.get((place[0], place[1] % copies))
    if own is not None and own.scl >= needed:
        return place[0], place[1] % copies
    return max(whole, key=lambda each: (whole[each].scl, -each[1]))


def _remove(layout: Layout) -> None:
    for place in layout.places():
        shutil.rmtree(layout.segment_folder(*place), ignore_errors=True)
    for index in range(len(layout.metadata.zones)):
        folder = layout.zone_folder(index)
        (folder / METADATA_NAME).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()
    (layout.root / METADATA_NAME).unlink(missing_ok=True)
    (layout.root / CLONING_NAME).unlink(missing_ok=True)


class _Watch:
    """Adds up the progress of copies that are made at the same time."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._seen: dict[Place, tuple[int, int]] = {}

    def of(self, place: Place) -> Progress:
        """The progress of one copy."""

        def go_on(done: int, total: int) -> bool:
            with self._lock:
                self._seen[place] = done, total
                sums = [sum(each) for each in zip(*self._seen.values(), strict=True)]
                return self._progress is None or self._progress(sums[0], sums[1])

        return go_on
