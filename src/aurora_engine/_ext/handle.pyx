"""The base of all handles: process, state, and calls under way."""

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


cdef class Handle:
    """A handle of the C core; usable in the process that made it, until it is closed."""

    def __cinit__(self):
        self._pid = current_process
        self._closed = True

    cdef str _noun(self):
        return "handle"

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
            f"this {handle._noun()} was opened by process {handle._pid} and does not survive a fork into process "
            f"{current_process}: open the database again in the child, or start children with the spawn method"
        )
    raise DatabaseClosedError(f"this {handle._noun()} is closed")


cdef void wait_idle(Handle handle) noexcept:
    cdef timespec pause
    pause.tv_sec = 0
    pause.tv_nsec = 100_000
    while handle._calls > 0:
        with nogil:
            nanosleep(&pause, NULL)
