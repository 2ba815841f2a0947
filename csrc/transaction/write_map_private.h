/*
 * What one transaction writes to one table: an ordered map from key to put or delete, in an arena.
 * A skip list: ascending inserts cost O(1) by a finger at its end, others O(log n); entries never
 * move and never leave, so cursors may hold on to them.
 *
 * Thread rule: the transaction's lock.
 */
#ifndef AUR_TRANSACTION_WRITE_MAP_PRIVATE_H
#define AUR_TRANSACTION_WRITE_MAP_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aurora/transaction.h>

#include "base/endian.h"
#include "base/status.h"
#include "transaction/arena_private.h"

enum { AURI_WRITE_HEIGHT_MAX = 12 };

/* Whether the key is in the table at the transaction's read point: learnt when somebody asks. */
enum auri_existence {
    AURI_EXISTENCE_UNKNOWN = 0,
    AURI_EXISTENCE_ABSENT = 1,
    AURI_EXISTENCE_PRESENT = 2,
};

typedef struct auri_write auri_write;

/* Leads to an entry, and tells the first 8 bytes of its key as a big-endian number: most
 * comparisons end with that, before the entry's own memory is touched. */
typedef struct auri_write_link {
    uint64_t prefix;
    auri_write *write;
} auri_write_link;

/* One key's last put or delete. */
struct auri_write {
    const uint8_t *value; /* in the arena; NULL for a delete */
    uint64_t value_bytes;
    auri_write *previous;
    uint16_t key_bytes;
    uint8_t height;
    uint8_t existence; /* enum auri_existence */
    bool is_delete;
    auri_write_link next[]; /* `height` links, then the key */
};

typedef struct auri_write_map {
    auri_arena *arena;
    uint64_t random; /* state of the generator of heights */
    uint64_t puts;
    uint64_t put_bytes; /* keys and values of the puts */
    uint64_t writes;
    auri_write_link first[AURI_WRITE_HEIGHT_MAX];
    auri_write *last[AURI_WRITE_HEIGHT_MAX];
} auri_write_map;

void auri_write_map_init(auri_write_map *map, auri_arena *arena);

/* Sets key to value (copied), or to "deleted" when `is_delete`. AUR_ERR_MEMORY. */
aur_status auri_write_map_set(auri_write_map *map, const uint8_t *key, size_t key_bytes,
                              const uint8_t *value, uint64_t value_bytes, bool is_delete,
                              auri_write **write_out) AUR_CHECKED;

/* Puts up to AUR_PUTS_LIMIT entries, as if one after the other. AUR_ERR_MEMORY: some of them. */
aur_status auri_write_map_set_many(auri_write_map *map, const aur_entry *entries,
                                   size_t count) AUR_CHECKED;

/* Each gives NULL when there is none. */
auri_write *auri_write_map_find(const auri_write_map *map, const uint8_t *key, size_t key_bytes);
auri_write *auri_write_map_at_or_after(const auri_write_map *map, const uint8_t *key,
                                       size_t key_bytes);
auri_write *auri_write_map_before(const auri_write_map *map, const uint8_t *key, size_t key_bytes);

/* In order of keys; NULL at the end. */
static inline auri_write *auri_write_map_first(const auri_write_map *map) {
    return map->first[0].write;
}
static inline auri_write *auri_write_next(const auri_write *write) { return write->next[0].write; }

static inline const uint8_t *auri_write_key(const auri_write *write) {
    return (const uint8_t *)&write->next[write->height];
}

/* The first 8 bytes of a key as a big-endian number, zeros where it is shorter: keys with different
 * prefixes are ordered as these. */
static inline uint64_t auri_key_prefix(const uint8_t *key, size_t key_bytes) {
    enum { PREFIX_BYTES = 8 };
    uint64_t prefix = 0;
    if (key_bytes >= PREFIX_BYTES) {
        return __builtin_bswap64(aur_get64(key));
    }
    for (size_t at = 0; at < key_bytes; at++) {
        prefix |= (uint64_t)key[at] << (8 * (PREFIX_BYTES - 1 - at));
    }
    return prefix;
}

/* One of a batch of puts, by its place in the batch. */
typedef struct auri_turn {
    uint64_t prefix;
    size_t place;
} auri_turn;

/* The turns of a batch in ascending order of prefixes, those with one prefix in the order of the
 * batch. `turns` and `spare` have room for `count`, at most AUR_PUTS_LIMIT; gives the one of them
 * that has the result. */
const auri_turn *auri_write_order(const aur_entry *entries, size_t count, auri_turn *turns,
                                  auri_turn *spare);

/* Orders keys as bytes: negative, 0 or positive. */
int auri_key_compare(const uint8_t *left, size_t left_bytes, const uint8_t *right,
                     size_t right_bytes);

#endif
