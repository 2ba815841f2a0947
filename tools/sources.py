"""The source files of this checkout, for the check tools beside this file."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def source_files(*suffixes: str, under: str = ".") -> list[Path]:
    """Return the files that git tracks or would track, by suffix, sorted by path."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", under],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = {ROOT / name for name in listing.stdout.split("\0") if name.endswith(suffixes)}
    return sorted(path for path in paths if path.is_file())


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_comments(text: str) -> str:
    """Blank out C comments and the inside of literals, keeping every line where it was."""
    pattern = re.compile(
        r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'",
        re.DOTALL,
    )

    def blank(match: re.Match[str]) -> str:
        found = match.group(0)
        if found[0] in "\"'":
            return found[0] * 2
        return "\n" * found.count("\n") or " "

    return pattern.sub(blank, text)


def without_directives(code: str) -> str:
    """Blank out preprocessor lines with their continuations; they may hold unbalanced braces."""
    directive = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
    return directive.sub(lambda match: "\n" * match.group(0).count("\n"), code)


def report(tool: str, problems: Iterable[str], success: str) -> int:
    """Print the problems or the good news, and return the exit status."""
    lines = list(problems)
    for line in lines:
        print(line, file=sys.stderr)
    if lines:
        print(f"{tool}: {len(lines)} problem(s)", file=sys.stderr)
        return 1
    print(f"{tool}: {success}")
    return 0
