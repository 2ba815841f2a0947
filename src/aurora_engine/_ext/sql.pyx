"""The SQL databases of a volume: a VFS for the SQLite libraries of this process (aurora/sql.h)."""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from aurora_engine._ext.caurora cimport (
    AUR_ERR_INVALID,
    AUR_ERROR_TEXT_BYTES,
    AUR_NOT_FOUND,
    AUR_OK,
    AUR_SQL_NAME_BYTES,
    AUR_SQL_VFS_NAME_BYTES,
    AUR_TIMEOUT,
    aur_engine_sql,
    aur_error,
    aur_rewind,
    aur_sql,
    aur_sql_add_tables,
    aur_sql_counts,
    aur_sql_drop,
    aur_sql_get_counts,
    aur_sql_interrupt,
    aur_sql_next_name,
    aur_sql_opened,
    aur_sql_register,
    aur_sql_host,
    aur_sql_take_thread_error,
    aur_sql_set_host,
    aur_sql_set_timeout,
    aur_sql_set_wait,
    aur_sql_state,
    aur_sql_take_state,
    aur_status,
    c_bool,
)
from aurora_engine._ext.engine cimport Engine
from aurora_engine._ext.handle cimport forked, require
from aurora_engine._ext.history cimport SLICE_NS, fill_rewind
from aurora_engine._ext.status cimport check, error_clear, stored_exception

from aurora_engine._ext.records import SqlCounts, SqlState
from aurora_engine._ext.status import STATUSES as _STATUSES
from aurora_engine.errors import AuroraError

cdef extern from "Python.h":
    int Py_AddPendingCall(int (*call)(void *) except -1, void *argument)

cdef uint64_t SLICE_MS = SLICE_NS // 1_000_000


@cython.final
cdef class Sql:
    """The SQL side of an engine."""

    cdef Engine _engine
    cdef aur_sql *_sql
    cdef object _resolve
    cdef object _backtracks

    def __cinit__(self, Engine engine not None, resolve, backtracks):
        """`resolve` is given the text of an ``as_of``, and returns the LSN of that moment;
        `backtracks` returns records of those that were made.
        """
        cdef aur_error error
        cdef aur_status status
        cdef aur_sql_host host
        require(engine)
        error_clear(&error)
        with nogil:
            status = aur_engine_sql(engine._engine, &self._sql, &error)
        check(status, &error)
        self._engine = engine
        self._resolve = resolve
        self._backtracks = backtracks
        host.context = <void *>self
        host.resolve = resolve_moment
        host.backtracks = list_backtracks
        host.goes_on = goes_on
        aur_sql_set_host(self._sql, &host)

    def __dealloc__(self):
        if self._engine is not None and self._engine._engine != NULL and not forked(self._engine):
            aur_sql_set_host(self._sql, NULL)

    def register(self, str library not None):
        """Registers the VFS in the SQLite library behind a loaded shared object; its name.

        Raises
        ------
        ValueError
            If no SQLite is found there.
        """
        cdef aur_error error
        cdef aur_status status
        cdef char name[AUR_SQL_VFS_NAME_BYTES]
        cdef bytes path = library.encode("utf-8", "surrogateescape")
        require(self._engine)
        error_clear(&error)
        status = aur_sql_register(self._sql, path, name, &error)
        check(status, &error)
        return (<bytes><char *>name).decode()

    def opened(self):
        """The newest connection that this thread has opened; 0 when there is none."""
        require(self._engine)
        return aur_sql_opened(self._sql)

    def thread_error(self):
        """Why this thread could not open a database last, or could not commit to one that is
        attached to another volume's; or None. Told once.
        """
        cdef aur_error error
        error_clear(&error)
        aur_sql_take_thread_error(&error)
        return stored_exception(&error)

    def set_wait(self, uint64_t connection, bint wait):
        """Whether COMMIT waits until it is durable; returns whether it did."""
        cdef aur_error error
        cdef aur_status status
        cdef c_bool before = False
        require(self._engine)
        error_clear(&error)
        status = aur_sql_set_wait(self._sql, connection, wait, &before, &error)
        check(status, &error)
        return <bint>before

    def set_timeout(self, uint64_t connection, uint64_t timeout_ms):
        """How long a connection waits for the right to write."""
        cdef aur_error error
        cdef aur_status status
        require(self._engine)
        error_clear(&error)
        status = aur_sql_set_timeout(self._sql, connection, timeout_ms, &error)
        check(status, &error)

    def interrupt(self, uint64_t connection):
        """Ends the wait of a connection for the right to write, if it waits now."""
        require(self._engine)
        aur_sql_interrupt(self._sql, connection)

    def add_tables(self, uint64_t connection):
        """Adds the table-valued function aurora_history() to a connection."""
        cdef aur_error error
        cdef aur_status status
        require(self._engine)
        error_clear(&error)
        status = aur_sql_add_tables(self._sql, connection, &error)
        check(status, &error)

    def take_state(self, uint64_t connection):
        """Where a connection stands. Its error is told once."""
        cdef aur_error error
        cdef aur_status status
        cdef aur_sql_state state
        require(self._engine)
        error_clear(&error)
        status = aur_sql_take_state(self._sql, connection, &state, &error)
        check(status, &error)
        return SqlState(
            state.last_commit, state.read_point, state.in_doubt, stored_exception(&state.error)
        )

    def next_name(self, str after not None):
        """The first name of a database behind `after`; None when there is none."""
        cdef aur_error error
        cdef aur_status status
        cdef char name[AUR_SQL_NAME_BYTES]
        cdef bytes text = after.encode()
        cdef const char *start = text
        require(self._engine)
        error_clear(&error)
        self._engine._calls += 1
        with nogil:
            status = aur_sql_next_name(self._sql, start, name, &error)
        self._engine._calls -= 1
        if check(status, &error) == AUR_NOT_FOUND:
            return None
        return (<bytes><char *>name).decode()

    def drop(self, str name not None, uint64_t timeout_ms):
        """Removes a database; the LSN of that, or None when there is no such database.

        Raises
        ------
        TimeoutError
            If somebody else kept on writing it.
        """
        cdef aur_error error
        cdef aur_status status
        cdef uint64_t lsn = 0
        cdef uint64_t slice_ms = min(timeout_ms, SLICE_MS)
        cdef bytes text = name.encode()
        cdef const char *start = text
        while True:
            require(self._engine)
            error_clear(&error)
            self._engine._calls += 1
            with nogil:
                status = aur_sql_drop(self._sql, start, slice_ms, &lsn, &error)
            self._engine._calls -= 1
            check(status, &error)
            timeout_ms -= slice_ms
            slice_ms = min(timeout_ms, SLICE_MS)
            if status != AUR_TIMEOUT or slice_ms == 0:
                break
            PyErr_CheckSignals()
        if status == AUR_TIMEOUT:
            raise TimeoutError(f"another connection writes database {name!r}")
        return None if status == AUR_NOT_FOUND else lsn

    def counts(self):
        """What was asked of it so far."""
        cdef aur_sql_counts found
        require(self._engine)
        aur_sql_get_counts(self._sql, &found)
        return SqlCounts(
            found.connections, found.opened, found.views, found.reads, found.writes, found.commits,
            found.conflicts
        )


# An `as_of` in the text that names a database: what it means is for the face to say. SQLite is
# called by a thread of Python's, which has given the GIL up for that.
cdef aur_status resolve_moment(
    void *context, const char *text, uint64_t *lsn_out, aur_error *error
) noexcept nogil:
    with gil:
        try:
            lsn_out[0] = (<Sql>context)._resolve((<bytes><char *>text).decode())
            return AUR_OK
        except Exception as failure:
            return tell(failure, error)


cdef size_t list_backtracks(void *context, aur_rewind *out, size_t capacity) noexcept nogil:
    with gil:
        try:
            records = (<Sql>context)._backtracks()
            for at, record in enumerate(records[:capacity]):
                fill_rewind(record, &out[at])
            return len(records)
        except Exception:
            return 0


# In the middle of a wait inside of SQLite, which can hand no exception on: what a signal's handler
# raises is kept until the interpreter runs this thread again. Signals are for the main thread, and
# so are pending calls.
cdef c_bool goes_on(void *context) noexcept nogil:
    with gil:
        try:
            PyErr_CheckSignals()
            return True
        except BaseException as raised:
            Py_INCREF(raised)
            if Py_AddPendingCall(raise_kept, <void *>raised) != 0:
                Py_DECREF(raised)
            return False


cdef int raise_kept(void *kept) except -1:
    raised = <object>kept
    Py_DECREF(raised)
    raise raised


cdef aur_status tell(failure, aur_error *error) noexcept:
    cdef bytes text = str(failure).encode()[:AUR_ERROR_TEXT_BYTES - 1]
    status = AUR_ERR_INVALID
    if isinstance(failure, AuroraError):
        status = _STATUSES.get(failure.status_name, status)
    error.status = <aur_status><int>status
    memcpy(error.message, <const char *>text, len(text) + 1)
    return error.status
