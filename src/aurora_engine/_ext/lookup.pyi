from typing import Literal, TypeVar, overload

from typing_extensions import disjoint_base

from aurora_engine._ext.engine import Engine, TableHandle
from aurora_engine._ext.transaction import Txn
from aurora_engine.types import ReadableBuffer

_T = TypeVar("_T")

@disjoint_base
class Lookup:
    _source: Engine | Txn
    _handle: TableHandle | None
    @overload
    def get(
        self, key: ReadableBuffer, default: None = None, *, as_view: Literal[False] = False
    ) -> bytes | None: ...
    @overload
    def get(
        self, key: ReadableBuffer, default: _T, *, as_view: Literal[False] = False
    ) -> bytes | _T: ...
    @overload
    def get(
        self, key: ReadableBuffer, default: None = None, *, as_view: Literal[True]
    ) -> memoryview | None: ...
    @overload
    def get(
        self, key: ReadableBuffer, default: _T, *, as_view: Literal[True]
    ) -> memoryview | _T: ...
    def __getitem__(self, key: ReadableBuffer, /) -> bytes: ...
    def __contains__(self, key: ReadableBuffer, /) -> bool: ...
