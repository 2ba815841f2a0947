/* The VFS: which file is which, and what the library's own default does as well. */
#include <stdlib.h>
#include <string.h>

#include "sql/vfs.h"

enum { PATH_BYTES = AUR_SQL_NAME_LIMIT + 64 };

static const auri_sql_library *library_of(const sqlite3_vfs *vfs) { return vfs->pAppData; }

/* Why this thread is about to try again: it was refused for an old view and has the ticket, so that
 * it does not sleep before; or it waits for the ticket. `who` is an address only. */
static _Thread_local struct {
    bool at_once;
    bool is_interrupted; /* it is the last time: that handler would go on sleeping */
    auri_sql_database *database;
    const void *who;
} retry;

enum { NS_PER_US = 1000 };

/* SQLite takes a file for open as soon as it has methods. */
static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *flags_out) {
    const auri_sql_library *library = library_of(vfs);
    auri_file *ours = (auri_file *)file;
    file->pMethods = NULL;
    if (flags_out != NULL) {
        *flags_out = flags;
    }
    if (auri_sql_is_forked(library->sql)) {
        return SQLITE_CANTOPEN;
    }
    if ((flags & SQLITE_OPEN_MAIN_DB) != 0) {
        return auri_database_file_open(library, name, flags, &ours->database, flags_out);
    }
    if ((flags & SQLITE_OPEN_MAIN_JOURNAL) != 0) {
        return auri_journal_file_open(&ours->journal);
    }
    if ((flags & SQLITE_OPEN_SUPER_JOURNAL) != 0) {
        return auri_super_file_open(library->sql, name, &ours->super);
    }
    return library->system->xOpen(library->system, name, file, flags, flags_out);
}

static int commit_super(aur_sql *sql, const auri_super *super) {
    aur_status status = auri_sql_enter(sql, NULL);
    if (status == AUR_OK) {
        status = auri_super_commit(sql, super);
        auri_sql_leave(sql);
    }
    if (status == AUR_ERR_FULL) {
        return SQLITE_FULL;
    }
    return status == AUR_OK ? SQLITE_OK : SQLITE_IOERR_FSYNC;
}

/* Journals are gone with their connection. The durable deletion of a super-journal is the commit of
 * all that depend on it; when SQLite gives one up, it does not ask for durability. */
static int delete_file(sqlite3_vfs *vfs, const char *name, int sync_directory) {
    aur_sql *sql = library_of(vfs)->sql;
    auri_super *super = auri_super_find(sql, name);
    int code = SQLITE_OK;
    if (super != NULL && sync_directory != 0) {
        code = commit_super(sql, super);
        super = auri_super_find(sql, name); /* it has gone with its last member */
    }
    if (super != NULL) {
        auri_super_leave(sql, super, NULL);
    }
    return code;
}

/* No journal of another time is ever there. */
static int file_exists(sqlite3_vfs *vfs, const char *name, int flags, int *out) {
    (void)flags;
    *out = auri_super_find(library_of(vfs)->sql, name) != NULL;
    return SQLITE_OK;
}

/* A database's file is its name; slashes in front are those of a URI. */
static int full_name(sqlite3_vfs *vfs, const char *name, int bytes, char *out) {
    (void)vfs;
    while (*name == '/') {
        name++;
    }
    const size_t length = strlen(name);
    if (length == 0 || length > AUR_SQL_NAME_LIMIT || length >= (size_t)bytes) {
        return SQLITE_CANTOPEN;
    }
    memcpy(out, name, length + 1);
    return SQLITE_OK;
}

/* ---- what the system's VFS does ---- */

static void *open_library(sqlite3_vfs *vfs, const char *name) {
    sqlite3_vfs *system = library_of(vfs)->system;
    return system->xDlOpen(system, name);
}
static void library_error(sqlite3_vfs *vfs, int bytes, char *message) {
    sqlite3_vfs *system = library_of(vfs)->system;
    system->xDlError(system, bytes, message);
}
static void (*library_symbol(sqlite3_vfs *vfs, void *handle, const char *symbol))(void) {
    sqlite3_vfs *system = library_of(vfs)->system;
    return system->xDlSym(system, handle, symbol);
}
static void close_library(sqlite3_vfs *vfs, void *handle) {
    sqlite3_vfs *system = library_of(vfs)->system;
    system->xDlClose(system, handle);
}
static int randomness(sqlite3_vfs *vfs, int bytes, char *out) {
    sqlite3_vfs *system = library_of(vfs)->system;
    return system->xRandomness(system, bytes, out);
}
static int current_time(sqlite3_vfs *vfs, double *out) {
    sqlite3_vfs *system = library_of(vfs)->system;
    return system->xCurrentTime(system, out);
}
static int current_time_ms(sqlite3_vfs *vfs, int64_t *out) {
    sqlite3_vfs *system = library_of(vfs)->system;
    return system->xCurrentTimeInt64(system, out);
}

static void sleep_in_line(aur_sql *sql, int microseconds) {
    auri_ticket *ticket = &retry.database->ticket;
    const uint64_t timeout_ns = (uint64_t)microseconds * NS_PER_US;
    retry.database = NULL;
    const aur_status status = auri_sql_goes_on(sql)
                                  ? auri_ticket_take(ticket, retry.who, timeout_ns, NULL)
                                  : AUR_INTERRUPTED;
    if (status == AUR_OK) {
        auri_ticket_leave(ticket, retry.who, AURI_TICKET_GRACE_NS);
    }
    retry.is_interrupted = status == AUR_INTERRUPTED;
}

/* SQLite's own busy handler sleeps before it tries again, which would be with the ticket in hand,
 * or out of line. */
static int sleep_us(sqlite3_vfs *vfs, int microseconds) {
    sqlite3_vfs *system = library_of(vfs)->system;
    if (retry.at_once) {
        retry.at_once = false;
        return microseconds;
    }
    if (retry.database != NULL && microseconds > 0) {
        sleep_in_line(library_of(vfs)->sql, microseconds);
        return microseconds;
    }
    return system->xSleep(system, microseconds);
}

static int last_error(sqlite3_vfs *vfs, int bytes, char *message) {
    (void)vfs;
    if (bytes > 0) {
        message[0] = '\0';
    }
    return 0;
}

void auri_vfs_expect_retry(const aur_sql_connection *connection, aur_status status) {
    const bool waits = status == AUR_TIMEOUT && connection->was_refused;
    retry.at_once = status == AUR_ERR_CONFLICT && connection->was_refused;
    retry.database = waits ? connection->database : NULL;
    retry.who = connection;
}

bool auri_vfs_was_refused(void) { return retry.at_once; }

bool auri_vfs_take_interruption(void) {
    const bool is_interrupted = retry.is_interrupted;
    retry.is_interrupted = false;
    return is_interrupted;
}

void auri_vfs_fill(auri_sql_library *library) {
    const int system_bytes = library->system->szOsFile;
    library->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = system_bytes > (int)sizeof(auri_file) ? system_bytes : (int)sizeof(auri_file),
        .mxPathname = PATH_BYTES,
        .zName = library->sql->vfs_name,
        .pAppData = library,
        .xOpen = open_file,
        .xDelete = delete_file,
        .xAccess = file_exists,
        .xFullPathname = full_name,
        .xDlOpen = open_library,
        .xDlError = library_error,
        .xDlSym = library_symbol,
        .xDlClose = close_library,
        .xRandomness = randomness,
        .xSleep = sleep_us,
        .xCurrentTime = current_time,
        .xGetLastError = last_error,
        .xCurrentTimeInt64 = current_time_ms,
    };
}
