/*
 * SQL databases of a volume, for SQLite: a VFS that any SQLite library in this process can use.
 *
 * A database's file is named by its name in the volume; URI parameters of a connection:
 *   as_of=MOMENT   read the database as it was (an LSN, or what the resolver understands)
 *   timeout=MS     how long to wait for the right to write
 *   copied=1       with as_of, for VACUUM INTO: SQLite is not told that it is read-only
 *   blank=new      for VACUUM INTO: the database, which must not be there, is an empty file
 *   blank=replace  the same, and its commit replaces all there is
 * (SQLite leaves the constraints of a read-only database out, and then copies rows without rowids.)
 *
 * Thread rule: as in engine.h. A connection of SQLite's belongs to one thread at a
 * time, as SQLite has it; what is asked about it here may come from any.
 */
#ifndef AURORA_SQL_H
#define AURORA_SQL_H

#include <aurora/engine.h>

typedef struct aur_sql aur_sql;

/* The SQL side of an engine, made at the first call. Owned by the engine. */
AUR_API AUR_CHECKED aur_status aur_engine_sql(aur_engine *engine, aur_sql **sql_out,
                                              aur_error *error);

/* The program that SQL runs in, which is asked in the thread that runs the statement: about the
 * volume's past, and whether to wait. */
typedef struct aur_sql_host {
    void *context;
    /* The LSN of the moment that the text of an `as_of` names. */
    aur_status (*resolve)(void *context, const char *text, uint64_t *lsn_out, aur_error *error);
    /* The backtracks that were made, oldest first: stores at most `capacity`, returns how many
     * there are. */
    size_t (*backtracks)(void *context, aur_rewind *out, size_t capacity);
    /* Whether a wait for the right to write goes on; asked every 100 ms of it. May be NULL: it
     * does. May use, and close, the volume; not the connection that waits. */
    bool (*goes_on)(void *context);
} aur_sql_host;
/* NULL: there is nobody to ask any more. */
AUR_API void aur_sql_set_host(aur_sql *sql, const aur_sql_host *host);

/*
 * Registers the VFS in the SQLite library that `library` (the path of a shared object that is
 * loaded, such as Python's _sqlite3; empty: the program itself) is or uses. Idempotent. `name_out`
 * (64 bytes) gets the VFS's name. AUR_ERR_INVALID: no SQLite is found there; load the extension
 * instead (aur_sql_extension_init), then its library is known.
 */
enum { AUR_SQL_VFS_NAME_BYTES = 64 };
AUR_API AUR_CHECKED aur_status aur_sql_register(aur_sql *sql, const char *library, char *name_out,
                                                aur_error *error);

/* For libraries that hide their symbols: an extension's entry point, to be loaded once into a
 * connection of that library. Afterwards the library is called "extension" in aur_sql_register. */
AUR_API int aur_sql_extension_init(void *database, char **message, const void *routines);

/* ---- connections ---- */

/* A connection is named by a number, so that who has kept one after its end does no harm: calls
 * answer AUR_ERR_CLOSED then. */

/* The newest connection that this thread has opened on a database of this volume and that is open
 * still, to be configured by who has opened it. 0: none. */
AUR_API uint64_t aur_sql_opened(aur_sql *sql);

/* Whether COMMIT waits until it is durable; *before_out (may be NULL): whether it did. */
AUR_API AUR_CHECKED aur_status aur_sql_set_wait(aur_sql *sql, uint64_t connection, bool wait,
                                                bool *before_out, aur_error *error);

/* How long to wait for the right to write. SQLite calls a busy handler of ours from now on, which
 * retries at once when the connection has that right already, and else has waited long enough. */
AUR_API AUR_CHECKED aur_status aur_sql_set_timeout(aur_sql *sql, uint64_t connection,
                                                   uint64_t timeout_ms, aur_error *error);

/* Ends the wait of a connection for the right to write, if it waits now: SQLITE_INTERRUPT. */
AUR_API void aur_sql_interrupt(aur_sql *sql, uint64_t connection);

typedef struct aur_sql_state {
    uint64_t last_commit; /* of this connection; 0: none */
    uint64_t read_point;  /* the moment that it reads at; 0: it reads nothing now */
    uint64_t in_doubt;    /* a commit that failed and may have happened all the same; 0: none */
    aur_error error;      /* why SQLite was given an error last; status AUR_OK: it was given none */
} aur_sql_state;
/* The error, and what is in doubt, are told once, and are for the thread that SQLite's connection
 * is used by at the time. */
AUR_API AUR_CHECKED aur_status aur_sql_take_state(aur_sql *sql, uint64_t connection,
                                                  aur_sql_state *out, aur_error *error);

/* Why this thread could not open a database last, or could not commit to one that is attached to a
 * database of another volume; status AUR_OK: it could, or was told already. */
AUR_API void aur_sql_take_thread_error(aur_error *out);

/* Adds the table-valued function aurora_history() to a connection. */
AUR_API AUR_CHECKED aur_status aur_sql_add_tables(aur_sql *sql, uint64_t connection,
                                                  aur_error *error);

/* ---- databases ---- */

/* The first name behind `after`; AUR_NOT_FOUND. `name_out` has AUR_SQL_NAME_BYTES and is
 * terminated.
 */
enum { AUR_SQL_NAME_BYTES = 256 };
AUR_API AUR_CHECKED aur_status aur_sql_next_name(aur_sql *sql, const char *after, char *name_out,
                                                 aur_error *error);
/* Removes a database with all that is in it; waits at most timeout_ms for who writes it.
 * AUR_NOT_FOUND, AUR_TIMEOUT; durable when VDL reaches *lsn_out. */
AUR_API AUR_CHECKED aur_status aur_sql_drop(aur_sql *sql, const char *name, uint64_t timeout_ms,
                                            uint64_t *lsn_out, aur_error *error);

typedef struct aur_sql_counts {
    uint64_t connections; /* open now */
    uint64_t opened, views, reads, writes, commits, conflicts;
} aur_sql_counts;
AUR_API void aur_sql_get_counts(aur_sql *sql, aur_sql_counts *out);

#endif
