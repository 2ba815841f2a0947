"""Closed loops of the macro benchmarks: what counts as work lies within the time that counts."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("numpy")

from aurora_engine.bench.drive import Step, closed_loop
from aurora_engine.bench.engines.sqlite_engine import Sqlite
from aurora_engine.bench.sizes import SMOKE
from aurora_engine.bench.workloads.base import Bench

THREADS, SECONDS, BEGIN_S = 8, 0.05, 0.05


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Sqlite, tmp_path, SMOKE)


def test_no_operation_begins_before_the_clock(bench: Bench) -> None:
    """Threads that keep the interpreter busy do not get ahead of the one that reads the clock."""
    begun: list[float] = []

    def begin(number: int) -> tuple[Step, Callable[[], None]]:
        def step(_latencies: array[int]) -> int:
            begun.append(time.perf_counter())
            return 1

        # Who measures is ready before the last of them is.
        time.sleep(BEGIN_S * number / THREADS)
        return step, lambda: None

    for _ in range(5):
        begun.clear()
        sample = closed_loop(bench, THREADS, SECONDS, begin)
        assert sample.details["operations"] == len(begun)
        assert max(begun) - min(begun) <= sample.details["seconds"]
    bench.close()


def test_making_ready_is_not_what_an_operation_took(bench: Bench) -> None:
    def rest(_latencies: array[int]) -> int:
        time.sleep(SECONDS)
        return 1

    def begin(_number: int) -> tuple[Step, Callable[[], None]]:
        end = time.perf_counter() + 0.5
        while time.perf_counter() < end:
            pass
        return rest, lambda: None

    usage = closed_loop(bench, 1, SECONDS, begin).usage
    assert usage is not None
    assert usage.cpu_s < 0.4
    bench.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_who_cannot_begin_is_told_and_nobody_waits(bench: Bench) -> None:
    def begin(number: int) -> tuple[Step, Callable[[], None]]:
        if number == 1:
            raise ValueError("no connection")
        return lambda _latencies: 1, lambda: None

    with pytest.raises(ValueError, match="no connection"):
        closed_loop(bench, THREADS, SECONDS, begin)
    bench.close()
