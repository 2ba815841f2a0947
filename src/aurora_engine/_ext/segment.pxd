from libc.stdint cimport uint32_t

from aurora_engine._ext.caurora cimport aur_segment
from aurora_engine._ext.handle cimport Handle

cdef class Segment(Handle):
    cdef aur_segment *_segment
    cdef uint32_t _page_bytes
    cdef bint _engaged          # an engine writes to it: it may not be closed
