# Bytes of the caller as C sees them, held from `take` until `release`.

from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint8_t, uint64_t

from aurora_engine._ext.caurora cimport aur_entry

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

# Entries for the pairs of a list from `first` on, AUR_PUTS_LIMIT or fewer, with at most
# `value_bytes` of values in all, up to one that is not a tuple of two bytes. They are borrowed:
# valid until the interpreter's lock is given up, or other Python code runs.
cdef Py_ssize_t take_pairs(
    list pairs, Py_ssize_t first, aur_entry *entries, uint64_t value_bytes
) noexcept

# Bytes that nobody changes, of any length: a copy, unless they are bytes already.
cdef bytes bytes_of(object source, str what)

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

# Entries for the records of two columns from `first` on, AUR_PUTS_LIMIT or fewer.
cdef size_t take_records(
    const Column *keys, const Column *values, size_t first, aur_entry *entries
) noexcept nogil

# Length of the index-th record without its padding.
cdef inline size_t record_length(const Column *column, size_t index) noexcept nogil:
    cdef size_t length = column.width
    cdef const uint8_t *record = column.data + index * column.stride
    if column.padded:
        while length > 0 and record[length - 1] == 0:
            length -= 1
    return length
