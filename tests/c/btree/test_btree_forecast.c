/* The forecast of pages against what batches of puts and deletes then take: never less, and not
 * several times more. */
#include <stdlib.h>

#include "tree_world.h"

enum {
    PAGE_BYTES = 4096,
    BUDGET_BYTES = 64 << 20,
    VALUE_BYTES_MAX = 40000,
    KEYS = 1 << 16,
    BATCH_MAX = 3000,
    CHANGES = 3000,
};

typedef struct change {
    uint8_t key[AUR_KEY_BYTES_MAX];
    size_t key_bytes;
    uint64_t value_bytes;
    bool is_delete;
} change;

/* What a batch looks like. */
typedef struct shape {
    const char *name;
    uint64_t changes;
    uint64_t key_bytes_max; /* 4 at least */
    uint64_t value_bytes_max;
    uint64_t deletes_in_100;
    bool ascending; /* behind all that is there */
    uint64_t times; /* the forecast is at most so many times too high */
} shape;

static uint8_t value[VALUE_BYTES_MAX];

static int compare_changes(const void *left, const void *right) {
    const change *a = left;
    const change *b = right;
    const size_t shorter = a->key_bytes < b->key_bytes ? a->key_bytes : b->key_bytes;
    const int order = memcmp(a->key, b->key, shorter);
    return order != 0 ? order : a->key_bytes < b->key_bytes ? -1 : a->key_bytes > b->key_bytes;
}

/* Keys are a number and a tail that depends on it, so that a number is one key. */
static void fill_change(change *one, const shape *shape, uint64_t number) {
    const uint8_t head[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16),
                             (uint8_t)(number >> 8), (uint8_t)number};
    fill_value(number, one->key, sizeof one->key);
    memcpy(one->key, head, sizeof head);
    one->key_bytes = 4 + number * 2654435761u % (shape->key_bytes_max - 3);
    one->value_bytes = random_below(shape->value_bytes_max + 1);
    one->is_delete = random_below(100) < shape->deletes_in_100;
}

static size_t make_batch(change *batch, const shape *shape, uint64_t *next) {
    const size_t wanted = 1 + random_below(shape->changes);
    size_t count = 0;
    for (size_t at = 0; at < wanted; at++) {
        fill_change(&batch[at], shape, shape->ascending ? (*next)++ : random_below(KEYS));
    }
    qsort(batch, wanted, sizeof batch[0], compare_changes);
    for (size_t at = 0; at < wanted; at++) {
        if (count == 0 || compare_changes(&batch[count - 1], &batch[at]) != 0) {
            batch[count++] = batch[at];
        }
    }
    return count;
}

static uint64_t used_pages(tree_world *world) {
    uint64_t used;
    CHECK_WORLD(world, aur_space_used(world->space, &used, &world->error));
    return used;
}

static uint64_t forecast(tree_world *world, const aur_tree *tree, const change *batch,
                         size_t count) {
    const aur_reader reader = world_reader(world, AUR_LSN_MAX);
    aur_tree_forecast forecast;
    aur_tree_forecast_begin(&forecast, &reader, tree);
    for (size_t at = 0; at < count; at++) {
        if (!batch[at].is_delete) {
            CHECK_WORLD(world, aur_tree_forecast_put(&forecast, batch[at].key, batch[at].key_bytes,
                                                     batch[at].value_bytes, &world->error));
        }
    }
    return aur_tree_forecast_end(&forecast);
}

/* Applies a batch; the most pages that it had in use beyond those at its beginning. */
static uint64_t apply(tree_world *world, const aur_tree *tree, const change *batch, size_t count) {
    const uint64_t before = used_pages(world);
    uint64_t most = 0;
    for (size_t at = 0; at < count; at++) {
        const change *one = &batch[at];
        bool is_new;
        if (one->is_delete) {
            const aur_status status =
                aur_tree_delete(&world->writer, tree, one->key, one->key_bytes, &world->error);
            CHECK(status == AUR_OK || status == AUR_NOT_FOUND);
        } else {
            CHECK_WORLD(world, aur_tree_put(&world->writer, tree, one->key, one->key_bytes, value,
                                            one->value_bytes, &is_new, &world->error));
        }
        const uint64_t now = used_pages(world);
        most = now > before + most ? now - before : most;
    }
    return most;
}

static void check_shape(const shape *shape) {
    static change batch[BATCH_MAX];
    tree_world world;
    uint64_t next = KEYS;
    uint64_t foretold = 0;
    uint64_t taken = 0;
    uint64_t batches = 0;
    world_open(&world, PAGE_BYTES, BUDGET_BYTES, 0);
    aur_tree tree = {.root = AUR_DEFAULT_ROOT_PAGE, .table = AUR_DEFAULT_TABLE};
    for (uint64_t changes = 0; changes < CHANGES; batches++) {
        const size_t count = make_batch(batch, shape, &next);
        const uint64_t bound = forecast(&world, &tree, batch, count);
        world_begin(&world);
        const uint64_t most = apply(&world, &tree, batch, count);
        (void)world_end(&world, NULL, 0);
        CHECK_MSG(most <= aur_space_with_bitmaps(PAGE_BYTES, bound),
                  "%s: %llu pages taken, %llu foretold", shape->name, (unsigned long long)most,
                  (unsigned long long)bound);
        foretold += bound;
        taken += most;
        changes += count;
    }
    CHECK_MSG(foretold <= shape->times * taken + batches,
              "%s: %llu pages taken by %llu batches, %llu foretold", shape->name,
              (unsigned long long)taken, (unsigned long long)batches, (unsigned long long)foretold);
    world_close(&world);
}

TEST(no_batch_takes_more_than_was_foretold) {
    static const shape shapes[] = {
        {"tiny records, many", BATCH_MAX, 8, 20, 0, false, 2},
        {"tiny records, few", 5, 8, 20, 0, false, 2},
        {"ascending", 500, 8, 100, 0, true, 2},
        {"quarter pages", 300, 8, 990, 0, false, 2},
        {"quarter pages, ascending", 300, 8, 990, 0, true, 2},
        {"long values", 100, 8, VALUE_BYTES_MAX, 0, false, 2},
        {"long keys", 300, AUR_KEY_BYTES_MAX, 30, 0, false, 4},
        {"long keys, ascending", 300, AUR_KEY_BYTES_MAX, 30, 0, true, 4},
        {"puts and deletes", 1000, 30, 300, 40, false, 4},
        {"long keys and deletes", 300, AUR_KEY_BYTES_MAX, 990, 50, false, 4},
        {"mostly deletes", 1000, 30, 1500, 80, false, 4},
    };
    for (size_t at = 0; at < sizeof shapes / sizeof shapes[0]; at++) {
        check_shape(&shapes[at]);
    }
}

/* A tree that is not there yet: its root counts. */
TEST(a_tree_that_is_not_there_yet) {
    static change batch[BATCH_MAX];
    const shape shape = {"new tree", 1000, 20, 200, 0, false, 2};
    for (int round = 0; round < 20; round++) {
        tree_world world;
        aur_tree tree;
        uint64_t next = 0;
        world_open(&world, PAGE_BYTES, BUDGET_BYTES, 0);
        const size_t count = make_batch(batch, &shape, &next);
        const uint64_t bound = forecast(&world, NULL, batch, count);
        world_begin(&world);
        CHECK_WORLD(&world,
                    aur_tree_create(&world.writer, AUR_FIRST_USER_TABLE, &tree, &world.error));
        const uint64_t taken = 1 + apply(&world, &tree, batch, count);
        (void)world_end(&world, NULL, 0);
        CHECK(taken <= bound);
        CHECK(bound <= 2 * taken + 1);
        world_close(&world);
    }
}
