"""Transactions: serializable, optimistic; see `Database.begin`."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from aurora_engine._ext.records import NeedsGroups
from aurora_engine._ext.transaction import Txn
from aurora_engine._ext.update import Unit, Update
from aurora_engine.errors import QuorumLostError
from aurora_engine.verbs import ReadVerbs, put_pairs

if TYPE_CHECKING:
    from typing import Self

    from aurora_engine._ext.engine import TableHandle
    from aurora_engine.types import FixedWidthArray, Pairs, ReadableBuffer, SupportsIter
    from aurora_engine.volume import Volume

__all__ = ["Transaction", "TransactionTable"]


class TransactionVerbs(Update, ReadVerbs):
    """Reading and writing inside of one transaction; `Update` has the verbs of one key."""

    __slots__ = ()

    _source: Txn

    def _reading(self) -> tuple[Txn, bool]:
        return self._source, False

    @overload
    def put_many(self, pairs: Pairs) -> None: ...
    @overload
    def put_many(
        self,
        pairs: SupportsIter[ReadableBuffer] | FixedWidthArray,
        values: SupportsIter[ReadableBuffer] | FixedWidthArray,
    ) -> None: ...
    def put_many(self, pairs: Any, values: Any = None) -> None:
        """Sets many keys; see `Database.put_many` for what is taken."""
        put_pairs(self._source, self._handle, pairs, values)


class TransactionTable(TransactionVerbs):
    """A table inside of one transaction; from `Transaction.table`. Ends with it."""

    __slots__ = ("name",)

    _handle: TableHandle

    def __init__(self, transaction: Txn, name: str, handle: TableHandle) -> None:
        self._source = transaction
        self._handle = handle
        self.name = name

    def __repr__(self) -> str:
        return f"<aurora_engine.TransactionTable {self.name!r}, {_state(self._source)}>"


class Transaction(Unit, TransactionVerbs):
    """A transaction: reads at the moment when it began, keeps its writes until the commit.

    Made by `Database.begin`. As a context manager it commits at the end of a block that succeeds
    and rolls back when the block raises; after an explicit `commit` or `rollback` the end of the
    block does nothing. To be used by one thread at a time.
    """

    __slots__ = ()

    _source: Txn
    _volume: Volume

    @property
    def is_open(self) -> bool:
        """Whether it has neither been committed nor rolled back."""
        return not self._source.closed

    @property
    def read_only(self) -> bool:
        """Whether it refuses writes."""
        return self._source.read_only

    @property
    def read_point(self) -> int:
        """The LSN of the moment that it reads."""
        return self._source.read_point

    def table(self, name: str, *, create: bool = True) -> TransactionTable:
        """A table, created with this transaction's commit when there is none.

        Raises
        ------
        KeyError
            If there is none, and `create` is false or the transaction is read-only.
        ValueError
            If the name is empty or longer than 255 bytes.
        """
        handle = self._source.table(name, create and not self._source.read_only)
        if handle is None:
            raise KeyError(name)
        return TransactionTable(self._source, name, handle)

    def tables(self) -> list[str]:
        """Names of all tables."""
        return self._source.table_names()

    def drop_table(self, name: str) -> None:
        """Drops a table with all that is in it.

        Raises
        ------
        KeyError
            If there is none.
        """
        if not self._source.drop_table(name):
            raise KeyError(name)

    def _refused(self, refusal: BaseException, durable: bool) -> int:
        """Goes on with a commit that was refused: again with a larger volume, or to its end."""
        try:
            while isinstance(refusal, NeedsGroups):
                self._volume.grow(refusal.groups)
                try:
                    return self._source.commit(durable)
                except NeedsGroups as again:
                    refusal = again
            raise refusal
        except BaseException as final:
            self._source.rollback()
            if isinstance(final, QuorumLostError):
                # This transaction is over, but the next one need not find the write path as it was.
                self._volume.heal(final)
            raise

    def rollback(self) -> None:
        """Forgets the writes. Idempotent; does nothing after a commit."""
        self._ended = True
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
        if kind is not None:
            self.rollback()
        elif not self._ended:
            self.commit()

    def __repr__(self) -> str:
        kind = "read-only " if self._source.read_only else ""
        return f"<aurora_engine.Transaction, {kind}{_state(self._source)}>"


def _state(transaction: Txn) -> str:
    return "ended" if transaction.closed else f"open, reads at LSN {transaction.read_point}"
