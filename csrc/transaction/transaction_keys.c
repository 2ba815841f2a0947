/* What a transaction does with a table, and with single keys of it: reading, writing, and
 * announcing what it is about to read. */
#include <stdlib.h>

#include "transaction/transaction_private.h"

enum { USES_MIN = 4 };

/* ---- tables in use ---- */

static aur_status add_use(aur_transaction *transaction, aur_table *table, aur_error *error) {
    if (transaction->use_count == transaction->use_capacity) {
        const size_t capacity =
            transaction->use_capacity == 0 ? USES_MIN : transaction->use_capacity * 2;
        auri_use *uses = realloc(transaction->uses, capacity * sizeof *uses);
        if (uses == NULL) {
            return aur_fail(error, AUR_ERR_MEMORY, "no memory to use another table");
        }
        transaction->uses = uses;
        transaction->use_capacity = capacity;
    }
    auri_use *use = &transaction->uses[transaction->use_count++];
    use->table = table;
    use->is_dropped = false;
    use->has_writes = false;
    return AUR_OK;
}

static bool is_own_creation(const aur_transaction *transaction, const aur_table *table) {
    return atomic_load_explicit(&table->creator, memory_order_acquire) == transaction;
}

static aur_status check_exists(const aur_transaction *transaction, aur_table *table,
                               bool cached_only, aur_error *error) {
    aur_transactions *transactions = transaction->transactions;
    if (table == transactions->tables.database || is_own_creation(transaction, table)) {
        return AUR_OK;
    }
    const aur_status status = auri_transaction_check_tables(transaction, error);
    if (status != AUR_OK) {
        return status;
    }
    const aur_reader reader = auri_reader(transactions, transaction->read_point, cached_only);
    return auri_transaction_judge(transaction,
                                  auri_check_table(transactions, &reader, table, error), error);
}

aur_status auri_transaction_use(aur_transaction *transaction, aur_table *table, bool cached_only,
                                auri_use **use_out, aur_error *error) {
    table = auri_table_or_database(transaction->transactions, table);
    size_t at = transaction->last_use;
    if (at >= transaction->use_count || transaction->uses[at].table != table) {
        for (at = 0; at < transaction->use_count && transaction->uses[at].table != table; at++) {
        }
    }
    if (at == transaction->use_count) {
        aur_status status = check_exists(transaction, table, cached_only, error);
        if (status == AUR_OK) {
            status = add_use(transaction, table, error);
        }
        if (status != AUR_OK) {
            return status;
        }
    }
    transaction->last_use = at;
    *use_out = &transaction->uses[at];
    return (*use_out)->is_dropped ? auri_no_table(table, error) : AUR_OK;
}

bool auri_transaction_sees_no_tree(const aur_transaction *transaction, const aur_table *table) {
    const bool is_database = table == transaction->transactions->tables.database;
    return is_own_creation(transaction, table) || (is_database && transaction->read_point == 0);
}

auri_arena *auri_transaction_arena(aur_transaction *transaction) {
    if (transaction->arena == NULL) {
        transaction->arena = auri_arena_create();
    }
    return transaction->arena;
}

auri_write *auri_use_find(const auri_use *use, const uint8_t *key, size_t key_bytes) {
    return use->has_writes ? auri_write_map_find(&use->writes, key, key_bytes) : NULL;
}

/* Checks transaction and key, and gives what is done with the table. */
static aur_status begin_operation(aur_transaction *transaction, aur_table *table, size_t key_bytes,
                                  bool is_write, bool cached_only, auri_use **use_out,
                                  aur_error *error) {
    aur_status status = auri_transaction_check(transaction, error);
    if (status == AUR_OK && is_write && transaction->read_only) {
        status = aur_fail(error, AUR_ERR_READ_ONLY, "a read-only transaction cannot write");
    }
    if (status == AUR_OK) {
        status = auri_check_key(key_bytes, error);
    }
    return status == AUR_OK ? auri_transaction_use(transaction, table, cached_only, use_out, error)
                            : status;
}

/* ---- reading ---- */

/* Remembers that a key is read in the tree. */
static aur_status note_read(aur_transaction *transaction, const aur_table *table,
                            const uint8_t *key, size_t key_bytes) {
    return transaction->read_only
               ? AUR_OK
               : auri_read_set_add(&transaction->reads,
                                   auri_key_hash(table->tree.table, key, key_bytes));
}

/* Reads a key in the tree, and remembers that it was read. */
static aur_status read_tree(aur_transaction *transaction, const aur_table *table,
                            const uint8_t *key, size_t key_bytes, bool cached_only,
                            aur_value *value_out, aur_error *error) {
    if (auri_transaction_sees_no_tree(transaction, table)) {
        return AUR_NOT_FOUND;
    }
    if (note_read(transaction, table, key, key_bytes) != AUR_OK) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to remember what was read");
    }
    const aur_reader reader =
        auri_reader(transaction->transactions, transaction->read_point, cached_only);
    const aur_status status = aur_tree_get(&reader, &table->tree, key, key_bytes, value_out, error);
    return auri_transaction_judge(transaction, status, error);
}

static aur_status get_locked(aur_transaction *transaction, aur_table *table, const uint8_t *key,
                             size_t key_bytes, bool cached_only, aur_found *found_out,
                             aur_error *error) {
    auri_use *use;
    aur_value value;
    aur_status status =
        begin_operation(transaction, table, key_bytes, false, cached_only, &use, error);
    if (status != AUR_OK) {
        return status;
    }
    const auri_write *write = auri_use_find(use, key, key_bytes);
    if (write != NULL) {
        if (write->is_delete) {
            return AUR_NOT_FOUND;
        }
        auri_found_in_arena(transaction->arena, write, found_out);
        return AUR_OK;
    }
    status = read_tree(transaction, use->table, key, key_bytes, cached_only, &value, error);
    if (status == AUR_OK) {
        auri_found_in_tree(transaction->transactions, &value, transaction->point, found_out);
    }
    return status;
}

aur_status aur_transaction_get(aur_transaction *transaction, aur_table *table, const uint8_t *key,
                               size_t key_bytes, bool cached_only, aur_found *found_out,
                               aur_error *error) {
    if (!auri_transaction_lock(transaction, cached_only)) {
        return AUR_WOULD_BLOCK;
    }
    const aur_status status =
        get_locked(transaction, table, key, key_bytes, cached_only, found_out, error);
    (void)pthread_mutex_unlock(&transaction->lock);
    return status;
}

/* What can be said without the tree. False: it has to be asked, and is about to be. */
static bool look_aside(aur_transaction *transaction, const auri_use *use, aur_lookup *lookup) {
    lookup->status = AUR_WOULD_BLOCK;
    if (lookup->key_bytes > AUR_KEY_LIMIT) {
        return true;
    }
    const auri_write *write = auri_use_find(use, lookup->key, lookup->key_bytes);
    if (write != NULL && !write->is_delete) {
        auri_found_in_arena(transaction->arena, write, &lookup->found);
        lookup->status = AUR_OK;
        return true;
    }
    if (write != NULL || auri_transaction_sees_no_tree(transaction, use->table)) {
        lookup->status = AUR_NOT_FOUND;
        return true;
    }
    return note_read(transaction, use->table, lookup->key, lookup->key_bytes) != AUR_OK;
}

static void look_up(aur_transaction *transaction, const auri_use *use, aur_lookup *lookups,
                    size_t count) {
    _Static_assert((int)AUR_LOOKUPS_LIMIT <= (int)AUR_TREE_LOOKUPS_MAX, "the tree takes them all");
    aur_tree_lookup in_tree[AUR_LOOKUPS_LIMIT];
    aur_lookup *asked[AUR_LOOKUPS_LIMIT];
    size_t wanted = 0;
    for (size_t at = 0; at < count; at++) {
        if (!look_aside(transaction, use, &lookups[at])) {
            in_tree[wanted].key = lookups[at].key;
            in_tree[wanted].key_bytes = lookups[at].key_bytes;
            asked[wanted++] = &lookups[at];
        }
    }
    const aur_reader reader = auri_reader(transaction->transactions, transaction->read_point, true);
    aur_tree_get_many(&reader, &use->table->tree, in_tree, wanted);
    for (size_t at = 0; at < wanted; at++) {
        asked[at]->status = in_tree[at].status;
        if (in_tree[at].status == AUR_OK) {
            auri_found_in_tree(transaction->transactions, &in_tree[at].value, transaction->point,
                               &asked[at]->found);
        }
    }
}

aur_status aur_transaction_get_many(aur_transaction *transaction, aur_table *table,
                                    aur_lookup *lookups, size_t count, aur_error *error) {
    auri_use *use;
    if (count > AUR_LOOKUPS_LIMIT) {
        return aur_fail(error, AUR_ERR_INVALID, "%zu keys at once; the limit is %d", count,
                        AUR_LOOKUPS_LIMIT);
    }
    if (!auri_transaction_lock(transaction, true)) {
        return AUR_WOULD_BLOCK;
    }
    const aur_status status = begin_operation(transaction, table, 0, false, true, &use, error);
    if (status == AUR_OK) {
        look_up(transaction, use, lookups, count);
    }
    (void)pthread_mutex_unlock(&transaction->lock);
    return status;
}

static void announce_missing(const aur_reader *reader, const aur_tree *tree,
                             const aur_lookup *lookups, size_t count) {
    aur_page_id announced = tree->root;
    for (size_t at = 0; at < count; at++) {
        if (lookups[at].status == AUR_WOULD_BLOCK && lookups[at].key_bytes <= AUR_KEY_LIMIT) {
            aur_tree_will_read(reader, tree, lookups[at].key, lookups[at].key_bytes, &announced);
        }
    }
}

void aur_transaction_will_get(aur_transaction *transaction, aur_table *table,
                              const aur_lookup *lookups, size_t count) {
    auri_use *use;
    aur_error ignored; /* aur_transaction_get finds it again */
    aur_error_clear(&ignored);
    (void)pthread_mutex_lock(&transaction->lock);
    if (begin_operation(transaction, table, 0, false, true, &use, &ignored) == AUR_OK &&
        !auri_transaction_sees_no_tree(transaction, use->table)) {
        const aur_reader reader =
            auri_reader(transaction->transactions, transaction->read_point, true);
        announce_missing(&reader, &use->table->tree, lookups, count);
    }
    (void)pthread_mutex_unlock(&transaction->lock);
}

/* Whether the key of a write is in the tree at the read point. */
static aur_status learn_existence(aur_transaction *transaction, const aur_table *table,
                                  auri_write *write, aur_error *error) {
    if (write->existence != AURI_EXISTENCE_UNKNOWN) {
        return AUR_OK;
    }
    const aur_status status =
        read_tree(transaction, table, auri_write_key(write), write->key_bytes, false, NULL, error);
    if (status == AUR_OK || status == AUR_NOT_FOUND) {
        write->existence = status == AUR_OK ? AURI_EXISTENCE_PRESENT : AURI_EXISTENCE_ABSENT;
        return AUR_OK;
    }
    return status;
}

/* Adds what own writes change to the number of records. */
static aur_status count_writes(aur_transaction *transaction, const auri_use *use, uint64_t *count,
                               aur_error *error) {
    aur_status status = AUR_OK;
    auri_write *write = use->has_writes ? auri_write_map_first(&use->writes) : NULL;
    for (; write != NULL && status == AUR_OK; write = auri_write_next(write)) {
        status = learn_existence(transaction, use->table, write, error);
        if (write->is_delete && write->existence == AURI_EXISTENCE_PRESENT) {
            *count -= 1;
        } else if (!write->is_delete && write->existence == AURI_EXISTENCE_ABSENT) {
            *count += 1;
        }
    }
    return status;
}

/* A count reads every key there is and every key there is not. */
static aur_status note_whole_table(aur_transaction *transaction, uint32_t table, aur_error *error) {
    size_t index;
    if (transaction->read_only) {
        return AUR_OK;
    }
    if (auri_read_set_add_range(&transaction->reads, table, &index) != AUR_OK) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to remember what was read");
    }
    transaction->reads.ranges[index].end = AURI_RANGE_UNBOUNDED;
    return AUR_OK;
}

static aur_status count_locked(aur_transaction *transaction, aur_table *table, uint64_t *count_out,
                               aur_error *error) {
    auri_use *use;
    uint64_t count = 0;
    aur_status status = begin_operation(transaction, table, 0, false, false, &use, error);
    if (status == AUR_OK && !auri_transaction_sees_no_tree(transaction, use->table)) {
        const aur_reader reader =
            auri_reader(transaction->transactions, transaction->read_point, false);
        status = note_whole_table(transaction, use->table->tree.table, error);
        if (status == AUR_OK) {
            status = auri_transaction_judge(
                transaction, aur_tree_count(&reader, &use->table->tree, &count, error), error);
        }
    }
    if (status == AUR_OK) {
        status = count_writes(transaction, use, &count, error);
    }
    *count_out = count;
    return status;
}

aur_status aur_transaction_count(aur_transaction *transaction, aur_table *table,
                                 uint64_t *count_out, aur_error *error) {
    (void)pthread_mutex_lock(&transaction->lock);
    const aur_status status = count_locked(transaction, table, count_out, error);
    (void)pthread_mutex_unlock(&transaction->lock);
    return status;
}

/* ---- writing ---- */

static aur_status no_memory(aur_error *error) {
    return aur_fail(error, AUR_ERR_MEMORY, "no memory for another write of this transaction");
}

static aur_status prepare_writes(aur_transaction *transaction, auri_use *use, aur_error *error) {
    if (use->has_writes) {
        return AUR_OK;
    }
    auri_arena *arena = auri_transaction_arena(transaction);
    if (arena == NULL) {
        return no_memory(error);
    }
    auri_write_map_init(&use->writes, arena);
    use->has_writes = true;
    return AUR_OK;
}

/* Puts or deletes (value NULL and `is_delete`) in the write set. */
static aur_status write_key(aur_transaction *transaction, auri_use *use, const uint8_t *key,
                            size_t key_bytes, const uint8_t *value, uint64_t value_bytes,
                            bool is_delete, auri_write **write_out, aur_error *error) {
    const aur_status status = prepare_writes(transaction, use, error);
    if (status != AUR_OK) {
        return status;
    }
    return auri_write_map_set(&use->writes, key, key_bytes, value, value_bytes, is_delete,
                              write_out) == AUR_OK
               ? AUR_OK
               : no_memory(error);
}

aur_status aur_transaction_put(aur_transaction *transaction, aur_table *table, const uint8_t *key,
                               size_t key_bytes, const uint8_t *value, uint64_t value_bytes,
                               aur_error *error) {
    auri_use *use;
    auri_write *write;
    (void)pthread_mutex_lock(&transaction->lock);
    aur_status status = begin_operation(transaction, table, key_bytes, true, false, &use, error);
    if (status == AUR_OK) {
        status = auri_check_value(value_bytes, error);
    }
    if (status == AUR_OK) {
        status =
            write_key(transaction, use, key, key_bytes, value, value_bytes, false, &write, error);
    }
    (void)pthread_mutex_unlock(&transaction->lock);
    return status;
}

/* How many entries at the beginning may be put; *status says why not all. */
static size_t count_valid(const aur_entry *entries, size_t count, aur_status *status,
                          aur_error *error) {
    for (size_t at = 0; at < count; at++) {
        *status = auri_check_key(entries[at].key_bytes, error);
        if (*status == AUR_OK) {
            *status = auri_check_value(entries[at].value_bytes, error);
        }
        if (*status != AUR_OK) {
            return at;
        }
    }
    return count;
}

static aur_status put_many_locked(aur_transaction *transaction, aur_table *table,
                                  const aur_entry *entries, size_t count, aur_error *error) {
    auri_use *use;
    aur_status refusal = AUR_OK;
    aur_status status = begin_operation(transaction, table, 0, true, false, &use, error);
    if (status != AUR_OK) {
        return status;
    }
    const size_t valid = count_valid(entries, count, &refusal, error);
    status = valid == 0 ? AUR_OK : prepare_writes(transaction, use, error);
    if (status == AUR_OK && valid > 0 &&
        auri_write_map_set_many(&use->writes, entries, valid) != AUR_OK) {
        status = no_memory(error);
    }
    return status == AUR_OK ? refusal : status;
}

aur_status aur_transaction_put_many(aur_transaction *transaction, aur_table *table,
                                    const aur_entry *entries, size_t count, aur_error *error) {
    if (count > AUR_PUTS_LIMIT) {
        return aur_fail(error, AUR_ERR_INVALID, "%zu puts at once; the limit is %d", count,
                        AUR_PUTS_LIMIT);
    }
    (void)pthread_mutex_lock(&transaction->lock);
    const aur_status status = put_many_locked(transaction, table, entries, count, error);
    (void)pthread_mutex_unlock(&transaction->lock);
    return status;
}

static aur_status delete_locked(aur_transaction *transaction, aur_table *table, const uint8_t *key,
                                size_t key_bytes, bool cached_only, aur_error *error) {
    auri_use *use;
    aur_status status =
        begin_operation(transaction, table, key_bytes, true, cached_only, &use, error);
    if (status != AUR_OK) {
        return status;
    }
    auri_write *write = auri_use_find(use, key, key_bytes);
    const bool is_own = write != NULL;
    if (is_own && write->is_delete) {
        return AUR_NOT_FOUND;
    }
    if (!is_own) {
        status = read_tree(transaction, use->table, key, key_bytes, cached_only, NULL, error);
        if (status != AUR_OK) {
            return status;
        }
    }
    status = write_key(transaction, use, key, key_bytes, NULL, 0, true, &write, error);
    if (status == AUR_OK && !is_own) {
        write->existence = AURI_EXISTENCE_PRESENT;
    }
    return status;
}

aur_status aur_transaction_delete(aur_transaction *transaction, aur_table *table,
                                  const uint8_t *key, size_t key_bytes, bool cached_only,
                                  aur_error *error) {
    if (!auri_transaction_lock(transaction, cached_only)) {
        return AUR_WOULD_BLOCK;
    }
    const aur_status status = delete_locked(transaction, table, key, key_bytes, cached_only, error);
    (void)pthread_mutex_unlock(&transaction->lock);
    return status;
}
