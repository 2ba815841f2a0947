"""Transactions: reads at one moment, writes kept apart till commit (aurora/transaction.h)."""

cimport cython
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_CheckExact, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset

from aurora_engine._ext.buffers cimport (
    Column,
    Span,
    keys_of,
    records_of,
    release,
    release_column,
    take_column,
    take_key,
    take_pairs,
    take_records,
    take_value,
)
from aurora_engine._ext.caurora cimport (
    AUR_LOOKUPS_LIMIT,
    AUR_NEEDS_GROUPS,
    AUR_NOT_FOUND,
    AUR_OK,
    AUR_PUTS_LIMIT,
    AUR_TABLE_NAME_LIMIT,
    AUR_TIMEOUT,
    AUR_WOULD_BLOCK,
    aur_engine_view,
    aur_entry,
    aur_error,
    aur_found,
    aur_found_release,
    aur_lookup,
    aur_status,
    aur_table,
    aur_transaction,
    aur_transaction_begin,
    aur_transaction_begin_blind,
    aur_transaction_commit,
    aur_transaction_count,
    aur_transaction_delete,
    aur_transaction_destroy,
    aur_transaction_drop_table,
    aur_transaction_get,
    aur_transaction_get_many,
    aur_transaction_put,
    aur_transaction_put_many,
    aur_transaction_read_point,
    aur_transaction_rollback,
    aur_transaction_table,
    aur_transaction_table_name,
    aur_transaction_will_get,
)
from aurora_engine._ext.engine cimport (
    Engine,
    TableHandle,
    check_write,
    found_value,
    require_with,
    send,
    settle,
    table_of,
    wrap_table,
)
from aurora_engine._ext.handle cimport (
    Handle,
    adopt,
    enter,
    forked,
    free_children,
    leave,
    orphan,
    require,
)
from aurora_engine._ext.status cimport check, error_clear

# Values longer than this are copied without the interpreter lock.
cdef uint64_t LONG_VALUE_BYTES = 65536

# Loops over many records give signals and other threads a chance after this many.
cdef Py_ssize_t BREATH_RECORDS = 4096


cdef aur_status begin(
    Engine engine, bint read_only, aur_transaction **out, aur_error *error
) except *:
    cdef aur_status status = aur_transaction_begin(engine._engine, read_only, True, out, error)
    # AUR_TIMEOUT: a slice of the wait for the thread's own commits is over.
    while status == AUR_WOULD_BLOCK or status == AUR_TIMEOUT:
        PyErr_CheckSignals()
        require(engine)
        engine._calls += 1
        with nogil:
            status = aur_transaction_begin(engine._engine, read_only, False, out, error)
        engine._calls -= 1
    return status


@cython.final
@cython.no_gc
cdef class Txn(Handle):
    """A transaction of an engine: now, or, read-only, at the moment of an LSN; or a blind one,
    which only puts into the database itself. To be used by one thread at a time.
    """

    def __cinit__(
        self, Engine engine not None, bint read_only=False, moment=None, bint blind=False
    ):
        cdef aur_error error
        cdef aur_status status
        cdef uint64_t lsn
        require(engine)
        error_clear(&error)
        if blind:
            status = aur_transaction_begin_blind(engine._engine, &self._transaction, &error)
        elif moment is None:
            status = begin(engine, read_only, &self._transaction, &error)
        else:
            if not read_only:
                raise ValueError("a transaction at another moment than now is read-only")
            lsn = moment
            status = aur_engine_view(engine._engine, lsn, &self._transaction, &error)
        check(status, &error)
        adopt(engine, self)
        self.read_only = read_only
        self._closed = False

    def __dealloc__(self):
        orphan(self)
        if not forked(self):
            self._free()

    cdef str _noun(self):
        return "transaction"

    cdef void _free(self) noexcept:
        if self._transaction != NULL:
            if self._first_child != NULL:
                free_children(self, f"belongs to a transaction that {self._end}")
            aur_transaction_destroy(self._transaction)
            self._transaction = NULL

    @property
    def read_point(self):
        """The LSN at which it reads."""
        require(self)
        return aur_transaction_read_point(self._transaction)

    # ---- reading ----

    def get(self, TableHandle table, key, default=None, bint as_view=False):
        """The value of a key, or `default`; bytes, or a memoryview of them."""
        cdef aur_found found
        if find(self, table, key, &found) != AUR_OK:
            return default
        return found_value(self, &found, as_view)

    def contains(self, TableHandle table, key):
        """Whether the key is there."""
        cdef aur_found found
        if find(self, table, key, &found) != AUR_OK:
            return False
        aur_found_release(&found)
        return True

    def count(self, TableHandle table):
        """How many keys the table has."""
        cdef aur_table *place
        cdef aur_error error
        cdef aur_status status
        cdef uint64_t count = 0
        require(self)
        place = table_of(engine_of(self), table)
        error_clear(&error)
        self._calls += 1
        with nogil:
            status = aur_transaction_count(self._transaction, place, &count, &error)
        self._calls -= 1
        check(status, &error)
        return count

    def get_many(self, TableHandle table, keys, default):
        """The values of many keys, in their order: an iterable, or an array of fixed width."""
        cdef list wanted
        cdef list values
        cdef Py_ssize_t first = 0
        cdef Py_ssize_t count
        wanted = records_of(keys, "keys") if PyObject_CheckBuffer(keys) else keys_of(keys)
        count = PyList_GET_SIZE(wanted)
        values = [default] * count
        while first < count:
            find_many(self, table, wanted, first, min(count - first, AUR_LOOKUPS_LIMIT), values)
            first += AUR_LOOKUPS_LIMIT
            if first % BREATH_RECORDS == 0:
                breathe()
        return values

    # ---- writing ----

    def put(self, TableHandle table, key, value):
        """Sets a key."""
        put_one(self, table_of(engine_of(self), table), key, value)

    def put_many(self, TableHandle table, pairs):
        """Sets the keys of an iterable of (key, value)."""
        cdef aur_table *place
        cdef Py_ssize_t done = 0
        require(self)
        place = table_of(engine_of(self), table)
        if PyList_CheckExact(pairs):
            return put_list(self, place, pairs)
        for pair in pairs:
            put_pair(self, place, pair)
            done += 1
            if done % BREATH_RECORDS == 0:
                breathe()
        return done

    def put_array(self, TableHandle table, keys, values):
        """Sets the keys of one array to the values of another, both of fixed-width records."""
        cdef aur_table *place
        cdef Column key_column
        cdef Column value_column
        place = table_of(engine_of(self), table)
        take_column(keys, "keys", True, &key_column)
        try:
            take_column(values, "values", False, &value_column)
            try:
                require(self)
                if key_column.count != value_column.count:
                    raise ValueError(
                        f"there are {key_column.count} keys but {value_column.count} values: "
                        "give arrays of one length"
                    )
                put_columns(self, place, &key_column, &value_column)
            finally:
                release_column(&value_column)
        finally:
            release_column(&key_column)
        return key_column.count

    def delete(self, TableHandle table, key):
        """Removes a key; whether it was there."""
        cdef aur_table *place
        cdef aur_error error
        cdef aur_status status
        cdef Span span
        place = table_of(engine_of(self), table)
        take_key(key, &span)
        require_with(self, &span)
        error_clear(&error)
        status = aur_transaction_delete(
            self._transaction, place, span.data, span.length, True, &error
        )
        if status == AUR_WOULD_BLOCK:
            self._calls += 1
            with nogil:
                status = aur_transaction_delete(
                    self._transaction, place, span.data, span.length, False, &error
                )
            self._calls -= 1
        release(&span)
        self._writes += 1
        return check(status, &error) == AUR_OK

    # ---- tables ----

    def table(self, str name not None, bint create):
        """A table by its name, or None when there is none and `create` is false."""
        cdef aur_table *table = NULL
        cdef aur_error error
        cdef aur_status status
        cdef const char *text
        cdef size_t length
        require(self)
        encoded = table_name(name)
        text = encoded
        length = len(encoded)
        error_clear(&error)
        self._calls += 1
        with nogil:
            status = aur_transaction_table(self._transaction, text, length, create, &table, &error)
        self._calls -= 1
        return None if check(status, &error) == AUR_NOT_FOUND else wrap_table(
            engine_of(self), table
        )

    def drop_table(self, str name not None):
        """Drops a table; whether it was there."""
        cdef aur_error error
        cdef aur_status status
        cdef const char *text
        cdef size_t length
        require(self)
        encoded = table_name(name)
        text = encoded
        length = len(encoded)
        error_clear(&error)
        self._calls += 1
        with nogil:
            status = aur_transaction_drop_table(self._transaction, text, length, &error)
        self._calls -= 1
        self._writes += 1
        return check(status, &error) == AUR_OK

    def table_names(self):
        """Names of all tables, in the order of their bytes."""
        cdef char name[AUR_TABLE_NAME_LIMIT]
        cdef size_t length = 0
        cdef size_t index = 0
        cdef aur_error error
        cdef aur_status status
        names = []
        while True:
            enter(self, &error)
            with nogil:
                status = aur_transaction_table_name(self._transaction, index, name, &length, &error)
            if leave(self, status, &error) == AUR_NOT_FOUND:
                return names
            names.append(name[:length].decode("utf-8"))
            index += 1

    # ---- the end ----

    def commit(self, bint wait):
        """Commits; returns the LSN, durable when `wait`.

        Raises
        ------
        NeedsGroups
            If the volume must grow first; the transaction is still open then.
        ConflictError
            If a concurrent transaction changed what this one read; it is rolled back then, as after
            every other error.
        """
        return commit(self, wait)

    def rollback(self):
        """Forgets the writes and ends the transaction. Idempotent."""
        if self._closed or forked(self):
            return
        aur_transaction_rollback(self._transaction)
        end(self, "has been rolled back")


cdef object commit(Txn transaction, bint wait):
    cdef Engine engine
    cdef uint64_t lsn = 0
    cdef aur_error error
    cdef aur_status status
    cdef aur_status waited = AUR_OK
    require(transaction)
    engine = engine_of(transaction)
    error_clear(&error)
    # From here on for other threads as well: what cursors have handed out of its own writes goes.
    transaction._closed = True
    transaction._end = "is being committed by another thread"
    transaction._calls += 1
    engine._calls += 1
    with nogil:
        status = aur_transaction_commit(transaction._transaction, &lsn, &error)
        if status == AUR_OK:
            waited = send(engine._engine, lsn, wait, &error)
    engine._calls -= 1
    transaction._calls -= 1
    if status == AUR_NEEDS_GROUPS:
        transaction._closed = False
    else:
        end(transaction, "has been committed" if status == AUR_OK else "failed to commit")
    check_write(engine, status, &error)
    settle(engine, lsn, waited, &error)
    return lsn


# What another thread still uses is freed with the object.
cdef void end(Txn transaction, str what) noexcept:
    transaction._closed = True
    transaction._end = what
    if transaction._calls == 0:
        transaction._free()


cdef int find(Txn transaction, TableHandle table, key, aur_found *found) except -1:
    cdef aur_table *place
    cdef aur_error error
    cdef aur_status status
    cdef Span span
    place = table_of(engine_of(transaction), table)
    take_key(key, &span)
    require_with(transaction, &span)
    memset(found, 0, sizeof(found[0]))
    error_clear(&error)
    status = aur_transaction_get(
        transaction._transaction, place, span.data, span.length, True, found, &error
    )
    if status == AUR_WOULD_BLOCK:
        transaction._calls += 1
        with nogil:
            status = aur_transaction_get(
                transaction._transaction, place, span.data, span.length, False, found, &error
            )
        transaction._calls -= 1
    release(&span)
    return check(status, &error)


# Looks up to AUR_LOOKUPS_LIMIT keys up, and sets what is found at their places in `values`. Only
# those that need more than memory are asked for one by one.
cdef int find_many(
    Txn transaction, TableHandle table, list keys, Py_ssize_t first, Py_ssize_t count, list values
) except -1:
    cdef aur_lookup lookups[AUR_LOOKUPS_LIMIT]
    cdef aur_table *place
    cdef aur_error error
    cdef aur_found found
    cdef aur_status status
    cdef Py_ssize_t index
    cdef Py_ssize_t rest = count
    require(transaction)
    place = table_of(engine_of(transaction), table)
    for index in range(count):
        key = <object>PyList_GET_ITEM(keys, first + index)
        lookups[index].key = <const uint8_t *>PyBytes_AS_STRING(key)
        lookups[index].key_bytes = <size_t>PyBytes_GET_SIZE(key)
    error_clear(&error)
    status = aur_transaction_get_many(
        transaction._transaction, place, lookups, <size_t>count, &error
    )
    if check(status, &error) == AUR_OK:
        rest = take_found(lookups, count, values, first)
        if rest > 1:
            transaction._calls += 1
            with nogil:
                aur_transaction_will_get(
                    transaction._transaction, place, lookups, <size_t>count
                )
            transaction._calls -= 1
    for index in range(count):
        if rest == 0:
            break
        if status != AUR_OK or lookups[index].status == AUR_WOULD_BLOCK:
            key = <object>PyList_GET_ITEM(keys, first + index)
            if find(transaction, table, key, &found) == AUR_OK:
                values[first + index] = found_value(transaction, &found, False)
            rest -= 1
    return 0


# Copies and releases what was found. Gives the number of keys that have to be asked for alone,
# AUR_WOULD_BLOCK: those of big values are among them.
cdef Py_ssize_t take_found(
    aur_lookup *lookups, Py_ssize_t count, list values, Py_ssize_t first
) except -1:
    cdef aur_found *found
    cdef Py_ssize_t rest = 0
    cdef Py_ssize_t done = 0
    try:
        while done < count:
            if lookups[done].status == AUR_OK:
                found = &lookups[done].found
                if found.data == NULL and found.length > 0:
                    lookups[done].status = AUR_WOULD_BLOCK
                else:
                    values[first + done] = PyBytes_FromStringAndSize(
                        <const char *>found.data, <Py_ssize_t>found.length
                    )
                aur_found_release(found)
            rest += lookups[done].status == AUR_WOULD_BLOCK
            done += 1
    finally:
        # Only if there was no memory for one of them.
        while done < count:
            if lookups[done].status == AUR_OK:
                aur_found_release(&lookups[done].found)
            done += 1
    return rest


cdef int put_pair(Txn transaction, aur_table *table, pair) except -1:
    if PyTuple_CheckExact(pair) and PyTuple_GET_SIZE(pair) == 2:
        return put_one(
            transaction, table, <object>PyTuple_GET_ITEM(pair, 0),
            <object>PyTuple_GET_ITEM(pair, 1)
        )
    key, value = pair
    return put_one(transaction, table, key, value)


cdef int put_one(Txn transaction, aur_table *table, key, value) except -1:
    cdef aur_error error
    cdef aur_status status
    cdef Span span
    cdef Span content
    take_key(key, &span)
    try:
        take_value(value, &content)
        require_with(transaction, &content)
    except BaseException:
        release(&span)
        raise
    error_clear(&error)
    if content.length < LONG_VALUE_BYTES:
        status = aur_transaction_put(
            transaction._transaction, table, span.data, span.length, content.data, content.length,
            &error
        )
    else:
        transaction._calls += 1
        with nogil:
            status = aur_transaction_put(
                transaction._transaction, table, span.data, span.length, content.data,
                content.length, &error
            )
        transaction._calls -= 1
    release(&content)
    release(&span)
    transaction._writes += 1
    return check(status, &error)


cdef Py_ssize_t put_list(Txn transaction, aur_table *table, list pairs) except -1:
    cdef aur_entry entries[AUR_PUTS_LIMIT]
    cdef aur_error error
    cdef Py_ssize_t count
    cdef Py_ssize_t breath = BREATH_RECORDS
    cdef Py_ssize_t done = 0
    # Its length is asked for each time: others may run whenever the lock is given up.
    while done < PyList_GET_SIZE(pairs):
        require(transaction)
        count = take_pairs(pairs, done, entries, LONG_VALUE_BYTES)
        if count > 0:
            error_clear(&error)
            transaction._writes += 1
            check(aur_transaction_put_many(
                transaction._transaction, table, entries, <size_t>count, &error
            ), &error)
        else:
            # Held, since unpacking it may run what changes the list.
            pair = <object>PyList_GET_ITEM(pairs, done)
            put_pair(transaction, table, pair)
            count = 1
        done += count
        if done >= breath:
            breathe()
            breath = done + BREATH_RECORDS
    return done


cdef int put_columns(
    Txn transaction, aur_table *table, const Column *keys, const Column *values
) except -1:
    cdef aur_entry entries[AUR_PUTS_LIMIT]
    cdef aur_error error
    cdef aur_status status = AUR_OK
    cdef size_t done = 0
    cdef size_t count
    error_clear(&error)
    transaction._calls += 1
    with nogil:
        while done < keys.count and status == AUR_OK:
            count = take_records(keys, values, done, entries)
            status = aur_transaction_put_many(
                transaction._transaction, table, entries, count, &error
            )
            done += count
    transaction._calls -= 1
    transaction._writes += 1
    return check(status, &error)


cdef bytes table_name(str name):
    encoded = name.encode("utf-8")
    if not 0 < len(encoded) <= AUR_TABLE_NAME_LIMIT:
        raise ValueError(
            f"a table's name has 1 to {AUR_TABLE_NAME_LIMIT} bytes in UTF-8, not {len(encoded)}"
        )
    return encoded


cdef int breathe() except -1:
    PyErr_CheckSignals()
    with nogil:
        pass
    return 0
