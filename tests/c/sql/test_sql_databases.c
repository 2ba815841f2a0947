/* Databases through SQLite itself: what a connection writes, rolls back, and finds again. */
#include <pthread.h>

#include "sqlite.h"

static sql_world world;

static const char fill[] =
    "INSERT INTO t(v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
    "FROM n LIMIT 2000) SELECT printf('%0200d', i) FROM n";

static void *commit_later(void *connection) {
    const struct timespec pause = {0, 30000000};
    nanosleep(&pause, NULL);
    sql_run(&world, connection, "COMMIT");
    return NULL;
}

static bool open_world(void) {
    const aur_engine_options options = stack_options(AUR_ENGINE_DRIVE_THREADS);
    return sql_open(&world, &options);
}

TEST(commits_are_seen_and_rollbacks_are_not) {
    if (!open_world())
        return;
    sqlite3 *writer = sql_connect(&world, "file:books");
    sqlite3 *reader = sql_connect(&world, "file:books");
    sql_expect(&world, reader, "SELECT count(*) FROM sqlite_schema", "0");
    sql_run(&world, writer, "CREATE TABLE t(k INTEGER PRIMARY KEY, v)");
    sql_run(&world, writer, "BEGIN; INSERT INTO t(v) VALUES ('a'), ('b')");
    sql_expect(&world, writer, "SELECT count(*) FROM t", "2");
    sql_expect(&world, reader, "SELECT count(*) FROM t", "0");
    sql_run(&world, writer, "ROLLBACK");
    sql_expect(&world, writer, "SELECT count(*) FROM t", "0");
    sql_run(&world, writer, fill);
    sql_expect(&world, reader, "SELECT count(*), sum(v) FROM t", "2000");
    /* A view stays where it is, and what it would overwrite unseen is refused. */
    sql_run(&world, reader, "BEGIN");
    sql_expect(&world, reader, "SELECT sum(v) FROM t", "2001000");
    sql_run(&world, writer,
            "BEGIN; DELETE FROM t WHERE k % 3 = 0; SAVEPOINT s; DELETE FROM t; "
            "ROLLBACK TO s; COMMIT");
    sql_expect(&world, reader, "SELECT count(*) FROM t", "2000");
    CHECK_EQ_I64(sql_try(&world, reader, "INSERT INTO t(v) VALUES ('c')"), SQLITE_BUSY_SNAPSHOT);
    sql_run(&world, reader, "COMMIT");
    sql_expect(&world, reader, "SELECT count(*) FROM t", "1334");
    sql_run(&world, reader, "VACUUM");
    sql_expect(&world, writer, "SELECT count(*) FROM t", "1334");
    sql_verify(&world, writer);
    sql_disconnect(&world, writer);
    sql_disconnect(&world, reader);
    sql_close(&world);
}

/* Also with connections that were left open, and with one that was writing. */
TEST(a_database_outlives_its_engine) {
    if (!open_world())
        return;
    sqlite3 *idle = sql_connect(&world, "file:books");
    sqlite3 *writing = sql_connect(&world, "file:books");
    sql_run(&world, idle, "CREATE TABLE t(k INTEGER PRIMARY KEY, v)");
    sql_run(&world, idle, fill);
    sql_run(&world, writing, "BEGIN IMMEDIATE; DELETE FROM t");
    sql_reopen(&world);
    CHECK_EQ_I64(sql_try(&world, idle, "SELECT sum(v) FROM t") & 0xff, SQLITE_IOERR);
    CHECK_EQ_I64(sql_try(&world, writing, "COMMIT") & 0xff, SQLITE_IOERR);
    sqlite3 *fresh = sql_connect(&world, "file:books");
    sql_expect(&world, fresh, "SELECT sum(v) FROM t", "2001000");
    sql_disconnect(&world, idle);
    sql_disconnect(&world, writing);
    sql_run(&world, fresh, "DELETE FROM t WHERE k > 1000");
    sql_verify(&world, fresh);
    sql_disconnect(&world, fresh);
    sql_close(&world);
}

/* A recovery in place takes back what nobody was told of; connections go on. */
TEST(connections_go_on_after_a_recovery_in_place) {
    if (!open_world())
        return;
    sqlite3 *writer = sql_connect(&world, "file:books");
    sql_run(&world, writer, "CREATE TABLE t(k INTEGER PRIMARY KEY, v)");
    sql_run(&world, writer, fill);
    sql_run(&world, writer, "BEGIN IMMEDIATE; DELETE FROM t");
    stack_recover(&world.stack);
    CHECK(sql_try(&world, writer, "COMMIT") != SQLITE_OK);
    (void)sql_try(&world, writer, "ROLLBACK");
    sql_expect(&world, writer, "SELECT sum(v) FROM t", "2001000");
    sql_run(&world, writer, "DELETE FROM t WHERE k > 1000");
    sql_expect(&world, writer, "SELECT count(*) FROM t", "1000");
    sql_verify(&world, writer);
    sql_disconnect(&world, writer);
    sql_close(&world);
}

TEST(the_past_is_read_as_it_was) {
    if (!open_world())
        return;
    char uri[64];
    aur_sql_state state;
    aur_error error;
    sqlite3 *writer = sql_connect(&world, "file:books");
    sql_run(&world, writer, "CREATE TABLE t(k INTEGER PRIMARY KEY, v)");
    sql_run(&world, writer, fill);
    CHECK_OK(aur_sql_take_state(world.sql, aur_sql_opened(world.sql), &state, &error));
    sql_run(&world, writer, "DROP TABLE t; VACUUM; CREATE TABLE u(x)");
    snprintf(uri, sizeof uri, "file:books?as_of=%" PRIu64, state.last_commit);
    sqlite3 *past = sql_connect(&world, uri);
    sql_expect(&world, past, "SELECT sum(v) FROM t", "2001000");
    sql_expect(&world, past, "PRAGMA integrity_check", "ok");
    CHECK_EQ_I64(sql_try(&world, past, "DELETE FROM t") & 0xff, SQLITE_READONLY);
    sql_disconnect(&world, past);
    sql_disconnect(&world, writer);
    sql_close(&world);
}

/* Names in order, and a drop that waits for who writes. */
TEST(databases_are_listed_and_dropped) {
    if (!open_world())
        return;
    char name[256];
    uint64_t lsn = 0;
    aur_error error;
    sqlite3 *second = sql_connect(&world, "file:second");
    sqlite3 *first = sql_connect(&world, "file:first");
    sql_run(&world, first, "CREATE TABLE t(k INTEGER PRIMARY KEY, v)");
    sql_run(&world, first, fill);
    sql_run(&world, second, "CREATE TABLE t(x)");
    CHECK_OK(aur_sql_next_name(world.sql, "", name, &error));
    CHECK_EQ_STR(name, "first");
    CHECK_OK(aur_sql_next_name(world.sql, name, name, &error));
    CHECK_EQ_STR(name, "second");
    CHECK_STATUS(aur_sql_next_name(world.sql, name, name, &error), AUR_NOT_FOUND);
    sql_run(&world, first, "BEGIN IMMEDIATE");
    CHECK_STATUS(aur_sql_drop(world.sql, "first", 10, &lsn, &error), AUR_TIMEOUT);
    sql_run(&world, first, "COMMIT");
    CHECK_STATUS(aur_sql_drop(world.sql, "third", 10, &lsn, &error), AUR_NOT_FOUND);
    CHECK_OK(aur_sql_drop(world.sql, "first", 10, &lsn, &error));
    stack_wait(&world.stack, lsn);
    sql_expect(&world, first, "SELECT count(*) FROM sqlite_schema", "0");
    sql_run(&world, first, "CREATE TABLE other(x)");
    sql_verify(&world, first);
    sql_disconnect(&world, first);
    sql_disconnect(&world, second);
    sql_close(&world);
}

/* Times that would run over count as long ones: who has to wait does. */
TEST(a_wait_for_ever_is_a_wait) {
    if (!open_world())
        return;
    char statement[64];
    sqlite3 *first = sql_connect(&world, "file:books");
    sqlite3 *second = sql_connect(&world, "file:books");
    sql_run(&world, first, "CREATE TABLE t(x)");
    const uint64_t times[] = {UINT64_MAX, UINT64_MAX / 1000000 + 2, INT64_MAX};
    for (size_t at = 0; at < 3; at++) {
        aur_error error;
        pthread_t thread;
        snprintf(statement, sizeof statement, "INSERT INTO t VALUES (%zu)", at);
        sql_run(&world, first, "BEGIN IMMEDIATE");
        CHECK_OK(aur_sql_set_timeout(world.sql, aur_sql_opened(world.sql), times[at], &error));
        CHECK(pthread_create(&thread, NULL, commit_later, first) == 0);
        sql_run(&world, second, statement);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    sql_expect(&world, first, "SELECT count(*) FROM t", "3");
    sql_disconnect(&world, first);
    sql_disconnect(&world, second);
    sql_close(&world);
}

/* SQLite does not write the pages of its free list. They lie where a dropped table was, and are
 * read by a backup like all others. */
TEST(pages_that_sqlite_never_wrote_are_zeros) {
    if (!open_world())
        return;
    aur_table *table = open_table(&world.stack, "table");
    aur_transaction *transaction = begin(&world.stack, false);
    for (int at = 0; at < 2000; at++) {
        char key[16];
        char value[200];
        snprintf(key, sizeof key, "%06d", at);
        snprintf(value, sizeof value, "%0199d", at);
        put(transaction, table, key, value);
    }
    CHECK_OK(commit(transaction));
    transaction = begin(&world.stack, false);
    aur_error error;
    CHECK_OK(aur_transaction_drop_table(transaction, "table", 5, &error));
    CHECK_OK(commit(transaction));
    sqlite3 *writer = sql_connect(&world, "file:books");
    sql_run(&world, writer,
            "PRAGMA secure_delete = 0; BEGIN; CREATE TABLE kept(x); "
            "CREATE TABLE t(k INTEGER PRIMARY KEY, v)");
    sql_run(&world, writer, fill);
    sql_run(&world, writer, "DELETE FROM t");
    sql_run(&world, writer, "INSERT INTO kept VALUES (1); COMMIT");
    sql_disconnect(&world, writer);
    sqlite3 *reader = sql_connect(&world, "file:books");
    sqlite3 *copy = NULL;
    CHECK_EQ_I64(world.sqlite->open_v2(":memory:", &copy, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_backup *backup = world.sqlite->backup_init(copy, "main", reader, "main");
    CHECK(backup != NULL);
    CHECK_EQ_I64(world.sqlite->backup_step(backup, -1), 101); /* done */
    CHECK_EQ_I64(world.sqlite->backup_finish(backup), SQLITE_OK);
    sql_expect(&world, copy, "PRAGMA integrity_check", "ok");
    sql_expect(&world, copy, "SELECT x FROM kept", "1");
    sql_run(&world, reader, fill); /* the pages of the free list come into use */
    sql_verify(&world, reader);
    sql_disconnect(&world, copy);
    sql_disconnect(&world, reader);
    sql_close(&world);
}
