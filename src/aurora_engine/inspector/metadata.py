"""The metadata of a volume. Normative: docs/format/volume.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from .checksums import checksum
from .damage import Place
from .files import read_whole
from .manifest import GROUP_PAGES_MAX, PAGE_BYTES

NAME = "volume.json"
FORMAT = 1
BYTES_MAX = 1 << 20
COPIES_MAX = 64
GROUPS_MAX = 1 << 32
OF_CLONES = {"parent_id", "parent_lsn"}


class Metadata(NamedTuple):
    """What a volume is; the fields are those of the document."""

    volume_id: bytes
    page_bytes: int
    group_pages: int
    zones: tuple[tuple[str, str], ...]
    copies_per_zone: int
    groups: int
    created_us: int
    backtrack_window_s: float
    history_bytes: int | None
    revision: int
    parent_id: bytes | None = None
    parent_lsn: int | None = None

    @property
    def copies(self) -> int:
        """Copies of each protection group."""
        return len(self.zones) * self.copies_per_zone

    def zone_folder(self, root: Path, zone: int) -> Path:
        """Folder of the zone with that index."""
        folder = Path(self.zones[zone][1])
        if folder.is_absolute():
            return folder / f"volume-{self.volume_id.hex()[:12]}"
        return root / folder

    def segment_folder(self, root: Path, group: int, copy: int) -> Path:
        """Folder of one copy of one group."""
        zone = self.zone_folder(root, copy // self.copies_per_zone)
        return zone / f"group-{group:05d}-copy-{copy}"


def read_metadata(path: Path) -> Metadata:
    """Reads and checks the metadata in the file ``path``."""
    return decode_metadata(read_whole(path, BYTES_MAX), str(path))


def decode_metadata(content: bytes, file: str) -> Metadata:
    """The metadata in ``content``, which came from ``file``."""
    place = Place(file, 0)
    try:
        fields = json.loads(content.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise place.damage(f"this is no metadata of a volume: {error}") from None
    if not isinstance(fields, dict):
        raise place.damage("this is no metadata of a volume: no JSON object")
    if content != _text(fields) + b"\n":
        raise place.damage("the metadata is not in the one form that it has")
    stated = fields.pop("checksum", None)
    if stated != f"{checksum(_text(fields)):016x}":
        raise place.damage("the metadata fails its checksum")
    version = fields.pop("format_version", None)
    if version != FORMAT:
        raise place.damage(f"the metadata has format {version}; known is {FORMAT}")
    try:
        return _checked(fields)
    except (TypeError, ValueError, KeyError) as error:
        raise place.damage(f"the metadata has a key that makes no sense: {error}") from None


def _text(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _checked(fields: dict[str, Any]) -> Metadata:
    """The fields with their types; raises what the standard library does when one does not fit."""
    if set(fields) not in (set(Metadata._fields), set(Metadata._fields) - OF_CLONES):
        raise KeyError(f"the keys are {sorted(fields)}")
    ids = {"volume_id", "parent_id"} & fields.keys()
    for name in ids:
        fields[name] = bytes.fromhex(fields[name])
        if len(fields[name]) != 16:
            raise ValueError(name)
    fields["zones"] = tuple((name, folder) for name, folder in fields["zones"])
    metadata = Metadata(**fields)
    numbers: dict[str, range] = {
        "group_pages": range(1, GROUP_PAGES_MAX + 1),
        "copies_per_zone": range(1, COPIES_MAX + 1),
        "groups": range(GROUPS_MAX + 1),
        "created_us": range(1 << 64),
        "revision": range(1 << 64),
        "parent_lsn": range(1 << 64),
    }
    for name, allowed in numbers.items():
        number = fields.get(name, 1)
        if type(number) is not int or number not in allowed:
            raise ValueError(f"{name} is {number!r}")
    if metadata.page_bytes not in PAGE_BYTES:
        raise ValueError(f"page_bytes is {metadata.page_bytes!r}")
    if not metadata.zones or metadata.copies > COPIES_MAX:
        raise ValueError(f"{len(metadata.zones)} zones with {metadata.copies_per_zone} copies")
    if not all(type(part) is str and "\0" not in part for zone in metadata.zones for part in zone):
        raise ValueError("zones")
    if type(metadata.backtrack_window_s) not in (int, float):
        raise ValueError("backtrack_window_s")
    if metadata.history_bytes is not None and type(metadata.history_bytes) is not int:
        raise ValueError("history_bytes")
    return metadata
