"""Reading what is left of a damaged table: every record that can be read, and what cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from aurora_engine._ext.cursor import Cursor
from aurora_engine.errors import CorruptionError

if TYPE_CHECKING:
    from aurora_engine.view import Snapshot, SnapshotTable

__all__ = ["Lost", "salvage"]


@dataclass(frozen=True, slots=True)
class Lost:
    """What lies between two keys that are read, and cannot be read itself."""

    after: bytes | None
    """The last key in front of it; None: it begins with the table."""
    before: bytes | None
    """The first key behind it; None: it ends with the table. The key `after` itself, if nothing but
    the value of that key is lost."""
    reason: CorruptionError


def salvage(source: Snapshot | SnapshotTable) -> Iterator[tuple[bytes, bytes] | Lost]:
    """Every record that can be read in the order of the keys, and between them what is lost.

    Parameters
    ----------
    source : Snapshot or SnapshotTable
        A view, which does not change meanwhile.

    Yields
    ------
    tuple of bytes, or Lost
        Key and value; or the place where one or more records may have been.
    """
    last: bytes | None = None
    reason: CorruptionError | None = None
    for piece in _pieces(source):
        if isinstance(piece, CorruptionError):
            reason = reason or piece
            continue
        key, value = piece
        if reason is not None:
            yield Lost(last, key, reason)
            reason = None
        yield Lost(key, key, value) if isinstance(value, CorruptionError) else (key, value)
        last = key
    if reason is not None:
        yield Lost(last, None, reason)


def _pieces(
    source: Snapshot | SnapshotTable,
) -> Iterator[tuple[bytes, bytes | CorruptionError] | CorruptionError]:
    """Keys with their value or why it is lost; and for each lost page, why."""
    at: bytes | None = b""
    while at is not None:
        try:
            for key, value in source.scan(at):
                at = _behind(key)
                yield key, value
            return
        except CorruptionError as error:
            found = _first_key(source, at)
            if found is None:
                yield error
                at = _page_end(source, at)
            else:
                yield found, error
                at = _behind(found)


def _behind(key: bytes) -> bytes:
    return key + b"\0"


def _first_key(source: Snapshot | SnapshotTable, at: bytes) -> bytes | None:
    """The first key from ``at`` on if its page can be read: then it is its value that cannot."""
    with _keys(source, at) as keys:
        try:
            return cast("bytes | None", next(keys, None))
        except CorruptionError:
            return None


def _page_end(source: Snapshot | SnapshotTable, at: bytes) -> bytes | None:
    with _keys(source, at) as keys:
        return keys.page_end(at)


def _keys(source: Snapshot | SnapshotTable, at: bytes) -> Cursor:
    return Cursor(source._source, source._handle, at, keys_only=True)
