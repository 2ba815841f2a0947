/*
 * What the files of the buffer pool share.
 *
 *   buffer.c            the whole: create, destroy, budget, counts
 *   buffer_memory.c     slots of page memory and their versions
 *   buffer_partition.c  hash table, version chains, the clock's ring; all under the partition lock
 *   buffer_evict.c      the clock, and finding a slot for a new version
 *   buffer_pin.c        pins, and reading on a miss
 *   buffer_write.c      what the writer does
 *   buffer_rewind.c     when history goes on from an older moment
 *
 * Lock order: a partition, then the memory or the rewinds. None is held while the source reads or
 * hardens.
 */
#ifndef AUR_BUFFER_BUFFER_PRIVATE_H
#define AUR_BUFFER_BUFFER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "buffer/buffer.h"

enum {
    AURI_PARTITION_BITS = 6,
    AURI_PARTITIONS = 1 << AURI_PARTITION_BITS,
};

/* In aur_version.pins beside the count: the version takes no pins. Its slot is free or being
 * filled, or its owner is about to change it, or nobody can find it any more and whoever takes the
 * last pin away frees it. */
#define AURI_DETACHED (UINT32_C(1) << 31)

/*
 * A version and the slot of page memory that belongs to it for good: the struct stays what it is as
 * long as the pool, so that a stale hint leads to some version, never to freed memory. Linked ones
 * change under the partition lock, except for the pin count. What a pin proves by (the first three)
 * stands in one cache line with it; the first two change only while the version takes no pins.
 */
struct aur_version {
    _Alignas(64) aur_page_id page_id;
    aur_lsn first_lsn;
    _Atomic aur_lsn next_lsn; /* read points from here on do not see it; AUR_LSN_MAX: it is head */
    atomic_uint pins;
    atomic_bool used; /* second chance: pinned since the clock's hand came by */
    uint8_t *page;
    aur_version *older;       /* chain of the page; free slots: the next free one */
    aur_version *bucket_next; /* next page in the bucket; only in the newest version of a page */
    aur_version *ring_next;
    aur_version *ring_previous;
};

/*
 * Where a page was found last: a table of these, by page id, saves most pins the partition lock and
 * the walk through bucket and chain. A hint may be wrong in any way. What it leads to is pinned,
 * which fails if the version takes no pins, and then proved to be the right one. The address of the
 * page stands beside it so that the page's first lines can be asked for at once.
 */
typedef struct auri_hint {
    _Atomic(aur_version *) version;
    _Atomic(const uint8_t *) page;
} auri_hint;

/* A page that some thread is reading from the source. Lives on that thread's stack. */
typedef struct auri_load {
    aur_page_id page_id;
    aur_lsn read_point; /* what the source is asked for */
    bool is_head;       /* at that point the page is as at the head, but for rewinds since */
    uint64_t generation;
    struct auri_load *next;
} auri_load;

typedef struct auri_partition {
    _Alignas(64) pthread_mutex_t lock;
    aur_version **buckets;
    size_t bucket_count; /* a power of two */
    size_t pages;
    size_t versions;
    aur_version *hand; /* the clock's ring of all versions; the hand is its oldest end */
    auri_load *loads;
    uint64_t generation; /* counts restarts: what was read before one is thrown away */
    uint64_t hits;
    atomic_uint_least64_t hinted; /* hits by hints; counted without the lock, so some get lost */
    uint64_t misses;
    uint64_t evictions;
    pthread_cond_t loaded;
} auri_partition;

struct auri_slab;

/* Page memory. A slot is resident from its first use until it is given back to the system. */
typedef struct auri_memory {
    _Alignas(64) pthread_mutex_t lock;
    uint32_t page_bytes;
    uint64_t budget_bytes;
    uint64_t slots_max; /* resident slots that the budget allows */
    uint64_t resident;
    atomic_bool is_over; /* resident > slots_max; read without the lock */
    uint64_t in_use;
    aur_version *warm;       /* free and resident */
    aur_version *cold;       /* free, memory given back */
    struct auri_slab *slabs; /* newest first; only this one may have slots that were never used */
} auri_memory;

/* Versions of which the writer has to think again. A ring; when it cannot grow, entries are dropped
 * and the clock finds the versions in its own time. */
typedef struct auri_reminder {
    aur_page_id page_id;
    aur_lsn first_lsn;
    aur_lsn limit; /* superseded: next_lsn; streamed: page LSN */
} auri_reminder;

typedef struct auri_queue {
    auri_reminder *entries;
    size_t capacity; /* 0 or a power of two */
    size_t head;
    size_t count;
} auri_queue;

/* Where the backtracks of the volume were made: only misses look at it. */
typedef struct auri_rewinds {
    pthread_mutex_t lock;
    aur_lsn *ats; /* ascending */
    size_t count;
    size_t capacity;
} auri_rewinds;

struct aur_buffer {
    auri_partition partitions[AURI_PARTITIONS];
    auri_memory memory;
    atomic_uint_least64_t loads;
    atomic_uint evict_cursor; /* partition where the next search for a victim begins */
    auri_hint *hints;         /* a power of two of them, for the budget that the pool began with */
    uint64_t hint_mask;
    uint32_t page_bytes;
    aur_page_source source;
    auri_rewinds rewinds;
    auri_queue fresh;    /* writer's: superseded since the last publish */
    auri_queue retained; /* writer's: superseded earlier, kept for a read point */
    auri_queue streamed; /* writer's: to be dropped when hardened */
};

/* The low bits of the page id choose the hint: ids come in runs, whose hints then lie together and
 * apart from each other. */
static inline auri_hint *auri_hint_of(const aur_buffer *buffer, aur_page_id page_id) {
    return &buffer->hints[page_id & buffer->hint_mask];
}

/* ---- memory ---- */

aur_status auri_memory_open(auri_memory *memory, uint32_t page_bytes,
                            uint64_t budget_bytes) AUR_CHECKED;
void auri_memory_close(auri_memory *memory);
/* A slot, or NULL when the budget is used up (`overshoot`: when the system has no more). */
aur_version *auri_memory_take(auri_memory *memory, bool overshoot);
/* Takes a slot back; beyond the budget its memory goes to the system. */
void auri_memory_give(auri_memory *memory, aur_version *version);
/* Sets the budget and gives free slots beyond it to the system. */
void auri_memory_set_budget(auri_memory *memory, uint64_t budget_bytes);
/* True iff more slots are resident than the budget allows; may be a moment late. */
bool auri_memory_is_over(const auri_memory *memory);
/* Bytes that one version costs: page, struct aur_version, share of the hash table. */
uint64_t auri_memory_slot_cost(const auri_memory *memory);

/* Whether the budget is such that memory is taken in huge pages. Lock held, or nobody else has the
 * memory yet. */
bool auri_memory_is_huge(const auri_memory *memory);

/* ---- partitions; all but open, close and of are called with the lock held ---- */

aur_status auri_partition_open(auri_partition *partition) AUR_CHECKED;
void auri_partition_close(auri_partition *partition);
auri_partition *auri_partition_of(aur_buffer *buffer, aur_page_id page_id);

/* The newest version of a page, or NULL. */
aur_version *auri_partition_newest(const auri_partition *partition, aur_page_id page_id);
/* The version that a read point sees, or NULL. */
aur_version *auri_partition_find(const auri_partition *partition, aur_page_id page_id,
                                 aur_lsn read_point);
/* Puts a version below `newer` in the chain of its page (NULL: on top) and into the ring. It takes
 * pins from then on. */
void auri_partition_link(auri_partition *partition, aur_version *version, aur_version *newer);
void auri_partition_unlink(auri_partition *partition, aur_version *version);
/* Waits, with the lock given up meanwhile, until nobody reads the page from the source. False when
 * nobody did. */
bool auri_partition_wait_loaded(auri_partition *partition, aur_page_id page_id);
/* Calls `visit` with the head of every page whose head is there. */
void auri_partition_each_head(auri_partition *partition,
                              void (*visit)(void *context, aur_version *head), void *context);
/* Cuts off every version newer than `lsn`, gives what is not pinned to `memory`, and makes what is
 * valid at `lsn` the head. */
void auri_partition_discard_above(auri_partition *partition, aur_lsn lsn, auri_memory *memory);

/* Unlinks a version and gives its slot back, now or with its last pin. */
void auri_partition_drop(auri_partition *partition, aur_version *version, auri_memory *memory);

static inline void auri_version_pin(aur_version *version) {
    /* The partition lock orders this against eviction; the count itself needs no order. */
    (void)atomic_fetch_add_explicit(&version->pins, 1, memory_order_relaxed);
}

/* Pins without the lock; false when the version takes no pins. Acquire: what made it pinnable comes
 * before what the caller looks at. */
static inline bool auri_version_try_pin(aur_version *version) {
    uint32_t pins = atomic_load_explicit(&version->pins, memory_order_relaxed);
    do {
        if ((pins & AURI_DETACHED) != 0) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&version->pins, &pins, pins + 1,
                                                    memory_order_acquire, memory_order_relaxed));
    return true;
}

/* Lets it take no more pins if it has exactly `own` of them, and it does not refuse them already.
 * Acquire: what the last holder did with the page comes before what the caller does with it. */
static inline bool auri_version_close(aur_version *version, uint32_t own) {
    return atomic_compare_exchange_strong_explicit(&version->pins, &own, own | AURI_DETACHED,
                                                   memory_order_acquire, memory_order_relaxed);
}

/* Lets it take pins. Release: pairs with try_pin. */
static inline void auri_version_open(aur_version *version) {
    (void)atomic_fetch_and_explicit(&version->pins, ~AURI_DETACHED, memory_order_release);
}

/* True iff unpinned. */
static inline bool auri_version_is_idle(const aur_version *version) {
    return atomic_load_explicit(&version->pins, memory_order_acquire) == 0;
}

/* ---- finding room ---- */

/* Takes some version out of the pool and returns its slot; NULL when none may go. *blocked_out
 * tells that B1 kept some unpinned version back. */
aur_version *auri_buffer_evict(aur_buffer *buffer, bool *blocked_out);
/* A slot for a new version with one pin and every link empty. A reader gets one in any case but
 * AUR_ERR_MEMORY; `is_writer` hardens first when that helps. No lock held. */
aur_status auri_buffer_take(aur_buffer *buffer, bool is_writer, aur_version **version_out,
                            aur_error *error) AUR_CHECKED;

/* ---- rewinds ---- */

/* What a page that was read at `point` is valid for: not before *first_out, and up to `point` only
 * unless *is_newest_out, because history has gone on from an older moment since. */
void auri_rewinds_around(auri_rewinds *rewinds, aur_lsn point, aur_lsn *first_out,
                         bool *is_newest_out);
/* Where the newest backtrack was made: no head is valid up to there. 0: there is none. */
aur_lsn auri_rewinds_newest(auri_rewinds *rewinds);

/* ---- reminders ---- */

void auri_queue_push(auri_queue *queue, const auri_reminder *reminder);
/* Precondition: count > 0. */
auri_reminder auri_queue_pop(auri_queue *queue);
void auri_queue_clear(auri_queue *queue);

#endif
