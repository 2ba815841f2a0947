/* The engine as a whole: durability, recovery in place, growth, limits, and its end. */
#include <poll.h>
#include <pthread.h>

#include "base/endian.h"
#include "transaction/stack.h"

static stack world;

static void set_copies_dead(unsigned count, bool dead) {
    for (unsigned copy = 0; copy < count; copy++) {
        aur_faulty_set_dead(world.disks[0][copy], dead);
    }
}

static aur_engine_status status_now(void) {
    aur_engine_status status;
    aur_engine_get_status(world.engine, &status);
    return status;
}

static bool is_rung(void) {
    struct pollfd ready = {.fd = aur_engine_event_descriptor(world.engine), .events = POLLIN};
    return poll(&ready, 1, 0) == 1;
}

static void replace_failed_copies(void) {
    aur_error error;
    for (uint32_t copy = 0; copy < STACK_COPIES; copy++) {
        aur_engine_copy state;
        CHECK_OK(aur_engine_copy_status(world.engine, 0, copy, &state));
        if (state.state != AUR_ENGINE_COPY_FAILED) {
            continue;
        }
        aur_segment *source = NULL;
        for (uint32_t other = 0; other < STACK_COPIES && source == NULL; other++) {
            CHECK_OK(aur_engine_copy_status(world.engine, 0, other, &state));
            source = state.state == AUR_ENGINE_COPY_OK ? world.segments[0][other] : NULL;
        }
        CHECK(source != NULL);
        const aur_segment_identity identity = {.group = 0,
                                               .copy = copy,
                                               .page_bytes = world.options.page_bytes,
                                               .copies = STACK_COPIES,
                                               .group_pages = world.options.group_pages};
        aur_segment_identity full = identity;
        aur_segment_options options;
        aur_segment *fresh = NULL;
        aur_segment *old = NULL;
        aur_disk *memory = NULL;
        memcpy(full.volume_id, world.options.volume_id, sizeof full.volume_id);
        aur_segment_default_options(&options);
        CHECK_OK(aur_disk_open_memory(&memory));
        CHECK_OK(aur_disk_open_faulty(memory, 1, &world.disks[0][copy]));
        aur_status copied =
            aur_segment_copy(source, world.disks[0][copy], &full, NULL, NULL, &error);
        CHECK_MSG(copied == AUR_OK, "copy: %s", error.message);
        CHECK_OK(aur_segment_open(world.disks[0][copy], &full, &options, &fresh, &error));
        CHECK_OK(aur_engine_replace(world.engine, 0, copy, fresh, &old, &error));
        CHECK(old == world.segments[0][copy]);
        aur_segment_close(old);
        world.segments[0][copy] = fresh;
    }
}

TEST(a_commit_is_durable_when_four_copies_have_it) {
    aur_error error;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    const uint64_t lsn = put_now(&world, NULL, "k", "v");
    for (uint32_t copy = 0; copy < 4; copy++) {
        CHECK_STATUS(aur_engine_wait_durable(world.engine, lsn, 0, &error), AUR_TIMEOUT);
        while (aur_engine_step(world.engine, 0, copy) == AUR_OK) {
        }
    }
    CHECK_OK(aur_engine_wait_durable(world.engine, lsn, 0, &error));
    CHECK_EQ_U64(status_now().vdl, lsn);
    stack_close(&world);
}

TEST(a_thread_reads_its_own_commits_and_nobody_reads_what_may_go) {
    aur_error error;
    aur_found found = {0};
    aur_transaction *transaction = NULL;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    const uint64_t lsn = put_now(&world, NULL, "k", "v");
    CHECK_STATUS(aur_engine_get(world.engine, NULL, as_bytes("k"), 1, true, &found, &error),
                 AUR_WOULD_BLOCK);
    CHECK_STATUS(aur_engine_get(world.engine, NULL, as_bytes("k"), 1, false, &found, &error),
                 AUR_TIMEOUT);
    CHECK_STATUS(aur_transaction_begin(world.engine, true, true, &transaction, &error),
                 AUR_WOULD_BLOCK);
    CHECK_STATUS(aur_transaction_begin(world.engine, true, false, &transaction, &error),
                 AUR_TIMEOUT);
    CHECK_OK(aur_transaction_begin(world.engine, false, true, &transaction, &error));
    CHECK(reads(transaction, NULL, "k", "v"));
    uint64_t read_lsn;
    CHECK_OK(aur_transaction_commit(transaction, &read_lsn, &error));
    CHECK_EQ_U64(read_lsn, lsn);
    aur_transaction_destroy(transaction);
    stack_settle(&world);
    CHECK_OK(aur_engine_get(world.engine, NULL, as_bytes("k"), 1, true, &found, &error));
    CHECK_EQ_MEM(found.data, "v", 1);
    aur_found_release(&found);
    stack_close(&world);
}

TEST(readers_of_an_async_engine_see_the_head) {
    aur_engine_options options = stack_options(AUR_ENGINE_DRIVE_MANUAL);
    aur_error error;
    aur_found found = {0};
    aur_transaction *view = NULL;
    options.read_volatile = true;
    stack_open_with(&world, &options);
    const uint64_t lsn = put_now(&world, NULL, "k", "v");
    CHECK(status_now().vdl < lsn);
    CHECK_OK(aur_engine_get(world.engine, NULL, as_bytes("k"), 1, true, &found, &error));
    aur_found_release(&found);
    CHECK_OK(aur_transaction_begin(world.engine, true, false, &view, &error));
    CHECK_EQ_U64(aur_transaction_read_point(view), lsn);
    CHECK(reads(view, NULL, "k", "v"));
    stack_recover(&world); /* the commit is gone, and with it the moment of the view */
    CHECK_STATUS(aur_transaction_get(view, NULL, as_bytes("k"), 1, false, &found, &error),
                 AUR_ERR_SNAPSHOT);
    aur_transaction_destroy(view);
    CHECK_STATUS(aur_engine_get(world.engine, NULL, as_bytes("k"), 1, false, &found, &error),
                 AUR_NOT_FOUND);
    stack_close(&world);
}

TEST(recovery_in_place_drops_the_volatile_head) {
    aur_error error;
    aur_table *lost = NULL;
    aur_found found = {0};
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    aur_table *kept = open_table(&world, "kept");
    (void)put_now(&world, NULL, "k", "durable");
    stack_settle(&world);
    aur_transaction *view = begin(&world, true);
    aur_transaction *creator = begin(&world, false);
    CHECK_OK(aur_transaction_table(creator, "lost", 4, true, &lost, &error));
    CHECK_OK(aur_transaction_drop_table(creator, "kept", 4, &error));
    put(creator, lost, "k", "v");
    CHECK_OK(commit(creator));
    const uint64_t lsn = put_now(&world, NULL, "k", "volatile");
    aur_transaction *writer = NULL;
    CHECK_OK(aur_transaction_begin(world.engine, false, false, &writer, &error));
    CHECK(reads(writer, NULL, "k", "volatile"));
    put(writer, NULL, "k", "built on sand");
    stack_recover(&world);
    CHECK_STATUS(aur_engine_wait_durable(world.engine, lsn, 0, &error), AUR_ERR_QUORUM);
    CHECK_STATUS(aur_transaction_get(writer, NULL, as_bytes("k"), 1, false, &found, &error),
                 AUR_ERR_CONFLICT);
    CHECK_STATUS(commit(writer), AUR_ERR_CONFLICT);
    CHECK(reads(view, NULL, "k", "durable"));
    CHECK(reads(view, kept, "k", NULL));
    CHECK_OK(commit(view));
    CHECK_STATUS(aur_engine_get(world.engine, lost, as_bytes("k"), 1, false, &found, &error),
                 AUR_NO_TABLE);
    (void)put_now(&world, kept, "k", "v");
    (void)put_now(&world, NULL, "k", "after");
    aur_table *again = open_table(&world, "lost");
    CHECK(again != lost);
    (void)put_now(&world, again, "k", "second");
    stack_settle(&world);
    view = begin(&world, true);
    CHECK(reads(view, NULL, "k", "after"));
    CHECK(reads(view, again, "k", "second"));
    CHECK(reads(view, kept, "k", "v"));
    CHECK_OK(commit(view));
    aur_engine_verified verified;
    const aur_status status = aur_engine_verify(world.engine, &verified, &error);
    CHECK_MSG(status == AUR_OK, "verify: %s", error.message);
    CHECK_EQ_U64(verified.tables, 3);
    stack_close(&world);
}

TEST(quorum_lost_and_back) {
    aur_error error;
    uint64_t lsn;
    aur_found found = {0};
    stack_open(&world, AUR_ENGINE_DRIVE_THREADS);
    stack_wait(&world, put_now(&world, NULL, "k", "before"));
    aur_engine_drain(world.engine);
    set_copies_dead(2, true);
    stack_wait(&world, put_now(&world, NULL, "k", "with four"));
    set_copies_dead(3, true);
    /* A copy's own upkeep may meet the dead disk first: then the put is refused at once. */
    aur_status status =
        aur_engine_put(world.engine, NULL, as_bytes("k"), 1, as_bytes("in doubt"), 8, &lsn, &error);
    CHECK(status == AUR_OK || status == AUR_ERR_QUORUM);
    status = status == AUR_OK ? AUR_TIMEOUT : status;
    for (int slice = 0; slice < 100 && status == AUR_TIMEOUT; slice++) {
        status = aur_engine_wait_durable(world.engine, lsn, 100000000, &error);
    }
    CHECK_STATUS(status, AUR_ERR_QUORUM);
    CHECK(is_rung());
    CHECK_STATUS(status_now().write_status, AUR_ERR_QUORUM);
    CHECK_STATUS(
        aur_engine_put(world.engine, NULL, as_bytes("k"), 1, as_bytes("v"), 1, &lsn, &error),
        AUR_ERR_QUORUM);
    CHECK_OK(aur_engine_get(world.engine, NULL, as_bytes("k"), 1, false, &found, &error));
    CHECK_EQ_MEM(found.data, "with four", 9);
    aur_found_release(&found);
    replace_failed_copies();
    stack_recover(&world);
    CHECK_STATUS(status_now().write_status, AUR_OK);
    stack_wait(&world, put_now(&world, NULL, "k", "after"));
    CHECK_OK(aur_engine_get(world.engine, NULL, as_bytes("k"), 1, false, &found, &error));
    CHECK_EQ_MEM(found.data, "after", 5);
    aur_found_release(&found);
    stack_close(&world);
}

TEST(the_volume_grows_when_a_commit_wants_it) {
    enum { VALUE_BYTES = 100000 };
    aur_engine_options options = stack_options(AUR_ENGINE_DRIVE_MANUAL);
    static uint8_t value[VALUE_BYTES];
    aur_error error;
    uint64_t lsn;
    options.group_pages = 128;
    options.volume_pages = 8 * 128;
    stack_open_with(&world, &options);
    aur_status status = AUR_OK;
    unsigned puts = 0;
    for (; status == AUR_OK; puts++) {
        char key[8];
        (void)snprintf(key, sizeof key, "k%05u", puts);
        aur_transaction *writer = begin(&world, false);
        CHECK_OK(aur_transaction_put(writer, NULL, as_bytes(key), 6, value, VALUE_BYTES, &error));
        status = commit_growing(&world, writer, &lsn, &error);
        stack_settle(&world);
    }
    CHECK_STATUS(status, AUR_ERR_FULL);
    CHECK_EQ_U64(world.groups, 8);
    /* Full is not lost: reads and deletes go on, and what they free may be used. */
    CHECK_STATUS(status_now().write_status, AUR_OK);
    CHECK(puts > 8 * 128 * 4096 / VALUE_BYTES / 2);
    CHECK_OK(aur_engine_delete(world.engine, NULL, as_bytes("k00000"), 6, &lsn, &error));
    CHECK_OK(aur_engine_delete(world.engine, NULL, as_bytes("k00001"), 6, &lsn, &error));
    CHECK_OK(
        aur_engine_put(world.engine, NULL, as_bytes("again"), 5, value, VALUE_BYTES, &lsn, &error));
    aur_engine_verified verified;
    CHECK_OK(aur_engine_verify(world.engine, &verified, &error));
    CHECK_EQ_U64(verified.records, puts - 2);
    stack_close(&world);
}

TEST(a_million_puts_in_one_transaction) {
    enum { PUTS = 1000000, CACHE_BYTES = 8 << 20 };
    aur_engine_options options = stack_options(AUR_ENGINE_DRIVE_THREADS);
    aur_error error;
    uint64_t lsn;
    uint64_t count;
    const unsigned puts = getenv("AURORA_TEST_SMALL") != NULL ? PUTS / 50 : PUTS;
    options.cache_bytes = CACHE_BYTES;
    stack_open_with(&world, &options);
    aur_transaction *writer = begin(&world, false);
    for (unsigned at = 0; at < puts; at++) {
        uint8_t key[8];
        aur_put64(key, (uint64_t)at * UINT64_C(0x9e3779b97f4a7c15));
        CHECK_OK(aur_transaction_put(writer, NULL, key, 8, key, 8, &error));
    }
    const aur_status status = commit_growing(&world, writer, &lsn, &error);
    CHECK_MSG(status == AUR_OK, "commit: %d %s", (int)status, error.message);
    stack_wait(&world, lsn);
    CHECK_LE_U64(status_now().cache_used_bytes, CACHE_BYTES);
    aur_transaction *reader = begin(&world, true);
    CHECK_OK(aur_transaction_count(reader, NULL, &count, &error));
    CHECK_EQ_U64(count, puts);
    CHECK_OK(commit(reader));
    aur_engine_verified verified;
    const aur_status verdict = aur_engine_verify(world.engine, &verified, &error);
    CHECK_MSG(verdict == AUR_OK, "verify: %s", error.message);
    stack_close(&world);
}

static void *wait_for_ever(void *context) {
    aur_error error;
    aur_status status = AUR_TIMEOUT;
    while (status == AUR_TIMEOUT) {
        status = aur_engine_wait_durable(world.engine, *(uint64_t *)context, 10000000000, &error);
    }
    CHECK_STATUS(status, AUR_ERR_CLOSED);
    return NULL;
}

TEST(close_wakes_waiters_and_ends_every_call) {
    aur_error error;
    pthread_t waiter;
    uint64_t lsn;
    aur_found found = {0};
    aur_transaction *transaction = NULL;
    aur_transaction *open = NULL;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    CHECK_OK(aur_transaction_begin(world.engine, false, false, &open, &error));
    lsn = put_now(&world, NULL, "k", "v");
    CHECK(pthread_create(&waiter, NULL, wait_for_ever, &lsn) == 0);
    aur_engine_close(world.engine);
    CHECK(pthread_join(waiter, NULL) == 0);
    CHECK_STATUS(aur_engine_get(world.engine, NULL, NULL, 0, false, &found, &error),
                 AUR_ERR_CLOSED);
    CHECK_STATUS(aur_engine_put(world.engine, NULL, NULL, 0, NULL, 0, &lsn, &error),
                 AUR_ERR_CLOSED);
    CHECK_STATUS(aur_engine_delete(world.engine, NULL, NULL, 0, &lsn, &error), AUR_ERR_CLOSED);
    CHECK_STATUS(aur_transaction_begin(world.engine, true, false, &transaction, &error),
                 AUR_ERR_CLOSED);
    CHECK_STATUS(aur_transaction_put(open, NULL, NULL, 0, NULL, 0, &error), AUR_ERR_CLOSED);
    CHECK_STATUS(aur_transaction_commit(open, &lsn, &error), AUR_ERR_CLOSED);
    aur_transaction_destroy(open);
    CHECK_STATUS(status_now().write_status, AUR_ERR_CLOSED);
    stack_close(&world);
}

TEST(options_are_checked) {
    aur_engine_options options = stack_options(AUR_ENGINE_DRIVE_MANUAL);
    aur_engine *engine = NULL;
    aur_error error;
    options.page_bytes = 5000;
    CHECK_STATUS(aur_engine_create(&options, &engine, &error), AUR_ERR_INVALID);
    options = stack_options(7);
    CHECK_STATUS(aur_engine_create(&options, &engine, &error), AUR_ERR_INVALID);
    options = stack_options(AUR_ENGINE_DRIVE_MANUAL);
    options.copies = 0;
    CHECK_STATUS(aur_engine_create(&options, &engine, &error), AUR_ERR_INVALID);
}
