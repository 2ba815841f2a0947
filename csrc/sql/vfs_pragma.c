/* PRAGMAs that mean something else here, or would break what a volume rests on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sql/vfs.h"

enum { ANSWER = 0, NAME = 1, VALUE = 2, TEXT_BYTES = 32 };

static int answer(const aur_sql_connection *connection, char **argument, const char *text) {
    char *copy = auri_library_text(connection->library, text);
    if (copy == NULL) {
        return SQLITE_IOERR_NOMEM;
    }
    argument[ANSWER] = copy;
    return SQLITE_OK;
}

static int answer_number(const aur_sql_connection *connection, char **argument, uint64_t number) {
    char text[TEXT_BYTES];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return answer(connection, argument, text);
}

/* The rollback journal is in the connection's own memory: without one ROLLBACK TO would be wrong,
 * and a WAL has no place here. */
static int journal_mode(aur_sql_connection *connection, char **argument) {
    return answer(connection, argument, "delete");
}

static int locking_mode(aur_sql_connection *connection, char **argument) {
    return answer(connection, argument, "normal");
}

/* A page is as big as the volume's. */
static int page_size(aur_sql_connection *connection, char **argument) {
    return argument[VALUE] == NULL
               ? SQLITE_NOTFOUND
               : answer_number(connection, argument, connection->sql->options.page_bytes);
}

/* OFF: commits do not wait. Anything else: they do, as the volume was opened for. */
static int synchronous(aur_sql_connection *connection, char **argument) {
    const char *value = argument[VALUE];
    if (value == NULL) {
        return answer_number(connection, argument, connection->waits ? 2 : 0);
    }
    connection->waits = strcasecmp(value, "off") != 0 && strcmp(value, "0") != 0 &&
                        strcasecmp(value, "false") != 0 && strcasecmp(value, "no") != 0;
    return answer_number(connection, argument, connection->waits ? 2 : 0);
}

/* How long to wait for the right to write. */
static int busy_timeout(aur_sql_connection *connection, char **argument) {
    const char *value = argument[VALUE];
    if (!connection->has_handler) {
        return SQLITE_NOTFOUND; /* SQLite's own handler waits */
    }
    if (value != NULL) {
        const long long ms = strtoll(value, NULL, 10);
        auri_connection_set_timeout(connection, ms > 0 ? (uint64_t)ms : 0);
    }
    return answer_number(connection, argument, connection->timeout_ms);
}

typedef struct pragma {
    const char *name;
    int (*run)(aur_sql_connection *connection, char **argument);
} pragma;

static const pragma pragmas[] = {
    {"journal_mode", journal_mode}, {"locking_mode", locking_mode}, {"page_size", page_size},
    {"synchronous", synchronous},   {"busy_timeout", busy_timeout},
};

int auri_vfs_pragma(aur_sql_connection *connection, char **argument) {
    for (size_t at = 0; at < sizeof pragmas / sizeof pragmas[0]; at++) {
        if (strcasecmp(argument[NAME], pragmas[at].name) == 0) {
            return pragmas[at].run(connection, argument);
        }
    }
    return SQLITE_NOTFOUND;
}
