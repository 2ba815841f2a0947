#include "transaction/tables_private.h"

#include <stdlib.h>
#include <string.h>

#include "transaction/read_set_private.h"

static const aur_tree catalog = {AUR_CATALOG_ROOT_PAGE, AUR_CATALOG_TABLE};
static const uint8_t next_id_key[1] = {0}; /* used with length 0 */

static aur_table *create_object(const char *name, size_t name_bytes) {
    aur_table *table = calloc(1, sizeof *table + name_bytes);
    if (table != NULL) {
        table->born = AUR_LSN_MAX;
        atomic_init(&table->is_known, true);
        atomic_init(&table->created, AUR_LSN_MAX);
        atomic_init(&table->dropped, AUR_LSN_MAX);
        memcpy(table->name, name, name_bytes);
        table->name_bytes = name_bytes;
    }
    return table;
}

aur_status auri_tables_init(auri_tables *tables) {
    static const char name[] = "the database";
    memset(tables, 0, sizeof *tables);
    tables->database = create_object(name, sizeof name - 1);
    if (tables->database == NULL) {
        return AUR_ERR_MEMORY;
    }
    tables->database->tree = (aur_tree){AUR_DEFAULT_ROOT_PAGE, AUR_DEFAULT_TABLE};
    (void)pthread_mutex_init(&tables->lock, NULL);
    return AUR_OK;
}

void auri_tables_destroy(auri_tables *tables) {
    if (tables->database == NULL) {
        return;
    }
    free(tables->database);
    for (size_t at = 0; at < AURI_TABLE_BUCKETS; at++) {
        while (tables->named[at] != NULL) {
            aur_table *next = tables->named[at]->next;
            free(tables->named[at]);
            tables->named[at] = next;
        }
    }
    (void)pthread_mutex_destroy(&tables->lock);
}

static uint64_t hash_of(const char *name, size_t name_bytes) {
    return auri_key_hash(AUR_CATALOG_TABLE, (const uint8_t *)name, name_bytes);
}

static bool has_name(const aur_table *table, const char *name, size_t name_bytes) {
    return table->name_bytes == name_bytes && memcmp(table->name, name, name_bytes) == 0;
}

/* The first object of that name from `table` on, or NULL. */
static aur_table *skip_to(aur_table *table, const char *name, size_t name_bytes) {
    while (table != NULL && !has_name(table, name, name_bytes)) {
        table = table->next;
    }
    return table;
}

/* The newest object of a name. NULL: there is none. Lock held. */
static aur_table *newest_object(const auri_tables *tables, const char *name, size_t name_bytes) {
    return skip_to(tables->named[hash_of(name, name_bytes) % AURI_TABLE_BUCKETS], name, name_bytes);
}

/* A new object, NULL: out of memory. Lock held. */
static aur_table *add_object(auri_tables *tables, const char *name, size_t name_bytes) {
    aur_table *table = create_object(name, name_bytes);
    if (table != NULL) {
        aur_table **bucket = &tables->named[hash_of(name, name_bytes) % AURI_TABLE_BUCKETS];
        table->next = *bucket;
        *bucket = table;
    }
    return table;
}

/* From memory; NULL: the catalog has to be asked. A name that comes and goes leaves an object each
 * time, so the search ends at one that was dropped: those behind it were before. Lock held. */
static aur_table *find_object(const auri_tables *tables, const char *name, size_t name_bytes,
                              aur_lsn read_point) {
    aur_table *table = newest_object(tables, name, name_bytes);
    while (table != NULL) {
        const aur_status status = auri_tables_recall(tables, table, read_point);
        if (status == AUR_OK) {
            return table;
        }
        if (status == AUR_NO_TABLE &&
            atomic_load_explicit(&table->dropped, memory_order_relaxed) < read_point) {
            return NULL;
        }
        table = skip_to(table->next, name, name_bytes);
    }
    return NULL;
}

typedef struct catalog_entry {
    aur_tree tree;
    aur_lsn created;
} catalog_entry;

static aur_status decode_entry(const aur_value *value, catalog_entry *out, aur_error *error) {
    if (value->data == NULL || value->length != AUR_CATALOG_ENTRY_BYTES) {
        return aur_fail(error, AUR_ERR_CORRUPT, "a catalog entry has %llu bytes instead of %d",
                        (unsigned long long)value->length, AUR_CATALOG_ENTRY_BYTES);
    }
    out->tree.table = aur_get32(value->data + AUR_CATALOG_ENTRY_TABLE_AT);
    out->tree.root = aur_get64(value->data + AUR_CATALOG_ENTRY_ROOT_AT);
    out->created = aur_get64(value->data + AUR_CATALOG_ENTRY_CREATED_AT);
    if (out->tree.table < AUR_FIRST_USER_TABLE || out->created == AUR_LSN_MAX) {
        return aur_fail(error, AUR_ERR_CORRUPT, "a catalog entry names table %u", out->tree.table);
    }
    return AUR_OK;
}

static aur_status read_entry(const aur_reader *reader, const char *name, size_t name_bytes,
                             catalog_entry *out, aur_error *error) {
    aur_value value;
    if (reader->read_point == 0) {
        return AUR_NOT_FOUND;
    }
    aur_status status =
        aur_tree_get(reader, &catalog, (const uint8_t *)name, name_bytes, &value, error);
    if (status == AUR_OK) {
        status = decode_entry(&value, out, error);
        aur_value_release(reader, &value);
    }
    return status;
}

static bool is_object_of(const aur_table *table, const catalog_entry *entry) {
    return table->tree.table == entry->tree.table && table->born == entry->created;
}

static uint64_t count_presents(auri_tables *tables) {
    (void)pthread_mutex_lock(&tables->lock);
    const uint64_t presents = tables->presents;
    (void)pthread_mutex_unlock(&tables->lock);
    return presents;
}

/*
 * What the catalog said at a read point is remembered if that is in the present and nobody has
 * remembered anything yet: then it holds for the whole present, because who creates or drops a
 * table makes sure before that its object knows. Lock held.
 */
static void remember(const auri_tables *tables, aur_table *table, aur_lsn read_point, bool exists) {
    const aur_lsn present = atomic_load_explicit(&tables->present, memory_order_relaxed);
    if (read_point >= present && !atomic_load_explicit(&table->is_known, memory_order_relaxed)) {
        atomic_store_explicit(&table->created, exists ? table->born : AUR_LSN_MAX,
                              memory_order_release);
        atomic_store_explicit(&table->dropped, AUR_LSN_MAX, memory_order_release);
        atomic_store_explicit(&table->is_known, true, memory_order_release);
    }
}

aur_status auri_tables_check(auri_tables *tables, const aur_reader *reader, aur_table *table,
                             aur_error *error) {
    aur_status status = auri_tables_recall(tables, table, reader->read_point);
    if (status != AUR_NOT_FOUND) {
        return status;
    }
    bool exists = false;
    bool is_settled = false;
    while (!is_settled) {
        catalog_entry entry = {0};
        const uint64_t presents = count_presents(tables);
        status = read_entry(reader, table->name, table->name_bytes, &entry, error);
        if (status != AUR_OK && status != AUR_NOT_FOUND) {
            return status;
        }
        (void)pthread_mutex_lock(&tables->lock);
        is_settled = presents == tables->presents;
        exists = status == AUR_OK && is_object_of(table, &entry);
        if (is_settled) {
            remember(tables, table, reader->read_point, exists);
        }
        (void)pthread_mutex_unlock(&tables->lock);
    }
    return exists ? AUR_OK : AUR_NO_TABLE;
}

/* The object of a table that the catalog has; several threads may have read its entry at once.
 * NULL: out of memory. Lock held. */
static aur_table *intern(auri_tables *tables, const catalog_entry *entry, const char *name,
                         size_t name_bytes) {
    aur_table *table = newest_object(tables, name, name_bytes);
    while (table != NULL && !is_object_of(table, entry)) {
        table = skip_to(table->next, name, name_bytes);
    }
    if (table == NULL) {
        table = add_object(tables, name, name_bytes);
        if (table != NULL) {
            table->tree = entry->tree;
            table->born = entry->created;
            atomic_store_explicit(&table->is_known, false, memory_order_relaxed);
        }
    }
    return table;
}

/* From the catalog. */
static aur_status find_entry(auri_tables *tables, const aur_reader *reader, const char *name,
                             size_t name_bytes, aur_table **table_out, aur_error *error) {
    bool is_settled = false;
    while (!is_settled) {
        catalog_entry entry = {0};
        const uint64_t presents = count_presents(tables);
        const aur_status status = read_entry(reader, name, name_bytes, &entry, error);
        if (status != AUR_OK) {
            return status;
        }
        (void)pthread_mutex_lock(&tables->lock);
        is_settled = presents == tables->presents;
        if (is_settled) {
            *table_out = intern(tables, &entry, name, name_bytes);
        }
        if (*table_out != NULL) {
            remember(tables, *table_out, reader->read_point, true);
        }
        (void)pthread_mutex_unlock(&tables->lock);
    }
    return *table_out != NULL ? AUR_OK
                              : aur_fail(error, AUR_ERR_MEMORY, "no memory to open a table");
}

aur_status auri_tables_find(auri_tables *tables, const aur_reader *reader, const char *name,
                            size_t name_bytes, aur_table **table_out, aur_error *error) {
    (void)pthread_mutex_lock(&tables->lock);
    *table_out = find_object(tables, name, name_bytes, reader->read_point);
    (void)pthread_mutex_unlock(&tables->lock);
    return *table_out != NULL ? AUR_OK
                              : find_entry(tables, reader, name, name_bytes, table_out, error);
}

aur_status auri_tables_next_name(const aur_reader *reader, const char *after, size_t after_bytes,
                                 char *name_out, size_t *name_bytes_out, aur_error *error) {
    if (reader->read_point == 0) {
        return AUR_NOT_FOUND;
    }
    /* The smallest key above `after` is `after` with a zero byte; no name is empty, so this steps
     * over the empty key too. */
    uint8_t above[AUR_TABLE_NAME_LIMIT + 1];
    memcpy(above, after, after_bytes);
    above[after_bytes] = 0;
    aur_tree_cursor cursor;
    const uint8_t *key;
    aur_value value;
    aur_tree_cursor_open(&cursor, reader, &catalog);
    aur_status status = aur_tree_cursor_seek(&cursor, above, after_bytes + 1, false, error);
    if (status == AUR_OK) {
        status = aur_tree_cursor_entry(&cursor, &key, name_bytes_out, &value, error);
    }
    if (status == AUR_OK && auri_is_sql_name(key, *name_bytes_out) &&
        !auri_is_sql_name(above, after_bytes)) {
        status = AUR_NOT_FOUND;
    }
    if (status == AUR_OK && *name_bytes_out > AUR_TABLE_NAME_LIMIT) {
        status = aur_fail(error, AUR_ERR_CORRUPT, "a table name of %zu bytes is in the catalog",
                          *name_bytes_out);
    }
    if (status == AUR_OK) {
        memcpy(name_out, key, *name_bytes_out);
    }
    aur_tree_cursor_close(&cursor);
    return status;
}

aur_status auri_tables_visit(const aur_reader *reader,
                             aur_status (*visit)(void *context, const aur_tree *tree, bool is_sql,
                                                 aur_error *error),
                             void *context, aur_error *error) {
    static const uint8_t first_name[1] = {0};
    aur_tree_cursor cursor;
    aur_tree_cursor_open(&cursor, reader, &catalog);
    aur_status status = aur_tree_cursor_seek(&cursor, first_name, 1, false, error);
    while (status == AUR_OK) {
        const uint8_t *key;
        size_t key_bytes;
        aur_value value;
        catalog_entry entry = {0};
        status = aur_tree_cursor_entry(&cursor, &key, &key_bytes, &value, error);
        if (status == AUR_OK) {
            status = decode_entry(&value, &entry, error);
        }
        if (status == AUR_OK) {
            status = visit(context, &entry.tree, auri_is_sql_name(key, key_bytes), error);
        }
        if (status == AUR_OK) {
            status = aur_tree_cursor_next(&cursor, error);
        }
    }
    aur_tree_cursor_close(&cursor);
    return status == AUR_NOT_FOUND ? AUR_OK : status;
}

/* An object of that name that was prepared before and never came to be; the search ends at one that
 * did. NULL: none is found. */
static aur_table *find_abandoned(const auri_tables *tables, const char *name, size_t name_bytes) {
    aur_table *table = newest_object(tables, name, name_bytes);
    while (table != NULL && table->tree.table == 0 &&
           atomic_load_explicit(&table->creator, memory_order_relaxed) != NULL) {
        table = skip_to(table->next, name, name_bytes);
    }
    return table != NULL && table->tree.table == 0 ? table : NULL;
}

aur_status auri_tables_prepare(auri_tables *tables, const void *creator, const char *name,
                               size_t name_bytes, aur_table **table_out, aur_error *error) {
    (void)pthread_mutex_lock(&tables->lock);
    aur_table *table = find_abandoned(tables, name, name_bytes);
    if (table == NULL) {
        table = add_object(tables, name, name_bytes);
    }
    if (table != NULL) {
        atomic_store_explicit(&table->creator, creator, memory_order_release);
    }
    (void)pthread_mutex_unlock(&tables->lock);
    *table_out = table;
    return table != NULL ? AUR_OK : aur_fail(error, AUR_ERR_MEMORY, "no memory to create a table");
}

void auri_tables_abandon(auri_tables *tables, aur_table *table) {
    (void)pthread_mutex_lock(&tables->lock);
    table->born = AUR_LSN_MAX;
    atomic_store_explicit(&table->created, AUR_LSN_MAX, memory_order_release);
    atomic_store_explicit(&table->creator, NULL, memory_order_release);
    (void)pthread_mutex_unlock(&tables->lock);
}

void auri_tables_settle(auri_tables *tables, aur_table *table) {
    (void)pthread_mutex_lock(&tables->lock);
    atomic_store_explicit(&table->creator, NULL, memory_order_release);
    (void)pthread_mutex_unlock(&tables->lock);
}

/* Takes the next table id from the catalog, and counts it up there. */
static aur_status draw_id(aur_writer *writer, uint32_t *id_out, int64_t *entries_added,
                          aur_error *error) {
    const aur_reader reader = {writer->mtr->buffer, writer->mtr->page_bytes, AUR_LSN_MAX, false};
    aur_value value;
    uint32_t id = AUR_FIRST_USER_TABLE;
    aur_status status = aur_tree_get(&reader, &catalog, next_id_key, 0, &value, error);
    if (status == AUR_OK) {
        const bool is_sound = value.data != NULL && value.length == AUR_CATALOG_NEXT_BYTES;
        id = is_sound ? aur_get32(value.data + AUR_CATALOG_NEXT_ID_AT) : 0;
        aur_value_release(&reader, &value);
    }
    if (status != AUR_OK && status != AUR_NOT_FOUND) {
        return status;
    }
    if (id < AUR_FIRST_USER_TABLE || id == UINT32_MAX) {
        return aur_fail(error, AUR_ERR_CORRUPT, "the catalog's next table id is damaged");
    }
    uint8_t next[AUR_CATALOG_NEXT_BYTES];
    bool is_new;
    aur_put32(next + AUR_CATALOG_NEXT_ID_AT, id + 1);
    status = aur_tree_put(writer, &catalog, next_id_key, 0, next, sizeof next, &is_new, error);
    if (status == AUR_OK) {
        *entries_added += is_new;
        *id_out = id;
    }
    return status;
}

/* Puts a table's entry into the catalog; its object is what the entry says from now on. */
static aur_status put_entry(auri_tables *tables, aur_writer *writer, aur_table *table,
                            const aur_tree *tree, int64_t *entries_added, aur_error *error) {
    uint8_t entry[AUR_CATALOG_ENTRY_BYTES];
    bool is_new;
    aur_put32(entry + AUR_CATALOG_ENTRY_TABLE_AT, tree->table);
    aur_put64(entry + AUR_CATALOG_ENTRY_ROOT_AT, tree->root);
    aur_put64(entry + AUR_CATALOG_ENTRY_CREATED_AT, writer->mtr->start);
    const aur_status status = aur_tree_put(writer, &catalog, (const uint8_t *)table->name,
                                           table->name_bytes, entry, sizeof entry, &is_new, error);
    if (status != AUR_OK) {
        return status;
    }
    *entries_added += is_new;
    (void)pthread_mutex_lock(&tables->lock);
    table->tree = *tree;
    table->born = writer->mtr->start;
    atomic_store_explicit(&table->created, writer->mtr->start, memory_order_release);
    (void)pthread_mutex_unlock(&tables->lock);
    return AUR_OK;
}

aur_status auri_tables_create_tree(auri_tables *tables, aur_writer *writer, aur_table *table,
                                   int64_t *entries_added, aur_error *error) {
    aur_tree tree;
    uint32_t id = 0;
    aur_status status = draw_id(writer, &id, entries_added, error);
    if (status == AUR_OK) {
        status = aur_tree_create(writer, id, &tree, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    return put_entry(tables, writer, table, &tree, entries_added, error);
}

aur_status auri_tables_remove_entry(aur_writer *writer, aur_table *table, int64_t *entries_added,
                                    aur_error *error) {
    aur_status status =
        aur_tree_delete(writer, &catalog, (const uint8_t *)table->name, table->name_bytes, error);
    if (status == AUR_NOT_FOUND) {
        status = aur_fail(error, AUR_ERR_CORRUPT, "a table that is dropped is not in the catalog");
    }
    if (status == AUR_OK) {
        *entries_added -= 1;
        atomic_store_explicit(&table->dropped, writer->mtr->start, memory_order_release);
    }
    return status;
}

aur_status auri_tables_rename(auri_tables *tables, aur_writer *writer, aur_table *from,
                              aur_table *to, int64_t *entries_added, aur_error *error) {
    const aur_status status = auri_tables_remove_entry(writer, from, entries_added, error);
    return status == AUR_OK ? put_entry(tables, writer, to, &from->tree, entries_added, error)
                            : status;
}

/* What an object remembers is of an older present than that from `lsn` on. */
static void forget(aur_table *table, aur_lsn lsn, bool is_restart) {
    const bool was_created = table->born != AUR_LSN_MAX;
    if (was_created && is_restart && table->born >= lsn) {
        table->born = AUR_LSN_MAX;
        atomic_store_explicit(&table->created, AUR_LSN_MAX, memory_order_release);
        atomic_store_explicit(&table->is_known, true, memory_order_release);
    } else if (was_created) {
        atomic_store_explicit(&table->is_known, false, memory_order_release);
    }
}

void auri_tables_begin_present(auri_tables *tables, aur_lsn lsn, bool is_restart) {
    (void)pthread_mutex_lock(&tables->lock);
    atomic_store_explicit(&tables->present, lsn, memory_order_release);
    tables->presents++;
    for (size_t at = 0; at < AURI_TABLE_BUCKETS; at++) {
        for (aur_table *table = tables->named[at]; table != NULL; table = table->next) {
            forget(table, lsn, is_restart);
        }
    }
    (void)pthread_mutex_unlock(&tables->lock);
}

aur_status auri_no_table(const aur_table *table, aur_error *error) {
    return aur_fail(error, AUR_NO_TABLE,
                    "table '%.*s' does not exist here: it was dropped, or its "
                    "creation was not committed",
                    (int)table->name_bytes, table->name);
}
