"""Check that libaurora.so exports exactly the functions that the headers declare AUR_API.

Both directions matter: a declared function that is not exported breaks the extension modules at
import; an exported one that is not declared is an interface nobody decided on.

Usage: ``python -m tools.check_symbols [PATH/libaurora.so]``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tools.sources import ROOT, report, source_files, without_comments, without_directives

DEFAULT_LIBRARY = ROOT / "build" / "release" / "csrc" / "libaurora.so"
DECLARATION = re.compile(r"\bAUR_API\b[^;{]*?\b(\w+)\s*\(")


def declared() -> set[str]:
    names: set[str] = set()
    # Beside the public headers, lower layers declare what the coordinator in Python reaches.
    for header in source_files(".h", under="csrc"):
        code = without_directives(without_comments(header.read_text(encoding="utf-8")))
        code = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", code)
        names.update(DECLARATION.findall(code))
    return names


def exported(library: Path) -> set[str]:
    listing = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--format=posix", str(library)],
        check=True,
        capture_output=True,
        text=True,
    )
    return {line.split()[0] for line in listing.stdout.splitlines() if line}


def main(arguments: list[str]) -> int:
    library = Path(arguments[0]) if arguments else DEFAULT_LIBRARY
    if not library.is_file():
        return report("check_symbols", [f"{library} is not built: make c PRESET=release"], "")
    wanted, found = declared(), exported(library)
    problems = [f"{name}: declared AUR_API, not exported" for name in sorted(wanted - found)]
    problems += [f"{name}: exported, not declared AUR_API" for name in sorted(found - wanted)]
    return report(
        "check_symbols", problems, f"{len(found)} public functions, nothing else exported"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
