/* What the face asks of a connection that it has opened through SQLite. */
#include "sql/library.h"

uint64_t aur_sql_opened(aur_sql *sql) {
    (void)pthread_mutex_lock(&sql->lock);
    const aur_sql_connection *connection = sql->connections; /* the newest one is first */
    while (connection != NULL && !pthread_equal(connection->opened_by, pthread_self())) {
        connection = connection->next;
    }
    const uint64_t id = connection == NULL ? 0 : connection->id;
    (void)pthread_mutex_unlock(&sql->lock);
    return id;
}

/* Finds a connection, which stays open while the lock is held. AUR_ERR_CLOSED: the lock is not. */
static aur_status lock_connection(aur_sql *sql, uint64_t id, aur_sql_connection **connection_out,
                                  aur_error *error) {
    (void)pthread_mutex_lock(&sql->lock);
    aur_sql_connection *connection = sql->connections;
    while (connection != NULL && connection->id != id) {
        connection = connection->next;
    }
    *connection_out = connection;
    if (connection == NULL) {
        (void)pthread_mutex_unlock(&sql->lock);
        return aur_fail(error, AUR_ERR_CLOSED, "the connection is closed");
    }
    return AUR_OK;
}

aur_status aur_sql_set_wait(aur_sql *sql, uint64_t connection, bool wait, bool *before_out,
                            aur_error *error) {
    aur_sql_connection *found;
    const aur_status status = lock_connection(sql, connection, &found, error);
    if (status == AUR_OK) {
        if (before_out != NULL) {
            *before_out = found->waits;
        }
        for (aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
            if (at == found || (at->sqlite != NULL && at->sqlite == found->sqlite)) {
                at->waits = wait; /* what is attached commits with it */
            }
        }
        (void)pthread_mutex_unlock(&sql->lock);
    }
    return status;
}

/* The wait for the ticket was inside of xLock: there is nothing to wait for any more. Which of the
 * files that SQLite has attached was busy is not said; it was locked by this thread just now. */
static int on_busy(void *context, int count) {
    (void)context;
    (void)count;
    return auri_vfs_was_refused();
}

aur_status aur_sql_set_timeout(aur_sql *sql, uint64_t connection, uint64_t timeout_ms,
                               aur_error *error) {
    aur_sql_connection *found;
    const aur_status status = lock_connection(sql, connection, &found, error);
    if (status == AUR_OK) {
        found->timeout_ms = timeout_ms;
        found->has_handler = found->sqlite != NULL;
        (void)pthread_mutex_unlock(&sql->lock);
        /* Outside of the lock, since SQLite takes its own; the caller keeps it open. */
        if (found->has_handler) {
            (void)found->library->sqlite.busy_handler(found->sqlite, on_busy, NULL);
        }
    }
    return status;
}

aur_status aur_sql_add_tables(aur_sql *sql, uint64_t connection, aur_error *error) {
    aur_sql_connection *found;
    aur_status status = lock_connection(sql, connection, &found, error);
    if (status == AUR_OK) {
        (void)pthread_mutex_unlock(&sql->lock);
        if (found->sqlite == NULL || auri_history_table_add(found->library, found->sqlite) != 0) {
            status = aur_fail(error, AUR_ERR_INVALID, "SQLite refuses a table of ours");
        }
    }
    return status;
}

/* Of all databases that one connection of SQLite's has attached: the caller knows only the first.
 * Locked. */
static void take_errors(aur_sql *sql, const aur_sql_connection *of, aur_sql_state *out) {
    for (aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
        if (at != of && (at->sqlite == NULL || at->sqlite != of->sqlite)) {
            continue;
        }
        if (at->error.status != AUR_OK) {
            out->error = at->error;
        }
        if (at->in_doubt != 0) {
            out->in_doubt = at->in_doubt;
        }
        aur_error_clear(&at->error);
        at->in_doubt = 0;
    }
}

void auri_connection_join(aur_sql_connection *connection, void *sqlite) {
    (void)pthread_mutex_lock(&connection->sql->lock);
    connection->sqlite = sqlite;
    for (const aur_sql_connection *at = connection->sql->connections; at != NULL; at = at->next) {
        if (at != connection && at->sqlite == sqlite && !connection->has_own_timeout) {
            connection->timeout_ms = at->timeout_ms;
            connection->has_handler = at->has_handler;
        }
    }
    (void)pthread_mutex_unlock(&connection->sql->lock);
}

aur_status aur_sql_take_state(aur_sql *sql, uint64_t connection, aur_sql_state *out,
                              aur_error *error) {
    aur_sql_connection *found;
    const aur_status status = lock_connection(sql, connection, &found, error);
    if (status == AUR_OK) {
        out->last_commit = atomic_load_explicit(&found->last_commit, memory_order_relaxed);
        out->read_point = atomic_load_explicit(&found->read_point, memory_order_relaxed);
        aur_error_clear(&out->error);
        out->in_doubt = 0;
        take_errors(sql, found, out);
        (void)pthread_mutex_unlock(&sql->lock);
    }
    return status;
}
