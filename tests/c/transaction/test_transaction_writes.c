/* A transaction's own writes, merged with what is in the tree, against a model; and big values. */
#include "transaction/stack.h"

enum { KEYS = 300, BIG_BYTES = 300000 };

static stack world;

/* What a key holds in tree and transaction: 0 is absent; a number makes the value. */
typedef struct model {
    uint32_t value[KEYS];
} model;

static void key_of(unsigned index, char key[8]) { (void)snprintf(key, 8, "k%04u", index * 7); }

static size_t value_of(uint32_t number, uint8_t *value) {
    const size_t length = number % 97;
    memset(value, (int)(number % 251), length);
    return length;
}

static bool is_value(uint32_t number, const uint8_t *value, uint64_t length) {
    uint8_t expected[128];
    return length == value_of(number, expected) && memcmp(value, expected, length) == 0;
}

static void model_put(aur_transaction *transaction, model *model, unsigned index, uint32_t number) {
    char key[8];
    uint8_t value[128];
    aur_error error;
    key_of(index, key);
    CHECK_OK(aur_transaction_put(transaction, NULL, as_bytes(key), strlen(key), value,
                                 value_of(number, value), &error));
    model->value[index] = number;
}

/* Walks all of [low, high) and compares; sometimes the model changes on the way, ahead or behind.
 */
static void check_scan(aur_transaction *transaction, model *model, unsigned low, unsigned high,
                       bool reverse, bool may_write) {
    char start[8];
    char stop[8];
    aur_cursor *cursor = NULL;
    aur_entry entries[9];
    aur_error error;
    size_t count = 1;
    unsigned next = reverse ? high : low; /* what comes is at or behind this one */
    key_of(low, start);
    key_of(high, stop);
    CHECK_OK(aur_cursor_open(transaction, NULL, as_bytes(start), strlen(start), as_bytes(stop),
                             strlen(stop), reverse, false, &cursor, &error));
    while (count > 0) {
        CHECK_OK(aur_cursor_fetch(cursor, false, entries, 1 + random_below(9), &count, &error));
        for (size_t at = 0; at < count; at++) {
            char digits[8] = {0};
            memcpy(digits, entries[at].key + 1, entries[at].key_bytes - 1);
            const unsigned index = (unsigned)atoi(digits) / 7;
            while (reverse ? index + 1 < next : next < index) {
                next = reverse ? next - 1 : next;
                CHECK_MSG(model->value[next] == 0, "key %u was left out", next);
                next = reverse ? next : next + 1;
            }
            CHECK_MSG(is_value(model->value[index], entries[at].value, entries[at].value_bytes) &&
                          model->value[index] != 0,
                      "key %u has a wrong value", index);
            next = reverse ? index : index + 1;
        }
        if (may_write && count > 0) {
            model_put(transaction, model, (unsigned)random_below(KEYS),
                      1 + (uint32_t)random_u64() % 10000);
        }
    }
    for (; reverse ? next > low : next < high; next += reverse ? -1u : 1u) {
        CHECK_MSG(model->value[reverse ? next - 1 : next] == 0, "key %u was left out at the end",
                  next);
    }
    aur_cursor_close(cursor);
}

static void change_randomly(aur_transaction *transaction, model *model, unsigned changes) {
    char key[8];
    for (unsigned at = 0; at < changes; at++) {
        const unsigned index = (unsigned)random_below(KEYS);
        if (random_below(3) == 0) {
            key_of(index, key);
            CHECK(erase(transaction, NULL, key) == (model->value[index] != 0));
            model->value[index] = 0;
        } else {
            model_put(transaction, model, index, 1 + (uint32_t)random_u64() % 10000);
        }
    }
}

static void check_everything(aur_transaction *transaction, model *model, bool may_write) {
    uint64_t present = 0;
    uint64_t count;
    aur_error error;
    check_scan(transaction, model, 0, KEYS, false, may_write);
    check_scan(transaction, model, 0, KEYS, true, may_write);
    const unsigned low = (unsigned)random_below(KEYS);
    const unsigned high = low + (unsigned)random_below(KEYS - low);
    check_scan(transaction, model, low, high, random_below(2) == 0, may_write);
    for (unsigned index = 0; index < KEYS; index++) {
        char key[8];
        aur_found found = {0};
        key_of(index, key);
        const aur_status status = aur_transaction_get(transaction, NULL, as_bytes(key), strlen(key),
                                                      false, &found, &error);
        CHECK_STATUS(status, model->value[index] == 0 ? AUR_NOT_FOUND : AUR_OK);
        if (status == AUR_OK) {
            CHECK(is_value(model->value[index], found.data, found.length));
            aur_found_release(&found);
            present++;
        }
    }
    CHECK_OK(aur_transaction_count(transaction, NULL, &count, &error));
    CHECK_EQ_U64(count, present);
}

TEST(own_writes_and_tree_are_one_both_ways) {
    static model committed;
    memset(&committed, 0, sizeof committed);
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    for (unsigned round = 0; round < 40; round++) {
        model mine = committed;
        aur_transaction *transaction = begin(&world, false);
        change_randomly(transaction, &mine, (unsigned)random_below(60));
        check_everything(transaction, &mine, true);
        if (random_below(4) == 0) {
            aur_transaction_rollback(transaction);
            aur_transaction_destroy(transaction);
        } else {
            CHECK_OK(commit(transaction));
            committed = mine;
        }
        aur_transaction *reader = begin(&world, true);
        check_everything(reader, &committed, false);
        CHECK_OK(commit(reader));
    }
    stack_close(&world);
}

static void check_big(aur_found *found, uint64_t length, uint8_t filling) {
    aur_error error;
    uint8_t *bytes = malloc(length + 1);
    CHECK_EQ_U64(found->length, length);
    bytes[length] = 0x5a;
    CHECK_OK(aur_found_read(found, bytes, &error));
    for (uint64_t at = 0; at < length; at++) {
        CHECK(bytes[at] == filling);
    }
    CHECK(bytes[length] == 0x5a);
    free(bytes);
}

/* A found value stays readable until it is released, whatever happens to its key and to the
 * transaction that found it. */
TEST(found_values_outlive_their_transactions) {
    aur_error error;
    aur_found own = {0};
    aur_found big = {0};
    aur_found small = {0};
    uint8_t *value = malloc(BIG_BYTES);
    memset(value, 1, BIG_BYTES);
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    aur_transaction *writer = begin(&world, false);
    CHECK_OK(aur_transaction_put(writer, NULL, as_bytes("big"), 3, value, BIG_BYTES, &error));
    CHECK_OK(aur_transaction_put(writer, NULL, as_bytes("small"), 5, value, 50, &error));
    CHECK_OK(aur_transaction_get(writer, NULL, as_bytes("big"), 3, false, &own, &error));
    /* Written again while the old value is held: it must not change under the holder. */
    memset(value, 2, BIG_BYTES);
    CHECK_OK(aur_transaction_put(writer, NULL, as_bytes("big"), 3, value, BIG_BYTES, &error));
    CHECK_OK(commit(writer));
    check_big(&own, BIG_BYTES, 1);
    aur_transaction *reader = begin(&world, true);
    CHECK_OK(aur_transaction_get(reader, NULL, as_bytes("big"), 3, false, &big, &error));
    CHECK_OK(aur_transaction_get(reader, NULL, as_bytes("small"), 5, false, &small, &error));
    CHECK(big.data == NULL && small.data != NULL);
    CHECK_OK(commit(reader));
    for (int round = 0; round < 20; round++) {
        (void)put_now(&world, NULL, "big", "overwritten");
        (void)put_now(&world, NULL, "small", "overwritten");
        memset(value, 3 + round, BIG_BYTES);
        uint64_t lsn;
        CHECK_OK(aur_engine_put(world.engine, NULL, as_bytes("next"), 4, value, BIG_BYTES, &lsn,
                                &error));
        stack_settle(&world);
    }
    check_big(&big, BIG_BYTES, 2);
    check_big(&small, 50, 1);
    aur_found_release(&own);
    aur_found_release(&big);
    aur_found_release(&small);
    aur_engine_status status;
    aur_engine_get_status(world.engine, &status);
    CHECK_EQ_U64(status.snapshots, 0);
    CHECK_OK(aur_engine_get(world.engine, NULL, as_bytes("next"), 4, false, &big, &error));
    check_big(&big, BIG_BYTES, 22);
    aur_found_release(&big);
    free(value);
    stack_close(&world);
}

/* Short keys, keys that are prefixes of others, and keys that differ late: many of them twice. */
static size_t draw_key(uint8_t key[16]) {
    static const uint8_t letters[] = {0, 'a', 'b', 0xff};
    const size_t shared = random_below(2) == 0 ? 0 : 9;
    const size_t length = shared + random_below(5);
    memset(key, 's', shared);
    for (size_t at = shared; at < length; at++) {
        key[at] = letters[random_below(sizeof letters)];
    }
    return length;
}

static void check_equal(aur_transaction *left, aur_transaction *right) {
    aur_transaction *both[] = {left, right};
    aur_cursor *cursors[2];
    aur_entry entries[2] = {{.key = NULL}, {.key = NULL}};
    aur_error error;
    size_t counts[2] = {1, 1};
    for (int side = 0; side < 2; side++) {
        CHECK_OK(aur_cursor_open(both[side], NULL, NULL, 0, NULL, 0, false, false, &cursors[side],
                                 &error));
    }
    while (counts[0] > 0) {
        for (int side = 0; side < 2; side++) {
            CHECK_OK(
                aur_cursor_fetch(cursors[side], false, &entries[side], 1, &counts[side], &error));
        }
        CHECK_EQ_U64(counts[0], counts[1]);
        CHECK_EQ_U64(entries[0].key_bytes, entries[1].key_bytes);
        CHECK_EQ_U64(entries[0].value_bytes, entries[1].value_bytes);
        CHECK(memcmp(entries[0].key, entries[1].key, entries[0].key_bytes) == 0);
        CHECK(memcmp(entries[0].value, entries[1].value, entries[0].value_bytes) == 0);
    }
    aur_cursor_close(cursors[0]);
    aur_cursor_close(cursors[1]);
}

TEST(many_puts_are_puts_one_after_the_other) {
    enum { ENTRIES = 200 };
    static uint8_t keys[ENTRIES][16];
    static uint32_t values[ENTRIES];
    aur_entry entries[ENTRIES];
    aur_error error;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    for (unsigned round = 0; round < 100; round++) {
        aur_transaction *together = begin(&world, false);
        aur_transaction *apart = begin(&world, false);
        for (unsigned batch = 0; batch < 4; batch++) {
            const size_t count = random_below(ENTRIES + 1);
            for (size_t at = 0; at < count; at++) {
                values[at] = (uint32_t)random_u64();
                entries[at] = (aur_entry){.key = keys[at],
                                          .key_bytes = draw_key(keys[at]),
                                          .value = (const uint8_t *)&values[at],
                                          .value_bytes = random_below(sizeof values[at] + 1)};
                CHECK_OK(aur_transaction_put(apart, NULL, entries[at].key, entries[at].key_bytes,
                                             entries[at].value, entries[at].value_bytes, &error));
            }
            CHECK_OK(aur_transaction_put_many(together, NULL, entries, count, &error));
        }
        check_equal(together, apart);
        aur_transaction_destroy(together);
        aur_transaction_destroy(apart);
    }
    stack_close(&world);
}

TEST(of_many_puts_those_before_a_bad_one_are_done) {
    static uint8_t key[AUR_KEY_LIMIT + 1];
    const aur_entry entries[] = {{.key = as_bytes("b"), .key_bytes = 1},
                                 {.key = key, .key_bytes = sizeof key},
                                 {.key = as_bytes("a"), .key_bytes = 1}};
    aur_error error;
    uint64_t count;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    aur_transaction *writer = begin(&world, false);
    CHECK_STATUS(aur_transaction_put_many(writer, NULL, &entries[1], 2, &error), AUR_ERR_INVALID);
    CHECK_STATUS(aur_transaction_put_many(writer, NULL, entries, AUR_PUTS_LIMIT + 1, &error),
                 AUR_ERR_INVALID);
    CHECK_OK(aur_transaction_count(writer, NULL, &count, &error));
    CHECK_EQ_U64(count, 0);
    CHECK_STATUS(aur_transaction_put_many(writer, NULL, entries, 3, &error), AUR_ERR_INVALID);
    CHECK_OK(aur_transaction_count(writer, NULL, &count, &error));
    CHECK_EQ_U64(count, 1);
    CHECK(reads(writer, NULL, "b", ""));
    CHECK_OK(commit(writer));
    aur_transaction *reader = begin(&world, true);
    CHECK_STATUS(aur_transaction_put_many(reader, NULL, entries, 1, &error), AUR_ERR_READ_ONLY);
    CHECK_OK(commit(reader));
    stack_close(&world);
}

TEST(limits_and_misuse_are_refused) {
    static uint8_t key[AUR_KEY_LIMIT + 1];
    aur_error error;
    uint64_t lsn;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    CHECK_OK(aur_engine_put(world.engine, NULL, key, AUR_KEY_LIMIT, key, 0, &lsn, &error));
    CHECK_OK(aur_engine_put(world.engine, NULL, NULL, 0, NULL, 0, &lsn, &error));
    CHECK_STATUS(aur_engine_put(world.engine, NULL, key, AUR_KEY_LIMIT + 1, key, 0, &lsn, &error),
                 AUR_ERR_INVALID);
    CHECK_STATUS(aur_engine_put(world.engine, NULL, key, 1, key, AUR_VALUE_LIMIT + 1, &lsn, &error),
                 AUR_ERR_INVALID);
    aur_transaction *reader = begin(&world, true);
    CHECK_STATUS(aur_transaction_put(reader, NULL, key, 1, key, 1, &error), AUR_ERR_READ_ONLY);
    CHECK(reads(reader, NULL, "", ""));
    CHECK_OK(aur_transaction_commit(reader, &lsn, &error));
    CHECK(!aur_transaction_is_open(reader));
    aur_found found = {0};
    CHECK_STATUS(aur_transaction_get(reader, NULL, key, 1, false, &found, &error), AUR_ERR_CLOSED);
    CHECK_STATUS(aur_transaction_commit(reader, &lsn, &error), AUR_ERR_CLOSED);
    aur_transaction_rollback(reader);
    aur_transaction_destroy(reader);
    CHECK_OK(aur_engine_delete(world.engine, NULL, NULL, 0, &lsn, &error));
    CHECK_STATUS(aur_engine_delete(world.engine, NULL, NULL, 0, &lsn, &error), AUR_NOT_FOUND);
    stack_close(&world);
}
