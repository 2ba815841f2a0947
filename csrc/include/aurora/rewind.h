/* A rewind: after `at` history goes on from `to`. What that means: docs/internals/history.md. */
#ifndef AURORA_REWIND_H
#define AURORA_REWIND_H

#include <stdint.h>

enum aur_rewind_kind {
    AUR_REWIND_TRUNCATION = 1, /* by recovery: the records in (to, at] were never acknowledged */
    AUR_REWIND_BACKTRACK = 2,  /* asked for: the records in (to, at] are kept while retained */
};

enum { AUR_REWIND_WHO_BYTES = 48 };

typedef struct aur_rewind {
    uint64_t at;
    uint64_t to;
    uint64_t epoch;
    uint64_t time_us;      /* when it was made */
    uint64_t lost_commits; /* commits that a read at `at` saw and a read after it does not */
    uint32_t kind;         /* enum aur_rewind_kind */
    char who[AUR_REWIND_WHO_BYTES]; /* UTF-8, padded with zeros; empty for a truncation */
} aur_rewind;

#endif
