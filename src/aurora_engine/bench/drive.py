"""Closed loops: so many threads, each of which begins the next operation when the last is done."""

from __future__ import annotations

import gc
import threading
import time
from array import array
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np

from aurora_engine.bench.counters import measured
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.workloads.base import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aurora_engine.bench.engines.base import Server

__all__ = ["Step", "closed_loop", "percentiles_us", "timed", "timed_work"]

Step = Callable[["array[int]"], int]
"""Does one or several operations, appends the nanoseconds of one, returns how many it did."""


def percentiles_us(nanoseconds: array[int]) -> dict[str, float]:
    """The usual percentiles, in microseconds."""
    if not nanoseconds:
        return {}
    taken = np.frombuffer(nanoseconds, dtype=np.int64) / 1000
    p50, p99, p999 = np.percentile(taken, (50, 99, 99.9))
    return {
        "p50": float(p50),
        "p99": float(p99),
        "p99.9": float(p999),
        "max": float(taken.max()),
    }


@contextmanager
def _without_collector() -> Iterator[None]:
    """No cyclic garbage collection of Python in a measurement: it would hit engines by chance."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def closed_loop(
    bench: Bench,
    threads: int,
    seconds: float,
    begin: Callable[[int], tuple[Step, Callable[[], None]]],
) -> Sample:
    """Operations a second of all threads.

    Parameters
    ----------
    bench : Bench
        Whose machine time is counted.
    threads : int
        How many.
    seconds : float
        How long each goes on beginning operations; the time counts until the last has ended.
    begin : callable
        ``begin(number)`` is called in each thread before the clock starts and returns its step and
        what gives up what the step needed.
    """
    latencies: list[array[int]] = [array("q") for _ in range(threads)]
    done, ended = [0] * threads, [0.0] * threads
    errors: list[BaseException] = []
    # Passed twice: when everybody is ready, and when the clock has been read.
    together = threading.Barrier(threads + 1)
    end = [0.0]

    def work(number: int) -> None:
        clock, mine, count = time.perf_counter, latencies[number], 0
        try:
            step, give_up = begin(number)
        except BaseException as error:
            errors.append(error)
            together.abort()
            raise
        try:
            together.wait()
            together.wait()
            while clock() < end[0]:
                count += step(mine)
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            errors.append(error)
        finally:
            done[number], ended[number] = count, clock()
            give_up()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    with suppress(threading.BrokenBarrierError):
        together.wait()
    with _without_collector(), measured(bench.folder, bench.server.processes()) as usage:
        start = time.perf_counter()
        end[0] = start + seconds
        with suppress(threading.BrokenBarrierError):
            together.wait()
        for worker in workers:
            worker.join()
    elapsed = max(ended) - start
    if errors:
        raise errors[0]
    every = array("q")
    for each in latencies:
        every.extend(each)
    return Sample(
        sum(done) / elapsed,
        percentiles_us(every),
        usage,
        {"operations": sum(done), "seconds": elapsed},
    )


def timed(bench: Bench, work: Callable[[], int]) -> Sample:
    """Operations a second of work that ends by itself and returns how many it did."""
    return timed_work(bench.folder, bench.server, work)


def timed_work(folder: Path, server: Server, work: Callable[[], int]) -> Sample:
    """As `timed`, of an engine that is not the one of the bench."""
    with _without_collector(), measured(folder, server.processes()) as usage:
        start = time.perf_counter()
        count = work()
        elapsed = time.perf_counter() - start
    return Sample(count / elapsed, {}, usage, {"operations": count, "seconds": elapsed})
