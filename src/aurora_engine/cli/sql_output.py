"""Rows of SQL as text: a table, CSV, JSON lines, or a line for each value."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from rich.cells import cell_len

__all__ = ["MODES", "NULL", "lines_of"]

NULL = "<NULL>"
BATCH = 500
"""Rows of a table that are looked at together, to make columns as wide as what is in them."""

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}

Rows = Iterable[Sequence[Any]]


def _shown(value: Any) -> str:
    if value is None:
        return NULL
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return str(value).translate(_CONTROLS)


def _table(names: Sequence[str], rows: Rows, headers: bool) -> Iterator[str]:
    source = iter(rows)
    widths = [0] * len(names)
    is_first = True
    while batch := list(islice(source, BATCH)):
        cells = [[_shown(value) for value in row] for row in batch]
        head = [[_shown(name) for name in names]] if headers and is_first else []
        for texts in chain(head, cells):
            widths = [max(pair) for pair in zip(widths, map(cell_len, texts), strict=True)]
        if head:
            yield _aligned(head[0], head[0], widths)
            yield "  ".join("-" * width for width in widths)
        for row, text in zip(batch, cells, strict=True):
            yield _aligned(row, text, widths)
        is_first = False


def _aligned(row: Sequence[Any], cells: list[str], widths: list[int]) -> str:
    """Numbers to the right, the rest to the left."""
    parts = []
    for value, text, width in zip(row, cells, widths, strict=True):
        space = " " * (width - cell_len(text))
        parts.append(space + text if isinstance(value, int | float) else text + space)
    return "  ".join(parts).rstrip()


def _csv_field(value: Any) -> str:
    """NULL is nothing at all, an empty text is quoted."""
    if value is None:
        return ""
    text = f"x'{value.hex()}'" if isinstance(value, bytes) else str(value)
    if not text or any(mark in text for mark in ',"\r\n') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def _csv(names: Sequence[str], rows: Rows, headers: bool) -> Iterator[str]:
    for row in chain([names] if headers else [], rows):
        yield ",".join(map(_csv_field, row))


def _json(names: Sequence[str], rows: Rows, headers: bool) -> Iterator[str]:  # noqa: ARG001
    unique: list[str] = []
    for name in names:
        count = sum(other == name for other in names[: len(unique)])
        unique.append(name if count == 0 else f"{name}:{count}")
    for row in rows:
        fields: dict[str, Any] = {}
        for name, value in zip(unique, row, strict=True):
            if isinstance(value, bytes):
                fields[f"{name}_base64"] = base64.b64encode(value).decode("ascii")
            elif isinstance(value, float) and not math.isfinite(value):
                fields[name] = str(value)
            else:
                fields[name] = value
        yield json.dumps(fields, ensure_ascii=False)


def _line(names: Sequence[str], rows: Rows, headers: bool) -> Iterator[str]:  # noqa: ARG001
    width = max(map(cell_len, names), default=0)
    for number, row in enumerate(rows):
        if number:
            yield ""
        for name, value in zip(names, row, strict=True):
            yield f"{' ' * (width - cell_len(name))}{name} = {_shown(value)}"


MODES: dict[str, Callable[[Sequence[str], Rows, bool], Iterator[str]]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
    "line": _line,
}


def lines_of(mode: str, names: Sequence[str], rows: Rows, headers: bool) -> Iterator[str]:
    """The lines that show rows in one of `MODES`."""
    return MODES[mode](names, rows, headers)
