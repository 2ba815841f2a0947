/* The databases of a volume, and the connections to them. */
#ifndef AUR_SQL_SQL_PRIVATE_H
#define AUR_SQL_SQL_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "sql/sql.h"
#include "sql/sqlite_file.h"
#include "sql/staging.h"
#include "sql/ticket.h"
#include "sql/versions.h"

enum {
    /* SQLite leaves this many bytes at the end of its pages alone: the header of ours takes their
     * place. */
    AURI_SQL_RESERVED_BYTES = AUR_PAGE_BODY_AT,
    AURI_EXTENT_SLOTS = 64,
};

/* One named database, as long as the SQL side lives. */
typedef struct auri_sql_database {
    struct auri_sql_database *next;
    auri_ticket ticket;
    auri_versions versions;
    size_t name_bytes;
    char name[AUR_SQL_NAME_LIMIT + 1];
} auri_sql_database;

typedef struct auri_sql_library auri_sql_library;
typedef struct auri_super auri_super;

struct aur_sql {
    aur_sql_options options;
    unsigned forks; /* of the process that made it */
    atomic_bool is_closed;
    atomic_uint references; /* the owner, and each open connection */
    atomic_uint calls;      /* under way */
    atomic_uint_least64_t opened, views, reads, writes, commits, conflicts;
    pthread_mutex_t lock; /* of the lists, and of `host` */
    auri_sql_database *databases;
    struct aur_sql_connection *connections;
    auri_sql_library *libraries;
    auri_super *supers;
    aur_sql_host host;
    char vfs_name[AUR_SQL_VFS_NAME_BYTES];
};

/* Where a connection stands between two of SQLite's locks. */
enum auri_sql_lock {
    AURI_SQL_UNLOCKED = 0,
    AURI_SQL_SHARED = 1,   /* has a view */
    AURI_SQL_RESERVED = 2, /* and the ticket, and stages what it writes */
    AURI_SQL_ENDED = 3,    /* has committed or failed to */
};

typedef struct auri_extent_slot {
    uint32_t extent; /* + 1; 0: empty */
    aur_page_id first;
} auri_extent_slot;

/* One open file of a database: a page source plus a read point. By one thread at a time. */
struct aur_sql_connection {
    aur_sql *sql;
    uint64_t id;
    aur_sql_connection *next;
    aur_sql_connection *previous;
    auri_sql_database *database;
    void *sqlite; /* the sqlite3 that has it open, once SQLite has told */
    const auri_sql_library *library;
    pthread_t opened_by;

    aur_transaction *view;
    aur_table *table; /* what was found last */
    bool is_fixed;    /* the view stays: as_of */
    bool is_read_only;
    bool is_copied;   /* SQLite is not told that it is read-only: it would leave constraints out */
    bool is_blank;    /* shown as an empty file until its commit, which replaces all there is */
    bool may_replace; /* a blank one: there may be something */
    bool is_streamed; /* a blank one: what it has written so far is in a hidden database */
    aur_table *replaced; /* a streamed one: what is there, or NULL */
    bool exists;         /* at the view; else it is as if it were empty */
    bool has_company;    /* SQLite has, or had, more than this one in one connection of its own */
    bool will_write;     /* the statement that begins now, outside of a transaction */
    bool has_ticket;
    bool was_refused;    /* for an old view, and keeps the ticket for the retry */
    bool has_committed;  /* since the view began */
    bool has_read_pages; /* since the view began; beyond page 1 */
    bool has_failed;     /* its commit: what SQLite still writes, to roll it back, is ignored */
    bool waits;
    bool has_handler;     /* SQLite calls our busy handler */
    bool has_lent;        /* SQLite has its own until the next lock */
    bool has_own_timeout; /* by its URI */
    bool is_overwritten;  /* SQLite said that it will write every page anew */
    enum auri_sql_lock lock;
    uint64_t timeout_ms;

    auri_version version;  /* of the view, and of SQLite's cache */
    uint32_t counter;      /* the file change counter that SQLite is shown */
    uint32_t cookie_shift; /* how far the schema cookie that it is shown is from that of page 1 */
    uint32_t view_pages;
    uint32_t pages; /* with what is staged */
    uint32_t written_counter;
    auri_staging staging;
    /* The super-journal that its commit depends on; others look whether it is theirs. */
    _Atomic(auri_super *) super;
    _Atomic aur_lsn last_commit;
    _Atomic aur_lsn read_point;

    auri_version header_version; /* of which `header` is page 1's; the counter is put in anew */
    uint8_t header[SQLITE_HEADER_BYTES];

    auri_version extents_version;
    auri_extent_slot extents[AURI_EXTENT_SLOTS];

    aur_error error; /* of the last call that failed */
    aur_lsn in_doubt;
    uint8_t *after; /* page_bytes each */
    uint8_t *edits;
    uint8_t *image; /* and a little more */
};

/* ---- sql.c ---- */

/* Around each call that SQLite makes. AUR_ERR_CLOSED: the volume is closed, or the process another
 * one. */
aur_status auri_sql_enter(aur_sql *sql, aur_error *error) AUR_CHECKED;
void auri_sql_leave(aur_sql *sql);

/* Whether this process is a child of the one that made it: locks may be held by threads that do not
 * exist here. */
bool auri_sql_is_forked(const aur_sql *sql);

/* The database of a name, made when nobody has asked for it yet. NULL: out of memory. */
auri_sql_database *auri_sql_database_of(aur_sql *sql, const char *name, size_t name_bytes);

/* Whom to ask: a copy, all zero when there is nobody. */
aur_sql_host auri_sql_host(aur_sql *sql);

/* Whether a wait goes on, as the host says. */
bool auri_sql_goes_on(aur_sql *sql);
/* The same in the middle of a call, which does not count meanwhile: whoever is asked may close the
 * volume, and then the wait is over. */
bool auri_sql_call_goes_on(void *sql);

/* ---- connection.c ---- */

/* `moment` 0: the present. Counted as a reference of `sql`. */
aur_status auri_connection_open(aur_sql *sql, const char *name, size_t name_bytes, aur_lsn moment,
                                aur_sql_connection **connection_out, aur_error *error) AUR_CHECKED;
void auri_connection_close(aur_sql_connection *connection);

/* Takes a view, and before that the ticket for a statement that will write: AUR_TIMEOUT,
 * AUR_INTERRUPTED. AUR_ERR_CLOSED and others. */
aur_status auri_connection_begin(aur_sql_connection *connection, aur_error *error) AUR_CHECKED;
/* Takes the ticket and begins to stage. AUR_TIMEOUT: somebody else has it. AUR_INTERRUPTED: the
 * wait for it was called off. AUR_ERR_CONFLICT: the view is old. AUR_ERR_READ_ONLY, AUR_ERR_QUORUM,
 * AUR_ERR_FENCED. */
aur_status auri_connection_reserve(aur_sql_connection *connection, aur_error *error) AUR_CHECKED;
/* Drops what is staged and gives the ticket up. */
void auri_connection_abandon(aur_sql_connection *connection);
/* And the view. */
void auri_connection_end(aur_sql_connection *connection);

/* Whether a commit could be tried now: AUR_ERR_CONFLICT, AUR_ERR_QUORUM, ... */
aur_status auri_connection_check(aur_sql_connection *connection, aur_error *error) AUR_CHECKED;

/* ---- configure.c ---- */

/* SQLite tells which connection of its own this one is a part of: it waits like the others. */
void auri_connection_join(aur_sql_connection *connection, void *sqlite);
/* How long this one waits for the right to write, and what is attached to it. */
void auri_connection_set_timeout(aur_sql_connection *connection, uint64_t timeout_ms);
/* SQLite has its own busy handler, which knows the time, to the next lock of any file. */
void auri_connection_lend_handler(aur_sql_connection *connection);
void auri_connection_restore_handler(aur_sql_connection *connection);

/* ---- connection_pages.c ---- */

/* Copies page `number` (from 1) to `out`, zeros where there is none. */
aur_status auri_connection_read(aur_sql_connection *connection, uint32_t number, uint8_t *out,
                                aur_error *error) AUR_CHECKED;
/* Copies a part of page 1's header: from `from` on, at most to SQLITE_HEADER_BYTES. The page is
 * there. */
aur_status auri_connection_read_header(aur_sql_connection *connection, uint32_t from, uint8_t *out,
                                       uint32_t bytes, aur_error *error) AUR_CHECKED;
/* Stages a page. AUR_ERR_INVALID: page 1 would change the page size. */
aur_status auri_connection_write(aur_sql_connection *connection, uint32_t number,
                                 const uint8_t *bytes, aur_error *error) AUR_CHECKED;
void auri_connection_resize(aur_sql_connection *connection, uint32_t pages);
/* First page of an extent at the view. AUR_NOT_FOUND. */
aur_status auri_connection_extent(aur_sql_connection *connection, const aur_reader *reader,
                                  uint32_t extent, aur_page_id *first_out,
                                  aur_error *error) AUR_CHECKED;

/* ---- connection_stream.c ---- */

/*
 * A blank database may be bigger than memory, in which redo stays that VDL has not passed. So what
 * it writes goes, a piece at a time, into a database whose name nobody is told; its commit gives
 * that the right name. What a crash leaves behind is removed by the next one.
 */
enum { AURI_HIDDEN_NAME_BYTES = 9 };

void auri_hidden_name(uint64_t connection, char out[AURI_HIDDEN_NAME_BYTES]);
static inline bool auri_is_hidden_name(const char *name, size_t name_bytes) {
    return name_bytes > 0 && name[0] == '\0';
}
/* Puts what is staged into the hidden database when it is much. */
aur_status auri_connection_stream(aur_sql_connection *connection, aur_error *error) AUR_CHECKED;
/* It will not be committed. */
void auri_connection_discard(aur_sql_connection *connection);

/* sql.c: removes a database. AUR_NOT_FOUND. */
aur_status auri_sql_drop(aur_sql *sql, const char *name, size_t name_bytes, uint64_t timeout_ms,
                         aur_lsn *lsn_out, aur_error *error) AUR_CHECKED;

/* ---- connection_commit.c ---- */

/* Commits what a streamed one has staged into its hidden database, and goes on. */
aur_status auri_connection_flush(aur_sql_connection *connection, aur_error *error) AUR_CHECKED;

/* Commits what the connections have staged, in one mini-transaction, and gives their tickets up.
 * *lsn_out: 0 when there was nothing. */
aur_status auri_connections_commit(aur_sql_connection *const *connections, size_t count,
                                   aur_lsn *lsn_out, aur_error *error) AUR_CHECKED;
/* Waits until a commit of this connection is durable, as long as it takes. */
aur_status auri_connection_wait(aur_sql_connection *connection, aur_lsn lsn,
                                aur_error *error) AUR_CHECKED;

#endif
