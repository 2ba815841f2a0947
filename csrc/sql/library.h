/* The SQLite libraries of this process that a VFS is registered in. There may be several: Python's
 * own, and newer ones that wheels bring along. */
#ifndef AUR_SQL_LIBRARY_H
#define AUR_SQL_LIBRARY_H

#include "sql/sql_private.h"
#include "sql/sqlite_abi.h"

/* A library's functions, as far as they are used. */
typedef struct auri_sqlite {
#define AURI_DECLARE_FUNCTION(name, index, result, arguments) result(*name) arguments;
    AURI_SQLITE_FUNCTIONS(AURI_DECLARE_FUNCTION)
#undef AURI_DECLARE_FUNCTION
} auri_sqlite;

/* One library with one volume's VFS in it. Lives as long as the SQL side. */
struct auri_sql_library {
    auri_sql_library *next;
    aur_sql *sql;
    auri_sqlite sqlite;
    sqlite3_vfs vfs;
    sqlite3_vfs *system; /* the library's default: temporary files, randomness, time */
};

/* Finds the functions of the library behind a loaded shared object, or, as "extension", those that
 * aur_sql_extension_init was given. AUR_ERR_INVALID. */
aur_status auri_sqlite_find(const char *path, auri_sqlite *out, aur_error *error) AUR_CHECKED;

/* A copy of a text in SQLite's own memory, which SQLite frees. NULL: out of memory. */
char *auri_library_text(const auri_sql_library *library, const char *text);

/* history_table.c: adds aurora_history() to a connection; SQLite's code. */
int auri_history_table_add(const auri_sql_library *library, void *sqlite);

/* vfs.c: fills library->vfs. */
void auri_vfs_fill(auri_sql_library *library);

/* Whether this thread's last try to write was refused for an old view: the busy handler then tries
 * again at once, because it has the ticket. */
void auri_vfs_expect_retry(const aur_sql_connection *connection, aur_status status);
bool auri_vfs_was_refused(void);
/* Whether SQLite's own busy handler slept when the wait was called off; told once. */
bool auri_vfs_take_interruption(void);

/* The libraries of a volume that is closed: nobody opens files through them any more; and of one
 * that is gone. Their memory is kept until the next volume goes, because SQLite may be in the
 * middle of closing the last connection. */
void auri_libraries_unregister(auri_sql_library *libraries);
void auri_libraries_retire(auri_sql_library *libraries);

#endif
