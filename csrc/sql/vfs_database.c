/* A database as SQLite's file: its locks become views and tickets, its commit a mini-transaction.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sql/sqlite_file.h"
#include "sql/vfs.h"

static aur_sql_connection *connection_of(sqlite3_file *file) {
    return ((auri_database_file *)file)->connection;
}

/* What no connection of the main database's volume can tell: SQLite says only that it could not
 * open a file, or commit. */
static _Thread_local aur_error thread_error;

void aur_sql_take_thread_error(aur_error *out) {
    *out = thread_error;
    aur_error_clear(&thread_error);
}

int auri_sqlite_code(aur_sql_connection *connection, aur_status status, int io_code) {
    if (status != AUR_OK) {
        /* An outcome, such as a wait that took too long, is no error of ours. */
        connection->error.status = status < AUR_OK ? status : AUR_OK;
    }
    switch (status) {
    case AUR_OK:
        return SQLITE_OK;
    case AUR_TIMEOUT:
        return SQLITE_BUSY;
    case AUR_INTERRUPTED:
        return SQLITE_INTERRUPT;
    case AUR_ERR_CONFLICT:
        return SQLITE_BUSY_SNAPSHOT;
    case AUR_ERR_READ_ONLY:
        return SQLITE_READONLY;
    case AUR_ERR_FULL:
        return SQLITE_FULL;
    case AUR_ERR_MEMORY:
        return SQLITE_IOERR_NOMEM;
    case AUR_ERR_CORRUPT:
        return SQLITE_IOERR_CORRUPTFS;
    default:
        return io_code;
    }
}

/* ---- pages ---- */

static bool is_whole_page(const aur_sql_connection *connection, int bytes, int64_t offset) {
    const int page_bytes = (int)connection->sql->options.page_bytes;
    return bytes == page_bytes && offset % page_bytes == 0;
}

/* The beginning of a file that is still empty: SQLite takes page size and reserved bytes from it.
 */
static void show_empty_header(const aur_sql_connection *connection, uint8_t *out, int bytes) {
    const uint32_t page_bytes = connection->sql->options.page_bytes;
    static const uint8_t fractions[] = {64, 32, 32};
    if (bytes == SQLITE_HEADER_BYTES) {
        out[SQLITE_HEADER_PAGE_SIZE_AT] = (uint8_t)(page_bytes >> 8);
        out[SQLITE_HEADER_PAGE_SIZE_AT + 1] = (uint8_t)(page_bytes >> 16);
        out[SQLITE_HEADER_WRITE_VERSION_AT] = 1;
        out[SQLITE_HEADER_READ_VERSION_AT] = 1;
        out[SQLITE_HEADER_RESERVED_AT] = AURI_SQL_RESERVED_BYTES;
        memcpy(out + SQLITE_HEADER_FRACTIONS_AT, fractions, sizeof fractions);
    }
}

static uint32_t pages_of(const aur_sql_connection *connection) {
    return connection->lock == AURI_SQL_RESERVED ? connection->pages : connection->view_pages;
}

/* A part of a page; SQLite asks for parts of page 1's header only. */
static int read_part(aur_sql_connection *connection, uint8_t *out, int bytes, int64_t offset) {
    if (pages_of(connection) == 0 || offset + bytes > SQLITE_HEADER_BYTES) {
        memset(out, 0, (size_t)bytes);
        if (offset == 0 && !connection->is_blank) {
            show_empty_header(connection, out, bytes);
        }
        return SQLITE_IOERR_SHORT_READ;
    }
    const aur_status status = auri_connection_read_header(connection, (uint32_t)offset, out,
                                                          (uint32_t)bytes, &connection->error);
    return auri_sqlite_code(connection, status, SQLITE_IOERR_READ);
}

static int read_locked(aur_sql_connection *connection, uint8_t *out, int bytes, int64_t offset) {
    if (!is_whole_page(connection, bytes, offset)) {
        return read_part(connection, out, bytes, offset);
    }
    const uint32_t number = (uint32_t)(offset / bytes) + 1;
    if (number > pages_of(connection)) {
        memset(out, 0, (size_t)bytes);
        return SQLITE_IOERR_SHORT_READ;
    }
    const aur_status status = auri_connection_read(connection, number, out, &connection->error);
    return auri_sqlite_code(connection, status, SQLITE_IOERR_READ);
}

/* Runs with a view; when SQLite has taken no lock, with one for this call. */
static int begin_call(aur_sql_connection *connection, bool *is_brief, int io_code) {
    aur_status status = auri_sql_enter(connection->sql, &connection->error);
    *is_brief = false;
    if (status == AUR_OK && connection->lock == AURI_SQL_UNLOCKED) {
        status = auri_connection_begin(connection, &connection->error);
        *is_brief = status == AUR_OK;
        if (status != AUR_OK) {
            auri_sql_leave(connection->sql);
        }
    }
    return auri_sqlite_code(connection, status, io_code);
}

static void end_call(aur_sql_connection *connection, bool is_brief) {
    if (is_brief) {
        auri_connection_end(connection);
    }
    auri_sql_leave(connection->sql);
}

static int read_file(sqlite3_file *file, void *out, int bytes, int64_t offset) {
    aur_sql_connection *connection = connection_of(file);
    bool is_brief;
    int code = begin_call(connection, &is_brief, SQLITE_IOERR_READ);
    if (code == SQLITE_OK) {
        code = read_locked(connection, out, bytes, offset);
        end_call(connection, is_brief);
    }
    return code;
}

static int write_file(sqlite3_file *file, const void *from, int bytes, int64_t offset) {
    aur_sql_connection *connection = connection_of(file);
    if (connection->lock < AURI_SQL_RESERVED) {
        return SQLITE_READONLY;
    }
    aur_status status = auri_sql_enter(connection->sql, &connection->error);
    if (status == AUR_OK) {
        status = is_whole_page(connection, bytes, offset)
                     ? auri_connection_write(connection, (uint32_t)(offset / bytes) + 1, from,
                                             &connection->error)
                     : aur_fail(&connection->error, AUR_ERR_INVALID,
                                "a database in this volume has pages of %u bytes; copy it by "
                                "import-sqlite",
                                connection->sql->options.page_bytes);
        auri_sql_leave(connection->sql);
    }
    return auri_sqlite_code(connection, status, SQLITE_IOERR_WRITE);
}

static int truncate_file(sqlite3_file *file, int64_t size) {
    aur_sql_connection *connection = connection_of(file);
    const int64_t page_bytes = connection->sql->options.page_bytes;
    auri_connection_resize(connection, (uint32_t)((size + page_bytes - 1) / page_bytes));
    return SQLITE_OK;
}

/* VACUUM INTO asks for the size of its target without a lock, and nothing else does so with a file
 * that is attached. It would take the page size that an empty database has here for a lack of
 * memory. */
static int refuse_vacuum_into(aur_sql_connection *connection) {
    const aur_status status =
        aur_fail(&connection->error, AUR_ERR_INVALID,
                 "VACUUM INTO makes ordinary files, and '%.100s' is a name in the volume: say "
                 "'file:/path?vfs=unix', or copy by export-sqlite and import-sqlite",
                 connection->database->name);
    return auri_sqlite_code(connection, status, SQLITE_IOERR_READ);
}

static int file_size(sqlite3_file *file, int64_t *size_out) {
    aur_sql_connection *connection = connection_of(file);
    bool is_brief;
    int code = begin_call(connection, &is_brief, SQLITE_IOERR_READ);
    if (code == SQLITE_OK) {
        if (is_brief && connection->has_company && !connection->exists && !connection->is_blank) {
            code = refuse_vacuum_into(connection);
        }
        *size_out = (int64_t)pages_of(connection) * connection->sql->options.page_bytes;
        end_call(connection, is_brief);
    }
    return code;
}

/* ---- locks ---- */

static aur_status lock_to(aur_sql_connection *connection, int level) {
    auri_connection_restore_handler(connection);
    aur_status status = auri_vfs_take_interruption() ? AUR_INTERRUPTED : AUR_OK;
    if (status == AUR_OK && connection->lock == AURI_SQL_UNLOCKED) {
        status = auri_connection_begin(connection, &connection->error);
    }
    if (status == AUR_OK && level >= SQLITE_LOCK_RESERVED && connection->lock == AURI_SQL_SHARED) {
        status = auri_connection_reserve(connection, &connection->error);
    }
    auri_vfs_expect_retry(connection, status);
    return status;
}

static int lock_file(sqlite3_file *file, int level) {
    aur_sql_connection *connection = connection_of(file);
    aur_status status = auri_sql_enter(connection->sql, &connection->error);
    if (status == AUR_OK) {
        status = lock_to(connection, level);
        auri_sql_leave(connection->sql);
    }
    return auri_sqlite_code(connection, status, SQLITE_IOERR_LOCK);
}

static int unlock_file(sqlite3_file *file, int level) {
    aur_sql_connection *connection = connection_of(file);
    if (auri_sql_enter(connection->sql, NULL) != AUR_OK) {
        return SQLITE_OK;
    }
    if (level == SQLITE_LOCK_NONE && connection->lock != AURI_SQL_UNLOCKED) {
        auri_connection_end(connection);
    } else if (level == SQLITE_LOCK_SHARED) {
        auri_connection_abandon(connection);
    }
    auri_sql_leave(connection->sql);
    return SQLITE_OK;
}

/* ---- commit ---- */

/* Before the commit: what fails here leaves the transaction rolled back, and nothing in doubt. */
static int prepare_commit(aur_sql_connection *connection, const char *super) {
    aur_status status = AUR_OK;
    if (connection->lock != AURI_SQL_RESERVED) {
        return SQLITE_OK;
    }
    if (super != NULL && connection->super == NULL) {
        aur_error_clear(&connection->error);
        status = aur_fail(&connection->error, AUR_ERR_INVALID,
                          "a transaction writes in one volume only, and in no other file");
        thread_error = connection->error; /* the super-journal is another volume's */
    }
    if (status == AUR_OK) {
        status = auri_connection_check(connection, &connection->error);
    }
    return auri_sqlite_code(connection, status, SQLITE_IOERR_FSYNC);
}

/* The commit. From here on only codes that make SQLite throw its cache away may be returned. */
static int commit(aur_sql_connection *connection) {
    aur_lsn lsn = 0;
    if (connection->lock != AURI_SQL_RESERVED) {
        return SQLITE_OK;
    }
    aur_status status = auri_connections_commit(&connection, 1, &lsn, &connection->error);
    if (status == AUR_OK && lsn != 0 && connection->waits) {
        status = auri_connection_wait(connection, lsn, &connection->error);
        if (status != AUR_OK) {
            connection->in_doubt = lsn;
            connection->version.commit = AURI_VERSION_UNKNOWN;
            connection->has_failed = true;
        }
    } else if (status == AUR_OK) {
        aur_log_ship(connection->sql->options.log);
    }
    const int code = auri_sqlite_code(connection, status, SQLITE_IOERR_FSYNC);
    const bool is_safe = code == SQLITE_OK || code == SQLITE_FULL || (code & 0xff) == SQLITE_IOERR;
    return is_safe ? code : SQLITE_IOERR_FSYNC;
}

/* ---- file control ---- */

/* VACUUM INTO lays the copy's pages out as the original's, which is the main database: with bytes
 * reserved that it does not have itself, if they are asked for. */
static void make_room_for_header(const aur_sql_connection *connection) {
    int bytes = AURI_SQL_RESERVED_BYTES;
    (void)connection->library->sqlite.file_control(connection->sqlite, "main",
                                                   SQLITE_FCNTL_RESERVE_BYTES, &bytes);
}

static int control_entered(aur_sql_connection *connection, int operation, void *argument) {
    switch (operation) {
    case SQLITE_FCNTL_SYNC:
        return prepare_commit(connection, argument);
    case SQLITE_FCNTL_COMMIT_PHASETWO:
        return commit(connection);
    case SQLITE_FCNTL_OVERWRITE:
        connection->is_overwritten = true;
        return SQLITE_OK;
    case SQLITE_FCNTL_PRAGMA:
        auri_vfs_pragma(connection, argument);
        return SQLITE_NOTFOUND; /* SQLite's own answer holds */
    case SQLITE_FCNTL_PDB: {
        void *sqlite;
        memcpy(&sqlite, argument, sizeof sqlite);
        auri_connection_join(connection, sqlite);
        if (connection->is_blank) {
            make_room_for_header(connection);
        }
        return SQLITE_OK;
    }
    case SQLITE_FCNTL_VFSNAME: {
        char *name = auri_library_text(connection->library, connection->sql->vfs_name);
        memcpy(argument, &name, sizeof name);
        return SQLITE_OK;
    }
    case SQLITE_FCNTL_HAS_MOVED: {
        const int has_moved = 0;
        memcpy(argument, &has_moved, sizeof has_moved);
        return SQLITE_OK;
    }
    case SQLITE_FCNTL_SIZE_HINT:
    case SQLITE_FCNTL_CHUNK_SIZE:
        return SQLITE_OK;
    default:
        return SQLITE_NOTFOUND;
    }
}

static int control_file(sqlite3_file *file, int operation, void *argument) {
    aur_sql_connection *connection = connection_of(file);
    const aur_status status = auri_sql_enter(connection->sql, &connection->error);
    if (status != AUR_OK) {
        return auri_sqlite_code(connection, status, SQLITE_IOERR_FSYNC);
    }
    const int code = control_entered(connection, operation, argument);
    auri_sql_leave(connection->sql);
    return code;
}

static int characteristics(sqlite3_file *file) {
    const aur_sql_connection *connection = connection_of(file);
    const int immutable =
        connection->is_fixed && !connection->is_copied ? SQLITE_IOCAP_IMMUTABLE : 0;
    return SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SEQUENTIAL | SQLITE_IOCAP_POWERSAFE_OVERWRITE |
           SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN | immutable;
}

/* ---- open and close ---- */

static int close_file(sqlite3_file *file) {
    if (!auri_sql_is_forked(connection_of(file)->sql)) {
        auri_connection_close(connection_of(file));
    }
    return SQLITE_OK;
}

static const sqlite3_io_methods database_methods = {
    .iVersion = 1,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = auri_file_sync_nothing, /* it comes through file_control, with the super-journal */
    .xFileSize = file_size,
    .xLock = lock_file,
    .xUnlock = unlock_file,
    .xCheckReservedLock = auri_file_reserved_by_nobody,
    .xFileControl = control_file,
    .xSectorSize = auri_file_sector_bytes,
    .xDeviceCharacteristics = characteristics,
};

/* The moment of the URI's as_of; 0: none is given. */
static aur_status moment_of(aur_sql *sql, const char *text, aur_lsn *moment_out, aur_error *error) {
    *moment_out = 0;
    if (text == NULL) {
        return AUR_OK;
    }
    const aur_sql_host host = auri_sql_host(sql);
    return host.resolve == NULL ? aur_fail(error, AUR_ERR_INVALID, "as_of is not understood here")
                                : host.resolve(host.context, text, moment_out, error);
}

/* Whether there is such a database now, for who may not make one. */
static aur_status require_existence(aur_sql_connection *connection, aur_error *error) {
    if (connection->is_fixed) {
        return AUR_OK;
    }
    aur_status status = auri_connection_begin(connection, error);
    if (status == AUR_OK) {
        status = connection->exists ? AUR_OK
                                    : aur_fail(error, AUR_ERR_INVALID, "there is no database '%s'",
                                               connection->database->name);
        auri_connection_end(connection);
    }
    return status;
}

static bool is_asked_for(const auri_sql_library *library, const char *name, const char *what) {
    const char *value = library->sqlite.uri_parameter(name, what);
    return value != NULL && strcmp(value, "0") != 0 && strcasecmp(value, "off") != 0 &&
           strcasecmp(value, "no") != 0 && strcasecmp(value, "false") != 0;
}

static aur_status open_connection(const auri_sql_library *library, const char *name, int flags,
                                  aur_sql_connection **connection_out, aur_error *error) {
    aur_sql *sql = library->sql;
    const char *timeout = library->sqlite.uri_parameter(name, "timeout");
    const char *blank = library->sqlite.uri_parameter(name, "blank");
    aur_lsn moment;
    if (is_asked_for(library, name, "nolock")) {
        return aur_fail(error, AUR_ERR_INVALID, "without its locks there is no transaction");
    }
    aur_status status =
        moment_of(sql, library->sqlite.uri_parameter(name, "as_of"), &moment, error);
    if (status == AUR_OK && moment == 0 && is_asked_for(library, name, "immutable")) {
        moment =
            aur_log_vdl(sql->options.log); /* SQLite takes no locks then: it stays at one view */
    }
    if (status == AUR_OK) {
        status = auri_connection_open(sql, name, strlen(name), moment, connection_out, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    aur_sql_connection *connection = *connection_out;
    connection->library = library;
    connection->is_copied = library->sqlite.uri_parameter(name, "copied") != NULL;
    connection->is_blank = moment == 0 && blank != NULL;
    connection->may_replace = connection->is_blank && strcmp(blank, "replace") == 0;
    connection->is_read_only = connection->is_read_only || (flags & SQLITE_OPEN_READWRITE) == 0;
    if (timeout != NULL) {
        connection->timeout_ms = strtoull(timeout, NULL, 10);
        connection->has_own_timeout = true;
    }
    if ((flags & SQLITE_OPEN_CREATE) == 0) {
        status = require_existence(connection, error);
    }
    if (status != AUR_OK) {
        auri_connection_close(connection);
    }
    return status;
}

int auri_database_file_open(const auri_sql_library *library, const char *name, int flags,
                            auri_database_file *file, int *flags_out) {
    aur_error error;
    aur_error_clear(&error);
    aur_status status = auri_sql_enter(library->sql, &error);
    if (status == AUR_OK) {
        status = open_connection(library, name, flags, &file->connection, &error);
        auri_sql_leave(library->sql);
    }
    thread_error = error;
    if (status != AUR_OK) {
        return status == AUR_ERR_MEMORY ? SQLITE_IOERR_NOMEM : SQLITE_CANTOPEN;
    }
    if (flags_out != NULL && file->connection->is_read_only && !file->connection->is_copied) {
        *flags_out = (flags & ~SQLITE_OPEN_READWRITE) | SQLITE_OPEN_READONLY;
    }
    file->base.pMethods = &database_methods;
    return SQLITE_OK;
}
