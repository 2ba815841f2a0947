/* Values much larger than the pool pass through it without pushing the rest out; of values that are
 * overwritten the log has what changes. */
#include "format/record.h"
#include "tree_world.h"

enum { PAGE_BYTES = 8192, BUDGET = 2 << 20, VALUE_BYTES = 24 << 20, KEYS = 2000, LAG = 100 };

static const aur_tree tree = {AUR_DEFAULT_ROOT_PAGE, AUR_DEFAULT_TABLE};

static size_t key_of(uint64_t number, uint8_t *key) {
    return (size_t)snprintf((char *)key, 64, "%06llu", (unsigned long long)number);
}

static void put(tree_world *world, const char *key, const uint8_t *value, uint64_t length) {
    bool inserted;
    CHECK_WORLD(world, aur_tree_put(&world->writer, &tree, (const uint8_t *)key, strlen(key), value,
                                    length, &inserted, &world->error));
    if (inserted)
        CHECK_WORLD(world, aur_tree_add_count(&world->writer, &tree, 1, &world->error));
}

static void read_small_ones(tree_world *world) {
    aur_reader reader = world_reader(world, world_head(world));
    for (uint64_t number = 0; number < KEYS; number++) {
        uint8_t key[64];
        aur_value value;
        size_t key_bytes = key_of(number, key);
        CHECK_WORLD(world, aur_tree_get(&reader, &tree, key, key_bytes, &value, &world->error));
        CHECK_EQ_U64(value.length, 200);
        aur_value_release(&reader, &value);
    }
}

static void check_budget(tree_world *world) {
    aur_buffer_counts counts;
    aur_buffer_get_counts(world->buffer, &counts);
    CHECK_LE_U64(counts.used_bytes, counts.budget_bytes + 4 * PAGE_BYTES);
}

TEST(a_long_value_passes_through_a_small_pool) {
    tree_world world;
    uint8_t *value = malloc(VALUE_BYTES);
    uint8_t *out = malloc(VALUE_BYTES);
    fill_value(random_u64(), value, VALUE_BYTES);
    world_open(&world, PAGE_BYTES, BUDGET, LAG);
    for (uint64_t number = 0; number < KEYS; number++) {
        uint8_t key[64];
        world_begin(&world);
        key[key_of(number, key)] = 0;
        put(&world, (const char *)key, value, 200);
        world_end(&world, NULL, 0);
    }
    read_small_ones(&world);
    read_small_ones(&world);
    uint64_t reads_before = world_reads(&world);
    for (size_t round = 0; round < 3; round++) {
        world_begin(&world);
        put(&world, "long", value, VALUE_BYTES - round);
        check_budget(&world);
        aur_lsn lsn = world_end(&world, NULL, 0);
        aur_reader reader = world_reader(&world, lsn);
        aur_value found;
        uint64_t reads_of_value = world_reads(&world);
        CHECK_WORLD(&world,
                    aur_tree_get(&reader, &tree, (const uint8_t *)"long", 4, &found, &world.error));
        CHECK_EQ_U64(found.length, VALUE_BYTES - round);
        CHECK_WORLD(&world, aur_value_read(&reader, &found, out, &world.error));
        CHECK(memcmp(out, value, VALUE_BYTES - round) == 0);
        aur_value_release(&reader, &found);
        check_budget(&world);
        reads_before += world_reads(&world) - reads_of_value;
    }
    read_small_ones(&world);
    /* The small records fit in a quarter of the pool, and stay there. */
    CHECK_LE_U64(world_reads(&world) - reads_before, 10);
    world_verify(&world, world_head(&world), NULL, 0);
    world_begin(&world);
    CHECK_WORLD(&world,
                aur_tree_delete(&world.writer, &tree, (const uint8_t *)"long", 4, &world.error));
    CHECK_WORLD(&world, aur_tree_add_count(&world.writer, &tree, -1, &world.error));
    world_end(&world, NULL, 0);
    world_verify(&world, world_head(&world), NULL, 0);
    world_close(&world);
    free(value);
    free(out);
}

static void put_and_check(tree_world *world, const uint8_t *value, uint64_t length) {
    uint8_t *out = malloc(length + 1);
    aur_value found;
    world_begin(world);
    put(world, "key", value, length);
    const aur_reader reader = world_reader(world, world_end(world, NULL, 0));
    CHECK_WORLD(world,
                aur_tree_get(&reader, &tree, (const uint8_t *)"key", 3, &found, &world->error));
    CHECK_EQ_U64(found.length, length);
    CHECK_WORLD(world, aur_value_read(&reader, &found, out, &world->error));
    CHECK(length == 0 || memcmp(out, value, length) == 0);
    aur_value_release(&reader, &found);
    free(out);
}

/* A value that keeps its length costs a header, and the bytes from the first that changes to the
 * last. */
TEST(an_overwritten_value_is_redo_of_what_changes) {
    enum { LONGEST = 1000, OFFSET_BYTES = 2 };
    tree_world world;
    uint8_t value[LONGEST];
    world_open(&world, PAGE_BYTES, BUDGET, LAG);
    for (size_t round = 0; round < 2000; round++) {
        const uint64_t length = random_below(round % 2 == 0 ? 40 : LONGEST + 1);
        fill_value(random_u64(), value, length);
        put_and_check(&world, value, length);
        const uint64_t first = random_below(length + 1);
        const uint64_t changed = random_below(length - first + 1);
        const uint64_t before = world_redo_bytes(&world);
        if (changed > 0) {
            value[first] ^= 1;
            fill_value(random_u64(), value + first + 1, changed - 1);
        }
        put_and_check(&world, value, length);
        CHECK_LE_U64(world_redo_bytes(&world) - before,
                     AUR_RECORD_BODY_AT + OFFSET_BYTES + changed);
    }
    world_verify(&world, world_head(&world), NULL, 0);
    world_close(&world);
}
