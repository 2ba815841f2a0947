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
    uint32_t members; /* databases, here and elsewhere, that the transaction may write */
    uint64_t bytes;
    char name[];
};

/* NULL: out of memory. */
auri_super *auri_super_create(aur_sql *sql, const char *name);
/* NULL: none of this name. */
auri_super *auri_super_find(aur_sql *sql, const char *name);
/* Takes it off the list and frees it, if it is still there. */
void auri_super_remove(aur_sql *sql, const auri_super *super);

/* Commits the connections that depend on it, in one mini-transaction, and waits if one of them
 * waits. *member_out: one of them, to tell the error to. AUR_ERR_INVALID: not all that the
 * transaction writes is in this volume. */
aur_status auri_super_commit(aur_sql *sql, const auri_super *super, aur_sql_connection **member_out,
                             aur_error *error) AUR_CHECKED;

#endif
