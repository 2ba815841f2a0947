"""The six storage nodes of the simulated volume.

A disk each that can fail, and the segments on it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from aurora_engine._ext.disk import Disk
from aurora_engine._ext.records import SegmentIdentity
from aurora_engine._ext.segment import Segment
from aurora_engine.errors import AuroraError

COPIES = 6
PAGE_BYTES = 4096
GROUP_PAGES = 256
SEGMENT_OPTIONS = {"extent_bytes": 64 << 10, "memtable_bytes": 24 << 10, "merge_fanout": 3}

LYING_FAULTS = ("flip_write_ppm", "misdirect_ppm", "lost_write_ppm")
HONEST_FAULTS = ("read_error_ppm", "write_error_ppm", "sync_error_ppm", "flip_read_ppm")


@dataclass(slots=True)
class Node:
    """One copy of one protection group: its medium, and its open segment while the node is up."""

    group: int
    copy: int
    disk: Disk
    segment: Segment | None = None
    suspect: bool = False
    """Its medium has lied or failed: nothing may be expected of it until it is rebuilt."""
    writes_when_failed: int | None = None


@dataclass(slots=True)
class Storage:
    """All nodes of a volume."""

    volume_id: bytes
    source: random.Random
    planted_bugs: int = 0
    nodes: dict[tuple[int, int], Node] = field(default_factory=dict)

    def identity(self, group: int, copy: int) -> SegmentIdentity:
        """What the segment at a place says of itself."""
        return SegmentIdentity(self.volume_id, group, copy, PAGE_BYTES, COPIES, GROUP_PAGES)

    def add_group(self, group: int, epoch: int) -> None:
        """Creates and opens the six segments of a group."""
        for copy in range(COPIES):
            disk = Disk.faulty(Disk.memory(), self.source.getrandbits(63))
            Segment.create(disk, self.identity(group, copy), epoch, 0)
            node = Node(group, copy, disk)
            self.nodes[group, copy] = node
            self.open(node)

    @property
    def groups(self) -> int:
        """Number of protection groups."""
        return 1 + max(group for group, _ in self.nodes)

    def open(self, node: Node) -> AuroraError | None:
        """Opens a node's segment; the reason if that fails."""
        try:
            node.segment = Segment.open(
                node.disk,
                self.identity(node.group, node.copy),
                planted_bugs=self.planted_bugs,
                **SEGMENT_OPTIONS,
            )
        except AuroraError as error:
            node.segment = None
            return error
        node.writes_when_failed = None
        return None

    def close(self, node: Node) -> None:
        """Stops a node, as SIGKILL does: nothing is flushed."""
        if node.segment is not None:
            node.segment.close()
            node.segment = None

    def power_cut(self, node: Node) -> None:
        """Writes of the node that were not durable are kept, lost or torn."""
        self.close(node)
        node.disk.crash()
        node.disk.recover()

    def replace_disk(self, node: Node) -> None:
        """The node's disk is lost; a new, empty one is put in."""
        self.close(node)
        node.disk = Disk.faulty(Disk.memory(), self.source.getrandbits(63))
        node.suspect = True

    def rebuild(self, node: Node, source: Segment) -> AuroraError | None:
        """Copies a peer onto a new disk of the node and opens it."""
        self.replace_disk(node)
        try:
            source.copy(node.disk, self.identity(node.group, node.copy))
        except AuroraError as error:
            return error
        error = self.open(node)
        if error is None:
            node.suspect = False
        return error

    def check_never_retried(self) -> None:
        """I10: a segment that failed writes nothing any more."""
        for node in self.nodes.values():
            if node.segment is None or node.segment.state().health != "failed":
                continue
            writes = node.disk.counts().writes
            if node.writes_when_failed is None:
                node.writes_when_failed = writes
            assert writes == node.writes_when_failed, (
                f"I10: failed copy {node.copy} of group {node.group} wrote again"
            )


def new_volume_id(source: random.Random) -> bytes:
    """16 bytes from the seed."""
    return source.randbytes(16)
