#include "transaction/pages.h"

#include <string.h>

#include "transaction/transaction_private.h"

enum {
    GROWTH_SLICE_NS = 100000000,
    /* A new extent may split a leaf of the map and the nodes above it. */
    MAP_PAGES_PER_EXTENT = 2,
    /* A new database: its map, a catalog that splits. */
    CREATION_PAGES = 16,
};

static const aur_tree catalog = {AUR_CATALOG_ROOT_PAGE, AUR_CATALOG_TABLE};

/* ---- views ---- */

aur_era aur_transactions_era(const aur_transactions *transactions) {
    return (aur_era){atomic_load_explicit(&transactions->generation, memory_order_acquire),
                     atomic_load_explicit(&transactions->rewinds, memory_order_acquire)};
}

aur_era aur_view_era(const aur_transaction *view) {
    return (aur_era){view->generation, view->rewinds};
}

aur_lsn aur_transactions_present(const aur_transactions *transactions) {
    return atomic_load_explicit(&transactions->tables.present, memory_order_acquire);
}

aur_status aur_transactions_view_head(aur_transactions *transactions, aur_transaction **view_out,
                                      aur_error *error) {
    auri_read_points *points = &transactions->points;
    *view_out = NULL;
    const aur_status status = auri_check_open(transactions, error);
    if (status != AUR_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&points->lock);
    auri_await_head(transactions);
    *view_out = auri_transaction_open(transactions, true, aur_log_head(transactions->options.log));
    (void)pthread_mutex_unlock(&points->lock);
    return *view_out != NULL ? AUR_OK
                             : aur_fail(error, AUR_ERR_MEMORY, "no memory to begin a view");
}

aur_reader aur_view_reader(const aur_transaction *view) {
    return auri_reader(view->transactions, view->read_point, false);
}

aur_status aur_view_judge(const aur_transaction *view, aur_status status, aur_error *error) {
    return auri_transaction_judge(view, status, error);
}

/* ---- names ---- */

static size_t prefixed(const char *name, size_t name_bytes, char out[AUR_TABLE_NAME_LIMIT]) {
    out[0] = (char)AUR_CATALOG_SQL_PREFIX;
    memcpy(out + 1, name, name_bytes);
    return name_bytes + 1;
}

aur_status aur_view_find(const aur_transaction *view, const char *name, size_t name_bytes,
                         aur_table **database, aur_error *error) {
    auri_tables *tables = &view->transactions->tables;
    const aur_reader reader = aur_view_reader(view);
    char key[AUR_TABLE_NAME_LIMIT];
    if (*database != NULL && auri_tables_recall(tables, *database, reader.read_point) == AUR_OK) {
        return AUR_OK;
    }
    const size_t key_bytes = prefixed(name, name_bytes, key);
    return auri_transaction_judge(
        view, auri_tables_find(tables, &reader, key, key_bytes, database, error), error);
}

const aur_tree *aur_view_map(const aur_table *database) { return &database->tree; }

aur_status aur_view_next_name(const aur_transaction *view, const char *after, size_t after_bytes,
                              char *name_out, size_t *name_bytes_out, aur_error *error) {
    const aur_reader reader = aur_view_reader(view);
    char key[AUR_TABLE_NAME_LIMIT];
    char found[AUR_TABLE_NAME_LIMIT];
    size_t found_bytes = 0;
    const size_t key_bytes = prefixed(after, after_bytes, key);
    const aur_status status =
        auri_tables_next_name(&reader, key, key_bytes, found, &found_bytes, error);
    if (status == AUR_OK) {
        *name_bytes_out = found_bytes - 1;
        memcpy(name_out, found + 1, found_bytes - 1);
    }
    return auri_transaction_judge(view, status, error);
}

/* A database that was prepared belongs to everybody, or to nobody. Returns `status`. */
static aur_status end_preparation(auri_tables *tables, aur_table *database, aur_status status) {
    if (status == AUR_OK) {
        auri_tables_settle(tables, database);
    } else {
        auri_tables_abandon(tables, database);
    }
    return status;
}

aur_status aur_page_commit_create(const aur_page_commit *commit, aur_writer *writer,
                                  const char *name, size_t name_bytes, aur_table **database,
                                  aur_error *error) {
    auri_tables *tables = &commit->view->transactions->tables;
    char key[AUR_TABLE_NAME_LIMIT];
    int64_t added = 0;
    const size_t key_bytes = prefixed(name, name_bytes, key);
    aur_status status = auri_tables_prepare(tables, commit->view, key, key_bytes, database, error);
    if (status != AUR_OK) {
        return status;
    }
    status = auri_tables_create_tree(tables, writer, *database, &added, error);
    if (status == AUR_OK) {
        status = aur_tree_add_count(writer, &catalog, added, error);
    }
    if (status == AUR_OK) {
        status = aur_page_file_create(writer, &(*database)->tree, error);
    }
    return end_preparation(tables, *database, status);
}

aur_status aur_page_commit_rename(const aur_page_commit *commit, aur_writer *writer,
                                  aur_table *from, const char *name, size_t name_bytes,
                                  aur_table **database, aur_error *error) {
    auri_tables *tables = &commit->view->transactions->tables;
    char key[AUR_TABLE_NAME_LIMIT];
    int64_t added = 0;
    const size_t key_bytes = prefixed(name, name_bytes, key);
    aur_status status = auri_tables_prepare(tables, commit->view, key, key_bytes, database, error);
    if (status != AUR_OK) {
        return status;
    }
    status = auri_tables_rename(tables, writer, from, *database, &added, error);
    return end_preparation(tables, *database, status);
}

aur_status aur_page_commit_drop(const aur_page_commit *commit, aur_writer *writer,
                                aur_table *database, aur_error *error) {
    int64_t added = 0;
    const aur_reader head = auri_reader(commit->view->transactions, AUR_LSN_MAX, false);
    /* Only what the catalog says of the present is changed with it. */
    aur_status status =
        auri_tables_check(&commit->view->transactions->tables, &head, database, error);
    if (status == AUR_OK) {
        status = auri_tables_remove_entry(writer, database, &added, error);
    }
    if (status == AUR_OK) {
        status = aur_tree_add_count(writer, &catalog, added, error);
    }
    return status == AUR_OK ? aur_page_file_drop(writer, &database->tree, error) : status;
}

/* ---- room ---- */

static aur_status forecast_pages(void *context, uint64_t *pages, bool *has_runs, aur_error *error) {
    const aur_page_demand *demand = context;
    (void)error;
    *pages = demand->extents * (AUR_EXTENT_PAGES + MAP_PAGES_PER_EXTENT) +
             (demand->creates ? CREATION_PAGES : 0);
    *has_runs = true;
    return AUR_OK;
}

static aur_status reserve_pages(aur_transactions *transactions, aur_page_demand *all,
                                aur_error *error) {
    const uint64_t bytes = all->extents * AUR_EXTENT_PAGES * transactions->options.page_bytes;
    const auri_demand demand = {all->extents + (all->creates ? CREATION_PAGES : 0), bytes,
                                forecast_pages, all};
    return auri_commit_reserve(transactions, &demand, error);
}

/* Waits for the coordinator to add protection groups. Latch held, released meanwhile. */
static aur_status await_growth(aur_transactions *transactions, aur_error *error) {
    const aur_transactions_options *options = &transactions->options;
    const uint64_t refusals = transactions->growth_refusals;
    const uint64_t groups = transactions->groups;
    aur_status status = AUR_OK;
    (void)atomic_fetch_add_explicit(&transactions->growth_waiters, 1, memory_order_acq_rel);
    if (options->on_attention != NULL) {
        options->on_attention(options->listener_context);
    }
    while (status == AUR_OK && transactions->groups == groups &&
           transactions->growth_refusals == refusals) {
        const struct timespec until = auri_realtime_after(GROWTH_SLICE_NS);
        (void)pthread_cond_timedwait(&transactions->has_grown, &transactions->latch, &until);
        status = auri_check_open(transactions, error);
    }
    (void)atomic_fetch_sub_explicit(&transactions->growth_waiters, 1, memory_order_acq_rel);
    if (status == AUR_OK && transactions->growth_refusals != refusals) {
        status = transactions->growth_refusal.status;
        if (error != NULL) {
            *error = transactions->growth_refusal;
        }
    }
    return status;
}

/* ---- commit ---- */

static aur_status check_views(aur_transactions *transactions, const aur_page_commit *commits,
                              size_t count, aur_error *error) {
    aur_status status = auri_check_open(transactions, error);
    const aur_era now = aur_transactions_era(transactions);
    for (size_t at = 0; at < count && status == AUR_OK; at++) {
        if (!aur_era_is(aur_view_era(commits[at].view), now)) {
            status = aur_fail(error, AUR_ERR_CONFLICT,
                              "the database went back to another moment after this transaction had "
                              "begun (a backtrack, or a loss of the write quorum); run it again");
        }
    }
    return status;
}

/* Puts the views to the commit that has just become the head. Latch held. */
static void move_views(aur_transactions *transactions, aur_page_commit *commits, size_t count,
                       aur_lsn lsn) {
    auri_read_points *points = &transactions->points;
    (void)pthread_mutex_lock(&points->lock);
    for (size_t at = 0; at < count; at++) {
        aur_transaction *view = commits[at].view;
        auri_point *point = auri_read_points_add(points, AURI_POINT_READER, lsn);
        /* Without memory it stays where it was, and says so when it is read. */
        if (point != NULL) {
            auri_read_points_remove(points, view->point);
            view->point = point;
            view->read_point = lsn;
            view->is_durable = false;
        }
    }
    (void)pthread_mutex_unlock(&points->lock);
}

static aur_status apply_all(auri_commit *commit, const aur_page_commit *commits, size_t count,
                            aur_error *error) {
    aur_status status = AUR_OK;
    for (size_t at = 0; at < count && status == AUR_OK; at++) {
        status = commits[at].apply(commits[at].context, &commit->writer, error);
    }
    return status;
}

/* Latch held. */
static aur_status commit_latched(aur_transactions *transactions, aur_page_commit *commits,
                                 size_t count, aur_lsn *lsn_out, aur_error *error) {
    auri_commit commit;
    aur_page_demand all = {0, false};
    for (size_t at = 0; at < count; at++) {
        all.extents += commits[at].demand.extents;
        all.creates = all.creates || commits[at].demand.creates;
    }
    aur_status status = AUR_NEEDS_GROUPS;
    while (status == AUR_NEEDS_GROUPS) {
        status = check_views(transactions, commits, count, error);
        if (status == AUR_OK) {
            status = reserve_pages(transactions, &all, error);
        }
        if (status == AUR_NEEDS_GROUPS) {
            status = await_growth(transactions, error);
            status = status == AUR_OK ? AUR_NEEDS_GROUPS : status;
        }
    }
    if (status == AUR_OK) {
        status = auri_commit_begin(&commit, transactions, commits[0].view->point, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    status = apply_all(&commit, commits, count, error);
    if (status != AUR_OK) {
        return auri_commit_fail(&commit, status, error);
    }
    *lsn_out = aur_mtr_end(&commit.mtr);
    move_views(transactions, commits, count, *lsn_out);
    auri_commit_publish(&commit, *lsn_out, NULL, NULL, NULL);
    return AUR_OK;
}

aur_status aur_transactions_commit_pages(aur_transactions *transactions, aur_page_commit *commits,
                                         size_t count, aur_lsn *lsn_out, aur_error *error) {
    (void)pthread_mutex_lock(&transactions->latch);
    const aur_status status = commit_latched(transactions, commits, count, lsn_out, error);
    (void)pthread_mutex_unlock(&transactions->latch);
    return status;
}
