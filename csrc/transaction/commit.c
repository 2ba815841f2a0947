/*
 * The commit of a transaction, and the steps that all commits share.
 *
 * Under the latch: check what was read, make sure of the room, apply the write set in one
 * mini-transaction, tell the journal, free old page versions.
 */
#include <stdlib.h>
#include <string.h>

#include "transaction/transaction_private.h"

enum {
    LSN_LIST_MIN = 64,
    UNREAD_COMMITS = 16, /* after so many without a reader, page versions are not kept */
    SPLITS_PER_PAGE = 4,
    RECORD_OVERHEAD_BYTES = 16,
    /* A new table takes its root and, with its catalog entry, may split pages of the catalog. */
    TABLE_RECORDS = 2,
    TABLE_BYTES = 2 * (AUR_TABLE_NAME_LIMIT + AUR_CATALOG_ENTRY_BYTES),
    /* A new table's root, and a split on each level of a catalog that is six deep: with the longest
     * names, on the smallest pages, that is more than a hundred thousand tables. */
    TABLE_PAGES = 8,
};

/* ---- room ---- */

/* Pages of the volume that commits may use now. */
static uint64_t usable_pages(const aur_transactions *transactions) {
    const uint64_t pages = transactions->groups * transactions->options.group_pages;
    return pages < transactions->options.volume_pages ? pages : transactions->options.volume_pages;
}

/* The pages behind the extent do not suffice: the volume grows, or, when it may not, what was freed
 * inside must do. */
static aur_status look_for_room(aur_transactions *transactions, uint64_t wanted_end,
                                uint64_t wanted_used, aur_error *error) {
    const aur_transactions_options *options = &transactions->options;
    const uint64_t end = wanted_end < options->volume_pages ? wanted_end : options->volume_pages;
    const uint64_t groups = (end + options->group_pages - 1) / options->group_pages;
    if (groups > transactions->groups) {
        atomic_store_explicit(&transactions->groups_wanted, (uint32_t)groups, memory_order_relaxed);
        return AUR_NEEDS_GROUPS;
    }
    if (wanted_used > options->volume_pages) {
        return aur_fail(error, AUR_ERR_FULL,
                        "with this commit up to %llu pages would be used, and the volume has %llu",
                        (unsigned long long)wanted_used, (unsigned long long)options->volume_pages);
    }
    return AUR_OK;
}

/*
 * A closer bound for many small records. Each page that there is may be full and split at the first
 * record that comes; from then on a split takes about half a page of new records, and a record that
 * has overflow pages is at least a quarter of a page long. So with some margin no more than
 * used + SPLITS_PER_PAGE * (pages of new bytes) of the records can cost a page.
 */
static uint64_t count_costly(const aur_transactions *transactions, uint64_t used, uint64_t records,
                             uint64_t bytes) {
    const uint64_t page_bytes = transactions->options.page_bytes;
    const uint64_t new_pages = (bytes + records * RECORD_OVERHEAD_BYTES) / page_bytes + 1;
    const uint64_t costly = used + SPLITS_PER_PAGE * new_pages;
    return records < costly ? records : costly;
}

/* The rough bounds do not fit: a look at the trees tells what the volume really has to have. Pages
 * that need not follow each other may also be those that were freed inside. */
static aur_status reserve_closely(aur_transactions *transactions, const auri_demand *demand,
                                  uint64_t extent, uint64_t used, aur_error *error) {
    const uint32_t page_bytes = transactions->options.page_bytes;
    const uint64_t usable = usable_pages(transactions);
    uint64_t pages = 0;
    bool has_runs = false;
    const aur_status status = demand->forecast(demand->context, &pages, &has_runs, error);
    if (status != AUR_OK) {
        return status;
    }
    pages = aur_space_with_bitmaps(page_bytes, pages);
    const uint64_t from = has_runs ? extent : used;
    transactions->slack_pages = usable > extent + pages ? usable - extent - pages : 0;
    return from + pages <= usable ? AUR_OK
                                  : look_for_room(transactions, from + pages, used + pages, error);
}

aur_status auri_commit_reserve(aur_transactions *transactions, const auri_demand *demand,
                               aur_error *error) {
    const uint32_t page_bytes = transactions->options.page_bytes;
    const uint64_t records = demand->records;
    if (records == 0) {
        return AUR_OK;
    }
    uint64_t needed = aur_tree_pages_needed(page_bytes, records, demand->bytes);
    if (needed <= transactions->slack_pages) {
        transactions->slack_pages -= needed;
        return AUR_OK;
    }
    aur_page_id extent;
    uint64_t used;
    aur_status status = aur_space_extent(transactions->space, &extent, error);
    if (status == AUR_OK) {
        status = aur_space_used(transactions->space, &used, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    const uint64_t costly = count_costly(transactions, used, records, demand->bytes);
    needed = aur_tree_pages_needed(page_bytes, costly, demand->bytes);
    const uint64_t usable = usable_pages(transactions);
    if (extent + needed <= usable) {
        transactions->slack_pages = usable - extent - needed;
        return AUR_OK;
    }
    return reserve_closely(transactions, demand, extent, used, error);
}

/* ---- the mini-transaction ---- */

/* Whether the pages are to stay in the pool as they were. Not if nobody reads, and nobody has read
 * during the last commits: a copy of each page costs a fifth of a small commit. */
static bool keeps_past(aur_transactions *transactions, const auri_point *own) {
    if (atomic_load_explicit(&transactions->was_read, memory_order_relaxed)) {
        atomic_store_explicit(&transactions->was_read, false, memory_order_relaxed);
        transactions->unread_commits = 0;
    }
    if (transactions->unread_commits < UNREAD_COMMITS) {
        transactions->unread_commits++;
        return true;
    }
    return !auri_read_points_claim_head(&transactions->points, own);
}

aur_status auri_commit_begin(auri_commit *commit, aur_transactions *transactions,
                             const auri_point *own, aur_error *error) {
    const aur_transactions_options *options = &transactions->options;
    commit->transactions = transactions;
    commit->writer = (aur_writer){&commit->mtr, transactions->space};
    const aur_status status = aur_mtr_begin(&commit->mtr, options->buffer, options->log,
                                            options->page_bytes, transactions->scratch, error);
    if (status == AUR_OK) {
        commit->mtr.keeps_past = keeps_past(transactions, own);
    }
    return status;
}

static void give_head_back(aur_transactions *transactions) {
    auri_read_points *points = &transactions->points;
    (void)pthread_mutex_lock(&points->lock);
    auri_read_points_give_head_back(points);
    (void)pthread_mutex_unlock(&points->lock);
}

/* Gives up the volatile head: those who wait for it are told why. */
static void lose_head(auri_commit *commit, aur_status status, const aur_error *cause) {
    const aur_transactions_options *options = &commit->transactions->options;
    const bool has_text = cause != NULL && cause->status == status;
    aur_error why;
    aur_error_clear(&why);
    (void)aur_fail(&why, status == AUR_ERR_FENCED ? AUR_ERR_FENCED : AUR_ERR_QUORUM,
                   "commits that were not durable yet were given up, because one failed half-way: "
                   "%.120s",
                   has_text ? cause->message : aur_status_text(status));
    aur_mtr_fail(&commit->mtr, &why);
    if (options->on_attention != NULL) {
        options->on_attention(options->listener_context);
    }
}

aur_status auri_commit_fail(auri_commit *commit, aur_status status, const aur_error *cause) {
    /* These come from the log, which has then begun to give the mini-transaction up. */
    const bool is_of_log =
        status == AUR_ERR_QUORUM || status == AUR_ERR_FENCED || status == AUR_ERR_MEMORY;
    if (commit->mtr.records == 0 && !is_of_log) {
        (void)aur_mtr_end(&commit->mtr);
    } else {
        lose_head(commit, status, cause);
    }
    give_head_back(commit->transactions);
    return status;
}

bool auri_lsn_list_reserve(auri_lsn_list *list, size_t wanted) {
    if (wanted <= list->capacity) {
        return true;
    }
    const size_t capacity = wanted < LSN_LIST_MIN ? LSN_LIST_MIN : wanted * 2;
    aur_lsn *items = realloc(list->items, capacity * sizeof *items);
    if (items == NULL) {
        return false;
    }
    list->items = items;
    list->capacity = capacity;
    return true;
}

/* Fills transactions->boundaries; false: out of memory. */
static bool list_boundaries(aur_transactions *transactions) {
    auri_lsn_list *list = &transactions->boundaries;
    do {
        if (!auri_lsn_list_reserve(list, list->count)) {
            return false;
        }
        list->count = aur_log_boundaries(transactions->options.log, list->items, list->capacity);
    } while (list->count > list->capacity);
    return true;
}

/* Fills transactions->keep with the read points in use; false: out of memory. The points' lock is
 * held, given up meanwhile. */
static bool list_points(aur_transactions *transactions) {
    auri_read_points *points = &transactions->points;
    auri_lsn_list *list = &transactions->keep;
    while (points->distinct + transactions->boundaries.count > list->capacity) {
        const size_t wanted = points->distinct + transactions->boundaries.count;
        (void)pthread_mutex_unlock(&points->lock);
        const bool has_grown = auri_lsn_list_reserve(list, wanted);
        (void)pthread_mutex_lock(&points->lock);
        if (!has_grown) {
            return false;
        }
    }
    list->count = auri_read_points_below(points, AUR_LSN_MAX, list->items, list->capacity);
    return true;
}

/* Puts an LSN into its place in the ascending list, which has the room. */
static void insert_lsn(auri_lsn_list *list, aur_lsn lsn) {
    size_t at = list->count;
    while (at > 0 && list->items[at - 1] > lsn) {
        at--;
    }
    if (at > 0 && list->items[at - 1] == lsn) {
        return;
    }
    memmove(&list->items[at + 1], &list->items[at], (list->count - at) * sizeof *list->items);
    list->items[at] = lsn;
    list->count++;
}

/* What the journal wants to know of a commit. */
typedef struct commit_view {
    bool others_check; /* read-write transactions that must check against it */
    aur_lsn oldest_writer;
} commit_view;

/* Frees the page versions that commits superseded. The order is what T4 rests on: boundaries before
 * points; whoever begins after the points were listed reads at a boundary or at the new head. */
static commit_view publish(aur_transactions *transactions, auri_point *own) {
    auri_read_points *points = &transactions->points;
    aur_buffer *buffer = transactions->options.buffer;
    auri_lsn_list *keep = &transactions->keep;
    const bool has_superseded = aur_buffer_has_superseded(buffer);
    const bool has_boundaries = has_superseded && list_boundaries(transactions);
    (void)pthread_mutex_lock(&points->lock);
    const bool has_points = has_boundaries && list_points(transactions);
    auri_read_points_remove(points, own);
    auri_read_points_give_head_back(points);
    const commit_view view = {
        .others_check = points->references[AURI_POINT_WRITER] > 0,
        .oldest_writer = auri_read_points_lowest(points, AURI_POINT_WRITER),
    };
    (void)pthread_mutex_unlock(&points->lock);
    if (has_points) {
        for (size_t at = 0; at < transactions->boundaries.count; at++) {
            insert_lsn(keep, transactions->boundaries.items[at]);
        }
        aur_buffer_publish(buffer, keep->items, keep->count);
    } else if (!has_superseded) {
        aur_buffer_publish(buffer, NULL, 0);
    } /* else without the memory for the lists the old versions stay for now */
    return view;
}

aur_lsn auri_commit_end(auri_commit *commit, auri_point *own,
                        void (*record)(void *context, auri_journal *journal, aur_lsn lsn),
                        void *context) {
    const aur_lsn lsn = aur_mtr_end(&commit->mtr);
    auri_commit_publish(commit, lsn, own, record, context);
    return lsn;
}

void auri_commit_publish(auri_commit *commit, aur_lsn lsn, auri_point *own,
                         void (*record)(void *context, auri_journal *journal, aur_lsn lsn),
                         void *context) {
    aur_transactions *transactions = commit->transactions;
    const commit_view view = publish(transactions, own);
    if (view.others_check && record != NULL) {
        record(context, &transactions->journal, lsn);
    }
    auri_journal_prune(&transactions->journal, view.oldest_writer);
    auri_note_own_commit(transactions, lsn);
    atomic_fetch_add_explicit(&transactions->commits, 1, memory_order_relaxed);
}

/* ---- a transaction's commit ---- */

static bool is_created_here(const aur_transaction *transaction, const aur_table *table) {
    return atomic_load_explicit(&table->creator, memory_order_relaxed) == transaction;
}

/* To use a table is to read that it exists. */
static aur_status check_tables(aur_transaction *transaction, aur_error *error) {
    aur_transactions *transactions = transaction->transactions;
    const aur_reader head = auri_reader(transactions, AUR_LSN_MAX, false);
    aur_status status = AUR_OK;
    for (size_t at = 0; at < transaction->use_count && status == AUR_OK; at++) {
        aur_table *table = transaction->uses[at].table;
        if (is_created_here(transaction, table)) {
            continue;
        }
        status = auri_tables_check(&transactions->tables, &head, table, error);
        if (status == AUR_NO_TABLE) {
            status = aur_fail(error, AUR_ERR_CONFLICT,
                              "another transaction dropped table '%.*s', which this one used",
                              (int)table->name_bytes, table->name);
        }
    }
    return status;
}

/* T2. The latch is given up between the slices of a long check; it is held when this returns. */
static aur_status check_reads(aur_transaction *transaction, aur_error *error) {
    aur_transactions *transactions = transaction->transactions;
    aur_lsn checked_to = transaction->read_point;
    aur_status status = auri_transaction_check(transaction, error);
    while (status == AUR_OK && !auri_read_set_is_empty(&transaction->reads)) {
        const aur_status found =
            auri_journal_check(&transactions->journal, &transaction->reads, &checked_to);
        if (found == AUR_OK) {
            break;
        }
        if (found == AUR_ERR_CONFLICT) {
            return aur_fail(error, AUR_ERR_CONFLICT,
                            "another transaction changed what this one read; run it again");
        }
        (void)pthread_mutex_unlock(&transactions->latch);
        (void)pthread_mutex_lock(&transactions->latch);
        status = auri_transaction_check(transaction, error);
    }
    return status == AUR_OK ? check_tables(transaction, error) : status;
}

static aur_status forecast_writes(const aur_transaction *transaction, const auri_use *use,
                                  uint64_t *pages, bool *has_runs, aur_error *error) {
    const aur_reader reader = auri_reader(transaction->transactions, AUR_LSN_MAX, false);
    const bool is_new = is_created_here(transaction, use->table);
    const auri_write *write = auri_write_map_first(&use->writes);
    aur_tree_forecast forecast;
    aur_status status = AUR_OK;
    aur_tree_forecast_begin(&forecast, &reader, is_new ? NULL : &use->table->tree);
    for (; write != NULL && status == AUR_OK; write = auri_write_next(write)) {
        if (!write->is_delete) {
            status = aur_tree_forecast_put(&forecast, auri_write_key(write), write->key_bytes,
                                           write->value_bytes, error);
        }
    }
    *pages += aur_tree_forecast_end(&forecast);
    *has_runs |= forecast.has_runs;
    return status;
}

static aur_status forecast_transaction(void *context, uint64_t *pages, bool *has_runs,
                                       aur_error *error) {
    const aur_transaction *transaction = context;
    aur_status status = AUR_OK;
    for (size_t at = 0; at < transaction->use_count && status == AUR_OK; at++) {
        const auri_use *use = &transaction->uses[at];
        if (use->has_writes && !use->is_dropped) {
            status = forecast_writes(transaction, use, pages, has_runs, error);
        }
    }
    *pages += transaction->change_count * TABLE_PAGES;
    return status;
}

static aur_status reserve_room(aur_transaction *transaction, aur_error *error) {
    uint64_t records = 0;
    uint64_t bytes = 0;
    for (size_t at = 0; at < transaction->use_count; at++) {
        const auri_use *use = &transaction->uses[at];
        if (use->has_writes && !use->is_dropped) {
            records += use->writes.puts;
            bytes += use->writes.put_bytes;
        }
    }
    for (size_t at = 0; at < transaction->change_count; at++) {
        records += TABLE_RECORDS;
        bytes += TABLE_BYTES + transaction->transactions->options.page_bytes;
    }
    const auri_demand demand = {records, bytes, forecast_transaction, transaction};
    return auri_commit_reserve(transaction->transactions, &demand, error);
}

/* A change that a later one of this transaction undoes: a created table that is dropped again. */
static bool is_void(const aur_transaction *transaction, size_t index) {
    const auri_change *change = &transaction->changes[index];
    if (change->is_drop) {
        return is_created_here(transaction, change->table);
    }
    for (size_t at = index + 1; at < transaction->change_count; at++) {
        if (transaction->changes[at].table == change->table) {
            return true;
        }
    }
    return false;
}

/* Catalog entries go and come in the order of the calls, so that a name may be used again. */
static aur_status change_catalog(aur_transaction *transaction, auri_commit *commit,
                                 aur_error *error) {
    static const aur_tree catalog = {AUR_CATALOG_ROOT_PAGE, AUR_CATALOG_TABLE};
    auri_tables *tables = &transaction->transactions->tables;
    int64_t added = 0;
    aur_status status = AUR_OK;
    for (size_t at = 0; at < transaction->change_count && status == AUR_OK; at++) {
        aur_table *table = transaction->changes[at].table;
        if (is_void(transaction, at)) {
            continue;
        }
        status = transaction->changes[at].is_drop
                     ? auri_tables_remove_entry(&commit->writer, table, &added, error)
                     : auri_tables_create_tree(tables, &commit->writer, table, &added, error);
    }
    if (status == AUR_OK && added != 0) {
        status = aur_tree_add_count(&commit->writer, &catalog, added, error);
    }
    return status;
}

/* The writes to one table that the commit has still to apply. */
typedef struct pending {
    const auri_write *next;
    auri_use *use;
    aur_reader head;
} pending;

/* Entries lie in the order in which they were written, not in that of their keys: each is asked
 * for some time before it is needed. */
static bool next_write(void *context, aur_tree_write *out) {
    pending *writes = context;
    const auri_write *write = writes->next;
    if (write == NULL) {
        return false;
    }
    auri_ahead_step(writes->use, &writes->head);
    writes->next = auri_write_next(write);
    if (writes->next != NULL) {
        __builtin_prefetch(writes->next->value);
        __builtin_prefetch(auri_write_next(writes->next));
    }
    *out = (aur_tree_write){.key = auri_write_key(write),
                            .key_bytes = write->key_bytes,
                            .value = write->value,
                            .value_bytes = write->value_bytes,
                            .is_delete = write->is_delete};
    return true;
}

static aur_status apply_writes(auri_use *use, auri_commit *commit, aur_error *error) {
    pending writes = {.next = auri_write_map_first(&use->writes),
                      .use = use,
                      .head = auri_reader(commit->transactions, AUR_LSN_MAX, false)};
    return aur_tree_write_many(&commit->writer, &use->table->tree, next_write, &writes, error);
}

static aur_status apply(aur_transaction *transaction, auri_commit *commit, aur_error *error) {
    aur_status status = change_catalog(transaction, commit, error);
    for (size_t at = 0; at < transaction->use_count && status == AUR_OK; at++) {
        auri_use *use = &transaction->uses[at];
        if (use->has_writes && !use->is_dropped) {
            status = apply_writes(use, commit, error);
        }
    }
    for (size_t at = 0; at < transaction->change_count && status == AUR_OK; at++) {
        const auri_change *change = &transaction->changes[at];
        if (change->is_drop && !is_void(transaction, at)) {
            status = aur_tree_drop(&commit->writer, &change->table->tree, error);
        }
    }
    return status;
}

static void record_writes(void *context, auri_journal *journal, aur_lsn lsn) {
    const aur_transaction *transaction = context;
    for (size_t at = 0; at < transaction->use_count; at++) {
        const auri_use *use = &transaction->uses[at];
        const auri_write *write =
            use->has_writes && !use->is_dropped ? auri_write_map_first(&use->writes) : NULL;
        for (; write != NULL; write = auri_write_next(write)) {
            auri_journal_add(journal, lsn, use->table->tree.table, auri_write_key(write),
                             write->key_bytes);
        }
    }
    for (size_t at = 0; at < transaction->change_count; at++) {
        const aur_table *table = transaction->changes[at].table;
        auri_journal_add(journal, lsn, AUR_CATALOG_TABLE, (const uint8_t *)table->name,
                         table->name_bytes);
    }
}

/* Latch held. */
static aur_status commit_writes(aur_transaction *transaction, aur_lsn *lsn_out, aur_error *error) {
    auri_commit commit;
    aur_status status = check_reads(transaction, error);
    if (status == AUR_OK) {
        status = reserve_room(transaction, error);
    }
    if (status == AUR_OK) {
        status = auri_commit_begin(&commit, transaction->transactions, transaction->point, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    status = apply(transaction, &commit, error);
    if (status != AUR_OK) {
        return auri_commit_fail(&commit, status, error);
    }
    *lsn_out = auri_commit_end(&commit, transaction->point, record_writes, transaction);
    transaction->point = NULL;
    return AUR_OK;
}

static bool has_writes(const aur_transaction *transaction) {
    bool writes = transaction->change_count > 0;
    for (size_t at = 0; at < transaction->use_count && !writes; at++) {
        writes = transaction->uses[at].has_writes;
    }
    return writes;
}

static aur_status commit_locked(aur_transaction *transaction, aur_lsn *lsn_out, aur_error *error) {
    aur_transactions *transactions = transaction->transactions;
    aur_status status = auri_transaction_check(transaction, error);
    if (!aur_transaction_is_open(transaction)) {
        return status;
    }
    if (status == AUR_OK) {
        *lsn_out = auri_transaction_is_blind(transaction) ? aur_log_head(transactions->options.log)
                                                          : transaction->read_point;
        if (has_writes(transaction)) {
            auri_read_set_sort(&transaction->reads);
            auri_ahead_begin(transaction);
            (void)pthread_mutex_lock(&transactions->latch);
            const uint64_t loads = aur_buffer_loads(transactions->options.buffer);
            status = commit_writes(transaction, lsn_out, error);
            auri_ahead_learn(transactions, loads);
            (void)pthread_mutex_unlock(&transactions->latch);
        }
    }
    if (status == AUR_ERR_CONFLICT) {
        (void)atomic_fetch_add_explicit(&transactions->conflicts, 1, memory_order_relaxed);
    }
    if (status != AUR_NEEDS_GROUPS) {
        auri_transaction_end(transaction, status == AUR_OK);
    }
    return status;
}

aur_status aur_transaction_commit(aur_transaction *transaction, uint64_t *lsn_out,
                                  aur_error *error) {
    (void)pthread_mutex_lock(&transaction->lock);
    const aur_status status = commit_locked(transaction, lsn_out, error);
    (void)pthread_mutex_unlock(&transaction->lock);
    return status;
}
