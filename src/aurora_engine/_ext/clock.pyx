"""Time that is passed in."""

cimport cython
from libc.stdint cimport uint64_t


@cython.final
cdef class VirtualClock:
    """A wall clock that stands still until it is set, for simulated time."""

    def __init__(self, uint64_t now_us=0):
        self._now_us = now_us

    @property
    def now_us(self):
        """Microseconds since 1970."""
        return self._now_us

    @now_us.setter
    def now_us(self, uint64_t now_us):
        self._now_us = now_us
