"""A segment of the C core that is fed with redo made by hand, and what its pages must be.

Tests use it to reach what the engine seldom writes: every operation of records, backtracks and
truncations, horizons, many small layers.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import xxhash

from aurora_engine._ext.disk import Disk
from aurora_engine._ext.frame import Frame
from aurora_engine._ext.records import RewindRecord, SegmentIdentity
from aurora_engine._ext.segment import Segment
from aurora_engine.errors import SnapshotTooOldError
from aurora_engine.inspector import pages, records
from aurora_engine.inspector.frames import HEADER
from aurora_engine.inspector.pages import Page

VOLUME = bytes(range(16))
GROUP_PAGES = 64
SMALL = {
    "extent_bytes": 1 << 18,
    "memtable_bytes": 1 << 15,
    "merge_fanout": 2,
    "delta_bytes": 1 << 15,
    "part_bytes": 1 << 15,
}


class SegmentByHand:
    """A segment in ``folder``, the redo that it was given, and every state that it had."""

    def __init__(self, folder: Path, rng: random.Random, page_bytes: int) -> None:
        self.rng = rng
        self.page_bytes = page_bytes
        self.identity = SegmentIdentity(VOLUME, 1, 2, page_bytes, 6, GROUP_PAGES)
        folder.mkdir()
        self.disk = Disk.posix(folder)
        Segment.create(self.disk, self.identity, 1, 0)
        self.segment = self._open()
        self.epoch = 1
        self.lsn = 0
        self.last = 0
        self.time_us = 1_700_000_000_000_000
        self.horizon = 0
        self.present: dict[int, bytes] = {}
        self.moments: list[tuple[int, dict[int, bytes]]] = [(0, {})]

    def _open(self) -> Segment:
        return Segment.open(self.disk, self.identity, **SMALL)

    def reopen(self) -> None:
        """Closes the segment and opens it again."""
        self.segment.close()
        self.segment = self._open()

    def close(self) -> None:
        self.segment.close()
        self.disk.close()

    # ---- redo

    def _record(self, op: int, page: int, arg: int, body: bytes, prev: int, commit: bool) -> bytes:
        self.lsn += self.rng.choice((1, 1, 3))
        flags = (records.INIT if op in (records.FORMAT, records.IMAGE) else 0) | commit
        time = struct.pack("<Q", self.time_us) if commit else b""
        length = records.HEADER.size + len(body) + len(time)
        prev = 0 if flags & records.INIT else prev
        return records.HEADER.pack(length, op, flags, arg, self.lsn, page, prev) + body + time

    def _operation(self, page: Page) -> tuple[int, int, bytes]:
        """An operation that fits the page: op, arg, body."""
        rng = self.rng
        if page.id == 0 or rng.random() < 0.02:
            kinds = (pages.LEAF, pages.LEAF, pages.INNER, pages.BITMAP, pages.OVERFLOW, pages.SQL)
            kind = rng.choice(kinds)
            arg = kind + 256 * (kind == pages.INNER)
            link = rng.randrange(page.size - 56) if kind == pages.OVERFLOW else rng.getrandbits(64)
            return records.FORMAT, arg, struct.pack("<IQ", rng.getrandbits(32), link)
        if page.type == pages.SQL and rng.random() < 0.8:
            return records.EDIT, 0, b"".join(self._edit(page.size) for _ in range(3))
        if not page.has_slots:
            start = rng.randrange(56, page.size)
            body = rng.randbytes(rng.randrange(min(200, page.size - start) + 1))
            return records.PATCH, start, body
        free = page.heap - 56 - 2 * page.slots + page.garbage
        choice = rng.random()
        if page.slots and choice < 0.15:
            first = rng.randrange(page.slots)
            count = rng.randrange(1, min(4, page.slots - first) + 1)
            return records.DELETE, first, struct.pack("<H", count)
        if page.slots and choice < 0.45:
            slot = rng.randrange(page.slots)
            length = len(page.cell(slot))
            body = rng.randbytes(min(rng.choice((0, length, length + 9)), length + free))
            return records.REPLACE, slot, body
        if page.slots and choice < 0.55:
            slot = rng.randrange(page.slots)
            length = len(page.cell(slot))
            start = rng.randrange(length + 1)
            body = rng.randbytes(rng.randrange(length - start + 1))
            return records.PATCH_CELL, slot, struct.pack("<H", start) + body
        if choice < 0.6:
            return records.PATCH, 40, rng.randbytes(16)
        if choice < 0.75 and free > 500:
            cells = [rng.randbytes(rng.randrange(60)) for _ in range(rng.randrange(1, 6))]
            body = b"".join(struct.pack("<H", len(cell)) + cell for cell in cells)
            return records.INSERT_MANY, rng.randrange(page.slots + 1), body
        if free >= 4:
            body = rng.randbytes(rng.randrange(min(150, free - 4) + 1))
            return records.INSERT, rng.randrange(page.slots + 1), body
        return records.DELETE, 0, struct.pack("<H", 1)

    def _edit(self, page_bytes: int) -> bytes:
        """An edit of an SQL page that fits; moves may overlap."""
        rng = self.rng
        length = rng.randrange(1, rng.choice((20, 300, page_bytes - 56)))
        to, source = (56 + rng.randrange(page_bytes - 56 - length + 1) for _ in range(2))
        if rng.random() < 0.5:
            return struct.pack("<BHHH", records.MOVE, to, length, source)
        length = min(length, 200)
        return struct.pack("<BHH", records.WRITE, to, length) + rng.randbytes(length)

    def _change(self, page_id: int, commit: bool) -> bytes:
        page = Page(self.page_bytes)
        page.bytes[:] = self.present.get(page_id, bytes(self.page_bytes))
        op, arg, body = self._operation(page)
        encoded = self._record(op, page_id, arg, body, page.lsn, commit)
        record = records.decode_record(encoded, 0, records.Place("by hand", 0))
        page.apply(record)
        self.present[page_id] = bytes(page.bytes)
        return encoded

    def append(self, *, durable: bool = True) -> None:
        """Appends a frame of a few mini-transactions, which VDL then covers if ``durable``."""
        rng = self.rng
        volume_first = self.lsn + 1
        vdl = self.segment.state().vdl
        payload: list[bytes] = []
        for _ in range(rng.randrange(1, 4)):
            self.time_us += rng.randrange(1000)
            changes = rng.randrange(1, 5)
            for left in range(changes - 1, -1, -1):
                page_id = GROUP_PAGES + min(rng.randrange(GROUP_PAGES), rng.randrange(GROUP_PAGES))
                payload.append(self._change(page_id, commit=left == 0))
            self.moments.append((self.lsn, dict(self.present)))
        self._send(payload, volume_first, vdl)
        if durable:
            self.segment.set_vdl(self.last)

    def _send(self, payload: list[bytes], volume_first: int, vdl: int) -> None:
        seed = xxhash.xxh3_64_intdigest(VOLUME)
        body = b"".join(payload)
        first = records.HEADER.unpack_from(payload[0])[4]
        fields: list[Any] = [b"AURFRAME", HEADER.size + len(body), len(payload), self.epoch]
        fields += [self.last, first, self.lsn, volume_first, self.lsn, self.lsn, vdl, self.time_us]
        fields += [1, 1, 1, xxhash.xxh3_64_intdigest(body, seed)]
        head = HEADER.pack(*fields, 0)[:104]
        content = head + struct.pack("<Q", xxhash.xxh3_64_intdigest(head, seed)) + body
        self.segment.append(Frame.from_bytes(content, VOLUME))
        self.last = self.lsn

    # ---- history

    def _rewind(self, to: int, kind: int) -> None:
        self.epoch += 1
        self.segment.set_epoch(self.epoch)
        self.segment.rewind(
            RewindRecord(self.lsn, to, self.epoch, self.time_us, kind, 3, "by hand")
        )

    def backtrack(self) -> None:
        """Makes a retained moment the present again; commits go on two LSNs later."""
        self.append()  # two rewinds never have one LSN
        retained = [moment for moment in self.moments if moment[0] >= self.horizon]
        to, state = self.rng.choice(retained)
        self.segment.set_vdl(self.last)
        self._rewind(to, 2)
        self.lsn += 1
        self.present = dict(state)
        self.moments.append((self.lsn, dict(state)))
        self.segment.set_vdl(self.lsn)

    def truncate(self) -> None:
        """Appends frames that VDL never covers, and drops them."""
        self.append()
        to, last = self.lsn, self.last
        known = len(self.moments)
        state = dict(self.present)
        for _ in range(self.rng.randrange(1, 3)):
            self.append(durable=False)
        del self.moments[known:]
        self._rewind(to, 1)
        self.present = state
        self.last = last

    def raise_horizon(self) -> None:
        """Gives up a part of the history."""
        self.horizon = self.rng.randrange(self.horizon, self.lsn + 1)
        self.segment.retain(self.horizon)

    def step(self) -> None:
        """Something random."""
        choice = self.rng.random()
        if choice < 0.80:
            self.append()
        elif choice < 0.84:
            self.backtrack()
        elif choice < 0.88:
            self.truncate()
        elif choice < 0.92:
            self.raise_horizon()
        elif choice < 0.95:
            self.segment.compact()
        elif choice < 0.97:
            self.reopen()
        while self.rng.random() < 0.5 and self.segment.work():
            pass

    def read(self, page_id: int, moment: int) -> bytes | str | None:
        """The page as the C core reads it; ``"collected"`` for a moment that is gone."""
        try:
            return self.segment.read_page(page_id, moment)
        except SnapshotTooOldError:
            return "collected"
