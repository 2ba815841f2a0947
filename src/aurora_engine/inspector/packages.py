"""The packages that the inspector needs beside the standard library."""

from __future__ import annotations

import importlib.util

PACKAGES = ("xxhash", "zstandard")


class MissingPackages(Exception):
    """The inspector was asked for where a package that it needs is not installed."""


def require_packages() -> None:
    """Looks for the packages, before a module that imports them is imported.

    Raises
    ------
    MissingPackages
        If one is not there; the message says how to get it.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackages(
            f"inspect reads checksums and compressed blocks with {' and '.join(missing)}, which "
            "is not installed here: pip install aurora-engine[inspect]"
        )
