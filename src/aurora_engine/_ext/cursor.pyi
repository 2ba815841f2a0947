from typing import Self, final

from aurora_engine._ext.engine import TableHandle
from aurora_engine._ext.handle import Handle
from aurora_engine._ext.transaction import Txn
from aurora_engine.types import ReadableBuffer

# With keys_only the items are keys alone; the face declares what comes out of each of its verbs.
@final
class Cursor(Handle):
    def __new__(
        cls,
        transaction: Txn,
        table: TableHandle | None,
        start: ReadableBuffer | None = None,
        stop: ReadableBuffer | None = None,
        *,
        prefix: ReadableBuffer | None = None,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
        owns_transaction: bool = False,
    ) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> tuple[bytes, bytes]: ...
    def page_end(self, key: bytes) -> bytes | None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
