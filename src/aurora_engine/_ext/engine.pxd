from libc.stdint cimport uint64_t

from aurora_engine._ext.buffers cimport Span, release
from aurora_engine._ext.caurora cimport (
    AUR_OK,
    aur_engine,
    aur_engine_ship,
    aur_engine_wait_durable,
    aur_error,
    aur_found,
    aur_status,
    aur_table,
)
from aurora_engine._ext.clock cimport VirtualClock
from aurora_engine._ext.handle cimport Handle, current_process, refuse
from aurora_engine._ext.history cimport SLICE_NS, EngineHistory

cdef class Engine(EngineHistory):
    cdef VirtualClock _clock
    cdef dict _segments         # (group, copy) -> Segment
    cdef unsigned int _groups
    cdef unsigned int _copies

# A table of an engine, usable in every transaction of it.
cdef class TableHandle:
    cdef Engine _owner
    cdef aur_table *_table

cdef TableHandle wrap_table(Engine owner, aur_table *table)

# The C table of a handle of this engine; NULL, which stands for the database itself, for None.
cdef inline aur_table *table_of(Engine engine, TableHandle handle) except? NULL:
    if handle is None:
        return NULL
    if handle._owner is not engine:
        raise ValueError("the table belongs to another database")
    return handle._table

# Refuses a closed handle, after `span` was taken, which may have run code that closed it: objects
# have buffers that Python code makes (`__buffer__`).
cdef inline int require_with(Handle handle, Span *span) except -1:
    if handle._closed or handle._pid != current_process:
        release(span)
        return refuse(handle)
    return 0

# Looks a key up as of now, keeping the GIL if all is in memory. The caller releases what was found.
cdef int find(Engine engine, TableHandle table, key, aur_found *found) except -1

# A write that is a transaction of its own: Engine.put and Engine.delete.
cdef object put_now(Engine engine, TableHandle table, key, value, bint wait)
cdef bint delete_now(Engine engine, TableHandle table, key, bint wait) except -1

# The bytes of a found value, which is released.
cdef object found_value(Handle handle, aur_found *found, bint as_view)

# What was committed leaves for the copies, and is waited for, for a slice, if `wait`.
cdef inline aur_status send(
    aur_engine *engine, uint64_t lsn, bint wait, aur_error *error
) noexcept nogil:
    if wait:
        return aur_engine_wait_durable(engine, lsn, SLICE_NS, error)
    aur_engine_ship(engine)
    return AUR_OK

# Goes on after a first slice of waiting for VDL >= lsn that ended with `waited`, looking for
# signals. A failure leaves the write in doubt, and says so.
cdef int settle(Engine engine, uint64_t lsn, aur_status waited, aur_error *error) except -1

# Turns AUR_NEEDS_GROUPS and failures of a write into exceptions.
cdef int check_write(Engine engine, aur_status status, const aur_error *error) except -1
