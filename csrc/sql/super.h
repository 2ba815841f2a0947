/*
 * A super-journal: SQLite's way to commit several databases together. Here it is the list of
 * connections whose changes go into one mini-transaction, when SQLite deletes it.
 *
 * Thread rule: the list is guarded by the lock of `sql`; one super-journal is used by one thread at
 * a time.
 */
#ifndef AUR_SQL_SUPER_H
#define AUR_SQL_SUPER_H

#include "sql/sql_private.h"

struct auri_super {
    auri_super *next;
    uint32_t members;   /* connections that it has claimed */
    const void *sqlite; /* whose connections they are */
    char name[];
};

/* NULL: out of memory. */
auri_super *auri_super_create(aur_sql *sql, const char *name);
/* NULL: none of this name. */
auri_super *auri_super_find(aur_sql *sql, const char *name);
/* A connection depends on it no longer; NULL: none did, it is given up. It goes with the last one:
 * as long as it is there, SQLite rolls back what depends on it. */
void auri_super_leave(aur_sql *sql, auri_super *super, aur_sql_connection *member);

/* The transaction takes part with the database of a rollback journal. AUR_ERR_INVALID: it writes
 * into a file that is not of this volume. */
aur_status auri_super_claim(aur_sql *sql, auri_super *super, const char *journal, size_t bytes,
                            aur_error *error) AUR_CHECKED;

/* Commits the connections that depend on it, in one mini-transaction, and waits if one of them
 * waits. They are told the error. */
aur_status auri_super_commit(aur_sql *sql, const auri_super *super) AUR_CHECKED;

#endif
