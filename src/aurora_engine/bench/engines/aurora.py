"""aurora_engine itself: six copies as by default, and one copy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import aurora_engine as aurora
from aurora_engine.bench.engines.base import Engine, Pair, Session
from aurora_engine.bench.machine import package_version

if TYPE_CHECKING:
    from aurora_engine.types import Durability

__all__ = ["OneCopy", "SixCopies"]


class SixCopies(Engine):
    """Three zones with two copies each; durable means on four of the six disks' files."""

    name = "aurora"
    copies = 6
    topology: ClassVar[aurora.Topology] = aurora.Topology()

    def __init__(
        self, folder: Path, *, cache_bytes: int, durability: Durability = "quorum"
    ) -> None:
        self.db = aurora.open(
            folder, topology=self.topology, cache_bytes=cache_bytes, durability=durability
        )

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return f"aurora_engine {package_version('aurora-engine')}"

    @classmethod
    def settings(cls, cache_bytes: int) -> dict[str, str]:
        return {
            "topology": f"{len(cls.topology.zones)} zones, {cls.topology.copies} in all",
            "cache_bytes": str(cache_bytes),
            "durability": '"quorum"',
        }

    def session(self) -> Session:
        db = self.db
        return Session(
            put=db.put,
            put_batch=db.put_many,
            get=db.get,
            get_many=db.get_many,
            scan=lambda start, count: list(db.scan(start, limit=count)),
        )

    def load(self, batches: Iterable[Sequence[Pair]]) -> None:
        lsn = self.db.durable_lsn
        for batch in batches:
            transaction = self.db.begin()
            transaction.put_many(batch)
            lsn = transaction.commit(wait=False)
        self.db.wait_durable(lsn)

    def count(self) -> int:
        return sum(1 for _ in self.db.scan())

    def settle(self) -> None:
        self.db.compact()

    def close(self) -> None:
        self.db.close()


class OneCopy(SixCopies):
    """One copy, as the peers have."""

    name = "aurora-single"
    copies = 1
    topology = aurora.Topology.single()
