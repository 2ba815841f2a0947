"""LMDB through py-lmdb."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from aurora_engine.bench.engines.base import Engine, Pair, Session
from aurora_engine.bench.machine import package_missing, package_version

with suppress(ImportError):  # `missing` says so
    import lmdb

__all__ = ["Lmdb"]

MAP_BYTES = 64 << 30
READERS_MAX = 256


class Lmdb(Engine):
    """One writer at a time; a commit is two flushes, one of the pages and one of the root."""

    name = "lmdb"

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        self.environment = lmdb.open(
            str(folder),
            map_size=MAP_BYTES,
            sync=True,
            metasync=True,
            writemap=False,
            max_readers=READERS_MAX,
        )

    @classmethod
    def missing(cls) -> str | None:
        return package_missing("lmdb")

    @classmethod
    def version(cls) -> str:
        linked = ".".join(str(each) for each in lmdb.version())
        return f"liblmdb {linked}, py-lmdb {package_version('lmdb')}"

    @classmethod
    def settings(cls, cache_bytes: int) -> dict[str, str]:
        return {
            "map_size": str(MAP_BYTES),
            "sync, metasync": "on",
            "writemap": "off",
            "cache": "the kernel's page cache, without limit",
        }

    def session(self) -> Session:
        begin = self.environment.begin

        def put(key: bytes, value: bytes) -> None:
            with begin(write=True) as transaction:
                transaction.put(key, value)

        def put_batch(pairs: Sequence[Pair]) -> None:
            with begin(write=True) as transaction:
                transaction.cursor().putmulti(pairs)

        def get(key: bytes) -> bytes | None:
            with begin() as transaction:
                found: bytes | None = transaction.get(key)
                return found

        def get_many(keys: Sequence[bytes]) -> list[bytes | None]:
            with begin() as transaction:
                return [*map(transaction.get, keys)]

        def scan(start: bytes, count: int) -> list[Pair]:
            with begin() as transaction:
                cursor = transaction.cursor()
                return [*islice(cursor, count)] if cursor.set_range(start) else []

        return Session(put, put_batch, get, get_many, scan)

    def load(self, batches: Iterable[Sequence[Pair]]) -> None:
        with self.environment.begin(write=True) as transaction:
            cursor = transaction.cursor()
            for batch in batches:
                cursor.putmulti(batch)

    def count(self) -> int:
        with self.environment.begin() as transaction:
            return sum(1 for _ in transaction.cursor())

    def settle(self) -> None:
        """It leaves nothing for later."""

    def close(self) -> None:
        self.environment.close()
