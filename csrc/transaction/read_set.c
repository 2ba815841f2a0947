#include "transaction/read_set_private.h"

#include <stdlib.h>
#include <string.h>

#include "format/checksum.h"
#include "transaction/write_map_private.h"

enum {
    HASHES_MIN = 16,
    HASHES_KEPT = 1024, /* a set that grew beyond this gives its memory back when it is cleared */
    RANGES_MIN = 4,
    RANGES_KEPT = 64,
    BOUND_BYTES_MIN = 32,
};

uint64_t auri_key_hash(uint32_t table, const uint8_t *key, size_t key_bytes) {
    static const uint8_t no_bytes[1] = {0};
    const uint64_t hash = aur_checksum(key_bytes == 0 ? no_bytes : key, key_bytes, table);
    return hash == 0 ? 1 : hash; /* 0 marks an empty place */
}

/* The place of a hash: where it is, or where it would go. */
static size_t place_of(const uint64_t *hashes, size_t capacity, uint64_t hash) {
    size_t place = hash & (capacity - 1);
    while (hashes[place] != 0 && hashes[place] != hash) {
        place = (place + 1) & (capacity - 1);
    }
    return place;
}

static aur_status grow_hashes(auri_read_set *set) {
    const size_t capacity = set->capacity == 0 ? HASHES_MIN : set->capacity * 2;
    uint64_t *hashes = calloc(capacity, sizeof *hashes);
    if (hashes == NULL) {
        return AUR_ERR_MEMORY;
    }
    for (size_t at = 0; at < set->capacity; at++) {
        if (set->hashes[at] != 0) {
            hashes[place_of(hashes, capacity, set->hashes[at])] = set->hashes[at];
        }
    }
    free(set->hashes);
    set->hashes = hashes;
    set->capacity = capacity;
    return AUR_OK;
}

aur_status auri_read_set_add(auri_read_set *set, uint64_t hash) {
    /* At most half full, so that a probe ends soon. */
    if (set->count * 2 >= set->capacity && grow_hashes(set) != AUR_OK) {
        return AUR_ERR_MEMORY;
    }
    const size_t place = place_of(set->hashes, set->capacity, hash);
    set->count += set->hashes[place] == 0;
    set->hashes[place] = hash;
    return AUR_OK;
}

aur_status auri_read_set_add_range(auri_read_set *set, uint32_t table, size_t *index_out) {
    if (set->range_count == set->range_capacity) {
        const size_t capacity = set->range_capacity == 0 ? RANGES_MIN : set->range_capacity * 2;
        auri_range *ranges = realloc(set->ranges, capacity * sizeof *ranges);
        if (ranges == NULL) {
            return AUR_ERR_MEMORY;
        }
        set->ranges = ranges;
        set->range_capacity = capacity;
    }
    set->ranges[set->range_count] = (auri_range){.table = table, .end = AURI_RANGE_BELOW};
    *index_out = set->range_count++;
    return AUR_OK;
}

aur_status auri_bound_set(auri_bound *bound, auri_arena *arena, const uint8_t *key,
                          size_t key_bytes) {
    if (key_bytes > bound->capacity_bytes) {
        size_t capacity = bound->capacity_bytes == 0 ? BOUND_BYTES_MIN : bound->capacity_bytes;
        while (capacity < key_bytes) {
            capacity *= 2;
        }
        uint8_t *room = auri_arena_allocate(arena, capacity);
        if (room == NULL) {
            return AUR_ERR_MEMORY;
        }
        bound->key = room;
        bound->capacity_bytes = (uint32_t)capacity;
    }
    if (key_bytes > 0) {
        memmove(bound->key, key, key_bytes);
    }
    bound->key_bytes = (uint32_t)key_bytes;
    return AUR_OK;
}

static int compare_bounds(const auri_bound *left, const auri_bound *right) {
    return auri_key_compare(left->key, left->key_bytes, right->key, right->key_bytes);
}

static int order_by_low(const void *left_place, const void *right_place) {
    const auri_range *left = left_place;
    const auri_range *right = right_place;
    if (left->table != right->table) {
        return left->table < right->table ? -1 : 1;
    }
    return compare_bounds(&left->low, &right->low);
}

/* Orders ends: the one that reaches further is greater. */
static int compare_ends(const auri_range *left, const auri_range *right) {
    if (left->end == AURI_RANGE_UNBOUNDED || right->end == AURI_RANGE_UNBOUNDED) {
        return (left->end == AURI_RANGE_UNBOUNDED) - (right->end == AURI_RANGE_UNBOUNDED);
    }
    const int order = compare_bounds(&left->high, &right->high);
    return order != 0 ? order : (int)left->end - (int)right->end;
}

static bool reaches(const auri_range *range, const uint8_t *key, size_t key_bytes) {
    if (range->end == AURI_RANGE_UNBOUNDED) {
        return true;
    }
    const int order = auri_key_compare(key, key_bytes, range->high.key, range->high.key_bytes);
    return order < 0 || (order == 0 && range->end == AURI_RANGE_UP_TO);
}

void auri_read_set_sort(auri_read_set *set) {
    set->sorts++;
    if (set->range_count < 2) {
        return;
    }
    qsort(set->ranges, set->range_count, sizeof *set->ranges, order_by_low);
    size_t kept = 0;
    for (size_t at = 1; at < set->range_count; at++) {
        auri_range *last = &set->ranges[kept];
        const auri_range *range = &set->ranges[at];
        if (range->table == last->table && reaches(last, range->low.key, range->low.key_bytes)) {
            if (compare_ends(range, last) > 0) {
                last->end = range->end;
                last->high = range->high;
            }
        } else {
            set->ranges[++kept] = *range;
        }
    }
    set->range_count = kept + 1;
}

/* The last range that starts at or below the key, which alone can hold it. NULL: none. */
static const auri_range *range_before(const auri_read_set *set, uint32_t table, const uint8_t *key,
                                      size_t key_bytes) {
    size_t low = 0;
    size_t high = set->range_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const auri_range *range = &set->ranges[middle];
        const bool starts_before =
            range->table != table
                ? range->table < table
                : auri_key_compare(range->low.key, range->low.key_bytes, key, key_bytes) <= 0;
        low = starts_before ? middle + 1 : low;
        high = starts_before ? high : middle;
    }
    return low == 0 ? NULL : &set->ranges[low - 1];
}

bool auri_read_set_covers(const auri_read_set *set, uint64_t hash, uint32_t table,
                          const uint8_t *key, size_t key_bytes) {
    if (set->count > 0 && set->hashes[place_of(set->hashes, set->capacity, hash)] != 0) {
        return true;
    }
    const auri_range *range = range_before(set, table, key, key_bytes);
    return range != NULL && range->table == table && reaches(range, key, key_bytes);
}

void auri_read_set_clear(auri_read_set *set) {
    if (set->capacity > HASHES_KEPT) {
        free(set->hashes);
        set->hashes = NULL;
        set->capacity = 0;
    } else if (set->count > 0) {
        memset(set->hashes, 0, set->capacity * sizeof *set->hashes);
    }
    if (set->range_capacity > RANGES_KEPT) {
        free(set->ranges);
        set->ranges = NULL;
        set->range_capacity = 0;
    }
    set->count = 0;
    set->range_count = 0;
    set->sorts++;
}

void auri_read_set_destroy(auri_read_set *set) {
    free(set->hashes);
    free(set->ranges);
}
