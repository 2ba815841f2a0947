"""How settings name a database in a volume."""

from __future__ import annotations

import os
from typing import Any

__all__: list[str] = []

MARK = "?name="


def split_name(settings: dict[str, Any]) -> tuple[str, str]:
    """The path of the volume, and the name of the database in it."""
    path, mark, name = os.fspath(settings["NAME"]).rpartition(MARK)
    if mark:
        return path, name
    return name, settings["OPTIONS"].get("name", "main")


def joined_name(path: str, name: str) -> str:
    """Both as a ``NAME``."""
    return f"{path}{MARK}{name}"
