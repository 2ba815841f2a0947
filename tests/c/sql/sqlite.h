/*
 * SQLite itself for tests: the system's library, loaded at run time, with a volume's VFS in it.
 * Where there is none, tests say so and pass.
 */
#ifndef AURORA_TESTS_SQLITE_H
#define AURORA_TESTS_SQLITE_H

#include <aurora/sql.h>

#include "sql/sqlite_abi.h"
#include "transaction/stack.h"

enum { SQLITE_ROW = 100, SQLITE_OPEN_URI = 0x40 };

typedef struct sqlite3_stmt sqlite3_stmt;
typedef struct sqlite3_backup sqlite3_backup;

/* X(name, result, arguments) */
#define TEST_SQLITE_FUNCTIONS(X)                                                                   \
    X(libversion, const char *, (void))                                                            \
    X(open_v2, int, (const char *, sqlite3 **, int, const char *))                                 \
    X(close, int, (sqlite3 *))                                                                     \
    X(exec, int, (sqlite3 *, const char *, void *, void *, char **))                               \
    X(errmsg, const char *, (sqlite3 *))                                                           \
    X(extended_errcode, int, (sqlite3 *))                                                          \
    X(prepare_v2, int, (sqlite3 *, const char *, int, sqlite3_stmt **, const char **))             \
    X(step, int, (sqlite3_stmt *))                                                                 \
    X(column_text, const unsigned char *, (sqlite3_stmt *, int))                                   \
    X(finalize, int, (sqlite3_stmt *))                                                             \
    X(backup_init, sqlite3_backup *, (sqlite3 *, const char *, sqlite3 *, const char *))           \
    X(backup_step, int, (sqlite3_backup *, int))                                                   \
    X(backup_finish, int, (sqlite3_backup *))

typedef struct test_sqlite {
#define DECLARE_FUNCTION(name, result, arguments) result(*name) arguments;
    TEST_SQLITE_FUNCTIONS(DECLARE_FUNCTION)
#undef DECLARE_FUNCTION
    const char *path; /* of the library */
} test_sqlite;

/* NULL, and a line of output: there is none here. */
const test_sqlite *load_sqlite(void);

/* One volume and the VFS that SQLite uses it through. */
typedef struct sql_world {
    const test_sqlite *sqlite;
    stack stack;
    aur_sql *sql;
    char vfs[AUR_SQL_VFS_NAME_BYTES];
} sql_world;

/* False: there is no SQLite. */
bool sql_open(sql_world *world, const aur_engine_options *options);
void sql_close(sql_world *world);
/* The volume is closed, and opened by another engine. */
void sql_reopen(sql_world *world);

/* A connection that waits long for the right to write. */
sqlite3 *sql_connect(sql_world *world, const char *uri);
void sql_disconnect(sql_world *world, sqlite3 *connection);

/* SQLite's code. */
int sql_try(sql_world *world, sqlite3 *connection, const char *statements);
/* Fails the test when a statement does. */
void sql_run(sql_world *world, sqlite3 *connection, const char *statements);
/* Fails the test unless the first column of the first row is this, as text. */
void sql_expect(sql_world *world, sqlite3 *connection, const char *query, const char *expected);

/* The database is sound for SQLite, and the volume for the engine. */
void sql_verify(sql_world *world, sqlite3 *connection);

#endif
