# The one gate through which statuses of the C core become exceptions.

from aurora_engine._ext.caurora cimport AUR_NO_TABLE, aur_error, aur_status

# Resets an error before it is passed to C: "no error, everything unknown".
cdef inline void error_clear(aur_error *error) noexcept nogil:
    error.status = <aur_status>0
    error.system_errno = 0
    error.group = -1
    error.copy = -1
    error.offset = <unsigned long long>-1
    error.lsn = <unsigned long long>-1
    error.file[0] = 0
    error.message[0] = 0

# Raises the exception of a failed status; takes the GIL.
cdef int raise_status(aur_status status, const aur_error *error) except -1 nogil

# The exception of a failed status, not raised.
cdef object exception_of(aur_status status, const aur_error *error)

# None when the error holds nothing.
cdef object stored_exception(const aur_error *error)

# Returns an outcome (0 or above), raises for an error. A table that is gone is an outcome to the
# core and a KeyError here, wherever it is met.
cdef inline int check(aur_status status, const aur_error *error) except -1 nogil:
    if status < 0 or status == AUR_NO_TABLE:
        return raise_status(status, error)
    return status
