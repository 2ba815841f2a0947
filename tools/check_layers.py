"""Check that the layers know only what they may know, by their #include, cimport and import lines.

Data goes one way, down. The tables below are the architecture; a line of code that breaks them
fails the build. C: each folder of csrc/ is a layer. Python: the command line knows the face, the
face knows volume/, volume/ knows _ext, and errors, types and options know nothing above them. The
inspector knows nothing of ours, and only the command line knows it. The macro benchmarks know the
face, and only the command line knows them.

Usage: ``python -m tools.check_layers``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.sources import relative, report, source_files

# What each C layer may include, beside itself.
C_LAYERS: dict[str, set[str]] = {
    "base": set(),
    "format": {"base"},
    "disk": {"base"},
    "segment": {"disk", "format", "base"},
    "quorum": {"segment", "format", "base"},
    "log": {"quorum", "format", "base"},
    "buffer": {"format", "base"},
    "btree": {"buffer", "log", "format", "base"},
    "transaction": {"btree", "buffer", "log", "format", "base"},
    "sql": {"transaction", "btree", "buffer", "log", "disk", "format", "base"},
    "api": {
        "sql",
        "transaction",
        "btree",
        "buffer",
        "log",
        "quorum",
        "segment",
        "disk",
        "format",
        "base",
    },
}
# Statuses, visibility and rewinds lie under every layer; another public header is for api and for
# the layer of its name, which implements it.
PUBLIC_EVERYWHERE = {"errors.h", "export.h", "rewind.h"}

# Third-party headers, and the layers that may know each.
THIRD_PARTY = {
    "xxhash.h": {"format"},
    "zstd.h": {"format", "segment"},
    "liburing.h": {"disk"},
}

# Python parts from the bottom up; a part may import itself and the ones before it.
PYTHON_PARTS = ("inspector", "base", "_ext", "volume", "face", "bench", "cli")
PYTHON_BASE_MODULES = {"errors", "types", "options", "protocols", "moments"}
CLI_ONLY_PACKAGES = {"click", "rich"}
# Second implementations of what the core has: they check the core, nothing else may rest on them.
INSPECTOR_ONLY_PACKAGES = {"xxhash", "zstandard"}
PACKAGE = "aurora_engine"

INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"]+)[>\"]", re.MULTILINE)
CIMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+)?cimport[ \t]+([\w.]+)", re.MULTILINE)
EXT_IMPORT = re.compile(
    rf"^[ \t]*(?:from[ \t]+({PACKAGE}[\w.]*)[ \t]+import[ \t]+([^\n]+)"
    rf"|import[ \t]+({PACKAGE}[\w.]*))",
    re.MULTILINE,
)


def line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def include_problem(layer: str, bracket: str, target: str) -> str | None:
    """Tell what is wrong with one #include in a file of `layer`, if anything is."""
    folder, _, name = target.rpartition("/")
    if target in THIRD_PARTY:
        known_to = THIRD_PARTY[target]
        return None if layer in known_to else f"{target} is for {', '.join(sorted(known_to))}"
    if folder == "aurora":
        allowed = name in PUBLIC_EVERYWHERE or layer in {"api", "include", name.removesuffix(".h")}
        return None if allowed else f"<{target}> is for api and for programs"
    if layer == "include":
        ours = bracket == '"' or folder.split("/")[0] in C_LAYERS
        return f'a public header may not include "{target}"' if ours else None
    if bracket == "<":
        return f'<{target}>: our headers are included as "{target}"' if folder in C_LAYERS else None
    if folder not in C_LAYERS:
        return f'"{target}": includes name the layer, such as "{layer}/{name}"'
    if folder != layer and folder not in C_LAYERS[layer]:
        return f"{layer} may not know {folder} ({target})"
    if folder != layer and name.endswith("_private.h"):
        return f"{target} is private to {folder}"
    return None


def c_problems() -> Iterator[str]:
    for path in source_files(".c", ".h", under="csrc"):
        layer = relative(path).split("/")[1]
        if layer != "include" and layer not in C_LAYERS:
            yield f"{relative(path)}: csrc/{layer} is not a layer"
            continue
        text = path.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            problem = include_problem(layer, match.group(1), match.group(2))
            if problem:
                yield f"{relative(path)}:{line_of(text, match.start())}: {problem}"


def part_of(module: str) -> str:
    """Return the part that a dotted module of the package belongs to."""
    names = module.split(".")[1:]
    if not names:
        return "face"
    if names[0] in PYTHON_BASE_MODULES:
        return "base"
    if names[0] in {"_ext", "volume", "inspector", "bench"}:
        return names[0]
    if names[0] in {"cli", "__main__"}:
        return "cli"
    return "face"


def module_name(path: Path) -> str:
    parts = list(path.relative_to(path.parents[len(path.parts) - 2]).with_suffix("").parts)
    parts = parts[parts.index(PACKAGE) :]
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def imports_of(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import, relative ones resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                anchor = module.split(".")
                anchor = anchor[: len(anchor) - node.level + (1 if is_package else 0)]
                base = ".".join([*anchor, *([base] if base else [])])
            if base == PACKAGE:
                # `from aurora_engine import volume` names a module as well as a class would.
                for alias in node.names:
                    yield node.lineno, f"{base}.{alias.name}"
            else:
                yield node.lineno, base


def import_problem(module: str, target: str) -> str | None:
    here = part_of(module)
    if target.split(".")[0] in CLI_ONLY_PACKAGES and here != "cli":
        return f"{target} is imported only by the command line"
    if target.split(".")[0] in INSPECTOR_ONLY_PACKAGES and here != "inspector":
        return f"{target} is imported only by the inspector"
    if target.split(".")[0] != PACKAGE:
        return None
    there = part_of(target)
    if there == "inspector" and here not in {"inspector", "cli"}:
        return f"{target} is for the command line"
    if PYTHON_PARTS.index(there) > PYTHON_PARTS.index(here):
        return f"{here} may not import {there} ({target})"
    return None


def python_problems() -> Iterator[str]:
    for path in source_files(".py", ".pyi", under=f"src/{PACKAGE}"):
        module = module_name(path)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, target in imports_of(tree, module, path.stem == "__init__"):
            problem = import_problem(module, target)
            if problem:
                yield f"{relative(path)}:{line}: {problem}"


def cython_problems() -> Iterator[str]:
    """Check imports of the extension modules, and that their cimports have no cycle."""
    edges: dict[str, set[str]] = {}
    for path in source_files(".pyx", ".pxd", under=f"src/{PACKAGE}"):
        module = module_name(path)
        text = path.read_text(encoding="utf-8")
        for match in EXT_IMPORT.finditer(text):
            source, names, plain = match.groups()
            # `from aurora_engine import errors` names a module.
            targets = re.findall(r"\w+", names) if source == PACKAGE else [""]
            for target in targets:
                problem = import_problem(module, plain or f"{source}.{target}".rstrip("."))
                if problem:
                    yield f"{relative(path)}:{line_of(text, match.start())}: {problem}"
        for match in CIMPORT.finditer(text):
            source, name = match.group(1) or "", match.group(2)
            target = f"{source}.{name}" if source in {f"{PACKAGE}._ext", "."} else source or name
            target = target.rpartition(".")[2]
            if target != path.stem:
                edges.setdefault(path.stem, set()).add(target)
    for start in sorted(edges):
        if start in reachable(edges, start):
            yield f"src/{PACKAGE}/_ext/{start}: its cimports lead back to itself"


def reachable(edges: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(edges.get(start, ()))
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(edges.get(module, ()))
    return seen


def main() -> int:
    problems = [*c_problems(), *python_problems(), *cython_problems()]
    return report("check_layers", problems, "every include and import goes down")


if __name__ == "__main__":
    sys.exit(main())
