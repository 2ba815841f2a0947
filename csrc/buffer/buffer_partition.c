/* One partition of the pool: a hash table of pages, the version chain of each, and the clock's ring
 * of all versions. */
#include <stdlib.h>

#include "base/assert.h"
#include "buffer/buffer_private.h"

enum { BUCKETS_AT_FIRST = 16 };

/* Fibonacci hashing: page ids come in runs, and the high bits of the product spread them. */
static uint64_t hash_of(aur_page_id page_id) { return page_id * UINT64_C(0x9e3779b97f4a7c15); }

auri_partition *auri_partition_of(aur_buffer *buffer, aur_page_id page_id) {
    return &buffer->partitions[hash_of(page_id) >> (64 - AURI_PARTITION_BITS)];
}

/* Bits below those that chose the partition. */
static size_t bucket_of(aur_page_id page_id, size_t bucket_count) {
    return (size_t)(hash_of(page_id) >> 16) & (bucket_count - 1);
}

aur_status auri_partition_open(auri_partition *partition) {
    partition->buckets = calloc(BUCKETS_AT_FIRST, sizeof *partition->buckets);
    if (partition->buckets == NULL) {
        return AUR_ERR_MEMORY;
    }
    partition->bucket_count = BUCKETS_AT_FIRST;
    if (pthread_mutex_init(&partition->lock, NULL) != 0) {
        free(partition->buckets);
        return AUR_ERR_MEMORY;
    }
    if (pthread_cond_init(&partition->loaded, NULL) != 0) {
        (void)pthread_mutex_destroy(&partition->lock);
        free(partition->buckets);
        return AUR_ERR_MEMORY;
    }
    return AUR_OK;
}

void auri_partition_close(auri_partition *partition) {
    free(partition->buckets);
    (void)pthread_cond_destroy(&partition->loaded);
    (void)pthread_mutex_destroy(&partition->lock);
}

/* Where the newest version of the page hangs; where it would hang if the page is not there. */
static aur_version **place_of(const auri_partition *partition, aur_page_id page_id) {
    aur_version **place = &partition->buckets[bucket_of(page_id, partition->bucket_count)];
    while (*place != NULL && (*place)->page_id != page_id) {
        place = &(*place)->bucket_next;
    }
    return place;
}

aur_version *auri_partition_newest(const auri_partition *partition, aur_page_id page_id) {
    return *place_of(partition, page_id);
}

aur_version *auri_partition_find(const auri_partition *partition, aur_page_id page_id,
                                 aur_lsn read_point) {
    aur_version *version = *place_of(partition, page_id);
    while (version != NULL && version->first_lsn > read_point) {
        version = version->older;
    }
    /* AUR_LSN_MAX as read point asks for the head, whose next_lsn is AUR_LSN_MAX. */
    if (version == NULL || (read_point >= version->next_lsn && version->next_lsn != AUR_LSN_MAX)) {
        return NULL;
    }
    return version;
}

/* Doubles the table. When there is no memory for it the chains just get longer. */
static void grow(auri_partition *partition) {
    const size_t wanted = partition->bucket_count * 2;
    aur_version **buckets = calloc(wanted, sizeof *buckets);
    if (buckets == NULL) {
        return;
    }
    for (size_t at = 0; at < partition->bucket_count; at++) {
        aur_version *newest = partition->buckets[at];
        while (newest != NULL) {
            aur_version *following = newest->bucket_next;
            aur_version **place = &buckets[bucket_of(newest->page_id, wanted)];
            newest->bucket_next = *place;
            *place = newest;
            newest = following;
        }
    }
    free(partition->buckets);
    partition->buckets = buckets;
    partition->bucket_count = wanted;
}

/* Joins the ring at the end that the hand reaches last. */
static void ring_join(auri_partition *partition, aur_version *version) {
    aur_version *hand = partition->hand;
    if (hand == NULL) {
        version->ring_next = version;
        version->ring_previous = version;
        partition->hand = version;
        return;
    }
    version->ring_next = hand;
    version->ring_previous = hand->ring_previous;
    hand->ring_previous->ring_next = version;
    hand->ring_previous = version;
}

static void ring_leave(auri_partition *partition, aur_version *version) {
    if (version->ring_next == version) {
        partition->hand = NULL;
        return;
    }
    version->ring_previous->ring_next = version->ring_next;
    version->ring_next->ring_previous = version->ring_previous;
    if (partition->hand == version) {
        partition->hand = version->ring_next;
    }
}

void auri_partition_link(auri_partition *partition, aur_version *version, aur_version *newer) {
    if (newer != NULL) {
        version->older = newer->older;
        version->bucket_next = NULL;
        newer->older = version;
    } else {
        aur_version **place = place_of(partition, version->page_id);
        version->older = *place;
        version->bucket_next = *place != NULL ? (*place)->bucket_next : NULL;
        partition->pages += *place == NULL;
        *place = version;
    }
    ring_join(partition, version);
    auri_version_open(version);
    partition->versions++;
    if (2 * partition->pages > partition->bucket_count) {
        grow(partition);
    }
}

/* Takes the newest version of a page out of its bucket; the next older one takes its place. */
static void pop_newest(auri_partition *partition, aur_version **place) {
    aur_version *version = *place;
    if (version->older != NULL) {
        version->older->bucket_next = version->bucket_next;
        *place = version->older;
    } else {
        *place = version->bucket_next;
        partition->pages--;
    }
    ring_leave(partition, version);
    partition->versions--;
}

void auri_partition_unlink(auri_partition *partition, aur_version *version) {
    aur_version **place = place_of(partition, version->page_id);
    AUR_ASSERT(*place != NULL);
    if (*place == version) {
        pop_newest(partition, place);
        return;
    }
    aur_version *newer = *place;
    while (newer->older != version) {
        newer = newer->older;
        AUR_ASSERT(newer != NULL);
    }
    newer->older = version->older;
    ring_leave(partition, version);
    partition->versions--;
}

static bool is_loading(const auri_partition *partition, aur_page_id page_id) {
    const auri_load *load = partition->loads;
    while (load != NULL && load->page_id != page_id) {
        load = load->next;
    }
    return load != NULL;
}

bool auri_partition_wait_loaded(auri_partition *partition, aur_page_id page_id) {
    bool waited = false;
    while (is_loading(partition, page_id)) {
        (void)pthread_cond_wait(&partition->loaded, &partition->lock);
        waited = true;
    }
    return waited;
}

/* Frees an unlinked version now or, when it is pinned, with its last pin. */
static void release(aur_version *version, auri_memory *memory) {
    /* Acquire as in auri_version_is_idle. Exactly one thread sees the flag together with no pin:
     * this one, or the one whose unpin ends the last pin. */
    const uint32_t pins =
        atomic_fetch_or_explicit(&version->pins, AURI_DETACHED, memory_order_acq_rel);
    if (pins == 0) {
        auri_memory_give(memory, version);
    }
}

void auri_partition_drop(auri_partition *partition, aur_version *version, auri_memory *memory) {
    auri_partition_unlink(partition, version);
    release(version, memory);
}

void auri_partition_each_head(auri_partition *partition,
                              void (*visit)(void *context, aur_version *head), void *context) {
    for (size_t at = 0; at < partition->bucket_count; at++) {
        aur_version *newest = partition->buckets[at];
        for (; newest != NULL; newest = newest->bucket_next) {
            if (newest->next_lsn == AUR_LSN_MAX) {
                visit(context, newest);
            }
        }
    }
}

void auri_partition_discard_above(auri_partition *partition, aur_lsn lsn, auri_memory *memory) {
    for (size_t at = 0; at < partition->bucket_count; at++) {
        aur_version **place = &partition->buckets[at];
        while (*place != NULL) {
            aur_version *newest = *place;
            if (newest->first_lsn > lsn) {
                pop_newest(partition, place);
                release(newest, memory);
                continue; /* an older version, or the next page, is in its place now */
            }
            if (newest->next_lsn > lsn) {
                newest->next_lsn = AUR_LSN_MAX;
            }
            place = &newest->bucket_next;
        }
    }
}
