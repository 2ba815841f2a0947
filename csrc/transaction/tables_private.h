/*
 * The tables of a volume as objects, and the catalog tree that they rest in. Layout of the catalog:
 * docs/format/catalog.md.
 *
 * An object is made when somebody names a table, and lives as long as the engine. It exists for a
 * reader at read points in (created, dropped]; before its creator commits it exists for that one
 * transaction only.
 *
 * Thread rule: `lock` guards the list and the creator of a table; the LSNs are atomic, so that an
 * operation checks its table without a lock. The tree of a table is set before `created` is.
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
    /* Value of the empty key: the next table id, which makes ids unique for ever. */
    AUR_CATALOG_NEXT_ID_AT = 0, /* u32 */
    AUR_CATALOG_NEXT_BYTES = 4,
};

struct aur_table {
    aur_table *next;
    aur_tree tree;
    _Atomic aur_lsn created;       /* AUR_LSN_MAX: not created, or its creator is not committed */
    _Atomic aur_lsn dropped;       /* AUR_LSN_MAX: it lives */
    _Atomic(const void *) creator; /* the transaction that would create it, or NULL */
    uint64_t name_hash;
    size_t name_bytes;
    char name[];
};

typedef struct auri_tables {
    pthread_mutex_t lock;
    aur_table *first;
    aur_table *database; /* the table that NULL means */
} auri_tables;

aur_status auri_tables_init(auri_tables *tables) AUR_CHECKED;
void auri_tables_destroy(auri_tables *tables);

static inline bool auri_table_exists(const aur_table *table, aur_lsn read_point) {
    return atomic_load_explicit(&table->created, memory_order_acquire) < read_point &&
           read_point <= atomic_load_explicit(&table->dropped, memory_order_acquire);
}

/* The table of that name at the reader's read point, from memory or the catalog. AUR_NOT_FOUND. */
aur_status auri_tables_find(auri_tables *tables, const aur_reader *reader, const char *name,
                            size_t name_bytes, aur_table **table_out, aur_error *error) AUR_CHECKED;

/* The first name behind `after` (empty: the first of all) in the catalog. AUR_NOT_FOUND. */
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
/* A commit succeeded: a prepared table belongs to everybody. */
void auri_tables_settle(auri_tables *tables, aur_table *table);

/* Commits above `vdl` never happened. */
void auri_tables_rewind(auri_tables *tables, aur_lsn vdl);

/* Calls `visit` for every table in the catalog until it fails. */
aur_status auri_tables_visit(const aur_reader *reader,
                             aur_status (*visit)(void *context, const aur_tree *tree,
                                                 aur_error *error),
                             void *context, aur_error *error) AUR_CHECKED;

#endif
