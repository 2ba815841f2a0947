"""One engine in a process of its own: ``python -m aurora_engine.bench.worker``.

Requests come as JSON lines on standard input, each gets one JSON line as an answer; nothing else
goes that way, since standard output is pointed at standard error first. The requests, by ``do``:

- ``start``: kind, engine, folder, sizes; answers version and settings
- ``prepare``, ``finish``: workload
- ``take``: workload, case, whether it only warms up; answers the sample

An answer is ``{"done": ...}``, or ``{"failed": "Type: message"}``, after which the worker goes on.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aurora_engine.bench.engines.registry import engine_type
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.suite import workload
from aurora_engine.bench.workloads.base import Bench, Case

__all__ = ["main"]

WARMING_SHARE = 0.25
PR_SET_PDEATHSIG = 1


class Worker:
    """Does what it is asked, for one engine."""

    def __init__(self) -> None:
        self._bench: Bench | None = None
        self._sizes: Sizes

    def answer(self, request: dict[str, Any]) -> Any:
        """What one request leads to."""
        if request["do"] == "start":
            return self._start(request)
        bench = self._bench
        assert bench is not None, "the first request is to start"
        asked = workload(request["workload"])
        if request["do"] == "prepare":
            return asked.prepare(bench)
        if request["do"] == "take":
            full = self._sizes
            short = replace(full, seconds=full.seconds * WARMING_SHARE)
            bench.sizes = short if request["warming"] else full
            return asdict(asked.take(bench, Case(**request["case"])))
        assert request["do"] == "finish", request
        return asked.finish(bench)

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        folder = Path(request["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        sizes = Sizes.from_json(request["sizes"])
        kind = engine_type(request["kind"], request["engine"])
        self._bench, self._sizes = Bench(kind, folder, sizes), sizes
        return {"version": kind.version(), "settings": kind.settings(sizes.cache_bytes)}

    def close(self) -> None:
        """Closes the engine."""
        if self._bench is not None:
            self._bench.close()


def main() -> None:
    """Answers requests until there are no more."""
    _go_on_when_the_parent_dies()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker()
    try:
        for line in sys.stdin:
            try:
                answer = {"done": worker.answer(json.loads(line))}
            except Exception as error:  # noqa: BLE001 - the report says it
                traceback.print_exc()
                answer = {"failed": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer) + "\n")
    finally:
        # Whoever asked may have stopped what this process has started, and died.
        os.killpg(0, signal.SIGCONT)
        worker.close()


def _go_on_when_the_parent_dies() -> None:
    """Lets a stopped worker see the end of its input, so that it closes the engine and ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT)


if __name__ == "__main__":
    main()
