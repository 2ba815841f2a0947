"""Which LSNs a moment sees. Normative: docs/format/segment.md, "Reading a page"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

TRUNCATION = 1
BACKTRACK = 2
KINDS = {TRUNCATION: "truncation", BACKTRACK: "backtrack"}


class Rewind(NamedTuple):
    """After LSN ``at``, history goes on from ``to``."""

    at: int
    to: int
    epoch: int
    time_us: int
    lost: int
    kind: int
    who: str


def sees(rewinds: Sequence[Rewind], moment: int, lsn: int) -> bool:
    """Whether a read at ``moment`` sees the record at ``lsn``."""
    count = len(rewinds)
    while lsn <= moment:
        while count > 0 and rewinds[count - 1].at >= moment:
            count -= 1
        if count == 0 or lsn > rewinds[count - 1].at:
            return True
        count -= 1
        moment = rewinds[count].to
    return False


def is_truncated(rewinds: Sequence[Rewind], lsn: int, epoch: int) -> bool:
    """Whether a truncation dropped the frame that ends at ``lsn`` and was written in ``epoch``."""
    return any(
        rewind.kind == TRUNCATION and rewind.to < lsn <= rewind.at and epoch < rewind.epoch
        for rewind in rewinds
    )
