"""Zones that lie elsewhere: links both ways, and the way back to them when the root was lost.

A zone folder that the caller gave may hold several volumes, and outlives the root that they were
made from. So that no volume is forgotten, or taken for another, each one says in its zones where
its root is, and in its root where its zones are.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from aurora_engine.errors import AuroraError, CorruptionError, DatabaseLockedError, QuorumLostError
from aurora_engine.options import Topology
from aurora_engine.volume.layout import (
    METADATA_NAME,
    ZONE_LINK_PREFIX,
    Layout,
    Metadata,
    interrupted_creation,
    read_metadata,
    shared_name,
)
from aurora_engine.volume.lock import WriterLock
from aurora_engine.volume.quorums import read_quorum

_log = logging.getLogger("aurora_engine.volume")

ROOT_LINK = "root"


def link_zones(layout: Layout) -> None:
    """Links the root with each zone that lies elsewhere, and back.

    A file system that has no links takes nothing but the ease of finding a lost root's metadata.
    """
    root = Path(os.path.realpath(layout.root))
    for index, (name, given) in enumerate(layout.metadata.zones):
        link, folder = root / f"{ZONE_LINK_PREFIX}{name}", layout.zone_folder(index)
        if Path(given).is_absolute():
            _link(link, folder)
            if folder.is_dir():
                _link(folder / ROOT_LINK, root)
        else:
            # A zone right below the root is found without a link.
            _link(link, Path(given) if len(Path(given).parts) > 1 else None)


def _link(link: Path, target: Path | None) -> None:
    """Makes ``link`` lead to ``target``, or nowhere; a file of that name stays what it is."""
    try:
        if link.is_symlink():
            if target is not None and link.readlink() == target:
                return
            link.unlink()
        if target is not None:
            link.symlink_to(target)
    except OSError as error:
        _log.warning("cannot link %s to %s: %s", link, target, error)


def lock_zones(lock: WriterLock, layout: Layout) -> None:
    """Locks the zones that lie elsewhere: a copy of the root has them too, and another lock.

    A zone that is held although its root is this one, whose lock is ours, is left to be: its holder
    has lost the file of its lock, and gives way.

    Raises
    ------
    DatabaseLockedError
        If the volume is open by another root.
    """
    for index, (_, given) in enumerate(layout.metadata.zones):
        folder = layout.zone_folder(index)
        if not Path(given).is_absolute() or lock.include(folder):
            continue
        if _root_of(folder) != _real(layout.root):
            raise DatabaseLockedError(
                f"{folder}, a zone of {layout.root}, is open by another directory "
                f"({_root_of(folder) or 'unknown'}); close it there first, and keep one of the two"
            )


def is_claimed(root: Path, topology: Topology | None) -> bool:
    """Whether a zone folder holds a volume that says its root is ``root``."""
    return any(_root_of(place) == _real(root) for place in _volumes_in(topology))


def find_lost(root: Path, topology: Topology | None) -> Metadata | None:
    """Metadata of the volume whose root was ``root``, from its zones; None if there is none.

    For a root that has no metadata, before a volume is made over it.

    Raises
    ------
    CorruptionError
        If the zone folders hold a volume that no root knows, or none of this one's metadata
        verifies.
    QuorumLostError
        If metadata is there in so few zones that newer metadata may exist.
    """
    places = [place for place in _volumes_in(topology) if not _is_unfinished(place, root)]
    own = {place.name for place in places if _root_of(place) == _real(root)}
    if not own:
        for place in places:
            if not _is_known(place):
                raise CorruptionError(
                    f"{place} holds a volume, and its directory ({_root_of(place) or 'unknown'}) "
                    f"does not know it: restore {METADATA_NAME} there, or open that directory with "
                    "the topology that it had; to make a new volume, give other zone folders or "
                    "move this one away"
                )
        return None
    if len(own) > 1:
        raise CorruptionError(
            f"the zone folders hold several volumes whose directory was {root} "
            f"({', '.join(sorted(own))}): move away all but one, or restore {METADATA_NAME}"
        )
    return _newest([place for place in places if place.name in own])


def _newest(places: list[Path]) -> Metadata:
    """The newest metadata in the zones of one volume, when none can be newer."""
    found: list[Metadata] = []
    reason: AuroraError = CorruptionError(
        f"{places[0]} holds segments of a volume without {METADATA_NAME}: restore it there or in "
        "the volume's directory"
    )
    for place in places:
        try:
            metadata = read_metadata(place)
        except AuroraError as error:
            reason = error
        else:
            found += [] if metadata is None else [metadata]
    if not found:
        raise reason
    newest = max(found, key=lambda metadata: metadata.revision)
    have, need = len(found) * newest.copies_per_zone, read_quorum(newest.copies)
    if have < need:
        raise QuorumLostError(
            f"{METADATA_NAME} can be read in zones with {have} copies only, {need} are needed to "
            "prove that it is current: bring the other zones back"
        )
    return newest


def _volumes_in(topology: Topology | None) -> Iterator[Path]:
    """Every volume's own folder in the folders that the caller gave."""
    for given in topology.paths if topology is not None else ():
        if Path(given).is_absolute():
            for place in sorted(Path(given).glob(shared_name(None))):
                if (place / METADATA_NAME).exists() or any(place.glob("group-*-copy-*")):
                    yield place


def _root_of(place: Path) -> Path | None:
    try:
        return (place / ROOT_LINK).readlink()
    except OSError:
        return None


def _is_unfinished(place: Path, root: Path) -> bool:
    """Whether ``place`` is what a creation in ``root`` that was cut short left behind."""
    begun = interrupted_creation(root)
    named = begun is not None and place.name == shared_name(begun)
    return named and not (place / METADATA_NAME).exists()


def _is_known(place: Path) -> bool:
    """Whether the root that ``place`` names has the volume, or is making it."""
    root = _root_of(place)
    if root is None:
        return False
    try:
        metadata = read_metadata(root)
    except AuroraError:
        return False
    known = interrupted_creation(root) if metadata is None else metadata.volume_id
    return known is not None and place.name == shared_name(known)


def _real(root: Path) -> Path:
    return Path(os.path.realpath(root))
