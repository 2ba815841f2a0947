# Bytes of the caller as C sees them, held from `take` until `release`.

from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint8_t, uint64_t

cdef struct Span:
    const uint8_t *data
    uint64_t length
    bint held          # `view` must be released
    Py_buffer view

# Fills `span` from a key or a value. bytes are borrowed (the caller holds a reference through the call); other
# buffers are held, so that nobody can resize them meanwhile. On an exception there is nothing to release.
cdef int take_key(object key, Span *span) except -1
cdef int take_value(object value, Span *span) except -1

# None is an empty optional bound: data stays NULL.
cdef int take_bound(object bound, Span *span) except -1
cdef void release(Span *span) noexcept

# The smallest key that is above every key with this prefix, or None when there is none.
cdef object prefix_end(bytes prefix)
