/* Blank databases that are written piece by piece. */
#include <string.h>

#include "sql/sql_private.h"

/* Less than what stays in memory of what is staged. */
enum { PIECE_BYTES = 3 << 20 };

void auri_hidden_name(uint64_t connection, char out[AURI_HIDDEN_NAME_BYTES]) {
    out[0] = '\0';
    aur_put64((uint8_t *)out + 1, connection);
}

static bool is_in_use(aur_sql *sql, const char *name) {
    char in_use[AURI_HIDDEN_NAME_BYTES];
    bool found = false;
    (void)pthread_mutex_lock(&sql->lock);
    for (const aur_sql_connection *at = sql->connections; at != NULL && !found; at = at->next) {
        auri_hidden_name(at->id, in_use);
        found = at->is_streamed && memcmp(in_use, name, sizeof in_use) == 0;
    }
    (void)pthread_mutex_unlock(&sql->lock);
    return found;
}

/* Removes what blank databases of other times have left. */
static aur_status sweep(aur_sql_connection *connection, aur_error *error) {
    aur_sql *sql = connection->sql;
    char after[AUR_SQL_NAME_LIMIT];
    char name[AUR_SQL_NAME_LIMIT];
    size_t after_bytes = 0;
    size_t bytes = 0;
    aur_status status = AUR_OK;
    while (status == AUR_OK) {
        status = aur_view_next_name(connection->view, after, after_bytes, name, &bytes, error);
        if (status == AUR_OK && !auri_is_hidden_name(name, bytes)) {
            break;
        }
        if (status == AUR_OK && (bytes != AURI_HIDDEN_NAME_BYTES || !is_in_use(sql, name))) {
            aur_lsn lsn;
            status = auri_sql_drop(sql, name, bytes, 0, &lsn, error);
            /* Another connection may sweep as well. */
            status = status == AUR_NOT_FOUND || status == AUR_TIMEOUT ? AUR_OK : status;
        }
        memcpy(after, name, bytes);
        after_bytes = bytes;
    }
    return status == AUR_NOT_FOUND ? AUR_OK : status;
}

aur_status auri_connection_stream(aur_sql_connection *connection, aur_error *error) {
    if (connection->staging.spool.size < PIECE_BYTES) {
        return AUR_OK;
    }
    if (!connection->is_streamed) {
        const aur_status status = sweep(connection, error);
        if (status != AUR_OK) {
            return status;
        }
        connection->replaced = connection->exists ? connection->table : NULL;
        connection->table = NULL;
        connection->exists = false;
        connection->is_streamed = true;
    }
    return auri_connection_flush(connection, error);
}

void auri_connection_discard(aur_sql_connection *connection) {
    char hidden[AURI_HIDDEN_NAME_BYTES];
    aur_lsn lsn;
    auri_hidden_name(connection->id, hidden);
    connection->is_streamed = false;
    connection->replaced = NULL;
    connection->table = NULL;
    connection->version.commit = AURI_VERSION_UNKNOWN; /* to be looked for anew */
    if (auri_sql_enter(connection->sql, NULL) == AUR_OK) {
        /* If that fails, the next one sweeps. */
        const aur_status status =
            auri_sql_drop(connection->sql, hidden, sizeof hidden, 0, &lsn, NULL);
        (void)status;
        auri_sql_leave(connection->sql);
    }
}
