/*
 * Many threads on one engine: transfers keep their sum in every view, counters lose no update, and
 * snapshots taken at any moment are a prefix of the commits.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "base/endian.h"
#include "transaction/stack.h"

enum { THREADS = 8, ACCOUNTS = 40, START_BALANCE = 1000, KEY_BYTES = 4 };

static stack world;
static unsigned rounds;
static atomic_uint failures; /* conflicts that were run again */

static void key_of(uint64_t account, uint8_t key[KEY_BYTES]) {
    aur_put32(key, __builtin_bswap32((uint32_t)account));
}

static bool read_number(aur_transaction *transaction, uint64_t account, uint64_t *number) {
    uint8_t key[KEY_BYTES];
    aur_found found = {0};
    aur_error error;
    key_of(account, key);
    const aur_status status =
        aur_transaction_get(transaction, NULL, key, KEY_BYTES, false, &found, &error);
    CHECK_MSG(status == AUR_OK, "get: %d %s", (int)status, error.message);
    *number = aur_get64(found.data);
    aur_found_release(&found);
    return true;
}

static void write_number(aur_transaction *transaction, uint64_t account, uint64_t number) {
    uint8_t key[KEY_BYTES];
    uint8_t value[8];
    aur_error error;
    key_of(account, key);
    aur_put64(value, number);
    CHECK_OK(aur_transaction_put(transaction, NULL, key, KEY_BYTES, value, 8, &error));
}

static aur_transaction *begin_view(void) {
    aur_transaction *view = NULL;
    aur_error error;
    aur_status status;
    do {
        status = aur_transaction_begin(world.engine, true, false, &view, &error);
    } while (status == AUR_TIMEOUT);
    CHECK_MSG(status == AUR_OK, "begin: %d %s", (int)status, error.message);
    return view;
}

static void check_sum(bool reverse) {
    aur_transaction *view = begin_view();
    aur_cursor *cursor = NULL;
    aur_entry entries[16];
    aur_error error;
    size_t count = 1;
    uint64_t sum = 0;
    uint64_t accounts = 0;
    CHECK_OK(aur_cursor_open(view, NULL, NULL, 0, NULL, 0, reverse, false, &cursor, &error));
    while (count > 0) {
        CHECK_OK(aur_cursor_fetch(cursor, false, entries, 16, &count, &error));
        for (size_t at = 0; at < count; at++) {
            sum += aur_get64(entries[at].value);
            accounts++;
        }
    }
    aur_cursor_close(cursor);
    CHECK_EQ_U64(accounts, ACCOUNTS);
    CHECK_EQ_U64(sum, (uint64_t)ACCOUNTS * START_BALANCE);
    CHECK_OK(commit(view));
}

static void transfer(uint64_t *random) {
    const uint64_t from = harness_random_next(random) % ACCOUNTS;
    const uint64_t to = harness_random_next(random) % ACCOUNTS;
    const uint64_t amount = harness_random_next(random) % 10;
    aur_status status = AUR_ERR_CONFLICT;
    while (status == AUR_ERR_CONFLICT) {
        aur_transaction *transaction = NULL;
        aur_error error;
        uint64_t balance;
        CHECK_OK(aur_transaction_begin(world.engine, false, false, &transaction, &error));
        (void)read_number(transaction, from, &balance);
        write_number(transaction, from, balance - amount);
        (void)read_number(transaction, to, &balance);
        write_number(transaction, to, balance + amount);
        status = commit(transaction);
        atomic_fetch_add(&failures, status == AUR_ERR_CONFLICT);
    }
    CHECK_OK(status);
}

static void *run_transfers(void *context) {
    uint64_t random = *(uint64_t *)context;
    for (unsigned round = 0; round < rounds; round++) {
        transfer(&random);
        if (round % 16 == 0) {
            check_sum(harness_random_next(&random) % 2 == 0);
        }
    }
    return NULL;
}

static void run_threads(void *(*body)(void *)) {
    pthread_t threads[THREADS];
    uint64_t seeds[THREADS];
    for (unsigned at = 0; at < THREADS; at++) {
        seeds[at] = random_u64();
        CHECK(pthread_create(&threads[at], NULL, body, &seeds[at]) == 0);
    }
    for (unsigned at = 0; at < THREADS; at++) {
        CHECK(pthread_join(threads[at], NULL) == 0);
    }
}

static void open_world_with(uint64_t cache_bytes, bool read_volatile) {
    aur_engine_options options = stack_options(AUR_ENGINE_DRIVE_THREADS);
    options.cache_bytes = cache_bytes;
    options.read_volatile = read_volatile;
    stack_open_with(&world, &options);
    aur_transaction *loader = begin(&world, false);
    for (unsigned account = 0; account < ACCOUNTS; account++) {
        write_number(loader, account, START_BALANCE);
    }
    CHECK_OK(commit(loader));
    /* Views of other threads read what is durable. */
    aur_engine_status status;
    aur_engine_get_status(world.engine, &status);
    stack_wait(&world, status.head);
    atomic_store(&failures, 0);
}

static void open_world(uint64_t cache_bytes) { open_world_with(cache_bytes, false); }

static void transfer_by_threads(bool read_volatile) {
    rounds = 300;
    open_world_with(16 << 20, read_volatile);
    run_threads(run_transfers);
    printf("  %u conflicts\n", atomic_load(&failures));
    check_sum(false);
    stack_close(&world);
}

TEST(transfers_keep_the_sum_in_every_view) { transfer_by_threads(false); }

TEST(transfers_keep_the_sum_in_every_view_of_an_async_engine) { transfer_by_threads(true); }

/* Each thread adds one to a shared counter, and to one of its own without reading it before. */
static void *run_increments(void *context) {
    uint64_t own = 1000 + *(uint64_t *)context % 1000000;
    uint8_t key[KEY_BYTES];
    uint8_t value[8];
    aur_error error;
    uint64_t lsn;
    key_of(own, key);
    for (uint64_t round = 1; round <= rounds; round++) {
        aur_status status = AUR_ERR_CONFLICT;
        while (status == AUR_ERR_CONFLICT) {
            aur_transaction *transaction = NULL;
            uint64_t number;
            CHECK_OK(aur_transaction_begin(world.engine, false, false, &transaction, &error));
            (void)read_number(transaction, 0, &number);
            write_number(transaction, 0, number + 1);
            status = commit(transaction);
        }
        CHECK_OK(status);
        aur_put64(value, round);
        CHECK_OK(aur_engine_put(world.engine, NULL, key, KEY_BYTES, value, 8, &lsn, &error));
        aur_found found = {0};
        do {
            status = aur_engine_get(world.engine, NULL, key, KEY_BYTES, false, &found, &error);
        } while (status == AUR_TIMEOUT);
        CHECK_MSG(status == AUR_OK, "own write: %d %s", (int)status, error.message);
        CHECK_EQ_U64(aur_get64(found.data), round);
        aur_found_release(&found);
    }
    return NULL;
}

TEST(counters_lose_no_update) {
    rounds = 150;
    open_world(16 << 20);
    run_threads(run_increments);
    aur_transaction *view = begin_view();
    uint64_t number = 0;
    (void)read_number(view, 0, &number);
    CHECK_EQ_U64(number, START_BALANCE + (uint64_t)THREADS * rounds);
    CHECK_OK(commit(view));
    stack_close(&world);
}

/* Tables that come and go while others look for them, use them and list them. */
static void *run_tables(void *context) {
    uint64_t random = *(uint64_t *)context;
    aur_error error;
    for (unsigned round = 0; round < rounds; round++) {
        char name[2] = {(char)('a' + harness_random_next(&random) % 3), 0};
        const bool is_drop = harness_random_next(&random) % 2 == 0;
        aur_transaction *transaction = NULL;
        aur_table *table = NULL;
        CHECK_OK(aur_transaction_begin(world.engine, false, false, &transaction, &error));
        aur_status status = is_drop
                                ? aur_transaction_drop_table(transaction, name, 1, &error)
                                : aur_transaction_table(transaction, name, 1, true, &table, &error);
        CHECK(status == AUR_OK || (is_drop && status == AUR_NOT_FOUND));
        if (table != NULL) {
            put(transaction, table, "k", "v");
            CHECK(reads(transaction, table, "k", "v"));
        }
        status = commit(transaction);
        CHECK(status == AUR_OK || status == AUR_ERR_CONFLICT);
        if (table != NULL && status == AUR_OK) {
            uint64_t lsn;
            status = aur_engine_put(world.engine, table, as_bytes("k"), 1, as_bytes("w"), 1, &lsn,
                                    &error);
            CHECK(status == AUR_OK || status == AUR_NO_TABLE);
        }
    }
    return NULL;
}

TEST(tables_come_and_go_under_many_threads) {
    rounds = 100;
    open_world(16 << 20);
    run_threads(run_tables);
    aur_engine_verified verified;
    aur_error error;
    const aur_status status = aur_engine_verify(world.engine, &verified, &error);
    CHECK_MSG(status == AUR_OK, "verify: %s", error.message);
    CHECK(verified.tables >= 1 && verified.tables <= 4);
    stack_close(&world);
}

/* ---- readers beside commits that keep no past ---- */

enum { STEPS = 8, STEP_BYTES = 900, FILLERS = 4000, FILLER_BYTES = 900, STEP_READERS = 3 };

static atomic_bool is_over;

/* A step and a filler, in one commit or in two. */
static void put_two(const uint8_t *step, const uint8_t *filler, const uint8_t *value,
                    bool together) {
    aur_transaction *blind = NULL;
    aur_error error;
    uint64_t lsn;
    if (!together) {
        CHECK_OK(
            aur_engine_put(world.engine, NULL, step, KEY_BYTES, value, STEP_BYTES, &lsn, &error));
        CHECK_OK(aur_engine_put(world.engine, NULL, filler, KEY_BYTES, value, FILLER_BYTES, &lsn,
                                &error));
        return;
    }
    CHECK_OK(aur_transaction_begin_blind(world.engine, &blind, &error));
    CHECK_OK(aur_transaction_put(blind, NULL, step, KEY_BYTES, value, STEP_BYTES, &error));
    CHECK_OK(aur_transaction_put(blind, NULL, filler, KEY_BYTES, value, FILLER_BYTES, &error));
    CHECK_OK(commit(blind));
}

/* Writes the round's number into one key after the other, few of them on a page, and fills the
 * pool. Between two looks of the readers there are many commits. */
static void climb(uint64_t *random) {
    static uint8_t value[STEP_BYTES];
    uint8_t step_key[KEY_BYTES];
    uint8_t filler_key[KEY_BYTES];
    for (uint64_t round = START_BALANCE + 1; round <= START_BALANCE + rounds; round++) {
        aur_put64(value, round);
        for (unsigned step = 0; step < STEPS; step++) {
            key_of(step, step_key);
            key_of(ACCOUNTS + harness_random_next(random) % FILLERS, filler_key);
            put_two(step_key, filler_key, value, harness_random_next(random) % 2 == 0);
        }
    }
}

/* A view shows no step above the one before it, and none that is two rounds behind. */
static void check_steps(void) {
    aur_transaction *view = begin_view();
    uint64_t first = 0;
    uint64_t before = UINT64_MAX;
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t number = 0;
        (void)read_number(view, step, &number);
        first = step == 0 ? number : first;
        CHECK(number <= before && number + 1 >= first);
        before = number;
    }
    CHECK_OK(commit(view));
}

static uint64_t get_step(uint64_t step) {
    uint8_t key[KEY_BYTES];
    aur_found found = {0};
    aur_error error;
    key_of(step, key);
    const aur_status status =
        aur_engine_get(world.engine, NULL, key, KEY_BYTES, false, &found, &error);
    CHECK_MSG(status == AUR_OK, "get: %d %s", (int)status, error.message);
    const uint64_t number = aur_get64(found.data);
    aur_found_release(&found);
    return number;
}

static void *look_at_steps(void *context) {
    uint64_t random = *(uint64_t *)context;
    uint64_t seen[STEPS] = {0};
    while (!atomic_load(&is_over)) {
        const uint64_t step = harness_random_next(&random) % STEPS;
        const uint64_t number = get_step(step);
        CHECK(number >= seen[step]);
        seen[step] = number;
        if (harness_random_next(&random) % 2 == 0) {
            check_steps();
        }
        (void)usleep((useconds_t)(harness_random_next(&random) % 500));
    }
    return NULL;
}

static void run_steps(uint64_t cache_bytes, bool read_volatile) {
    pthread_t readers[STEP_READERS];
    uint64_t seeds[STEP_READERS];
    uint64_t random = random_u64();
    rounds = 400;
    open_world_with(cache_bytes, read_volatile);
    atomic_store(&is_over, false);
    for (unsigned at = 0; at < STEP_READERS; at++) {
        seeds[at] = random_u64();
        CHECK(pthread_create(&readers[at], NULL, look_at_steps, &seeds[at]) == 0);
    }
    climb(&random);
    atomic_store(&is_over, true);
    for (unsigned at = 0; at < STEP_READERS; at++) {
        CHECK(pthread_join(readers[at], NULL) == 0);
    }
    stack_close(&world);
}

TEST(readers_at_vdl_beside_commits_that_keep_no_past) {
    run_steps(16 << 20, false);
    run_steps(2 << 20, false);
}

TEST(readers_at_the_head_beside_commits_that_keep_no_past) {
    run_steps(16 << 20, true);
    run_steps(2 << 20, true);
}

/* Views hold on to their moment while the pool is far too small for all versions. */
static void *run_long_views(void *context) {
    uint64_t random = *(uint64_t *)context;
    static uint8_t value[1500];
    aur_error error;
    uint64_t lsn;
    for (unsigned round = 0; round < rounds; round++) {
        aur_transaction *view = begin_view();
        uint64_t first;
        uint64_t second;
        (void)read_number(view, round % ACCOUNTS, &first);
        for (unsigned at = 0; at < 20; at++) {
            uint8_t key[KEY_BYTES];
            key_of(1000000 + harness_random_next(&random) % 20000, key);
            CHECK_OK(aur_engine_put(world.engine, NULL, key, KEY_BYTES, value, sizeof value, &lsn,
                                    &error));
        }
        transfer(&random);
        (void)read_number(view, round % ACCOUNTS, &second);
        CHECK_EQ_U64(first, second);
        CHECK_OK(commit(view));
    }
    return NULL;
}

TEST(views_hold_their_moment_in_a_small_pool) {
    rounds = 60;
    open_world(2 << 20);
    run_threads(run_long_views);
    stack_close(&world);
}
