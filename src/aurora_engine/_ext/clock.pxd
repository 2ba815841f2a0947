from libc.stdint cimport uint64_t

cdef class VirtualClock:
    cdef uint64_t _now_us
