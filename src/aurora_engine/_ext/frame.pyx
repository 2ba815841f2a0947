"""Sealed frames of the log, and the checksum that covers everything on disk."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t

from aurora_engine._ext.caurora cimport (
    AUR_ERR_CORRUPT,
    AUR_NOT_FOUND,
    aur_checksum,
    aur_error,
    aur_frame,
    aur_frame_create_from,
    aur_frame_release,
    aur_status,
    aur_volume_seed,
)
from aurora_engine._ext.status cimport check, error_clear

from aurora_engine._ext.records import FrameInfo


def checksum(content, uint64_t seed=0):
    """XXH3-64 of a buffer."""
    cdef Py_buffer view
    cdef uint64_t result
    PyObject_GetBuffer(content, &view, PyBUF_SIMPLE)
    with nogil:
        result = aur_checksum(view.buf, <size_t>view.len, seed)
    PyBuffer_Release(&view)
    return result


@cython.final
cdef class Frame:
    """One frame of a group's log; immutable, its bytes shared with the segments that hold it."""

    def __init__(self):
        raise TypeError("frames come from Segment.next_frame or Frame.from_bytes")

    def __dealloc__(self):
        if self._frame != NULL:
            aur_frame_release(self._frame)

    @staticmethod
    def from_bytes(content, bytes volume_id not None):
        """A frame out of bytes from disk or wire.

        Raises
        ------
        CorruptionError
            If the bytes are no frame of that volume.
        VersionError
            If the frame is of a later format.
        """
        cdef Py_buffer view
        cdef aur_error error
        cdef aur_frame *frame = NULL
        cdef aur_status status
        cdef uint64_t seed = _seed(volume_id)
        error_clear(&error)
        PyObject_GetBuffer(content, &view, PyBUF_SIMPLE)
        with nogil:
            status = aur_frame_create_from(
                <const uint8_t *>view.buf, <size_t>view.len, seed, &frame
            )
        PyBuffer_Release(&view)
        if status == AUR_NOT_FOUND:
            status = AUR_ERR_CORRUPT
        check(status, &error)
        return wrap(frame)

    @property
    def info(self):
        """The frame's header."""
        cdef aur_frame *frame = self._frame
        return FrameInfo(
            frame.header.prev_lsn,
            frame.header.first_lsn,
            frame.header.last_lsn,
            frame.header.volume_first,
            frame.header.volume_last,
            frame.header.last_cpl,
            frame.header.vdl,
            frame.header.time_us,
            frame.header.epoch,
            frame.header.group,
            frame.header.groups,
        )

    def __bytes__(self):
        return PyBytes_FromStringAndSize(<char *>self._frame.bytes, self._frame.header.length)

    def __repr__(self):
        header = self._frame.header
        return f"<Frame of group {header.group}, LSN {header.first_lsn} to {header.last_lsn}>"


cdef uint64_t _seed(bytes volume_id) except? 0:
    if len(volume_id) != 16:
        raise ValueError(f"a volume id has 16 bytes, not {len(volume_id)}")
    return aur_volume_seed(<const uint8_t *><char *>volume_id)


cdef Frame wrap(aur_frame *frame):
    cdef Frame self = Frame.__new__(Frame)
    self._frame = frame
    return self
