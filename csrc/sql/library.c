#include "sql/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*function)(void);

/* What the last library that loaded the extension gave. Libraries are few and stay loaded. */
static _Atomic(const void *) extension_routines;

int aur_sql_extension_init(void *database, char **message, const void *routines) {
    (void)database;
    (void)message;
    atomic_store(&extension_routines, routines);
    return SQLITE_OK_LOAD_PERMANENTLY;
}

static bool find_by_name(void *object, auri_sqlite *out) {
    bool has_all = true;
#define AURI_FIND_FUNCTION(name, index, result, arguments)                                         \
    {                                                                                              \
        void *found = dlsym(object, "sqlite3_" #name);                                             \
        memcpy(&out->name, &found, sizeof found);                                                  \
        has_all = has_all && found != NULL;                                                        \
    }
    AURI_SQLITE_FUNCTIONS(AURI_FIND_FUNCTION)
#undef AURI_FIND_FUNCTION
    return has_all;
}

static void find_by_index(const void *routines, auri_sqlite *out) {
    const function *table = routines;
#define AURI_TAKE_FUNCTION(name, index, result, arguments)                                         \
    memcpy(&out->name, &table[index], sizeof out->name);
    AURI_SQLITE_FUNCTIONS(AURI_TAKE_FUNCTION)
#undef AURI_TAKE_FUNCTION
}

aur_status auri_sqlite_find(const char *path, auri_sqlite *out, aur_error *error) {
    if (strcmp(path, "extension") == 0) {
        const void *routines = atomic_load(&extension_routines);
        if (routines != NULL) {
            find_by_index(routines, out);
            return AUR_OK;
        }
        return aur_fail(error, AUR_ERR_INVALID, "no SQLite has loaded the extension");
    }
    void *object = dlopen(path[0] == '\0' ? NULL : path, RTLD_LAZY | RTLD_NOLOAD);
    if (object == NULL) {
        return aur_fail(error, AUR_ERR_INVALID, "%.200s is not loaded", path);
    }
    const bool has_all = find_by_name(object, out);
    (void)dlclose(object); /* it stays loaded: somebody else has it */
    return has_all ? AUR_OK
                   : aur_fail(error, AUR_ERR_INVALID, "%.200s shows no SQLite functions", path);
}

char *auri_library_text(const auri_sql_library *library, const char *text) {
    const size_t bytes = strlen(text) + 1;
    char *copy = library->sqlite.malloc((int)bytes);
    if (copy != NULL) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

void auri_libraries_unregister(auri_sql_library *libraries) {
    for (auri_sql_library *at = libraries; at != NULL; at = at->next) {
        (void)at->sqlite.vfs_unregister(&at->vfs);
    }
}

void auri_libraries_retire(auri_sql_library *libraries) {
    static _Atomic(auri_sql_library *) retired;
    auri_sql_library *older = atomic_exchange(&retired, libraries);
    while (older != NULL) {
        auri_sql_library *next = older->next;
        free(older);
        older = next;
    }
}

/* The library if it is known, by a function of it. Locked. */
static const auri_sql_library *known_library(const aur_sql *sql, const auri_sqlite *sqlite) {
    const auri_sql_library *library = sql->libraries;
    while (library != NULL && library->sqlite.vfs_register != sqlite->vfs_register) {
        library = library->next;
    }
    return library;
}

static aur_status add_library(aur_sql *sql, const auri_sqlite *sqlite, aur_error *error) {
    auri_sql_library *library = calloc(1, sizeof *library);
    if (library == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to register a VFS");
    }
    library->sql = sql;
    library->sqlite = *sqlite;
    library->system = sqlite->vfs_find(NULL);
    auri_vfs_fill(library);
    if (library->system == NULL || sqlite->vfs_register(&library->vfs, 0) != SQLITE_OK) {
        free(library);
        return aur_fail(error, AUR_ERR_INVALID, "SQLite refuses a VFS");
    }
    library->next = sql->libraries;
    sql->libraries = library;
    return AUR_OK;
}

aur_status aur_sql_register(aur_sql *sql, const char *library, char *name_out, aur_error *error) {
    auri_sqlite sqlite;
    aur_status status = auri_sqlite_find(library, &sqlite, error);
    if (status != AUR_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&sql->lock);
    if (known_library(sql, &sqlite) == NULL) {
        status = add_library(sql, &sqlite, error);
    }
    (void)pthread_mutex_unlock(&sql->lock);
    memcpy(name_out, sql->vfs_name, sizeof sql->vfs_name);
    return status;
}
