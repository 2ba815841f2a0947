/* A connection's way through SQLite's locks: its view, and the right to write. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sql/super.h"

enum {
    NS_PER_MS = 1000000,
    HEAL_SLICES = 10,
    COOKIE_STEP = 1 << 24, /* more changes of a schema than there ever are */
};

static const uint64_t heal_slice_ns = 100 * NS_PER_MS;

/* ---- open and close ---- */

static void enlist(aur_sql_connection *connection) {
    aur_sql *sql = connection->sql;
    connection->id = atomic_fetch_add_explicit(&sql->opened, 1, memory_order_relaxed) + 1;
    (void)pthread_mutex_lock(&sql->lock);
    connection->next = sql->connections;
    if (connection->next != NULL) {
        connection->next->previous = connection;
    }
    sql->connections = connection;
    (void)pthread_mutex_unlock(&sql->lock);
    atomic_fetch_add_explicit(&sql->references, 1, memory_order_relaxed);
}

static aur_status allocate(aur_sql *sql, aur_sql_connection **connection_out, aur_error *error) {
    const uint32_t page_bytes = sql->options.page_bytes;
    aur_sql_connection *connection = calloc(1, sizeof *connection);
    uint8_t *pages = malloc((size_t)page_bytes * 4);
    if (connection == NULL || pages == NULL) {
        free(connection);
        free(pages);
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to open an SQL database");
    }
    connection->sql = sql;
    connection->after = pages;
    connection->edits = pages + page_bytes;
    connection->image = pages + (size_t)page_bytes * 2;
    connection->opened_by = pthread_self();
    connection->waits = !sql->options.read_volatile;
    connection->counter = 1;
    connection->version.commit = AURI_VERSION_UNKNOWN;
    connection->extents_version.commit = AURI_VERSION_UNKNOWN;
    connection->header_version.commit = AURI_VERSION_UNKNOWN | 1; /* none that there is */
    auri_staging_init(&connection->staging);
    aur_error_clear(&connection->error);
    *connection_out = connection;
    return AUR_OK;
}

static void deallocate(aur_sql_connection *connection) {
    auri_staging_destroy(&connection->staging);
    free(connection->after);
    free(connection);
}

/* What the view shows of the database: whether it is there, and how big. */
static aur_status look_at(aur_sql_connection *connection, aur_error *error) {
    const auri_sql_database *database = connection->database;
    aur_status status = aur_view_find(connection->view, database->name, database->name_bytes,
                                      &connection->table, error);
    connection->exists = status == AUR_OK;
    connection->view_pages = 0;
    if (status == AUR_OK) {
        const aur_reader reader = aur_view_reader(connection->view);
        status = aur_page_file_size(&reader, aur_view_map(connection->table),
                                    &connection->view_pages, error);
        status = aur_view_judge(connection->view, status, error);
    }
    if (connection->is_blank) {
        connection->view_pages = 0;
    }
    return status == AUR_NOT_FOUND ? AUR_OK : status;
}

static aur_status fix_view(aur_sql_connection *connection, aur_lsn moment, aur_error *error) {
    aur_status status = aur_transactions_view(connection->sql->options.transactions, moment,
                                              &connection->view, error);
    if (status == AUR_OK) {
        connection->is_fixed = true;
        connection->is_read_only = true;
        atomic_store_explicit(&connection->read_point, moment, memory_order_relaxed);
        status = look_at(connection, error);
    }
    return status;
}

aur_status auri_connection_open(aur_sql *sql, const char *name, size_t name_bytes, aur_lsn moment,
                                aur_sql_connection **connection_out, aur_error *error) {
    aur_sql_connection *connection = NULL;
    aur_status status = allocate(sql, &connection, error);
    if (status != AUR_OK) {
        return status;
    }
    connection->database = auri_sql_database_of(sql, name, name_bytes);
    if (connection->database == NULL) {
        status = aur_fail(error, AUR_ERR_MEMORY, "no memory to open an SQL database");
    } else if (moment != 0) {
        status = fix_view(connection, moment, error);
    }
    if (status != AUR_OK) {
        aur_transaction_destroy(connection->view);
        deallocate(connection);
        return status;
    }
    enlist(connection);
    *connection_out = connection;
    return AUR_OK;
}

/* What went wrong with a file that SQLite closes by itself, as VACUUM INTO does, is told by another
 * one of the same sqlite3. Holds the lock of the lists. */
static void bequeath_error(const aur_sql_connection *connection) {
    aur_sql_connection *heir = connection->sql->connections;
    while (heir != NULL && (heir->sqlite != connection->sqlite || heir == connection)) {
        heir = heir->next;
    }
    if (heir != NULL && connection->sqlite != NULL && connection->error.status != AUR_OK) {
        heir->error = connection->error;
        heir->in_doubt = connection->in_doubt;
    }
}

void auri_connection_close(aur_sql_connection *connection) {
    aur_sql *sql = connection->sql;
    (void)pthread_mutex_lock(&sql->lock);
    *(connection->previous == NULL ? &sql->connections : &connection->previous->next) =
        connection->next;
    if (connection->next != NULL) {
        connection->next->previous = connection->previous;
    }
    bequeath_error(connection);
    (void)pthread_mutex_unlock(&sql->lock);
    connection->has_ticket = connection->has_ticket || connection->was_refused; /* given up now */
    auri_connection_abandon(connection);
    aur_transaction_destroy(connection->view);
    deallocate(connection);
    aur_sql_release(sql);
}

/* ---- the right to write ---- */

static void sleep_slice(void) {
    const struct timespec slice = {0, (long)heal_slice_ns};
    (void)nanosleep(&slice, NULL);
}

/* Writes that are refused for want of a quorum may be possible again in a moment: the coordinator
 * looks. */
static aur_status check_log(const aur_sql_options *options, aur_error *error) {
    aur_status status = aur_log_check(options->log, error);
    for (int slice = 0; status == AUR_ERR_QUORUM && slice < HEAL_SLICES; slice++) {
        if (options->on_attention != NULL) {
            options->on_attention(options->listener_context);
        }
        sleep_slice();
        aur_error_clear(error);
        status = aur_log_check(options->log, error);
    }
    return status;
}

/* For ever is a century: it stays far from the end of what the clock counts. */
static uint64_t timeout_ns(const aur_sql_connection *connection) {
    static const uint64_t century_ms = UINT64_C(100) * 365 * 86400 * 1000;
    const uint64_t ms = connection->timeout_ms;
    return (ms < century_ms ? ms : century_ms) * NS_PER_MS;
}

/* Whoever has it already looks at the log and does not wait: those behind would wait with it. */
static aur_status take_ticket(aur_sql_connection *connection, aur_error *error) {
    const aur_sql_options *options = &connection->sql->options;
    aur_status status =
        connection->has_ticket ? aur_log_check(options->log, error) : check_log(options, error);
    if (status != AUR_OK) {
        return status;
    }
    const auri_watch watch = {auri_sql_call_goes_on, connection->sql};
    status =
        auri_ticket_take(&connection->database->ticket, connection, timeout_ns(connection), &watch);
    connection->has_ticket = status == AUR_OK;
    if (status != AUR_OK) {
        /* It may get it in its sleep. */
        connection->was_refused = status == AUR_TIMEOUT && !connection->has_handler;
        return aur_fail(error, status, "another connection writes database '%s'",
                        connection->database->name);
    }
    return AUR_OK;
}

/* ---- the view ---- */

/* Whether it has committed what nobody may see yet: it goes on from there itself. */
static bool has_volatile_commit(const aur_sql_connection *connection) {
    const aur_lsn own = atomic_load_explicit(&connection->last_commit, memory_order_relaxed);
    return own > aur_log_vdl(connection->sql->options.log);
}

static aur_status take_view(aur_sql_connection *connection, bool at_head, aur_error *error) {
    aur_transactions *transactions = connection->sql->options.transactions;
    aur_status status;
    do {
        status = at_head
                     ? aur_transactions_view_head(transactions, &connection->view, error)
                     : aur_transactions_begin(transactions, true, false, &connection->view, error);
        if (status == AUR_OK &&
            !aur_era_is(aur_view_era(connection->view), aur_transactions_era(transactions))) {
            aur_transaction_destroy(connection->view);
            connection->view = NULL;
            status = AUR_TIMEOUT; /* an era began meanwhile */
        }
    } while (status == AUR_TIMEOUT);
    return status;
}

static auri_version version_of(aur_sql_connection *connection) {
    const aur_lsn read_point = aur_transaction_read_point(connection->view);
    const aur_era era = aur_view_era(connection->view);
    if (read_point < aur_transactions_present(connection->sql->options.transactions)) {
        return (auri_version){era, AURI_VERSION_UNKNOWN | read_point};
    }
    return auri_versions_at(&connection->database->versions, era, read_point);
}

static void drop_view(aur_sql_connection *connection) {
    if (!connection->is_fixed) {
        aur_transaction_destroy(connection->view);
        connection->view = NULL;
        atomic_store_explicit(&connection->read_point, 0, memory_order_relaxed);
    }
    connection->lock = AURI_SQL_UNLOCKED;
}

/* What is new in the view since the last one. On failure there is none. */
static aur_status notice_view(aur_sql_connection *connection, aur_error *error) {
    atomic_fetch_add_explicit(&connection->sql->views, 1, memory_order_relaxed);
    atomic_store_explicit(&connection->read_point, aur_transaction_read_point(connection->view),
                          memory_order_relaxed);
    const auri_version version = version_of(connection);
    if (auri_version_is(version, connection->version)) {
        return AUR_OK;
    }
    const aur_status status = look_at(connection, error);
    if (status != AUR_OK) {
        drop_view(connection);
        return status;
    }
    /* Two histories count their changes of the schema with the same numbers. */
    if (connection->counter > 1 && !aur_era_is(version.era, connection->version.era)) {
        connection->cookie_shift += COOKIE_STEP;
    }
    connection->version = version;
    connection->counter++;
    return AUR_OK;
}

aur_status auri_connection_begin(aur_sql_connection *connection, aur_error *error) {
    connection->has_read_pages = false;
    connection->has_committed = false;
    if (connection->is_fixed) {
        connection->lock = AURI_SQL_SHARED;
        return AUR_OK;
    }
    if (connection->was_refused) {
        connection->was_refused = false;
        connection->has_ticket = auri_ticket_is_held(&connection->database->ticket, connection);
    }
    aur_status status = AUR_OK;
    if (connection->will_write && !connection->is_read_only) {
        status = take_ticket(connection, error);
    }
    connection->will_write = false;
    if (status == AUR_OK) {
        const bool at_head = connection->has_ticket || has_volatile_commit(connection);
        status = take_view(connection, at_head, error);
    }
    if (status == AUR_OK) {
        status = notice_view(connection, error);
    }
    if (status != AUR_OK) {
        auri_connection_abandon(connection);
        return status;
    }
    connection->lock = AURI_SQL_SHARED;
    return AUR_OK;
}

/* Whoever reads what is volatile, and changes nothing, sees its own commits and those before it;
 * it goes on when they are durable. */
static void await_what_was_read(aur_sql_connection *connection) {
    const aur_lsn read_point = aur_transaction_read_point(connection->view);
    if (connection->waits && read_point > aur_log_vdl(connection->sql->options.log)) {
        /* If that fails they are lost, as the next who waits for them is told. */
        const aur_status status = auri_connection_wait(connection, read_point, NULL);
        (void)status;
    }
}

void auri_connection_end(aur_sql_connection *connection) {
    auri_connection_abandon(connection);
    if (connection->view != NULL && !connection->has_committed && !connection->is_fixed) {
        await_what_was_read(connection);
    }
    drop_view(connection);
}

/* ---- what is written ---- */

static bool is_newest(const aur_sql_connection *connection) {
    const aur_era era = aur_transactions_era(connection->sql->options.transactions);
    return auri_version_is(connection->version,
                           auri_versions_newest(&connection->database->versions, era));
}

static aur_status refuse_old_view(aur_sql_connection *connection, aur_error *error) {
    atomic_fetch_add_explicit(&connection->sql->conflicts, 1, memory_order_relaxed);
    return aur_fail(error, AUR_ERR_CONFLICT,
                    "another connection has written database '%s' since this transaction began to "
                    "read; begin it with BEGIN IMMEDIATE, or run it again",
                    connection->database->name);
}

aur_status auri_connection_reserve(aur_sql_connection *connection, aur_error *error) {
    if (connection->is_read_only) {
        return aur_fail(error, AUR_ERR_READ_ONLY, "the past cannot be written");
    }
    /* A transaction that has read more than what SQLite reads of every one cannot go on at another
     * view: it is not made to wait for nothing. */
    if (!connection->has_ticket && connection->has_read_pages && !is_newest(connection)) {
        return refuse_old_view(connection, error);
    }
    const aur_status status = take_ticket(connection, error);
    if (status != AUR_OK) {
        return status;
    }
    if (!is_newest(connection)) {
        connection->has_ticket = false;
        connection->was_refused = true;
        auri_ticket_leave(&connection->database->ticket, connection, AURI_TICKET_GRACE_NS);
        return refuse_old_view(connection, error);
    }
    if (connection->is_blank && connection->exists && !connection->may_replace) {
        return aur_fail(error, AUR_ERR_INVALID, "there is a database '%s' already",
                        connection->database->name);
    }
    connection->pages = connection->view_pages;
    connection->written_counter = 0;
    connection->is_overwritten = false;
    connection->super = NULL;
    connection->lock = AURI_SQL_RESERVED;
    aur_error_clear(error); /* of a view that was refused before */
    return AUR_OK;
}

void auri_connection_abandon(aur_sql_connection *connection) {
    auri_staging_clear(&connection->staging);
    if (connection->is_streamed) {
        auri_connection_discard(connection);
    }
    if (connection->super != NULL) {
        auri_super_leave(connection->sql, connection->super, connection);
    }
    if (connection->has_ticket) {
        connection->has_ticket = false;
        auri_ticket_give_up(&connection->database->ticket, connection);
    }
    if (connection->lock >= AURI_SQL_RESERVED) {
        connection->lock = AURI_SQL_SHARED;
    }
}

aur_status auri_connection_check(aur_sql_connection *connection, aur_error *error) {
    if (!aur_era_is(aur_view_era(connection->view),
                    aur_transactions_era(connection->sql->options.transactions))) {
        return refuse_old_view(connection, error);
    }
    return aur_log_check(connection->sql->options.log, error);
}
