/*
 * The part of SQLite's binary interface that a VFS and a busy handler need, as documented at
 * https://sqlite.org/c3ref/intro.html. It has been stable since 3.8; the test sql.abi compares it
 * with SQLite's own headers. Declared here because the library is chosen at run time, and a wheel
 * is built without one. That test lists all constants and fields again.
 */
#ifndef AUR_SQL_SQLITE_ABI_H
#define AUR_SQL_SQLITE_ABI_H

#include <stdint.h>

enum {
    SQLITE_OK = 0,
    SQLITE_BUSY = 5,
    SQLITE_READONLY = 8,
    SQLITE_INTERRUPT = 9,
    SQLITE_IOERR = 10,
    SQLITE_NOTFOUND = 12,
    SQLITE_FULL = 13,
    SQLITE_CANTOPEN = 14,
    SQLITE_OK_LOAD_PERMANENTLY = 256,
    SQLITE_BUSY_SNAPSHOT = 517,
    SQLITE_IOERR_READ = 266,
    SQLITE_IOERR_SHORT_READ = 522,
    SQLITE_IOERR_WRITE = 778,
    SQLITE_IOERR_FSYNC = 1034,
    SQLITE_IOERR_NOMEM = 3082,
    SQLITE_IOERR_LOCK = 3850,
    SQLITE_IOERR_CORRUPTFS = 8458,

    SQLITE_OPEN_READONLY = 0x1,
    SQLITE_OPEN_READWRITE = 0x2,
    SQLITE_OPEN_CREATE = 0x4,
    SQLITE_OPEN_DELETEONCLOSE = 0x8,
    SQLITE_OPEN_MAIN_DB = 0x100,
    SQLITE_OPEN_MAIN_JOURNAL = 0x800,
    SQLITE_OPEN_SUPER_JOURNAL = 0x4000,

    SQLITE_LOCK_NONE = 0,
    SQLITE_LOCK_SHARED = 1,
    SQLITE_LOCK_RESERVED = 2,
    SQLITE_LOCK_PENDING = 3,
    SQLITE_LOCK_EXCLUSIVE = 4,

    SQLITE_FCNTL_SIZE_HINT = 5,
    SQLITE_FCNTL_CHUNK_SIZE = 6,
    SQLITE_FCNTL_OVERWRITE = 11,
    SQLITE_FCNTL_VFSNAME = 12,
    SQLITE_FCNTL_PRAGMA = 14,
    SQLITE_FCNTL_HAS_MOVED = 20,
    SQLITE_FCNTL_SYNC = 21,
    SQLITE_FCNTL_COMMIT_PHASETWO = 22,
    SQLITE_FCNTL_PDB = 30,
    SQLITE_FCNTL_RESERVE_BYTES = 38,

    SQLITE_IOCAP_SAFE_APPEND = 0x200,
    SQLITE_IOCAP_SEQUENTIAL = 0x400,
    SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN = 0x800,
    SQLITE_IOCAP_POWERSAFE_OVERWRITE = 0x1000,
    SQLITE_IOCAP_IMMUTABLE = 0x2000,

    SQLITE_TRACE_STMT = 0x1,
};

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
typedef struct sqlite3_file sqlite3_file;
typedef struct sqlite3_vfs sqlite3_vfs;

typedef struct sqlite3_io_methods {
    int iVersion; /* 1: what follows is all */
    int (*xClose)(sqlite3_file *file);
    int (*xRead)(sqlite3_file *file, void *out, int bytes, int64_t offset);
    int (*xWrite)(sqlite3_file *file, const void *from, int bytes, int64_t offset);
    int (*xTruncate)(sqlite3_file *file, int64_t size);
    int (*xSync)(sqlite3_file *file, int flags);
    int (*xFileSize)(sqlite3_file *file, int64_t *size_out);
    int (*xLock)(sqlite3_file *file, int level);
    int (*xUnlock)(sqlite3_file *file, int level);
    int (*xCheckReservedLock)(sqlite3_file *file, int *out);
    int (*xFileControl)(sqlite3_file *file, int operation, void *argument);
    int (*xSectorSize)(sqlite3_file *file);
    int (*xDeviceCharacteristics)(sqlite3_file *file);
} sqlite3_io_methods;

struct sqlite3_file {
    const sqlite3_io_methods *pMethods;
};

struct sqlite3_vfs {
    int iVersion; /* 2: to xCurrentTimeInt64 */
    int szOsFile;
    int mxPathname;
    sqlite3_vfs *pNext;
    const char *zName;
    void *pAppData;
    int (*xOpen)(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *flags_out);
    int (*xDelete)(sqlite3_vfs *vfs, const char *name, int sync_directory);
    int (*xAccess)(sqlite3_vfs *vfs, const char *name, int flags, int *out);
    int (*xFullPathname)(sqlite3_vfs *vfs, const char *name, int bytes, char *out);
    void *(*xDlOpen)(sqlite3_vfs *vfs, const char *name);
    void (*xDlError)(sqlite3_vfs *vfs, int bytes, char *message);
    void (*(*xDlSym)(sqlite3_vfs *vfs, void *handle, const char *symbol))(void);
    void (*xDlClose)(sqlite3_vfs *vfs, void *handle);
    int (*xRandomness)(sqlite3_vfs *vfs, int bytes, char *out);
    int (*xSleep)(sqlite3_vfs *vfs, int microseconds);
    int (*xCurrentTime)(sqlite3_vfs *vfs, double *out);
    int (*xGetLastError)(sqlite3_vfs *vfs, int bytes, char *message);
    int (*xCurrentTimeInt64)(sqlite3_vfs *vfs, int64_t *out);
};

/* ---- virtual tables ---- */

typedef struct sqlite3_context sqlite3_context;
typedef struct sqlite3_value sqlite3_value;
typedef struct sqlite3_module sqlite3_module;

typedef struct sqlite3_vtab {
    const sqlite3_module *pModule;
    int nRef;
    char *zErrMsg;
} sqlite3_vtab;

typedef struct sqlite3_vtab_cursor {
    sqlite3_vtab *pVtab;
} sqlite3_vtab_cursor;

/* As far as it is written. */
typedef struct sqlite3_index_info {
    int nConstraint;
    void *aConstraint;
    int nOrderBy;
    void *aOrderBy;
    void *aConstraintUsage;
    int idxNum;
    char *idxStr;
    int needToFreeIdxStr;
    int orderByConsumed;
    double estimatedCost;
} sqlite3_index_info;

struct sqlite3_module {
    int iVersion; /* 0: to xRename */
    int (*xCreate)(sqlite3 *, void *, int, const char *const *, sqlite3_vtab **, char **);
    int (*xConnect)(sqlite3 *, void *, int, const char *const *, sqlite3_vtab **, char **);
    int (*xBestIndex)(sqlite3_vtab *, sqlite3_index_info *);
    int (*xDisconnect)(sqlite3_vtab *);
    int (*xDestroy)(sqlite3_vtab *);
    int (*xOpen)(sqlite3_vtab *, sqlite3_vtab_cursor **);
    int (*xClose)(sqlite3_vtab_cursor *);
    int (*xFilter)(sqlite3_vtab_cursor *, int, const char *, int, sqlite3_value **);
    int (*xNext)(sqlite3_vtab_cursor *);
    int (*xEof)(sqlite3_vtab_cursor *);
    int (*xColumn)(sqlite3_vtab_cursor *, sqlite3_context *, int);
    int (*xRowid)(sqlite3_vtab_cursor *, int64_t *);
    int (*xUpdate)(sqlite3_vtab *, int, sqlite3_value **, int64_t *);
    int (*xBegin)(sqlite3_vtab *);
    int (*xSync)(sqlite3_vtab *);
    int (*xCommit)(sqlite3_vtab *);
    int (*xRollback)(sqlite3_vtab *);
    int (*xFindFunction)(sqlite3_vtab *, int, const char *,
                         void (**)(sqlite3_context *, int, sqlite3_value **), void **);
    int (*xRename)(sqlite3_vtab *, const char *);
};

/* The functions of a library that are called. X(name, index in sqlite3_api_routines, result,
 * arguments) */
#define AURI_SQLITE_FUNCTIONS(X)                                                                   \
    X(free, 58, void, (void *))                                                                    \
    X(malloc, 68, void *, (int))                                                                   \
    X(busy_handler, 13, int, (sqlite3 *, int (*)(void *, int), void *))                            \
    X(busy_timeout, 14, int, (sqlite3 *, int))                                                     \
    X(get_autocommit, 60, int, (sqlite3 *))                                                        \
    X(stmt_readonly, 185, int, (sqlite3_stmt *))                                                   \
    X(trace_v2, 214, int,                                                                          \
      (sqlite3 *, unsigned, int (*)(unsigned, void *, void *, void *), void *))                    \
    X(create_module, 47, int, (sqlite3 *, const char *, const sqlite3_module *, void *))           \
    X(declare_vtab, 50, int, (sqlite3 *, const char *))                                            \
    X(result_int64, 83, void, (sqlite3_context *, int64_t))                                        \
    X(result_text, 85, void, (sqlite3_context *, const char *, int, void (*)(void *)))             \
    X(file_control, 127, int, (sqlite3 *, const char *, int, void *))                              \
    X(uri_parameter, 189, const char *, (const char *, const char *))                              \
    X(vfs_find, 141, sqlite3_vfs *, (const char *))                                                \
    X(vfs_register, 142, int, (sqlite3_vfs *, int))                                                \
    X(vfs_unregister, 143, int, (sqlite3_vfs *))

#endif
