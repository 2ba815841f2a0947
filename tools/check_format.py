"""Check that the byte tables in docs/format/ and the offsets in the C headers are the same.

docs/format/*.md is normative. Each structure has a table there, announced by a marker:

    <!-- struct: aur_frame -->

    | offset | size | field | meaning |
    |-------:|-----:|-------|---------|
    |      0 |    8 | magic | "AURFRAME" |
    |    112 |    … | body  | the records |

and one constant per field in a header under csrc/: ``AUR_FRAME_MAGIC_AT = 0`` in an enum, or
``#define AUR_FRAME_MAGIC_AT 0``. Checked: every row has its constant with that value, and every
constant ending in _AT has its row; the fields follow each other without hole or overlap. A size
that is not a number (variable length) ends the check of the sequence; a field whose name starts
with "reserved" needs no constant. If ``AUR_FRAME_BYTES`` or ``AUR_FRAME_HEADER_BYTES`` exists, it
must be where the last fixed field ends.

Usage: ``python -m tools.check_format``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.sources import relative, report, source_files, without_comments

MARKER = re.compile(r"^<!--\s*struct:\s*(\w+)\s*-->\s*$")
ENUM_ENTRY = re.compile(r"\b(AUR_\w+)\s*=\s*([^,}]+)")
DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(AUR_\w+)[ \t]+([^\n\\]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One field of a documented structure; size is None when it varies."""

    offset: int
    size: int | None
    name: str
    place: str


@dataclass
class Structure:
    """A documented structure with its rows in order."""

    name: str
    place: str
    rows: list[Row] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        return self.name.upper() + "_"


def number(text: str) -> int | None:
    digits = text.strip().strip("`").replace("_", "").replace(",", "")
    try:
        return int(digits, 0)
    except ValueError:
        return None


def read_document(path: Path, problems: list[str]) -> list[Structure]:
    structures: list[Structure] = []
    current: Structure | None = None
    for line_number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        place = f"{relative(path)}:{line_number}"
        marker = MARKER.match(line.strip())
        if marker:
            current = Structure(marker.group(1), place)
            structures.append(current)
        elif current and line.lstrip().startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if cells[0].lower() == "offset" or set(cells[0]) <= set(":- "):
                continue
            offset = number(cells[0])
            if offset is None or len(cells) < 4:
                problems.append(f"{place}: not a row of offset | size | field | meaning")
                continue
            name = re.sub(r"\W+", "_", cells[2].strip("` *")).strip("_").lower()
            current.rows.append(Row(offset, number(cells[1]), name, place))
        elif current and current.rows:
            current = None
    problems.extend(f"{s.place}: no table follows the marker" for s in structures if not s.rows)
    return structures


def evaluate(expression: str, known: dict[str, int]) -> int | None:
    """Return the value of a constant expression of numbers, known names and + - * << | ()."""
    text = re.sub(r"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]+\b", r"\1", expression.strip())
    text = re.sub(r"\((?:u?int\d+_t|size_t|unsigned)\)", "", text)
    try:
        return fold(ast.parse(text, mode="eval").body, known)
    except (SyntaxError, KeyError, TypeError):
        return None


def fold(node: ast.expr, known: dict[str, int]) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return known[node.id]
    if isinstance(node, ast.BinOp):
        left, right = fold(node.left, known), fold(node.right, known)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.LShift):
            return left << right
        if isinstance(node.op, ast.BitOr):
            return left | right
    raise TypeError(ast.dump(node))


def read_constants() -> tuple[dict[str, int], dict[str, str]]:
    """Return the values of the AUR_ constants in all headers, and where each _AT one stands."""
    found: list[tuple[str, str, str]] = []
    for path in source_files(".h", under="csrc"):
        code = without_comments(path.read_text(encoding="utf-8"))
        for pattern in (ENUM_ENTRY, DEFINE):
            for match in pattern.finditer(code):
                line = code.count("\n", 0, match.start()) + 1
                found.append((match.group(1), match.group(2), f"{relative(path)}:{line}"))
    values: dict[str, int] = {}
    # A constant may be written in terms of one in another file: go round until nothing is new.
    for _ in range(4):
        for name, expression, _place in found:
            value = evaluate(expression, values)
            if value is not None:
                values[name] = value
    return values, {name: place for name, _, place in found if name.endswith("_AT")}


def structure_problems(structure: Structure, values: dict[str, int]) -> Iterator[str]:
    expected: int | None = 0
    for row in structure.rows:
        if expected is not None and row.offset != expected:
            yield f"{row.place}: {row.name} is at {row.offset}, the field before ends at {expected}"
        expected = None if row.size is None else row.offset + row.size
        constant = f"{structure.prefix}{row.name.upper()}_AT"
        if constant in values:
            if values[constant] != row.offset:
                yield f"{row.place}: offset {row.offset}, but {constant} = {values[constant]}"
        elif not row.name.startswith("reserved"):
            yield f"{row.place}: {constant} is in no header"
    last = structure.rows[-1]
    end = last.offset + (last.size or 0)
    for constant in (f"{structure.prefix}BYTES", f"{structure.prefix}HEADER_BYTES"):
        if constant in values and values[constant] != end:
            yield f"{last.place}: {structure.name} ends at {end}, {constant} = {values[constant]}"


def undocumented(
    structures: list[Structure], values: dict[str, int], places: dict[str, str]
) -> Iterator[str]:
    rows = {f"{s.prefix}{row.name.upper()}_AT" for s in structures for row in s.rows}
    for name, place in sorted(places.items()):
        if name not in values:
            yield f"{place}: the value of {name} could not be worked out"
        elif name not in rows:
            yield f"{place}: {name} is in no table of docs/format"


def main() -> int:
    problems: list[str] = []
    structures: list[Structure] = []
    for path in source_files(".md", under="docs/format"):
        structures += read_document(path, problems)
    values, places = read_constants()
    for structure in structures:
        if structure.rows:
            problems.extend(structure_problems(structure, values))
    problems.extend(undocumented(structures, values, places))
    row_count = sum(len(structure.rows) for structure in structures)
    if not structures:
        problems.append("docs/format documents no structure")
    success = f"{len(structures)} structures, {row_count} fields agree with the headers"
    return report("check_format", problems, success)


if __name__ == "__main__":
    sys.exit(main())
