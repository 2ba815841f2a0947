/*
 * History is a log plus a list of rewinds (blueprint, idea 4). A rewind (at = Y, to = X) says:
 * after Y, history goes on from X. visible(L), the set of LSNs that a read at L sees: take the
 * newest rewind with at < L; then visible(L) = (at, L] + visible(to); with no rewind it is [0, L].
 */
#ifndef AUR_FORMAT_HISTORY_H
#define AUR_FORMAT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

#include <aurora/rewind.h>

#include "format/types.h"

/* A commit: where it is, and when it was made, in microseconds since 1970. */
typedef struct aur_commit_mark {
    aur_lsn lsn;
    uint64_t time_us;
} aur_commit_mark;

/* True iff `lsn` is in visible(read_point). `rewinds` are in the order they were made, which is the
 * order of `at`. */
bool aur_history_visible(const aur_rewind *rewinds, size_t count, aur_lsn read_point, aur_lsn lsn);

/* True iff `lsn` was dropped by a truncation rewind of an epoch above `written_in`, the epoch that
 * wrote it. */
bool aur_history_truncated(const aur_rewind *rewinds, size_t count, aur_lsn lsn,
                           aur_epoch written_in);

#endif
