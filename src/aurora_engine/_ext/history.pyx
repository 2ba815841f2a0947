"""The past of a volume: views of it, when commits happened, going back to it (aurora/history.h)."""

import time

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from aurora_engine._ext.caurora cimport (
    AUR_NOT_FOUND,
    AUR_OK,
    AUR_REWIND_WHO_BYTES,
    aur_engine_commit_at_lsn,
    aur_engine_commit_at_time,
    aur_engine_count_commits,
    aur_engine_hold,
    aur_engine_horizon,
    aur_engine_pins,
    aur_engine_release,
    aur_engine_rewind,
    aur_engine_set_horizon,
    aur_error,
    aur_rewind,
    aur_status,
)
from aurora_engine._ext.handle cimport Handle, enter, leave, require
from aurora_engine._ext.status cimport check, error_clear

from aurora_engine._ext.records import CommitMark, RewindRecord

# A wait comes back this often to look for signals.
cdef uint64_t SLICE_NS = 100_000_000


cdef int fill_rewind(rewind, aur_rewind *out) except -1:
    cdef bytes who = rewind.who.encode()[:AUR_REWIND_WHO_BYTES]
    cdef const char *text
    # A character that was cut in two goes whole.
    who = who.decode(errors="ignore").encode()
    text = who
    memset(out, 0, sizeof(out[0]))
    out.at = rewind.at
    out.to = rewind.to
    out.epoch = rewind.epoch
    out.time_us = rewind.time_us
    out.kind = rewind.kind
    out.lost_commits = rewind.lost_commits
    memcpy(out.who, text, len(who))
    return 0


cdef object rewind_record(const aur_rewind *rewind):
    cdef bytes who = rewind.who[:AUR_REWIND_WHO_BYTES]
    return RewindRecord(
        rewind.at,
        rewind.to,
        rewind.epoch,
        rewind.time_us,
        rewind.kind,
        rewind.lost_commits,
        who.partition(b"\0")[0].decode(errors="replace"),
    )


@cython.no_gc
cdef class EngineHistory(Handle):
    """What an engine offers of the past. Base of `Engine`."""

    def view(self, uint64_t lsn):
        """A read-only transaction at a moment.

        Raises
        ------
        SnapshotTooOldError
            If the moment is below the horizon and nobody has it pinned.
        ValueError
            If it lies above the durable LSN.
        """
        # Transactions know engines; so they are looked up when they are wanted.
        from aurora_engine._ext.transaction import Txn

        return Txn(self, True, lsn)

    @property
    def horizon(self):
        """LSN from which on every moment is retained. Setting a lower one changes nothing."""
        require(self)
        return aur_engine_horizon(self._engine)

    @horizon.setter
    def horizon(self, uint64_t lsn):
        require(self)
        aur_engine_set_horizon(self._engine, lsn)

    def pins(self, uint64_t below):
        """The moments below an LSN that somebody reads at, ascending."""
        cdef size_t capacity = 0
        cdef size_t count
        cdef size_t i
        cdef uint64_t *lsns = NULL
        require(self)
        try:
            count = aur_engine_pins(self._engine, below, NULL, 0)
            while count > capacity:
                free(lsns)
                capacity = count
                lsns = <uint64_t *>malloc(capacity * sizeof(uint64_t))
                if lsns == NULL:
                    raise MemoryError("no memory for the list of pinned moments")
                count = aur_engine_pins(self._engine, below, lsns, capacity)
            return [lsns[i] for i in range(count)]
        finally:
            free(lsns)

    # ---- commits ----

    def commit_at_time(self, uint64_t time_us):
        """The newest durable commit at or before a time, abandoned ones too; None: none retained.
        """
        cdef uint64_t lsn = 0
        cdef uint64_t committed_us = 0
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_engine_commit_at_time(self._engine, time_us, &lsn, &committed_us, &error)
        if leave(self, status, &error) == AUR_NOT_FOUND:
            return None
        return CommitMark(lsn, committed_us)

    def commit_at_lsn(self, uint64_t lsn):
        """The newest durable commit at or below an LSN, abandoned ones too; None: none retained."""
        cdef uint64_t found = 0
        cdef uint64_t committed_us = 0
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_engine_commit_at_lsn(self._engine, lsn, &found, &committed_us, &error)
        if leave(self, status, &error) == AUR_NOT_FOUND:
            return None
        return CommitMark(found, committed_us)

    def count_commits(self, uint64_t after, uint64_t upto):
        """How many durable commits there are with after < LSN <= upto, abandoned ones too."""
        cdef uint64_t count = 0
        cdef aur_error error
        cdef aur_status status
        enter(self, &error)
        with nogil:
            status = aur_engine_count_commits(self._engine, after, upto, &count, &error)
        leave(self, status, &error)
        return count

    # ---- going back ----

    def hold(self, timeout=None):
        """Stops commits and waits until all are durable; returns `at` of a rewind made now.

        Until `release`, which the same thread calls, it makes no commit of its own.

        Raises
        ------
        TimeoutError
            If `timeout` seconds are over. Then, and after the errors below, commits go on.
        QuorumLostError, FencedError
            If what was committed cannot become durable now.
        """
        cdef aur_error error
        cdef aur_status status
        cdef uint64_t slice_ns
        cdef uint64_t lsn = 0
        require(self)
        if self._holder == PyThread_get_thread_ident():
            raise RuntimeError("this thread holds commits back already")
        deadline = None if timeout is None else time.monotonic_ns() + int(timeout * 1_000_000_000)
        error_clear(&error)
        while True:
            remaining = SLICE_NS if deadline is None else deadline - time.monotonic_ns()
            slice_ns = min(max(remaining, 0), SLICE_NS)
            self._calls += 1
            with nogil:
                status = aur_engine_hold(self._engine, slice_ns, &lsn, &error)
            if status == AUR_OK:
                # It counts as a call until the release, so that nothing is freed meanwhile.
                self._holder = PyThread_get_thread_ident()
                return lsn
            self._calls -= 1
            check(status, &error)
            if remaining <= 0:
                raise TimeoutError("commits under way did not become durable in time")
            PyErr_CheckSignals()
            require(self)

    def rewind(self, rewind):
        """History goes on from an older moment: the `RewindRecord` is durable in the segments.

        Raises
        ------
        QuorumLostError
            If it is not recorded by a write quorum: it is in doubt until a recovery in place.
        ValueError
            If it does not start at what `hold` gave.
        """
        cdef aur_rewind parts
        cdef aur_error error
        cdef aur_status status
        require(self)
        require_holder(self)
        fill_rewind(rewind, &parts)
        error_clear(&error)
        self._calls += 1
        with nogil:
            status = aur_engine_rewind(self._engine, &parts, &error)
        self._calls -= 1
        check(status, &error)

    @property
    def holds(self):
        """Whether this thread holds commits back."""
        return self._holder == PyThread_get_thread_ident()

    def release(self):
        """Lets commits go on after `hold`."""
        require_holder(self)
        self._holder = 0
        aur_engine_release(self._engine)
        self._calls -= 1


cdef int require_holder(EngineHistory engine) except -1:
    if engine._holder != PyThread_get_thread_ident():
        raise RuntimeError("this thread does not hold commits back")
    return 0
