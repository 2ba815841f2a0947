"""Making a table what it was: the differences between then and now, put into one transaction."""

from __future__ import annotations

from aurora_engine.transaction import TransactionTable
from aurora_engine.view import SnapshotTable

__all__: list[str] = []


def make_equal(then: SnapshotTable, now: TransactionTable) -> int:
    """Puts and removes what makes ``now`` equal ``then``; how many records that were.

    Both are walked side by side in the order of the keys, so that only differences take memory.
    """
    old, new = iter(then.scan()), iter(now.scan())
    was, is_now = next(old, None), next(new, None)
    changes: list[tuple[bytes, bytes | None]] = []
    while was is not None or is_now is not None:
        if is_now is None or (was is not None and was[0] < is_now[0]):
            assert was is not None
            changes.append(was)
            was = next(old, None)
        elif was is None or is_now[0] < was[0]:
            changes.append((is_now[0], None))
            is_now = next(new, None)
        else:
            if was[1] != is_now[1]:
                changes.append(was)
            was, is_now = next(old, None), next(new, None)
    for key, value in changes:
        if value is None:
            now.delete(key)
        else:
            now.put(key, value)
    return len(changes)
