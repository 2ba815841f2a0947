/*
 * Random puts, deletes, gets and scans, against a sorted array, at the head and at old read points
 * that are kept alive, with pools so small that pages come and go all the time.
 */
#include "tree_world.h"

enum { KEYS = 900, POINTS = 5, VALUE_MAX = 3 << 20 };

typedef struct model_key {
    uint8_t bytes[AUR_KEY_BYTES_MAX];
    uint32_t length;
} model_key;

/* What a key holds: seed and length of its value; absent when `present` is false. */
typedef struct model_value {
    bool present;
    uint64_t seed;
    uint64_t length;
} model_value;

typedef struct model_point {
    aur_lsn lsn;
    uint64_t count;
    model_value values[KEYS];
} model_point;

typedef struct experiment {
    tree_world world;
    aur_tree tree;
    model_key keys[KEYS]; /* ascending, all different */
    model_point now;
    model_point points[POINTS];
    size_t point_count;
    uint8_t *bytes; /* VALUE_MAX, twice */
    uint8_t *other;
    bool shrinking;
    bool fits; /* whatever was read once stays in the pool */
} experiment;

static int compare_keys(const void *left, const void *right) {
    const model_key *a = left;
    const model_key *b = right;
    int order = memcmp(a->bytes, b->bytes, a->length < b->length ? a->length : b->length);
    return order != 0 ? order : (int)a->length - (int)b->length;
}

/* Short ones, long ones with long common prefixes, and the empty one. */
static void make_key(model_key *key, bool is_empty) {
    static const uint32_t limits[] = {4, 12, 60, 300, AUR_KEY_BYTES_MAX};
    key->length = is_empty ? 0 : 1 + (uint32_t)random_below(limits[random_below(5)]);
    if (!is_empty && random_below(8) == 0)
        key->length = AUR_KEY_BYTES_MAX;
    memset(key->bytes, 'a', sizeof key->bytes);
    uint32_t varied = key->length < 6 ? key->length : 1 + (uint32_t)random_below(6);
    for (uint32_t at = 0; at < varied; at++)
        key->bytes[random_below(2) ? at : key->length - 1 - at] = (uint8_t)random_u64();
}

static void make_keys(experiment *run) {
    size_t count = 0;
    while (count < KEYS) {
        make_key(&run->keys[count], count == 0);
        bool is_new = true;
        for (size_t at = 0; at < count && is_new; at++)
            is_new = compare_keys(&run->keys[at], &run->keys[count]) != 0;
        count += is_new;
    }
    qsort(run->keys, KEYS, sizeof run->keys[0], compare_keys);
}

static uint64_t random_length(uint32_t page_bytes) {
    switch (random_below(24)) {
    case 0:
        return random_below(16) == 0 ? random_below(VALUE_MAX) : random_below(40 * page_bytes);
    case 1:
    case 2:
        return random_below(5 * page_bytes);
    case 3:
    case 4:
    case 5:
        return random_below(page_bytes / 2);
    case 6:
        return random_below(20); /* around the length of a reference */
    case 7:
        return page_bytes - AUR_PAGE_BODY_AT - 1 + random_below(3); /* around a full page */
    default:
        return random_below(90);
    }
}

static void check_value(experiment *run, const aur_reader *reader, const aur_value *value,
                        const model_value *expected) {
    CHECK_EQ_U64(value->length, expected->length);
    fill_value(expected->seed, run->bytes, expected->length);
    memset(run->other, 0xee, expected->length);
    CHECK_WORLD(&run->world, aur_value_read(reader, value, run->other, &run->world.error));
    CHECK(memcmp(run->bytes, run->other, expected->length) == 0);
}

static void check_get(experiment *run, const model_point *point, size_t key) {
    aur_reader reader = world_reader(&run->world, point->lsn);
    const model_key *wanted = &run->keys[key];
    aur_value value;
    aur_status status =
        aur_tree_get(&reader, &run->tree, wanted->bytes, wanted->length, &value, &run->world.error);
    CHECK_MSG(status == (point->values[key].present ? AUR_OK : AUR_NOT_FOUND),
              "get of key %zu gave %d: %s", key, status, run->world.error.message);
    if (status == AUR_OK) {
        check_value(run, &reader, &value, &point->values[key]);
        aur_value_release(&reader, &value);
    }
}

/* Many keys at once say what each says alone, or that the pool does not have its pages. */
static void check_get_many(experiment *run, const model_point *point) {
    aur_reader reader = world_reader(&run->world, point->lsn);
    aur_tree_lookup lookups[AUR_TREE_LOOKUPS_MAX];
    size_t chosen[AUR_TREE_LOOKUPS_MAX];
    const size_t count = random_below(AUR_TREE_LOOKUPS_MAX + 1);
    const size_t from = random_below(KEYS);
    const size_t range = random_below(2) == 0 ? KEYS : 1 + random_below(40);
    for (size_t at = 0; at < count; at++) {
        chosen[at] = (from + random_below(range)) % KEYS;
        lookups[at].key = run->keys[chosen[at]].bytes;
        lookups[at].key_bytes = run->keys[chosen[at]].length;
        if (run->fits)
            check_get(run, point, chosen[at]);
    }
    aur_tree_get_many(&reader, &run->tree, lookups, count);
    for (size_t at = 0; at < count; at++) {
        const model_value *expected = &point->values[chosen[at]];
        const aur_status status = lookups[at].status;
        CHECK_MSG(status == (expected->present ? AUR_OK : AUR_NOT_FOUND) ||
                      (status == AUR_WOULD_BLOCK && !run->fits),
                  "get of key %zu among %zu gave %d", chosen[at], count, status);
        if (status == AUR_OK) {
            check_value(run, &reader, &lookups[at].value, expected);
            aur_value_release(&reader, &lookups[at].value);
        }
    }
}

/* Next key of the model that is present, from `key` on; KEYS at the end. */
static size_t next_present(const model_point *point, size_t key, bool backward) {
    while (key < KEYS && !point->values[key].present)
        key = backward ? key - 1 : key + 1; /* below 0 wraps to above KEYS */
    return key < KEYS ? key : KEYS;
}

static void check_entry(experiment *run, const model_point *point, aur_tree_cursor *cursor,
                        size_t key) {
    const uint8_t *bytes;
    size_t length;
    aur_value value;
    CHECK_WORLD(&run->world,
                aur_tree_cursor_entry(cursor, &bytes, &length, &value, &run->world.error));
    CHECK_EQ_U64(length, run->keys[key].length);
    CHECK(memcmp(bytes, run->keys[key].bytes, length) == 0);
    if (value.data != NULL || random_below(4) == 0)
        check_value(run, &cursor->reader, &value, &point->values[key]);
}

static void check_scan(experiment *run, const model_point *point, bool from_edge, bool backward,
                       size_t steps) {
    aur_reader reader = world_reader(&run->world, point->lsn);
    size_t start = random_below(KEYS);
    size_t at = backward ? (from_edge ? KEYS - 1 : start - 1) : (from_edge ? 0 : start);
    aur_tree_cursor cursor;
    aur_tree_cursor_open(&cursor, &reader, &run->tree);
    at = next_present(point, at, backward);
    aur_status status = aur_tree_cursor_seek(&cursor, from_edge ? NULL : run->keys[start].bytes,
                                             run->keys[start].length, backward, &run->world.error);
    for (size_t step = 0; step < steps && at < KEYS; step++) {
        CHECK_MSG(status == AUR_OK, "scan gave %d: %s", status, run->world.error.message);
        check_entry(run, point, &cursor, at);
        if (random_below(32) == 0)
            backward = !backward;
        at = next_present(point, backward ? at - 1 : at + 1, backward);
        status = backward ? aur_tree_cursor_previous(&cursor, &run->world.error)
                          : aur_tree_cursor_next(&cursor, &run->world.error);
    }
    if (at == KEYS)
        CHECK_STATUS(status, AUR_NOT_FOUND);
    aur_tree_cursor_close(&cursor);
}

static void check_everything(experiment *run, const model_point *point) {
    aur_reader reader = world_reader(&run->world, point->lsn);
    uint64_t count;
    CHECK_WORLD(&run->world, aur_tree_count(&reader, &run->tree, &count, &run->world.error));
    CHECK_EQ_U64(count, point->count);
    check_scan(run, point, true, false, KEYS * 2);
    check_scan(run, point, true, true, KEYS * 2);
    world_verify(&run->world, point->lsn, &run->tree, 1);
}

static int64_t change_one(experiment *run) {
    size_t key = random_below(4) == 0 ? random_below(KEYS) : random_below(KEYS / 8) * 8;
    const model_key *at = &run->keys[key];
    model_value *value = &run->now.values[key];
    if (random_below(10) < (run->shrinking ? 8 : 2)) {
        aur_status status = aur_tree_delete(&run->world.writer, &run->tree, at->bytes, at->length,
                                            &run->world.error);
        CHECK_MSG(status == (value->present ? AUR_OK : AUR_NOT_FOUND), "delete gave %d: %s", status,
                  run->world.error.message);
        int64_t delta = value->present ? -1 : 0;
        value->present = false;
        return delta;
    }
    bool inserted;
    bool was_present = value->present;
    value->length =
        was_present && random_below(3) == 0 ? value->length : random_length(run->world.page_bytes);
    value->seed = random_u64();
    value->present = true;
    fill_value(value->seed, run->bytes, value->length);
    CHECK_WORLD(&run->world, aur_tree_put(&run->world.writer, &run->tree, at->bytes, at->length,
                                          run->bytes, value->length, &inserted, &run->world.error));
    CHECK(inserted == !was_present);
    return inserted ? 1 : 0;
}

/* Many writes in the order of their keys: neighbours, or further apart. */
typedef struct many_writes {
    experiment *run;
    size_t key;
    size_t left;
    size_t stride;
} many_writes;

static bool next_of_many(void *context, aur_tree_write *out) {
    many_writes *many = context;
    experiment *run = many->run;
    if (many->left == 0 || many->key >= KEYS)
        return false;
    const model_key *at = &run->keys[many->key];
    model_value *value = &run->now.values[many->key];
    const bool was_present = value->present;
    *out = (aur_tree_write){.key = at->bytes, .key_bytes = at->length};
    out->is_delete = random_below(10) < (run->shrinking ? 6 : 1);
    value->present = !out->is_delete;
    run->now.count += (uint64_t)value->present - (uint64_t)was_present;
    if (value->present) {
        if (!was_present || random_below(3) != 0)
            value->length = random_length(run->world.page_bytes);
        value->seed = random_u64();
        fill_value(value->seed, run->bytes, value->length);
        out->value = run->bytes;
        out->value_bytes = value->length;
    }
    many->key += 1 + random_below(many->stride);
    many->left--;
    return true;
}

static void change_many(experiment *run) {
    many_writes many = {run, random_below(KEYS), 1 + random_below(KEYS / 3), 1 + random_below(8)};
    CHECK_WORLD(&run->world, aur_tree_write_many(&run->world.writer, &run->tree, next_of_many,
                                                 &many, &run->world.error));
}

/* Ends the mini-transaction, keeping what the points want. */
static void end(experiment *run) {
    aur_lsn wanted[POINTS + 1];
    for (size_t at = 0; at < run->point_count; at++)
        wanted[at] = run->points[at].lsn;
    wanted[run->point_count] = UINT64_MAX - 1; /* the head, whatever its LSN becomes */
    run->now.lsn = world_end(&run->world, wanted, run->point_count + 1);
}

static void commit_some(experiment *run) {
    int64_t delta = 0;
    world_begin(&run->world);
    for (size_t changes = 1 + random_below(12); changes > 0; changes--)
        delta += change_one(run);
    if (delta != 0)
        CHECK_WORLD(&run->world,
                    aur_tree_add_count(&run->world.writer, &run->tree, delta, &run->world.error));
    run->now.count += (uint64_t)delta;
    if (random_below(6) == 0)
        change_many(run);
    end(run);
}

/* Keeps the present as a read point, in place of the oldest when there is no room. */
static void keep_point(experiment *run) {
    if (run->point_count == POINTS) {
        memmove(&run->points[0], &run->points[1], (POINTS - 1) * sizeof run->points[0]);
        run->point_count--;
    }
    run->points[run->point_count++] = run->now;
}

/* The volatile head is lost: everything after the newest point never happened. */
static void lose_some(experiment *run) {
    run->now = run->points[run->point_count - 1];
    world_lose_above(&run->world, run->now.lsn);
}

static void read_some(experiment *run) {
    size_t choice = random_below(run->point_count + 2);
    const model_point *point = choice < run->point_count ? &run->points[choice] : &run->now;
    for (size_t gets = 0; gets < 4; gets++)
        check_get(run, point, random_below(KEYS));
    check_get_many(run, point);
    check_scan(run, point, random_below(8) == 0, random_below(2) == 0, random_below(30));
}

static void run_experiment(uint32_t page_bytes, uint64_t budget_bytes, uint64_t lag, size_t commits,
                           bool fits) {
    experiment *run = calloc(1, sizeof *run);
    run->bytes = malloc(VALUE_MAX);
    run->other = malloc(VALUE_MAX);
    run->fits = fits;
    make_keys(run);
    world_open(&run->world, page_bytes, budget_bytes, lag);
    world_begin(&run->world);
    CHECK_WORLD(&run->world,
                aur_tree_create(&run->world.writer, 77, &run->tree, &run->world.error));
    end(run);
    keep_point(run);
    for (size_t commit = 0; commit < commits; commit++) {
        run->shrinking = commit / 150 % 2 == 1;
        commit_some(run);
        read_some(run);
        if (random_below(12) == 0)
            keep_point(run);
        if (random_below(100) == 0)
            lose_some(run);
        if (!fits && random_below(60) == 0)
            aur_buffer_set_budget(run->world.buffer, random_below(2 * budget_bytes));
        if (commit % 75 == 74) {
            check_everything(run, &run->now);
            check_everything(run, &run->points[random_below(run->point_count)]);
        }
    }
    world_begin(&run->world);
    CHECK_WORLD(&run->world, aur_tree_drop(&run->world.writer, &run->tree, &run->world.error));
    end(run);
    world_verify(&run->world, run->now.lsn, NULL, 0);
    check_everything(run, &run->points[run->point_count - 1]);
    world_close(&run->world);
    free(run->bytes);
    free(run->other);
    free(run);
}

TEST(pages_of_4_kib_in_a_tiny_pool) { run_experiment(4096, 64 << 10, 500, 600, false); }

TEST(pages_of_8_kib_in_a_small_pool) { run_experiment(8192, 1 << 20, 50, 600, false); }

TEST(pages_of_64_kib) { run_experiment(65536, 2 << 20, 2000, 300, false); }

TEST(everything_stays_in_the_pool) { run_experiment(8192, 512 << 20, 1000000000, 600, true); }

typedef struct ascending_writes {
    uint64_t next;
    uint64_t end;
    uint8_t key[8];
} ascending_writes;

static bool next_ascending(void *context, aur_tree_write *out) {
    ascending_writes *ascending = context;
    if (ascending->next == ascending->end)
        return false;
    aur_put64(ascending->key, __builtin_bswap64(ascending->next++));
    *out = (aur_tree_write){
        .key = ascending->key, .key_bytes = 8, .value = ascending->key, .value_bytes = 8};
    return true;
}

/* A load in the order of the keys fills pages, and writes a few records for each of them. */
TEST(a_sorted_load_is_a_few_records_a_page) {
    tree_world world;
    aur_tree tree;
    uint64_t count = 0;
    world_open(&world, 8192, 64 << 20, 1000000000);
    world_begin(&world);
    CHECK_WORLD(&world, aur_tree_create(&world.writer, 77, &tree, &world.error));
    (void)world_end(&world, NULL, 0);
    for (uint64_t part = 0; part < 10; part++) {
        ascending_writes writes = {.next = part * 2000, .end = (part + 1) * 2000};
        world_begin(&world);
        CHECK_WORLD(&world, aur_tree_write_many(&world.writer, &tree, next_ascending, &writes,
                                                &world.error));
        CHECK(world.mtr.records < 50);
        (void)world_end(&world, NULL, 0);
    }
    const aur_reader reader = world_reader(&world, world_head(&world));
    CHECK_WORLD(&world, aur_tree_count(&reader, &tree, &count, &world.error));
    CHECK_EQ_U64(count, 20000);
    aur_tree_check check = {0};
    CHECK_WORLD(&world, aur_tree_verify(&reader, &tree, &check, &world.error));
    CHECK(check.pages < 20000 * 24 / 8000 + 5);
    world_close(&world);
}
