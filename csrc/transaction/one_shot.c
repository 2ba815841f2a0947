/*
 * Operations that are transactions of their own: no object, no read set.
 *
 * A get reads at VDL without registering its read point: while it runs, the version it wants may be
 * freed. What is in the pool is right all the same, so it first looks only there, and if VDL has
 * moved meanwhile it looks again at the new one. Only a get that must wait for storage registers.
 */
#include "transaction/transaction_private.h"

enum { UNREGISTERED_ATTEMPTS = 3 };

static aur_status get_at(aur_transactions *transactions, aur_table *table, const uint8_t *key,
                         size_t key_bytes, aur_lsn read_point, bool cached_only,
                         aur_value *value_out, aur_error *error) {
    const aur_reader reader = auri_reader(transactions, read_point, cached_only);
    const aur_status status = auri_tables_check(&transactions->tables, &reader, table, error);
    if (status == AUR_NO_TABLE) {
        return table == transactions->tables.database ? AUR_NOT_FOUND : auri_no_table(table, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    return aur_tree_get(&reader, &table->tree, key, key_bytes, value_out, error);
}

/* What is in the pool. AUR_WOULD_BLOCK: more than that is needed. */
static aur_status get_cached(aur_transactions *transactions, aur_table *table, const uint8_t *key,
                             size_t key_bytes, aur_value *value_out, aur_error *error) {
    aur_status status = AUR_WOULD_BLOCK;
    auri_note_reader(transactions);
    for (int attempt = 0; attempt < UNREGISTERED_ATTEMPTS; attempt++) {
        const aur_lsn read_point = auri_reading_point(transactions);
        status = get_at(transactions, table, key, key_bytes, read_point, true, value_out, error);
        const bool is_final = status == AUR_OK || status == AUR_NOT_FOUND || status == AUR_NO_TABLE;
        if (is_final || read_point == auri_reading_point(transactions)) {
            break;
        }
    }
    return status;
}

/* With a registered read point: may wait for storage, and a big value stays readable. */
static aur_status get_registered(aur_transactions *transactions, aur_table *table,
                                 const uint8_t *key, size_t key_bytes, bool cached_only,
                                 aur_found *found_out, aur_error *error) {
    auri_read_points *points = &transactions->points;
    aur_value value;
    (void)pthread_mutex_lock(&points->lock);
    auri_await_reading_point(transactions);
    auri_point *point =
        auri_read_points_add(points, AURI_POINT_READER, auri_reading_point(transactions));
    (void)pthread_mutex_unlock(&points->lock);
    if (point == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to register a read point");
    }
    const aur_status status =
        get_at(transactions, table, key, key_bytes, point->lsn, cached_only, &value, error);
    if (status == AUR_OK) {
        auri_found_in_tree(transactions, &value, point, found_out);
    }
    (void)pthread_mutex_lock(&points->lock);
    auri_read_points_remove(points, point);
    (void)pthread_mutex_unlock(&points->lock);
    return status;
}

aur_status aur_transactions_get(aur_transactions *transactions, aur_table *table,
                                const uint8_t *key, size_t key_bytes, bool cached_only,
                                aur_found *found_out, aur_error *error) {
    aur_value value;
    table = auri_table_or_database(transactions, table);
    aur_status status = auri_check_open(transactions, error);
    if (status == AUR_OK) {
        status = auri_check_key(key_bytes, error);
    }
    if (status == AUR_OK) {
        status = auri_await_own_commits(transactions, cached_only, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    status = get_cached(transactions, table, key, key_bytes, &value, error);
    const bool is_big = status == AUR_OK && value.data == NULL && value.length > 0;
    if (is_big) {
        const aur_reader reader = auri_reader(transactions, value.read_point, true);
        aur_value_release(&reader, &value);
    }
    if (is_big || (status == AUR_WOULD_BLOCK && !cached_only)) {
        return get_registered(transactions, table, key, key_bytes, cached_only, found_out, error);
    }
    if (status == AUR_OK) {
        auri_found_in_tree(transactions, &value, NULL, found_out);
    }
    return status;
}

/* One put or delete, for the journal. */
typedef struct one_write {
    aur_table *table;
    const uint8_t *key;
    size_t key_bytes;
} one_write;

/* One put, for the forecast of its pages. */
typedef struct one_put {
    const aur_transactions *transactions;
    const one_write *write;
    uint64_t value_bytes;
} one_put;

static aur_status forecast_put(void *context, uint64_t *pages, bool *has_runs, aur_error *error) {
    const one_put *put = context;
    const aur_reader reader = auri_reader(put->transactions, AUR_LSN_MAX, false);
    aur_tree_forecast forecast;
    aur_tree_forecast_begin(&forecast, &reader, &put->write->table->tree);
    const aur_status status = aur_tree_forecast_put(&forecast, put->write->key,
                                                    put->write->key_bytes, put->value_bytes, error);
    *pages = aur_tree_forecast_end(&forecast);
    *has_runs = forecast.has_runs;
    return status;
}

static void record_write(void *context, auri_journal *journal, aur_lsn lsn) {
    const one_write *write = context;
    auri_journal_add(journal, lsn, write->table->tree.table, write->key, write->key_bytes);
}

/* Keys are checked before the latch is taken, tables and closing under it. */
static aur_status check_write(aur_transactions *transactions, aur_table *table, aur_error *error) {
    const aur_reader head = auri_reader(transactions, AUR_LSN_MAX, false);
    const aur_status status = auri_check_open(transactions, error);
    return status == AUR_OK ? auri_check_table(transactions, &head, table, error) : status;
}

static aur_status put_latched(aur_transactions *transactions, one_write *write,
                              const uint8_t *value, uint64_t value_bytes, aur_lsn *lsn_out,
                              aur_error *error) {
    auri_commit commit;
    bool is_new = false;
    const aur_tree *tree = &write->table->tree;
    aur_status status = check_write(transactions, write->table, error);
    if (status == AUR_OK) {
        one_put put = {transactions, write, value_bytes};
        const auri_demand demand = {1, write->key_bytes + value_bytes, forecast_put, &put};
        status = auri_commit_reserve(transactions, &demand, error);
    }
    if (status == AUR_OK) {
        status = auri_commit_begin(&commit, transactions, NULL, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    status = aur_tree_put(&commit.writer, tree, write->key, write->key_bytes, value, value_bytes,
                          &is_new, error);
    if (status == AUR_OK && is_new) {
        status = aur_tree_add_count(&commit.writer, tree, 1, error);
    }
    if (status != AUR_OK) {
        return auri_commit_fail(&commit, status, error);
    }
    *lsn_out = auri_commit_end(&commit, NULL, record_write, write);
    return AUR_OK;
}

aur_status aur_transactions_put(aur_transactions *transactions, aur_table *table,
                                const uint8_t *key, size_t key_bytes, const uint8_t *value,
                                uint64_t value_bytes, aur_lsn *lsn_out, aur_error *error) {
    one_write write = {auri_table_or_database(transactions, table), key, key_bytes};
    aur_status status = auri_check_key(key_bytes, error);
    if (status == AUR_OK) {
        status = auri_check_value(value_bytes, error);
    }
    if (status == AUR_OK) {
        auri_ahead_one(transactions, write.table, key, key_bytes);
        (void)pthread_mutex_lock(&transactions->latch);
        const uint64_t loads = aur_buffer_loads(transactions->options.buffer);
        status = put_latched(transactions, &write, value, value_bytes, lsn_out, error);
        auri_ahead_learn(transactions, loads);
        (void)pthread_mutex_unlock(&transactions->latch);
    }
    return status;
}

/* The key is looked for in the tree's head, under the latch: nothing can come in between. */
static aur_status delete_latched(aur_transactions *transactions, one_write *write, aur_lsn *lsn_out,
                                 aur_error *error) {
    auri_commit commit;
    const aur_tree *tree = &write->table->tree;
    aur_status status = check_write(transactions, write->table, error);
    *lsn_out = aur_log_head(transactions->options.log);
    if (status == AUR_OK) {
        status = auri_commit_begin(&commit, transactions, NULL, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    status = aur_tree_delete(&commit.writer, tree, write->key, write->key_bytes, error);
    if (status == AUR_OK) {
        status = aur_tree_add_count(&commit.writer, tree, -1, error);
    }
    if (status != AUR_OK) {
        return auri_commit_fail(&commit, status, error);
    }
    *lsn_out = auri_commit_end(&commit, NULL, record_write, write);
    return AUR_OK;
}

aur_status aur_transactions_delete(aur_transactions *transactions, aur_table *table,
                                   const uint8_t *key, size_t key_bytes, aur_lsn *lsn_out,
                                   aur_error *error) {
    one_write write = {auri_table_or_database(transactions, table), key, key_bytes};
    aur_status status = auri_check_key(key_bytes, error);
    if (status == AUR_OK) {
        auri_ahead_one(transactions, write.table, key, key_bytes);
        (void)pthread_mutex_lock(&transactions->latch);
        const uint64_t loads = aur_buffer_loads(transactions->options.buffer);
        status = delete_latched(transactions, &write, lsn_out, error);
        auri_ahead_learn(transactions, loads);
        (void)pthread_mutex_unlock(&transactions->latch);
    }
    return status;
}
