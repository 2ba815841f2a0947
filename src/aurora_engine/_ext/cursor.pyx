"""Cursors: iterators over a range of keys, fed by the C core in batches."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint64_t

from aurora_engine._ext.buffers cimport Span, bytes_of, prefix_end, release, take_bound
from aurora_engine._ext.caurora cimport (
    AUR_KEY_LIMIT,
    AUR_NOT_FOUND,
    AUR_WOULD_BLOCK,
    aur_cursor,
    aur_cursor_close,
    aur_cursor_fetch,
    aur_cursor_open,
    aur_cursor_page_end,
    aur_cursor_read,
    aur_entry,
    aur_error,
    aur_status,
    aur_table,
)
from aurora_engine._ext.engine cimport TableHandle, table_of
from aurora_engine._ext.handle cimport Handle, adopt, forked, orphan, require
from aurora_engine._ext.status cimport check, error_clear
from aurora_engine._ext.transaction cimport Txn, engine_of

cdef enum:
    BATCH_ENTRIES = 128
    # A read-only scan starts with this many; one that is checked at commit starts with 1, to walk
    # little beyond what is used.
    FIRST_BATCH_ENTRIES = 16


@cython.final
@cython.no_gc
cdef class Cursor(Handle):
    """Iterates over (key, value) pairs, or keys, of a range.

    The entries of a batch live in the C core's pages until the next fetch. In a transaction that
    writes, a write ends their life: the cursor then goes on behind the last key that it gave out,
    and so sees the write.
    """

    cdef aur_cursor *_cursor
    cdef aur_table *_table
    cdef bint _reverse
    cdef bint _keys_only
    cdef bint _owns_transaction
    cdef bint _busy
    cdef bint _limited
    cdef uint64_t _left             # of the limit
    cdef uint64_t _writes_seen
    cdef bytes _last_key            # given out last, in a transaction that writes
    cdef object _bound              # where the range ends, away from which the cursor walks
    cdef bint _skip_last
    cdef size_t _capacity
    cdef size_t _at
    cdef size_t _count
    cdef size_t _fetches
    cdef aur_entry _entries[BATCH_ENTRIES]

    def __cinit__(
        self, Txn transaction not None, TableHandle table, start=None, stop=None, *, prefix=None,
        bint reverse=False, limit=None, bint keys_only=False, bint owns_transaction=False
    ):
        require(transaction)
        self._table = table_of(engine_of(transaction), table)
        adopt(transaction, self)
        self._owns_transaction = owns_transaction
        self._reverse = reverse
        self._keys_only = keys_only
        if limit is not None:
            self._left = natural(limit)
            self._limited = True
        start, stop = plain(start, "start"), plain(stop, "stop")
        if prefix is not None:
            start, stop = within_prefix(plain(prefix, "prefix"), start, stop)
        empty = stop is not None and (stop == b"" or (start is not None and start >= stop))
        if start is not None and len(start) > AUR_KEY_LIMIT:
            start = above(start)
            empty = empty or start is None
        if stop is not None and len(stop) > AUR_KEY_LIMIT:
            stop = above(stop)
        self._bound = start if reverse else stop
        self._capacity = FIRST_BATCH_ENTRIES if transaction.read_only else 1
        self._writes_seen = transaction._writes
        self._closed = False
        if empty or (self._limited and self._left == 0):
            finish(self)
        else:
            # Taking the bounds may have run code that ended it.
            require(transaction)
            open_range(self, start, stop)

    def __dealloc__(self):
        orphan(self)
        if not forked(self):
            self._free()

    cdef str _noun(self):
        return "cursor"

    cdef void _free(self) noexcept:
        if self._cursor != NULL:
            aur_cursor_close(self._cursor)
            self._cursor = NULL

    def __iter__(self):
        return self

    def __next__(self):
        cdef Txn transaction = <Txn>self._parent
        if self._closed or transaction._closed or forked(self):
            if self._end is None:
                raise StopIteration
            require(self)
            require(transaction)
        if self._writes_seen != transaction._writes:
            note_writes(self)
        if self._at == self._count:
            fetch(self)
            if self._count == 0:
                finish(self)
                raise StopIteration
        return take_entry(self)

    def page_end(self, bytes key not None):
        """The key at which the page ends that holds or would hold ``key``, be it damaged or not.

        It is above ``key``; None when nothing is behind that page.
        """
        cdef Txn transaction = <Txn>self._parent
        cdef aur_error error
        cdef aur_status status
        cdef uint8_t end[AUR_KEY_LIMIT]
        cdef size_t end_bytes = 0
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(key)
        cdef size_t length = <size_t>len(key)
        require(self)
        require(transaction)
        require_free(self)
        error_clear(&error)
        occupy(self, transaction)
        with nogil:
            status = aur_cursor_page_end(self._cursor, data, length, end, &end_bytes, &error)
        vacate(self, transaction)
        if status == AUR_NOT_FOUND:
            return None
        check(status, &error)
        return PyBytes_FromStringAndSize(<const char *>end, <Py_ssize_t>end_bytes)

    def close(self):
        """Ends the iteration and gives its pages back. Idempotent."""
        if self._closed or forked(self):
            return
        require_free(self)
        finish(self)
        self._end = "is closed"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


cdef Txn transaction_of(Cursor cursor):
    return <Txn>cursor._parent


# The end of the range: nothing more comes, which is no error.
cdef void finish(Cursor cursor) noexcept:
    cursor._closed = True
    cursor._end = None
    cursor._free()
    if cursor._owns_transaction:
        transaction_of(cursor).rollback()


cdef int open_range(Cursor cursor, start, stop) except -1:
    cdef Txn transaction = transaction_of(cursor)
    cdef aur_cursor *opened = NULL
    cdef aur_error error
    cdef aur_status status
    cdef Span first
    cdef Span last
    take_bound(start, &first)
    try:
        take_bound(stop, &last)
    except BaseException:
        release(&first)
        raise
    error_clear(&error)
    status = aur_cursor_open(
        transaction._transaction, cursor._table, first.data, first.length, last.data,
        last.length, cursor._reverse, True, &opened, &error
    )
    if status == AUR_WOULD_BLOCK:
        occupy(cursor, transaction)
        with nogil:
            status = aur_cursor_open(
                transaction._transaction, cursor._table, first.data, first.length, last.data,
                last.length, cursor._reverse, False, &opened, &error
            )
        vacate(cursor, transaction)
    release(&last)
    release(&first)
    check(status, &error)
    cursor._free()
    cursor._cursor = opened
    return 0


# The entries of the batch are void: the walk starts anew behind the last key, in small steps.
cdef int note_writes(Cursor cursor) except -1:
    cdef uint64_t writes = transaction_of(cursor)._writes
    require_free(cursor)
    if cursor._at < cursor._count:
        if cursor._last_key is None:
            raise SystemError("a batch was read before it was begun")
        if cursor._reverse:
            open_range(cursor, cursor._bound, cursor._last_key)
        else:
            open_range(cursor, cursor._last_key, cursor._bound)
            cursor._skip_last = True
        cursor._at = cursor._count = 0
    # Only now: what failed is tried again by the next call.
    cursor._writes_seen = writes
    cursor._capacity = 1
    return 0


cdef int require_free(Cursor cursor) except -1:
    if cursor._busy:
        raise ValueError("the cursor is in use by another thread")
    return 0


# Around a call that gives the interpreter lock up.
cdef void occupy(Cursor cursor, Txn transaction) noexcept:
    cursor._busy = True
    cursor._calls += 1
    transaction._calls += 1


cdef void vacate(Cursor cursor, Txn transaction) noexcept:
    transaction._calls -= 1
    cursor._calls -= 1
    cursor._busy = False


cdef int fetch(Cursor cursor) except -1:
    cdef Txn transaction = transaction_of(cursor)
    cdef aur_error error
    cdef aur_status status
    cdef size_t capacity
    cdef size_t count = 0
    require_free(cursor)
    cursor._fetches += 1
    if cursor._fetches % 64 == 0:
        PyErr_CheckSignals()
        # A handler may have closed it, or read on with it.
        require(cursor)
        require(transaction)
    capacity = cursor._capacity
    if cursor._limited and capacity > cursor._left:
        capacity = <size_t>cursor._left
    if cursor._skip_last:
        capacity = max(capacity, 2)
    cursor._at = cursor._count = 0
    error_clear(&error)
    status = aur_cursor_fetch(
        cursor._cursor, True, cursor._entries, capacity, &count, &error
    )
    if status == AUR_WOULD_BLOCK:
        occupy(cursor, transaction)
        with nogil:
            status = aur_cursor_fetch(
                cursor._cursor, False, cursor._entries, capacity, &count, &error
            )
        vacate(cursor, transaction)
        # Another thread may have ended it, and with it its own writes, which entries point to.
        require(transaction)
    check(status, &error)
    # Not before this thread has the lock again: others would take the entries from under it.
    cursor._count = count
    cursor._capacity = min(capacity * 2, <size_t>BATCH_ENTRIES)
    if cursor._skip_last and cursor._count > 0:
        cursor._skip_last = False
        if key_of(&cursor._entries[0]) == cursor._last_key:
            cursor._at = 1
            if cursor._count == 1:
                return fetch(cursor)
    return 0


cdef bytes key_of(const aur_entry *entry):
    return PyBytes_FromStringAndSize(<const char *>entry.key, <Py_ssize_t>entry.key_bytes)


cdef object take_entry(Cursor cursor):
    cdef aur_entry *entry = &cursor._entries[cursor._at]
    cdef bytes key = key_of(entry)
    cdef object value = None
    if not cursor._keys_only:
        if entry.value != NULL or entry.value_bytes == 0:
            value = PyBytes_FromStringAndSize(
                <const char *>entry.value, <Py_ssize_t>entry.value_bytes
            )
        else:
            value = read_long(cursor, entry)
    cursor._at += 1
    if not transaction_of(cursor).read_only:
        cursor._last_key = key
    if cursor._limited:
        cursor._left -= 1
        if cursor._left == 0:
            finish(cursor)
    return key if cursor._keys_only else (key, value)


cdef bytes read_long(Cursor cursor, const aur_entry *entry):
    cdef Txn transaction = transaction_of(cursor)
    cdef aur_error error
    cdef aur_status status
    cdef bytes value = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>entry.value_bytes)
    cdef uint8_t *target = <uint8_t *>PyBytes_AS_STRING(value)
    require_free(cursor)
    error_clear(&error)
    occupy(cursor, transaction)
    with nogil:
        status = aur_cursor_read(cursor._cursor, entry, target, &error)
    vacate(cursor, transaction)
    check(status, &error)
    return value


cdef uint64_t natural(limit) except? 0:
    if isinstance(limit, bool) or not hasattr(limit, "__index__"):
        raise TypeError(f"limit must be an int, not {type(limit).__name__}")
    number = limit.__index__()
    if number < 0:
        raise ValueError(f"limit must not be negative: {number}")
    return min(number, 1 << 63)


cdef bytes plain(bound, str what):
    return None if bound is None else bytes_of(bound, what)


cdef tuple within_prefix(bytes prefix, start, stop):
    after = prefix_end(prefix)
    start = prefix if start is None else max(start, prefix)
    if after is not None:
        stop = after if stop is None else min(stop, after)
    return start, stop


# The smallest possible key above a bound that is longer than any key; None when there is none.
# Whether the bound is included makes no difference, since no key equals it.
cdef object above(bytes bound):
    return prefix_end(bound[:AUR_KEY_LIMIT])
