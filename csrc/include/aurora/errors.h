/*
 * The one table of statuses. Errors are negative, in ranges by cause, never renumbered; each maps
 * to exactly one Python exception (src/aurora_engine/errors.py). Outcomes are positive: they steer
 * control flow between layers and never reach a user as an exception.
 */
#ifndef AURORA_ERRORS_H
#define AURORA_ERRORS_H

#include <stdint.h>

#include <aurora/export.h>

/* X(name, value, text) */
#define AUR_ERRORS(X)                                                                              \
    X(AUR_ERR_CORRUPT, -7101, "data failed its checksum or breaks its format")                     \
    X(AUR_ERR_VERSION, -7102, "format version not supported by this release")                      \
    X(AUR_ERR_IO, -7201, "the operating system reported an input/output error")                    \
    X(AUR_ERR_FULL, -7202, "no space left for the volume")                                         \
    X(AUR_ERR_READ_ONLY, -7203, "write attempted through a read-only handle")                      \
    X(AUR_ERR_QUORUM, -7301, "too few copies are reachable")                                       \
    X(AUR_ERR_FENCED, -7302, "a newer writer has taken over the volume")                           \
    X(AUR_ERR_CONFLICT, -7401, "a concurrent transaction changed what this one read")              \
    X(AUR_ERR_SNAPSHOT, -7402, "the requested moment is no longer retained")                       \
    X(AUR_ERR_LOCKED, -7403, "another process holds the volume")                                   \
    X(AUR_ERR_CLOSED, -7501, "the handle is closed")                                               \
    X(AUR_ERR_INVALID, -7502, "argument outside its allowed range")                                \
    X(AUR_ERR_MEMORY, -7503, "out of memory")

/* X(name, value, text) */
#define AUR_OUTCOMES(X)                                                                            \
    X(AUR_OK, 0, "ok")                                                                             \
    X(AUR_NOT_FOUND, 1, "nothing there")                                                           \
    X(AUR_WOULD_BLOCK, 2, "needs I/O or a wait; call again allowing it")                           \
    X(AUR_TIMEOUT, 3, "the time slice is over")                                                    \
    X(AUR_GAP, 4, "the frame does not link to the segment's last record")                          \
    X(AUR_NEEDS_GROUPS, 5, "the volume must grow by protection groups first")                      \
    X(AUR_NO_TABLE, 6, "no such table")                                                            \
    X(AUR_INTERRUPTED, 7, "the wait was called off")

#define AUR_DEFINE_STATUS(name, value, text) name = value,
typedef enum aur_status {
    AUR_OUTCOMES(AUR_DEFINE_STATUS) AUR_ERRORS(AUR_DEFINE_STATUS)
} aur_status;
#undef AUR_DEFINE_STATUS

enum { AUR_ERROR_TEXT_BYTES = 256 };

/*
 * Where and why a call failed. Filled by the failing layer when the caller passes one (NULL is
 * allowed everywhere). Plain data: no ownership. `group`/`copy` are -1, `offset`/`lsn` UINT64_MAX
 * where unknown; `system_errno` 0.
 */
typedef struct aur_error {
    aur_status status;
    int system_errno;
    int32_t group;
    int32_t copy;
    uint64_t offset;
    uint64_t lsn;
    char file[AUR_ERROR_TEXT_BYTES];
    char message[AUR_ERROR_TEXT_BYTES];
} aur_error;

/* Static text of a status; never NULL. */
AUR_API const char *aur_status_text(aur_status status);

#endif
