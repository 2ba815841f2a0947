"""The base of all handles: process, state, and calls under way."""

cimport cython
from cpython.object cimport PyObject
from posix.time cimport nanosleep, timespec
from posix.unistd cimport getpid

from aurora_engine.errors import DatabaseClosedError

cdef extern from "pthread.h" nogil:
    int pthread_atfork(void (*prepare)() noexcept nogil, void (*parent)() noexcept nogil,
                       void (*child)() noexcept nogil)


cdef void note_process() noexcept nogil:
    global current_process
    current_process = getpid()


note_process()
if pthread_atfork(NULL, NULL, note_process) != 0:
    raise MemoryError("pthread_atfork refused a handler")


@cython.no_gc
cdef class Handle:
    """A handle of the C core; usable in the process that made it, until it is closed.

    No cycle of references can go through a handle, since children are only borrowed, so the
    collector need not look.
    """

    def __cinit__(self):
        self._pid = current_process
        self._closed = True
        self._end = "is closed"

    cdef str _noun(self):
        return "handle"

    cdef void _free(self) noexcept:
        pass

    @property
    def closed(self):
        """Whether the handle can no longer be used in this process."""
        return self._closed or self._pid != current_process

    @property
    def forked(self):
        """Whether the handle was made by a parent of this process."""
        return self._pid != current_process


cdef int refuse(Handle handle) except -1:
    if handle._pid != current_process:
        raise DatabaseClosedError(
            f"this {handle._noun()} was opened by process {handle._pid} and does not survive a "
            f"fork into process {current_process}: open the database again in the child, or start "
            "children with the spawn method"
        )
    raise DatabaseClosedError(f"this {handle._noun()} {handle._end}")


cdef void wait_idle(Handle handle) noexcept:
    cdef timespec pause
    pause.tv_sec = 0
    pause.tv_nsec = 100_000
    while handle._calls > 0:
        with nogil:
            nanosleep(&pause, NULL)


cdef void adopt(Handle parent, Handle child) noexcept:
    child._parent = parent
    child._previous_sibling = NULL
    child._next_sibling = parent._first_child
    if parent._first_child != NULL:
        (<Handle>parent._first_child)._previous_sibling = <PyObject *>child
    parent._first_child = <PyObject *>child


cdef void orphan(Handle child) noexcept:
    if child._previous_sibling != NULL:
        (<Handle>child._previous_sibling)._next_sibling = child._next_sibling
    elif child._parent is not None and child._parent._first_child == <PyObject *>child:
        child._parent._first_child = child._next_sibling
    if child._next_sibling != NULL:
        (<Handle>child._next_sibling)._previous_sibling = child._previous_sibling
    child._previous_sibling = NULL
    child._next_sibling = NULL


cdef void free_children(Handle parent, str end) noexcept:
    cdef Handle child
    while parent._first_child != NULL:
        child = <Handle>parent._first_child
        if not child._closed:
            child._closed = True
            child._end = end
        wait_idle(child)
        child._free()
        orphan(child)
