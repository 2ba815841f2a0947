# What every handle of the C core does alike: belongs to one process, is open or closed, and knows
# how many calls are under way so that it is freed only when there is none.

from cpython.object cimport PyObject
from posix.types cimport pid_t

from aurora_engine._ext.caurora cimport aur_error, aur_status
from aurora_engine._ext.status cimport check, error_clear

# The process that runs now; kept by a handler of pthread_atfork, so that asking costs no system
# call.
cdef pid_t current_process

cdef class Handle:
    cdef pid_t _pid
    cdef bint _closed
    cdef Py_ssize_t _calls           # under way without the GIL; changed only with it
    cdef str _end                    # what became of it, as in "has been committed"

    # Handles that must be freed before this one. They keep this one alive; it only borrows them.
    cdef Handle _parent
    cdef PyObject *_first_child
    cdef PyObject *_next_sibling
    cdef PyObject *_previous_sibling

    cdef str _noun(self)
    # Frees the C side, if that has not happened yet. No call is under way.
    cdef void _free(self) noexcept

# Raises DatabaseClosedError for a handle that is closed or was made before a fork.
cdef int refuse(Handle handle) except -1

cdef inline int require(Handle handle) except -1:
    if handle._closed or handle._pid != current_process:
        return refuse(handle)
    return 0

# Around a call that gives the GIL up: who closes the handle meanwhile waits for the calls in it.
cdef inline int enter(Handle handle, aur_error *error) except -1:
    require(handle)
    error_clear(error)
    handle._calls += 1
    return 0

# Ends it; returns an outcome or raises for an error, as `check`.
cdef inline int leave(Handle handle, aur_status status, const aur_error *error) except -1:
    handle._calls -= 1
    return check(status, error)

# For deallocation: the threads and locks behind a handle do not exist in a forked child, so nothing
# is freed there.
cdef inline bint forked(Handle handle) noexcept:
    return handle._pid != current_process

# Waits until no call is under way. Calls end soon once the C side is closed; signals do not cut
# this short.
cdef void wait_idle(Handle handle) noexcept

cdef void adopt(Handle parent, Handle child) noexcept
cdef void orphan(Handle child) noexcept
# Closes and frees every child, waiting for the calls on it.
cdef void free_children(Handle parent, str end) noexcept
