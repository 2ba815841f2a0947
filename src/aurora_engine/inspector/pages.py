"""Pages, and redo applied to them. Normative: docs/format/page.md and record.md."""

from __future__ import annotations

import struct
from itertools import pairwise

from .records import (
    DELETE,
    EDIT,
    FORMAT,
    IMAGE,
    INSERT,
    INSERT_MANY,
    PATCH,
    PATCH_CELL,
    REPLACE,
    Record,
    cells_of,
    edits_of,
)

HEADER = struct.Struct("<QQQBBHIIIQQ")
BODY_AT = 56
IMAGE_FROM = 24
LINK_AT = 40
U16 = struct.Struct("<H")
U64 = struct.Struct("<Q")

FREE, LEAF, INNER, OVERFLOW, BITMAP, META, SQL = range(7)
TYPES = {
    FREE: "free",
    LEAF: "leaf",
    INNER: "inner",
    OVERFLOW: "overflow",
    BITMAP: "bitmap",
    META: "meta",
    SQL: "SQL",
}


class Refused(Exception):
    """A record does not fit the page, or a page is not sound; the message says why."""


class Page:
    """A page that redo is applied to.

    Parameters
    ----------
    size : int
        Page size in bytes.
    """

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)
        self.size = size

    def header(self) -> tuple[int, ...]:
        """The fields of the header, in the order of the document."""
        return HEADER.unpack_from(self.bytes)

    @property
    def id(self) -> int:
        """Page id."""
        return int(self.header()[1])

    @property
    def lsn(self) -> int:
        """LSN of the newest record that was applied."""
        return int(self.header()[2])

    @property
    def type(self) -> int:
        """Type of the page."""
        return self.bytes[24]

    @property
    def level(self) -> int:
        """Height above the leaves."""
        return self.bytes[25]

    @property
    def slots(self) -> int:
        """Number of slots."""
        return int.from_bytes(self.bytes[26:28], "little")

    @property
    def heap(self) -> int:
        """Offset of the lowest byte of the heap."""
        return int.from_bytes(self.bytes[28:32], "little")

    @property
    def garbage(self) -> int:
        """Bytes inside the heap that belong to no cell."""
        return int.from_bytes(self.bytes[32:36], "little")

    @property
    def link(self) -> int:
        """Leftmost child, or bytes of payload."""
        return int.from_bytes(self.bytes[40:48], "little")

    @property
    def has_slots(self) -> bool:
        """Whether pages of this type have slots."""
        return self.type in (LEAF, INNER)

    def slot(self, index: int) -> tuple[int, int]:
        """Offset of a slot's cell and length of its bytes."""
        offset = U16.unpack_from(self.bytes, BODY_AT + 2 * index)[0]
        if offset < self.heap or offset + 2 > self.size:
            raise Refused(f"the cell of slot {index} at {offset} is outside of the heap")
        length = U16.unpack_from(self.bytes, offset)[0]
        if offset + 2 + length > self.size:
            raise Refused(f"the cell of slot {index} at {offset} ends behind the page")
        return offset, length

    def cell(self, index: int) -> bytes:
        """The bytes of a slot's cell."""
        offset, length = self.slot(index)
        return bytes(self.bytes[offset + 2 : offset + 2 + length])

    # ---- checks

    def check_kind(self) -> None:
        """Rules 1 and 2."""
        if self.type not in TYPES or (self.level > 0) != (self.type == INNER):
            raise Refused(f"type {self.type} with level {self.level}")
        if self.type == OVERFLOW and self.link > self.size - BODY_AT:
            raise Refused(f"an overflow page with {self.link} bytes of payload")

    def check_layout(self) -> None:
        """Rules 3 and 4, and that there is no more garbage than heap."""
        if not BODY_AT + 2 * self.slots <= self.heap <= self.size:
            raise Refused(f"{self.slots} slots and a heap from {self.heap}")
        if self.garbage > self.size - self.heap:
            raise Refused(f"{self.garbage} bytes of garbage in a heap from {self.heap}")
        if not self.has_slots and (self.slots, self.heap, self.garbage) != (0, self.size, 0):
            raise Refused("a page without slots that has slots, heap or garbage")

    def check(self) -> None:
        """All of the rules."""
        self.check_kind()
        self.check_layout()
        cells = sorted(self.slot(index) for index in range(self.slots))
        for (offset, length), (following, _) in pairwise(cells):
            if offset + 2 + length > following:
                raise Refused(f"the cells at {offset} and {following} overlap")
        live = sum(2 + length for _, length in cells)
        if live + self.garbage != self.size - self.heap:
            raise Refused(f"{live} bytes of cells and {self.garbage} of garbage are not the heap")

    # ---- redo

    def apply(self, record: Record) -> None:
        """Applies a record; a page that refused one is not used any more.

        Raises
        ------
        Refused
            If a rule of the operation does not hold.
        """
        if record.op == FORMAT:
            self._format(record)
        elif record.op == IMAGE:
            self._image(record)
        else:
            self._change(record)
        self.bytes[0:8] = bytes(8)
        self.bytes[16:24] = U64.pack(record.lsn)

    def _format(self, record: Record) -> None:
        if len(record.body) != 12:
            raise Refused(f"a FORMAT with a body of {len(record.body)} bytes")
        self.bytes = bytearray(self.size)
        self.bytes[8:16] = U64.pack(record.page)
        self.bytes[24] = record.arg & 255
        self.bytes[25] = record.arg >> 8
        self.bytes[36:48] = record.body
        self._set_layout(0, self.size, 0)
        self.check_kind()

    def _image(self, record: Record) -> None:
        room = self.size - IMAGE_FROM
        head = int.from_bytes(record.body[:4], "little")
        content = record.body[4:]
        if len(record.body) < 4 or len(content) > room:
            raise Refused(f"an IMAGE of {len(content)} bytes")
        if not BODY_AT - IMAGE_FROM <= head <= len(content):
            raise Refused(f"an IMAGE of {len(content)} bytes with {head} bytes of head")
        gap = bytes(room - len(content))
        self.bytes[8:16] = U64.pack(record.page)
        self.bytes[IMAGE_FROM:] = content[:head] + gap + content[head:]
        self.check()

    def _change(self, record: Record) -> None:
        if self.lsn != record.prev or self.id != record.page:
            raise Refused(
                f"it changes page {record.page} as of LSN {record.prev}, this is page {self.id} "
                f"as of LSN {self.lsn}"
            )
        if len(record.body) > self.size:
            raise Refused(f"a body of {len(record.body)} bytes")
        self.check_layout()
        if record.op == PATCH:
            self._patch(record)
            return
        if record.op == EDIT:
            self._edit(record)
            return
        if not self.has_slots:
            raise Refused("the page has no slots")
        operations = {
            INSERT: self._insert,
            INSERT_MANY: self._insert,
            DELETE: self._delete,
            REPLACE: self._replace,
            PATCH_CELL: self._patch_cell,
        }
        operations[record.op](record)

    def _set_layout(self, slots: int, heap: int, garbage: int) -> None:
        struct.pack_into("<HII", self.bytes, 26, slots, heap, garbage)

    def _directory(self) -> list[int]:
        return list(struct.unpack_from(f"<{self.slots}H", self.bytes, BODY_AT))

    def _set_directory(self, slots: list[int], heap: int, garbage: int) -> None:
        """Writes the slots; the directory's freed end becomes zero."""
        freed = max(self.slots - len(slots), 0)
        end = BODY_AT + 2 * len(slots)
        struct.pack_into(f"<{len(slots)}H", self.bytes, BODY_AT, *slots)
        self.bytes[end : end + 2 * freed] = bytes(2 * freed)
        self._set_layout(len(slots), heap, garbage)

    def _make_room(self, needed: int, vacated: int | None) -> None:
        """Makes the gap at least ``needed`` bytes wide, by compacting when it is too small."""
        gap = self.heap - BODY_AT - 2 * self.slots
        if needed <= gap:
            return
        if needed > gap + self.garbage:
            raise Refused(f"{needed} bytes do not fit {gap + self.garbage} free ones")
        slots = self._directory()
        heap = self.size
        packed = bytearray(self.size)
        for index in range(len(slots)):
            if index == vacated:
                continue
            offset, length = self.slot(index)
            heap -= 2 + length
            if heap < self.heap:
                raise Refused("cells that overlap")
            packed[heap : heap + 2 + length] = self.bytes[offset : offset + 2 + length]
            slots[index] = heap
        self.bytes[self.heap :] = bytes(heap - self.heap) + packed[heap:]
        self._set_directory(slots, heap, 0)
        if needed > heap - BODY_AT - 2 * len(slots):
            raise Refused("more garbage was counted than there is")

    def _put_cell(self, heap: int, content: bytes) -> int:
        heap -= 2 + len(content)
        self.bytes[heap : heap + 2 + len(content)] = U16.pack(len(content)) + content
        return heap

    def _discard(self, offset: int, length: int) -> None:
        if length > self.size - self.heap - self.garbage:
            raise Refused("more garbage than heap")
        self.bytes[offset : offset + length] = bytes(length)
        self._set_layout(self.slots, self.heap, self.garbage + length)

    def _insert(self, record: Record) -> None:
        cells = [record.body] if record.op == INSERT else cells_of(record.body)
        if cells is None or record.arg > self.slots:
            raise Refused(f"cells that do not fit, or slot {record.arg} of {self.slots}")
        self._make_room(sum(4 + len(cell) for cell in cells), None)
        slots = self._directory()
        heap = self.heap
        for index, cell in enumerate(cells):
            heap = self._put_cell(heap, cell)
            slots.insert(record.arg + index, heap)
        self._set_directory(slots, heap, self.garbage)

    def _delete(self, record: Record) -> None:
        count = int.from_bytes(record.body, "little")
        if len(record.body) != 2 or count == 0 or record.arg + count > self.slots:
            raise Refused(f"{count} slots from {record.arg} of {self.slots}")
        for index in range(record.arg, record.arg + count):
            offset, length = self.slot(index)
            self._discard(offset, 2 + length)
        slots = self._directory()
        del slots[record.arg : record.arg + count]
        self._set_directory(slots, self.heap, self.garbage)

    def _replace(self, record: Record) -> None:
        content = record.body
        if record.arg >= self.slots:
            raise Refused(f"slot {record.arg} of {self.slots}")
        offset, length = self.slot(record.arg)
        if len(content) <= length:
            end = offset + 2 + len(content)
            self.bytes[offset:end] = U16.pack(len(content)) + content
            self._discard(end, length - len(content))
            return
        free = self.heap - BODY_AT - 2 * self.slots + self.garbage
        if 2 + len(content) > free + 2 + length:
            raise Refused(f"a cell of {len(content)} bytes does not fit")
        self._discard(offset, 2 + length)
        self._make_room(2 + len(content), record.arg)
        heap = self._put_cell(self.heap, content)
        slots = self._directory()
        slots[record.arg] = heap
        self._set_directory(slots, heap, self.garbage)

    def _patch_cell(self, record: Record) -> None:
        if len(record.body) < 2 or record.arg >= self.slots:
            raise Refused(f"slot {record.arg} of {self.slots}")
        offset, length = self.slot(record.arg)
        start = U16.unpack_from(record.body)[0]
        content = record.body[2:]
        if start + len(content) > length:
            raise Refused(f"bytes {start} to {start + len(content)} of a cell of {length}")
        at = offset + 2 + start
        self.bytes[at : at + len(content)] = content

    def _edit(self, record: Record) -> None:
        edits = edits_of(record.body)
        if edits is None or self.type != SQL:
            raise Refused(f"edits that do not fit, or of a page of type {self.type}")
        for to, length, content, source in edits:
            inside = length > 0 and to >= BODY_AT and to + length <= self.size
            if content is None:
                inside = inside and source >= BODY_AT and source + length <= self.size
            if not inside:
                raise Refused(f"{length} bytes at {to}, outside of the payload")
            # A slice is a copy: all is read before anything is written.
            moved = self.bytes[source : source + length] if content is None else content
            self.bytes[to : to + length] = moved

    def _patch(self, record: Record) -> None:
        end = BODY_AT if self.has_slots else self.size
        if record.arg < LINK_AT or record.arg + len(record.body) > end:
            raise Refused(f"bytes {record.arg} to {record.arg + len(record.body)}")
        self.bytes[record.arg : record.arg + len(record.body)] = record.body
        self.check_kind()
