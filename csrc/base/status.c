#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_CASE(name, value, text)                                                               \
    case name:                                                                                     \
        return text;

const char *aur_status_text(aur_status status) {
    switch (status) {
        AUR_OUTCOMES(TEXT_CASE)
        AUR_ERRORS(TEXT_CASE)
    }
    return "unknown status";
}

void aur_error_clear(aur_error *error) {
    if (error == NULL) {
        return;
    }
    memset(error, 0, sizeof *error);
    error->status = AUR_OK;
    error->group = -1;
    error->copy = -1;
    error->offset = UINT64_MAX;
    error->lsn = UINT64_MAX;
}

aur_status aur_fail(aur_error *error, aur_status status, const char *message, ...) {
    if (error != NULL) {
        va_list arguments;
        error->status = status;
        va_start(arguments, message);
        (void)vsnprintf(error->message, sizeof error->message, message, arguments);
        va_end(arguments);
    }
    return status;
}

static aur_status status_of(int system_errno) {
    switch (system_errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return AUR_ERR_FULL;
    case EMFILE:
    case ENFILE:
        return AUR_ERR_MEMORY;
    default:
        return AUR_ERR_IO;
    }
}

aur_status aur_fail_errno(aur_error *error, int system_errno, const char *file,
                          const char *operation) {
    if (error != NULL) {
        error->system_errno = system_errno;
        (void)snprintf(error->file, sizeof error->file, "%s", file);
    }
    return aur_fail(error, status_of(system_errno), "%s failed: errno %d", operation, system_errno);
}

void aur_error_locate(aur_error *error, int32_t group, int32_t copy, const char *file,
                      uint64_t offset, uint64_t lsn) {
    if (error == NULL) {
        return;
    }
    error->group = group;
    error->copy = copy;
    if (file != NULL) {
        (void)snprintf(error->file, sizeof error->file, "%s", file);
    }
    error->offset = offset;
    error->lsn = lsn;
}
