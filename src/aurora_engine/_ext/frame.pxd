from aurora_engine._ext.caurora cimport aur_frame

cdef class Frame:
    cdef aur_frame *_frame

# Takes over one reference.
cdef Frame wrap(aur_frame *frame)
