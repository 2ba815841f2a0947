from aurora_engine._ext.engine cimport TableHandle
from aurora_engine._ext.handle cimport Handle

cdef class Lookup:
    cdef public Handle _source
    cdef public TableHandle _handle
