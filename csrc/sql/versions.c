#include "sql/versions.h"

#include <string.h>

void auri_versions_init(auri_versions *versions) {
    memset(versions, 0, sizeof *versions);
    (void)pthread_mutex_init(&versions->lock, NULL);
}

void auri_versions_destroy(auri_versions *versions) {
    (void)pthread_mutex_destroy(&versions->lock);
}

/* The newest commit below a read point, among those of the era that is remembered. Locked. */
static aur_lsn newest_below(const auri_versions *versions, aur_lsn read_point) {
    const uint64_t kept =
        versions->count < AURI_VERSIONS_KEPT ? versions->count : AURI_VERSIONS_KEPT;
    for (uint64_t back = 1; back <= kept; back++) {
        const aur_lsn commit = versions->commits[(versions->count - back) % AURI_VERSIONS_KEPT];
        if (commit < read_point) {
            return commit;
        }
    }
    return kept == versions->count ? 0 : AURI_VERSION_UNKNOWN | read_point;
}

auri_version auri_versions_at(auri_versions *versions, aur_era era, aur_lsn read_point) {
    auri_version version = {era, 0};
    (void)pthread_mutex_lock(&versions->lock);
    if (aur_era_is(versions->era, era)) {
        version.commit = newest_below(versions, read_point);
    }
    (void)pthread_mutex_unlock(&versions->lock);
    return version;
}

auri_version auri_versions_newest(auri_versions *versions, aur_era era) {
    return auri_versions_at(versions, era, AUR_LSN_MAX);
}

void auri_versions_add(auri_versions *versions, auri_version version) {
    (void)pthread_mutex_lock(&versions->lock);
    if (!aur_era_is(versions->era, version.era)) {
        versions->era = version.era;
        versions->count = 0;
    }
    versions->commits[versions->count++ % AURI_VERSIONS_KEPT] = version.commit;
    (void)pthread_mutex_unlock(&versions->lock);
}
