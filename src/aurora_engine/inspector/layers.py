"""Layers: their parts, and the records of a page. Normative: docs/format/segment.md."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .checksums import checksum, place_seed, unpack, volume_seed
from .damage import Damage, Place
from .files import Closing, StoredFile
from .records import Record, decode_records

HEADER = struct.Struct("<8sII16sQI12sQ")
HEADER_SUM_AT = 56
FOOTER = struct.Struct("<8sII6Q24s24s24s4QIIQ")
FOOTER_SUM_AT = 176
POINTER = struct.Struct("<QQQIIQ")
REFERENCE = struct.Struct("<QIIQ")
RAW_BYTES_MAX = 16777216
INDEX_POINTERS = 128
CACHED_BLOCKS = 4


class Pointer(NamedTuple):
    """Where a block is, and its checksum; ``page`` is a time in the index of commits."""

    page: int
    lsn: int
    offset: int
    stored: int
    raw: int
    sum: int


class LayerHeader(NamedTuple):
    """The header of a layer; the fields are those of the document."""

    version: int
    group: int
    volume: bytes
    number: int
    page_bytes: int


class Footer(NamedTuple):
    """The footer of a layer; the fields are those of the document."""

    version: int
    tier: int
    number: int
    records: int
    first_lsn: int
    last_lsn: int
    first_page: int
    last_page: int
    root: Pointer
    bitmap: Pointer
    commits: Pointer
    commit_count: int
    first_time: int
    last_time: int
    complete: int
    kind: int
    sum: int


class Layer(Closing):
    """A layer's file, with its header and footer read and checked.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    Damage
        If header or footer do not verify. What is between is checked when it is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = StoredFile(path)
        self._blocks: OrderedDict[int, list[Record]] = OrderedDict()
        self._pointers: list[Pointer] | None = None
        self._bitmap: bytes | None = None
        try:
            self.header = self._read_header()
            self.seed = volume_seed(self.header.volume)
            self.footer = self._read_footer()
        except Damage:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file. Idempotent."""
        self.file.close()

    @property
    def name(self) -> str:
        """The file's name for people."""
        return self.file.name

    def seed_at(self, offset: int) -> int:
        """The seed of the block at ``offset``."""
        return place_seed(self.seed, self.header.number, offset)

    def damage(self, offset: int | None, what: str) -> Damage:
        """Damage of this file."""
        return Damage(self.name, offset, what)

    def _read_header(self) -> LayerHeader:
        if self.file.size < HEADER.size + FOOTER.size:
            raise self.damage(None, f"a layer of {self.file.size} bytes is cut short")
        content = self.file.read(0, HEADER.size)
        magic, *fields, reserved, stated = HEADER.unpack(content)
        if magic != b"AURLAYER" or stated != checksum(content[:HEADER_SUM_AT]):
            raise self.damage(0, "the header of the layer fails its checksum")
        header = LayerHeader._make(fields)
        if header.version != 1 or reserved.strip(b"\0"):
            raise self.damage(0, f"the layer has format {header.version}; known is 1")
        return header

    def _read_footer(self) -> Footer:
        offset = self.file.size - FOOTER.size
        content = self.file.read(offset, FOOTER.size)
        magic, *fields = FOOTER.unpack(content)
        reserved = fields.pop(-2)
        if magic != b"AURLFOOT" or fields[-1] != checksum(content[:FOOTER_SUM_AT], self.seed_at(0)):
            raise self.damage(offset, "the footer of the layer fails its checksum")
        for index in (8, 9, 10):
            fields[index] = Pointer(0, 0, *REFERENCE.unpack(fields[index]))
        footer = Footer._make(fields)
        if footer.version != 1 or reserved != 0:
            raise self.damage(offset, f"the footer has format {footer.version}; known is 1")
        if footer.number != self.header.number:
            raise self.damage(offset, f"the footer is that of layer {footer.number:016x}")
        return footer

    # ---- blocks

    def read_block(self, pointer: Pointer) -> bytes:
        """The raw bytes of a block, verified."""
        place = Place(self.name, pointer.offset)
        if pointer.raw > RAW_BYTES_MAX or pointer.stored > pointer.raw:
            raise place.damage(f"a block has {pointer.stored} bytes, {pointer.raw} when unpacked")
        if pointer.offset + pointer.stored > self.file.size:
            raise place.damage("a block lies outside of the layer")
        stored = self.file.read(pointer.offset, pointer.stored)
        if checksum(stored, self.seed_at(pointer.offset)) != pointer.sum:
            raise place.damage("a block fails its checksum")
        return stored if pointer.stored == pointer.raw else unpack(stored, pointer.raw, place)

    def read_pointers(self, pointer: Pointer) -> list[Pointer]:
        """A block of pointers: root, index block or index of commits."""
        content = self.read_block(pointer)
        if len(content) % POINTER.size:
            raise self.damage(pointer.offset, "a block of pointers ends within one")
        return [Pointer._make(fields) for fields in POINTER.iter_unpack(content)]

    def root(self) -> list[Pointer]:
        """The pointers to index blocks."""
        root = self.read_pointers(self.footer.root)
        offsets = [pointer.offset for pointer in root]
        if offsets != sorted(set(offsets)):
            raise self.damage(self.footer.root.offset, "the root's pointers do not ascend")
        return root

    def read_index(self, pointer: Pointer) -> list[Pointer]:
        """The pointers to data blocks in an index block."""
        block = self.read_pointers(pointer)
        if not 1 <= len(block) <= INDEX_POINTERS:
            raise self.damage(pointer.offset, f"an index block of {len(block)} pointers")
        if block[0][:2] != pointer[:2]:
            raise self.damage(pointer.offset, "the root names another first record")
        return block

    def pointers(self) -> list[Pointer]:
        """The pointers to all data blocks."""
        if self._pointers is None:
            found = [data for index in self.root() for data in self.read_index(index)]
            firsts = [pointer[:2] for pointer in found]
            if firsts != sorted(firsts):
                raise self.damage(self.footer.root.offset, "data blocks are out of order")
            self._pointers = found
        return self._pointers

    def read_records(self, pointer: Pointer) -> list[Record]:
        """The records of a data block."""
        found = self._blocks.get(pointer.offset)
        if found is None:
            place = Place(self.name, pointer.offset)
            # Behind a compressed block's place, an offset counts unpacked bytes.
            found = list(decode_records(self.read_block(pointer), place))
            if not found:
                raise place.damage("a data block without records")
            self._blocks[pointer.offset] = found
            if len(self._blocks) > CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        return found

    # ---- pages

    def bitmap(self) -> bytes:
        """One bit for each page from the first to the last, lowest first."""
        if self._bitmap is None:
            self._bitmap = self.read_block(self.footer.bitmap)
        return self._bitmap

    def has_page(self, page: int) -> bool:
        """Whether there are records of the page."""
        footer = self.footer
        if footer.records == 0 or not footer.first_page <= page <= footer.last_page:
            return False
        index, bit = divmod(page - footer.first_page, 8)
        bitmap = self.bitmap()
        if index >= len(bitmap):
            raise self.damage(footer.bitmap.offset, "the bitmap is too short")
        return bool(bitmap[index] >> bit & 1)

    def pages(self) -> Iterator[int]:
        """All pages that there are records of."""
        if self.footer.records == 0:
            return
        for index, byte in enumerate(self.bitmap()):
            for bit in range(8 if byte else 0):
                if byte >> bit & 1:
                    yield self.footer.first_page + 8 * index + bit

    def records_of(self, page: int) -> list[tuple[Record, Place]]:
        """The records of a page, oldest first, and where they are."""
        if not self.has_page(page):
            return []
        pointers = self.pointers()
        first = max(bisect_left(pointers, page, key=lambda pointer: pointer.page) - 1, 0)
        end = bisect_right(pointers, page, key=lambda pointer: pointer.page)
        return [
            (record, Place(self.name, pointer.offset))
            for pointer in pointers[first:end]
            for record in self.read_records(pointer)
            if record.page == page
        ]


def layer_number(path: Path) -> int | None:
    """The number in a file's name; None when it is no layer's."""
    digits = path.name.removeprefix("layer-")
    if digits == path.name or len(digits) != 16 or digits.strip("0123456789abcdef"):
        return None
    return int(digits, 16)
