"""Keys, values and bounds: type and length checks, and the buffer protocol."""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_SIMPLE,
    PyBUF_STRIDES,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE

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
        raise TypeError(
            f"{what} must be bytes or another buffer, not {type(source).__name__}{hint}"
        )
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


# Formats (module struct) of one item whose bytes sort as keys in the order of the items.
cdef frozenset KEY_FORMATS = frozenset({"B", "c", ">B", ">H", ">I", ">L", ">Q"})


cdef int take_column(object array, str what, bint is_key, Column *column) except -1:
    try:
        PyObject_GetBuffer(array, &column.view, PyBUF_STRIDES | PyBUF_FORMAT)
    except (BufferError, ValueError, TypeError) as failure:
        raise TypeError(f"{what} must be arrays of fixed-width bytes: {failure}") from failure
    try:
        shape_column(what, is_key, column)
    except BaseException:
        PyBuffer_Release(&column.view)
        raise
    return 0


cdef int shape_column(str what, bint is_key, Column *column) except -1:
    cdef Py_buffer *view = &column.view
    item_format = "B" if view.format == NULL else view.format.decode("ascii")
    column.padded = item_format.endswith("s")
    if "O" in item_format or item_format.endswith("w"):
        raise TypeError(
            f"{what} must be arrays of fixed-width bytes (dtype S or V, or 2-D uint8), "
            "not of objects or text"
        )
    if view.ndim == 1:
        if is_key and not (item_format.endswith(("s", "x", "}")) or item_format in KEY_FORMATS):
            raise TypeError(
                f"keys of item format {item_format!r} would not be ordered as their values are: "
                'convert them, as in array.astype(">u8")'
            )
        column.width = <size_t>view.itemsize
    elif view.ndim == 2 and view.itemsize == 1 and (view.strides[1] == 1 or view.shape[1] <= 1):
        column.width = <size_t>view.shape[1]
    else:
        raise TypeError(
            f"{what} must be a 1-D array, or a 2-D array of single bytes with contiguous rows"
        )
    if view.strides[0] < 0:
        raise ValueError(f"{what} must not be a reversed array: copy it first")
    column.count = <size_t>view.shape[0]
    column.stride = <size_t>view.strides[0]
    column.data = NOTHING if view.buf == NULL else <const uint8_t *>view.buf
    return 0


cdef void release_column(Column *column) noexcept:
    PyBuffer_Release(&column.view)


# The keys of an iterable as bytes, copies of those that are other buffers. Taking references
# touches all keys one right after the other, so memory is waited for once.
cdef list keys_of(keys):
    cdef Py_ssize_t index
    cdef Span span
    cdef list wanted = list(keys)
    for index in range(PyList_GET_SIZE(wanted)):
        key = <object>PyList_GET_ITEM(wanted, index)
        if PyBytes_CheckExact(key) and PyBytes_GET_SIZE(key) <= AUR_KEY_LIMIT:
            continue
        take_key(key, &span)
        try:
            wanted[index] = PyBytes_FromStringAndSize(
                <const char *>span.data, <Py_ssize_t>span.length
            )
        finally:
            release(&span)
    return wanted


cdef list records_of(array, str what):
    """The records of an array as bytes."""
    cdef Column column
    cdef size_t index
    take_column(array, what, True, &column)
    try:
        return [
            (<const char *>column.data + index * column.stride)[:record_length(&column, index)]
            for index in range(column.count)
        ]
    finally:
        release_column(&column)
