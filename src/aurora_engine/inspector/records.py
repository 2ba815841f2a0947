"""Redo records. Normative: docs/format/record.md."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from .damage import Place

HEADER = struct.Struct("<IBBHQQQ")
TIME = struct.Struct("<Q")
EDIT_HEAD = struct.Struct("<BHH")
WRITE, MOVE = 1, 2
BYTES_MAX = 65548

FORMAT, IMAGE, INSERT, INSERT_MANY, DELETE, REPLACE, PATCH_CELL, PATCH, EDIT = range(1, 10)
NAMES = {
    FORMAT: "FORMAT",
    IMAGE: "IMAGE",
    INSERT: "INSERT",
    INSERT_MANY: "INSERT_MANY",
    DELETE: "DELETE",
    REPLACE: "REPLACE",
    PATCH_CELL: "PATCH_CELL",
    PATCH: "PATCH",
    EDIT: "EDIT",
}
CPL = 1
INIT = 2
PREVIEW_BYTES = 24


class Record(NamedTuple):
    """One operation on one page; ``time_us`` is there with the flag CPL."""

    length: int
    op: int
    flags: int
    arg: int
    lsn: int
    page: int
    prev: int
    body: bytes
    time_us: int | None

    @property
    def makes_page(self) -> bool:
        """Whether a search for the page's records may stop here."""
        return bool(self.flags & INIT)


def decode_record(content: bytes, at: int, place: Place) -> Record:
    """The record that begins ``at`` bytes into ``content``, which came from ``place``."""
    if len(content) - at < HEADER.size:
        raise place.damage("a record is cut short", at)
    length, op, flags, arg, lsn, page, prev = HEADER.unpack_from(content, at)
    extra = TIME.size if flags & CPL else 0
    if not HEADER.size + extra <= length <= BYTES_MAX + extra or at + length > len(content):
        raise place.damage(f"a record says that it has {length} bytes", at)
    if op not in NAMES or flags & ~(CPL | INIT):
        raise place.damage(f"a record has operation {op} and flags {flags}", at)
    if bool(flags & INIT) != (op in (FORMAT, IMAGE)) or (flags & INIT and prev != 0):
        raise place.damage(f"a record's flags {flags} and prev {prev} do not fit {NAMES[op]}", at)
    if prev >= lsn:
        raise place.damage(f"the record at LSN {lsn} follows LSN {prev}", at)
    end = at + length - extra
    time_us = TIME.unpack_from(content, end)[0] if extra else None
    return Record(length, op, flags, arg, lsn, page, prev, content[at + HEADER.size : end], time_us)


def decode_records(content: bytes, place: Place) -> Iterator[Record]:
    """The records that stand behind each other in ``content``."""
    at = 0
    while at < len(content):
        record = decode_record(content, at, place)
        yield record
        at += record.length


def cells_of(body: bytes) -> list[bytes] | None:
    """The cells in the body of an INSERT_MANY; None when it does not end with its last cell."""
    cells = []
    at = 0
    while at < len(body):
        if len(body) - at < 2:
            return None
        length = int.from_bytes(body[at : at + 2], "little")
        if at + 2 + length > len(body):
            return None
        cells.append(body[at + 2 : at + 2 + length])
        at += 2 + length
    return cells or None


class Edit(NamedTuple):
    """One edit in the body of an EDIT: ``length`` bytes at ``to`` become ``content``.

    Where that is None they become a copy of the bytes at ``source``.
    """

    to: int
    length: int
    content: bytes | None
    source: int


def edits_of(body: bytes) -> list[Edit] | None:
    """The edits in the body of an EDIT; None when it is not made of them."""
    edits = []
    at = 0
    while at < len(body):
        if len(body) - at < EDIT_HEAD.size:
            return None
        kind, to, length = EDIT_HEAD.unpack_from(body, at)
        at += EDIT_HEAD.size
        rest = body[at : at + (2 if kind == MOVE else length)]
        if kind not in (WRITE, MOVE) or len(rest) < (2 if kind == MOVE else max(length, 1)):
            return None
        if kind == MOVE:
            edits.append(Edit(to, length, None, int.from_bytes(rest, "little")))
        else:
            edits.append(Edit(to, length, rest, 0))
        at += len(rest)
    return edits or None


def preview(content: bytes) -> str:
    """The first bytes for people."""
    text = content[:PREVIEW_BYTES].decode("ascii", "backslashreplace")
    text = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
    return text + ("…" if len(content) > PREVIEW_BYTES else "")


def operation(record: Record) -> str:
    """What the record does, in a line."""
    name, arg, body = NAMES[record.op], record.arg, record.body
    number = int.from_bytes(body[:2], "little")
    if record.op == FORMAT:
        return f"{name} type {arg & 255} level {arg >> 8} body {body.hex()}"
    if record.op == IMAGE:
        return f"{name} {len(body)} bytes"
    if record.op == INSERT_MANY:
        cells = cells_of(body)
        held = "cells that do not fit" if cells is None else f"{len(cells)} cells"
        return f"{name} at slot {arg}: {held}, {len(body)} bytes"
    if record.op == EDIT:
        edits = edits_of(body)
        held = "edits that do not fit" if edits is None else f"{len(edits)} edits"
        return f"{name} {held}, {len(body)} bytes"
    if record.op == DELETE:
        return f"{name} {number} slots from {arg}"
    if record.op == PATCH_CELL:
        return f"{name} slot {arg} byte {number}: {len(body) - 2} bytes {preview(body[2:])}"
    place = "at byte" if record.op == PATCH else "slot"
    return f"{name} {place} {arg}: {len(body)} bytes {preview(body)}"


def record_facts(record: Record) -> dict[str, Any]:
    """A record for output."""
    return {
        "page": record.page,
        "lsn": record.lsn,
        "prev": record.prev,
        "op": NAMES[record.op],
        "arg": record.arg,
        "bytes": record.length,
        "init": record.makes_page,
        "commit_time_us": record.time_us,
        "operation": operation(record),
    }
