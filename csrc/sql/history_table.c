/*
 * The table-valued function aurora_history(): the backtracks that were made, as rows. A virtual
 * table without anything to create: SQLite makes it when a statement names it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sql/library.h"

enum column { FROM_LSN, TO_LSN, LSN, LOST_COMMITS, TIME, WHO };

static const char declaration[] =
    "CREATE TABLE aurora_history(from_lsn INTEGER, to_lsn INTEGER, lsn INTEGER, "
    "lost_commits INTEGER, time TEXT, who TEXT)";

typedef struct history_table {
    sqlite3_vtab base;
    const auri_sql_library *library;
} history_table;

typedef struct history_cursor {
    sqlite3_vtab_cursor base;
    aur_rewind *rows;
    size_t count;
    size_t at;
} history_cursor;

static const auri_sql_library *library_of(const history_cursor *cursor) {
    return ((const history_table *)cursor->base.pVtab)->library;
}

static int connect_table(sqlite3 *database, void *context, int count, const char *const *arguments,
                         sqlite3_vtab **table_out, char **message) {
    const auri_sql_library *library = context;
    (void)count;
    (void)arguments;
    (void)message;
    const int code = library->sqlite.declare_vtab(database, declaration);
    history_table *table = code == SQLITE_OK ? calloc(1, sizeof *table) : NULL;
    if (table == NULL) {
        return code == SQLITE_OK ? SQLITE_IOERR_NOMEM : code;
    }
    table->library = library;
    *table_out = &table->base;
    return SQLITE_OK;
}

static int disconnect_table(sqlite3_vtab *table) {
    free(table);
    return SQLITE_OK;
}

/* Whatever is asked for, all rows are walked. */
static int plan_scan(sqlite3_vtab *table, sqlite3_index_info *plan) {
    (void)table;
    plan->estimatedCost = 1000;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *table, sqlite3_vtab_cursor **cursor_out) {
    (void)table;
    history_cursor *cursor = calloc(1, sizeof *cursor);
    if (cursor == NULL) {
        return SQLITE_IOERR_NOMEM;
    }
    *cursor_out = &cursor->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *base) {
    history_cursor *cursor = (history_cursor *)base;
    free(cursor->rows);
    free(cursor);
    return SQLITE_OK;
}

/* Another backtrack may be made between the two questions. */
static int fetch_rows(history_cursor *cursor, const aur_sql_host *host) {
    size_t capacity = 0;
    cursor->count = host->backtracks == NULL ? 0 : host->backtracks(host->context, NULL, 0);
    while (cursor->count > capacity) {
        capacity = cursor->count;
        aur_rewind *rows = realloc(cursor->rows, capacity * sizeof *rows);
        if (rows == NULL) {
            cursor->count = 0;
            return SQLITE_IOERR_NOMEM;
        }
        cursor->rows = rows;
        cursor->count = host->backtracks(host->context, rows, capacity);
    }
    return SQLITE_OK;
}

static int begin_scan(sqlite3_vtab_cursor *base, int plan, const char *text, int count,
                      sqlite3_value **arguments) {
    history_cursor *cursor = (history_cursor *)base;
    aur_sql *sql = library_of(cursor)->sql;
    (void)plan;
    (void)text;
    (void)count;
    (void)arguments;
    if (auri_sql_enter(sql, NULL) != AUR_OK) {
        return SQLITE_IOERR;
    }
    const aur_sql_host host = auri_sql_host(sql);
    const int code = fetch_rows(cursor, &host);
    auri_sql_leave(sql);
    cursor->at = 0;
    return code;
}

static int next_row(sqlite3_vtab_cursor *base) {
    ((history_cursor *)base)->at++;
    return SQLITE_OK;
}

static int is_at_end(sqlite3_vtab_cursor *base) {
    const history_cursor *cursor = (const history_cursor *)base;
    return cursor->at >= cursor->count;
}

static int row_number(sqlite3_vtab_cursor *base, int64_t *out) {
    *out = (int64_t)((const history_cursor *)base)->at;
    return SQLITE_OK;
}

/* As SQLite's own functions write times: UTC, milliseconds. */
static void write_time(uint64_t time_us, char *out, size_t bytes) {
    const time_t seconds = (time_t)(time_us / 1000000);
    const unsigned milliseconds = (unsigned)(time_us / 1000 % 1000);
    struct tm parts;
    char text[32];
    (void)gmtime_r(&seconds, &parts);
    (void)strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
    (void)snprintf(out, bytes, "%s.%03u", text, milliseconds);
}

static void give_text(const auri_sqlite *sqlite, sqlite3_context *context, const char *text,
                      size_t bytes) {
    /* SQLITE_TRANSIENT: SQLite copies it. The constant is a function that nobody calls. */
    const intptr_t transient = -1;
    void (*copies)(void *);
    memcpy(&copies, &transient, sizeof copies);
    sqlite->result_text(context, text, (int)bytes, copies);
}

static int give_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column) {
    const history_cursor *cursor = (const history_cursor *)base;
    const auri_sqlite *sqlite = &library_of(cursor)->sqlite;
    const aur_rewind *row = &cursor->rows[cursor->at];
    char text[48];
    switch ((enum column)column) {
    case FROM_LSN:
        sqlite->result_int64(context, (int64_t)row->at);
        break;
    case TO_LSN:
        sqlite->result_int64(context, (int64_t)row->to);
        break;
    case LSN:
        sqlite->result_int64(context, (int64_t)row->at + 1);
        break;
    case LOST_COMMITS:
        sqlite->result_int64(context, (int64_t)row->lost_commits);
        break;
    case TIME:
        write_time(row->time_us, text, sizeof text);
        give_text(sqlite, context, text, strlen(text));
        break;
    case WHO:
        give_text(sqlite, context, row->who, strnlen(row->who, sizeof row->who));
        break;
    }
    return SQLITE_OK;
}

static const sqlite3_module history_module = {
    .xConnect = connect_table, /* without xCreate: it exists in every connection */
    .xBestIndex = plan_scan,
    .xDisconnect = disconnect_table,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = begin_scan,
    .xNext = next_row,
    .xEof = is_at_end,
    .xColumn = give_column,
    .xRowid = row_number,
};

int auri_history_table_add(const auri_sql_library *library, void *sqlite) {
    /* SQLite hands the context back as it is, and it is never changed. */
    void *context;
    memcpy(&context, &library, sizeof context);
    return library->sqlite.create_module(sqlite, "aurora_history", &history_module, context);
}
