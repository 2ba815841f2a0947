"""Where the parts of a volume lie, and its metadata file. Normative text: docs/format/volume.md."""

from __future__ import annotations

import json
import logging
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from aurora_engine._ext.disk import Disk
from aurora_engine._ext.frame import checksum
from aurora_engine.errors import AuroraError, CorruptionError, StorageIOError, VersionError
from aurora_engine.options import VOLUME_FILES
from aurora_engine.volume.messages import Place

_log = logging.getLogger("aurora_engine.volume")

FORMAT_VERSION = 1
LOCK_NAME, METADATA_NAME, CREATING_NAME, CLONING_NAME = VOLUME_FILES
ZONE_LINK_PREFIX = "zone-"
"""Before a zone's name: the link in the root to a zone that does not lie right below it."""

WINDOW_S_MAX = timedelta(days=timedelta.max.days).total_seconds()
"""The longest timedelta of all, as a number of seconds, is rounded up to one that is none."""

_SEGMENT_NAME = re.compile(r"group-(\d{5,})-copy-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a volume is.

    Written once, then only to grow, to move zones, or to change the history window.

    ``zones`` holds (name, folder); a folder is relative to the volume's directory, or absolute
    where the caller mapped it.
    """

    volume_id: bytes
    page_bytes: int
    group_pages: int
    zones: tuple[tuple[str, str], ...]
    copies_per_zone: int
    groups: int
    created_us: int
    backtrack_window_s: float
    history_bytes: int | None
    parent_id: bytes | None = None
    """Of a clone: the volume that it was made from, and the moment that it began with."""
    parent_lsn: int | None = None
    revision: int = 1

    @property
    def copies(self) -> int:
        """Copies of each protection group."""
        return len(self.zones) * self.copies_per_zone

    @property
    def backtrack_window(self) -> timedelta:
        """How far back every moment is kept; the longest ones end with a whole day."""
        return timedelta(seconds=min(self.backtrack_window_s, WINDOW_S_MAX))

    def changed(self, **changes: Any) -> Metadata:
        """The next revision, with ``changes``."""
        return replace(self, revision=self.revision + 1, **changes)

    def encode(self) -> bytes:
        """JSON with a checksum over its canonical text."""
        fields = asdict(self) | {
            "format_version": FORMAT_VERSION,
            "volume_id": self.volume_id.hex(),
        }
        if self.parent_id is None:
            # Only clones have a parent.
            del fields["parent_id"], fields["parent_lsn"]
        else:
            fields["parent_id"] = self.parent_id.hex()
        text = _canonical(fields)
        return _canonical(fields | {"checksum": f"{checksum(text):016x}"}) + b"\n"

    @classmethod
    def decode(cls, text: bytes, file: str) -> Metadata:
        """The inverse of `encode`.

        Raises
        ------
        CorruptionError
            If the text is not what `encode` wrote.
        VersionError
            If a later release wrote it.
        """
        try:
            fields = json.loads(text)
            stated = fields.pop("checksum")
            version = fields.pop("format_version")
        except (ValueError, KeyError, AttributeError, TypeError) as broken:
            raise CorruptionError(f"{file} is not the metadata of a volume: {broken}") from None
        if f"{checksum(_canonical(fields | {'format_version': version})):016x}" != stated:
            raise CorruptionError(
                f"{file} failed its checksum; restore it from a zone's copy of {METADATA_NAME}"
            )
        if version != FORMAT_VERSION:
            raise VersionError(
                f"{file} has format {version}; this release reads {FORMAT_VERSION}: "
                "upgrade aurora_engine"
            )
        for name in {"volume_id", "parent_id"} & fields.keys():
            fields[name] = bytes.fromhex(fields[name])
        fields["zones"] = tuple((name, folder) for name, folder in fields["zones"])
        return cls(**fields)


def _canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode(
        "ascii"
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of one volume on the file system."""

    root: Path
    metadata: Metadata

    def zone_of(self, copy: int) -> str:
        """Name of the zone that holds a copy."""
        return self.metadata.zones[copy // self.metadata.copies_per_zone][0]

    def zone_folder(self, index: int) -> Path:
        """Folder of the index-th zone.

        In a folder that the caller gave, volumes are kept apart by their id.
        """
        folder = Path(self.metadata.zones[index][1])
        return (
            folder / shared_name(self.metadata.volume_id)
            if folder.is_absolute()
            else self.root / folder
        )

    def segment_folder(self, group: int, copy: int) -> Path:
        """Folder of one segment."""
        zone = copy // self.metadata.copies_per_zone
        return self.zone_folder(zone) / f"group-{group:05d}-copy-{copy}"

    def places(self) -> Iterator[tuple[int, int]]:
        """Every (group, copy) of the volume."""
        for group in range(self.metadata.groups):
            for copy in range(self.metadata.copies):
                yield group, copy

    def unknown_places(self) -> Iterator[Place]:
        """Every (group, copy) that has a folder in its zone, and whose group is not the volume's.

        A growth that was cut short leaves such folders.
        """
        for index in range(len(self.metadata.zones)):
            for folder in sorted(self.zone_folder(index).glob("group-*-copy-*")):
                match = _SEGMENT_NAME.fullmatch(folder.name)
                if match and int(match[1]) >= self.metadata.groups:
                    place = int(match[1]), int(match[2])
                    if place[1] < self.metadata.copies and self.segment_folder(*place) == folder:
                        yield place

    def write_metadata(self) -> None:
        """Writes the metadata to the root, then a copy into each zone that can be reached."""
        text = self.metadata.encode()
        _write(self.root, METADATA_NAME, text)
        for index in range(len(self.metadata.zones)):
            folder = self.zone_folder(index)
            if not folder.is_dir():
                continue
            try:
                _write(folder, METADATA_NAME, text)
            except AuroraError as error:
                # A zone that is full or broken must not stop what the others can carry.
                _log.warning("no copy of the metadata in zone folder %s: %s", folder, error)


def read_metadata(root: Path) -> Metadata | None:
    """The newest metadata that verifies; None when there is none.

    It is taken from the root, or else from a zone inside it or linked there. Another volume below
    the root is none of its zones.

    Raises
    ------
    CorruptionError, StorageIOError
        If there is metadata but none of it verifies or can be read.
    """
    found: list[Metadata] = []
    broken: AuroraError | None = None
    for file in (root / METADATA_NAME, *sorted(root.glob(f"*/{METADATA_NAME}"))):
        try:
            metadata = Metadata.decode(file.read_bytes(), str(file))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except CorruptionError as error:
            broken = error
        except OSError as error:
            broken = StorageIOError(
                error.errno, f"cannot read the volume's metadata ({error.strerror})", str(file)
            )
        else:
            if file.parent == root:
                return metadata
            if _is_zone(file.parent.name, metadata):
                found.append(metadata)
    if found:
        return max(found, key=lambda metadata: metadata.revision)
    if broken is not None:
        raise broken
    return None


def _is_zone(name: str, metadata: Metadata) -> bool:
    """Whether the volume has a zone in the folder, or behind the link, of this name in its root."""
    return any(
        name in (os.path.normpath(folder), ZONE_LINK_PREFIX + zone)
        for zone, folder in metadata.zones
    )


def mark_creating(root: Path, volume_id: bytes) -> None:
    """Notes that a volume is being created: one cut short can be told from foreign files."""
    _write(root, CREATING_NAME, volume_id.hex().encode("ascii"))


def interrupted_creation(root: Path) -> bytes | None:
    """Id of the volume whose creation began here and never ended.

    Its segments may be removed and made again.
    """
    try:
        return bytes.fromhex((root / CREATING_NAME).read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return None


def mark_cloning(root: Path, parent_id: bytes) -> None:
    """Notes that a clone is being made: one cut short is no volume."""
    _write(root, CLONING_NAME, parent_id.hex().encode("ascii"))


def finish(root: Path, note: str) -> None:
    """Removes the note that `mark_creating` or `mark_cloning` left."""
    (root / note).unlink(missing_ok=True)


def shared_name(volume_id: bytes | None) -> str:
    """Name of a volume's own folder in a folder that the caller gave; None: a pattern for any."""
    return f"volume-{'*' if volume_id is None else volume_id.hex()[:12]}"


def new_volume_id() -> bytes:
    """16 random bytes."""
    return uuid.UUID(bytes=os.urandom(16), version=4).bytes


def _write(folder: Path, name: str, content: bytes) -> None:
    disk = Disk.posix(os.fsencode(folder), create=True)
    try:
        disk.replace(name, content)
    finally:
        disk.close()


def sync_path(path: Path) -> None:
    """Makes the bytes of a file, or the names in a folder, durable.

    Raises
    ------
    OSError
        If they cannot be.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
