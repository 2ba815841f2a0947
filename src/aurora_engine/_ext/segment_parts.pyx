"""What the modules of a segment convert: identities, and reports of calls that last."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from aurora_engine._ext.caurora cimport aur_error, aur_segment_identity, c_bool
from aurora_engine._ext.status cimport exception_of


@cython.final
cdef class Listener:
    """Hears a C function that reports as it goes; an exception is kept and raised after it."""


cdef void hear_damage(void *context, const aur_error *damage) noexcept with gil:
    cdef Listener listener = <Listener>context
    try:
        listener.damage.append(exception_of(damage.status, damage))
    except BaseException as failure:
        listener.failure = failure


cdef c_bool hear_progress(
    void *context, uint64_t done_bytes, uint64_t total_bytes
) noexcept with gil:
    cdef Listener listener = <Listener>context
    try:
        PyErr_CheckSignals()
        return listener.progress is None or listener.progress(done_bytes, total_bytes) is not False
    except BaseException as failure:
        listener.failure = failure
        return False


cdef int fill_identity(aur_segment_identity *out, identity) except -1:
    volume_id, group, copy, page_bytes, copies, group_pages = identity
    if len(volume_id) != sizeof(out.volume_id):
        raise ValueError(f"a volume id has 16 bytes, not {len(volume_id)}")
    memcpy(out.volume_id, PyBytes_AS_STRING(volume_id), sizeof(out.volume_id))
    out.group = group
    out.copy = copy
    out.page_bytes = page_bytes
    out.copies = copies
    out.group_pages = group_pages
    return 0
