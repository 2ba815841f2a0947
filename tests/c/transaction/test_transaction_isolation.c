/*
 * Serializability: the histories that weaker isolation lets through, interleavings that must not
 * fail, and random ones that are replayed against a model.
 */
#include "transaction/stack.h"

static stack world;

static void open_world(void) { stack_open(&world, AUR_ENGINE_DRIVE_MANUAL); }

static aur_status scan_sum(aur_transaction *transaction, const char *start, const char *stop,
                           uint64_t *count_out) {
    aur_cursor *cursor = NULL;
    aur_entry entries[16];
    size_t count = 1;
    aur_error error;
    aur_status status =
        aur_cursor_open(transaction, NULL, as_bytes(start), strlen(start), as_bytes(stop),
                        strlen(stop), false, false, &cursor, &error);
    *count_out = 0;
    while (status == AUR_OK && count > 0) {
        status = aur_cursor_fetch(cursor, false, entries, 16, &count, &error);
        *count_out += count;
    }
    aur_cursor_close(cursor);
    return status;
}

TEST(a_commit_is_read_by_later_transactions) {
    open_world();
    aur_transaction *writer = begin(&world, false);
    put(writer, NULL, "a", "1");
    CHECK(reads(writer, NULL, "a", "1"));
    aur_transaction *before = begin(&world, false);
    CHECK(reads(before, NULL, "a", NULL));
    CHECK_OK(commit(writer));
    CHECK(reads(before, NULL, "a", NULL));
    aur_transaction *after = begin(&world, false);
    CHECK(reads(after, NULL, "a", "1"));
    CHECK_OK(commit(before));
    CHECK_OK(commit(after));
    stack_close(&world);
}

TEST(lost_update_is_refused) {
    open_world();
    (void)put_now(&world, NULL, "counter", "10");
    aur_transaction *first = begin(&world, false);
    aur_transaction *second = begin(&world, false);
    CHECK(reads(first, NULL, "counter", "10"));
    CHECK(reads(second, NULL, "counter", "10"));
    put(first, NULL, "counter", "11");
    put(second, NULL, "counter", "11");
    CHECK_OK(commit(first));
    CHECK_STATUS(commit(second), AUR_ERR_CONFLICT);
    stack_close(&world);
}

TEST(write_skew_is_refused) {
    open_world();
    (void)put_now(&world, NULL, "x", "on");
    (void)put_now(&world, NULL, "y", "on");
    aur_transaction *first = begin(&world, false);
    aur_transaction *second = begin(&world, false);
    CHECK(reads(first, NULL, "x", "on") && reads(first, NULL, "y", "on"));
    CHECK(reads(second, NULL, "x", "on") && reads(second, NULL, "y", "on"));
    put(first, NULL, "x", "off");
    put(second, NULL, "y", "off");
    CHECK_OK(commit(first));
    CHECK_STATUS(commit(second), AUR_ERR_CONFLICT);
    stack_close(&world);
}

TEST(phantom_is_refused) {
    open_world();
    uint64_t count;
    (void)put_now(&world, NULL, "room-1", "taken");
    aur_transaction *first = begin(&world, false);
    aur_transaction *second = begin(&world, false);
    CHECK_OK(scan_sum(first, "room-", "room.", &count));
    CHECK_EQ_U64(count, 1);
    CHECK_OK(scan_sum(second, "room-", "room.", &count));
    CHECK_EQ_U64(count, 1);
    put(first, NULL, "room-2", "taken");
    put(second, NULL, "room-3", "taken");
    CHECK_OK(commit(first));
    CHECK_STATUS(commit(second), AUR_ERR_CONFLICT);
    /* Absence of one key is a phantom too. */
    first = begin(&world, false);
    second = begin(&world, false);
    CHECK(reads(first, NULL, "key", NULL) && reads(second, NULL, "key", NULL));
    put(first, NULL, "key", "first");
    put(second, NULL, "key", "second");
    CHECK_OK(commit(first));
    CHECK_STATUS(commit(second), AUR_ERR_CONFLICT);
    stack_close(&world);
}

/* Fekete, O'Neil, O'Neil, SIGMOD Record 2004: savings and checking account, a withdrawal with a
 * fee when the sum is overdrawn, a deposit, and a reader whose answer makes the order impossible.
 */
TEST(read_only_anomaly_does_not_occur) {
    open_world();
    (void)put_now(&world, NULL, "checking", "0");
    (void)put_now(&world, NULL, "savings", "0");
    stack_settle(&world);
    aur_transaction *withdrawal = begin(&world, false);
    CHECK(reads(withdrawal, NULL, "checking", "0") && reads(withdrawal, NULL, "savings", "0"));
    aur_transaction *deposit = begin(&world, false);
    CHECK(reads(deposit, NULL, "savings", "0"));
    put(deposit, NULL, "savings", "20");
    CHECK_OK(commit(deposit));
    aur_transaction *reader = begin(&world, true);
    CHECK(reads(reader, NULL, "checking", "0") && reads(reader, NULL, "savings", "20"));
    CHECK_OK(commit(reader));
    put(withdrawal, NULL, "checking", "-11");
    CHECK_STATUS(commit(withdrawal), AUR_ERR_CONFLICT);
    stack_close(&world);
}

TEST(what_does_not_touch_commits) {
    open_world();
    uint64_t count;
    (void)put_now(&world, NULL, "a", "1");
    (void)put_now(&world, NULL, "m", "1");
    (void)put_now(&world, NULL, "z", "1");
    aur_transaction *point = begin(&world, false);
    aur_transaction *range = begin(&world, false);
    aur_transaction *blind = begin(&world, false);
    aur_transaction *other = begin(&world, false);
    CHECK(reads(point, NULL, "a", "1"));
    put(point, NULL, "p", "point");
    CHECK_OK(scan_sum(range, "k", "n", &count)); /* [k, n): m only */
    put(range, NULL, "r", "range");
    put(blind, NULL, "a", "blind");
    put(other, NULL, "n", "on the excluded bound");
    put(other, NULL, "jz", "just below");
    CHECK_OK(commit(other));
    CHECK_OK(commit(range));
    CHECK_OK(commit(point));
    CHECK_OK(commit(blind)); /* it overwrites what `point` read, but nobody reads after */
    stack_close(&world);
}

static aur_transaction *begin_blind(void) {
    aur_transaction *transaction = NULL;
    aur_error error;
    CHECK_OK(aur_transaction_begin_blind(world.engine, &transaction, &error));
    return transaction;
}

TEST(a_blind_transaction_sees_nothing_and_conflicts_with_nobody) {
    open_world();
    uint64_t count;
    aur_table *table = NULL;
    aur_engine_status status;
    aur_error error;
    aur_transaction *maker = begin(&world, false);
    CHECK_OK(aur_transaction_table(maker, "t", 1, true, &table, &error));
    CHECK_OK(commit(maker));
    const uint64_t first = put_now(&world, NULL, "a", "1");
    aur_transaction *blind = begin_blind();
    CHECK_STATUS(aur_transaction_put(blind, table, as_bytes("k"), 1, as_bytes("v"), 1, &error),
                 AUR_ERR_INVALID);
    CHECK(reads(blind, NULL, "a", NULL));
    CHECK_OK(scan_sum(blind, "a", "z", &count));
    CHECK_EQ_U64(count, 0);
    put(blind, NULL, "a", "blind");
    CHECK(reads(blind, NULL, "a", "blind"));
    CHECK_STATUS(aur_transaction_table(blind, "u", 1, true, &table, &error), AUR_ERR_INVALID);
    CHECK_STATUS(aur_transaction_drop_table(blind, "t", 1, &error), AUR_ERR_INVALID);
    aur_engine_get_status(world.engine, &status);
    CHECK_EQ_U64(status.snapshots, 0);
    aur_transaction *reader = begin(&world, false);
    CHECK(reads(reader, NULL, "a", "1"));
    put(reader, NULL, "b", "1");
    (void)put_now(&world, NULL, "a", "2");
    CHECK_OK(commit(blind));
    CHECK_STATUS(commit(reader), AUR_ERR_CONFLICT);
    aur_transaction *after = begin(&world, false);
    CHECK(reads(after, NULL, "a", "blind"));
    CHECK_OK(commit(after));
    aur_transaction *empty = begin_blind();
    uint64_t lsn = 0;
    CHECK_OK(aur_transaction_commit(empty, &lsn, &error));
    aur_transaction_destroy(empty);
    CHECK(lsn > first);
    stack_close(&world);
}

TEST(a_scan_conflicts_only_where_it_has_walked) {
    open_world();
    char key[16];
    for (int at = 0; at < 50; at++) {
        (void)snprintf(key, sizeof key, "k%02d", at);
        (void)put_now(&world, NULL, key, "v");
    }
    for (int reverse = 0; reverse < 2; reverse++) {
        for (int inside = 0; inside < 2; inside++) {
            aur_transaction *walker = begin(&world, false);
            aur_cursor *cursor = NULL;
            aur_entry entries[5];
            size_t count;
            aur_error error;
            CHECK_OK(aur_cursor_open(walker, NULL, as_bytes("k"), 1, as_bytes("l"), 1, reverse,
                                     false, &cursor, &error));
            CHECK_OK(aur_cursor_fetch(cursor, false, entries, 5, &count, &error));
            CHECK_EQ_U64(count, 5);
            CHECK_EQ_MEM(entries[4].key, reverse ? "k45" : "k04", 3);
            aur_cursor_close(cursor);
            put(walker, NULL, "other", "v");
            const char *forward[2] = {"k05", "k04"};
            const char *backward[2] = {"k44", "k45"};
            (void)put_now(&world, NULL, reverse ? backward[inside] : forward[inside], "new");
            CHECK_STATUS(commit(walker), inside ? AUR_ERR_CONFLICT : AUR_OK);
        }
    }
    stack_close(&world);
}

TEST(a_count_conflicts_with_every_change_of_the_table) {
    open_world();
    uint64_t count;
    aur_error error;
    (void)put_now(&world, NULL, "a", "1");
    aur_transaction *counter = begin(&world, false);
    CHECK_OK(aur_transaction_count(counter, NULL, &count, &error));
    CHECK_EQ_U64(count, 1);
    put(counter, NULL, "b", "1");
    put(counter, NULL, "a", "2");
    CHECK_OK(aur_transaction_count(counter, NULL, &count, &error));
    CHECK_EQ_U64(count, 2);
    CHECK(erase(counter, NULL, "a"));
    CHECK(!erase(counter, NULL, "nothing"));
    CHECK_OK(aur_transaction_count(counter, NULL, &count, &error));
    CHECK_EQ_U64(count, 1);
    (void)put_now(&world, NULL, "c", "1");
    CHECK_STATUS(commit(counter), AUR_ERR_CONFLICT);
    stack_close(&world);
}

/* ---- random histories ---- */

enum { MODEL_KEYS = 24, MODEL_ACTIVE = 6, MODEL_STEPS = 6000, MODEL_OPS = 40 };

/* What a transaction saw and did: replayed at its commit against the model of all commits before.
 */
typedef struct model_op {
    enum { OP_GET, OP_SCAN, OP_PUT, OP_DELETE, OP_COUNT } kind;
    unsigned low, high;
    uint32_t value; /* of a put, or what was seen: 0 is absent */
    uint32_t seen[MODEL_KEYS];
    uint64_t count;
} model_op;

typedef struct model_transaction {
    aur_transaction *handle;
    unsigned ops;
    model_op log[MODEL_OPS];
} model_transaction;

static void key_of(unsigned index, char key[8]) { (void)snprintf(key, 8, "key%03u", index); }

static uint32_t model_get(aur_transaction *transaction, unsigned index) {
    char key[8];
    aur_found found = {0};
    aur_error error;
    uint32_t value = 0;
    key_of(index, key);
    const aur_status status =
        aur_transaction_get(transaction, NULL, as_bytes(key), 6, false, &found, &error);
    CHECK(status == AUR_OK || status == AUR_NOT_FOUND);
    if (status == AUR_OK) {
        memcpy(&value, found.data, sizeof value);
        aur_found_release(&found);
    }
    return value;
}

static void model_scan(aur_transaction *transaction, model_op *op) {
    char low[8];
    char high[8];
    aur_cursor *cursor = NULL;
    aur_entry entries[7];
    aur_error error;
    size_t count = 1;
    key_of(op->low, low);
    key_of(op->high, high);
    memset(op->seen, 0, sizeof op->seen);
    CHECK_OK(aur_cursor_open(transaction, NULL, as_bytes(low), 6, as_bytes(high), 6,
                             random_below(2) == 0, false, &cursor, &error));
    while (count > 0) {
        CHECK_OK(aur_cursor_fetch(cursor, false, entries, 1 + random_below(7), &count, &error));
        for (size_t at = 0; at < count; at++) {
            char digits[4] = {0};
            memcpy(digits, entries[at].key + 3, 3);
            memcpy(&op->seen[atoi(digits)], entries[at].value, sizeof(uint32_t));
        }
    }
    aur_cursor_close(cursor);
}

static void model_step(model_transaction *transaction, uint32_t fresh) {
    model_op *op = &transaction->log[transaction->ops++];
    char key[8];
    aur_error error;
    const uint64_t dice = random_below(10);
    op->low = (unsigned)random_below(MODEL_KEYS);
    op->high = op->low + 1 + (unsigned)random_below(5);
    op->high = op->high > MODEL_KEYS ? MODEL_KEYS : op->high;
    key_of(op->low, key);
    if (dice < 4) {
        op->kind = OP_GET;
        op->value = model_get(transaction->handle, op->low);
    } else if (dice < 5) {
        op->kind = OP_SCAN;
        model_scan(transaction->handle, op);
    } else if (dice < 8) {
        op->kind = OP_PUT;
        op->value = fresh;
        CHECK_OK(aur_transaction_put(transaction->handle, NULL, as_bytes(key), 6,
                                     (const uint8_t *)&fresh, sizeof fresh, &error));
    } else if (dice < 9 || random_below(8) > 0) {
        op->kind = OP_DELETE;
        op->value = erase(transaction->handle, NULL, key);
    } else {
        op->kind = OP_COUNT;
        CHECK_OK(aur_transaction_count(transaction->handle, NULL, &op->count, &error));
    }
}

static uint64_t model_count(const uint32_t *model) {
    uint64_t count = 0;
    for (unsigned at = 0; at < MODEL_KEYS; at++) {
        count += model[at] != 0;
    }
    return count;
}

/* Runs the transaction again on the model; every answer must be the same. */
static void replay(const model_transaction *transaction, uint32_t *model) {
    for (unsigned at = 0; at < transaction->ops; at++) {
        const model_op *op = &transaction->log[at];
        switch (op->kind) {
        case OP_GET:
            CHECK_EQ_U64(op->value, model[op->low]);
            break;
        case OP_SCAN:
            for (unsigned key = 0; key < MODEL_KEYS; key++) {
                const bool is_inside = key >= op->low && key < op->high;
                CHECK_EQ_U64(op->seen[key], is_inside ? model[key] : 0);
            }
            break;
        case OP_PUT:
            model[op->low] = op->value;
            break;
        case OP_DELETE:
            CHECK_EQ_U64(op->value, model[op->low] != 0);
            model[op->low] = 0;
            break;
        case OP_COUNT:
            CHECK_EQ_U64(op->count, model_count(model));
            break;
        }
    }
}

/* Commits one that is active; it must fit the model at its place in commit order, which is now. */
static bool model_commit(model_transaction *transaction, uint32_t *model) {
    const aur_status status = commit(transaction->handle);
    transaction->handle = NULL;
    if (status == AUR_OK) {
        bool writes = false;
        for (unsigned at = 0; at < transaction->ops; at++) {
            writes |= transaction->log[at].kind == OP_PUT ||
                      (transaction->log[at].kind == OP_DELETE && transaction->log[at].value != 0);
        }
        /* Without writes its place is its read point, which the snapshot tests look at. */
        if (writes) {
            replay(transaction, model);
        }
        return true;
    }
    CHECK_STATUS(status, AUR_ERR_CONFLICT);
    return false;
}

TEST(random_histories_are_serializable) {
    static model_transaction active[MODEL_ACTIVE];
    uint32_t model[MODEL_KEYS] = {0};
    unsigned commits = 0;
    unsigned conflicts = 0;
    memset(active, 0, sizeof active);
    open_world();
    for (uint32_t step = 1; step <= MODEL_STEPS; step++) {
        model_transaction *transaction = &active[random_below(MODEL_ACTIVE)];
        if (transaction->handle == NULL) {
            transaction->handle = begin(&world, false);
            transaction->ops = 0;
        } else if (transaction->ops == MODEL_OPS || random_below(6) == 0) {
            const bool is_committed = model_commit(transaction, model);
            commits += is_committed;
            conflicts += !is_committed;
        } else {
            model_step(transaction, step);
        }
    }
    for (unsigned at = 0; at < MODEL_ACTIVE; at++) {
        aur_transaction_destroy(active[at].handle);
    }
    printf("  %u commits, %u conflicts\n", commits, conflicts);
    CHECK(commits > 50 && conflicts > 50);
    aur_transaction *reader = begin(&world, true);
    for (unsigned key = 0; key < MODEL_KEYS; key++) {
        CHECK_EQ_U64(model_get(reader, key), model[key]);
    }
    CHECK_OK(commit(reader));
    stack_close(&world);
}
