"""Check that files stay under 600 lines and functions under 70, in C, Python and Cython.

A limit that only people watch slides; this one fails the build. Docstrings are not counted into a
function's length: documentation is not what makes a function hard to hold in the head.

Usage: ``python -m tools.check_size``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.sources import relative, report, source_files, without_comments, without_directives

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

Function = tuple[str, int, int]  # name, first line, number of lines

CYTHON_FUNCTION = re.compile(r"^(\s*)(?:async\s+def|def|cdef|cpdef)\b.*?(\w+)\s*\(")
NOT_FUNCTION = re.compile(r"^\s*cdef\s+(?:class|struct|enum|union|extern|packed|public)\b")


def c_functions(text: str) -> Iterator[Function]:
    """Yield the functions of a C file: a brace at file level that follows a parameter list."""
    code = without_directives(without_comments(text))
    depth = 0
    opened: tuple[str, int] | None = None
    declaration_start = 0
    for match in re.finditer(r"[{};]", code):
        symbol, at = match.group(0), match.start()
        if symbol == "{":
            if depth == 0:
                declaration = code[declaration_start:at]
                head = re.match(r"[^=]*?(\w+)\s*\(.*\)[^=;]*$", declaration, re.DOTALL)
                if head:
                    skipped = len(declaration) - len(declaration.lstrip())
                    opened = (head.group(1), code.count("\n", 0, declaration_start + skipped) + 1)
            depth += 1
        elif symbol == "}":
            depth -= 1
            if depth == 0:
                if opened:
                    last_line = code.count("\n", 0, at) + 1
                    yield opened[0], opened[1], last_line - opened[1] + 1
                opened = None
                declaration_start = at + 1
        elif depth == 0:
            declaration_start = at + 1


def python_functions(text: str) -> Iterator[Function]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node, clean=False) is not None:
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield node.name, node.lineno, lines


def cython_functions(text: str) -> Iterator[Function]:
    """Yield the functions of a .pyx or .pxd by indentation; docstrings are taken out first."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        head = CYTHON_FUNCTION.match(lines[at])
        if not head or NOT_FUNCTION.match(lines[at]):
            at += 1
            continue
        start, indent = at, len(head.group(1))
        at += 1
        body = []
        while at < len(lines):
            line = lines[at]
            closes_head = line.lstrip().startswith(")")
            if line.strip() and len(line) - len(line.lstrip()) <= indent and not closes_head:
                break
            body.append(line)
            at += 1
        kept = re.sub(r'[ \t]*r?"""(.*?)"""', "", "\n".join(body).rstrip(), flags=re.DOTALL)
        yield head.group(2), start + 1, 1 + len(kept.splitlines())
        # Methods and inner functions start inside what was just read.
        at = start + 1


FUNCTIONS = {
    ".c": c_functions,
    ".h": c_functions,
    ".py": python_functions,
    ".pyi": python_functions,
    ".pyx": cython_functions,
    ".pxd": cython_functions,
}


def problems_of(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    line_count = len(text.splitlines())
    if line_count > FILE_LINES_MAX:
        yield f"{relative(path)}: {line_count} lines, at most {FILE_LINES_MAX}"
    for name, line, length in FUNCTIONS[path.suffix](text):
        if length > FUNCTION_LINES_MAX:
            where = f"{relative(path)}:{line}"
            yield f"{where}: {name} has {length} lines, at most {FUNCTION_LINES_MAX}"


def main() -> int:
    paths = source_files(*FUNCTIONS)
    problems = [problem for path in paths for problem in problems_of(path)]
    return report("check_size", problems, f"{len(paths)} files within the limits")


if __name__ == "__main__":
    sys.exit(main())
