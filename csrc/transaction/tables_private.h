/*
 * The tables of a volume as objects, and the catalog tree that they rest in. Layout of the catalog:
 * docs/format/catalog.md.
 *
 * An object is made when somebody names a table, and lives as long as the engine. Before its
 * creator commits, the table exists for that one transaction only.
 *
 * Whether a table exists at a read point is for the catalog at that point to say. What it said of
 * the present is remembered in the object: the *present* are the read points from tables.present
 * on, where service started or history last went on from an older moment; there the table exists in
 * (created, dropped]. All before is the past, and the catalog is asked each time. A name may come
 * back with another table, and after a rewind an id may too, so an object is told by its id and the
 * LSN of its birth together, which no other mini-transaction shares.
 *
 * Thread rule: `lock` guards the lists, births and creators; the rest is atomic, so that an
 * operation in the present checks its table without a lock. When the present begins anew,
 * tables.present changes before what objects remember does: whoever sees the new memory sees the
 * new present. The tree of a table is set before `created` is.
 */
#ifndef AUR_TRANSACTION_TABLES_PRIVATE_H
#define AUR_TRANSACTION_TABLES_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "transaction/transaction.h"

enum {
    /* Value of a table in the catalog; its key is the name. */
    AUR_CATALOG_ENTRY_TABLE_AT = 0,    /* u32 table id */
    AUR_CATALOG_ENTRY_ROOT_AT = 4,     /* u64 root page */
    AUR_CATALOG_ENTRY_CREATED_AT = 12, /* u64 LSN of the last commit before its creation */
    AUR_CATALOG_ENTRY_BYTES = 20,
    /* First byte of the names of SQL databases, which are otherwise entries like tables'; in no
     * UTF-8 text, so they stand behind all tables. */
    AUR_CATALOG_SQL_PREFIX = 0xff,
    /* Value of the empty key: the next table id, which makes ids unique for ever. */
    AUR_CATALOG_NEXT_ID_AT = 0, /* u32 */
    AUR_CATALOG_NEXT_BYTES = 4,
};

enum { AURI_TABLE_BUCKETS = 1024 };

struct aur_table {
    aur_table *next; /* in its bucket: older */
    aur_tree tree;
    aur_lsn born; /* last commit before its creation; AUR_LSN_MAX: not created, or that was lost */
    atomic_bool is_known;    /* what follows tells of the present */
    _Atomic aur_lsn created; /* AUR_LSN_MAX: it does not exist, or its creator has not committed */
    _Atomic aur_lsn dropped; /* AUR_LSN_MAX: it lives */
    _Atomic(const void *) creator; /* the transaction that would create it, or NULL */
    size_t name_bytes;
    char name[];
};

typedef struct auri_tables {
    pthread_mutex_t lock;
    aur_table *named[AURI_TABLE_BUCKETS]; /* by the hash of the name, newest first */
    aur_table *database;                  /* the table that NULL means */
    _Atomic aur_lsn present;
    uint64_t presents; /* counts them: what the catalog said in an older one is asked again */
} auri_tables;

aur_status auri_tables_init(auri_tables *tables) AUR_CHECKED;
void auri_tables_destroy(auri_tables *tables);

/* Whether the table exists at a read point: AUR_OK, AUR_NO_TABLE; AUR_NOT_FOUND: only the catalog
 * knows. */
static inline aur_status auri_tables_recall(const auri_tables *tables, const aur_table *table,
                                            aur_lsn read_point) {
    if (table == tables->database) {
        return read_point > 0 ? AUR_OK : AUR_NO_TABLE;
    }
    const bool is_known = atomic_load_explicit(&table->is_known, memory_order_acquire);
    const bool exists = atomic_load_explicit(&table->created, memory_order_acquire) < read_point &&
                        read_point <= atomic_load_explicit(&table->dropped, memory_order_acquire);
    /* Last: the memory of a present that has just begun is not taken for that of an older one. */
    if (!is_known || read_point < atomic_load_explicit(&tables->present, memory_order_acquire)) {
        return AUR_NOT_FOUND;
    }
    return exists ? AUR_OK : AUR_NO_TABLE;
}

/* AUR_OK: the table exists at the reader's read point. AUR_NO_TABLE. Reads the catalog if need be.
 */
aur_status auri_tables_check(auri_tables *tables, const aur_reader *reader, aur_table *table,
                             aur_error *error) AUR_CHECKED;

/* Says AUR_NO_TABLE. */
aur_status auri_no_table(const aur_table *table, aur_error *error);

/* The table of that name at the reader's read point, from memory or the catalog. AUR_NOT_FOUND. */
aur_status auri_tables_find(auri_tables *tables, const aur_reader *reader, const char *name,
                            size_t name_bytes, aur_table **table_out, aur_error *error) AUR_CHECKED;

/* Whether a name is that of an SQL database. */
static inline bool auri_is_sql_name(const uint8_t *name, size_t name_bytes) {
    return name_bytes > 0 && name[0] >= AUR_CATALOG_SQL_PREFIX;
}

/* The first name behind `after` (empty: the first of all) in the catalog, of its kind: tables end
 * where SQL databases begin. AUR_NOT_FOUND. */
aur_status auri_tables_next_name(const aur_reader *reader, const char *after, size_t after_bytes,
                                 char *name_out, size_t *name_bytes_out,
                                 aur_error *error) AUR_CHECKED;

/* A table that only `creator` has, until auri_tables_settle or auri_tables_abandon. */
aur_status auri_tables_prepare(auri_tables *tables, const void *creator, const char *name,
                               size_t name_bytes, aur_table **table_out,
                               aur_error *error) AUR_CHECKED;
void auri_tables_abandon(auri_tables *tables, aur_table *table);

/* Commit: makes the tree and the catalog entry of a prepared table, or takes the entry away. The
 * object's LSNs are set to the mini-transaction's start at once: read points above it are those
 * that see its commit. Commit latch held, inside a mini-transaction. */
aur_status auri_tables_create_tree(auri_tables *tables, aur_writer *writer, aur_table *table,
                                   int64_t *entries_added, aur_error *error) AUR_CHECKED;
aur_status auri_tables_remove_entry(aur_writer *writer, aur_table *table, int64_t *entries_added,
                                    aur_error *error) AUR_CHECKED;
/* The tree of a table becomes that of a prepared one; `from` is dropped. */
aur_status auri_tables_rename(auri_tables *tables, aur_writer *writer, aur_table *from,
                              aur_table *to, int64_t *entries_added, aur_error *error) AUR_CHECKED;
/* A commit succeeded: a prepared table belongs to everybody. */
void auri_tables_settle(auri_tables *tables, aur_table *table);

/* The present begins anew at `lsn`: after a rewind, or where service starts. With `is_restart`,
 * commits above it never happened. */
void auri_tables_begin_present(auri_tables *tables, aur_lsn lsn, bool is_restart);

/* Calls `visit` for every table and SQL database in the catalog until it fails. */
aur_status auri_tables_visit(const aur_reader *reader,
                             aur_status (*visit)(void *context, const aur_tree *tree, bool is_sql,
                                                 aur_error *error),
                             void *context, aur_error *error) AUR_CHECKED;

#endif
