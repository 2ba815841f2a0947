"""LevelDB through plyvel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

from aurora_engine.bench.engines.base import Engine, Pair, Session
from aurora_engine.bench.machine import package_missing, package_version

with suppress(ImportError):  # `missing` says so
    import plyvel

__all__ = ["LevelDb"]

WRITE_BUFFER_BYTES = 64 << 20
BLOOM_BITS = 10


class LevelDb(Engine):
    """Threads that write at the same time share a flush of its log."""

    name = "leveldb"

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        self._db = plyvel.DB(
            str(folder),
            create_if_missing=True,
            write_buffer_size=min(WRITE_BUFFER_BYTES, cache_bytes),
            lru_cache_size=cache_bytes,
            bloom_filter_bits=BLOOM_BITS,
        )

    @classmethod
    def missing(cls) -> str | None:
        return package_missing("plyvel")

    @classmethod
    def version(cls) -> str:
        linked = f"{plyvel.__leveldb_version__}"
        return f"LevelDB {linked}, plyvel {package_version('plyvel')}"

    @classmethod
    def settings(cls, cache_bytes: int) -> dict[str, str]:
        return {
            "write_buffer_size": str(min(WRITE_BUFFER_BYTES, cache_bytes)),
            "lru_cache_size": str(cache_bytes),
            "bloom_filter_bits": str(BLOOM_BITS),
            "compression": "snappy",
            "sync": "on for every write that is timed",
        }

    def session(self) -> Session:
        db = self._db

        def put_batch(pairs: Sequence[Pair]) -> None:
            with db.write_batch(sync=True) as batch:
                put = batch.put
                for key, value in pairs:
                    put(key, value)

        return Session(
            put=partial(db.put, sync=True),
            put_batch=put_batch,
            get=db.get,
            get_many=lambda keys: [*map(db.get, keys)],
            scan=lambda start, count: [*islice(db.iterator(start=start), count)],
        )

    def load(self, batches: Iterable[Sequence[Pair]]) -> None:
        last: Sequence[Pair] = ()
        for batch in batches:
            self._write(last, sync=False)
            last = batch
        self._write(last, sync=True)

    def _write(self, pairs: Sequence[Pair], *, sync: bool) -> None:
        with self._db.write_batch(sync=sync) as batch:
            for key, value in pairs:
                batch.put(key, value)

    def count(self) -> int:
        return sum(1 for _ in self._db.iterator())

    def settle(self) -> None:
        self._db.compact_range()

    def close(self) -> None:
        self._db.close()
