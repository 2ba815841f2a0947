"""The data path of one opened volume, with its one-shot reads and writes (aurora/engine.h)."""

import time

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from aurora_engine._ext.buffers cimport Span, release, take_key, take_value
from aurora_engine._ext.caurora cimport (
    AUR_ENGINE_DRIVE_MANUAL,
    AUR_ENGINE_DRIVE_RING,
    AUR_ENGINE_DRIVE_THREADS,
    AUR_NEEDS_GROUPS,
    AUR_NOT_FOUND,
    AUR_OK,
    AUR_TIMEOUT,
    AUR_WOULD_BLOCK,
    aur_engine,
    aur_engine_add_group,
    aur_engine_close,
    aur_engine_copy,
    aur_engine_copy_status,
    aur_engine_create,
    aur_engine_delete,
    aur_engine_destroy,
    aur_engine_drain,
    aur_engine_event_descriptor,
    aur_engine_get,
    aur_engine_get_status,
    aur_engine_groups_wanted,
    aur_engine_growth_wanted,
    aur_engine_options,
    aur_engine_put,
    aur_engine_refuse_growth,
    aur_engine_replace,
    aur_engine_set_cache_bytes,
    aur_engine_start,
    aur_engine_start_point,
    aur_engine_status,
    aur_engine_step,
    aur_engine_stop,
    aur_engine_verified,
    aur_engine_verify,
    aur_engine_wait_durable,
    aur_error,
    aur_found,
    aur_found_read,
    aur_found_release,
    aur_rewind,
    aur_segment,
    aur_status,
    aur_table,
)
from aurora_engine._ext.clock cimport VirtualClock
from aurora_engine._ext.handle cimport (
    Handle,
    enter,
    forked,
    free_children,
    leave,
    refuse,
    require,
    wait_idle,
)
from aurora_engine._ext.history cimport SLICE_NS, EngineHistory, fill_rewind
from aurora_engine._ext.segment cimport Segment
from aurora_engine._ext.status cimport check, error_clear, exception_of, stored_exception

from aurora_engine._ext.records import CopyStatus, EngineStatus, EngineVerified, NeedsGroups
from aurora_engine._ext.status import STATUSES as _STATUSES
from aurora_engine._ext.status import exception_for
from aurora_engine.errors import AuroraError

cdef dict DRIVES = {
    "ring": <int>AUR_ENGINE_DRIVE_RING,
    "threads": <int>AUR_ENGINE_DRIVE_THREADS,
    "manual": <int>AUR_ENGINE_DRIVE_MANUAL,
}
cdef tuple COPY_STATES = ("ok", "lagging", "failed", "rebuilding")
cdef dict STATUS_WORDS = {0: "ok"} | {
    value: name.removeprefix("AUR_ERR_").lower() for name, value in _STATUSES.items()
}


cdef uint64_t read_clock(void *context) noexcept nogil:
    return (<uint64_t *>context)[0]


@cython.final
@cython.no_gc
cdef class TableHandle:
    """A table of an engine; valid while the engine is."""

    def __init__(self):
        raise TypeError("tables come from Txn.table")


cdef TableHandle wrap_table(Engine owner, aur_table *table):
    cdef TableHandle handle = TableHandle.__new__(TableHandle)
    handle._owner = owner
    handle._table = table
    return handle


cdef object found_value(Handle handle, aur_found *found, bint as_view):
    cdef aur_error error
    cdef aur_status status
    cdef uint8_t *target
    try:
        if found.data != NULL or found.length == 0:
            value = PyBytes_FromStringAndSize(<const char *>found.data, <Py_ssize_t>found.length)
        else:
            value = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>found.length)
            target = <uint8_t *>PyBytes_AS_STRING(value)
            error_clear(&error)
            handle._calls += 1
            with nogil:
                status = aur_found_read(found, target, &error)
            handle._calls -= 1
            check(status, &error)
    finally:
        aur_found_release(found)
    return memoryview(value) if as_view else value


cdef int settle(Engine engine, uint64_t lsn, aur_status waited, aur_error *error) except -1:
    while waited == AUR_TIMEOUT:
        PyErr_CheckSignals()
        require(engine)
        engine._calls += 1
        with nogil:
            waited = aur_engine_wait_durable(engine._engine, lsn, SLICE_NS, error)
        engine._calls -= 1
    if waited != AUR_OK:
        failure = exception_of(waited, error)
        if isinstance(failure, AuroraError):
            failure.in_doubt = True
        raise failure
    return 0


cdef int wait_for(Engine engine, uint64_t lsn) except -1:
    cdef aur_error error
    error_clear(&error)
    return settle(engine, lsn, AUR_TIMEOUT, &error)


cdef int check_write(Engine engine, aur_status status, const aur_error *error) except -1:
    if check(status, error) == AUR_NEEDS_GROUPS:
        raise NeedsGroups(aur_engine_groups_wanted(engine._engine))
    return 0


cdef int find(Engine engine, TableHandle table, key, aur_found *found) except -1:
    cdef aur_table *place
    cdef aur_error error
    cdef aur_status status
    cdef Span span
    place = table_of(engine, table)
    take_key(key, &span)
    require_with(engine, &span)
    memset(found, 0, sizeof(found[0]))
    error_clear(&error)
    status = aur_engine_get(engine._engine, place, span.data, span.length, True, found, &error)
    try:
        # AUR_TIMEOUT: a slice of the wait for the thread's own commits is over.
        while status == AUR_WOULD_BLOCK or status == AUR_TIMEOUT:
            PyErr_CheckSignals()
            require(engine)
            engine._calls += 1
            with nogil:
                status = aur_engine_get(
                    engine._engine, place, span.data, span.length, False, found, &error
                )
            engine._calls -= 1
    finally:
        release(&span)
    return check(status, &error)


cdef object put_now(Engine engine, TableHandle table, key, value, bint wait):
    cdef aur_table *place
    cdef aur_error error
    cdef aur_status status
    cdef aur_status waited = AUR_OK
    cdef uint64_t lsn = 0
    cdef Span span
    cdef Span content
    place = table_of(engine, table)
    take_key(key, &span)
    try:
        take_value(value, &content)
        require_with(engine, &content)
    except BaseException:
        release(&span)
        raise
    error_clear(&error)
    engine._calls += 1
    with nogil:
        status = aur_engine_put(
            engine._engine, place, span.data, span.length, content.data, content.length, &lsn,
            &error
        )
        if status == AUR_OK:
            waited = send(engine._engine, lsn, wait, &error)
    engine._calls -= 1
    release(&content)
    release(&span)
    check_write(engine, status, &error)
    settle(engine, lsn, waited, &error)
    return lsn


cdef bint delete_now(Engine engine, TableHandle table, key, bint wait) except -1:
    cdef aur_table *place
    cdef aur_error error
    cdef aur_status status
    cdef aur_status waited = AUR_OK
    cdef uint64_t lsn = 0
    cdef Span span
    place = table_of(engine, table)
    take_key(key, &span)
    require_with(engine, &span)
    error_clear(&error)
    engine._calls += 1
    with nogil:
        status = aur_engine_delete(engine._engine, place, span.data, span.length, &lsn, &error)
        if status == AUR_OK or status == AUR_NOT_FOUND:
            waited = send(engine._engine, lsn, wait, &error)
    engine._calls -= 1
    release(&span)
    check_write(engine, status, &error)
    settle(engine, lsn, waited, &error)
    return status == AUR_OK


# Status, drain and descriptor are asked for by the thread that watches the copies, also after
# close.
cdef int require_alive(Engine engine) except -1:
    return refuse(engine) if engine._engine == NULL or forked(engine) else 0


@cython.final
@cython.no_gc
cdef class Engine(EngineHistory):
    """The engine of a volume: given recovered segments, it carries all reads and writes."""

    def __cinit__(
        self, bytes volume_id not None, uint32_t page_bytes, uint32_t copies, uint64_t group_pages,
        uint64_t cache_bytes, uint64_t volume_pages, str drive not None="ring",
        bint read_volatile=False, bint ungated=False, uint32_t planted_bugs=0,
        VirtualClock clock=None, int lock_descriptor=0
    ):
        cdef aur_engine_options options
        cdef aur_error error
        memset(&options, 0, sizeof(options))
        if len(volume_id) != sizeof(options.volume_id):
            raise ValueError(f"a volume id has 16 bytes, not {len(volume_id)}")
        if drive not in DRIVES:
            raise ValueError(f"drive is one of {sorted(DRIVES)}, not {drive!r}")
        memcpy(options.volume_id, PyBytes_AS_STRING(volume_id), sizeof(options.volume_id))
        options.page_bytes = page_bytes
        options.copies = copies
        options.group_pages = group_pages
        options.cache_bytes = cache_bytes
        options.volume_pages = volume_pages
        options.drive = DRIVES[drive]
        options.read_volatile = read_volatile
        options.ungated = ungated
        options.planted_bugs = planted_bugs
        options.lock_descriptor = lock_descriptor
        if clock is not None:
            options.wall_us = read_clock
            options.clock_context = &clock._now_us
        self._clock = clock
        self._segments = {}
        self._copies = copies
        error_clear(&error)
        check(aur_engine_create(&options, &self._engine, &error), &error)
        self._closed = False

    def __dealloc__(self):
        # No child is left, since children keep their engine.
        if self._engine != NULL and not forked(self):
            aur_engine_close(self._engine)
            aur_engine_destroy(self._engine)

    cdef str _noun(self):
        return "database"

    # ---- coordination ----

    def add_group(self, segments):
        """Adds the next protection group: one `Segment`, or None, for each copy."""
        cdef aur_segment **pointers
        cdef aur_error error
        cdef aur_status status
        cdef Segment segment
        require(self)
        members = list(segments)
        if len(members) != self._copies:
            raise ValueError(f"a protection group has {self._copies} copies, not {len(members)}")
        pointers = <aur_segment **>calloc(len(members), sizeof(aur_segment *))
        if pointers == NULL:
            raise MemoryError("no memory for a protection group")
        try:
            for copy, segment in enumerate(members):
                if segment is not None:
                    require(segment)
                    pointers[copy] = segment._segment
            error_clear(&error)
            self._calls += 1
            with nogil:
                status = aur_engine_add_group(self._engine, pointers, self._copies, &error)
            self._calls -= 1
            check(status, &error)
        finally:
            free(pointers)
        for copy, segment in enumerate(members):
            engage(self, self._groups, copy, segment)
        self._groups += 1

    def start(self, uint64_t epoch, uint64_t vdl, uint64_t next_lsn, uint64_t time_us, group_lsns,
              rewinds=()):
        """Starts, or restarts after `stop`, at a recovered point, with each group's last LSN, and
        all rewinds that are recorded, in the order of their `at`.
        """
        cdef aur_engine_start_point point
        cdef aur_error error
        cdef aur_status status
        cdef uint64_t *lsns
        cdef aur_rewind *parts
        require(self)
        lasts = list(group_lsns)
        records = list(rewinds)
        lsns = <uint64_t *>calloc(max(len(lasts), 1), sizeof(uint64_t))
        parts = <aur_rewind *>calloc(max(len(records), 1), sizeof(aur_rewind))
        try:
            if lsns == NULL or parts == NULL:
                raise MemoryError("no memory for the recovered point")
            for group, last in enumerate(lasts):
                lsns[group] = last
            for at, record in enumerate(records):
                fill_rewind(record, &parts[at])
            point.rewind_count = len(records)
            point.rewinds = parts
            point.epoch = epoch
            point.vdl = vdl
            point.next_lsn = next_lsn
            point.time_us = time_us
            point.groups = len(lasts)
            point.group_lsn = lsns
            error_clear(&error)
            self._calls += 1
            with nogil:
                status = aur_engine_start(self._engine, &point, &error)
            self._calls -= 1
            check(status, &error)
        finally:
            free(lsns)
            free(parts)

    def stop(self):
        """Fails waiters and new writes, so that the segments can be recovered. Reads go on."""
        require(self)
        self._calls += 1
        with nogil:
            aur_engine_stop(self._engine)
        self._calls -= 1

    def close(self):
        """Ends every use: calls raise `DatabaseClosedError`. Idempotent; `destroy` follows."""
        if self._closed or forked(self):
            return
        self._closed = True
        self._calls += 1
        with nogil:
            aur_engine_close(self._engine)
        self._calls -= 1

    def destroy(self):
        """Closes cursors and transactions, stops all threads, lets the segments go. Idempotent."""
        cdef aur_engine *engine = self._engine
        if engine == NULL or forked(self):
            return
        self.close()
        wait_idle(self)
        free_children(self, "was open when its database was closed")
        if self._engine == NULL:
            return
        self._engine = NULL
        with nogil:
            aur_engine_destroy(engine)
        for place in list(self._segments):
            engage(self, place[0], place[1], None)

    def replace(self, uint32_t group, uint32_t copy, Segment segment):
        """Puts a segment, or None, in a place; returns the one that was there, no longer in use."""
        cdef aur_segment *pointer = NULL
        cdef aur_error error
        cdef aur_status status
        require(self)
        if segment is not None:
            require(segment)
            pointer = segment._segment
        error_clear(&error)
        self._calls += 1
        with nogil:
            status = aur_engine_replace(self._engine, group, copy, pointer, NULL, &error)
        self._calls -= 1
        check(status, &error)
        return engage(self, group, copy, segment)

    def step(self, uint32_t group, uint32_t copy):
        """Manual drive: one piece of one segment's work; whether it had any."""
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_engine_step(self._engine, group, copy)
        return leave(self, status, &error) == AUR_OK

    def fileno(self):
        """A descriptor, readable when a copy or the quorum changed its state since `drain`."""
        require_alive(self)
        return aur_engine_event_descriptor(self._engine)

    def drain(self):
        """Makes the descriptor wait for the next change."""
        require_alive(self)
        aur_engine_drain(self._engine)

    @property
    def growth_wanted(self):
        """How many groups a commit waits for that cannot ask its caller; 0 when none does."""
        require(self)
        return aur_engine_growth_wanted(self._engine)

    def refuse_growth(self, int status, str why not None):
        """Lets the commits that wait for groups fail."""
        cdef bytes text = why.encode()
        cdef const char *reason = text
        require(self)
        self._calls += 1
        with nogil:
            aur_engine_refuse_growth(self._engine, status, reason)
        self._calls -= 1

    def set_cache_bytes(self, uint64_t cache_bytes):
        """Changes the budget of the page cache."""
        require(self)
        self._calls += 1
        with nogil:
            aur_engine_set_cache_bytes(self._engine, cache_bytes)
        self._calls -= 1

    def copy_status(self, uint32_t group, uint32_t copy):
        """One copy as the quorum sees it."""
        cdef aur_engine_copy found
        cdef aur_error error
        require_alive(self)
        error_clear(&error)
        check(aur_engine_copy_status(self._engine, group, copy, &found), &error)
        return CopyStatus(
            COPY_STATES[found.state], found.scl, found.queued_bytes, stored_exception(&found.error)
        )

    def status(self):
        """Watermarks and counters."""
        cdef aur_engine_status found
        require_alive(self)
        aur_engine_get_status(self._engine, &found)
        return EngineStatus(
            found.epoch,
            found.vdl,
            found.vcl,
            found.head,
            found.next_lsn,
            found.durable_time_us,
            found.groups,
            STATUS_WORDS[found.write_status],
            None if found.write_status == AUR_OK else exception_for(found.write_status, ""),
            found.snapshots,
            found.cache_budget_bytes,
            found.cache_used_bytes,
            found.cache_hits,
            found.cache_misses,
            found.cache_evictions,
            found.commits,
            found.conflicts,
            found.records,
            found.boxcars,
            found.log_bytes,
            found.pages_used,
            found.pages_extent,
        )

    def verify(self):
        """Walks every tree at the durable point and checks its structure.

        Raises
        ------
        CorruptionError
            If a page breaks the structure.
        """
        cdef aur_engine_verified found
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_engine_verify(self._engine, &found, &error)
        leave(self, status, &error)
        return EngineVerified(found.tables, found.pages, found.records, found.leaked_pages)

    # ---- durability ----

    @property
    def durable_lsn(self):
        """VDL: everything up to here is durable."""
        cdef aur_engine_status found
        require(self)
        aur_engine_get_status(self._engine, &found)
        return found.vdl

    def wait_durable(self, uint64_t lsn, timeout=None):
        """Waits until VDL >= `lsn`, at most `timeout` seconds; whether it is.

        Raises
        ------
        QuorumLostError, FencedError
            If it cannot become durable now; it is in doubt then.
        """
        cdef aur_error error
        cdef aur_status status
        cdef uint64_t slice_ns
        require(self)
        if timeout is None:
            wait_for(self, lsn)
            return True
        deadline = time.monotonic_ns() + max(0, int(timeout * 1_000_000_000))
        error_clear(&error)
        while True:
            remaining = deadline - time.monotonic_ns()
            slice_ns = min(max(remaining, 0), SLICE_NS)
            self._calls += 1
            with nogil:
                status = aur_engine_wait_durable(self._engine, lsn, slice_ns, &error)
            self._calls -= 1
            if check(status, &error) == AUR_OK:
                return True
            if remaining <= 0:
                return False
            PyErr_CheckSignals()
            require(self)

    # ---- one-shot operations, each its own transaction ----

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

    def put(self, TableHandle table, key, value, bint wait=False):
        """Sets a key; returns the commit's LSN, durable when `wait`.

        Raises
        ------
        NeedsGroups
            If the volume must grow first.
        """
        return put_now(self, table, key, value, wait)

    def delete(self, TableHandle table, key, bint wait=False):
        """Removes a key; whether it was there. That is durable when `wait`; raises as `put`."""
        return delete_now(self, table, key, wait)


# Notes who is in a place now; returns who was.
cdef object engage(Engine engine, unsigned int group, unsigned int copy, Segment segment):
    cdef Segment old = engine._segments.pop((group, copy), None)
    if old is not None:
        old._engaged = False
    if segment is not None:
        segment._engaged = True
        engine._segments[group, copy] = segment
    return old
