"""Read-only views of a database at one moment."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from aurora_engine._ext.transaction import Txn
from aurora_engine.verbs import ReadVerbs

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self

    from aurora_engine._ext.engine import TableHandle
    from aurora_engine.volume import Volume

__all__ = ["Snapshot", "SnapshotTable"]


class ViewVerbs(ReadVerbs):
    """Reading at the moment of a view."""

    __slots__ = ()

    _source: Txn

    def _reading(self) -> tuple[Txn, bool]:
        return self._source, False


class SnapshotTable(ViewVerbs):
    """A table as it was at the moment of a view; from `Snapshot.table`. Ends with the view."""

    __slots__ = ("name",)

    def __init__(self, transaction: Txn, name: str, handle: TableHandle) -> None:
        self._source = transaction
        self._handle = handle
        self.name = name

    def __repr__(self) -> str:
        return f"<aurora_engine.SnapshotTable {self.name!r}, {_state(self._source)}>"


class Snapshot(ViewVerbs):
    """A read-only view of one moment: of now by `Database.snapshot`, of then by `Database.at`.

    It never changes, blocks nobody and cannot fail by conflict; a backtrack leaves it alone. What
    it shows is retained while it is open, so close it, best by a with statement. Several threads
    may share it.
    """

    __slots__ = ("_volume",)

    def __init__(self, transaction: Txn, volume: Volume) -> None:
        self._source = transaction
        self._handle = None
        self._volume = volume

    @property
    def lsn(self) -> int:
        """The LSN of the moment that it shows."""
        return self._source.read_point

    @property
    def time(self) -> datetime:
        """Since when that was the present, in UTC: the time of its newest commit."""
        return self._volume.past.time(self._source.read_point)

    def table(self, name: str) -> SnapshotTable:
        """A table as it was.

        Raises
        ------
        KeyError
            If there was none.
        """
        handle = self._source.table(name, False)
        if handle is None:
            raise KeyError(name)
        return SnapshotTable(self._source, name, handle)

    def tables(self) -> list[str]:
        """Names of the tables that there were."""
        return self._source.table_names()

    def close(self) -> None:
        """Gives up the view. Idempotent."""
        self._source.rollback()

    def __enter__(self) -> Self:
        if self._source.closed:
            # Raises what the end was.
            self._source.read_point  # noqa: B018
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<aurora_engine.Snapshot, {_state(self._source)}>"


def _state(transaction: Txn) -> str:
    return "closed" if transaction.closed else f"at LSN {transaction.read_point}"
