"""Tables of a database, and the verbs that are transactions of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from aurora_engine._ext.records import NeedsGroups, NoTable
from aurora_engine._ext.transaction import Txn
from aurora_engine._ext.update import Autocommit
from aurora_engine.errors import QuorumLostError
from aurora_engine.transaction import Transaction
from aurora_engine.verbs import ReadVerbs, put_pairs

if TYPE_CHECKING:
    from aurora_engine._ext.engine import Engine, TableHandle
    from aurora_engine.types import FixedWidthArray, Pairs, ReadableBuffer, SupportsIter
    from aurora_engine.volume import Volume

__all__ = ["Table"]

_T = TypeVar("_T")

_OVERCOME = (NeedsGroups, NoTable, QuorumLostError)
"""What a write may be refused with that is no reason to give up."""

REFUSALS_MAX = 3
"""How often one write overcomes a refusal before it gives up; growth ends by itself."""


class TableVerbs(Autocommit, ReadVerbs):
    """Reading and writing where each call is its own transaction.

    `Autocommit` has the writes of one key.
    """

    __slots__ = ()

    _source: Engine
    _volume: Volume

    def _reading(self) -> tuple[Txn, bool]:
        return Txn(self._source, True), True

    @overload
    def put_many(self, pairs: Pairs) -> int: ...
    @overload
    def put_many(
        self,
        pairs: SupportsIter[ReadableBuffer] | FixedWidthArray,
        values: SupportsIter[ReadableBuffer] | FixedWidthArray,
    ) -> int: ...
    def put_many(self, pairs: Any, values: Any = None) -> int:
        """Sets many keys in one transaction: all of them or none.

        Parameters
        ----------
        pairs : iterable of (key, value), mapping, or two arrays
            What to put. Two numpy arrays of equal length hold the keys and the values: of dtype S
            or V, or two-dimensional of uint8 with one record in each row. Zero bytes that pad the
            items of an S array are not stored. Arrays of numbers are taken as the bytes in memory;
            as keys they must be unsigned and big-endian, so that their bytes sort as the numbers
            do.
        values : iterable or array, optional
            The values, when `pairs` holds only the keys.

        Returns
        -------
        int
            The commit's LSN.

        Raises
        ------
        TypeError, ValueError
            If a key or value does not fit, or there are more keys than values. Nothing is put then.
        ConflictError
            If the database was taken back to an earlier moment meanwhile. Nothing is put then.
        QuorumLostError, FencedError, VolumeFullError, DatabaseClosedError
            As with `put`.
        """
        with self._begin() as transaction:
            put_pairs(transaction._source, self._handle_in(transaction), pairs, values)
            return transaction.commit()

    def _begin(self) -> Transaction:
        """A transaction for `put_many`, blind: nothing is kept for it that it could read."""
        return Transaction(self, False, True)

    def _handle_in(self, transaction: Transaction) -> TableHandle | None:  # noqa: ARG002
        """The handle of what is written to, as the transaction sees it."""
        return self._handle

    def _put_again(self, refusal: BaseException, key: ReadableBuffer, value: ReadableBuffer) -> int:
        return self._overcome(
            refusal, lambda: self._source.put(self._handle, key, value, self._waits)
        )

    def _delete_again(self, refusal: BaseException, key: ReadableBuffer) -> bool:
        return self._overcome(refusal, lambda: self._source.delete(self._handle, key, self._waits))

    def _overcome(self, refusal: BaseException, write: Callable[[], _T]) -> _T:
        """Grows the volume, finds the table, or lets the write path be recovered; writes again.

        Never after a commit that is in doubt: doing it twice could undo a later write.
        """
        refusals = 0
        while True:
            refusals += not isinstance(refusal, NeedsGroups)
            if refusals > REFUSALS_MAX or not isinstance(refusal, _OVERCOME):
                raise refusal
            if isinstance(refusal, NeedsGroups):
                self._volume.grow(refusal.groups)
            elif isinstance(refusal, NoTable):
                self._find_again(refusal)
            elif not self._volume.heal(refusal) or refusal.in_doubt:
                raise refusal
            try:
                return write()
            except _OVERCOME as again:
                refusal = again


class Table(TableVerbs):
    """A named table of a database; from `Database.table`. Every call is a transaction of its own.

    It stands for the name: when the table is dropped and made again, or a backtrack replaces it by
    another of that name, the handle goes on with the new one. Usable from several threads, until
    the database is closed.
    """

    __slots__ = ("name",)

    def __init__(
        self, engine: Engine, volume: Volume, name: str, handle: TableHandle, *, waits: bool
    ) -> None:
        self._source = engine
        self._volume = volume
        self._handle = handle
        self._waits = waits
        self.name = name

    def _begin(self) -> Transaction:
        # It looks for the name.
        return Transaction(self)

    def _handle_in(self, transaction: Transaction) -> TableHandle:
        handle = transaction._source.table(self.name, False)
        if handle is None:
            raise KeyError(self.name)
        return handle

    def _find_again(self, gone: NoTable) -> None:
        with Transaction(self, True) as transaction:
            handle = transaction._source.table(self.name, False)
        if handle is None or handle is self._handle:
            raise gone
        self._handle = handle

    def __repr__(self) -> str:
        return f"<aurora_engine.Table {self.name!r} of {self._volume.path}>"
