"""Write the starting inputs of the fuzz targets into tests/fuzz/corpus/.

They are small and valid, so that a fuzzer begins behind the first checks. The bytes are made from
docs/format/ alone, without the C code: this is also a second reader of those documents.

Usage: ``python tests/fuzz/make_corpus.py`` (needs the PyPI package xxhash).
"""

from __future__ import annotations

import struct
from pathlib import Path

import xxhash

CORPUS = Path(__file__).parent / "corpus"
FRAME_SEED = 42
PAGE_BYTES = 4096
TIME_US = 1_700_000_000_000_000

FORMAT, IMAGE, INSERT, INSERT_MANY, DELETE, REPLACE, PATCH_CELL, PATCH, EDIT = range(1, 10)
LEAF, INNER, OVERFLOW, SQL = 1, 2, 3, 6
CPL, INIT = 1, 2


def record(op: int, arg: int, lsn: int, body: bytes, flags: int = 0) -> bytes:
    previous = 0 if flags & INIT else lsn - 1
    time = struct.pack("<Q", TIME_US) if flags & CPL else b""
    length = 32 + len(body) + len(time)
    return struct.pack("<IBBHQQQ", length, op, flags, arg, lsn, 1, previous) + body + time


def cell(value: bytes) -> bytes:
    return struct.pack("<H", len(value)) + value


def leaf_records() -> bytes:
    """Return one record of each operation on a leaf."""
    return b"".join(
        [
            record(FORMAT, LEAF, 1, struct.pack("<IQ", 7, 0), INIT),
            record(INSERT, 0, 2, b"first"),
            record(INSERT_MANY, 1, 3, cell(b"second") + cell(b"") + cell(b"x" * 900)),
            record(REPLACE, 0, 4, b"y" * 1500),
            record(PATCH_CELL, 1, 5, struct.pack("<H", 2) + b"CO"),
            record(DELETE, 2, 6, struct.pack("<H", 2)),
            record(INSERT, 1, 7, b"z" * 1800),
            record(PATCH, 48, 8, struct.pack("<Q", 3), CPL),
        ]
    )


def overflow_records() -> bytes:
    return record(FORMAT, OVERFLOW, 1, struct.pack("<IQ", 7, 300), INIT) + record(
        PATCH, 56, 2, bytes(range(256)), CPL
    )


def write(to: int, content: bytes) -> bytes:
    return struct.pack("<BHH", 1, to, len(content)) + content


def move(to: int, length: int, source: int) -> bytes:
    return struct.pack("<BHHH", 2, to, length, source)


def sql_records() -> bytes:
    """Return edits of an SQL page that write, move up, down and over themselves."""
    return b"".join(
        [
            record(FORMAT, SQL, 1, struct.pack("<IQ", 7, 0), INIT),
            record(EDIT, 0, 2, write(56, bytes(range(100))) + write(4000, b"cell" * 24)),
            record(EDIT, 0, 3, move(66, 80, 64) + write(64, b"ab")),
            record(EDIT, 0, 4, move(56, 4040, 56) + move(60, 3000, 56) + move(56, 3000, 60), CPL),
        ]
    )


def page_parts(cells: list[bytes], garbage: int, page_type: int, level: int) -> tuple[bytes, bytes]:
    """Return the head (from byte 24) and the tail of a page with these cells."""
    heap, slots, tail = PAGE_BYTES, b"", b""
    for value in cells:
        heap -= 2 + len(value)
        slots += struct.pack("<H", heap)
        tail = cell(value) + tail
    heap -= garbage
    header = struct.pack("<BBHIIIQQ", page_type, level, len(cells), heap, garbage, 7, 5, 6)
    return header + slots, bytes(garbage) + tail


def image_record(head: bytes, tail: bytes) -> bytes:
    return record(IMAGE, 0, 9, struct.pack("<I", len(head)) + head + tail, INIT)


def page_input(head: bytes, tail: bytes, records: bytes) -> bytes:
    return struct.pack("<HH", len(head), len(tail)) + head + tail + records


def frame(records: list[bytes], first: int) -> bytes:
    payload = b"".join(records)
    last = first + len(records) - 1
    header = b"AURFRAME" + struct.pack(
        "<IIQQQQQQQQQIHHQ",
        112 + len(payload),
        len(records),
        3,  # epoch
        first - 1,
        first,
        last,
        first,
        last,
        last,  # highest CPL
        first - 1,  # VDL
        TIME_US,
        0,
        1,
        1,  # version
        xxhash.xxh3_64_intdigest(payload, FRAME_SEED),
    )
    return header + struct.pack("<Q", xxhash.xxh3_64_intdigest(header, FRAME_SEED)) + payload


def inputs() -> dict[str, bytes]:
    leaf = page_parts([b"alpha", b"", b"gamma" * 9], 40, LEAF, 0)
    inner = page_parts([b"left", b"right"], 0, INNER, 1)
    changes = record(INSERT, 1, 1, b"beta") + record(REPLACE, 0, 2, b"w" * 3800)
    return {
        "record/leaf": leaf_records(),
        "record/overflow": overflow_records(),
        "record/sql": sql_records(),
        "record/image": image_record(*leaf) + record(DELETE, 0, 10, struct.pack("<H", 3)),
        "page/leaf": page_input(*leaf, changes),
        "page/inner": page_input(*inner, record(PATCH, 40, 1, struct.pack("<Q", 2))),
        "page/sql": page_input(
            struct.pack("<BBHIIIQQ", SQL, 0, 0, PAGE_BYTES, 0, 7, 0, 0) + b"pointers" * 20,
            b"cells" * 90,
            record(EDIT, 0, 1, move(70, 100, 68) + write(68, b"xy")),
        ),
        "edit/written": struct.pack("<HHH", 100, 40, 3) + b"written by hand" * 8,
        "edit/moved": struct.pack("<HHHHHH", 1, 3000, 500, 2, 90, 88) + b"moved" * 30,
        "page/empty": page_input(page_parts([], 0, LEAF, 0)[0], b"", b""),
        "frame/one": frame([record(INSERT, 0, 5, b"only", CPL)], 5),
        "frame/many": frame(
            [record(INSERT, slot, 10 + slot, b"cell %d" % slot) for slot in range(6)], 10
        ),
    }


def main() -> None:
    for name, contents in inputs().items():
        path = CORPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)


if __name__ == "__main__":
    main()
