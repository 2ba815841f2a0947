from collections.abc import Callable
from typing import Self, final

from aurora_engine._ext.disk import Disk
from aurora_engine._ext.records import RewindRecord, SegmentIdentity
from aurora_engine._ext.segment import Segment

@final
class Snapshot:
    def __new__(cls, segment: Segment) -> Self: ...
    def clone(
        self,
        disk: Disk,
        identity: SegmentIdentity,
        vdl: int,
        rewind: RewindRecord | None = None,
        progress: Callable[[int, int], bool | None] | None = None,
    ) -> None: ...
    def release(self) -> None: ...
