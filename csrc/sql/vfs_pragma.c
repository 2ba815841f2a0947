/* PRAGMAs that mean something else here, or would break what a volume rests on. */
#include <stdlib.h>
#include <strings.h>

#include "sql/vfs.h"

enum { NAME = 1, VALUE = 2 };

/* SQLite answers by itself, so that its answers have their names and types; but it takes a value
 * that it does not know for none. Its copy of the text may be changed. */
static void pass_over(char *value) {
    if (value != NULL && value[0] != '\0') {
        value[0] = '?';
    }
}

/* The rollback journal is in the connection's own memory: without one ROLLBACK TO would be wrong,
 * and a WAL has no place here. */
static void journal_mode(aur_sql_connection *connection, char *value) {
    (void)connection;
    pass_over(value);
}

static void locking_mode(aur_sql_connection *connection, char *value) {
    (void)connection;
    pass_over(value);
}

/* A page is as big as the volume's, also after a VACUUM. */
static void page_size(aur_sql_connection *connection, char *value) {
    (void)connection;
    pass_over(value);
}

/* Whether SQLite takes a value for OFF. */
static bool is_off(const char *value) {
    enum { LEVELS = 8 };
    if (value[0] >= '0' && value[0] <= '9') {
        return ((uint8_t)strtoul(value, NULL, 10) + 1) % LEVELS <= 1;
    }
    return strcasecmp(value, "off") == 0 || strcasecmp(value, "false") == 0 ||
           strcasecmp(value, "no") == 0;
}

/* OFF: commits do not wait. Anything else: they do, as the volume was opened for. SQLite must not
 * know of OFF: without super-journals several databases would not be one commit. In a transaction
 * it refuses to change anything. */
static void synchronous(aur_sql_connection *connection, char *value) {
    if (value == NULL || connection->library->sqlite.get_autocommit(connection->sqlite) == 0) {
        return;
    }
    connection->waits = !is_off(value);
    if (!connection->waits && value[0] != '\0') {
        value[0] = '1'; /* NORMAL */
        value[1] = '\0';
    }
}

/* As SQLite reads it: what is no number, or none of 32 bits, is 0. */
static uint64_t milliseconds_of(const char *value) {
    const bool is_hexadecimal = value[0] == '0' && (value[1] == 'x' || value[1] == 'X');
    const long long ms = strtoll(value, NULL, is_hexadecimal ? 16 : 10);
    return ms > 0 && ms <= INT32_MAX ? (uint64_t)ms : 0;
}

/* How long to wait for the right to write. SQLite's answer is what its own handler would wait, so
 * it is told; ours is put back at the next lock. */
static void busy_timeout(aur_sql_connection *connection, char *value) {
    if (!connection->has_handler) {
        return; /* SQLite's own handler waits */
    }
    if (value != NULL) {
        auri_connection_set_timeout(connection, milliseconds_of(value));
    }
    auri_connection_lend_handler(connection);
}

typedef struct pragma {
    const char *name;
    void (*run)(aur_sql_connection *connection, char *value);
} pragma;

static const pragma pragmas[] = {
    {"journal_mode", journal_mode}, {"locking_mode", locking_mode}, {"page_size", page_size},
    {"synchronous", synchronous},   {"busy_timeout", busy_timeout},
};

void auri_vfs_pragma(aur_sql_connection *connection, char **argument) {
    for (size_t at = 0; at < sizeof pragmas / sizeof pragmas[0]; at++) {
        if (strcasecmp(argument[NAME], pragmas[at].name) == 0) {
            pragmas[at].run(connection, argument[VALUE]);
        }
    }
}
