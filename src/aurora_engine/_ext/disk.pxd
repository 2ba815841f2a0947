from aurora_engine._ext.caurora cimport aur_disk
from aurora_engine._ext.handle cimport Handle

cdef class Disk(Handle):
    cdef aur_disk *_disk
    cdef bint _faulty
