from libc.stdint cimport uint64_t

from aurora_engine._ext.caurora cimport aur_engine, aur_rewind
from aurora_engine._ext.handle cimport Handle

# The part of an engine that looks back and goes back.
cdef class EngineHistory(Handle):
    cdef aur_engine *_engine
    cdef unsigned long _holder      # thread that holds commits back; 0: nobody

# Longest wait without a look for signals.
cdef uint64_t SLICE_NS

# A RewindRecord in C, and back.
cdef int fill_rewind(rewind, aur_rewind *out) except -1
cdef object rewind_record(const aur_rewind *rewind)
