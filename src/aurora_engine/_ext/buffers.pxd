# Bytes of the caller as C sees them, held from `take` until `release`.

from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint8_t, uint64_t

cdef struct Span:
    const uint8_t *data
    uint64_t length
    bint held          # `view` must be released
    Py_buffer view

# Fills `span` from a key or a value. bytes are borrowed (the caller holds a reference through the
# call); other buffers are held, so that nobody can resize them meanwhile. On an exception there is
# nothing to release.
cdef int take_key(object key, Span *span) except -1
cdef int take_value(object value, Span *span) except -1

# None is an empty optional bound: data stays NULL.
cdef int take_bound(object bound, Span *span) except -1
cdef void release(Span *span) noexcept

# The smallest key that is above every key with this prefix, or None when there is none.
cdef object prefix_end(bytes prefix)

# A column of records of one width out of an array.
cdef struct Column:
    const uint8_t *data
    size_t width
    size_t stride
    size_t count
    bint padded        # shorter records are filled up with zero bytes, which do not belong to them
    Py_buffer view

# Holds the array until `release_column`.
cdef int take_column(object array, str what, bint is_key, Column *column) except -1
cdef void release_column(Column *column) noexcept
cdef list keys_of(keys)
cdef list records_of(array, str what)

# Length of the index-th record without its padding.
cdef inline size_t record_length(const Column *column, size_t index) noexcept nogil:
    cdef size_t length = column.width
    cdef const uint8_t *record = column.data + index * column.stride
    if column.padded:
        while length > 0 and record[length - 1] == 0:
            length -= 1
    return length


cdef extern from *:
    """
    /* Keys of a sorted list lie anywhere in memory: those of the pairs that come next are asked for
     * while this one is put. */
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
