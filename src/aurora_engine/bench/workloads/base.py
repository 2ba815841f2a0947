"""What a workload is: cases, each of which can be taken again and again from any engine."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from aurora_engine.bench import data
from aurora_engine.bench.engines.base import Engine, Server
from aurora_engine.bench.engines.registry import Kind
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.sizes import Sizes

__all__ = ["Bench", "Case", "Sample", "Workload", "threads_case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the report: a workload with its parameters.

    Attributes
    ----------
    name : str
        Unique within the workload.
    unit : str
        Unit of the value.
    parameters : dict
        What the workload needs to do it, such as ``{"threads": 16}``.
    better : {"more", "less"}
        Which values are better.
    """

    name: str
    unit: str
    parameters: dict[str, Any] = field(default_factory=dict)
    better: Literal["more", "less"] = "more"


def threads_case(unit: str, threads: int, *, prefix: str = "") -> Case:
    """The case of so many threads."""
    plural = "" if threads == 1 else "s"
    return Case(f"{prefix}{threads} thread{plural}", unit, {"threads": threads})


@dataclass
class Bench:
    """One engine on its private folder: what the workloads of a worker have to work with.

    Attributes
    ----------
    engine_type : type
        The engine's class.
    folder : Path
        On the disk that is measured; a workload may make others of its own in it.
    sizes : Sizes
        Of the run.
    state : dict
        What workloads keep between prepare and take, under their own names.
    """

    engine_type: type[Server]
    folder: Path
    sizes: Sizes
    state: dict[str, Any] = field(default_factory=dict)
    _server: Server | None = None
    _seeds: Iterator[int] = field(default_factory=lambda: itertools.count(data.SEED))

    def seed(self) -> int:
        """Another one each time, the same ones in every run.

        A repetition that wrote what the one before has written would be cheap for who notices.
        """
        return next(self._seeds)

    def open(self, cache_bytes: int) -> None:
        """Opens the engine with another cache than the run's."""
        assert self._server is None, "a workload with a cache of its own shares no worker"
        self._server = self.engine_type(self.folder / "engine", cache_bytes=cache_bytes)

    @property
    def server(self) -> Server:
        """The engine, opened when first asked for, closed with the worker."""
        if self._server is None:
            self.open(self.sizes.cache_bytes)
        assert self._server is not None
        return self._server

    @property
    def engine(self) -> Engine:
        """`server`, of an engine of keys and values."""
        return cast("Engine", self.server)

    @property
    def key_value_type(self) -> type[Engine]:
        """`engine_type`, of an engine of keys and values."""
        return cast("type[Engine]", self.engine_type)

    @cached_property
    def keys(self) -> list[bytes]:
        """Keys of the shared records, which are loaded into `engine` when first asked for."""
        keys = data.keys(0, self.sizes.records)
        self.engine.load(data.batches(keys))
        self.engine.settle()
        return keys

    def close(self) -> None:
        """Closes what was opened."""
        if self._server is not None:
            self._server.close()


class Workload(ABC):
    """A workload. It lives in the worker of each engine; the cases are taken in turn.

    Attributes
    ----------
    name : str
        As in ``--only``.
    title : str
        Heading of its part of the report.
    about : str
        What is done, what is compared with what, and what that does not show.
    kind : {"key-value", "sql"}
        Which engines it is for.
    shares : str
        Workloads with the same word here, one after the other in the suite, share a worker and
        with it an open engine and its records. Others get a worker of their own.
    warm : bool
        Whether a repetition that does not count comes first.
    heavy : bool
        Whether half the repetitions have to do, because they or the cases take long.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    kind: ClassVar[Kind] = "key-value"
    shares: ClassVar[str] = ""
    warm: ClassVar[bool] = True
    heavy: ClassVar[bool] = False

    @abstractmethod
    def cases(self, sizes: Sizes) -> list[Case]:
        """The rows of the report."""

    def takes_part(self, engine_type: type[Server]) -> bool:
        """Whether it says anything about an engine."""
        return engine_type.workloads is None or self.name in engine_type.workloads

    def prepare(self, bench: Bench) -> None:
        """Everything that comes before the first repetition, not measured."""

    @abstractmethod
    def take(self, bench: Bench, case: Case) -> Sample:
        """One repetition."""

    def finish(self, bench: Bench) -> None:
        """Checks what must hold after the last repetition, and gives up what `prepare` made.

        Raises
        ------
        Exception
            If the engine did not do what it was asked; the workload then counts as failed.
        """
