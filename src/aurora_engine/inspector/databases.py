"""The SQL databases of a volume. Normative: docs/format/catalog.md, tree.md and sql.md."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from .damage import Damage, Findings, WrongUse
from .pages import BODY_AT, INNER, LEAF, SQL, Page
from .segments import Segment

CATALOG_ROOT, CATALOG_OWNER = 2, 0
NAME_PREFIX = b"\xff"
ENTRY = struct.Struct("<IQQ")
EXTENT_PAGES = 8
DEPTH_MAX = 16
RESERVED_BYTES = 56
HIDDEN = "\0"
CHANGE_COUNTER, VALID_FOR = slice(24, 28), slice(92, 96)


class Database(NamedTuple):
    """An SQL database as it is at a moment.

    Attributes
    ----------
    name : str
        Its name; bytes that are no UTF-8 are escaped.
    table : int
        Its id, the owner of its pages.
    root : int
        Page id of its map's root.
    created : int
        LSN of the last commit before the one that made it.
    pages : int
        Number of pages of SQLite's file.
    extents : int
        Runs of pages that it has.
    """

    name: str
    table: int
    root: int
    created: int
    pages: int
    extents: int


class View:
    """The pages of a volume at a moment, from one copy of each group.

    Parameters
    ----------
    segments : dict of int to Segment
        A copy of each group, by the number of the group.
    moment : int
        The LSN to read at.
    """

    def __init__(self, segments: dict[int, Segment], moment: int) -> None:
        self._segments = segments
        self.moment = moment
        first = next(iter(segments.values())).manifest
        self._group_pages = first.group_pages
        self.page_bytes = first.page_bytes

    def page(self, page_id: int) -> Page | None:
        """A page; None when it was never written.

        Raises
        ------
        Damage
            If it cannot be built, or lies in a group that cannot be read.
        """
        segment = self._segments.get(page_id // self._group_pages)
        if segment is None:
            raise Damage("the volume", None, f"page {page_id} is in no group that can be read")
        return segment.build(page_id, self.moment)

    def run(self, first: int, count: int) -> Iterator[int]:
        """The pages of a run, which steps over bitmap pages."""
        bits = (self.page_bytes - BODY_AT) * 8
        while count:
            if first % bits != 1:
                yield first
                count -= 1
            first += 1

    def entries(self, root: int, owner: int, what: str) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a tree in order; a value in overflow pages is its reference."""
        yield from self._entries(root, owner, what, None, 0, set())

    def _entries(
        self, page_id: int, owner: int, what: str, level: int | None, depth: int, seen: set[int]
    ) -> Iterator[tuple[bytes, bytes]]:
        page = self.page(page_id)
        kind = None if page is None else (page.type, page.header()[8])
        if page is None or kind not in ((LEAF, owner), (INNER, owner)):
            raise Damage(what, None, f"page {page_id} is no page of its tree")
        if page_id in seen or depth == DEPTH_MAX or level not in (None, page.level):
            raise Damage(what, None, f"its tree has page {page_id} twice, or at a wrong level")
        seen.add(page_id)
        cells = [page.cell(slot) for slot in range(page.slots)]
        if page.type == LEAF:
            yield from (_leaf_entry(cell, what) for cell in cells)
            return
        if any(len(cell) < 8 for cell in cells):
            raise Damage(what, None, f"page {page_id} has cells that are no children")
        for child in (page.link, *(int.from_bytes(cell[:8], "little") for cell in cells)):
            yield from self._entries(child, owner, what, page.level - 1, depth + 1, seen)


def _leaf_entry(cell: bytes, what: str) -> tuple[bytes, bytes]:
    end = 2 + (int.from_bytes(cell[:2], "little") & 0x7FFF)
    if len(cell) < max(2, end):
        raise Damage(what, None, "a key ends behind its cell")
    return cell[2:end], cell[end:]


def read_databases(view: View, findings: Findings) -> list[Database]:
    """Reads and checks every SQL database: its entry, its map, and all its pages."""
    databases = []
    taken: dict[int, str] = {}
    if view.page(CATALOG_ROOT) is None:
        return []
    entries = list(view.entries(CATALOG_ROOT, CATALOG_OWNER, "the catalog"))
    if any(key >= following for (key, _), (following, _) in pairwise(entries)):
        raise Damage("the catalog", None, "its names are not in order")
    for key, value in entries:
        if not key.startswith(NAME_PREFIX):
            continue
        name = key[1:].decode("utf-8", "backslashreplace")
        with findings.catching():
            try:
                databases.append(_read_database(view, name, value, taken))
            except WrongUse as refused:
                findings.notes.append(f"SQL database {name!r} was not checked: {refused}")
    return databases


def _read_database(view: View, name: str, value: bytes, taken: dict[int, str]) -> Database:
    what = f"SQL database {name!r}"
    if not name or len(value) != ENTRY.size:
        raise Damage(what, None, "its entry in the catalog breaks the format")
    table, root, created = ENTRY.unpack(value)
    if table < 2 or created == (1 << 64) - 1:
        raise Damage(what, None, f"its entry says table {table}, created {created}")
    size, extents = _read_map(view, root, table, what)
    hidden = name.startswith(HIDDEN)
    for extent, first in extents.items():
        start = extent * EXTENT_PAGES
        for number, page_id in enumerate(view.run(first, EXTENT_PAGES), start):
            if page_id in taken:
                raise Damage(what, None, f"page {page_id} belongs to {taken[page_id]} as well")
            taken[page_id] = what
            if number >= size:
                continue
            page = view.page(page_id)
            if page is None or page.type != SQL or page.header()[8] != table:
                place = "not its first page" if number == 0 else f"not its page {number}"
                raise Damage(what, None, f"page {page_id} is {place}")
            # A hidden one is not finished, and SQLite has the last word only at its end.
            if not hidden:
                _check_page(what, number, page, size)
    if size and 0 not in extents:
        raise Damage(what, None, "it has no first page")
    if len(extents) * EXTENT_PAGES < size:
        raise Damage(what, None, f"its {len(extents)} extents do not hold {size} pages")
    return Database(name, table, root, created, size, len(extents))


def _read_map(view: View, root: int, table: int, what: str) -> tuple[int, dict[int, int]]:
    """Number of pages, and the first page of each extent by its index."""
    entries = list(view.entries(root, table, what))
    if not entries or entries[0][0] != b"" or len(entries[0][1]) != 4:
        raise Damage(what, None, "its map has no size")
    top = view.page(root)
    if top is None or top.header()[10] != len(entries):
        raise Damage(what, None, f"its map does not have the {len(entries)} entries that it counts")
    size = int.from_bytes(entries[0][1], "little")
    extents: dict[int, int] = {}
    for key, first in entries[1:]:
        extent = int.from_bytes(key, "big")
        if len(key) != 4 or len(first) != 8 or extent <= next(reversed(extents), -1):
            raise Damage(what, None, "an extent of its map breaks the format")
        if extent * EXTENT_PAGES >= size:
            raise Damage(what, None, f"extent {extent} lies behind its {size} pages")
        extents[extent] = int.from_bytes(first, "little")
    return size, extents


def _check_page(what: str, number: int, page: Page, size: int) -> None:
    """What this format says of a page; the rest is SQLite's."""
    if page.link or page.header()[10]:
        raise Damage(what, None, f"page {page.id} has a link or a count")
    if number > 0:
        return
    head = page.bytes[BODY_AT : BODY_AT + 100]
    page_bytes = int.from_bytes(head[16:18], "big")
    if not head.startswith(b"SQLite format 3\0") or (
        65536 if page_bytes == 1 else page_bytes,
        head[20],
    ) != (page.size, RESERVED_BYTES):
        raise Damage(what, None, f"page {page.id} does not begin as a file of SQLite's")
    if any(head[CHANGE_COUNTER]) or any(head[VALID_FOR]):
        raise Damage(what, None, f"page {page.id} stores a change counter")
    if int.from_bytes(head[28:32], "big") != size:
        raise Damage(what, None, f"SQLite counts other than {size} pages")
