/*
 * Which commits have changed one database, so that two views of it can be compared: their versions
 * are equal if and only if they see the same commits to it. A commit is named by the head before
 * it, because that is known before anybody sees it: it is seen by views above.
 *
 * Thread rule: any thread. Its lock is taken inside.
 */
#ifndef AUR_SQL_VERSIONS_H
#define AUR_SQL_VERSIONS_H

#include <pthread.h>

#include "transaction/pages.h"

typedef struct auri_version {
    aur_era era;
    aur_lsn commit; /* 0: none in this era. AURI_VERSION_UNKNOWN | read point: long ago */
} auri_version;

#define AURI_VERSION_UNKNOWN (UINT64_C(1) << 63)

enum { AURI_VERSIONS_KEPT = 128 };

typedef struct auri_versions {
    pthread_mutex_t lock;
    aur_era era;
    uint64_t count; /* in this era; the newest ones are kept */
    aur_lsn commits[AURI_VERSIONS_KEPT];
} auri_versions;

static inline bool auri_version_is(auri_version left, auri_version right) {
    return aur_era_is(left.era, right.era) && left.commit == right.commit;
}

void auri_versions_init(auri_versions *versions);
void auri_versions_destroy(auri_versions *versions);

/* What a view of an era, at a read point, sees. */
auri_version auri_versions_at(auri_versions *versions, aur_era era, aur_lsn read_point);
/* The newest one there is; it may not be visible yet. */
auri_version auri_versions_newest(auri_versions *versions, aur_era era);
/* Before the commit becomes visible, in the order of commits. */
void auri_versions_add(auri_versions *versions, auri_version version);

#endif
