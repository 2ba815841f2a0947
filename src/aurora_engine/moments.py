"""How people write a moment: an LSN, a time, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

__all__: list[str] = []

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def parse_moment(text: str) -> int | datetime | timedelta:
    """The moment that a text names.

    Parameters
    ----------
    text : str
        An LSN, an ISO time, or a duration (90s, 2h30m, 1d), that long ago.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    text = text.strip()
    if text.isdecimal():
        return int(text)
    try:
        if _DURATION.fullmatch(text):
            parts = _PART.findall(text)
            return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no LSN, no ISO time (2026-03-01T14:03:07, local time without a zone) "
            "and no duration (90s, 15m, 2h30m, 1d)"
        ) from None
