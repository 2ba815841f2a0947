"""Directories that segments and metadata live in, real, in memory, and faulty (csrc/disk)."""

import errno
import os

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t

from aurora_engine._ext.caurora cimport (
    AUR_NOT_FOUND,
    AUR_OK,
    aur_disk,
    aur_disk_acquire,
    aur_disk_close,
    aur_disk_list,
    aur_disk_open_faulty,
    aur_disk_open_memory,
    aur_disk_open_posix,
    aur_disk_path,
    aur_disk_remove,
    aur_disk_replace,
    aur_error,
    aur_fault_counts,
    aur_fault_rates,
    aur_faulty_counts,
    aur_faulty_crash,
    aur_faulty_crash_after,
    aur_faulty_flip,
    aur_faulty_recover,
    aur_faulty_set_dead,
    aur_faulty_set_rates,
    aur_faulty_set_space,
    aur_status,
    c_bool,
)
from aurora_engine._ext.handle cimport Handle, forked, require, wait_idle
from aurora_engine._ext.status cimport check, error_clear

from aurora_engine._ext.records import FaultCounts
from aurora_engine.errors import StorageIOError


@cython.final
cdef class _Listing:
    """Collects what aur_disk_list visits; an exception ends the walk and is raised after it."""

    cdef dict files
    cdef object failure


cdef c_bool visit_file(void *context, const char *name, uint64_t size_bytes) noexcept with gil:
    cdef _Listing listing = <_Listing>context
    try:
        listing.files[os.fsdecode(<bytes>name)] = size_bytes
    except BaseException as failure:
        listing.failure = failure
        return False
    return True


cdef int require_faulty(Disk disk) except -1:
    require(disk)
    if not disk._faulty:
        raise ValueError("faults can be set only on a disk made by Disk.faulty")
    return 0


cdef Disk wrap(aur_disk *disk, bint faulty):
    cdef Disk self = Disk.__new__(Disk)
    self._disk = disk
    self._faulty = faulty
    self._closed = False
    return self


@cython.final
@cython.no_gc
cdef class Disk(Handle):
    """One directory. A segment opened on it keeps it alive; the disk stays usable beside it."""

    def __init__(self):
        raise TypeError("use Disk.posix, Disk.memory or Disk.faulty")

    def __dealloc__(self):
        if self._disk != NULL and not forked(self):
            aur_disk_close(self._disk)

    cdef str _noun(self):
        return "disk"

    @staticmethod
    def posix(path, bint create=True):
        """A directory of the file system, created with its parents when `create`.

        Raises
        ------
        StorageIOError
            If the system refuses, or it does not exist and `create` is false.
        """
        cdef aur_error error
        cdef aur_disk *disk = NULL
        cdef aur_status status
        encoded = os.fsencode(path)
        cdef const char *text = encoded
        error_clear(&error)
        with nogil:
            status = aur_disk_open_posix(text, create, &disk, &error)
        if check(status, &error) == AUR_NOT_FOUND:
            raise StorageIOError(errno.ENOENT, "there is no such directory", os.fsdecode(encoded))
        return wrap(disk, False)

    @staticmethod
    def memory():
        """A new empty directory in memory."""
        cdef aur_error error
        cdef aur_disk *disk = NULL
        error_clear(&error)
        check(aur_disk_open_memory(&disk), &error)
        return wrap(disk, False)

    @staticmethod
    def faulty(Disk inner not None, uint64_t seed):
        """Wraps a disk into one that fails as it is told, in a way that depends only on `seed`."""
        cdef aur_error error
        cdef aur_disk *disk = NULL
        cdef aur_status status
        require(inner)
        error_clear(&error)
        aur_disk_acquire(inner._disk)
        status = aur_disk_open_faulty(inner._disk, seed, &disk)
        if status != AUR_OK:
            aur_disk_close(inner._disk)
            check(status, &error)
        return wrap(disk, True)

    @property
    def path(self):
        """The directory's path; ``"memory"`` in memory."""
        require(self)
        return os.fsdecode(<bytes>aur_disk_path(self._disk))

    def list(self):
        """Names of the files and their sizes in bytes."""
        cdef aur_error error
        cdef aur_status status
        cdef _Listing listing = _Listing.__new__(_Listing)
        require(self)
        listing.files = {}
        error_clear(&error)
        self._calls += 1
        with nogil:
            status = aur_disk_list(self._disk, visit_file, <void *>listing, &error)
        self._calls -= 1
        if listing.failure is not None:
            raise listing.failure
        check(status, &error)
        return listing.files

    def replace(self, str name not None, content):
        """Makes `content` the content of the file, as one atomic and durable step."""
        cdef aur_error error
        cdef aur_status status
        cdef Py_buffer view
        require(self)
        encoded = os.fsencode(name)
        cdef const char *text = encoded
        error_clear(&error)
        PyObject_GetBuffer(content, &view, PyBUF_SIMPLE)
        self._calls += 1
        with nogil:
            status = aur_disk_replace(self._disk, text, view.buf, <size_t>view.len, &error)
        self._calls -= 1
        PyBuffer_Release(&view)
        check(status, &error)

    def remove(self, str name not None):
        """Removes a file, durably.

        Raises
        ------
        StorageIOError
            If the system refuses, or there is no such file.
        """
        cdef aur_error error
        cdef aur_status status
        require(self)
        encoded = os.fsencode(name)
        cdef const char *text = encoded
        error_clear(&error)
        self._calls += 1
        with nogil:
            status = aur_disk_remove(self._disk, text, &error)
        self._calls -= 1
        if check(status, &error) == AUR_NOT_FOUND:
            raise StorageIOError(errno.ENOENT, "there is no such file", f"{self.path}/{name}")

    def close(self):
        """Gives the directory up; segments opened on it keep it. Idempotent."""
        if self._closed or forked(self):
            return
        self._closed = True
        wait_idle(self)
        aur_disk_close(self._disk)
        self._disk = NULL

    # ---- a faulty disk only ----

    def set_rates(self, *, read_error_ppm=0, write_error_ppm=0, sync_error_ppm=0, flip_read_ppm=0,
                  flip_write_ppm=0, misdirect_ppm=0, lost_write_ppm=0):
        """Sets how often each fault happens, in parts per million of the operations."""
        cdef aur_fault_rates rates
        require_faulty(self)
        rates.read_error_ppm = read_error_ppm
        rates.write_error_ppm = write_error_ppm
        rates.sync_error_ppm = sync_error_ppm
        rates.flip_read_ppm = flip_read_ppm
        rates.flip_write_ppm = flip_write_ppm
        rates.misdirect_ppm = misdirect_ppm
        rates.lost_write_ppm = lost_write_ppm
        aur_faulty_set_rates(self._disk, &rates)

    def set_space(self, remaining):
        """Lets writes fail as on a full disk after `remaining` more bytes; None lifts it."""
        require_faulty(self)
        aur_faulty_set_space(self._disk, <uint64_t>-1 if remaining is None else <uint64_t>remaining)

    def set_dead(self, bint dead):
        """Fails every operation while `dead`."""
        require_faulty(self)
        aur_faulty_set_dead(self._disk, dead)

    def crash_after(self, operations):
        """Crashes inside the operation after so many more that change something; None disarms."""
        require_faulty(self)
        aur_faulty_crash_after(
            self._disk, <uint64_t>-1 if operations is None else <uint64_t>operations
        )

    def crash(self):
        """Power cut: keeps, loses or tears each write that was not durable."""
        require_faulty(self)
        aur_faulty_crash(self._disk)

    def recover(self):
        """Makes a crashed disk usable again, for handles that are opened from now on."""
        require_faulty(self)
        aur_faulty_recover(self._disk)

    def flip(self, str name not None):
        """Flips one bit at rest in a file. False when the file is missing or empty."""
        cdef aur_error error
        require_faulty(self)
        error_clear(&error)
        encoded = os.fsencode(name)
        return check(aur_faulty_flip(self._disk, encoded), &error) != AUR_NOT_FOUND

    def counts(self):
        """Operations and faults so far."""
        cdef aur_fault_counts counts
        require_faulty(self)
        aur_faulty_counts(self._disk, &counts)
        return FaultCounts(counts.reads, counts.writes, counts.syncs, counts.faults)
