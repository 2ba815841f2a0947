"""The inspector by itself: ``python …/aurora_engine/inspector PATH``.

It works where the C core cannot be loaded. `aurora-engine inspect` does the same, with a progress
bar.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

if not __package__:
    # Run as a folder: this folder is the package, and aurora_engine is not imported.
    sys.path[0] = str(Path(__file__).resolve().parent.parent / "inspector")
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    __package__ = "inspector"

from .packages import MissingPackages, require_packages


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inspector", description="Read and check the files of a volume without the C core."
    )
    parser.add_argument("path", type=Path, help="a volume, a segment, or a file of either")
    parser.add_argument("--records", action="store_true", help="list the records of a file")
    parser.add_argument("--page", type=_number, help="build this page, or list only its records")
    parser.add_argument("--at", type=_number, metavar="LSN", help="the moment to build pages at")
    parser.add_argument("--limit", type=_number, help="at most so many records or cells")
    parser.add_argument("--compare", action="store_true", help="compare the pages of all copies")
    parser.add_argument("--json", action="store_true", help="print facts as JSON")
    return parser


def main() -> int:
    """Exit code: 0 sound, 2 wrong usage, 3 damage."""
    options = vars(_parser().parse_args())
    as_json = options.pop("json")
    try:
        require_packages()
    except MissingPackages as missing:
        sys.stderr.write(f"inspector: {missing}\n")
        return 2
    from .command import DAMAGED, SOUND, USAGE, Request, inspect
    from .damage import WrongUse
    from .text import lines

    try:
        facts = inspect(Request(**options))
    except WrongUse as wrong:
        sys.stderr.write(f"inspector: {wrong}\n")
        return USAGE
    text = json.dumps(facts, indent=2) if as_json else "\n".join(lines(facts))
    sys.stdout.write(text + "\n")
    return SOUND if facts["sound"] else DAMAGED


if __name__ == "__main__":
    sys.exit(main())
