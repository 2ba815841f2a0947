/*
 * Connections of many threads. SQLite itself is not instrumented: the race detector sees our side,
 * and the mutexes of both.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "sqlite.h"

enum { THREADS = 4, ACCOUNTS = 30 };

static sql_world world;
static unsigned rounds;

static void run_threads(void *(*body)(void *), unsigned count) {
    pthread_t threads[THREADS];
    uint64_t seeds[THREADS];
    for (unsigned at = 0; at < count; at++) {
        seeds[at] = random_u64();
        CHECK(pthread_create(&threads[at], NULL, body, &seeds[at]) == 0);
    }
    for (unsigned at = 0; at < count; at++)
        CHECK(pthread_join(threads[at], NULL) == 0);
}

static bool open_bank(void) {
    const aur_engine_options options = stack_options(AUR_ENGINE_DRIVE_THREADS);
    if (!sql_open(&world, &options))
        return false;
    const char *const names[] = {"file:left", "file:right"};
    for (size_t at = 0; at < 2; at++) {
        sqlite3 *loader = sql_connect(&world, names[at]);
        sql_run(&world, loader,
                "CREATE TABLE account(id INTEGER PRIMARY KEY, balance, note); "
                "INSERT INTO account WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 "
                "FROM n LIMIT 30) SELECT i, 1000, printf('%0300d', i) FROM n");
        sql_disconnect(&world, loader);
    }
    return true;
}

/* Transfers in one database, whose sum every view keeps. */
static void *run_transfers(void *context) {
    uint64_t *random = context;
    char statements[400];
    sqlite3 *connection = sql_connect(&world, "file:left");
    for (unsigned round = 0; round < rounds; round++) {
        snprintf(statements, sizeof statements,
                 "BEGIN IMMEDIATE; UPDATE account SET balance = balance - 7 WHERE id = %u; "
                 "UPDATE account SET balance = balance + 7, note = note || 'x' WHERE id = %u; %s",
                 (unsigned)(harness_random_next(random) % ACCOUNTS),
                 (unsigned)(harness_random_next(random) % ACCOUNTS),
                 harness_random_next(random) % 8 == 0 ? "ROLLBACK" : "COMMIT");
        sql_run(&world, connection, statements);
        sql_expect(&world, connection, "SELECT sum(balance) FROM account", "30000");
    }
    sql_disconnect(&world, connection);
    return NULL;
}

static void *run_readers(void *context) {
    (void)context;
    for (unsigned round = 0; round < rounds; round++) {
        sqlite3 *connection = sql_connect(&world, "file:left");
        sql_run(&world, connection, "BEGIN");
        for (int again = 0; again < 3; again++)
            sql_expect(&world, connection, "SELECT sum(balance) FROM account", "30000");
        sql_run(&world, connection, "COMMIT");
        sql_disconnect(&world, connection);
    }
    return NULL;
}

static void *run_either(void *context) {
    return *(uint64_t *)context % 2 == 0 ? run_transfers(context) : run_readers(context);
}

TEST(transfers_keep_the_sum_in_every_view) {
    rounds = 40;
    if (!open_bank())
        return;
    run_threads(run_transfers, THREADS);
    run_threads(run_either, THREADS);
    sqlite3 *connection = sql_connect(&world, "file:left");
    sql_verify(&world, connection);
    sql_disconnect(&world, connection);
    sql_close(&world);
}

/* Transfers between two databases, in one mini-transaction each; others write one of them. */
static void *run_pairs(void *context) {
    uint64_t *random = context;
    char statements[400];
    sqlite3 *connection = sql_connect(&world, "file:left");
    sql_run(&world, connection, "ATTACH 'file:right' AS r");
    for (unsigned round = 0; round < rounds; round++) {
        snprintf(statements, sizeof statements,
                 "BEGIN IMMEDIATE; UPDATE main.account SET balance = balance - 3 WHERE id = %u; "
                 "UPDATE r.account SET balance = balance + 3 WHERE id = %u",
                 (unsigned)(harness_random_next(random) % ACCOUNTS),
                 (unsigned)(harness_random_next(random) % ACCOUNTS));
        sql_run(&world, connection, statements);
        sql_expect(&world, connection,
                   "SELECT (SELECT sum(balance) FROM main.account) + "
                   "(SELECT sum(balance) FROM r.account)",
                   "60000");
        sql_run(&world, connection, "COMMIT");
        sql_run(&world, connection, "UPDATE r.account SET note = note || 'y' WHERE id = 3");
    }
    sql_disconnect(&world, connection);
    return NULL;
}

TEST(pairs_of_databases_keep_their_sum) {
    rounds = 30;
    if (!open_bank())
        return;
    run_threads(run_pairs, THREADS);
    sqlite3 *connection = sql_connect(&world, "file:right");
    sql_verify(&world, connection);
    sql_expect(&world, connection, "SELECT 30000 - sum(balance) <> 0 FROM account", "1");
    sql_disconnect(&world, connection);
    sql_close(&world);
}

/* Databases that come and go while others use them. */
static void *run_drops(void *context) {
    uint64_t *random = context;
    for (unsigned round = 0; round < rounds; round++) {
        char uri[16];
        uint64_t lsn;
        aur_error error;
        snprintf(uri, sizeof uri, "file:%c", (char)('a' + harness_random_next(random) % 2));
        if (harness_random_next(random) % 3 == 0) {
            const aur_status status = aur_sql_drop(world.sql, uri + 5, 60000, &lsn, &error);
            CHECK_MSG(status == AUR_OK || status == AUR_NOT_FOUND, "drop: %d %s", (int)status,
                      error.message);
        } else {
            sqlite3 *connection = sql_connect(&world, uri);
            sql_run(&world, connection,
                    "BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS t(x); "
                    "INSERT INTO t VALUES (zeroblob(20000)), (1); COMMIT");
            const int code = sql_try(&world, connection, "SELECT sum(length(x)) FROM t");
            CHECK(code == SQLITE_OK || code == 1); /* no such table */
            sql_disconnect(&world, connection);
        }
    }
    return NULL;
}

TEST(databases_come_and_go_under_many_threads) {
    rounds = 40;
    if (!open_bank())
        return;
    run_threads(run_drops, THREADS);
    sqlite3 *connection = sql_connect(&world, "file:a");
    sql_verify(&world, connection);
    sql_disconnect(&world, connection);
    sql_close(&world);
}

/* A volume of small groups, to which a coordinator adds what commits wait for. */
static atomic_bool is_done;

static void *run_coordinator(void *context) {
    (void)context;
    while (!atomic_load(&is_done)) {
        while (aur_engine_growth_wanted(world.stack.engine) > world.stack.groups)
            stack_add_group(&world.stack);
        const struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

TEST(commits_wait_for_a_volume_that_grows) {
    pthread_t coordinator;
    aur_engine_options options = stack_options(AUR_ENGINE_DRIVE_THREADS);
    options.group_pages = 128;
    if (!sql_open(&world, &options))
        return;
    atomic_store(&is_done, false);
    CHECK(pthread_create(&coordinator, NULL, run_coordinator, NULL) == 0);
    sqlite3 *connection = sql_connect(&world, "file:big");
    sql_run(&world, connection, "CREATE TABLE t(x)");
    for (int round = 0; round < 8; round++)
        sql_run(&world, connection, "INSERT INTO t VALUES (randomblob(400000))");
    sql_expect(&world, connection, "SELECT sum(length(x)) FROM t", "3200000");
    CHECK(world.stack.groups > 4);
    sql_verify(&world, connection);
    sql_disconnect(&world, connection);
    atomic_store(&is_done, true);
    CHECK(pthread_join(coordinator, NULL) == 0);
    sql_close(&world);
}
