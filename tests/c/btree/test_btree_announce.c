/* What a tree announces to the pool is what it then has to read. */
#include "tree_world.h"

enum { PAGE_BYTES = 4096, KEYS = 20000, VALUE_BYTES = 60, LOOKS = 5000 };

static const aur_tree tree = {AUR_DEFAULT_ROOT_PAGE, AUR_DEFAULT_TABLE};

static void fill(tree_world *world) {
    uint8_t value[VALUE_BYTES];
    fill_value(1, value, sizeof value);
    for (uint32_t number = 0; number < KEYS;) {
        world_begin(world);
        for (uint32_t last = number + 100; number < last; number++) {
            uint8_t key[4];
            bool inserted;
            aur_put32(key, number * UINT32_C(0x9e3779b1));
            CHECK_WORLD(world, aur_tree_put(&world->writer, &tree, key, sizeof key, value,
                                            sizeof value, &inserted, &world->error));
        }
        world_end(world, NULL, 0);
    }
}

/* Of some 700 leaves the pool has room for a sixth. */
TEST(the_leaf_that_is_announced_is_the_one_that_is_read) {
    tree_world world;
    aur_value value;
    uint64_t announced = 0;
    world_open(&world, PAGE_BYTES, 128 * PAGE_BYTES, 0);
    fill(&world);
    const aur_reader reader = world_reader(&world, AUR_LSN_MAX);
    for (uint32_t look = 0; look < LOOKS; look++) {
        uint8_t key[4];
        aur_page_id last = 0;
        aur_put32(key, (uint32_t)random_below(KEYS) * UINT32_C(0x9e3779b1));
        const uint64_t before = world_announcements(&world);
        aur_tree_will_read(&reader, &tree, key, sizeof key, &last);
        const uint64_t added = world_announcements(&world) - before;
        const uint64_t reads = world_reads(&world);
        aur_tree_will_read(&reader, &tree, key, sizeof key, &last);
        CHECK_EQ_U64(world_announcements(&world) - before, added);
        CHECK_WORLD(&world, aur_tree_get(&reader, &tree, key, sizeof key, &value, &world.error));
        aur_value_release(&reader, &value);
        CHECK_EQ_U64(world_reads(&world) - reads, added);
        CHECK(added == 0 || world_last_read(&world) == world_last_announced(&world));
        announced += added;
    }
    CHECK(announced > LOOKS / 2 && announced < LOOKS);
    world_close(&world);
}

/* A root that is a leaf is not announced: the look for the leaf has read it. */
TEST(a_lone_leaf_needs_no_announcement) {
    tree_world world;
    aur_page_id last = 0;
    world_open(&world, PAGE_BYTES, 128 * PAGE_BYTES, 0);
    const aur_reader reader = world_reader(&world, AUR_LSN_MAX);
    aur_tree_will_read(&reader, &tree, (const uint8_t *)"key", 3, &last);
    CHECK_EQ_U64(world_announcements(&world), 0);
    world_close(&world);
}
