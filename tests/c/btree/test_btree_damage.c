/*
 * Pages whose structure is sound but whose cells, links and headers say anything: every operation
 * gives an error or some answer, and neither crashes nor loops. Run it under the sanitizers.
 */
#include "tree_world.h"

enum { KEYS = 1500, PAGE_BYTES = 4096, ROUNDS = 400 };

static uint64_t damage_state;
static unsigned damage_rate;

static uint64_t damage_random(uint64_t limit) { return harness_random_next(&damage_state) % limit; }

/* Changes bytes as a buggy writer might, and takes back what `format` itself would refuse. */
static void damage_page(uint8_t *page, uint32_t page_bytes) {
    uint8_t saved[PAGE_BYTES];
    if (damage_random(100) >= damage_rate)
        return;
    for (size_t changes = 1 + damage_random(6); changes > 0; changes--) {
        memcpy(saved, page, page_bytes);
        uint64_t where = damage_random(3);
        uint64_t at = where == 0 ? AUR_PAGE_TYPE_AT + damage_random(32) : damage_random(page_bytes);
        if (where == 2 && aur_page_slots(page) > 0) {
            uint32_t length;
            const uint8_t *cell =
                aur_page_cell(page, (uint32_t)damage_random(aur_page_slots(page)), &length);
            at = (uint64_t)(cell - page) +
                 (length > 0 ? damage_random(length < 12 ? length : 12) : 0);
        }
        if (at >= page_bytes || at < AUR_PAGE_TYPE_AT)
            continue;
        page[at] = (uint8_t)(damage_random(3) == 0 ? damage_random(256)
                                                   : page[at] ^ (1u << damage_random(8)));
        if (aur_page_check_structure(page, page_bytes) != AUR_OK)
            memcpy(page, saved, page_bytes);
    }
}

static size_t key_of(uint64_t number, uint8_t *key) {
    return (size_t)snprintf((char *)key, 64, "%06llu of the keys", (unsigned long long)number);
}

static void fill(tree_world *world, const aur_tree *tree, uint8_t *bytes) {
    bool inserted;
    for (uint64_t number = 0; number < KEYS; number += 10) {
        world_begin(world);
        for (uint64_t at = number; at < number + 10; at++) {
            uint8_t key[64];
            size_t key_bytes = key_of(at, key);
            uint64_t length = at % 40 == 0 ? 3 * PAGE_BYTES : 30;
            CHECK_WORLD(world, aur_tree_put(&world->writer, tree, key, key_bytes, bytes, length,
                                            &inserted, &world->error));
        }
        CHECK_WORLD(world, aur_tree_add_count(&world->writer, tree, 10, &world->error));
        world_end(world, NULL, 0);
    }
}

/* What has been read and is in the pool now, sound or not. */
static void read_many_damaged(const aur_reader *reader, const aur_tree *tree) {
    aur_tree_lookup lookups[AUR_TREE_LOOKUPS_MAX];
    uint8_t keys[AUR_TREE_LOOKUPS_MAX][64];
    for (size_t at = 0; at < AUR_TREE_LOOKUPS_MAX; at++) {
        lookups[at].key = keys[at];
        lookups[at].key_bytes = key_of(random_below(KEYS), keys[at]);
    }
    aur_tree_get_many(reader, tree, lookups, AUR_TREE_LOOKUPS_MAX);
    for (size_t at = 0; at < AUR_TREE_LOOKUPS_MAX; at++) {
        CHECK(lookups[at].status >= AUR_OK); /* what is wrong is told to who asks alone */
        if (lookups[at].status == AUR_OK)
            aur_value_release(reader, &lookups[at].value);
    }
}

static void read_damaged(tree_world *world, const aur_tree *tree, uint8_t *bytes) {
    aur_reader reader = world_reader(world, world_head(world));
    aur_tree_check check = {.seen_bits = 1 << 16};
    aur_tree_cursor cursor;
    uint8_t key[64];
    size_t key_bytes = key_of(random_below(KEYS), key);
    aur_value value;
    bool backward = random_below(2) == 0;
    if (aur_tree_get(&reader, tree, key, key_bytes, &value, &world->error) == AUR_OK) {
        if (value.length <= 1 << 20)
            (void)!aur_value_read(&reader, &value, bytes, &world->error);
        aur_value_release(&reader, &value);
    }
    aur_tree_cursor_open(&cursor, &reader, tree);
    aur_status status = aur_tree_cursor_seek(&cursor, random_below(3) == 0 ? NULL : key, key_bytes,
                                             backward, &world->error);
    for (size_t step = 0; status == AUR_OK && step < 200; step++) {
        const uint8_t *found;
        size_t found_bytes;
        (void)!aur_tree_cursor_entry(&cursor, &found, &found_bytes, &value, &world->error);
        status = backward ? aur_tree_cursor_previous(&cursor, &world->error)
                          : aur_tree_cursor_next(&cursor, &world->error);
    }
    aur_tree_cursor_close(&cursor);
    read_many_damaged(&reader, tree);
    check.seen = calloc(1, check.seen_bits / 8);
    if (aur_tree_verify(&reader, tree, &check, &world->error) == AUR_OK)
        (void)!aur_space_verify(&reader, &check, &world->error);
    free(check.seen);
}

TEST(reads_of_damaged_pages_end_in_an_error_or_an_answer) {
    tree_world world;
    const aur_tree tree = {AUR_DEFAULT_ROOT_PAGE, AUR_DEFAULT_TABLE};
    uint8_t *bytes = calloc(1, 1 << 20);
    damage_state = random_u64();
    world_open(&world, PAGE_BYTES, 64 << 10, 0);
    fill(&world, &tree, bytes);
    world_damage(&world, damage_page);
    for (size_t round = 0; round < ROUNDS; round++) {
        damage_rate = (unsigned)random_below(30);
        CHECK_OK(aur_buffer_restart(world.buffer, 0, NULL, 0));
        read_damaged(&world, &tree, bytes);
    }
    world_close(&world);
    free(bytes);
}

/* The tree may write nonsense after a damaged read, but it must come back with a status. */
static aur_status write_damaged(tree_world *world, const aur_tree *tree, const uint8_t *bytes) {
    uint8_t key[64];
    size_t key_bytes = key_of(random_below(KEYS), key);
    bool inserted;
    switch (random_below(12)) {
    case 0:
        return aur_tree_drop(&world->writer, tree, &world->error);
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
        return aur_tree_delete(&world->writer, tree, key, key_bytes, &world->error);
    default:
        return aur_tree_put(&world->writer, tree, key, key_bytes, bytes,
                            random_below(8) == 0 ? 2 * PAGE_BYTES : random_below(900), &inserted,
                            &world->error);
    }
}

TEST(writes_over_damaged_pages_end_with_a_status) {
    const aur_tree tree = {AUR_DEFAULT_ROOT_PAGE, AUR_DEFAULT_TABLE};
    uint8_t *bytes = calloc(1, 1 << 20);
    damage_state = random_u64();
    tree_world world;
    world_open(&world, PAGE_BYTES, 64 << 10, 0);
    fill(&world, &tree, bytes);
    aur_lsn sound = world_head(&world);
    world_tolerate_damage(&world, true);
    for (size_t round = 0; round < ROUNDS; round++) {
        world_damage(&world, damage_page);
        damage_rate = (unsigned)random_below(30);
        world_begin(&world);
        for (size_t writes = 0; writes < 20; writes++) {
            if (write_damaged(&world, &tree, bytes) < 0)
                break;
        }
        world_damage(&world, NULL);
        (void)world_end(&world, NULL, 0);
        world_lose_above(&world, sound);
    }
    world_close(&world);
    free(bytes);
}

static aur_page_id bad_page;

static void spoil_one_page(uint8_t *page, uint32_t page_bytes) {
    (void)page_bytes;
    if (aur_page_number(page) == bad_page) {
        page[AUR_PAGE_OWNER_AT] ^= 1;
    }
}

static aur_page_id leaf_of(const aur_reader *reader, const aur_tree *tree, const uint8_t *key,
                           size_t key_bytes, aur_error *error) {
    aur_tree_cursor cursor;
    aur_tree_cursor_open(&cursor, reader, tree);
    CHECK_OK(aur_tree_cursor_seek(&cursor, key, key_bytes, false, error));
    aur_page_id found = aur_page_number(cursor.path[cursor.depth - 1].ref.page);
    aur_tree_cursor_close(&cursor);
    return found;
}

/* Keys that are read when every bad page is stepped over by its end. */
static size_t count_around_damage(tree_world *world, const aur_tree *tree, size_t *gaps) {
    aur_reader reader = world_reader(world, world_head(world));
    uint8_t at[AUR_KEY_BYTES_MAX], end[AUR_KEY_BYTES_MAX];
    size_t at_bytes = 0, end_bytes, count = 0;
    aur_tree_cursor cursor;
    aur_tree_cursor_open(&cursor, &reader, tree);
    aur_status status = aur_tree_cursor_seek(&cursor, at, 0, false, &world->error);
    for (*gaps = 0; status != AUR_NOT_FOUND;) {
        const uint8_t *key;
        if (status == AUR_OK) {
            count++;
            CHECK_WORLD(world,
                        aur_tree_cursor_entry(&cursor, &key, &at_bytes, NULL, &world->error));
            memcpy(at, key, at_bytes);
            status = aur_tree_cursor_next(&cursor, &world->error);
            continue;
        }
        CHECK(status == AUR_ERR_CORRUPT);
        status = aur_tree_page_end(&reader, tree, at, at_bytes, end, &end_bytes, &world->error);
        if (status == AUR_OK) {
            const size_t shorter = at_bytes < end_bytes ? at_bytes : end_bytes;
            const int order = memcmp(end, at, shorter);
            CHECK(order > 0 || (order == 0 && end_bytes > at_bytes));
            memcpy(at, end, end_bytes);
            at_bytes = end_bytes;
            status = aur_tree_cursor_seek(&cursor, at, at_bytes, false, &world->error);
            *gaps += status == AUR_OK;
        }
    }
    aur_tree_cursor_close(&cursor);
    return count;
}

/* A scan stops at a bad page; by its end in the page above, one can go on behind it. */
TEST(behind_a_bad_page_the_tree_goes_on) {
    const aur_tree tree = {AUR_DEFAULT_ROOT_PAGE, AUR_DEFAULT_TABLE};
    uint8_t *bytes = calloc(1, 1 << 20);
    uint8_t key[64], end[AUR_KEY_BYTES_MAX];
    size_t end_bytes, gaps;
    tree_world world;
    world_open(&world, PAGE_BYTES, 64 << 10, 0);
    fill(&world, &tree, bytes);
    for (size_t round = 0; round < 20; round++) {
        const uint64_t number = round == 0 ? 0 : round == 1 ? KEYS - 1 : random_below(KEYS);
        const size_t key_bytes = key_of(number, key);
        const aur_reader reader = world_reader(&world, world_head(&world));
        uint8_t last_key[64];
        const size_t last_key_bytes = key_of(KEYS - 1, last_key);
        const aur_page_id last = leaf_of(&reader, &tree, last_key, last_key_bytes, &world.error);
        bad_page = leaf_of(&reader, &tree, key, key_bytes, &world.error);
        world_damage(&world, spoil_one_page);
        CHECK_OK(aur_buffer_restart(world.buffer, 0, NULL, 0));
        CHECK(aur_tree_get(&reader, &tree, key, key_bytes, NULL, &world.error) == AUR_ERR_CORRUPT);
        const size_t count = count_around_damage(&world, &tree, &gaps);
        CHECK(count >= KEYS - PAGE_BYTES / 40 && count < KEYS);
        CHECK(gaps == (bad_page != last));
        world_damage(&world, NULL);
        CHECK_OK(aur_buffer_restart(world.buffer, 0, NULL, 0));
    }
    /* With the root everything is gone. */
    bad_page = AUR_DEFAULT_ROOT_PAGE;
    world_damage(&world, spoil_one_page);
    CHECK_OK(aur_buffer_restart(world.buffer, 0, NULL, 0));
    const aur_reader reader = world_reader(&world, world_head(&world));
    CHECK(aur_tree_page_end(&reader, &tree, key, 1, end, &end_bytes, &world.error) ==
          AUR_NOT_FOUND);
    world_close(&world);
    free(bytes);
}
