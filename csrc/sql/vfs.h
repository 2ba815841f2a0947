/* The files that the VFS opens. Each begins with SQLite's own part, and its memory is SQLite's. */
#ifndef AUR_SQL_VFS_H
#define AUR_SQL_VFS_H

#include "sql/library.h"
#include "sql/super.h"

/* A database. */
typedef struct auri_database_file {
    sqlite3_file base;
    aur_sql_connection *connection;
} auri_database_file;

/* A journal: nobody but its connection sees it, and nothing of it outlives it. */
typedef struct auri_journal_file {
    sqlite3_file base;
    auri_spool *spool;
} auri_journal_file;

/* A super-journal: which databases a transaction writes. Its deletion is the commit. */
typedef struct auri_super_file {
    sqlite3_file base;
    aur_sql *sql;
    auri_super *super;
} auri_super_file;

typedef union auri_file {
    auri_database_file database;
    auri_journal_file journal;
    auri_super_file super;
} auri_file;

/* Fills `file`; SQLite's code. */
int auri_database_file_open(const auri_sql_library *library, const char *name, int flags,
                            auri_database_file *file, int *flags_out);
int auri_journal_file_open(auri_journal_file *file);
int auri_super_file_open(aur_sql *sql, const char *name, auri_super_file *file);

/* vfs_journal.c: what all files of ours do alike. Nothing is synced but by a commit; xCheckReserved
 * is asked about a journal that somebody may have left, and none ever is; to a sector SQLite pads
 * its journals. */
int auri_file_sync_nothing(sqlite3_file *file, int flags);
int auri_file_reserved_by_nobody(sqlite3_file *file, int *out);
int auri_file_sector_bytes(sqlite3_file *file);

/* SQLite's code for a status, an I/O error being `io_code`; what failed is remembered. */
int auri_sqlite_code(aur_sql_connection *connection, aur_status status, int io_code);

/* vfs_pragma.c: notes what a PRAGMA means here, before SQLite runs it. `argument`: SQLite's array
 * of result, name and value; the value is changed when SQLite is not to know it. */
void auri_vfs_pragma(aur_sql_connection *connection, char **argument);

#endif
