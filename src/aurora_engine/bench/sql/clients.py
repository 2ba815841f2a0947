"""Closed loops of clients: one thread and one connection each."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import cast

from aurora_engine.bench.drive import Step, closed_loop
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sql.base import Client, SqlEngine
from aurora_engine.bench.workloads.base import Bench, Case

__all__ = ["InvariantError", "check_equal", "clients_case", "clients_loop", "engine_of", "timed"]


class InvariantError(Exception):
    """An engine holds something else than it was asked to."""


def check_equal(what: str, found: object, expected: object) -> None:
    """Raises `InvariantError` where two things differ that must not."""
    if found != expected:
        raise InvariantError(f"{what}: found {found}, expected {expected}")


def engine_of(bench: Bench) -> SqlEngine:
    """The engine of a bench, of those that understand SQL."""
    return cast("SqlEngine", bench.server)


def clients_case(name: str, unit: str, clients: int) -> Case:
    """The case of so many clients."""
    plural = "" if clients == 1 else "s"
    return Case(f"{name}, {clients} client{plural}", unit, {"what": name, "clients": clients})


def timed(operation: Callable[[], object]) -> Step:
    """A step of one operation."""
    clock = time.perf_counter_ns

    def step(latencies: array[int]) -> int:
        start = clock()
        operation()
        latencies.append(clock() - start)
        return 1

    return step


def clients_loop(bench: Bench, clients: int, begin: Callable[[Client, int], Step]) -> Sample:
    """Operations a second of so many clients.

    Parameters
    ----------
    bench : Bench
        What to do it with, and how long.
    clients : int
        How many.
    begin : callable
        ``begin(client, number)`` prepares the statements of one and returns its step.
    """
    everyone: list[Client] = []

    def begin_one(number: int) -> tuple[Step, Callable[[], None]]:
        client = Client(engine_of(bench))
        everyone.append(client)
        return begin(client, number), client.connection.close

    sample = closed_loop(bench, clients, bench.sizes.seconds, begin_one)
    sample.details["retries"] = sum(client.retries for client in everyone)
    return sample
