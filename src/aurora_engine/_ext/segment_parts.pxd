from libc.stdint cimport uint64_t

from aurora_engine._ext.caurora cimport aur_error, aur_segment_identity, c_bool


cdef class Listener:
    cdef object progress
    cdef list damage
    cdef object failure


cdef void hear_damage(void *context, const aur_error *damage) noexcept with gil
cdef c_bool hear_progress(
    void *context, uint64_t done_bytes, uint64_t total_bytes
) noexcept with gil
cdef int fill_identity(aur_segment_identity *out, identity) except -1
