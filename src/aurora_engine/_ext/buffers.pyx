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
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE

from aurora_engine._ext.caurora cimport AUR_KEY_LIMIT, AUR_PUTS_LIMIT, AUR_VALUE_LIMIT, aur_entry

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


cdef bytes bytes_of(object source, str what):
    cdef Span span
    if PyBytes_CheckExact(source):
        return source
    take(source, what, &span)
    try:
        return PyBytes_FromStringAndSize(<const char *>span.data, <Py_ssize_t>span.length)
    finally:
        release(&span)


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


# A format without the names of fields, which stand between colons and mean nothing here.
cdef str nameless(const char *item_format):
    return "".join((<bytes>item_format).decode("utf-8", "replace").split(":")[::2])


cdef int shape_column(str what, bint is_key, Column *column) except -1:
    cdef Py_buffer *view = &column.view
    item_format = "B" if view.format == NULL else nameless(view.format)
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


cdef extern from *:
    """
    /* Keys of a sorted list lie anywhere in memory: those of the pairs that come next are asked for
     * while this one is taken. */
    static inline void prefetch_pair(PyObject *list, Py_ssize_t at) {
        enum { TUPLES_AHEAD = 16, BYTES_AHEAD = 8 };
        const Py_ssize_t size = PyList_GET_SIZE(list);
        if (at + TUPLES_AHEAD < size) {
            __builtin_prefetch(PyList_GET_ITEM(list, at + TUPLES_AHEAD));
        }
        if (at + BYTES_AHEAD < size) {
            PyObject *pair = PyList_GET_ITEM(list, at + BYTES_AHEAD);
            if (PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) == 2) {
                __builtin_prefetch(PyTuple_GET_ITEM(pair, 0));
                __builtin_prefetch(PyTuple_GET_ITEM(pair, 1));
            }
        }
    }
    """
    void prefetch_pair(object pairs, Py_ssize_t at)


cdef bint is_plain(pair) noexcept:
    return (
        PyTuple_CheckExact(pair)
        and PyTuple_GET_SIZE(pair) == 2
        and PyBytes_CheckExact(<object>PyTuple_GET_ITEM(pair, 0))
        and PyBytes_CheckExact(<object>PyTuple_GET_ITEM(pair, 1))
    )


cdef Py_ssize_t take_pairs(
    list pairs, Py_ssize_t first, aur_entry *entries, uint64_t value_bytes
) noexcept:
    cdef Py_ssize_t count = min(PyList_GET_SIZE(pairs) - first, <Py_ssize_t>AUR_PUTS_LIMIT)
    cdef Py_ssize_t index
    cdef uint64_t length
    for index in range(count):
        prefetch_pair(pairs, first + index)
        if not is_plain(<object>PyList_GET_ITEM(pairs, first + index)):
            return index
        take_pair(<object>PyList_GET_ITEM(pairs, first + index), &entries[index])
        length = entries[index].value_bytes
        if length > value_bytes:
            return index
        value_bytes -= length
    return count


cdef void take_pair(pair, aur_entry *entry) noexcept:
    entry.key = <const uint8_t *>PyBytes_AS_STRING(<object>PyTuple_GET_ITEM(pair, 0))
    entry.key_bytes = <size_t>PyBytes_GET_SIZE(<object>PyTuple_GET_ITEM(pair, 0))
    entry.value = <const uint8_t *>PyBytes_AS_STRING(<object>PyTuple_GET_ITEM(pair, 1))
    entry.value_bytes = <uint64_t>PyBytes_GET_SIZE(<object>PyTuple_GET_ITEM(pair, 1))


cdef size_t take_records(
    const Column *keys, const Column *values, size_t first, aur_entry *entries
) noexcept nogil:
    cdef size_t count = min(keys.count - first, <size_t>AUR_PUTS_LIMIT)
    cdef size_t index
    for index in range(count):
        entries[index].key = keys.data + (first + index) * keys.stride
        entries[index].key_bytes = record_length(keys, first + index)
        entries[index].value = values.data + (first + index) * values.stride
        entries[index].value_bytes = record_length(values, first + index)
    return count


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
