"""What `open` can be told: the topology, and checks of every other option."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import get_args

from aurora_engine.types import Durability

__all__ = ["Topology"]

CACHE_BYTES_DEFAULT = 128 << 20
CACHE_BYTES_MIN = 1 << 20
CACHE_BYTES_MAX = (1 << 63) - 1
PAGE_BYTES_DEFAULT = 8192
PAGE_BYTES_MIN = 4096
PAGE_BYTES_MAX = 65536
PROTECTION_GROUP_BYTES_DEFAULT = 10 << 30
PROTECTION_GROUP_PAGES_MIN = 64
PROTECTION_GROUP_PAGES_MAX = 1 << 26
"""As AURI_GROUP_PAGES_MAX in csrc/segment/segment_private.h."""
BACKTRACK_WINDOW_DEFAULT = timedelta(hours=72)
COPIES_MAX = 64
ZONE_NAME_LENGTH_MAX = 64
REPLACING = ".replacing"
"""Behind the name of a file: as the disk layer writes it, before its atomic rename."""
VOLUME_FILES = ("LOCK", "volume.json", "volume.creating", "volume.cloning")
"""What the volume's directory has beside its zones (docs/format/volume.md)."""


@dataclass(frozen=True, slots=True, init=False)
class Topology:
    """How many copies a volume has, and where they lie.

    A zone is a place that fails as a whole: a disk, a machine, a data centre. A write is durable
    when more than half of all copies have it.

    Parameters
    ----------
    zones : iterable of str, or mapping of str to path
        Names of the zones, which are folders inside the volume's directory; or names with the
        folder of each. Put the folders on different disks to survive the loss of a disk.
    copies_per_zone : int
        Copies of every protection group in each zone.

    Attributes
    ----------
    zones : tuple of str
        Names of the zones.
    paths : tuple of str
        Folder of each zone; a relative one lies in the volume's directory.

    Raises
    ------
    ValueError
        If there is no zone, a name or folder is used twice, a name does not fit a folder or is that
        of a file of the volume, a relative folder leads out of the volume's directory, or there are
        more than 64 copies.

    Examples
    --------
    >>> Topology().copies
    6
    >>> Topology(zones={"a": "/disk1/volume", "b": "/disk2/volume", "c": "/disk3/volume"}).copies
    6
    >>> Topology.single().copies
    1
    """

    zones: tuple[str, ...]
    copies_per_zone: int
    paths: tuple[str, ...]

    def __init__(
        self,
        zones: Iterable[str] | Mapping[str, str | os.PathLike[str]] = ("a", "b", "c"),
        copies_per_zone: int = 2,
    ) -> None:
        if isinstance(zones, str):
            raise TypeError(
                "zones is a sequence of names or a mapping of names to folders, not one str"
            )
        names = tuple(_zone_name(name) for name in zones)
        paths = (
            tuple(os.fspath(folder) for folder in zones.values())
            if isinstance(zones, Mapping)
            else names
        )
        if not names:
            raise ValueError("a topology needs at least one zone")
        for what, given in (("names", names), ("folders", paths)):
            # Of a folder with several spellings, as x and ./x.
            if len(set(map(os.path.normpath, given))) != len(given):
                raise ValueError(f"the {what} of zones must differ: {list(given)}")
        for folder in paths:
            _check_folder(folder)
        object.__setattr__(self, "zones", names)
        object.__setattr__(
            self,
            "copies_per_zone",
            _whole("copies_per_zone", copies_per_zone, 1, COPIES_MAX // len(names)),
        )
        object.__setattr__(self, "paths", paths)

    @classmethod
    def single(cls) -> Topology:
        """One copy in one zone: a plain local store, that survives no loss."""
        return cls(zones=("a",), copies_per_zone=1)

    @property
    def copies(self) -> int:
        """Copies of every protection group."""
        return len(self.zones) * self.copies_per_zone

    def folders(self) -> tuple[tuple[str, str], ...]:
        """Name and folder of each zone; a relative folder lies in the volume's directory."""
        return tuple(zip(self.zones, self.paths, strict=True))


def _zone_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a zone's name is a str, not {type(name).__name__}")
    if (
        not 0 < len(name) <= ZONE_NAME_LENGTH_MAX
        or "/" in name
        or "\0" in name
        or name in {".", ".."}
        or _is_volume_file(name)
    ):
        raise ValueError(
            f"{name!r} cannot name a zone: a name is also a folder's in the volume's directory, "
            f"up to {ZONE_NAME_LENGTH_MAX} long"
        )
    return name


def _check_folder(folder: str) -> None:
    """Makes sure that a zone may lie there.

    Raises
    ------
    ValueError
        If it is relative and leads out of the volume's directory, or is one of its files.
    """
    path = Path(folder)
    if path.is_absolute():
        return
    if not folder or ".." in path.parts or _is_volume_file(next(iter(path.parts), "")):
        raise ValueError(
            "a zone's folder is absolute, or lies in the volume's directory and is none of its "
            f"files: {folder!r}"
        )


def _is_volume_file(name: str) -> bool:
    return name.removesuffix(REPLACING) in VOLUME_FILES


def _whole(name: str, value: object, lowest: int, highest: int | None = None) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    number = value.__index__()
    if not isinstance(number, int) or number < lowest or (highest is not None and number > highest):
        limits = f"at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"{name} must be {limits}, not {number}")
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """The options of `open`, checked.

    Raises
    ------
    TypeError, ValueError
        If one of them is of a wrong type or out of its range.
    """

    create: bool
    topology: Topology | None
    cache_bytes: int
    page_bytes: int
    protection_group_bytes: int
    backtrack_window: timedelta
    history_bytes: int | None
    durability: Durability

    def __post_init__(self) -> None:
        if not isinstance(self.create, bool):
            raise TypeError(f"create must be a bool, not {type(self.create).__name__}")
        if not isinstance(self.topology, Topology | None):
            raise TypeError(f"topology must be a Topology, not {type(self.topology).__name__}")
        checked_cache_bytes(self.cache_bytes)
        page_bytes = _whole("page_bytes", self.page_bytes, PAGE_BYTES_MIN, PAGE_BYTES_MAX)
        if page_bytes & (page_bytes - 1):
            raise ValueError(f"page_bytes must be a power of two, not {page_bytes}")
        group_bytes = _whole(
            "protection_group_bytes",
            self.protection_group_bytes,
            PROTECTION_GROUP_PAGES_MIN * page_bytes,
            PROTECTION_GROUP_PAGES_MAX * page_bytes,
        )
        if group_bytes % page_bytes:
            raise ValueError(
                f"protection_group_bytes must be a multiple of page_bytes, not {group_bytes}"
            )
        checked_window(self.backtrack_window)
        checked_history_bytes(self.history_bytes)
        if self.durability not in get_args(Durability):
            raise ValueError(f'durability must be "quorum" or "async", not {self.durability!r}')

    def for_clone(self, topology: Topology | None, cache_bytes: int) -> OpenOptions:
        """The options to open a clone with, which exists and keeps what its metadata says."""
        return replace(
            self,
            create=False,
            topology=topology,
            cache_bytes=cache_bytes,
            backtrack_window=BACKTRACK_WINDOW_DEFAULT,
            history_bytes=None,
        )


def checked_window(window: object) -> timedelta:
    """How far back history is kept.

    Raises
    ------
    TypeError, ValueError
        If it is no timedelta, or negative.
    """
    if not isinstance(window, timedelta):
        raise TypeError(f"backtrack_window must be a timedelta, not {type(window).__name__}")
    if window < timedelta(0):
        raise ValueError(f"backtrack_window must not be negative: {window}")
    return window


def checked_history_bytes(limit: object) -> int | None:
    """The limit of history, or None.

    Raises
    ------
    TypeError, ValueError
        If it is no int, or negative.
    """
    return None if limit is None else _whole("history_bytes", limit, 0)


def checked_cache_bytes(cache_bytes: object) -> int:
    """The budget of the page cache as an int.

    Raises
    ------
    TypeError, ValueError
        If it is no int or below 1 MiB.
    """
    return _whole("cache_bytes", cache_bytes, CACHE_BYTES_MIN, CACHE_BYTES_MAX)
