"""A run: every engine in a worker of its own, taking turns, so that a slow minute hits all."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aurora_engine.bench import suite
from aurora_engine.bench.engines.registry import ENGINES, engine_type
from aurora_engine.bench.results import Results
from aurora_engine.bench.servers.process import descendants
from aurora_engine.bench.sizes import Sizes
from aurora_engine.bench.workloads.base import Case, Workload

__all__ = ["WorkerFailedError", "WorkerProcess", "run"]

ANSWER_S_MAX = 3600.0
CLOSE_S_MAX = 60.0
WARMING = -1

Progress = Callable[[str], None]


class WorkerFailedError(Exception):
    """A worker could not do what it was asked; the message says why."""


class WorkerProcess:
    """A worker, seen from the process that asks.

    Outside of its turn it is stopped, with everything that it has started, so that what an engine
    does in the background falls into its own turns and not into those of others.
    """

    def __init__(self, log: Path) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aurora_engine.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )

    @property
    def process_id(self) -> int:
        """Of the worker; also the number of its process group."""
        return self._process.pid

    def ask(self, do: str, **details: Any) -> Any:
        """One request and its answer.

        Raises
        ------
        WorkerFailedError
            If it failed, died, or took longer than an hour.
        """
        self._signal(signal.SIGCONT)
        try:
            return self._answer(json.dumps({"do": do, **details}).encode() + b"\n")
        finally:
            self._signal(signal.SIGSTOP)

    def _answer(self, request: bytes) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerFailedError("its process has ended") from None
        if not select.select([self._process.stdout], [], [], ANSWER_S_MAX)[0]:
            # What it answers later would be taken for the answer to the next request.
            self._signal(signal.SIGKILL)
            raise WorkerFailedError(f"no answer within {ANSWER_S_MAX:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailedError(f"its process has ended, with {self._process.wait()}")
        answer = json.loads(line)
        if "failed" in answer:
            raise WorkerFailedError(answer["failed"])
        return answer["done"]

    def close(self) -> None:
        """Ends it, and every process that it has started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._signal(signal.SIGCONT)
        with suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.stdin.close()
            self._process.wait(CLOSE_S_MAX)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _signal(self, number: signal.Signals) -> None:
        # Beside the group those who have left it: each process of PostgreSQL leads its own. They
        # are looked for twice: who is killed has none any more, who is stopped makes no new ones.
        _worker, *before = descendants(self._process.pid)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        _worker, *after = descendants(self._process.pid)
        for each in {*before, *after}:
            with suppress(ProcessLookupError):
                os.kill(each, number)


def run(
    names: Sequence[str],
    engines: Sequence[str],
    sizes: Sizes,
    folder: Path,
    progress: Progress = lambda _line: None,
) -> Results:
    """Runs workloads on engines.

    Parameters
    ----------
    names : sequence of str
        Names of workloads.
    engines : sequence of str
        Names of engines; each takes part in the workloads of its kind.
    sizes : Sizes
        How much is done.
    folder : Path
        An empty folder on the disk to measure.
    progress : callable
        Is told what is done next.

    Returns
    -------
    Results
        Of an interrupted run, what there was so far.
    """
    results, reached = Results(), "the start"
    try:
        for number, group in enumerate(suite.groups(list(names))):
            reached = group[0].name
            place = folder / f"{number:02}-{group[0].shares or group[0].name}"
            _run_group(group, engines, sizes, place, results, progress)
    except KeyboardInterrupt:
        results.failed.append(
            _failure(reached, "and what follows", "every engine", "the run was interrupted")
        )
    return results


def _run_group(
    group: list[Workload],
    engines: Sequence[str],
    sizes: Sizes,
    place: Path,
    results: Results,
    progress: Progress,
) -> None:
    """Runs workloads that share their workers, and leaves nothing of them on the disk."""
    taking_part = _present(group, engines, results)
    place.mkdir()
    with _workers(group[0], taking_part, sizes, place, results) as workers:
        for workload in group:
            _Turns(workload, workers, sizes, results, progress).take()
    shutil.rmtree(place, ignore_errors=True)


def _present(group: list[Workload], engines: Sequence[str], results: Results) -> list[str]:
    """The engines of the group's kind that are installed; what is missing is noted."""
    present = []
    for name in ENGINES[group[0].kind]:
        if name not in engines:
            continue
        kind = engine_type(group[0].kind, name)
        if not any(workload.takes_part(kind) for workload in group):
            continue
        lacking = kind.missing()
        if lacking is None:
            present.append(name)
        else:
            results.missing[name] = lacking
    return present


@contextmanager
def _workers(
    first: Workload, engines: list[str], sizes: Sizes, folder: Path, results: Results
) -> Iterator[dict[str, WorkerProcess]]:
    workers: dict[str, WorkerProcess] = {}
    try:
        for name in engines:
            workers[name] = WorkerProcess(folder / f"{name}.log")
        for name in engines:
            try:
                results.engines[f"{first.kind} {name}"] = workers[name].ask(
                    "start",
                    kind=first.kind,
                    engine=name,
                    folder=str(folder / name),
                    sizes=asdict(sizes),
                )
            except WorkerFailedError as error:
                workers.pop(name).close()
                results.failed.append(_failure(first.name, "start", name, error))
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


class _Turns:
    """One workload over all its engines."""

    def __init__(
        self,
        workload: Workload,
        workers: dict[str, WorkerProcess],
        sizes: Sizes,
        results: Results,
        progress: Progress,
    ) -> None:
        self._workload = workload
        self._workers = {
            name: worker
            for name, worker in workers.items()
            if workload.takes_part(engine_type(workload.kind, name))
        }
        self._sizes = sizes
        self._results = results
        self._progress = progress

    def take(self) -> None:
        """Prepares, takes every case in turns, and finishes; who fails there has no figures."""
        for name in list(self._workers):
            self._progress(f"{self._workload.name}: {name} gets ready")
            self._ask(name, "prepare")
        for case in self._workload.cases(self._sizes):
            self._take(case)
        for name in list(self._workers):
            self._ask(name, "finish")
            if name not in self._workers:
                self._results.forget(self._workload.name, name)

    def _take(self, case: Case) -> None:
        wanted = self._sizes.repetitions
        if self._workload.heavy:
            wanted = (wanted + 1) // 2
        for repetition in range(WARMING if self._workload.warm else 0, wanted):
            for name in list(self._workers):
                self._progress(f"{self._workload.name}: {case.name}, {name}")
                sample = self._ask(name, "take", case=asdict(case), warming=repetition == WARMING)
                if sample is not None and repetition >= 0:
                    self._results.samples.append(
                        {
                            "workload": self._workload.name,
                            "case": asdict(case),
                            "engine": name,
                            "repetition": repetition,
                            "at_s": time.perf_counter() - self._results.begun_s,
                            **sample,
                        }
                    )

    def _ask(self, name: str, do: str, **details: Any) -> Any:
        """What a worker answers; one that fails is left out of the rest of the workload."""
        try:
            return self._workers[name].ask(do, workload=self._workload.name, **details)
        except WorkerFailedError as error:
            del self._workers[name]
            where = details.get("case", {}).get("name", do)
            self._results.failed.append(_failure(self._workload.name, where, name, error))
            return None


def _failure(workload: str, case: str, engine: str, why: object) -> dict[str, str]:
    return {"workload": workload, "case": case, "engine": engine, "why": str(why)}
