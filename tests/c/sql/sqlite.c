#include "sqlite.h"

#include <dlfcn.h>

static const char library_path[] = "libsqlite3.so.0";

const test_sqlite *load_sqlite(void) {
    static test_sqlite sqlite;
    void *object = dlopen(library_path, RTLD_NOW); /* stays loaded */
    if (object == NULL) {
        printf("  NOT TESTED: %s\n", dlerror());
        return NULL;
    }
#define FIND_FUNCTION(name, result, arguments)                                                     \
    {                                                                                              \
        void *found = dlsym(object, "sqlite3_" #name);                                             \
        CHECK(found != NULL);                                                                      \
        memcpy(&sqlite.name, &found, sizeof found);                                                \
    }
    TEST_SQLITE_FUNCTIONS(FIND_FUNCTION)
    sqlite.path = library_path;
    return &sqlite;
}

static aur_status read_lsn(void *context, const char *text, uint64_t *lsn_out, aur_error *error) {
    (void)context;
    (void)error;
    *lsn_out = strtoull(text, NULL, 10);
    return AUR_OK;
}

static void register_volume(sql_world *world) {
    static const aur_sql_host host = {.resolve = read_lsn};
    aur_error error;
    CHECK_OK(aur_engine_sql(world->stack.engine, &world->sql, &error));
    aur_sql_set_host(world->sql, &host);
    for (int again = 0; again < 2; again++) {
        const aur_status status =
            aur_sql_register(world->sql, world->sqlite->path, world->vfs, &error);
        CHECK_MSG(status == AUR_OK, "register: %s", error.message);
    }
}

bool sql_open(sql_world *world, const aur_engine_options *options) {
    world->sqlite = load_sqlite();
    if (world->sqlite == NULL) {
        return false;
    }
    stack_open_with(&world->stack, options);
    register_volume(world);
    return true;
}

void sql_close(sql_world *world) { stack_close(&world->stack); }

void sql_reopen(sql_world *world) {
    stack_reopen(&world->stack);
    register_volume(world);
}

sqlite3 *sql_connect(sql_world *world, const char *uri) {
    enum { PATIENCE_MS = 60000 };
    sqlite3 *connection = NULL;
    aur_error error;
    const int code = world->sqlite->open_v2(
        uri, &connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, world->vfs);
    CHECK_MSG(code == SQLITE_OK, "open %s: %d", uri, code);
    const uint64_t number = aur_sql_opened(world->sql);
    CHECK(number != 0);
    CHECK_OK(aur_sql_set_timeout(world->sql, number, PATIENCE_MS, &error));
    return connection;
}

void sql_disconnect(sql_world *world, sqlite3 *connection) {
    CHECK_EQ_I64(world->sqlite->close(connection), SQLITE_OK);
}

int sql_try(sql_world *world, sqlite3 *connection, const char *statements) {
    const int code = world->sqlite->exec(connection, statements, NULL, NULL, NULL);
    return code == SQLITE_OK ? SQLITE_OK : world->sqlite->extended_errcode(connection);
}

void sql_run(sql_world *world, sqlite3 *connection, const char *statements) {
    const int code = sql_try(world, connection, statements);
    CHECK_MSG(code == SQLITE_OK, "%s: %d %s", statements, code, world->sqlite->errmsg(connection));
}

void sql_expect(sql_world *world, sqlite3 *connection, const char *query, const char *expected) {
    sqlite3_stmt *statement = NULL;
    const int code = world->sqlite->prepare_v2(connection, query, -1, &statement, NULL);
    CHECK_MSG(code == SQLITE_OK, "%s: %s", query, world->sqlite->errmsg(connection));
    const int stepped = world->sqlite->step(statement);
    CHECK_MSG(stepped == SQLITE_ROW, "%s: %d %s", query, stepped,
              world->sqlite->errmsg(connection));
    CHECK_EQ_STR((const char *)world->sqlite->column_text(statement, 0), expected);
    CHECK_EQ_I64(world->sqlite->finalize(statement), SQLITE_OK);
}

void sql_verify(sql_world *world, sqlite3 *connection) {
    aur_engine_verified verified;
    aur_error error;
    sql_expect(world, connection, "PRAGMA integrity_check", "ok");
    const aur_status status = aur_engine_verify(world->stack.engine, &verified, &error);
    CHECK_MSG(status == AUR_OK, "verify: %s", error.message);
    CHECK_EQ_U64(verified.leaked_pages, 0);
}
