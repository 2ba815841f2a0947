from libc.stdint cimport uint64_t

from aurora_engine._ext.caurora cimport aur_found, aur_table, aur_transaction
from aurora_engine._ext.engine cimport Engine, TableHandle
from aurora_engine._ext.handle cimport Handle

cdef class Txn(Handle):
    cdef aur_transaction *_transaction
    cdef readonly bint read_only
    cdef uint64_t _writes       # grows with every write, so that cursors notice

# The engine of a transaction.
cdef inline Engine engine_of(Txn transaction):
    return <Engine>transaction._parent

# Looks a key up, keeping the GIL if all is in memory. The caller releases what was found.
cdef int find(Txn transaction, TableHandle table, key, aur_found *found) except -1

# Sets a key. Long values are copied without the GIL.
cdef int put_one(Txn transaction, aur_table *table, key, value) except -1

# Commits; the LSN, durable when `wait`. Raises as Txn.commit does.
cdef object commit(Txn transaction, bint wait)
