"""Keys, values and bounds: type and length checks, and the buffer protocol."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE

from aurora_engine._ext.caurora cimport AUR_KEY_LIMIT, AUR_VALUE_LIMIT

# Empty values and keys need an address that is not NULL: NULL means "none" to the core.
cdef const uint8_t *NOTHING = <const uint8_t *>b""


cdef int take(object source, str what, Span *span) except -1:
    if PyBytes_CheckExact(source):
        span.held = False
        span.data = <const uint8_t *>PyBytes_AS_STRING(source)
        span.length = <uint64_t>PyBytes_GET_SIZE(source)
        return 0
    if not PyObject_CheckBuffer(source):
        hint = '; encode text first, as in text.encode("utf-8")' if isinstance(source, str) else ""
        raise TypeError(f"{what} must be bytes or another buffer, not {type(source).__name__}{hint}")
    try:
        PyObject_GetBuffer(source, &span.view, PyBUF_SIMPLE)
    except (BufferError, ValueError) as failure:
        raise ValueError(f"{what} must be a C-contiguous buffer: {failure}") from failure
    span.held = True
    span.data = NOTHING if span.view.buf == NULL else <const uint8_t *>span.view.buf
    span.length = <uint64_t>span.view.len
    return 0


cdef int too_long(Span *span, str what, str limit) except -1:
    length = span.length
    release(span)
    raise ValueError(f"{what} of {length} bytes is longer than the limit of {limit}")


cdef int take_key(object key, Span *span) except -1:
    take(key, "a key", span)
    if span.length > AUR_KEY_LIMIT:
        return too_long(span, "a key", "1024 bytes")
    return 0


cdef int take_value(object value, Span *span) except -1:
    take(value, "a value", span)
    if span.length > AUR_VALUE_LIMIT:
        return too_long(span, "a value", "1 GiB")
    return 0


cdef int take_bound(object bound, Span *span) except -1:
    if bound is None:
        span.held = False
        span.data = NULL
        span.length = 0
        return 0
    return take_key(bound, span)


cdef void release(Span *span) noexcept:
    if span.held:
        span.held = False
        PyBuffer_Release(&span.view)


cdef object prefix_end(bytes prefix):
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
