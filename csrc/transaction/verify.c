/* Checks a whole volume as it is at its newest commit. */
#include <stdlib.h>

#include "btree/page_file.h"
#include "transaction/transaction_private.h"

typedef struct verification {
    aur_transactions *transactions;
    aur_reader reader;
    aur_tree_check check;
    uint64_t tables;
    auri_point *point;
    unsigned generation;
} verification;

/* Chooses the read point and learns how many pages there are, at one moment. */
static aur_status begin_verification(verification *run, aur_error *error) {
    aur_transactions *transactions = run->transactions;
    auri_read_points *points = &transactions->points;
    aur_page_id extent = 0;
    (void)pthread_mutex_lock(&transactions->latch);
    run->generation = atomic_load_explicit(&transactions->generation, memory_order_acquire);
    run->reader = auri_reader(transactions, aur_log_head(transactions->options.log), false);
    aur_status status = aur_space_extent(transactions->space, &extent, error);
    if (status == AUR_OK) {
        (void)pthread_mutex_lock(&points->lock);
        run->point = auri_read_points_add(points, AURI_POINT_READER, run->reader.read_point);
        (void)pthread_mutex_unlock(&points->lock);
    }
    (void)pthread_mutex_unlock(&transactions->latch);
    if (status != AUR_OK) {
        return status;
    }
    run->check.seen_bits = extent;
    run->check.seen = calloc(extent / 8 + 1, 1);
    if (run->point == NULL || run->check.seen == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to verify %llu pages",
                        (unsigned long long)extent);
    }
    return AUR_OK;
}

static void end_verification(verification *run) {
    auri_read_points *points = &run->transactions->points;
    (void)pthread_mutex_lock(&points->lock);
    auri_read_points_remove(points, run->point);
    (void)pthread_mutex_unlock(&points->lock);
    free(run->check.seen);
}

/* A table, or the map of an SQL database and what it maps. */
static aur_status verify_tree(void *context, const aur_tree *tree, bool is_sql, aur_error *error) {
    verification *run = context;
    const uint64_t records = run->check.records;
    aur_status status = aur_tree_verify(&run->reader, tree, &run->check, error);
    if (is_sql) {
        run->check.records = records;
        return status == AUR_OK ? aur_page_file_verify(&run->reader, tree, &run->check, error)
                                : status;
    }
    run->tables++;
    return status;
}

static aur_status verify_trees(verification *run, aur_error *error) {
    static const aur_tree catalog = {AUR_CATALOG_ROOT_PAGE, AUR_CATALOG_TABLE};
    aur_tree_check catalog_check = run->check;
    aur_status status = aur_tree_verify(&run->reader, &catalog, &catalog_check, error);
    /* Records of the catalog are not records of the database. */
    run->check.pages = catalog_check.pages;
    if (status == AUR_OK) {
        status = verify_tree(run, &run->transactions->tables.database->tree, false, error);
    }
    if (status == AUR_OK) {
        status = auri_tables_visit(&run->reader, verify_tree, run, error);
    }
    return status;
}

aur_status aur_transactions_verify(aur_transactions *transactions, aur_engine_verified *out,
                                   aur_error *error) {
    verification run = {.transactions = transactions};
    *out = (aur_engine_verified){0};
    aur_status status = auri_check_open(transactions, error);
    if (status != AUR_OK) {
        return status;
    }
    status = begin_verification(&run, error);
    if (status == AUR_OK) {
        status = verify_trees(&run, error);
    }
    if (status == AUR_OK) {
        status = aur_space_verify(&run.reader, &run.check, error);
    }
    end_verification(&run);
    if (status < AUR_OK &&
        run.generation != atomic_load_explicit(&transactions->generation, memory_order_acquire)) {
        return aur_fail(error, AUR_ERR_QUORUM,
                        "the write quorum was lost while the volume was verified; do it again");
    }
    out->tables = run.tables;
    out->pages = run.check.pages;
    out->records = run.check.records;
    return status;
}
