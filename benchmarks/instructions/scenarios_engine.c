/*
 * A whole engine over six copies on disks in memory, in the MANUAL drive: pool, tree, reads and
 * commits. It holds RECORDS records, all of them cached.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "api/api_private.h"
#include "btree/btree.h"
#include "scenario.h"

enum {
    COPIES = 6,
    RECORDS = 10000,
    LOADS = 4,
    OPERATIONS = 1000,
    COMMITS = 50, /* few enough for the extents of log that are there */
    SCANS = 10,
    SCAN_RECORDS = 1000,
    SCAN_BATCH = 64,
    CACHE_BYTES = 64 << 20,
    GROUP_PAGES = 1 << 16,
    HOT_PAGES = 64,
    FIRST_HOT_PAGE = 4, /* the first that is no fixed one */
};

static aur_engine *engine;
static aur_segment *segments[COPIES];
static aur_error error;
static uint64_t time_us;
static uint8_t keys[OPERATIONS][SCENARIO_KEY_BYTES]; /* what is looked up, or added */
static uint8_t value[SCENARIO_VALUE_BYTES];

static const aur_tree records_tree = {AUR_DEFAULT_ROOT_PAGE, AUR_DEFAULT_TABLE};

static uint64_t next_microsecond(void *context) {
    (void)context;
    return ++time_us;
}

/* ---- opening ---- */

static void open_segments(const aur_engine_options *options) {
    for (uint32_t copy = 0; copy < COPIES; copy++) {
        const aur_segment_identity identity = {.volume_id = {1},
                                               .copy = copy,
                                               .page_bytes = options->page_bytes,
                                               .copies = COPIES,
                                               .group_pages = options->group_pages};
        aur_segment_options segment_options;
        aur_disk *disk = NULL;
        aur_segment_default_options(&segment_options);
        EXPECT_OK(aur_disk_open_memory(&disk), NULL);
        EXPECT_OK(aur_segment_create(disk, &identity, 1, 0, &error), &error);
        EXPECT_OK(aur_segment_open(disk, &identity, &segment_options, &segments[copy], &error),
                  &error);
    }
}

/* Ships what was committed and works until no copy has anything left to do. */
static void settle(void) {
    bool has_worked = true;
    aur_engine_ship(engine);
    while (has_worked) {
        has_worked = false;
        for (uint32_t copy = 0; copy < COPIES; copy++) {
            has_worked |= aur_engine_step(engine, 0, copy) == AUR_OK;
        }
    }
}

/* A part of the records, scattered over the keys. */
static void load_records(uint64_t first, uint64_t end) {
    aur_transaction *transaction = NULL;
    uint64_t lsn = 0;
    EXPECT_OK(aur_transaction_begin(engine, false, false, &transaction, &error), &error);
    for (uint64_t number = first; number < end; number++) {
        uint8_t key[SCENARIO_KEY_BYTES];
        scenario_key(number, key);
        scenario_value(number, value);
        EXPECT_OK(
            aur_transaction_put(transaction, NULL, key, sizeof key, value, sizeof value, &error),
            &error);
    }
    EXPECT_OK(aur_transaction_commit(transaction, &lsn, &error), &error);
    aur_transaction_destroy(transaction);
    settle();
}

static void open_engine(void) {
    static const uint64_t group_lsn[1] = {0};
    const aur_engine_options options = {.volume_id = {1},
                                        .page_bytes = SCENARIO_PAGE_BYTES,
                                        .copies = COPIES,
                                        .group_pages = GROUP_PAGES,
                                        .cache_bytes = CACHE_BYTES,
                                        .volume_pages = GROUP_PAGES,
                                        .drive = AUR_ENGINE_DRIVE_MANUAL,
                                        .wall_us = next_microsecond};
    const aur_engine_start_point start = {
        .epoch = 1, .next_lsn = 1, .groups = 1, .group_lsn = group_lsn};
    time_us = 0;
    open_segments(&options);
    EXPECT_OK(aur_engine_create(&options, &engine, &error), &error);
    EXPECT_OK(aur_engine_add_group(engine, segments, COPIES, &error), &error);
    EXPECT_OK(aur_engine_start(engine, &start, &error), &error);
    settle();
    /* One load would leave every page full, to be split by whoever comes next. */
    for (uint64_t load = 0; load < LOADS; load++) {
        load_records(load * (RECORDS / LOADS), (load + 1) * (RECORDS / LOADS));
    }
}

static void prepare_present_keys(void) {
    open_engine();
    for (uint64_t at = 0; at < OPERATIONS; at++) {
        scenario_key(at * (RECORDS / OPERATIONS), keys[at]);
    }
}

static void prepare_new_keys(void) {
    open_engine();
    for (uint64_t at = 0; at < OPERATIONS; at++) {
        scenario_key(RECORDS + at, keys[at]);
    }
}

static void finish(void) {
    aur_engine_close(engine);
    aur_engine_destroy(engine);
    for (uint32_t copy = 0; copy < COPIES; copy++) {
        aur_segment_close(segments[copy]);
    }
}

/* ---- pool and tree ---- */

static void pin_pages(void) {
    const aur_lsn read_point = aur_log_vdl(engine->log);
    for (uint32_t at = 0; at < OPERATIONS; at++) {
        aur_page_ref ref = {0};
        EXPECT_OK(aur_buffer_pin(engine->buffer, FIRST_HOT_PAGE + at % HOT_PAGES, read_point, true,
                                 &ref, &error),
                  &error);
        aur_buffer_unpin(engine->buffer, &ref);
    }
}

static void get_from_tree(void) {
    const aur_reader reader = {.buffer = engine->buffer,
                               .page_bytes = SCENARIO_PAGE_BYTES,
                               .read_point = aur_log_vdl(engine->log),
                               .cached_only = true};
    for (uint32_t at = 0; at < OPERATIONS; at++) {
        aur_value found = {0};
        EXPECT_OK(aur_tree_get(&reader, &records_tree, keys[at], sizeof keys[at], &found, &error),
                  &error);
        aur_value_release(&reader, &found);
    }
}

/* One mini-transaction. */
static void put_into_tree(void) {
    static uint8_t scratch[SCENARIO_PAGE_BYTES];
    aur_space *space = NULL;
    aur_mtr mtr;
    aur_writer writer;
    aur_transactions_pause(engine->transactions);
    EXPECT_OK(aur_space_create(engine->buffer, SCENARIO_PAGE_BYTES, GROUP_PAGES, &space), NULL);
    EXPECT_OK(
        aur_mtr_begin(&mtr, engine->buffer, engine->log, SCENARIO_PAGE_BYTES, scratch, &error),
        &error);
    writer = (aur_writer){&mtr, space};
    for (uint32_t at = 0; at < OPERATIONS; at++) {
        bool is_new = false;
        EXPECT_OK(aur_tree_put(&writer, &records_tree, keys[at], sizeof keys[at], value,
                               sizeof value, &is_new, &error),
                  &error);
    }
    (void)aur_mtr_end(&mtr);
    aur_buffer_publish(engine->buffer, NULL, 0);
    aur_space_destroy(space);
    aur_transactions_resume(engine->transactions);
}

/* ---- transactions ---- */

static void get_one_shot(void) {
    for (uint32_t at = 0; at < OPERATIONS; at++) {
        aur_found found = {0};
        EXPECT_OK(aur_engine_get(engine, NULL, keys[at], sizeof keys[at], true, &found, &error),
                  &error);
        aur_found_release(&found);
    }
}

static void get_many(void) {
    aur_transaction *transaction = NULL;
    aur_lookup lookups[AUR_LOOKUPS_LIMIT];
    EXPECT_OK(aur_transaction_begin(engine, true, false, &transaction, &error), &error);
    for (size_t first = 0; first < OPERATIONS; first += AUR_LOOKUPS_LIMIT) {
        const size_t left = OPERATIONS - first;
        const size_t count = left < AUR_LOOKUPS_LIMIT ? left : AUR_LOOKUPS_LIMIT;
        for (size_t at = 0; at < count; at++) {
            lookups[at].key = keys[first + at];
            lookups[at].key_bytes = sizeof keys[first + at];
        }
        EXPECT_OK(aur_transaction_get_many(transaction, NULL, lookups, count, &error), &error);
        for (size_t at = 0; at < count; at++) {
            EXPECT_OK(lookups[at].status, NULL);
            aur_found_release(&lookups[at].found);
        }
    }
    aur_transaction_destroy(transaction);
}

static uint64_t commit_row(uint32_t at) {
    uint64_t lsn = 0;
    EXPECT_OK(
        aur_engine_put(engine, NULL, keys[at], sizeof keys[at], value, sizeof value, &lsn, &error),
        &error);
    return lsn;
}

/* Commits that nobody waits for: they leave together, later. */
static void commit_rows(void) {
    for (uint32_t at = 0; at < OPERATIONS; at++) {
        (void)commit_row(at);
    }
}

/* One commit of many rows. */
static void commit_together(const uint8_t (*row_keys)[SCENARIO_KEY_BYTES]) {
    aur_transaction *transaction = NULL;
    aur_entry entries[AUR_PUTS_LIMIT];
    uint64_t lsn = 0;
    EXPECT_OK(aur_transaction_begin(engine, false, false, &transaction, &error), &error);
    for (size_t first = 0; first < OPERATIONS; first += AUR_PUTS_LIMIT) {
        const size_t left = OPERATIONS - first;
        const size_t count = left < AUR_PUTS_LIMIT ? left : AUR_PUTS_LIMIT;
        for (size_t at = 0; at < count; at++) {
            entries[at] = (aur_entry){.key = row_keys[first + at],
                                      .key_bytes = SCENARIO_KEY_BYTES,
                                      .value = value,
                                      .value_bytes = sizeof value};
        }
        EXPECT_OK(aur_transaction_put_many(transaction, NULL, entries, count, &error), &error);
    }
    EXPECT_OK(aur_transaction_commit(transaction, &lsn, &error), &error);
    aur_transaction_destroy(transaction);
}

/* Behind all others and in the order of their keys, as a sorted load has them. */
static void commit_many_rows(void) {
    static uint8_t behind[OPERATIONS][SCENARIO_KEY_BYTES];
    for (uint32_t at = 0; at < OPERATIONS; at++) {
        memset(behind[at], UINT8_MAX, SCENARIO_KEY_BYTES);
        behind[at][SCENARIO_KEY_BYTES - 2] = (uint8_t)(at >> 8);
        behind[at][SCENARIO_KEY_BYTES - 1] = (uint8_t)at;
    }
    commit_together(behind);
}

/* Among all others, in no order. */
static void commit_scattered_rows(void) { commit_together(keys); }

/* Each commit goes to six copies before the next one begins. One step is one write: with more, what
 * the MANUAL drive does in every step and other drives do once a second would be most of it. */
static void commit_rows_durably(void) {
    for (uint32_t at = 0; at < COMMITS; at++) {
        const uint64_t lsn = commit_row(at);
        aur_engine_ship(engine);
        for (uint32_t copy = 0; copy < COPIES; copy++) {
            EXPECT_OK(aur_engine_step(engine, 0, copy), NULL);
        }
        EXPECT_OK(aur_engine_wait_durable(engine, lsn, 0, &error), &error);
    }
}

static void scan_records(const uint8_t *start) {
    aur_transaction *transaction = NULL;
    aur_cursor *cursor = NULL;
    aur_entry entries[SCAN_BATCH];
    size_t count = SCAN_BATCH;
    EXPECT_OK(aur_transaction_begin(engine, true, false, &transaction, &error), &error);
    EXPECT_OK(aur_cursor_open(transaction, NULL, start, SCENARIO_KEY_BYTES, NULL, 0, false, false,
                              &cursor, &error),
              &error);
    for (size_t left = SCAN_RECORDS; left > 0 && count > 0; left -= count) {
        const size_t capacity = left < SCAN_BATCH ? left : SCAN_BATCH;
        EXPECT_OK(aur_cursor_fetch(cursor, true, entries, capacity, &count, &error), &error);
    }
    aur_cursor_close(cursor);
    aur_transaction_destroy(transaction);
}

static void scan_ranges(void) {
    for (uint32_t at = 0; at < SCANS; at++) {
        const uint8_t start[SCENARIO_KEY_BYTES] = {(uint8_t)(at * 20)};
        scan_records(start);
    }
}

const scenario engine_scenarios[] = {
    {"buffer.pin_hit", OPERATIONS, prepare_present_keys, pin_pages, finish},
    {"btree.get", OPERATIONS, prepare_present_keys, get_from_tree, finish},
    {"btree.put", OPERATIONS, prepare_new_keys, put_into_tree, finish},
    {"transaction.get", OPERATIONS, prepare_present_keys, get_one_shot, finish},
    {"transaction.get_many", OPERATIONS, prepare_present_keys, get_many, finish},
    {"transaction.commit_row", OPERATIONS, prepare_new_keys, commit_rows, finish},
    {"transaction.commit_many_rows", OPERATIONS, prepare_new_keys, commit_many_rows, finish},
    {"transaction.commit_scattered_rows", OPERATIONS, prepare_new_keys, commit_scattered_rows,
     finish},
    {"transaction.commit_row_durably", COMMITS, prepare_new_keys, commit_rows_durably, finish},
    {"transaction.scan_1000", SCANS, prepare_present_keys, scan_ranges, finish},
    {0},
};
