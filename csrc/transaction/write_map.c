#include "transaction/write_map_private.h"

#include <string.h>

#include "base/prefetch.h"
#include "base/random.h"

enum {
    ENTRIES_AHEAD = 8,
    PREFETCHED_BYTES = 256,
};

int auri_key_compare(const uint8_t *left, size_t left_bytes, const uint8_t *right,
                     size_t right_bytes) {
    const size_t common = left_bytes < right_bytes ? left_bytes : right_bytes;
    const int order = common == 0 ? 0 : memcmp(left, right, common);
    if (order != 0) {
        return order;
    }
    return (left_bytes > right_bytes) - (left_bytes < right_bytes);
}

/* The key that is looked for, prepared once for all comparisons. */
typedef struct sought_key {
    uint64_t prefix;
    const uint8_t *bytes;
    size_t length;
} sought_key;

static sought_key seek_for(const uint8_t *key, size_t key_bytes) {
    return (sought_key){auri_key_prefix(key, key_bytes), key, key_bytes};
}

static int compare_with(const auri_write *write, const sought_key *sought) {
    return auri_key_compare(auri_write_key(write), write->key_bytes, sought->bytes, sought->length);
}

/* Whether the link leads to a key below the one that is looked for. */
static bool leads_below(const auri_write_link *link, const sought_key *sought) {
    if (link->write == NULL || link->prefix != sought->prefix) {
        return link->write != NULL && link->prefix < sought->prefix;
    }
    return compare_with(link->write, sought) < 0;
}

static bool leads_to(const auri_write_link *link, const sought_key *sought) {
    return link->write != NULL && link->prefix == sought->prefix &&
           compare_with(link->write, sought) == 0;
}

void auri_write_map_init(auri_write_map *map, auri_arena *arena) {
    memset(map, 0, sizeof *map);
    map->arena = arena;
}

/* Heights fall off by 4, so that a node has 4/3 links on average. */
static uint8_t draw_height(auri_write_map *map) {
    aur_random random = {map->random};
    uint64_t bits = aur_random_next(&random);
    map->random = random.state;
    uint8_t height = 1;
    while (height < AURI_WRITE_HEIGHT_MAX && (bits & 3) == 0) {
        height++;
        bits >>= 2;
    }
    return height;
}

/* The links that lead on from an entry, NULL being the map's start. */
static const auri_write_link *links_of(const auri_write_map *map, const auri_write *write) {
    return write == NULL ? map->first : write->next;
}

/* Finds, for each level, the last entry below the key (NULL: the map's start). */
static void find_before(const auri_write_map *map, const sought_key *sought,
                        auri_write *before[AURI_WRITE_HEIGHT_MAX]) {
    auri_write *at = NULL;
    for (int level = AURI_WRITE_HEIGHT_MAX - 1; level >= 0; level--) {
        const auri_write_link *link = &links_of(map, at)[level];
        while (leads_below(link, sought)) {
            at = link->write;
            link = &at->next[level];
        }
        before[level] = at;
    }
}

/* As find_before, from where it stands before a key that is not above this one: close keys are a
 * few steps apart (a search finger: Pugh, "A Skip List Cookbook", 1990). */
static void find_onward(const auri_write_map *map, const sought_key *sought,
                        auri_write *before[AURI_WRITE_HEIGHT_MAX]) {
    int level = 0;
    while (level < AURI_WRITE_HEIGHT_MAX &&
           leads_below(&links_of(map, before[level])[level], sought)) {
        level++;
    }
    auri_write *at = level == 0 ? NULL : before[level - 1];
    while (--level >= 0) {
        const auri_write_link *link = &links_of(map, at)[level];
        while (leads_below(link, sought)) {
            at = link->write;
            link = &at->next[level];
        }
        before[level] = at;
    }
}

/* Whether the key lies behind all there are: then the ends of the levels come before it. */
static bool is_behind_all(const auri_write_map *map, const sought_key *sought) {
    return map->last[0] == NULL || compare_with(map->last[0], sought) < 0;
}

static auri_write *find_last_below(const auri_write_map *map, const sought_key *sought) {
    auri_write *before[AURI_WRITE_HEIGHT_MAX];
    if (is_behind_all(map, sought)) {
        return map->last[0];
    }
    find_before(map, sought, before);
    return before[0];
}

auri_write *auri_write_map_before(const auri_write_map *map, const uint8_t *key, size_t key_bytes) {
    const sought_key sought = seek_for(key, key_bytes);
    return find_last_below(map, &sought);
}

auri_write *auri_write_map_at_or_after(const auri_write_map *map, const uint8_t *key,
                                       size_t key_bytes) {
    const sought_key sought = seek_for(key, key_bytes);
    return links_of(map, find_last_below(map, &sought))[0].write;
}

auri_write *auri_write_map_find(const auri_write_map *map, const uint8_t *key, size_t key_bytes) {
    const sought_key sought = seek_for(key, key_bytes);
    const auri_write_link *link = links_of(map, find_last_below(map, &sought));
    return leads_to(link, &sought) ? link->write : NULL;
}

/* Puts a new entry behind before[level] on each of its levels. */
static void link_write(auri_write_map *map, const sought_key *sought, auri_write *write,
                       auri_write *const before[AURI_WRITE_HEIGHT_MAX]) {
    for (uint8_t level = 0; level < write->height; level++) {
        auri_write_link *link =
            before[level] == NULL ? &map->first[level] : &before[level]->next[level];
        write->next[level] = *link;
        *link = (auri_write_link){sought->prefix, write};
        if (write->next[level].write == NULL) {
            map->last[level] = write;
        }
    }
    write->previous = before[0];
    if (write->next[0].write != NULL) {
        write->next[0].write->previous = write;
    }
}

static auri_write *create_write(auri_write_map *map, const sought_key *sought) {
    const uint8_t height = draw_height(map);
    auri_write *write = auri_arena_allocate(
        map->arena, sizeof *write + height * sizeof(auri_write_link) + sought->length);
    if (write == NULL) {
        return NULL;
    }
    *write = (auri_write){.key_bytes = (uint16_t)sought->length, .height = height};
    if (sought->length > 0) {
        memcpy(&write->next[height], sought->bytes, sought->length);
    }
    return write;
}

/* Room for a value: the old value's, when nobody else can be looking at it. NULL: no memory. */
static uint8_t *room_for(const auri_write_map *map, const auri_write *old, uint64_t value_bytes) {
    if (old != NULL && old->value != NULL && value_bytes <= old->value_bytes &&
        auri_arena_is_private(map->arena)) {
        return (uint8_t *)(uintptr_t)old->value;
    }
    return auri_arena_allocate(map->arena, value_bytes == 0 ? 1 : value_bytes);
}

static void count_write(auri_write_map *map, const auri_write *write, bool add) {
    if (write->is_delete) {
        return;
    }
    const uint64_t bytes = write->key_bytes + write->value_bytes;
    map->puts = add ? map->puts + 1 : map->puts - 1;
    map->put_bytes = add ? map->put_bytes + bytes : map->put_bytes - bytes;
}

/* Sets a key whose place is known: before[level] is the last entry below it on each level. */
static auri_write *set_there(auri_write_map *map, const sought_key *sought,
                             auri_write *const before[AURI_WRITE_HEIGHT_MAX], const uint8_t *value,
                             uint64_t value_bytes, bool is_delete) {
    const auri_write_link *link = links_of(map, before[0]);
    auri_write *found = leads_to(link, sought) ? link->write : NULL;
    uint8_t *room = is_delete ? NULL : room_for(map, found, value_bytes);
    auri_write *write = found != NULL ? found : create_write(map, sought);
    if (write == NULL || (room == NULL && !is_delete)) {
        return NULL;
    }
    if (value_bytes > 0 && !is_delete) {
        memmove(room, value, value_bytes);
    }
    if (found == NULL) {
        link_write(map, sought, write, before);
        map->writes++;
    } else {
        count_write(map, write, false);
    }
    write->value = room;
    write->value_bytes = is_delete ? 0 : value_bytes;
    write->is_delete = is_delete;
    count_write(map, write, true);
    return write;
}

aur_status auri_write_map_set(auri_write_map *map, const uint8_t *key, size_t key_bytes,
                              const uint8_t *value, uint64_t value_bytes, bool is_delete,
                              auri_write **write_out) {
    const sought_key sought = seek_for(key, key_bytes);
    auri_write *before[AURI_WRITE_HEIGHT_MAX];
    if (is_behind_all(map, &sought)) {
        memcpy(before, map->last, sizeof before);
    } else {
        find_before(map, &sought, before);
    }
    *write_out = set_there(map, &sought, before, value, value_bytes, is_delete);
    return *write_out == NULL ? AUR_ERR_MEMORY : AUR_OK;
}

/* Their keys and values lie anywhere in memory: they are asked for some puts ahead. */
static void prefetch_entry(const aur_entry *entry) {
    __builtin_prefetch(entry->key);
    aur_prefetch(entry->value, entry->value_bytes < PREFETCHED_BYTES ? (size_t)entry->value_bytes
                                                                     : PREFETCHED_BYTES);
}

aur_status auri_write_map_set_many(auri_write_map *map, const aur_entry *entries, size_t count) {
    auri_turn turns[AUR_PUTS_LIMIT];
    auri_turn spare[AUR_PUTS_LIMIT];
    auri_write *before[AURI_WRITE_HEIGHT_MAX];
    const auri_turn *order = auri_write_order(entries, count, turns, spare);
    const auri_write *last = NULL;
    for (size_t at = 0; at < count; at++) {
        const aur_entry *entry = &entries[order[at].place];
        const sought_key sought = {order[at].prefix, entry->key, entry->key_bytes};
        if (at + ENTRIES_AHEAD < count) {
            prefetch_entry(&entries[order[at + ENTRIES_AHEAD].place]);
        }
        if (is_behind_all(map, &sought)) {
            memcpy(before, map->last, sizeof before);
        } else if (last != NULL && compare_with(last, &sought) <= 0) {
            find_onward(map, &sought, before);
        } else {
            find_before(map, &sought, before);
        }
        last = set_there(map, &sought, before, entry->value, entry->value_bytes, false);
        if (last == NULL) {
            return AUR_ERR_MEMORY;
        }
    }
    return AUR_OK;
}
