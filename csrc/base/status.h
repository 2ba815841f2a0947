/* Filling an aur_error: one call at the place of failure, context added on the way up. */
#ifndef AUR_BASE_STATUS_H
#define AUR_BASE_STATUS_H

#include <aurora/errors.h>

/* Resets to "no error, everything unknown". NULL is ignored. */
void aur_error_clear(aur_error *error);

/* Sets status and message (printf style), leaving location fields that were already known. Returns
 * `status`, so that a failing function ends in `return aur_fail(...)`. `error` may be NULL. */
aur_status aur_fail(aur_error *error, aur_status status, const char *message, ...)
    __attribute__((format(printf, 3, 4)));

/* As aur_fail with AUR_ERR_IO, naming `file` and the errno; with AUR_ERR_FULL for ENOSPC, EDQUOT
 * and EFBIG. A lack of file descriptors passes and has done nothing, like one of memory, whose
 * status it gets. */
aur_status aur_fail_errno(aur_error *error, int system_errno, const char *file,
                          const char *operation);

/* Adds the segment's place to an error that a lower layer filled. */
void aur_error_locate(aur_error *error, int32_t group, int32_t copy, const char *file,
                      uint64_t offset, uint64_t lsn);

#endif
