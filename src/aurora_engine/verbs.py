"""The verbs that databases, transactions, views and their tables share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, overload

from aurora_engine._ext.cursor import Cursor
from aurora_engine._ext.lookup import Lookup
from aurora_engine._ext.records import NoTable

if TYPE_CHECKING:
    from typing import Self

    from aurora_engine._ext.engine import TableHandle
    from aurora_engine._ext.transaction import Txn
    from aurora_engine.types import FixedWidthArray, ReadableBuffer

_T = TypeVar("_T")
_ItemT_co = TypeVar("_ItemT_co", covariant=True)


class Scan(Protocol[_ItemT_co]):
    """What scans return: an iterator that can be closed early, also by a with statement."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> _ItemT_co: ...
    def close(self) -> None:
        """Ends the scan and gives its pages back. Idempotent."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class ReadVerbs(Lookup):
    """Reading a table, as a mapping of bytes to bytes in the order of the keys.

    `Lookup` has the verbs of one key, and with them where they look (`_source`) and in which table
    (`_handle`). A subclass says which transaction reads more than one key (`_reading`).
    """

    __slots__ = ()

    def _reading(self) -> tuple[Txn, bool]:
        """A transaction to read with, and whether it is to end with what it was opened for."""
        raise NotImplementedError

    def _find_again(self, gone: NoTable) -> None:
        """Finds the table that now has the name, where a handle outlives its table; or raises."""
        raise gone

    def _read(self, read: Callable[[Txn, TableHandle | None], _T]) -> _T:
        """What a function reads with a transaction of `_reading`."""
        try:
            return self._read_once(read)
        except NoTable as gone:
            self._find_again(gone)
            return self._read_once(read)

    def _read_once(self, read: Callable[[Txn, TableHandle | None], _T]) -> _T:
        transaction, owned = self._reading()
        try:
            return read(transaction, self._handle)
        finally:
            if owned:
                transaction.rollback()

    def _cursor(self, *bounds: ReadableBuffer | None, **options: Any) -> Cursor:
        """A cursor, which ends the transaction that was opened for it."""
        transaction, owned = self._reading()
        try:
            return Cursor(transaction, self._handle, *bounds, owns_transaction=owned, **options)
        except NoTable as gone:
            if owned:
                transaction.rollback()
            self._find_again(gone)
        transaction, owned = self._reading()
        return Cursor(transaction, self._handle, *bounds, owns_transaction=owned, **options)

    def __len__(self) -> int:
        return self._read(lambda transaction, table: transaction.count(table))

    def __iter__(self) -> Iterator[bytes]:
        return cast("Iterator[bytes]", self._cursor(keys_only=True))

    def scan(
        self,
        start: ReadableBuffer | None = None,
        stop: ReadableBuffer | None = None,
        *,
        prefix: ReadableBuffer | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Scan[tuple[bytes, bytes]]:
        """The pairs of a range of keys, in the order of the keys, as they were when the scan began.

        Parameters
        ----------
        start, stop : bytes-like, optional
            The range: `start` is included, `stop` is excluded; None leaves that side open.
        prefix : bytes-like, optional
            Only keys that begin with it; narrows the range further.
        reverse : bool
            From the last key to the first.
        limit : int, optional
            At most so many pairs.

        Returns
        -------
        iterator of (bytes, bytes)
            It can be closed early by ``close()`` or a with statement. In a transaction it sees the
            transaction's own writes, also those made during the scan.

        Raises
        ------
        TypeError, ValueError
            If a bound is no buffer of bytes, or `limit` is negative.
        CorruptionError, QuorumLostError
            While iterating, if no copy could serve a page.
        """
        return self._cursor(start, stop, prefix=prefix, reverse=reverse, limit=limit)

    @overload
    def get_many(self, keys: Iterable[ReadableBuffer] | FixedWidthArray) -> list[bytes | None]: ...
    @overload
    def get_many(
        self, keys: Iterable[ReadableBuffer] | FixedWidthArray, default: _T
    ) -> list[bytes | _T]: ...
    def get_many(
        self, keys: Iterable[ReadableBuffer] | FixedWidthArray, default: Any = None
    ) -> list[Any]:
        """The values of many keys, all as of one moment.

        Parameters
        ----------
        keys : iterable of bytes-like, or array
            The keys; or a numpy array of dtype S or V, or a two-dimensional one of uint8 with a key
            in each row. Zero bytes that pad the items of an S array do not belong to the keys.
        default : object
            What stands for a key that is not there.

        Returns
        -------
        list
            The values in the order of `keys`.
        """
        return self._read(lambda transaction, table: transaction.get_many(table, keys, default))


def put_pairs(transaction: Txn, table: TableHandle | None, pairs: Any, values: Any) -> None:
    """Puts what `put_many` was given: pairs, a mapping, or keys and values apart."""
    if values is not None:
        put_columns(transaction, table, pairs, values)
    elif isinstance(pairs, tuple) and len(pairs) == 2 and all(map(_is_array, pairs)):
        put_columns(transaction, table, *pairs)
    else:
        items = getattr(pairs, "items", None)
        # A list goes down in stretches, which is quicker than pair by pair.
        transaction.put_many(table, list(items()) if callable(items) else pairs)


def put_columns(transaction: Txn, table: TableHandle | None, keys: Any, values: Any) -> None:
    """Puts keys and values that stand apart, arrays without looking at each record."""
    if _is_array(keys) and _is_array(values):
        transaction.put_array(table, keys, values)
    else:
        transaction.put_many(table, zip(keys, values, strict=True))


def _is_array(given: object) -> bool:
    # numpy is not imported for those who do not use it.
    return hasattr(given, "itemsize") and hasattr(given, "shape") and hasattr(given, "dtype")
