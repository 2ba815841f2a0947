/*
 * SQL databases: page files of the volume that SQLite reads and writes through a VFS of ours.
 *
 * S1  A connection reads at one view from its first lock to its last. Without a write in sight the
 *     view is at VDL, so nobody sees what is not durable.
 * S2  Who writes holds the database's ticket, which is given in the order of asking, and stands at
 *     the database's newest commit. A view that is older is refused (SQLITE_BUSY_SNAPSHOT) with the
 *     ticket in hand, and the retry stands at the head.
 * S3  A commit is one mini-transaction (I2). The ticket is given up as soon as its redo is in the
 *     log; the wait for VDL follows without it, so that many connections share one boxcar (I1).
 * S4  What SQLite's page cache holds is valid for one *version* of the database: the last commit to
 *     it that the view sees. The file change counter of page 1 is made up for each connection: it
 *     changes exactly when the version does.
 *
 * Locks, in the order in which they are taken: the list of databases; a database's ticket; the
 * commit latch; a database's versions.
 */
#ifndef AUR_SQL_SQL_H
#define AUR_SQL_SQL_H

#include <aurora/sql.h>

#include "transaction/pages.h"

typedef struct aur_sql_connection aur_sql_connection;

typedef struct aur_sql_options {
    aur_transactions *transactions;
    aur_buffer *buffer;
    aur_log *log;
    uint32_t page_bytes;
    bool read_volatile; /* durability="async" */
    /* Asks the coordinator to look at the volume, because writes are refused. */
    void (*on_attention)(void *context);
    void *listener_context;
} aur_sql_options;

/* Makes the SQL side of a volume; its VFS is to be registered. Owned by the caller and by every
 * open file: it lives until the last of them is gone. */
aur_status aur_sql_create(const aur_sql_options *options, aur_sql **sql_out,
                          aur_error *error) AUR_CHECKED;

/* Ends every use: waits for calls under way, gives up all views; from then on SQLite gets I/O
 * errors. Before the transactions are destroyed. */
void aur_sql_close(aur_sql *sql);
/* The caller's part is given up. NULL is ignored. */
void aur_sql_release(aur_sql *sql);

#endif
