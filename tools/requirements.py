"""Print the requirements of the build and of chosen extras, one per line, read from pyproject.toml.

``pip install -e .[dev]`` would build the package again to learn what it depends on; the Makefile
installs tools through this list instead.

Usage: ``python tools/requirements.py build test dev``; "build" is the build system's list, and
"run" the package's own dependencies.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirements(group: str, extras: dict[str, list[str]]) -> Iterator[str]:
    for requirement in extras[group]:
        own = re.fullmatch(r"aurora-engine\[([\w,\s-]+)\]", requirement)
        if own is None:
            yield requirement
            continue
        for other in own.group(1).split(","):
            yield from requirements(other.strip(), extras)


def main(groups: list[str]) -> int:
    with PYPROJECT.open("rb") as stream:
        document = tomllib.load(stream)
    extras = dict(document["project"]["optional-dependencies"])
    extras["run"] = document["project"]["dependencies"]
    # The build system asks for these two only where the system lacks them; a venv always has them.
    extras["build"] = [*document["build-system"]["requires"], "cmake>=3.25", "ninja>=1.10"]
    unique = dict.fromkeys(line for group in groups for line in requirements(group, extras))
    print("\n".join(unique))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
