"""Telling a caller of progress, while locks are held that some calls of its own would wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable

Progress = Callable[[int, int], bool]
"""Is given the bytes done and in total; returns whether to go on."""


class Listening:
    """Which threads are inside of a ``progress`` of one volume."""

    def __init__(self) -> None:
        self._thread = threading.local()

    def to(self, progress: Progress | None) -> Progress | None:
        """The same ``progress``, during which this knows of it."""
        if progress is None:
            return None

        def hear(done: int, total: int) -> bool:
            self._thread.is_inside = True
            try:
                return progress(done, total)
            finally:
                self._thread.is_inside = False

        return hear

    def require_outside(self, verb: str) -> None:
        """Makes sure that a call does not wait for the one that is waiting for it.

        Raises
        ------
        ValueError
            If this thread is inside of a ``progress``.
        """
        if getattr(self._thread, "is_inside", False):
            raise ValueError(
                f"{verb} would wait for ever for the clone or repair whose progress calls it: "
                f"return False there to stop that, and {verb} afterwards"
            )
