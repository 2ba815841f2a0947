"""The segments of a volume in this process.

Opening, creating, and carrying out what the state machines ask of them.
"""

from __future__ import annotations

import _thread
import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from aurora_engine._ext.disk import Disk
from aurora_engine._ext.engine import Engine
from aurora_engine._ext.records import FrameInfo, LogGap, SegmentIdentity
from aurora_engine._ext.segment import Segment
from aurora_engine.errors import (
    AuroraError,
    CorruptionError,
    StorageIOError,
    VolumeFullError,
)
from aurora_engine.volume.layout import METADATA_NAME, Layout, sync_path
from aurora_engine.volume.lineage import Lineage, left_lineage, missed_rewinds
from aurora_engine.volume.messages import (
    Action,
    CopyLog,
    Failed,
    Inspect,
    Inspected,
    Place,
    Promise,
    Reply,
    Survey,
    Surveyed,
    Truncate,
)

_log = logging.getLogger("aurora_engine.volume")

ROOM_BYTES = 16 << 20
"""What a full disk must have free again: two extents of a segment's log."""

BEGIN_S = 1.0
"""A thread that has not begun after that long never will."""

CATCH_UP_S_MAX = 30.0
CATCH_UP_TICK_S = 0.01

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    on_failure: Callable[[], None] | None = None,
) -> list[_Result]:
    """Calls ``function`` on every item, each in a thread of its own, since it waits for a disk.

    What it raised first is raised here, as is an interruption by Ctrl-C; but all calls have ended
    by then. ``on_failure`` is called before, so that they can be told to end soon.
    """
    todo = list(items)
    results: dict[int, _Result] = {}
    failures: list[BaseException] = []
    calls = [_Call() for _ in todo]

    def fail(failure: BaseException) -> None:
        failures.append(failure)
        if on_failure is not None:
            on_failure()

    def run(index: int) -> None:
        calls[index].has_begun = True
        try:
            results[index] = function(todo[index])
        except BaseException as failure:  # noqa: BLE001 - raised again by who waits
            fail(failure)
        finally:
            calls[index].end()

    begun = 0
    try:
        for begun in range(1, len(todo)):
            _begin(run, begun)
        if todo:
            run(0)
    except BaseException as failure:  # noqa: BLE001 - raised again below
        fail(failure)
    for call in calls[1 : begun + 1]:
        call.wait(fail)
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(todo))]


def _begin(run: Callable[[int], None], index: int) -> None:
    """Runs in a thread, or here if there can be no other."""
    try:
        _thread.start_new_thread(run, (index,))
    except RuntimeError:
        run(index)


class _Call:
    """One of several calls, each in a thread.

    Ctrl-C in the middle of a method of `threading` may leave the lock of a thread or an event held
    for ever; so there are only a lock, whose methods are in C, and what is told beside it.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self._has_ended = False
        self._running = _thread.allocate_lock()
        self._running.acquire()

    def end(self) -> None:
        """To be called by the thread, last."""
        self._has_ended = True
        self._running.release()

    def wait(self, fail: Callable[[BaseException], None]) -> None:
        """Waits for the end, whatever is raised here meanwhile."""
        while not self._has_ended:
            try:
                if not self._running.acquire(timeout=BEGIN_S) and not self.has_begun:
                    return  # Ctrl-C came before it could be started
            except BaseException as failure:  # noqa: BLE001 - raised again by who waits
                fail(failure)


def identity_of(layout: Layout, place: Place) -> SegmentIdentity:
    """What the segment at ``place`` must say of itself."""
    metadata = layout.metadata
    group, copy = place
    return SegmentIdentity(
        metadata.volume_id, group, copy, metadata.page_bytes, metadata.copies, metadata.group_pages
    )


def create_segment(layout: Layout, place: Place, epoch: int) -> None:
    """Formats a new segment in its folder.

    Raises
    ------
    StorageIOError
        If the folder cannot be made or written.
    """
    disk = Disk.posix(os.fsencode(layout.segment_folder(*place)), create=True)
    try:
        Segment.create(disk, identity_of(layout, place), epoch, 0)
    finally:
        disk.close()


def require_unused(layout: Layout, place: Place) -> None:
    """Makes sure that what is at ``place`` is no more than a growth that was cut short left.

    Raises
    ------
    CorruptionError
        If the segment there has taken frames: the volume did use this group, and its metadata does
        not know any more.
    """
    segment = open_segment(layout, place)
    if isinstance(segment, Segment):
        scl = segment.state().scl
        segment.close()
        if scl > 0:
            raise CorruptionError(
                f"{layout.segment_folder(*place)} has records up to LSN {scl}, but the volume's "
                f"metadata does not know its group; restore the newest {METADATA_NAME}"
            )


def discard_unused(layout: Layout, place: Place) -> None:
    """Removes what a growth that was cut short left at ``place``.

    Raises
    ------
    CorruptionError
        If it is more than that: see `require_unused`.
    """
    require_unused(layout, place)
    _discard(layout.segment_folder(*place))


def open_segment(layout: Layout, place: Place) -> Segment | AuroraError:
    """Opens the segment at ``place``, or says why it cannot be used.

    Once it is open, what a rebuild that was cut short left beside it is of no use any more.
    """
    folder = layout.segment_folder(*place)
    try:
        disk = Disk.posix(os.fsencode(folder), create=False)
    except AuroraError as error:
        return error
    try:
        segment = Segment.open(disk, identity_of(layout, place))
    except AuroraError as error:
        disk.close()
        return error
    _discard(_fresh(folder))
    _discard(_retired(folder))
    return segment


def copy_segment(
    layout: Layout,
    place: Place,
    source: Segment,
    progress: Callable[[int, int], bool] | None = None,
) -> Path:
    """Copies ``source`` into a folder beside the one of ``place``; `swap_in` puts it there.

    Raises
    ------
    AuroraError
        If the source cannot be read or the folder cannot be written. Whatever is raised, also by
        ``progress``, nothing is left behind then.
    """
    folder = layout.segment_folder(*place)
    fresh = _fresh(folder)
    _discard(fresh)
    disk = Disk.posix(os.fsencode(fresh), create=True)
    try:
        source.copy(disk, identity_of(layout, place), progress)
    except BaseException:
        _discard(fresh)
        raise
    finally:
        disk.close()
    return fresh


def await_catching_up(
    engine: Engine, place: Place, go_on: Callable[[], bool]
) -> AuroraError | None:
    """Waits until a copy that has joined has what its peers have; why it cannot.

    One that takes long is left to it.
    """
    end_s = time.monotonic() + CATCH_UP_S_MAX
    while go_on() and time.monotonic() < end_s:
        status = engine.copy_status(*place)
        if status.state == "failed":
            return status.error
        if status.state != "lagging":
            break
        time.sleep(CATCH_UP_TICK_S)
    return None


def swap_in(layout: Layout, place: Place, fresh: Path) -> Segment:
    """Puts a copied segment in the place of the old one, whose handle is closed, and opens it.

    Raises
    ------
    AuroraError
        If the file system refuses, or the copy does not open.
    """
    folder = layout.segment_folder(*place)
    retired = _retired(folder)
    _discard(retired)
    try:
        if folder.exists():
            folder.rename(retired)
        fresh.rename(folder)
        sync_path(folder.parent)
    except OSError as error:
        raise StorageIOError(
            error.errno, f"cannot put the rebuilt copy in place ({error.strerror})", str(folder)
        ) from error
    _discard(retired)
    opened = open_segment(layout, place)
    if isinstance(opened, AuroraError):
        raise opened
    return opened


def surveyed(segments: Iterable[Segment]) -> list[Surveyed]:
    """State and rewinds of open segments."""
    return [Surveyed(segment.state(), tuple(segment.rewinds())) for segment in segments]


def joined(segment: Segment, place: Place, lineage: Lineage, epoch: int) -> AuroraError | None:
    """Lets a segment join copies that a writer of ``epoch`` serves, or says why it cannot.

    It hears of the rewinds that it missed, and promises the epoch.
    """
    driver = Driver({place: segment})
    survey = driver.carry_out(Survey(place))
    if isinstance(survey, Surveyed):
        if left_lineage(survey, lineage):
            return CorruptionError(
                "it took part in a recovery or backtrack that was never finished: "
                "this copy must be rebuilt"
            )
        missed = missed_rewinds(survey, lineage, epoch)
        survey = driver.carry_out(Promise(place, missed, epoch))
    return survey.error if isinstance(survey, Failed) else None


def _fresh(folder: Path) -> Path:
    """Where the copy grows that is to take the place of a folder."""
    return folder.with_name(folder.name + ".rebuild")


def _retired(folder: Path) -> Path:
    """Where what stood in a folder goes before it is removed."""
    return folder.with_name(folder.name + ".retired")


def _discard(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def may_return(error: AuroraError | None) -> bool:
    """Whether a copy that failed so may be opened again as it is.

    It may when its files were only away, its disk was full, or the process had no file descriptor
    left. After a failed write or sync nobody knows what the medium holds (I10), and one that damage
    or a gap put out needs to be made anew.
    """
    if isinstance(error, VolumeFullError):
        return True
    passing = (None, 0, errno.ENOENT, errno.EMFILE, errno.ENFILE)
    return isinstance(error, StorageIOError) and error.errno in passing


def shared_bytes(folder: Path) -> int:
    """Bytes of the files in a folder that other folders have as well: clones, or their parents."""
    shared = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            # A file may go while it is looked at.
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                shared += found.st_size if found.st_nlink > 1 else 0
    return shared


def has_room(folder: Path) -> bool:
    """Whether the disk of a folder has room for a segment to go on."""
    try:
        free = os.statvfs(folder)
    except OSError:
        return False
    return free.f_bavail * free.f_frsize >= ROOM_BYTES


class Driver:
    """Carries out the actions of a state machine on open segments."""

    def __init__(self, segments: dict[Place, Segment]) -> None:
        self._segments = segments

    def carry_out(self, action: Action) -> Reply:
        """Does what is asked; never raises."""
        try:
            return self._carry_out(action)
        except AuroraError as error:
            _log.warning("segment %s: %s failed: %s", action.place, type(action).__name__, error)
            return Failed(error)

    def _carry_out(self, action: Action) -> Reply:
        segment = self._segments[action.place]
        match action:
            case Survey():
                pass
            case Promise(missed=missed, epoch=epoch):
                for rewind in missed:
                    segment.rewind(rewind)
                segment.set_epoch(epoch)
            case Inspect(above=above):
                return Inspected(tuple(self._frames_above(segment, above)))
            case CopyLog(sources=sources, upto=upto, epoch=epoch):
                self._copy_log(segment, [self._segments[place] for place in sources], upto, epoch)
            case Truncate(rewind=rewind):
                segment.rewind(rewind)
        return Surveyed(segment.state(), tuple(segment.rewinds()))

    @staticmethod
    def _frames_above(segment: Segment, above: int) -> list[FrameInfo]:
        frames: list[FrameInfo] = []
        # VDL is never below what was flushed, so the frames above it are all in memory.
        after = segment.state().flushed_lsn
        while (frame := segment.next_frame(after)) is not None:
            info = frame.info
            if info.last_lsn <= above:
                frames.clear()
            frames.append(info)
            after = info.last_lsn
        return frames

    @staticmethod
    def _copy_log(target: Segment, sources: list[Segment], upto: int, epoch: int) -> None:
        scl = target.state().scl
        while scl < upto:
            frame = None
            for source in sources:
                try:
                    frame = source.next_frame(scl)
                except (LogGap, CorruptionError, StorageIOError):
                    continue  # no fault of the target's, and another source may do
                if frame is not None:
                    break
            if frame is None:
                raise CorruptionError(
                    f"no copy still has the log after {scl}; this copy must be rebuilt"
                )
            scl = target.adopt(frame, epoch)
