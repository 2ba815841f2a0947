"""How many copies a write and a recovery read need (Aurora, SIGMOD 2017, section 2.1)."""

from __future__ import annotations


def write_quorum(copies: int) -> int:
    """Copies that must hold a write before it is acknowledged: V_w > V / 2, 4 of 6."""
    return copies // 2 + 1


def read_quorum(copies: int) -> int:
    """Copies of which one surely holds every acknowledged write: V_r + V_w > V, 3 of 6."""
    return copies + 1 - write_quorum(copies)
