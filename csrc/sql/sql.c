/* The SQL side of a volume as a whole: its life, its databases, its counters. */
#include "sql/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sql/library.h"

/* Counts the forks that led to this process. */
static atomic_uint forks;

static void count_fork(void) { atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed); }

static void watch_forks(void) { (void)pthread_atfork(NULL, NULL, count_fork); }

bool auri_sql_is_forked(const aur_sql *sql) {
    return sql->forks != atomic_load_explicit(&forks, memory_order_relaxed);
}

aur_status aur_sql_create(const aur_sql_options *options, aur_sql **sql_out, aur_error *error) {
    static atomic_uint_least64_t volumes;
    static pthread_once_t is_watched = PTHREAD_ONCE_INIT;
    (void)pthread_once(&is_watched, watch_forks);
    aur_sql *sql = calloc(1, sizeof *sql);
    if (sql == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for SQL databases");
    }
    sql->options = *options;
    sql->forks = atomic_load_explicit(&forks, memory_order_relaxed);
    atomic_init(&sql->references, 1);
    (void)pthread_mutex_init(&sql->lock, NULL);
    (void)snprintf(sql->vfs_name, sizeof sql->vfs_name, "aurora-%llu",
                   (unsigned long long)atomic_fetch_add(&volumes, 1) + 1);
    *sql_out = sql;
    return AUR_OK;
}

static void destroy(aur_sql *sql) {
    auri_libraries_retire(sql->libraries);
    while (sql->databases != NULL) {
        auri_sql_database *database = sql->databases;
        sql->databases = database->next;
        auri_ticket_destroy(&database->ticket);
        auri_versions_destroy(&database->versions);
        free(database);
    }
    (void)pthread_mutex_destroy(&sql->lock);
    free(sql);
}

void aur_sql_release(aur_sql *sql) {
    if (sql != NULL && atomic_fetch_sub_explicit(&sql->references, 1, memory_order_acq_rel) == 1) {
        destroy(sql);
    }
}

aur_status auri_sql_enter(aur_sql *sql, aur_error *error) {
    if (auri_sql_is_forked(sql)) {
        return aur_fail(error, AUR_ERR_CLOSED,
                        "a connection does not survive a fork: connect again in the child");
    }
    atomic_fetch_add_explicit(&sql->calls, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&sql->is_closed, memory_order_seq_cst)) {
        auri_sql_leave(sql);
        return aur_fail(error, AUR_ERR_CLOSED, "the database is closed");
    }
    return AUR_OK;
}

void auri_sql_leave(aur_sql *sql) {
    atomic_fetch_sub_explicit(&sql->calls, 1, memory_order_release);
}

void aur_sql_close(aur_sql *sql) {
    static const struct timespec pause = {0, 100000};
    atomic_store_explicit(&sql->is_closed, true, memory_order_seq_cst);
    while (atomic_load_explicit(&sql->calls, memory_order_seq_cst) > 0) {
        (void)nanosleep(&pause, NULL);
    }
    (void)pthread_mutex_lock(&sql->lock);
    auri_libraries_unregister(sql->libraries);
    for (aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
        aur_transaction_destroy(at->view);
        at->view = NULL;
        at->lock = AURI_SQL_UNLOCKED;
    }
    (void)pthread_mutex_unlock(&sql->lock);
}

void aur_sql_set_host(aur_sql *sql, const aur_sql_host *host) {
    static const aur_sql_host unknown = {.context = NULL};
    (void)pthread_mutex_lock(&sql->lock);
    sql->host = host == NULL ? unknown : *host;
    (void)pthread_mutex_unlock(&sql->lock);
}

aur_sql_host auri_sql_host(aur_sql *sql) {
    (void)pthread_mutex_lock(&sql->lock);
    const aur_sql_host host = sql->host;
    (void)pthread_mutex_unlock(&sql->lock);
    return host;
}

bool auri_sql_goes_on(aur_sql *sql) {
    const aur_sql_host host = auri_sql_host(sql);
    return host.goes_on == NULL || host.goes_on(host.context);
}

bool auri_sql_call_goes_on(void *context) {
    aur_sql *sql = context;
    auri_sql_leave(sql);
    const bool goes_on = auri_sql_goes_on(sql);
    atomic_fetch_add_explicit(&sql->calls, 1, memory_order_seq_cst);
    return goes_on && !atomic_load_explicit(&sql->is_closed, memory_order_seq_cst);
}

/* ---- databases ---- */

/* Locked. */
static auri_sql_database *find_database(const aur_sql *sql, const char *name, size_t name_bytes) {
    auri_sql_database *database = sql->databases;
    while (database != NULL &&
           (database->name_bytes != name_bytes || memcmp(database->name, name, name_bytes) != 0)) {
        database = database->next;
    }
    return database;
}

auri_sql_database *auri_sql_database_of(aur_sql *sql, const char *name, size_t name_bytes) {
    (void)pthread_mutex_lock(&sql->lock);
    auri_sql_database *database = find_database(sql, name, name_bytes);
    if (database == NULL) {
        database = calloc(1, sizeof *database);
        if (database != NULL) {
            auri_ticket_init(&database->ticket);
            auri_versions_init(&database->versions);
            memcpy(database->name, name, name_bytes);
            database->name_bytes = name_bytes;
            database->next = sql->databases;
            sql->databases = database;
        }
    }
    (void)pthread_mutex_unlock(&sql->lock);
    return database;
}

static aur_status next_name(aur_sql *sql, const char *after, char *name_out, aur_error *error) {
    aur_transaction *view;
    size_t bytes = 0;
    const size_t after_bytes = strnlen(after, AUR_SQL_NAME_LIMIT);
    aur_status status;
    do {
        status = aur_transactions_begin(sql->options.transactions, true, false, &view, error);
    } while (status == AUR_TIMEOUT);
    if (status == AUR_OK) {
        status = aur_view_next_name(view, after, after_bytes, name_out, &bytes, error);
        while (status == AUR_OK && auri_is_hidden_name(name_out, bytes)) {
            char hidden[AUR_SQL_NAME_LIMIT];
            const size_t hidden_bytes = bytes;
            memcpy(hidden, name_out, bytes);
            status = aur_view_next_name(view, hidden, hidden_bytes, name_out, &bytes, error);
        }
        name_out[bytes] = '\0';
        aur_transaction_destroy(view);
    }
    return status;
}

aur_status aur_sql_next_name(aur_sql *sql, const char *after, char *name_out, aur_error *error) {
    aur_status status = auri_sql_enter(sql, error);
    if (status == AUR_OK) {
        status = next_name(sql, after, name_out, error);
        auri_sql_leave(sql);
    }
    return status;
}

/* ---- dropping one ---- */

typedef struct dropping {
    aur_sql_connection *connection;
    aur_page_commit commit;
} dropping;

static aur_status apply_drop(void *context, aur_writer *writer, aur_error *error) {
    const dropping *drop = context;
    const aur_sql_connection *connection = drop->connection;
    const auri_version version = {aur_view_era(connection->view), writer->mtr->start};
    const aur_status status = aur_page_commit_drop(&drop->commit, writer, connection->table, error);
    if (status == AUR_OK) {
        auri_versions_add(&connection->database->versions, version);
    }
    return status;
}

/* With the right to write, and a view that shows the newest commit. */
static aur_status drop_reserved(aur_sql_connection *connection, aur_lsn *lsn_out,
                                aur_error *error) {
    dropping drop = {.connection = connection};
    if (!connection->exists) {
        return AUR_NOT_FOUND;
    }
    drop.commit =
        (aur_page_commit){.view = connection->view, .apply = apply_drop, .context = &drop};
    return aur_transactions_commit_pages(connection->sql->options.transactions, &drop.commit, 1,
                                         lsn_out, error);
}

static aur_status drop_through(aur_sql_connection *connection, aur_lsn *lsn_out, aur_error *error) {
    aur_status status;
    do {
        status = auri_connection_begin(connection, error);
        if (status == AUR_OK) {
            status = auri_connection_reserve(connection, error);
            if (status == AUR_OK) {
                status = drop_reserved(connection, lsn_out, error);
                connection->has_committed = true;
            }
            auri_connection_end(connection);
        }
    } while (status == AUR_ERR_CONFLICT);
    return status;
}

aur_status auri_sql_drop(aur_sql *sql, const char *name, size_t name_bytes, uint64_t timeout_ms,
                         aur_lsn *lsn_out, aur_error *error) {
    aur_sql_connection *connection;
    aur_status status = auri_connection_open(sql, name, name_bytes, 0, &connection, error);
    if (status == AUR_OK) {
        connection->timeout_ms = timeout_ms;
        status = drop_through(connection, lsn_out, error);
        auri_connection_close(connection);
    }
    return status;
}

aur_status aur_sql_drop(aur_sql *sql, const char *name, uint64_t timeout_ms, uint64_t *lsn_out,
                        aur_error *error) {
    aur_status status = auri_sql_enter(sql, error);
    if (status == AUR_OK) {
        status =
            auri_sql_drop(sql, name, strnlen(name, AUR_SQL_NAME_LIMIT), timeout_ms, lsn_out, error);
        auri_sql_leave(sql);
    }
    return status;
}

/* ---- counters ---- */

void aur_sql_get_counts(aur_sql *sql, aur_sql_counts *out) {
    memset(out, 0, sizeof *out);
    (void)pthread_mutex_lock(&sql->lock);
    for (const aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
        out->connections++;
    }
    (void)pthread_mutex_unlock(&sql->lock);
    out->opened = atomic_load_explicit(&sql->opened, memory_order_relaxed);
    out->views = atomic_load_explicit(&sql->views, memory_order_relaxed);
    out->reads = atomic_load_explicit(&sql->reads, memory_order_relaxed);
    out->writes = atomic_load_explicit(&sql->writes, memory_order_relaxed);
    out->commits = atomic_load_explicit(&sql->commits, memory_order_relaxed);
    out->conflicts = atomic_load_explicit(&sql->conflicts, memory_order_relaxed);
}
