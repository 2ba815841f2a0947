/*
 * Hold, rewind and release: step by step, and under many threads. Transfers keep their sum in every
 * view of every moment while history goes back and forward below them, and a view of the moment
 * behind a rewind reads what one of the moment it went back to reads.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "api/api_private.h"
#include "base/endian.h"
#include "transaction/stack.h"

enum { ACCOUNTS = 40, START_BALANCE = 1000, WRITERS = 3, READERS = 3, MOMENTS = 64 };

static stack world;

static aur_status hold(uint64_t *at, aur_error *error) {
    *at = 0;
    aur_error_clear(error);
    return aur_engine_hold(world.engine, 0, at, error);
}

static aur_status rewind_to(uint64_t at, uint64_t to, uint32_t kind) {
    const aur_rewind rewind = {.at = at, .to = to, .epoch = world.epoch, .kind = kind};
    aur_error error;
    return aur_engine_rewind(world.engine, &rewind, &error);
}

static uint64_t put_durably(const char *key, const char *value) {
    const uint64_t lsn = put_now(&world, NULL, key, value);
    stack_settle(&world);
    return lsn;
}

static aur_transaction *view_at(uint64_t lsn) {
    aur_transaction *view = NULL;
    aur_error error;
    const aur_status status = aur_engine_view(world.engine, lsn, &view, &error);
    CHECK_MSG(status == AUR_OK, "view at %" PRIu64 ": %d %s", lsn, (int)status, error.message);
    return view;
}

TEST(a_hold_waits_until_everything_is_durable) {
    aur_error error;
    uint64_t at;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    const uint64_t lsn = put_now(&world, NULL, "k", "v");
    CHECK_STATUS(hold(&at, &error), AUR_TIMEOUT);
    stack_settle(&world);
    CHECK_OK(hold(&at, &error));
    CHECK_EQ_U64(at, lsn);
    CHECK_STATUS(rewind_to(at + 1, 1, AUR_REWIND_BACKTRACK), AUR_ERR_INVALID);
    CHECK_STATUS(rewind_to(at, at + 1, AUR_REWIND_BACKTRACK), AUR_ERR_INVALID);
    CHECK_STATUS(rewind_to(at, 1, AUR_REWIND_TRUNCATION), AUR_ERR_INVALID);
    aur_engine_release(world.engine);
    (void)put_durably("k", "w"); /* nothing has happened */
    aur_engine_close(world.engine);
    CHECK_STATUS(hold(&at, &error), AUR_ERR_CLOSED);
    stack_close(&world);
}

TEST(a_hold_says_when_the_quorum_is_lost) {
    aur_error error;
    uint64_t at;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    (void)put_durably("k", "v");
    for (uint32_t copy = 0; copy < 3; copy++) {
        aur_faulty_set_dead(world.disks[0][copy], true);
    }
    (void)put_durably("k", "w");
    CHECK_STATUS(hold(&at, &error), AUR_ERR_QUORUM);
    CHECK(strstr(error.message, "rebuild") != NULL);
    CHECK_STATUS(hold(&at, &error), AUR_ERR_QUORUM); /* the first one has let go */
    stack_close(&world);
}

TEST(going_back_and_forward_again) {
    aur_engine_status status;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    const uint64_t first = put_durably("k", "first");
    const uint64_t second = put_durably("k", "second");
    aur_transaction *view = begin(&world, true);
    const uint64_t at = stack_backtrack(&world, first);
    CHECK_EQ_U64(at, second);
    aur_engine_get_status(world.engine, &status);
    CHECK_EQ_U64(status.vdl, at + 1);
    CHECK_EQ_U64(status.head, at + 1);
    CHECK_EQ_U64(status.next_lsn, at + 2);
    CHECK(reads(view, NULL, "k", "second"));
    aur_transaction *now = begin(&world, true);
    CHECK(reads(now, NULL, "k", "first"));
    CHECK_EQ_U64(put_now(&world, NULL, "other", "new") > at + 1, true);
    const uint64_t undone = stack_backtrack(&world, at);
    aur_transaction *again = begin(&world, true);
    CHECK(reads(again, NULL, "k", "second"));
    CHECK(reads(again, NULL, "other", NULL));
    CHECK(reads(now, NULL, "k", "first"));
    aur_transaction *abandoned = view_at(undone);
    CHECK(reads(abandoned, NULL, "other", "new"));
    CHECK(reads(abandoned, NULL, "k", "first"));
    aur_transaction_destroy(view);
    aur_transaction_destroy(now);
    aur_transaction_destroy(again);
    aur_transaction_destroy(abandoned);
    stack_close(&world);
}

/* Holds commits, and records a backtrack in the copies from `begin` on below `end`. */
static aur_rewind record_backtrack(uint64_t to, uint32_t begin, uint32_t end) {
    aur_error error;
    uint64_t at;
    CHECK_OK(hold(&at, &error));
    const aur_rewind rewind = {
        .at = at, .to = to, .epoch = world.epoch, .kind = AUR_REWIND_BACKTRACK};
    for (uint32_t copy = begin; copy < end; copy++) {
        CHECK_OK(aur_segment_rewind(world.segments[0][copy], &rewind, &error));
    }
    return rewind;
}

TEST(a_rewind_without_a_write_quorum_stays_in_doubt_until_recovery) {
    aur_error error;
    uint64_t lsn;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    const uint64_t first = put_durably("k", "first");
    (void)put_durably("k", "second");
    const aur_rewind rewind = record_backtrack(first, 0, 3);
    CHECK_STATUS(aur_engine_rewind(world.engine, &rewind, &error), AUR_ERR_QUORUM);
    aur_engine_release(world.engine);
    CHECK_STATUS(
        aur_engine_put(world.engine, NULL, as_bytes("k"), 1, as_bytes("v"), 1, &lsn, &error),
        AUR_ERR_QUORUM);
    aur_transaction *view = begin(&world, true); /* reads go on */
    CHECK(reads(view, NULL, "k", "second"));
    stack_record(&world, &rewind);
    stack_recover(&world);
    aur_transaction *now = begin(&world, true);
    CHECK(reads(now, NULL, "k", "first"));
    CHECK(reads(view, NULL, "k", "second"));
    (void)put_durably("k", "third");
    aur_transaction_destroy(view);
    aur_transaction_destroy(now);
    stack_close(&world);
}

/* What was read before the pool heard of the rewind must not be taken for the head after it. */
TEST(a_copy_that_missed_the_rewind_serves_no_reads) {
    aur_error error;
    aur_engine_copy state;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    const uint64_t first = put_durably("k", "first");
    (void)put_durably("k", "second");
    const aur_rewind rewind = record_backtrack(first, 2, STACK_COPIES);
    CHECK_OK(aur_engine_rewind(world.engine, &rewind, &error));
    aur_engine_release(world.engine);
    CHECK_OK(aur_engine_copy_status(world.engine, 0, 0, &state));
    CHECK_EQ_U64(state.state, AUR_ENGINE_COPY_FAILED);
    CHECK(strstr(state.error.message, "has not recorded") != NULL);
    for (uint32_t copy = 2; copy < STACK_COPIES; copy++) {
        aur_segment *old;
        CHECK_OK(aur_engine_replace(world.engine, 0, copy, NULL, &old, &error));
    }
    /* Only the two are left, and they would say "second". */
    aur_engine_set_cache_bytes(world.engine, 0);
    aur_transaction *view = begin(&world, true);
    aur_found found = {0};
    CHECK_STATUS(aur_transaction_get(view, NULL, as_bytes("k"), 1, false, &found, &error),
                 AUR_ERR_QUORUM);
    aur_transaction_destroy(view);
    stack_close(&world);
}

TEST(storage_is_told_the_horizon_and_the_points_below_it) {
    aur_retention told;
    aur_error error;
    uint64_t pins[4];
    uint64_t lsns[4];
    aur_transaction *view = NULL;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    for (size_t at = 0; at < 4; at++) {
        lsns[at] = put_durably("k", "v");
    }
    auri_engine_retention(world.engine, &told);
    CHECK_EQ_U64(told.horizon, 0);
    CHECK_EQ_U64(told.count, 0);
    aur_transaction *oldest = view_at(lsns[0]);
    aur_transaction *same = view_at(lsns[0]);
    aur_transaction *writer = begin(&world, false);
    (void)put_durably("k", "w");
    aur_engine_set_horizon(world.engine, UINT64_MAX); /* never above VDL */
    aur_engine_set_horizon(world.engine, lsns[1]);    /* and never lower again */
    CHECK_EQ_U64(aur_engine_horizon(world.engine), aur_log_vdl(world.engine->log));
    auri_engine_retention(world.engine, &told);
    CHECK_EQ_U64(told.horizon, aur_engine_horizon(world.engine));
    CHECK_EQ_U64(told.count, 2);
    CHECK(told.points[0] == lsns[0] && told.points[1] == lsns[3]);
    CHECK_EQ_U64(aur_engine_pins(world.engine, lsns[3], pins, 4), 1);
    CHECK_EQ_U64(pins[0], lsns[0]);
    CHECK_STATUS(aur_engine_view(world.engine, lsns[1], &view, &error), AUR_ERR_SNAPSHOT);
    CHECK(strstr(error.message, "oldest moment") != NULL);
    aur_transaction_destroy(oldest);
    aur_transaction *shared = view_at(lsns[0]); /* somebody still has it */
    CHECK(reads(shared, NULL, "k", "v"));
    aur_transaction_destroy(shared);
    aur_transaction_destroy(same);
    CHECK_STATUS(aur_engine_view(world.engine, lsns[0], &view, &error), AUR_ERR_SNAPSHOT);
    CHECK_STATUS(aur_engine_view(world.engine, told.horizon + 1, &view, &error), AUR_ERR_INVALID);
    aur_transaction_destroy(writer);
    stack_close(&world);
}

TEST(an_lsn_that_a_recovery_dropped_stands_for_the_moment_before) {
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    const uint64_t durable = put_durably("k", "durable");
    const uint64_t lost = put_now(&world, NULL, "k", "lost");
    stack_recover(&world);
    (void)put_durably("k", "after");
    aur_transaction *view = view_at(lost);
    CHECK_EQ_U64(aur_transaction_read_point(view), durable);
    CHECK(reads(view, NULL, "k", "durable"));
    aur_transaction_destroy(view);
    stack_close(&world);
}

/* ---- under threads ---- */

static atomic_bool is_over;
static atomic_uint conflicts;
static pthread_mutex_t moments_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t moments[MOMENTS]; /* some LSNs of commits, all durable */
static size_t moment_count;

static void key_of(uint64_t account, uint8_t key[4]) {
    aur_put32(key, __builtin_bswap32((uint32_t)account));
}

static aur_status read_balance(aur_transaction *transaction, uint64_t account, uint64_t *balance) {
    uint8_t key[4];
    aur_found found = {0};
    aur_error error;
    key_of(account, key);
    const aur_status status =
        aur_transaction_get(transaction, NULL, key, sizeof key, false, &found, &error);
    if (status == AUR_OK) {
        *balance = aur_get64(found.data);
        aur_found_release(&found);
    }
    return status;
}

static aur_status write_balance(aur_transaction *transaction, uint64_t account, uint64_t balance) {
    uint8_t key[4];
    uint8_t value[8];
    aur_error error;
    key_of(account, key);
    aur_put64(value, balance);
    return aur_transaction_put(transaction, NULL, key, sizeof key, value, sizeof value, &error);
}

/* A number that tells one state from another; the sum is checked on the way. */
static uint64_t digest(aur_transaction *view) {
    uint64_t sum = 0;
    uint64_t mixed = 0;
    for (uint64_t account = 0; account < ACCOUNTS; account++) {
        uint64_t balance = 0;
        CHECK_OK(read_balance(view, account, &balance));
        sum += balance;
        mixed = (mixed ^ balance) * UINT64_C(0x9e3779b97f4a7c15);
    }
    CHECK_EQ_U64(sum, (uint64_t)ACCOUNTS * START_BALANCE);
    return mixed;
}

static uint64_t digest_at(uint64_t lsn) {
    aur_transaction *view = view_at(lsn);
    const uint64_t mixed = digest(view);
    aur_transaction_destroy(view);
    return mixed;
}

static void remember_moment(uint64_t lsn, uint64_t *random) {
    (void)pthread_mutex_lock(&moments_lock);
    const size_t at =
        moment_count < MOMENTS ? moment_count++ : harness_random_next(random) % MOMENTS;
    moments[at] = lsn;
    (void)pthread_mutex_unlock(&moments_lock);
}

static uint64_t some_moment(uint64_t *random) {
    (void)pthread_mutex_lock(&moments_lock);
    const uint64_t lsn = moments[harness_random_next(random) % moment_count];
    (void)pthread_mutex_unlock(&moments_lock);
    return lsn;
}

static aur_status transfer(uint64_t *random, uint64_t *lsn) {
    const uint64_t from = harness_random_next(random) % ACCOUNTS;
    const uint64_t to = (from + 1 + harness_random_next(random) % (ACCOUNTS - 1)) % ACCOUNTS;
    const uint64_t amount = 1 + harness_random_next(random) % 10;
    aur_transaction *transaction = NULL;
    aur_error error;
    uint64_t left = 0;
    uint64_t right = 0;
    CHECK_OK(aur_transaction_begin(world.engine, false, false, &transaction, &error));
    aur_status status = read_balance(transaction, from, &left);
    status = status == AUR_OK ? read_balance(transaction, to, &right) : status;
    status = status == AUR_OK ? write_balance(transaction, from, left - amount) : status;
    status = status == AUR_OK ? write_balance(transaction, to, right + amount) : status;
    status = status == AUR_OK ? aur_transaction_commit(transaction, lsn, &error) : status;
    aur_transaction_destroy(transaction);
    return status;
}

static void *run_transfers(void *context) {
    uint64_t random = *(uint64_t *)context;
    while (!atomic_load(&is_over)) {
        uint64_t lsn = 0;
        const aur_status status = transfer(&random, &lsn);
        CHECK_MSG(status == AUR_OK || status == AUR_ERR_CONFLICT, "transfer: %d", (int)status);
        atomic_fetch_add(&conflicts, status == AUR_ERR_CONFLICT);
        if (status == AUR_OK && harness_random_next(&random) % 8 == 0) {
            stack_wait(&world, lsn);
            remember_moment(lsn, &random);
        }
    }
    return NULL;
}

/* Each view reads the same twice, whatever happens in between. */
static void *run_views(void *context) {
    uint64_t random = *(uint64_t *)context;
    while (!atomic_load(&is_over)) {
        aur_engine_status status;
        aur_engine_get_status(world.engine, &status);
        const bool is_now = harness_random_next(&random) % 2 == 0;
        aur_transaction *view = view_at(is_now ? status.vdl : some_moment(&random));
        const uint64_t mixed = digest(view);
        CHECK(digest(view) == mixed);
        CHECK(digest_at(aur_transaction_read_point(view)) == mixed);
        aur_transaction_destroy(view);
    }
    return NULL;
}

static void backtrack_under_threads(uint64_t *random) {
    const uint64_t to = some_moment(random);
    const uint64_t before = digest_at(to);
    aur_status status = AUR_TIMEOUT;
    aur_error error;
    uint64_t at = 0;
    while (status == AUR_TIMEOUT) {
        status = aur_engine_hold(world.engine, UINT64_C(100000000), &at, &error);
    }
    CHECK_MSG(status == AUR_OK, "hold: %d %s", (int)status, error.message);
    const aur_rewind rewind = {
        .at = at, .to = to, .epoch = world.epoch, .kind = AUR_REWIND_BACKTRACK};
    stack_record(&world, &rewind);
    status = aur_engine_rewind(world.engine, &rewind, &error);
    CHECK_MSG(status == AUR_OK, "rewind: %d %s", (int)status, error.message);
    aur_engine_release(world.engine);
    CHECK(digest_at(at + 1) == before);
    CHECK(digest_at(to) == before);
    remember_moment(at, random);
    remember_moment(at + 1, random);
}

static void run_threads(uint64_t cache_bytes, unsigned backtracks) {
    pthread_t threads[WRITERS + READERS];
    uint64_t seeds[WRITERS + READERS];
    uint64_t random = random_u64();
    uint64_t lsn = 0;
    aur_error error;
    aur_engine_options options = stack_options(AUR_ENGINE_DRIVE_THREADS);
    options.cache_bytes = cache_bytes;
    stack_open_with(&world, &options);
    aur_transaction *loader = begin(&world, false);
    for (uint64_t account = 0; account < ACCOUNTS; account++) {
        CHECK_OK(write_balance(loader, account, START_BALANCE));
    }
    CHECK_OK(aur_transaction_commit(loader, &lsn, &error));
    aur_transaction_destroy(loader);
    stack_wait(&world, lsn);
    moments[0] = lsn;
    moment_count = 1;
    atomic_store(&is_over, false);
    atomic_store(&conflicts, 0);
    for (unsigned at = 0; at < WRITERS + READERS; at++) {
        seeds[at] = random_u64();
        CHECK(pthread_create(&threads[at], NULL, at < WRITERS ? run_transfers : run_views,
                             &seeds[at]) == 0);
    }
    for (unsigned round = 0; round < backtracks; round++) {
        backtrack_under_threads(&random);
        const struct timespec pause = {0, 10 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    atomic_store(&is_over, true);
    for (unsigned at = 0; at < WRITERS + READERS; at++) {
        CHECK(pthread_join(threads[at], NULL) == 0);
    }
    stack_close(&world);
}

TEST(sums_hold_at_every_moment_while_history_goes_back_and_forward) { run_threads(16 << 20, 16); }

TEST(sums_hold_at_every_moment_in_a_tiny_pool) { run_threads(1 << 10, 30); }
