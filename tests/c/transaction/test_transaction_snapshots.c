/*
 * Views are prefixes of the commits (I2, I6): whatever VDL a view begins at, and however long it
 * lives, it sees exactly the model of its read point, while copies lag and the pool is small.
 */
#include <pthread.h>

#include "base/endian.h"
#include "transaction/journal_private.h"
#include "transaction/stack.h"

enum { KEYS = 400, COMMITS = 600, VIEWS = 12, VALUE_BYTES = 400 };

static stack world;

/* The state after each commit. */
typedef struct moment {
    uint64_t lsn;
    uint32_t value[KEYS];
} moment;

static moment moments[COMMITS + 1];
static unsigned moment_count;

static void key_of(unsigned index, uint8_t key[4]) { aur_put32(key, index * UINT32_C(2654435761)); }

/* One commit with a few keys. In a thread of its own, so that the views, which begin in the main
 * thread, need not wait for it. */
static void *commit_next(void *context) {
    moment *next = context;
    static uint8_t value[VALUE_BYTES];
    aur_transaction *transaction = NULL;
    aur_error error;
    CHECK_OK(aur_transaction_begin(world.engine, false, false, &transaction, &error));
    for (uint64_t writes = 1 + random_below(5); writes > 0; writes--) {
        const unsigned index = (unsigned)random_below(KEYS);
        uint8_t key[4];
        key_of(index, key);
        if (random_below(4) == 0) {
            const aur_status status =
                aur_transaction_delete(transaction, NULL, key, 4, false, &error);
            CHECK_STATUS(status, next->value[index] == 0 ? AUR_NOT_FOUND : AUR_OK);
            next->value[index] = 0;
        } else {
            next->value[index] = 1 + (uint32_t)random_below(1000000);
            aur_put32(value, next->value[index]);
            CHECK_OK(aur_transaction_put(transaction, NULL, key, 4, value, VALUE_BYTES, &error));
        }
    }
    CHECK_OK(aur_transaction_commit(transaction, &next->lsn, &error));
    aur_transaction_destroy(transaction);
    return NULL;
}

static void make_moment(void) {
    pthread_t thread;
    moment *next = &moments[moment_count];
    *next = moments[moment_count - 1];
    CHECK(pthread_create(&thread, NULL, commit_next, next) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    moment_count++;
}

static const moment *moment_at(uint64_t lsn) {
    unsigned at = moment_count;
    while (at > 1 && moments[at - 1].lsn > lsn) {
        at--;
    }
    return &moments[at - 1];
}

static void check_view(aur_transaction *view) {
    const moment *expected = moment_at(aur_transaction_read_point(view));
    aur_cursor *cursor = NULL;
    aur_entry entries[32];
    aur_error error;
    size_t count = 1;
    unsigned seen = 0;
    unsigned present = 0;
    for (unsigned index = 0; index < KEYS; index++) {
        present += expected->value[index] != 0;
    }
    CHECK_OK(aur_cursor_open(view, NULL, NULL, 0, NULL, 0, random_below(2) == 0, false, &cursor,
                             &error));
    while (count > 0) {
        CHECK_OK(aur_cursor_fetch(cursor, false, entries, 32, &count, &error));
        seen += (unsigned)count;
    }
    aur_cursor_close(cursor);
    CHECK_EQ_U64(seen, present);
    for (unsigned sample = 0; sample < 40; sample++) {
        const unsigned index = (unsigned)random_below(KEYS);
        uint8_t key[4];
        aur_found found = {0};
        key_of(index, key);
        const aur_status status = aur_transaction_get(view, NULL, key, 4, false, &found, &error);
        CHECK_STATUS(status, expected->value[index] == 0 ? AUR_NOT_FOUND : AUR_OK);
        if (status == AUR_OK) {
            CHECK_EQ_U64(aur_get32(found.data), expected->value[index]);
            aur_found_release(&found);
        }
    }
}

static void step_randomly(void) {
    for (uint64_t steps = random_below(12); steps > 0; steps--) {
        const uint32_t copy = (uint32_t)random_below(STACK_COPIES);
        const aur_status status = aur_engine_step(world.engine, 0, copy);
        CHECK(status == AUR_OK || status == AUR_NOT_FOUND);
    }
}

/* What was not durable is gone: the history goes on from the moment of VDL. */
static void recover_randomly(void) {
    aur_engine_status status;
    if (random_below(25) != 0) {
        return;
    }
    stack_recover(&world);
    aur_engine_get_status(world.engine, &status);
    CHECK_EQ_U64(status.head, status.vdl);
    while (moment_count > 1 && moments[moment_count - 1].lsn > status.vdl) {
        moment_count--;
    }
}

static aur_transaction *begin_view(void) {
    aur_transaction *view = NULL;
    aur_error error;
    aur_status status = aur_transaction_begin(world.engine, true, false, &view, &error);
    if (status == AUR_TIMEOUT) { /* both threads share a slot of own commits */
        stack_settle(&world);
        status = aur_transaction_begin(world.engine, true, false, &view, &error);
    }
    CHECK_OK(status);
    return view;
}

static void run_history(bool with_recoveries) {
    aur_engine_options options = stack_options(AUR_ENGINE_DRIVE_MANUAL);
    aur_transaction *views[VIEWS] = {NULL};
    options.cache_bytes = 1 << 20;
    stack_open_with(&world, &options);
    memset(&moments[0], 0, sizeof moments[0]);
    moment_count = 1;
    for (unsigned commits = 0; commits < COMMITS; commits++) {
        make_moment();
        step_randomly();
        if (with_recoveries) {
            recover_randomly();
        }
        aur_transaction **view = &views[random_below(VIEWS)];
        if (*view == NULL) {
            *view = begin_view();
        } else {
            check_view(*view);
            if (random_below(3) == 0) {
                CHECK_OK(commit(*view));
                *view = NULL;
            }
        }
    }
    for (unsigned at = 0; at < VIEWS; at++) {
        if (views[at] != NULL) {
            check_view(views[at]);
            aur_transaction_destroy(views[at]);
        }
    }
    aur_engine_verified verified;
    aur_error error;
    const aur_status status = aur_engine_verify(world.engine, &verified, &error);
    CHECK_MSG(status == AUR_OK, "verify: %s", error.message);
    stack_close(&world);
}

TEST(views_are_prefixes_of_the_commits) { run_history(false); }

TEST(views_outlive_recoveries_in_place) { run_history(true); }

/* ---- the journal ---- */

static aur_status check_all(const auri_journal *journal, auri_read_set *set, aur_lsn read_point,
                            unsigned *slices) {
    aur_status status;
    auri_read_set_sort(set);
    *slices = 0;
    do {
        status = auri_journal_check(journal, set, &read_point);
        ++*slices;
    } while (status == AUR_TIMEOUT);
    return status;
}

static void add_key(auri_journal *journal, aur_lsn lsn, uint32_t number) {
    uint8_t key[4];
    aur_put32(key, __builtin_bswap32(number));
    auri_journal_add(journal, lsn, 1, key, sizeof key);
}

static void read_key(auri_read_set *set, uint32_t number) {
    uint8_t key[4];
    aur_put32(key, __builtin_bswap32(number));
    CHECK_OK(auri_read_set_add(set, auri_key_hash(1, key, sizeof key)));
}

TEST(the_journal_tells_what_was_committed_since) {
    enum { ENTRIES = 100000 };
    auri_journal journal;
    auri_read_set set = {0};
    unsigned slices;
    auri_journal_init(&journal, 64 << 20);
    for (uint32_t at = 1; at <= ENTRIES; at++) {
        add_key(&journal, at * 10, at);
    }
    read_key(&set, 5000);
    CHECK_STATUS(check_all(&journal, &set, 49999, &slices), AUR_ERR_CONFLICT);
    CHECK_STATUS(check_all(&journal, &set, 50000, &slices), AUR_OK);
    CHECK(slices > 1);
    CHECK_STATUS(check_all(&journal, &set, ENTRIES * 10, &slices), AUR_OK);
    CHECK_EQ_U64(slices, 1);
    read_key(&set, ENTRIES);
    CHECK_STATUS(check_all(&journal, &set, 50000, &slices), AUR_ERR_CONFLICT);
    auri_journal_prune(&journal, ENTRIES * 10);
    CHECK(journal.chunks == 0);
    /* One commit that is longer than a slice is checked to its end all the same. */
    auri_read_set_clear(&set);
    read_key(&set, 7);
    for (uint32_t at = 0; at < ENTRIES; at++) {
        add_key(&journal, 2000000, at == ENTRIES - 1 ? 7 : at + 8);
    }
    CHECK_STATUS(check_all(&journal, &set, 1999999, &slices), AUR_ERR_CONFLICT);
    CHECK_STATUS(check_all(&journal, &set, 2000000, &slices), AUR_OK);
    auri_read_set_destroy(&set);
    auri_journal_destroy(&journal);
}

TEST(a_full_journal_forgets_and_then_conflicts) {
    auri_journal journal;
    auri_read_set set = {0};
    unsigned slices;
    auri_journal_init(&journal, 64 << 10);
    for (uint32_t at = 1; at <= 50000; at++) {
        add_key(&journal, at, at);
    }
    CHECK(journal.chunks <= 8);
    read_key(&set, 1000000);
    CHECK_STATUS(check_all(&journal, &set, 1, &slices), AUR_ERR_CONFLICT);
    CHECK_STATUS(check_all(&journal, &set, 49990, &slices), AUR_OK);
    auri_journal_forget(&journal, 60000);
    CHECK_STATUS(check_all(&journal, &set, 59999, &slices), AUR_ERR_CONFLICT);
    CHECK_STATUS(check_all(&journal, &set, 60000, &slices), AUR_OK);
    auri_read_set_destroy(&set);
    auri_journal_destroy(&journal);
}

/* Ranges against a plain list of them. */
TEST(ranges_cover_what_they_should) {
    enum { RANGES = 40, DOMAIN = 200 };
    for (unsigned round = 0; round < 200; round++) {
        auri_read_set set = {0};
        auri_arena *arena = auri_arena_create();
        bool covered[3][DOMAIN] = {{false}};
        for (uint64_t ranges = random_below(RANGES); ranges > 0; ranges--) {
            const uint32_t table = (uint32_t)random_below(3);
            const uint8_t low = (uint8_t)random_below(DOMAIN);
            const uint8_t high = (uint8_t)(low + random_below(DOMAIN - low));
            const enum auri_range_end end =
                (enum auri_range_end)random_below(random_below(8) == 0 ? 3 : 2);
            size_t index;
            CHECK_OK(auri_read_set_add_range(&set, table, &index));
            set.ranges[index].end = end;
            CHECK_OK(auri_bound_set(&set.ranges[index].low, arena, &low, 1));
            CHECK_OK(auri_bound_set(&set.ranges[index].high, arena, &high, 1));
            for (unsigned key = low; key < DOMAIN; key++) {
                covered[table][key] |= end == AURI_RANGE_UNBOUNDED || key < high ||
                                       (key == high && end == AURI_RANGE_UP_TO);
            }
        }
        auri_read_set_sort(&set);
        for (uint32_t table = 0; table < 3; table++) {
            for (unsigned key = 0; key < DOMAIN; key++) {
                const uint8_t byte = (uint8_t)key;
                CHECK(auri_read_set_covers(&set, 1, table, &byte, 1) == covered[table][key]);
            }
        }
        auri_read_set_destroy(&set);
        auri_arena_release(arena);
    }
}
