"""The thread that watches a volume's copies.

Woken by the engine's event descriptor, and every half second.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable

from aurora_engine._ext.engine import Engine
from aurora_engine.errors import AuroraError, DatabaseClosedError

_log = logging.getLogger("aurora_engine.volume")

IDLE_S = 0.5


class Monitor:
    """Calls ``look`` when something happened to a copy, and regularly."""

    def __init__(self, engine: Engine, look: Callable[[], None]) -> None:
        self._engine = engine
        self._look = look
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread; it is a daemon, so it never keeps the interpreter alive."""
        self._thread = threading.Thread(target=self._run, name="aurora-monitor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        event = self._engine.fileno()
        poller = select.poll()
        poller.register(event, select.POLLIN)
        poller.register(self._stop_read, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poller.poll(IDLE_S * 1000)]
            if self._stop_read in ready:
                return
            if event in ready:
                self._engine.drain()
            try:
                self._look()
            except DatabaseClosedError:
                return
            except AuroraError as error:
                # A look that fails (no quorum to recover by, a disk that is gone) is repeated; its
                # reason is in status().
                _log.warning("watching over the copies: %s", error)

    def stop(self) -> None:
        """Ends the thread. Idempotent; not to be called with a lock that ``look`` takes."""
        if self._stop_write < 0:
            return
        os.write(self._stop_write, b"x")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        os.close(self._stop_read)
        os.close(self._stop_write)
        self._stop_read = self._stop_write = -1
