"""What the coordination state machines ask for (actions) and are told (replies).

The machines do no I/O and read no clock: a driver carries each action out and hands the reply back.
In production that is
`volume.driver`, in tests the simulator.
"""

from __future__ import annotations

from dataclasses import dataclass

from aurora_engine._ext.records import FrameInfo, RewindRecord, SegmentState
from aurora_engine.errors import AuroraError

Place = tuple[int, int]
"""A segment's place: (protection group, copy)."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Ask a segment for its state and rewinds. Reply: `Surveyed`."""

    place: Place


@dataclass(frozen=True, slots=True)
class Promise:
    """Let a segment record the rewinds it missed, then promise to refuse writers below ``epoch``.

    Reply: `Surveyed`.
    """

    place: Place
    missed: tuple[RewindRecord, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class Inspect:
    """Ask for the headers of the frames in a segment's log that end above ``above``.

    Reply: `Inspected`. The last frame at or below ``above`` comes first, where the log has it.
    """

    place: Place
    above: int


@dataclass(frozen=True, slots=True)
class CopyLog:
    """Copy a group's frames in (the segment's SCL, upto] to it from a source that has them.

    Reply: `Surveyed`.
    """

    place: Place
    sources: tuple[Place, ...]
    upto: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Truncate:
    """Let a segment record a rewind. Reply: `Surveyed`."""

    place: Place
    rewind: RewindRecord


Action = Survey | Promise | Inspect | CopyLog | Truncate


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A segment's state and its rewinds, oldest first."""

    state: SegmentState
    rewinds: tuple[RewindRecord, ...]


@dataclass(frozen=True, slots=True)
class Inspected:
    """Headers of frames, in chain order."""

    frames: tuple[FrameInfo, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The action could not be carried out; the segment is out of this recovery."""

    error: AuroraError


Reply = Surveyed | Inspected | Failed
