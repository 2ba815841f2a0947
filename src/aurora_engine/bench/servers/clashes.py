"""Transactions that were in the way of others, and are done again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["ATTEMPTS_MAX", "ClashError", "until_through"]

T = TypeVar("T")

ATTEMPTS_MAX = 1000
"""Of one transaction; who never gets through is told so, instead of going round for ever."""


class ClashError(Exception):
    """A transaction was in the way of others again and again."""


def until_through(
    body: Callable[[], T],
    rollback: Callable[[], object],
    is_clash: Callable[[Exception], bool],
) -> tuple[T, int]:
    """Does something that may clash until it does not.

    Parameters
    ----------
    body : callable
        A transaction, from its beginning to its commit.
    rollback : callable
        Ends the transaction that failed.
    is_clash : callable
        Whether an error only means that others were in the way.

    Returns
    -------
    tuple
        What `body` returned, and how often it failed before.

    Raises
    ------
    ClashError
        If it failed a thousand times.
    Exception
        What `body` raised that is no clash.
    """
    for retries in range(ATTEMPTS_MAX):
        try:
            return body(), retries
        except Exception as error:
            rollback()
            if not is_clash(error):
                raise
    raise ClashError(f"a transaction did not get through in {ATTEMPTS_MAX} attempts")
