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

/* Whether two are one connection for SQLite: one is attached to the other. */
static bool is_together(const aur_sql_connection *left, const aur_sql_connection *right) {
    return left == right || (left->sqlite != NULL && left->sqlite == right->sqlite);
}

void auri_connection_join(aur_sql_connection *connection, void *sqlite) {
    aur_sql *sql = connection->sql;
    (void)pthread_mutex_lock(&sql->lock);
    connection->sqlite = sqlite;
    for (aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
        if (at == connection || !is_together(at, connection)) {
            continue;
        }
        at->has_company = true;
        connection->has_company = true;
        if (at->has_handler && !connection->has_own_timeout) {
            connection->has_handler = true;
            connection->timeout_ms = at->timeout_ms;
            connection->waits = at->waits;
        }
    }
    (void)pthread_mutex_unlock(&sql->lock);
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
            if (is_together(at, found)) {
                at->waits = wait;
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

/* A statement begins. If it is a transaction of its own and will write, the ticket comes first: a
 * view that is taken before it is old by the time that it is one's turn. SQLite does not say which
 * of several files it will write. */
static int on_statement(unsigned what, void *context, void *statement, void *text) {
    (void)what;
    (void)text;
    aur_sql_connection *connection = context;
    const auri_sqlite *sqlite = &connection->library->sqlite;
    connection->will_write = !connection->has_company && !sqlite->stmt_readonly(statement) &&
                             sqlite->get_autocommit(connection->sqlite) != 0;
    return 0;
}

void auri_connection_set_timeout(aur_sql_connection *connection, uint64_t timeout_ms) {
    aur_sql *sql = connection->sql;
    (void)pthread_mutex_lock(&sql->lock);
    for (aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
        if (is_together(at, connection) && !at->has_own_timeout) {
            at->timeout_ms = timeout_ms;
        }
    }
    (void)pthread_mutex_unlock(&sql->lock);
}

void auri_connection_lend_handler(aur_sql_connection *connection) {
    aur_sql *sql = connection->sql;
    const uint64_t ms = connection->timeout_ms;
    (void)connection->library->sqlite.busy_timeout(connection->sqlite,
                                                   ms < INT32_MAX ? (int)ms : INT32_MAX);
    (void)pthread_mutex_lock(&sql->lock);
    for (aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
        at->has_lent = at->has_lent || is_together(at, connection);
    }
    (void)pthread_mutex_unlock(&sql->lock);
}

void auri_connection_restore_handler(aur_sql_connection *connection) {
    if (connection->has_lent && connection->has_handler) {
        (void)connection->library->sqlite.busy_handler(connection->sqlite, on_busy, NULL);
    }
    connection->has_lent = false;
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
            (void)found->library->sqlite.trace_v2(found->sqlite, SQLITE_TRACE_STMT, on_statement,
                                                  found);
        }
    }
    return status;
}

void aur_sql_interrupt(aur_sql *sql, uint64_t connection) {
    aur_sql_connection *found;
    if (lock_connection(sql, connection, &found, NULL) == AUR_OK) {
        for (aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
            if (is_together(at, found)) {
                auri_ticket_interrupt(&at->database->ticket, at);
            }
        }
        (void)pthread_mutex_unlock(&sql->lock);
    }
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

/* Adds what one knows, and is told once. */
static void take_state(aur_sql_connection *connection, aur_sql_state *out) {
    const aur_lsn commit = atomic_load_explicit(&connection->last_commit, memory_order_relaxed);
    if (commit > out->last_commit) {
        out->last_commit = commit;
    }
    if (out->in_doubt == 0) {
        out->in_doubt = connection->in_doubt;
    }
    if (out->error.status == AUR_OK) {
        out->error = connection->error;
    }
    connection->in_doubt = 0;
    aur_error_clear(&connection->error);
}

aur_status aur_sql_take_state(aur_sql *sql, uint64_t connection, aur_sql_state *out,
                              aur_error *error) {
    aur_sql_connection *found;
    const aur_status status = lock_connection(sql, connection, &found, error);
    if (status == AUR_OK) {
        *out = (aur_sql_state){.read_point =
                                   atomic_load_explicit(&found->read_point, memory_order_relaxed)};
        take_state(found, out);
        for (aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
            if (is_together(at, found)) {
                take_state(at, out);
            }
        }
        (void)pthread_mutex_unlock(&sql->lock);
    }
    return status;
}
