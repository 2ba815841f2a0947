/*
 * Our declarations of SQLite's binary interface against SQLite's own headers, where there are any.
 *
 * Both have the same names. So ours come first, under other names for the types; what is a constant
 * there is a macro in SQLite's headers, which come later and hide it.
 */
#include <stddef.h>

#include "../harness.h"

#define sqlite3 ours_sqlite3
#define sqlite3_file ours_sqlite3_file
#define sqlite3_vfs ours_sqlite3_vfs
#define sqlite3_io_methods ours_sqlite3_io_methods
#define sqlite3_module ours_sqlite3_module
#define sqlite3_vtab ours_sqlite3_vtab
#define sqlite3_vtab_cursor ours_sqlite3_vtab_cursor
#define sqlite3_index_info ours_sqlite3_index_info
#include "sql/sqlite_abi.h"

/* Every constant of sql/sqlite_abi.h. */
#define CONSTANTS(X)                                                                               \
    X(SQLITE_OK)                                                                                   \
    X(SQLITE_BUSY)                                                                                 \
    X(SQLITE_READONLY)                                                                             \
    X(SQLITE_INTERRUPT)                                                                            \
    X(SQLITE_IOERR)                                                                                \
    X(SQLITE_NOTFOUND)                                                                             \
    X(SQLITE_FULL)                                                                                 \
    X(SQLITE_CANTOPEN)                                                                             \
    X(SQLITE_OK_LOAD_PERMANENTLY)                                                                  \
    X(SQLITE_BUSY_SNAPSHOT)                                                                        \
    X(SQLITE_IOERR_READ)                                                                           \
    X(SQLITE_IOERR_SHORT_READ)                                                                     \
    X(SQLITE_IOERR_WRITE)                                                                          \
    X(SQLITE_IOERR_FSYNC)                                                                          \
    X(SQLITE_IOERR_NOMEM)                                                                          \
    X(SQLITE_IOERR_LOCK)                                                                           \
    X(SQLITE_IOERR_CORRUPTFS)                                                                      \
    X(SQLITE_OPEN_READONLY)                                                                        \
    X(SQLITE_OPEN_READWRITE)                                                                       \
    X(SQLITE_OPEN_CREATE)                                                                          \
    X(SQLITE_OPEN_DELETEONCLOSE)                                                                   \
    X(SQLITE_OPEN_MAIN_DB)                                                                         \
    X(SQLITE_OPEN_MAIN_JOURNAL)                                                                    \
    X(SQLITE_OPEN_SUPER_JOURNAL)                                                                   \
    X(SQLITE_LOCK_NONE)                                                                            \
    X(SQLITE_LOCK_SHARED)                                                                          \
    X(SQLITE_LOCK_RESERVED)                                                                        \
    X(SQLITE_LOCK_PENDING)                                                                         \
    X(SQLITE_LOCK_EXCLUSIVE)                                                                       \
    X(SQLITE_FCNTL_SIZE_HINT)                                                                      \
    X(SQLITE_FCNTL_CHUNK_SIZE)                                                                     \
    X(SQLITE_FCNTL_OVERWRITE)                                                                      \
    X(SQLITE_FCNTL_VFSNAME)                                                                        \
    X(SQLITE_FCNTL_PRAGMA)                                                                         \
    X(SQLITE_FCNTL_HAS_MOVED)                                                                      \
    X(SQLITE_FCNTL_SYNC)                                                                           \
    X(SQLITE_FCNTL_COMMIT_PHASETWO)                                                                \
    X(SQLITE_FCNTL_PDB)                                                                            \
    X(SQLITE_IOCAP_SAFE_APPEND)                                                                    \
    X(SQLITE_IOCAP_SEQUENTIAL)                                                                     \
    X(SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN)                                                          \
    X(SQLITE_IOCAP_POWERSAFE_OVERWRITE)                                                            \
    X(SQLITE_IOCAP_IMMUTABLE)                                                                      \
    X(SQLITE_TRACE_STMT)

/* Every field. */
#define FIELDS(X)                                                                                  \
    X(sqlite3_file, pMethods)                                                                      \
    X(sqlite3_io_methods, iVersion)                                                                \
    X(sqlite3_io_methods, xClose)                                                                  \
    X(sqlite3_io_methods, xRead)                                                                   \
    X(sqlite3_io_methods, xWrite)                                                                  \
    X(sqlite3_io_methods, xTruncate)                                                               \
    X(sqlite3_io_methods, xSync)                                                                   \
    X(sqlite3_io_methods, xFileSize)                                                               \
    X(sqlite3_io_methods, xLock)                                                                   \
    X(sqlite3_io_methods, xUnlock)                                                                 \
    X(sqlite3_io_methods, xCheckReservedLock)                                                      \
    X(sqlite3_io_methods, xFileControl)                                                            \
    X(sqlite3_io_methods, xSectorSize)                                                             \
    X(sqlite3_io_methods, xDeviceCharacteristics)                                                  \
    X(sqlite3_vfs, iVersion)                                                                       \
    X(sqlite3_vfs, szOsFile)                                                                       \
    X(sqlite3_vfs, mxPathname)                                                                     \
    X(sqlite3_vfs, pNext)                                                                          \
    X(sqlite3_vfs, zName)                                                                          \
    X(sqlite3_vfs, pAppData)                                                                       \
    X(sqlite3_vfs, xOpen)                                                                          \
    X(sqlite3_vfs, xDelete)                                                                        \
    X(sqlite3_vfs, xAccess)                                                                        \
    X(sqlite3_vfs, xFullPathname)                                                                  \
    X(sqlite3_vfs, xDlOpen)                                                                        \
    X(sqlite3_vfs, xDlError)                                                                       \
    X(sqlite3_vfs, xDlSym)                                                                         \
    X(sqlite3_vfs, xDlClose)                                                                       \
    X(sqlite3_vfs, xRandomness)                                                                    \
    X(sqlite3_vfs, xSleep)                                                                         \
    X(sqlite3_vfs, xCurrentTime)                                                                   \
    X(sqlite3_vfs, xGetLastError)                                                                  \
    X(sqlite3_vfs, xCurrentTimeInt64)                                                              \
    X(sqlite3_vtab, pModule)                                                                       \
    X(sqlite3_vtab, nRef)                                                                          \
    X(sqlite3_vtab, zErrMsg)                                                                       \
    X(sqlite3_vtab_cursor, pVtab)                                                                  \
    X(sqlite3_index_info, nConstraint)                                                             \
    X(sqlite3_index_info, aConstraint)                                                             \
    X(sqlite3_index_info, nOrderBy)                                                                \
    X(sqlite3_index_info, aOrderBy)                                                                \
    X(sqlite3_index_info, aConstraintUsage)                                                        \
    X(sqlite3_index_info, idxNum)                                                                  \
    X(sqlite3_index_info, idxStr)                                                                  \
    X(sqlite3_index_info, needToFreeIdxStr)                                                        \
    X(sqlite3_index_info, orderByConsumed)                                                         \
    X(sqlite3_index_info, estimatedCost)                                                           \
    X(sqlite3_module, iVersion)                                                                    \
    X(sqlite3_module, xCreate)                                                                     \
    X(sqlite3_module, xConnect)                                                                    \
    X(sqlite3_module, xBestIndex)                                                                  \
    X(sqlite3_module, xDisconnect)                                                                 \
    X(sqlite3_module, xDestroy)                                                                    \
    X(sqlite3_module, xOpen)                                                                       \
    X(sqlite3_module, xClose)                                                                      \
    X(sqlite3_module, xFilter)                                                                     \
    X(sqlite3_module, xNext)                                                                       \
    X(sqlite3_module, xEof)                                                                        \
    X(sqlite3_module, xColumn)                                                                     \
    X(sqlite3_module, xRowid)                                                                      \
    X(sqlite3_module, xUpdate)                                                                     \
    X(sqlite3_module, xBegin)                                                                      \
    X(sqlite3_module, xSync)                                                                       \
    X(sqlite3_module, xCommit)                                                                     \
    X(sqlite3_module, xRollback)                                                                   \
    X(sqlite3_module, xFindFunction)                                                               \
    X(sqlite3_module, xRename)

/* `value` is made where the table is written: of our names, or of SQLite's. */
typedef struct fact {
    const char *name;
    long long value;
} fact;

#define CONSTANT_FACT(name) {#name, name},
#define FIELD_FACT(type, field) {#field, (long long)offsetof(struct type, field)},
#define INDEX_FACT(function, index, result, arguments) {#function, index},

static const fact our_constants[] = {CONSTANTS(CONSTANT_FACT)};
static const fact our_fields[] = {FIELDS(FIELD_FACT)};
static const fact our_functions[] = {AURI_SQLITE_FUNCTIONS(INDEX_FACT)};

enum {
    FIELDS_LISTED = sizeof our_fields / sizeof *our_fields,
    /* Words, of which two hold two fields: SQLite's structures are made of pointers, and an int
     * between two of them takes as much room. */
    FIELDS_DECLARED = (sizeof(sqlite3_file) + sizeof(sqlite3_io_methods) + sizeof(sqlite3_vfs) +
                       sizeof(sqlite3_module) + sizeof(sqlite3_vtab) + sizeof(sqlite3_vtab_cursor) +
                       sizeof(sqlite3_index_info)) /
            sizeof(void *) +
        2,
};
_Static_assert((int)FIELDS_LISTED == (int)FIELDS_DECLARED, "a field is not in the list");

#undef sqlite3
#undef sqlite3_file
#undef sqlite3_vfs
#undef sqlite3_io_methods
#undef sqlite3_module
#undef sqlite3_vtab
#undef sqlite3_vtab_cursor
#undef sqlite3_index_info

#if __has_include(<sqlite3ext.h>)
#include <sqlite3ext.h>

#define POINTER_FACT(function, index, result, arguments)                                           \
    {#function, (long long)(offsetof(struct sqlite3_api_routines, function) / sizeof(void *))},

static const fact their_constants[] = {CONSTANTS(CONSTANT_FACT)};
static const fact their_fields[] = {FIELDS(FIELD_FACT)};

static const fact their_functions[] = {AURI_SQLITE_FUNCTIONS(POINTER_FACT)};

static void compare(const fact *ours, const fact *theirs, size_t count) {
    for (size_t at = 0; at < count; at++)
        CHECK_MSG(ours[at].value == theirs[at].value, "%s: %lld here, %lld in SQLite's headers",
                  ours[at].name, ours[at].value, theirs[at].value);
}

TEST(declarations_are_those_of_sqlite) {
    printf("  compared with SQLite " SQLITE_VERSION "\n");
    compare(our_constants, their_constants, sizeof our_constants / sizeof *our_constants);
    compare(our_fields, their_fields, sizeof our_fields / sizeof *our_fields);
    compare(our_functions, their_functions, sizeof our_functions / sizeof *our_functions);
}
#else
TEST(declarations_are_those_of_sqlite) {
    (void)our_constants;
    (void)our_functions;
    printf("  NOT COMPARED: SQLite's headers (sqlite3ext.h) are not installed\n");
}
#endif
