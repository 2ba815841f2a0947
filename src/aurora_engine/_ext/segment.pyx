"""One copy of one protection group (csrc/segment/segment.h)."""

import errno as error_numbers

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from aurora_engine._ext.caurora cimport (
    AUR_ERR_IO,
    AUR_GAP,
    AUR_NOT_FOUND,
    AUR_OK,
    AUR_SEGMENT_DAMAGED,
    AUR_SEGMENT_OK,
    AUR_TIDY_LAYERS,
    AUR_TIDY_LOG,
    AUR_TIMEOUT,
    aur_disk_acquire,
    aur_disk_close,
    aur_error,
    aur_frame,
    aur_retention,
    aur_rewind,
    aur_segment,
    aur_segment_fill,
    aur_segment_follow,
    aur_segment_tidy,
    aur_segment_append,
    aur_segment_check,
    aur_segment_close,
    aur_segment_compact,
    aur_segment_copy,
    aur_segment_create,
    aur_segment_default_options,
    aur_segment_fail,
    aur_segment_get_state,
    aur_segment_identity,
    aur_segment_next_frame,
    aur_segment_open,
    aur_segment_options,
    aur_segment_read_page,
    aur_segment_retain,
    aur_segment_rewind,
    aur_segment_rewinds,
    aur_segment_set_epoch,
    aur_segment_set_vdl,
    aur_segment_state,
    aur_segment_verify,
    aur_segment_work,
    aur_status,
    aur_verify_counts,
)
from aurora_engine._ext.disk cimport Disk
from aurora_engine._ext.frame cimport Frame, wrap as wrap_frame
from aurora_engine._ext.handle cimport Handle, enter, forked, leave, require, wait_idle
from aurora_engine._ext.history cimport fill_rewind, rewind_record
from aurora_engine._ext.segment_parts cimport Listener, fill_identity, hear_damage, hear_progress
from aurora_engine._ext.status cimport check, error_clear, stored_exception

from aurora_engine._ext.records import (
    LogGap,
    SegmentIdentity,
    SegmentState,
    VerifyCounts,
)
from aurora_engine.errors import StorageIOError


@cython.final
@cython.no_gc
cdef class Segment(Handle):
    """An open segment. Everything that may do I/O runs without the GIL; any thread may call."""

    def __init__(self):
        raise TypeError("use Segment.open")

    def __dealloc__(self):
        if self._segment != NULL and not forked(self):
            with nogil:
                aur_segment_close(self._segment)

    cdef str _noun(self):
        return "segment"

    @staticmethod
    def create(Disk disk not None, identity, uint64_t epoch, uint64_t base_lsn):
        """Formats an empty directory as a segment.

        Raises
        ------
        ValueError
            If there is a segment already.
        StorageIOError, VolumeFullError
            If the disk refuses.
        """
        cdef aur_segment_identity parts
        cdef aur_error error
        cdef aur_status status
        fill_identity(&parts, identity)
        enter(disk, &error)
        with nogil:
            status = aur_segment_create(disk._disk, &parts, epoch, base_lsn, &error)
        leave(disk, status, &error)

    @staticmethod
    def open(
        Disk disk not None, identity=None, *, uint32_t planted_bugs=0, extent_bytes=None,
        memtable_bytes=None, merge_fanout=None, delta_bytes=None, part_bytes=None
    ):
        """Opens the segment of a directory; `identity` is what it must say of itself, None accepts
        any.

        Raises
        ------
        StorageIOError
            If there is no segment, or the disk refuses.
        CorruptionError
            If its manifest cannot be read, or it is another volume's or group's.
        VersionError
            If it is of a later format.
        """
        cdef aur_segment_identity parts
        cdef aur_segment_identity *expected = NULL
        cdef aur_segment_options options
        cdef aur_segment_state state
        cdef aur_segment *segment = NULL
        cdef aur_error error
        cdef aur_status status
        cdef Segment self
        require(disk)
        if identity is not None:
            fill_identity(&parts, identity)
            expected = &parts
        aur_segment_default_options(&options)
        options.planted_bugs = planted_bugs
        if extent_bytes is not None:
            options.extent_bytes = extent_bytes
        if memtable_bytes is not None:
            options.memtable_bytes = memtable_bytes
        if merge_fanout is not None:
            options.merge_fanout = merge_fanout
        if delta_bytes is not None:
            options.delta_bytes = delta_bytes
        if part_bytes is not None:
            options.part_bytes = part_bytes
        error_clear(&error)
        aur_disk_acquire(disk._disk)
        disk._calls += 1
        with nogil:
            status = aur_segment_open(disk._disk, expected, &options, &segment, &error)
            if status != AUR_OK:
                aur_disk_close(disk._disk)
        disk._calls -= 1
        if check(status, &error) == AUR_NOT_FOUND:
            raise StorageIOError(
                error_numbers.ENOENT, "there is no segment in the directory", disk.path
            )
        self = Segment.__new__(Segment)
        self._segment = segment
        self._closed = False
        aur_segment_get_state(segment, &state)
        self._page_bytes = state.identity.page_bytes
        return self

    def state(self):
        """What the segment knows of itself."""
        cdef aur_segment_state state
        require(self)
        aur_segment_get_state(self._segment, &state)
        identity = SegmentIdentity(
            <bytes>(<char *>state.identity.volume_id)[:sizeof(state.identity.volume_id)],
            state.identity.group,
            state.identity.copy,
            state.identity.page_bytes,
            state.identity.copies,
            state.identity.group_pages,
        )
        if state.health == AUR_SEGMENT_OK:
            health = "ok"
        elif state.health == AUR_SEGMENT_DAMAGED:
            health = "damaged"
        else:
            health = "failed"
        return SegmentState(
            identity=identity,
            epoch=state.epoch,
            scl=state.scl,
            vdl=state.vdl,
            health=health,
            damage=stored_exception(&state.damage),
            flushed_lsn=state.flushed_lsn,
            log_start=state.log_start,
            horizon=state.horizon,
            base_progress=state.base_progress,
            layers=state.layers,
            deltas=state.deltas,
            log_bytes=state.log_bytes,
            layer_bytes=state.layer_bytes,
            live_bytes=state.live_bytes,
            history_bytes=state.history_bytes,
            delta_bytes=state.delta_bytes,
            garbage_bytes=state.garbage_bytes,
            memory_bytes=state.memory_bytes,
            unflushed_bytes=state.unflushed_bytes,
        )

    def set_epoch(self, uint64_t epoch):
        """Durably promises to refuse frames of a lower epoch.

        Raises
        ------
        FencedError
            If a higher one was promised before.
        """
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_segment_set_epoch(self._segment, epoch, &error)
        leave(self, status, &error)

    def set_vdl(self, uint64_t vdl):
        """Tells it of a VDL."""
        require(self)
        aur_segment_set_vdl(self._segment, vdl)

    def retain(self, uint64_t horizon, points=()):
        """Tells it which moments must stay readable: all from `horizon` on, and `points`."""
        cdef aur_retention retention
        cdef size_t count = len(points)
        cdef size_t i
        cdef uint64_t *lsns
        cdef aur_status status
        require(self)
        lsns = <uint64_t *>malloc((count + 1) * sizeof(uint64_t))
        if lsns == NULL:
            raise MemoryError("no memory for the list of moments")
        try:
            for i, point in enumerate(sorted(points)):
                lsns[i] = point
            retention.horizon = horizon
            retention.points = lsns
            retention.count = count
            status = aur_segment_retain(self._segment, &retention)
        finally:
            free(lsns)
        check(status, NULL)

    def rewind(self, rewind):
        """Durably records a rewind. Idempotent.

        Raises
        ------
        FencedError
            If its epoch is below the promised one.
        ValueError
            If a layer already holds a record in its range.
        """
        cdef aur_rewind parts
        cdef aur_error error
        cdef aur_status status
        fill_rewind(rewind, &parts)
        enter(self, &error)
        with nogil:
            status = aur_segment_rewind(self._segment, &parts, &error)
        leave(self, status, &error)

    def rewinds(self):
        """The rewinds it has recorded, oldest first."""
        cdef size_t capacity = 0
        cdef size_t count
        cdef size_t i
        cdef aur_rewind *rewinds = NULL
        require(self)
        try:
            # Another thread may record one between the two calls; then the larger number is asked
            # for again.
            count = aur_segment_rewinds(self._segment, NULL, 0)
            while count > capacity:
                free(rewinds)
                capacity = count
                rewinds = <aur_rewind *>malloc(capacity * sizeof(aur_rewind))
                if rewinds == NULL:
                    raise MemoryError("no memory for the list of rewinds")
                count = aur_segment_rewinds(self._segment, rewinds, capacity)
            return [rewind_record(&rewinds[i]) for i in range(count)]
        finally:
            free(rewinds)

    def next_frame(self, uint64_t after):
        """The frame that follows LSN `after` in the chain; None when `after` is the SCL.

        Raises
        ------
        LogGap
            If it is no longer in the log.
        """
        cdef aur_frame *frame = NULL
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_segment_next_frame(self._segment, after, &frame, &error)
        leave(self, status, &error)
        if status == AUR_NOT_FOUND:
            return None
        if status == AUR_GAP:
            raise LogGap(f"the frame after LSN {after} is no longer in the segment's log")
        return wrap_frame(frame)

    def append(self, Frame frame not None):
        """Appends a frame, durably; returns the SCL. A frame that is here already changes nothing.

        Raises
        ------
        LogGap
            If frames before it are missing.
        FencedError, CorruptionError, StorageIOError, VolumeFullError
            If it is refused, or the disk refuses (the segment has then failed for good).
        """
        cdef uint64_t scl = 0
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_segment_append(self._segment, frame._frame, &scl, &error)
        if leave(self, status, &error) == AUR_GAP:
            raise LogGap(f"{frame!r} does not link to the segment's last record")
        return scl

    def adopt(self, Frame frame not None, uint64_t sender_epoch):
        """As `append`, for a frame that a peer holds: the epoch that is checked is the sender's."""
        cdef uint64_t scl = 0
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_segment_fill(self._segment, frame._frame, sender_epoch, &scl, &error)
        if leave(self, status, &error) == AUR_GAP:
            raise LogGap(f"{frame!r} does not link to the segment's last record")
        return scl

    def read_page(self, uint64_t page_id, uint64_t read_point):
        """The page as a read at `read_point` sees it, or None when it has no record there.

        Raises
        ------
        CorruptionError
            If what it is made from failed a checksum: ask a peer.
        SnapshotTooOldError
            If the moment is no longer retained.
        """
        cdef aur_error error
        cdef aur_status status
        cdef uint8_t *target
        page = PyBytes_FromStringAndSize(NULL, self._page_bytes)
        target = <uint8_t *>PyBytes_AS_STRING(page)
        enter(self, &error)
        with nogil:
            status = aur_segment_read_page(self._segment, page_id, read_point, target, &error)
        return None if leave(self, status, &error) == AUR_NOT_FOUND else page

    def check(self):
        """Looks whether its files are still there; the segment fails when not.

        Raises
        ------
        StorageIOError
            If a file is missing or too short.
        """
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_segment_check(self._segment, &error)
        leave(self, status, &error)

    def work(self):
        """One unit of background work; whether there was any."""
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_segment_work(self._segment, &error)
        return leave(self, status, &error) == AUR_OK

    def follow(self, Segment leader not None):
        """Takes over what another copy of the group has built; whether there was any."""
        cdef aur_error error
        cdef aur_status status
        require(self)
        require(leader)
        error_clear(&error)
        self._calls += 1
        leader._calls += 1
        with nogil:
            status = aur_segment_follow(self._segment, leader._segment, &error)
        leader._calls -= 1
        self._calls -= 1
        return check(status, &error) == AUR_OK

    def tidy(self, bint builds):
        """One unit of what can wait until nothing is written; whether there was any."""
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_segment_tidy(
                self._segment, AUR_TIDY_LAYERS if builds else AUR_TIDY_LOG, &error
            )
        return leave(self, status, &error) == AUR_OK

    def compact(self):
        """Flushes everything and collects what is not retained."""
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_segment_compact(self._segment, &error)
        leave(self, status, &error)

    def verify(self):
        """Reads and checks every byte of the segment; returns the counts and every damage found."""
        cdef aur_verify_counts counts
        cdef aur_error error
        cdef aur_status status
        cdef Listener listener = Listener.__new__(Listener)
        require(self)
        listener.damage = []
        error_clear(&error)
        self._calls += 1
        with nogil:
            status = aur_segment_verify(
                self._segment, hear_damage, <void *>listener, &counts, &error
            )
        self._calls -= 1
        if listener.failure is not None:
            raise listener.failure
        check(status, &error)
        found = VerifyCounts(
            counts.files, counts.bytes, counts.frames, counts.records, counts.damaged
        )
        return found, listener.damage

    def copy(self, Disk disk not None, identity, progress=None):
        """Writes a segment with `identity` that holds all that this one holds into an empty
        directory.

        `progress` is called with bytes done and in total; when it returns False the copy stops.

        Raises
        ------
        StorageIOError
            If a disk refuses, or `progress` stopped it.
        """
        cdef aur_segment_identity parts
        cdef aur_error error
        cdef aur_status status
        cdef Listener listener = Listener.__new__(Listener)
        require(self)
        require(disk)
        listener.progress = progress
        fill_identity(&parts, identity)
        error_clear(&error)
        self._calls += 1
        disk._calls += 1
        with nogil:
            status = aur_segment_copy(
                self._segment, disk._disk, &parts, hear_progress, <void *>listener, &error
            )
        disk._calls -= 1
        self._calls -= 1
        if listener.failure is not None:
            raise listener.failure
        if check(status, &error) == AUR_TIMEOUT:
            raise StorageIOError(
                error_numbers.ECANCELED, "the copy of the segment was stopped by its caller",
                disk.path
            )

    @property
    def busy(self):
        """Whether calls are under way, which closing would wait for."""
        return self._calls > 0

    def fail(self, str message not None):
        """Fails the segment from outside: its files are gone. Idempotent."""
        cdef aur_error why
        cdef size_t length
        require(self)
        error_clear(&why)
        why.status = AUR_ERR_IO
        text = message.encode("utf-8", "replace")[:sizeof(why.message) - 1]
        length = len(text)
        memcpy(why.message, PyBytes_AS_STRING(text), length)
        why.message[length] = 0
        aur_segment_fail(self._segment, &why)

    def close(self):
        """Closes its files, when the calls under way have ended. Idempotent.

        Raises
        ------
        ValueError
            If an engine still writes to it.
        """
        if self._closed or forked(self):
            return
        if self._engaged:
            raise ValueError(
                "the segment serves an engine: replace it there or destroy the engine first"
            )
        self._closed = True
        wait_idle(self)
        with nogil:
            aur_segment_close(self._segment)
        self._segment = NULL
