/*
 * Cursors: the tree at the read point merged with the transaction's own writes, in either
 * direction.
 *
 * A fetch hands out pointers into the leaf that the tree cursor pins, so it ends where that leaf
 * ends, and the next fetch steps to the next leaf. Own writes are looked for anew at each fetch,
 * behind the last key that was handed out, so later writes are seen; and the end is reached only by
 * a fetch that finds nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "transaction/transaction_private.h"

/* One bound of the caller, copied. */
typedef struct cursor_bound {
    bool is_set;
    size_t key_bytes;
    uint8_t key[AUR_KEY_LIMIT];
} cursor_bound;

typedef struct cursor_key {
    const uint8_t *bytes;
    size_t length;
} cursor_key;

struct aur_cursor {
    aur_transaction *transaction;
    aur_table *table;
    bool reverse;
    bool has_ended;

    /* The tree's side. */
    aur_tree_cursor tree;
    bool tree_is_placed;
    bool tree_has_ended;
    bool has_entry; /* `key` and `value` are the tree's next entry, not yet taken */
    cursor_key key;
    aur_value value;

    /* The range that was read, in a read-write transaction. */
    bool has_range;
    size_t range;
    unsigned range_sorts;

    cursor_bound start;
    cursor_bound stop;
    cursor_bound passed; /* the last key that was handed out */
};

static int compare_keys(cursor_key left, cursor_key right) {
    return auri_key_compare(left.bytes, left.length, right.bytes, right.length);
}

static cursor_key key_of_bound(const cursor_bound *bound) {
    return (cursor_key){bound->key, bound->key_bytes};
}

static cursor_key key_of_write(const auri_write *write) {
    return (cursor_key){auri_write_key(write), write->key_bytes};
}

static void set_bound(cursor_bound *bound, const uint8_t *key, size_t key_bytes) {
    bound->is_set = true;
    bound->key_bytes = key_bytes;
    if (key_bytes > 0) {
        memcpy(bound->key, key, key_bytes);
    }
}

/* Whether a key lies behind the far bound. */
static bool is_behind(const aur_cursor *cursor, cursor_key key) {
    if (cursor->reverse) {
        return cursor->start.is_set && compare_keys(key, key_of_bound(&cursor->start)) < 0;
    }
    return cursor->stop.is_set && compare_keys(key, key_of_bound(&cursor->stop)) >= 0;
}

static aur_status open_cursor(aur_transaction *transaction, aur_table *table, bool reverse,
                              bool cached_only, aur_cursor **cursor_out, aur_error *error) {
    auri_use *use;
    aur_status status = auri_transaction_check(transaction, error);
    if (status == AUR_OK) {
        status = auri_transaction_use(transaction, table, cached_only, &use, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    aur_cursor *cursor = malloc(sizeof *cursor);
    if (cursor == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to open a cursor");
    }
    const aur_reader reader =
        auri_reader(transaction->transactions, transaction->read_point, false);
    cursor->transaction = transaction;
    cursor->table = use->table;
    cursor->reverse = reverse;
    cursor->has_ended = false;
    cursor->tree_is_placed = false;
    cursor->tree_has_ended = auri_transaction_sees_no_tree(transaction, use->table);
    cursor->has_entry = false;
    cursor->has_range = false;
    cursor->start.is_set = false;
    cursor->stop.is_set = false;
    cursor->passed.is_set = false;
    aur_tree_cursor_open(&cursor->tree, &reader, &use->table->tree);
    *cursor_out = cursor;
    return AUR_OK;
}

aur_status aur_cursor_open(aur_transaction *transaction, aur_table *table, const uint8_t *start,
                           size_t start_bytes, const uint8_t *stop, size_t stop_bytes, bool reverse,
                           bool cached_only, aur_cursor **cursor_out, aur_error *error) {
    aur_status status = auri_check_key(start == NULL ? 0 : start_bytes, error);
    if (status == AUR_OK) {
        status = auri_check_key(stop == NULL ? 0 : stop_bytes, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    if (!auri_transaction_lock(transaction, cached_only)) {
        return AUR_WOULD_BLOCK;
    }
    status = open_cursor(transaction, table, reverse, cached_only, cursor_out, error);
    (void)pthread_mutex_unlock(&transaction->lock);
    if (status == AUR_OK && start != NULL) {
        set_bound(&(*cursor_out)->start, start, start_bytes);
    }
    if (status == AUR_OK && stop != NULL) {
        set_bound(&(*cursor_out)->stop, stop, stop_bytes);
    }
    return status;
}

void aur_cursor_close(aur_cursor *cursor) {
    if (cursor != NULL) {
        aur_tree_cursor_close(&cursor->tree);
        free(cursor);
    }
}

/* ---- the tree's side ---- */

/* True when the tree's next step leaves the leaf whose bytes were handed out. */
static bool leaves_leaf(const aur_cursor *cursor) {
    if (!cursor->tree_is_placed) {
        return true;
    }
    AUR_ASSERT(cursor->tree.depth > 0);
    const aur_page_ref *leaf = &cursor->tree.path[cursor->tree.depth - 1].ref;
    const uint32_t slot = cursor->tree.path[cursor->tree.depth - 1].slot;
    return cursor->reverse ? slot == 0 : slot + 1 >= aur_page_slots(leaf->page);
}

static aur_status step_tree(aur_cursor *cursor, aur_error *error) {
    if (!cursor->tree_is_placed) {
        const cursor_bound *near = cursor->reverse ? &cursor->stop : &cursor->start;
        return aur_tree_cursor_seek(&cursor->tree, near->is_set ? near->key : NULL, near->key_bytes,
                                    cursor->reverse, error);
    }
    return cursor->reverse ? aur_tree_cursor_previous(&cursor->tree, error)
                           : aur_tree_cursor_next(&cursor->tree, error);
}

/* Makes the tree's next entry known, or that there is none. */
static aur_status load_entry(aur_cursor *cursor, aur_error *error) {
    aur_status status = step_tree(cursor, error);
    if (status == AUR_OK) {
        cursor->tree_is_placed = true;
        status = aur_tree_cursor_entry(&cursor->tree, &cursor->key.bytes, &cursor->key.length,
                                       &cursor->value, error);
    } else if (status == AUR_NOT_FOUND) {
        cursor->tree_has_ended = true;
        return AUR_OK;
    }
    if (status == AUR_OK) {
        cursor->has_entry = !is_behind(cursor, cursor->key);
        cursor->tree_has_ended = !cursor->has_entry;
    }
    return auri_transaction_judge(cursor->transaction, status, error);
}

/* ---- the side of own writes ---- */

static auri_write *next_write(const auri_write *write, bool reverse) {
    return reverse ? write->previous : auri_write_next(write);
}

/* The first own write behind the last key that was handed out; NULL: none. */
static auri_write *find_write(const aur_cursor *cursor, const auri_use *use) {
    if (!use->has_writes) {
        return NULL;
    }
    const auri_write_map *map = &use->writes;
    const cursor_bound *near = cursor->reverse ? &cursor->stop : &cursor->start;
    const cursor_bound *from = cursor->passed.is_set ? &cursor->passed : near;
    if (cursor->reverse) {
        return from->is_set ? auri_write_map_before(map, from->key, from->key_bytes) : map->last[0];
    }
    if (!from->is_set) {
        return auri_write_map_first(map);
    }
    auri_write *write = auri_write_map_at_or_after(map, from->key, from->key_bytes);
    const bool is_passed = write != NULL && from == &cursor->passed &&
                           compare_keys(key_of_write(write), key_of_bound(from)) == 0;
    return is_passed ? next_write(write, false) : write;
}

/* ---- the merge ---- */

/* A fetch under way. */
typedef struct cursor_batch {
    aur_entry *entries;
    size_t capacity;
    size_t count;
    auri_write *write; /* the next own write, NULL: none */
} cursor_batch;

/* Which side comes next: negative the tree's, positive own writes', 0 both have the key. */
static int choose_side(const aur_cursor *cursor, const auri_write *write) {
    if (write == NULL || !cursor->has_entry) {
        return write == NULL ? -1 : 1;
    }
    const int order = compare_keys(cursor->key, key_of_write(write));
    return cursor->reverse ? -order : order;
}

/* Takes the next key of the two sides, and hands it out unless it was deleted. */
static void take_next(aur_cursor *cursor, cursor_batch *batch) {
    const int side = choose_side(cursor, batch->write);
    aur_entry *entry = &batch->entries[batch->count];
    if (side < 0) {
        *entry = (aur_entry){cursor->key.bytes, cursor->value.data, cursor->key.length,
                             cursor->value.length};
        batch->count++;
    } else {
        const auri_write *write = batch->write;
        if (!write->is_delete) {
            *entry = (aur_entry){auri_write_key(write), write->value, write->key_bytes,
                                 write->value_bytes};
            batch->count++;
        }
        batch->write = next_write(write, cursor->reverse);
        if (batch->write != NULL && is_behind(cursor, key_of_write(batch->write))) {
            batch->write = NULL;
        }
    }
    cursor->has_entry = cursor->has_entry && side > 0;
}

static aur_status fill_batch(aur_cursor *cursor, cursor_batch *batch, aur_error *error) {
    while (batch->count < batch->capacity) {
        if (!cursor->has_entry && !cursor->tree_has_ended) {
            if (batch->count > 0 && leaves_leaf(cursor)) {
                return AUR_OK;
            }
            const aur_status status = load_entry(cursor, error);
            if (status != AUR_OK) {
                return status;
            }
            continue;
        }
        if (!cursor->has_entry && batch->write == NULL) {
            cursor->has_ended = batch->count == 0;
            return AUR_OK;
        }
        take_next(cursor, batch);
    }
    return AUR_OK;
}

/* ---- what was read ---- */

static aur_status set_range_end(auri_range *range, auri_arena *arena, const cursor_bound *bound,
                                enum auri_range_end end) {
    range->end = bound->is_set ? end : AURI_RANGE_UNBOUNDED;
    return auri_bound_set(&range->high, arena, bound->key, bound->is_set ? bound->key_bytes : 0);
}

static aur_status set_range_low(auri_range *range, auri_arena *arena, const cursor_bound *bound) {
    return auri_bound_set(&range->low, arena, bound->key, bound->is_set ? bound->key_bytes : 0);
}

/* Widens the cursor's range in the read set to the keys that it has handed out. */
static aur_status widen_range(aur_cursor *cursor) {
    aur_transaction *transaction = cursor->transaction;
    auri_read_set *reads = &transaction->reads;
    auri_arena *arena = auri_transaction_arena(transaction);
    aur_status status = arena == NULL ? AUR_ERR_MEMORY : AUR_OK;
    if (status == AUR_OK && (!cursor->has_range || cursor->range_sorts != reads->sorts)) {
        status = auri_read_set_add_range(reads, cursor->table->tree.table, &cursor->range);
        cursor->has_range = status == AUR_OK;
        cursor->range_sorts = reads->sorts;
    }
    if (status != AUR_OK) {
        return status;
    }
    auri_range *range = &reads->ranges[cursor->range];
    const cursor_bound *low = &cursor->start;
    const cursor_bound *high = &cursor->stop;
    enum auri_range_end end = AURI_RANGE_BELOW;
    if (!cursor->has_ended && cursor->reverse) {
        low = &cursor->passed;
    } else if (!cursor->has_ended) {
        high = &cursor->passed;
        end = AURI_RANGE_UP_TO;
    }
    status = set_range_low(range, arena, low);
    return status == AUR_OK ? set_range_end(range, arena, high, end) : status;
}

/* Remembers how far a read-write transaction has read. */
static aur_status note_passed(aur_cursor *cursor, const cursor_batch *batch, aur_error *error) {
    const aur_transaction *transaction = cursor->transaction;
    if (transaction->read_only) {
        return AUR_OK;
    }
    if (batch->count > 0) {
        const aur_entry *last = &batch->entries[batch->count - 1];
        set_bound(&cursor->passed, last->key, last->key_bytes);
    }
    if (auri_transaction_sees_no_tree(transaction, cursor->table)) {
        return AUR_OK; /* nobody else can write to it */
    }
    if (widen_range(cursor) != AUR_OK) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to remember what was read");
    }
    return AUR_OK;
}

static aur_status fetch_locked(aur_cursor *cursor, bool cached_only, cursor_batch *batch,
                               aur_error *error) {
    auri_use *use;
    aur_status status = auri_transaction_check(cursor->transaction, error);
    if (status == AUR_OK) {
        status = auri_transaction_use(cursor->transaction, cursor->table, false, &use, error);
    }
    if (status != AUR_OK || cursor->has_ended) {
        return status;
    }
    batch->write = find_write(cursor, use);
    if (batch->write != NULL && is_behind(cursor, key_of_write(batch->write))) {
        batch->write = NULL;
    }
    cursor->tree.reader.cached_only = cached_only;
    status = fill_batch(cursor, batch, error);
    return status == AUR_OK ? note_passed(cursor, batch, error) : status;
}

aur_status aur_cursor_fetch(aur_cursor *cursor, bool cached_only, aur_entry *entries,
                            size_t capacity, size_t *count_out, aur_error *error) {
    cursor_batch batch = {.entries = entries, .capacity = capacity};
    *count_out = 0;
    if (!auri_transaction_lock(cursor->transaction, cached_only)) {
        return AUR_WOULD_BLOCK;
    }
    const aur_status status = fetch_locked(cursor, cached_only, &batch, error);
    (void)pthread_mutex_unlock(&cursor->transaction->lock);
    *count_out = status == AUR_OK ? batch.count : 0;
    return status;
}

/* A big value is looked up again by its key. */
static aur_status read_big_value(aur_cursor *cursor, const aur_entry *entry, uint8_t *out,
                                 aur_error *error) {
    const aur_transaction *transaction = cursor->transaction;
    const aur_reader reader =
        auri_reader(transaction->transactions, transaction->read_point, false);
    aur_value value;
    aur_status status = auri_transaction_check(transaction, error);
    if (status == AUR_OK) {
        status = aur_tree_get(&reader, &cursor->table->tree, entry->key, entry->key_bytes, &value,
                              error);
    }
    if (status == AUR_OK) {
        status = aur_value_read(&reader, &value, out, error);
        aur_value_release(&reader, &value);
    }
    return auri_transaction_judge(transaction, status, error);
}

aur_status aur_cursor_read(aur_cursor *cursor, const aur_entry *entry, uint8_t *out,
                           aur_error *error) {
    if (entry->value_bytes == 0) {
        return AUR_OK;
    }
    if (entry->value != NULL) {
        memcpy(out, entry->value, entry->value_bytes);
        return AUR_OK;
    }
    (void)pthread_mutex_lock(&cursor->transaction->lock);
    const aur_status status = read_big_value(cursor, entry, out, error);
    (void)pthread_mutex_unlock(&cursor->transaction->lock);
    return status;
}

static aur_status find_page_end(aur_cursor *cursor, const uint8_t *key, size_t key_bytes,
                                uint8_t *end_out, size_t *end_bytes_out, aur_error *error) {
    const aur_transaction *transaction = cursor->transaction;
    const aur_reader reader =
        auri_reader(transaction->transactions, transaction->read_point, false);
    aur_status status = auri_transaction_check(transaction, error);
    if (status != AUR_OK) {
        return status;
    }
    if (auri_transaction_sees_no_tree(transaction, cursor->table)) {
        return AUR_NOT_FOUND;
    }
    status = aur_tree_page_end(&reader, &cursor->table->tree, key, key_bytes, end_out,
                               end_bytes_out, error);
    return auri_transaction_judge(transaction, status, error);
}

aur_status aur_cursor_page_end(aur_cursor *cursor, const uint8_t *key, size_t key_bytes,
                               uint8_t *end_out, size_t *end_bytes_out, aur_error *error) {
    (void)pthread_mutex_lock(&cursor->transaction->lock);
    const aur_status status = find_page_end(cursor, key, key_bytes, end_out, end_bytes_out, error);
    (void)pthread_mutex_unlock(&cursor->transaction->lock);
    return status;
}
