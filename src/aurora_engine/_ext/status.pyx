"""Statuses of the C core as exceptions: each AUR_ERR_* has exactly one class."""

import os

from libc.stdint cimport uint64_t

from aurora_engine._ext.caurora cimport (
    AUR_ERR_CLOSED,
    AUR_ERR_CONFLICT,
    AUR_ERR_CORRUPT,
    AUR_ERR_FENCED,
    AUR_ERR_FULL,
    AUR_ERR_INVALID,
    AUR_ERR_IO,
    AUR_ERR_LOCKED,
    AUR_ERR_MEMORY,
    AUR_ERR_QUORUM,
    AUR_ERR_READ_ONLY,
    AUR_ERR_SNAPSHOT,
    AUR_ERR_VERSION,
    AUR_NO_TABLE,
    aur_status_text,
)

from aurora_engine import errors
from aurora_engine._ext.records import NoTable

cdef uint64_t UNKNOWN = <uint64_t>-1

STATUSES = {
    "AUR_ERR_CORRUPT": <int>AUR_ERR_CORRUPT,
    "AUR_ERR_VERSION": <int>AUR_ERR_VERSION,
    "AUR_ERR_IO": <int>AUR_ERR_IO,
    "AUR_ERR_FULL": <int>AUR_ERR_FULL,
    "AUR_ERR_READ_ONLY": <int>AUR_ERR_READ_ONLY,
    "AUR_ERR_QUORUM": <int>AUR_ERR_QUORUM,
    "AUR_ERR_FENCED": <int>AUR_ERR_FENCED,
    "AUR_ERR_CONFLICT": <int>AUR_ERR_CONFLICT,
    "AUR_ERR_SNAPSHOT": <int>AUR_ERR_SNAPSHOT,
    "AUR_ERR_LOCKED": <int>AUR_ERR_LOCKED,
    "AUR_ERR_CLOSED": <int>AUR_ERR_CLOSED,
    "AUR_ERR_INVALID": <int>AUR_ERR_INVALID,
    "AUR_ERR_MEMORY": <int>AUR_ERR_MEMORY,
}

# Walked from the classes, so that a class names its status in one place only.
CLASSES = {
    STATUSES[status_class.status_name]: status_class
    for status_class in errors.AuroraError.__subclasses__()
    if status_class.status_name
}
CLASSES[STATUSES["AUR_ERR_INVALID"]] = ValueError
CLASSES[STATUSES["AUR_ERR_MEMORY"]] = MemoryError


def status_text(int status):
    """The C core's own words for a status."""
    return aur_status_text(<aur_status>status).decode("ascii")


def exception_for(
    int status, str message, *, errno=0, group=None, copy=None, file=None, offset=None, lsn=None
):
    """The exception that stands for a failed status.

    Parameters
    ----------
    status : int
        A negative status of the C core.
    message : str
        What was tried and what went wrong; empty takes the core's words for the status.
    errno : int
        The operating system's error number, or 0.
    group, copy, file, offset, lsn
        The place, as far as it is known.
    """
    text = message or status_text(status)
    place = _place(group, copy, file, offset, lsn)
    cls = NoTable if status == AUR_NO_TABLE else CLASSES.get(status)
    if cls is MemoryError and errno:
        cls = errors.StorageIOError  # what there is too little of is the system's
    if cls is None:
        raise SystemError(f"status {status} of the C core has no exception: {text}")
    if place:
        text = f"{text} [{place}]"
    if not issubclass(cls, errors.AuroraError):
        return cls(text)
    if issubclass(cls, OSError) and errno:
        exception = cls(errno, f"{text}: {os.strerror(errno)}")
    else:
        exception = cls(text)
    exception.group = group
    exception.copy = copy
    exception.file = file
    exception.offset = offset
    exception.lsn = lsn
    return exception


def _place(group, copy, file, offset, lsn):
    parts = []
    if group is not None:
        parts.append(f"group {group}")
    if copy is not None:
        parts.append(f"copy {copy}")
    if file is not None:
        parts.append(f"file {file}")
    if offset is not None:
        parts.append(f"offset {offset}")
    if lsn is not None:
        parts.append(f"LSN {lsn}")
    return ", ".join(parts)


cdef object exception_of(aur_status status, const aur_error *error):
    return exception_for(
        status,
        (<bytes><char *>error.message).decode("utf-8", "replace"),
        errno=error.system_errno,
        group=None if error.group < 0 else error.group,
        copy=None if error.copy < 0 else error.copy,
        file=os.fsdecode(<bytes><char *>error.file) if error.file[0] else None,
        offset=None if error.offset == UNKNOWN else error.offset,
        lsn=None if error.lsn == UNKNOWN else error.lsn,
    )


cdef object stored_exception(const aur_error *error):
    return None if error.status == 0 else exception_of(error.status, error)


cdef int raise_status(aur_status status, const aur_error *error) except -1 nogil:
    with gil:
        raise exception_of(status, error)
