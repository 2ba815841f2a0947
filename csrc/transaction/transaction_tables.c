/* Tables as a transaction sees them: the catalog at its read point, with its own changes. */
#include <stdlib.h>
#include <string.h>

#include "transaction/transaction_private.h"

enum { CHANGES_MIN = 4 };

static aur_status check_name(const char *name, size_t name_bytes, aur_error *error) {
    if (name_bytes == 0 || name_bytes > AUR_TABLE_NAME_LIMIT) {
        return aur_fail(error, AUR_ERR_INVALID, "a table name of %zu bytes; allowed are 1 to %d",
                        name_bytes, AUR_TABLE_NAME_LIMIT);
    }
    if ((uint8_t)name[0] >= AUR_CATALOG_SQL_PREFIX) {
        return aur_fail(error, AUR_ERR_INVALID, "a table name is UTF-8 and begins with no byte %u",
                        (uint8_t)name[0]);
    }
    return AUR_OK;
}

static bool has_name(const aur_table *table, const char *name, size_t name_bytes) {
    return table->name_bytes == name_bytes && memcmp(table->name, name, name_bytes) == 0;
}

/* Its last change of a name, NULL when it has none. */
static const auri_change *find_change(const aur_transaction *transaction, const char *name,
                                      size_t name_bytes) {
    size_t at = transaction->change_count;
    while (at > 0 && !has_name(transaction->changes[at - 1].table, name, name_bytes)) {
        at--;
    }
    return at == 0 ? NULL : &transaction->changes[at - 1];
}

static aur_status reserve_change(aur_transaction *transaction, aur_error *error) {
    if (transaction->change_count < transaction->change_capacity) {
        return AUR_OK;
    }
    const size_t capacity =
        transaction->change_capacity == 0 ? CHANGES_MIN : transaction->change_capacity * 2;
    auri_change *changes = realloc(transaction->changes, capacity * sizeof *changes);
    if (changes == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to change another table");
    }
    transaction->changes = changes;
    transaction->change_capacity = capacity;
    return AUR_OK;
}

/* Nobody may create a table that was looked for in vain before this commits. */
static aur_status note_absence(aur_transaction *transaction, const char *name, size_t name_bytes,
                               aur_error *error) {
    const uint64_t hash = auri_key_hash(AUR_CATALOG_TABLE, (const uint8_t *)name, name_bytes);
    if (!transaction->read_only && auri_read_set_add(&transaction->reads, hash) != AUR_OK) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to remember what was read");
    }
    return AUR_OK;
}

/* The table of that name as this transaction sees it. AUR_NOT_FOUND. */
static aur_status find_table(aur_transaction *transaction, const char *name, size_t name_bytes,
                             aur_table **table_out, aur_error *error) {
    aur_transactions *transactions = transaction->transactions;
    const auri_change *change = find_change(transaction, name, name_bytes);
    auri_use *use;
    if (change != NULL) {
        *table_out = change->table;
        return change->is_drop ? AUR_NOT_FOUND : AUR_OK;
    }
    const aur_reader reader = auri_reader(transactions, transaction->read_point, false);
    aur_status status =
        auri_tables_find(&transactions->tables, &reader, name, name_bytes, table_out, error);
    status = auri_transaction_judge(transaction, status, error);
    if (status == AUR_NOT_FOUND) {
        const aur_status noted = note_absence(transaction, name, name_bytes, error);
        return noted == AUR_OK ? AUR_NOT_FOUND : noted;
    }
    /* That it exists is checked at commit like for every table that is used. */
    return status == AUR_OK ? auri_transaction_use(transaction, *table_out, false, &use, error)
                            : status;
}

static aur_status create_table(aur_transaction *transaction, const char *name, size_t name_bytes,
                               aur_table **table_out, aur_error *error) {
    if (transaction->read_only) {
        return aur_fail(error, AUR_ERR_READ_ONLY, "a read-only transaction cannot create a table");
    }
    aur_status status = reserve_change(transaction, error);
    if (status == AUR_OK) {
        status = auri_tables_prepare(&transaction->transactions->tables, transaction, name,
                                     name_bytes, table_out, error);
    }
    if (status == AUR_OK) {
        transaction->changes[transaction->change_count++] = (auri_change){*table_out, false};
    }
    return status;
}

aur_status aur_transaction_table(aur_transaction *transaction, const char *name, size_t name_bytes,
                                 bool create, aur_table **table_out, aur_error *error) {
    (void)pthread_mutex_lock(&transaction->lock);
    aur_status status = auri_transaction_check_tables(transaction, error);
    if (status == AUR_OK) {
        status = check_name(name, name_bytes, error);
    }
    if (status == AUR_OK) {
        status = find_table(transaction, name, name_bytes, table_out, error);
    }
    if (status == AUR_NOT_FOUND && create) {
        status = create_table(transaction, name, name_bytes, table_out, error);
    }
    (void)pthread_mutex_unlock(&transaction->lock);
    return status;
}

static aur_status drop_locked(aur_transaction *transaction, const char *name, size_t name_bytes,
                              aur_error *error) {
    aur_table *table;
    auri_use *use;
    aur_status status = auri_transaction_check_tables(transaction, error);
    if (status == AUR_OK && transaction->read_only) {
        status = aur_fail(error, AUR_ERR_READ_ONLY, "a read-only transaction cannot drop a table");
    }
    if (status == AUR_OK) {
        status = check_name(name, name_bytes, error);
    }
    if (status == AUR_OK) {
        status = find_table(transaction, name, name_bytes, &table, error);
    }
    if (status == AUR_OK) {
        status = auri_transaction_use(transaction, table, false, &use, error);
    }
    if (status == AUR_OK) {
        status = reserve_change(transaction, error);
    }
    if (status == AUR_OK) {
        use->is_dropped = true;
        transaction->changes[transaction->change_count++] = (auri_change){table, true};
    }
    return status;
}

aur_status aur_transaction_drop_table(aur_transaction *transaction, const char *name,
                                      size_t name_bytes, aur_error *error) {
    (void)pthread_mutex_lock(&transaction->lock);
    const aur_status status = drop_locked(transaction, name, name_bytes, error);
    (void)pthread_mutex_unlock(&transaction->lock);
    return status;
}

/* ---- listing ---- */

static int compare_names(const char *left, size_t left_bytes, const char *right,
                         size_t right_bytes) {
    return auri_key_compare((const uint8_t *)left, left_bytes, (const uint8_t *)right, right_bytes);
}

/* The first name above the last listed one among own creations. NULL: none. */
static const aur_table *next_created(const aur_transaction *transaction) {
    const aur_table *first = NULL;
    for (size_t at = 0; at < transaction->change_count; at++) {
        const aur_table *table = transaction->changes[at].table;
        const auri_change *last = find_change(transaction, table->name, table->name_bytes);
        if (!last->is_drop &&
            compare_names(table->name, table->name_bytes, transaction->listed_name,
                          transaction->listed_bytes) > 0 &&
            (first == NULL ||
             compare_names(table->name, table->name_bytes, first->name, first->name_bytes) < 0)) {
            first = table;
        }
    }
    return first;
}

/* Steps to the name behind the last listed one. */
static aur_status list_next(aur_transaction *transaction, aur_error *error) {
    const aur_reader reader =
        auri_reader(transaction->transactions, transaction->read_point, false);
    char name[AUR_TABLE_NAME_LIMIT];
    size_t name_bytes = transaction->listed_bytes;
    aur_status status;
    memcpy(name, transaction->listed_name, name_bytes);
    const auri_change *change;
    do {
        status = auri_tables_next_name(&reader, name, name_bytes, name, &name_bytes, error);
        change = status == AUR_OK ? find_change(transaction, name, name_bytes) : NULL;
    } while (change != NULL && change->is_drop);
    if (status != AUR_OK && status != AUR_NOT_FOUND) {
        return auri_transaction_judge(transaction, status, error);
    }
    const aur_table *created = next_created(transaction);
    if (created != NULL &&
        (status == AUR_NOT_FOUND ||
         compare_names(created->name, created->name_bytes, name, name_bytes) < 0)) {
        name_bytes = created->name_bytes;
        memcpy(name, created->name, name_bytes);
        status = AUR_OK;
    }
    if (status == AUR_OK) {
        memcpy(transaction->listed_name, name, name_bytes);
        transaction->listed_bytes = name_bytes;
        transaction->listed_index++;
    }
    return status;
}

/* The list depends on every name there is. */
static aur_status note_listing(aur_transaction *transaction, aur_error *error) {
    size_t index;
    if (transaction->read_only) {
        return AUR_OK;
    }
    if (auri_read_set_add_range(&transaction->reads, AUR_CATALOG_TABLE, &index) != AUR_OK) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to remember what was read");
    }
    transaction->reads.ranges[index].end = AURI_RANGE_UNBOUNDED;
    return AUR_OK;
}

aur_status aur_transaction_table_name(aur_transaction *transaction, size_t index, char *name_out,
                                      size_t *name_bytes_out, aur_error *error) {
    (void)pthread_mutex_lock(&transaction->lock);
    aur_status status = auri_transaction_check_tables(transaction, error);
    /* Callers ask for 0, 1, 2 and so on: only another order starts over. */
    if (status == AUR_OK && (index == 0 || index < transaction->listed_index)) {
        transaction->listed_index = 0;
        transaction->listed_bytes = 0;
        status = note_listing(transaction, error);
    }
    while (status == AUR_OK && transaction->listed_index <= index) {
        status = list_next(transaction, error);
    }
    if (status == AUR_OK) {
        memcpy(name_out, transaction->listed_name, transaction->listed_bytes);
        *name_bytes_out = transaction->listed_bytes;
    }
    (void)pthread_mutex_unlock(&transaction->lock);
    return status;
}
