"""RocksDB through rocksdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from aurora_engine.bench.engines.base import Engine, Pair, Session
from aurora_engine.bench.machine import package_missing, package_version

with suppress(ImportError):  # `missing` says so
    import rocksdict

__all__ = ["RocksDb"]

MEMTABLE_BYTES = 64 << 20
BLOOM_BITS = 10
BACKGROUND_JOBS = 2


class RocksDb(Engine):
    """A log-structured tree; every write that is timed syncs its log."""

    name = "rocksdb"

    def __init__(self, folder: Path, *, cache_bytes: int) -> None:
        self._db = rocksdict.Rdict(str(folder), _options(cache_bytes))
        self._synced = rocksdict.WriteOptions()
        self._synced.sync = True

    @classmethod
    def missing(cls) -> str | None:
        return package_missing("rocksdict")

    @classmethod
    def version(cls) -> str:
        return f"RocksDB as in rocksdict {package_version('rocksdict')}"

    @classmethod
    def settings(cls, cache_bytes: int) -> dict[str, str]:
        return {
            "raw_mode": "on",
            "WriteOptions.sync": "on for every write that is timed",
            "write_buffer_size": str(min(MEMTABLE_BYTES, cache_bytes)),
            "block cache": f"LRU of {cache_bytes}",
            "bloom filter": f"{BLOOM_BITS} bits",
            "compression": "lz4",
            "max_background_jobs": str(BACKGROUND_JOBS),
        }

    def session(self) -> Session:
        db: Any = self._db
        synced = self._synced

        def put_batch(pairs: Sequence[Pair]) -> None:
            db.write(_batch(pairs), synced)

        return Session(
            put=partial(db.put, write_opt=synced),
            put_batch=put_batch,
            get=db.get,
            get_many=lambda keys: db.get([*keys]),
            scan=lambda start, count: [*islice(db.items(from_key=start), count)],
        )

    def load(self, batches: Iterable[Sequence[Pair]]) -> None:
        for batch in batches:
            self._db.write(_batch(batch))
        self._db.flush_wal(sync=True)

    def count(self) -> int:
        return sum(1 for _ in self._db.items())

    def settle(self) -> None:
        self._db.flush()
        self._db.compact_range(None, None)

    def close(self) -> None:
        self._db.close()


def _batch(pairs: Iterable[Pair]) -> Any:
    batch = rocksdict.WriteBatch(raw_mode=True)
    put = batch.put
    for key, value in pairs:
        put(key, value)
    return batch


def _options(cache_bytes: int) -> Any:
    table = rocksdict.BlockBasedOptions()
    table.set_block_cache(rocksdict.Cache(cache_bytes))
    table.set_bloom_filter(BLOOM_BITS, block_based=False)
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(min(MEMTABLE_BYTES, cache_bytes))
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    options.set_max_background_jobs(BACKGROUND_JOBS)
    return options
