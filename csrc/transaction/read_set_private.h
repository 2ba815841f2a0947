/*
 * What a read-write transaction has read: single keys by a 64-bit hash of table and key, and ranges
 * of keys. Commit asks whether a key that somebody else committed since is among them. A hash that
 * collides makes a conflict that was none, and the transaction is run again: harmless and rare.
 *
 * Thread rule: the transaction's lock.
 */
#ifndef AUR_TRANSACTION_READ_SET_PRIVATE_H
#define AUR_TRANSACTION_READ_SET_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "transaction/arena_private.h"

/* How far up a range reaches. */
enum auri_range_end {
    AURI_RANGE_BELOW = 0,     /* keys below `high` */
    AURI_RANGE_UP_TO = 1,     /* `high` too */
    AURI_RANGE_UNBOUNDED = 2, /* every key from `low` on */
};

typedef struct auri_bound {
    uint8_t *key;
    uint32_t key_bytes;
    uint32_t capacity_bytes;
} auri_bound;

/* Keys of a table from `low` (included; the empty key is the lowest) up to an end. */
typedef struct auri_range {
    uint32_t table;
    enum auri_range_end end;
    auri_bound low;
    auri_bound high;
} auri_range;

typedef struct auri_read_set {
    uint64_t *hashes; /* open addressing; 0 is an empty place */
    size_t capacity;  /* 0 or a power of two */
    size_t count;
    auri_range *ranges;
    size_t range_count;
    size_t range_capacity;
    unsigned sorts; /* indexes of ranges hold until it changes */
} auri_read_set;

uint64_t auri_key_hash(uint32_t table, const uint8_t *key, size_t key_bytes);

aur_status auri_read_set_add(auri_read_set *set, uint64_t hash) AUR_CHECKED;

/* Adds a range and gives its index. It is empty at first: nothing lies below the empty key. */
aur_status auri_read_set_add_range(auri_read_set *set, uint32_t table,
                                   size_t *index_out) AUR_CHECKED;

/* Sets a bound to a copy of `key`; its memory comes from `arena`. */
aur_status auri_bound_set(auri_bound *bound, auri_arena *arena, const uint8_t *key,
                          size_t key_bytes) AUR_CHECKED;

static inline bool auri_read_set_is_empty(const auri_read_set *set) {
    return set->count == 0 && set->range_count == 0;
}

/* Sorts the ranges and joins those that overlap, so their indexes end. */
void auri_read_set_sort(auri_read_set *set);

/* Whether the set has the key. Precondition: sorted. */
bool auri_read_set_covers(const auri_read_set *set, uint64_t hash, uint32_t table,
                          const uint8_t *key, size_t key_bytes);

/* Empties it; memory beyond a small set is given back. The arena of the bounds is the caller's. */
void auri_read_set_clear(auri_read_set *set);
void auri_read_set_destroy(auri_read_set *set);

#endif
