/*
 * A whole engine for tests: six copies on memory disks, driven by threads or by hand, and a
 * recovery in place as small as it can be.
 */
#ifndef AURORA_TESTS_STACK_H
#define AURORA_TESTS_STACK_H

#include <aurora/history.h>

#include "disk/faulty.h"
#include "harness.h"
#include "segment/segment.h"

enum { STACK_GROUPS_MAX = 16, STACK_COPIES = 6, STACK_REWINDS_MAX = 60 };

typedef struct stack {
    aur_engine_options options;
    aur_engine *engine;
    uint32_t groups;
    uint64_t epoch;
    aur_segment *segments[STACK_GROUPS_MAX][STACK_COPIES];
    aur_disk *disks[STACK_GROUPS_MAX][STACK_COPIES];
    aur_rewind rewinds[STACK_REWINDS_MAX];
    uint32_t rewind_count;
} stack;

HARNESS_SHARED aur_engine_options stack_options(uint32_t drive) {
    aur_engine_options options = {
        .volume_id = {9, 8, 7, 6, 5, 4, 3, 2, 1},
        .page_bytes = 4096,
        .copies = STACK_COPIES,
        .group_pages = 1 << 16,
        .cache_bytes = 16 << 20,
        .volume_pages = 1 << 20,
        .drive = drive,
    };
    return options;
}

HARNESS_SHARED void stack_add_group(stack *stack) {
    const uint32_t group = stack->groups++;
    aur_error error;
    CHECK(group < STACK_GROUPS_MAX);
    for (uint32_t copy = 0; copy < STACK_COPIES; copy++) {
        aur_segment_identity identity = {.group = group,
                                         .copy = copy,
                                         .page_bytes = stack->options.page_bytes,
                                         .copies = STACK_COPIES,
                                         .group_pages = stack->options.group_pages};
        aur_segment_options options;
        aur_disk *memory = NULL;
        memcpy(identity.volume_id, stack->options.volume_id, sizeof identity.volume_id);
        aur_segment_default_options(&options);
        CHECK_OK(aur_disk_open_memory(&memory));
        CHECK_OK(aur_disk_open_faulty(memory, random_u64(), &stack->disks[group][copy]));
        aur_disk *disk = stack->disks[group][copy];
        CHECK_OK(aur_segment_create(disk, &identity, stack->epoch, 0, &error));
        CHECK_OK(
            aur_segment_open(disk, &identity, &options, &stack->segments[group][copy], &error));
    }
    CHECK_OK(aur_engine_add_group(stack->engine, stack->segments[group], STACK_COPIES, &error));
}

/* MANUAL drive: works until nobody has anything left to do. */
HARNESS_SHARED void stack_settle(stack *stack) {
    bool has_worked = stack->options.drive == AUR_ENGINE_DRIVE_MANUAL;
    aur_engine_ship(stack->engine);
    while (has_worked) {
        has_worked = false;
        for (uint32_t group = 0; group < stack->groups; group++) {
            for (uint32_t copy = 0; copy < STACK_COPIES; copy++) {
                has_worked |= aur_engine_step(stack->engine, group, copy) == AUR_OK;
            }
        }
    }
}

HARNESS_SHARED void stack_open_with(stack *stack, const aur_engine_options *options) {
    aur_error error;
    memset(stack, 0, sizeof *stack);
    stack->options = *options;
    stack->epoch = 1;
    CHECK_OK(aur_engine_create(options, &stack->engine, &error));
    stack_add_group(stack);
    const uint64_t group_lsn[1] = {0};
    const aur_engine_start_point start = {
        .epoch = 1, .vdl = 0, .next_lsn = 1, .groups = 1, .group_lsn = group_lsn};
    const aur_status status = aur_engine_start(stack->engine, &start, &error);
    CHECK_MSG(status == AUR_OK, "start: %s", error.message);
    stack_settle(stack);
}

HARNESS_SHARED void stack_open(stack *stack, uint32_t drive) {
    const aur_engine_options options = stack_options(drive);
    stack_open_with(stack, &options);
}

HARNESS_SHARED void stack_close(stack *stack) {
    aur_engine_close(stack->engine);
    aur_engine_destroy(stack->engine);
    for (uint32_t group = 0; group < stack->groups; group++) {
        for (uint32_t copy = 0; copy < STACK_COPIES; copy++) {
            aur_segment_close(stack->segments[group][copy]);
        }
    }
}

/* Records a rewind in every copy that lives. */
HARNESS_SHARED void stack_record(stack *stack, const aur_rewind *rewind) {
    aur_error error;
    CHECK(stack->rewind_count < STACK_REWINDS_MAX);
    stack->rewinds[stack->rewind_count++] = *rewind;
    for (uint32_t group = 0; group < stack->groups; group++) {
        for (uint32_t copy = 0; copy < STACK_COPIES; copy++) {
            aur_segment_state state;
            aur_segment *segment = stack->segments[group][copy];
            aur_segment_get_state(segment, &state);
            if (state.health != AUR_SEGMENT_FAILED) {
                CHECK_OK(aur_segment_set_epoch(segment, stack->epoch, &error));
                const aur_status rewound = aur_segment_rewind(segment, rewind, &error);
                CHECK_MSG(rewound == AUR_OK, "rewind: %s", error.message);
            }
        }
    }
}

/* The highest SCL of a group. */
HARNESS_SHARED uint64_t stack_group_lsn(stack *stack, uint32_t group) {
    uint64_t lsn = 0;
    for (uint32_t copy = 0; copy < STACK_COPIES; copy++) {
        aur_segment_state state;
        aur_segment_get_state(stack->segments[group][copy], &state);
        lsn = state.health != AUR_SEGMENT_FAILED && state.scl > lsn ? state.scl : lsn;
    }
    return lsn;
}

/* Starts an engine where another one was when it had this status, in a new epoch: commits whose LSN
 * is above VDL are forgotten. A backtrack that is recorded, but that the engine was not told of,
 * holds. */
HARNESS_SHARED void stack_start_behind(stack *stack, const aur_engine_status *was) {
    aur_error error;
    uint64_t group_lsn[STACK_GROUPS_MAX] = {0};
    uint64_t vdl = was->vdl;
    const aur_rewind *newest =
        stack->rewind_count == 0 ? NULL : &stack->rewinds[stack->rewind_count - 1];
    if (newest != NULL && newest->kind == AUR_REWIND_BACKTRACK && newest->at >= vdl) {
        vdl = newest->at + 1;
    }
    stack->epoch++;
    const uint64_t above = was->next_lsn > vdl ? was->next_lsn : vdl;
    const aur_rewind rewind = {.at = above + AUR_LSN_ALLOCATION_LIMIT,
                               .to = vdl,
                               .epoch = stack->epoch,
                               .kind = AUR_REWIND_TRUNCATION};
    stack_record(stack, &rewind);
    for (uint32_t group = 0; group < stack->groups; group++) {
        group_lsn[group] = stack_group_lsn(stack, group);
    }
    const aur_engine_start_point start = {.epoch = stack->epoch,
                                          .vdl = vdl,
                                          .next_lsn = rewind.at + 1,
                                          .time_us = was->durable_time_us,
                                          .groups = stack->groups,
                                          .group_lsn = group_lsn,
                                          .rewind_count = stack->rewind_count,
                                          .rewinds = stack->rewinds};
    const aur_status started = aur_engine_start(stack->engine, &start, &error);
    CHECK_MSG(started == AUR_OK, "restart: %s", error.message);
}

/* A recovery in place: service goes on at VDL. */
HARNESS_SHARED void stack_recover(stack *stack) {
    aur_engine_status status;
    aur_engine_stop(stack->engine);
    aur_engine_get_status(stack->engine, &status);
    stack_start_behind(stack, &status);
}

/* The engine ends, and another one opens the copies. */
HARNESS_SHARED void stack_reopen(stack *stack) {
    aur_engine_status status;
    aur_error error;
    aur_engine_stop(stack->engine);
    aur_engine_get_status(stack->engine, &status);
    aur_engine_close(stack->engine);
    aur_engine_destroy(stack->engine);
    CHECK_OK(aur_engine_create(&stack->options, &stack->engine, &error));
    for (uint32_t group = 0; group < stack->groups; group++) {
        CHECK_OK(aur_engine_add_group(stack->engine, stack->segments[group], STACK_COPIES, &error));
    }
    stack_start_behind(stack, &status);
}

HARNESS_SHARED void stack_wait(stack *stack, uint64_t lsn) {
    aur_error error;
    stack_settle(stack);
    aur_status status = AUR_TIMEOUT;
    for (int slice = 0; slice < 600 && status == AUR_TIMEOUT; slice++) {
        status = aur_engine_wait_durable(stack->engine, lsn, 100000000, &error);
    }
    CHECK_MSG(status == AUR_OK, "waiting for LSN %" PRIu64 ": %s", lsn,
              status == AUR_TIMEOUT ? "too long" : error.message);
}

/* History goes on from `to`. Returns the LSN at which it left the present. */
HARNESS_SHARED uint64_t stack_backtrack(stack *stack, uint64_t to) {
    aur_error error;
    uint64_t at = 0;
    stack_settle(stack);
    const aur_status held = aur_engine_hold(stack->engine, UINT64_C(10000000000), &at, &error);
    CHECK_MSG(held == AUR_OK, "hold: %d %s", (int)held, error.message);
    const aur_rewind rewind = {
        .at = at, .to = to, .epoch = stack->epoch, .kind = AUR_REWIND_BACKTRACK};
    stack_record(stack, &rewind);
    const aur_status status = aur_engine_rewind(stack->engine, &rewind, &error);
    CHECK_MSG(status == AUR_OK, "rewind: %d %s", (int)status, error.message);
    aur_engine_release(stack->engine);
    return at;
}

/* ---- short forms, with C strings for keys and values ---- */

HARNESS_SHARED const uint8_t *as_bytes(const char *text) { return (const uint8_t *)text; }

HARNESS_SHARED aur_transaction *begin(stack *stack, bool read_only) {
    aur_transaction *transaction = NULL;
    aur_error error;
    stack_settle(stack);
    const aur_status status =
        aur_transaction_begin(stack->engine, read_only, false, &transaction, &error);
    CHECK_MSG(status == AUR_OK, "begin: %d %s", (int)status, error.message);
    return transaction;
}

HARNESS_SHARED aur_status commit(aur_transaction *transaction) {
    uint64_t lsn;
    aur_error error;
    const aur_status status = aur_transaction_commit(transaction, &lsn, &error);
    aur_transaction_destroy(transaction);
    return status;
}

HARNESS_SHARED void put(aur_transaction *transaction, aur_table *table, const char *key,
                        const char *value) {
    aur_error error;
    CHECK_OK(aur_transaction_put(transaction, table, as_bytes(key), strlen(key), as_bytes(value),
                                 strlen(value), &error));
}

HARNESS_SHARED bool erase(aur_transaction *transaction, aur_table *table, const char *key) {
    aur_error error;
    const aur_status status =
        aur_transaction_delete(transaction, table, as_bytes(key), strlen(key), false, &error);
    CHECK(status == AUR_OK || status == AUR_NOT_FOUND);
    return status == AUR_OK;
}

/* True when the key has that value; `expected` NULL: when it is not there. */
HARNESS_SHARED bool reads(aur_transaction *transaction, aur_table *table, const char *key,
                          const char *expected) {
    aur_found found = {0};
    aur_error error;
    const aur_status status =
        aur_transaction_get(transaction, table, as_bytes(key), strlen(key), false, &found, &error);
    CHECK_MSG(status == AUR_OK || status == AUR_NOT_FOUND, "get %s: %d %s", key, (int)status,
              error.message);
    if (status == AUR_NOT_FOUND) {
        return expected == NULL;
    }
    uint8_t *value = malloc(found.length + 1);
    CHECK(value != NULL);
    CHECK_OK(aur_found_read(&found, value, &error));
    const bool is_equal = expected != NULL && found.length == strlen(expected) &&
                          memcmp(value, expected, found.length) == 0;
    free(value);
    aur_found_release(&found);
    return is_equal;
}

HARNESS_SHARED uint64_t put_now(stack *stack, aur_table *table, const char *key,
                                const char *value) {
    uint64_t lsn = 0;
    aur_error error;
    const aur_status status = aur_engine_put(stack->engine, table, as_bytes(key), strlen(key),
                                             as_bytes(value), strlen(value), &lsn, &error);
    CHECK_MSG(status == AUR_OK, "put %s: %d %s", key, (int)status, error.message);
    return lsn;
}

/* Commits, making the volume as big as the commit wants it. */
HARNESS_SHARED aur_status commit_growing(stack *stack, aur_transaction *transaction,
                                         uint64_t *lsn_out, aur_error *error) {
    aur_status status = aur_transaction_commit(transaction, lsn_out, error);
    while (status == AUR_NEEDS_GROUPS) {
        const uint32_t wanted = aur_engine_groups_wanted(stack->engine);
        CHECK(aur_transaction_is_open(transaction));
        CHECK(wanted > stack->groups);
        while (stack->groups < wanted) {
            stack_add_group(stack);
        }
        status = aur_transaction_commit(transaction, lsn_out, error);
    }
    aur_transaction_destroy(transaction);
    return status;
}

/* A table, created in a transaction of its own. */
HARNESS_SHARED aur_table *open_table(stack *stack, const char *name) {
    aur_table *table = NULL;
    aur_error error;
    aur_transaction *transaction = begin(stack, false);
    CHECK_OK(aur_transaction_table(transaction, name, strlen(name), true, &table, &error));
    CHECK_OK(commit(transaction));
    return table;
}

#endif
