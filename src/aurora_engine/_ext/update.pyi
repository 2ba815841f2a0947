from typing import Any

from typing_extensions import disjoint_base

from aurora_engine._ext.lookup import Lookup
from aurora_engine._ext.transaction import Txn
from aurora_engine.types import ReadableBuffer

class Update(Lookup):
    def put(self, key: ReadableBuffer, value: ReadableBuffer) -> None: ...
    def __setitem__(self, key: ReadableBuffer, value: ReadableBuffer, /) -> None: ...
    def delete(self, key: ReadableBuffer) -> bool: ...
    def __delitem__(self, key: ReadableBuffer, /) -> None: ...

@disjoint_base
class Unit(Update):
    _volume: Any
    _waits: bool
    _ended: bool
    def __init__(self, transaction: Txn, volume: object, waits: bool, /) -> None: ...
    def commit(self, *, wait: bool | None = None) -> int: ...
