"""What an engine offers to the key-value workloads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

__all__ = ["Engine", "Pair", "Server", "Session"]

Pair = tuple[bytes, bytes]


def _nothing() -> None:
    """What closing a session takes where sessions hold nothing."""


@dataclass(frozen=True, slots=True)
class Session:
    """What one thread works with: the engine's own calls, with nothing in between.

    Every write returns when it is durable, as the engine's documentation defines it.

    Attributes
    ----------
    put : callable
        ``put(key, value)``: one durable transaction, insert or overwrite.
    put_batch : callable
        ``put_batch(pairs)``: one durable transaction of many records.
    get : callable
        ``get(key)``: the value or None, at the newest state.
    get_many : callable
        ``get_many(keys)``: a list with the value or None of each.
    scan : callable
        ``scan(start, count)``: a list of up to so many pairs in key order, from `start` on.
    close : callable
        Gives up what the session holds.
    """

    put: Callable[[bytes, bytes], object]
    put_batch: Callable[[Sequence[Pair]], object]
    get: Callable[[bytes], bytes | None]
    get_many: Callable[[Sequence[bytes]], Sequence[bytes | None]]
    scan: Callable[[bytes, int], Sequence[Pair]]
    close: Callable[[], None] = _nothing


class Server(ABC):
    """What every engine has, whatever it is asked in: a version, settings, a beginning, an end.

    The constructor opens the engine on a private folder, and makes it there if it is new.

    Attributes
    ----------
    name : str
        As in ``--against`` and in the report.
    copies : int
        Copies that it keeps.
    workloads : frozenset of str or None
        The only workloads that it takes part in; None: all of its kind.
    """

    name: ClassVar[str]
    copies: ClassVar[int] = 1
    workloads: ClassVar[frozenset[str] | None] = None

    @abstractmethod
    def __init__(self, folder: Path, *, cache_bytes: int) -> None: ...

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """What has to be installed for it to run here; None when nothing."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Version of the engine and of its Python driver."""

    @classmethod
    @abstractmethod
    def settings(cls, cache_bytes: int) -> dict[str, str]:
        """Every setting that is not the engine's default, for the report."""

    def processes(self) -> list[int]:
        """Ids of the processes that work for it beside this one."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Closes it in the regular way; a server is stopped."""


class Engine(Server):
    """An engine of keys and values."""

    @abstractmethod
    def session(self) -> Session:
        """What a thread works with; made and closed by that thread."""

    @abstractmethod
    def load(self, batches: Iterable[Sequence[Pair]]) -> None:
        """Loads many records in the fastest way that ends with all of them durable."""

    @abstractmethod
    def count(self) -> int:
        """Records, counted by reading every key and value into Python."""

    @abstractmethod
    def settle(self) -> None:
        """Ends what it left for later: buffers flushed, levels compacted, log checkpointed."""
