from libc.stdint cimport uint64_t

from aurora_engine._ext.caurora cimport aur_transaction
from aurora_engine._ext.engine cimport Engine
from aurora_engine._ext.handle cimport Handle

cdef class Txn(Handle):
    cdef aur_transaction *_transaction
    cdef readonly bint read_only
    cdef uint64_t _writes       # grows with every write, so that cursors notice

# The engine of a transaction.
cdef inline Engine engine_of(Txn transaction):
    return <Engine>transaction._parent
