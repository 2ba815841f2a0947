"""What a segment holds at one moment, for clones of it (csrc/segment/segment.h)."""

import errno as error_numbers

cimport cython
from libc.stdint cimport uint64_t

from aurora_engine._ext.caurora cimport (
    AUR_TIMEOUT,
    aur_error,
    aur_rewind,
    aur_segment_clone,
    aur_segment_identity,
    aur_segment_pin,
    aur_segment_snapshot,
    aur_segment_unpin,
    aur_status,
)
from aurora_engine._ext.disk cimport Disk
from aurora_engine._ext.handle cimport forked, require
from aurora_engine._ext.history cimport fill_rewind
from aurora_engine._ext.segment cimport Segment
from aurora_engine._ext.segment_parts cimport Listener, fill_identity, hear_progress
from aurora_engine._ext.status cimport check, error_clear

from aurora_engine.errors import StorageIOError


@cython.final
cdef class Snapshot:
    """What a segment held when it was pinned; the segment is not closed before it is released."""

    cdef aur_segment_snapshot *_snapshot
    cdef Segment _segment

    def __cinit__(self, Segment segment not None):
        """Pins what the segment holds now."""
        cdef aur_error error
        cdef aur_status status
        require(segment)
        error_clear(&error)
        status = aur_segment_pin(segment._segment, &self._snapshot, &error)
        check(status, &error)
        self._segment = segment
        segment._calls += 1

    def __dealloc__(self):
        if self._snapshot != NULL and not forked(self._segment):
            self._release()

    cdef void _release(self):
        aur_segment_unpin(self._snapshot)
        self._snapshot = NULL
        self._segment._calls -= 1

    def clone(self, Disk disk not None, identity, uint64_t vdl, rewind=None, progress=None):
        """Makes a segment of another volume in an empty directory, sharing layers where it can.

        `progress` is called with bytes done and in total; when it returns False the clone stops.

        Raises
        ------
        StorageIOError
            If a disk refuses, or `progress` stopped it.
        """
        cdef aur_segment_identity parts
        cdef aur_rewind turn
        cdef aur_rewind *given = NULL
        cdef aur_error error
        cdef aur_status status
        cdef Listener listener = Listener.__new__(Listener)
        if self._snapshot == NULL:
            raise ValueError("the snapshot is released")
        require(disk)
        listener.progress = progress
        fill_identity(&parts, identity)
        if rewind is not None:
            fill_rewind(rewind, &turn)
            given = &turn
        error_clear(&error)
        disk._calls += 1
        with nogil:
            status = aur_segment_clone(
                self._snapshot, disk._disk, &parts, vdl, given, hear_progress, <void *>listener,
                &error
            )
        disk._calls -= 1
        if listener.failure is not None:
            raise listener.failure
        if check(status, &error) == AUR_TIMEOUT:
            raise StorageIOError(
                error_numbers.ECANCELED, "the clone of the segment was stopped by its caller",
                disk.path
            )

    def release(self):
        """Lets the segment remove what only the snapshot kept. Idempotent."""
        if self._snapshot != NULL and not forked(self._segment):
            self._release()
