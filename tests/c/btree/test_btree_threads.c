/*
 * Readers scan whole trees at read points while the writer goes on. At every read point all values
 * carry the same generation, so a reader that sees bytes of another moment notices.
 */
#include <stdatomic.h>

#include "tree_world.h"

enum { READERS = 3, KEYS = 400, GENERATIONS = 150, PAGE_BYTES = 4096 };

typedef struct race {
    tree_world world;
    aur_tree tree;
    pthread_mutex_t lock;
    aur_lsn published; /* newest read point, with its generation */
    uint64_t generation;
    aur_lsn in_use[READERS]; /* 0: none */
    atomic_bool stop;
    atomic_ulong scans;
} race;

typedef struct reader_thread {
    race *race;
    size_t index;
} reader_thread;

static size_t key_of(uint64_t number, uint8_t *key) {
    return (size_t)snprintf((char *)key, 64, "key %06llu", (unsigned long long)number);
}

/* Lengths change with the generation, so that pages split, merge and overflow all the time. */
static uint64_t length_of(uint64_t number, uint64_t generation) {
    uint64_t state = number * 1000003 + generation / 7;
    uint64_t length = harness_random_next(&state);
    return 8 + (length % 50 == 0 ? length % 20000 : length % 200);
}

/* A third of the keys is absent in each generation. */
static bool is_present(uint64_t number, uint64_t generation) {
    return (number + generation) % 3 != 0 || number == 0;
}

static void scan_once(race *race, aur_lsn read_point, uint64_t generation, uint8_t *bytes) {
    aur_error error;
    aur_reader reader = world_reader(&race->world, read_point);
    aur_tree_cursor cursor;
    uint64_t number = 0;
    aur_tree_cursor_open(&cursor, &reader, &race->tree);
    aur_status status = aur_tree_cursor_seek(&cursor, NULL, 0, false, &error);
    for (; number < KEYS; number++) {
        const uint8_t *key;
        uint8_t expected_key[64];
        size_t key_bytes;
        aur_value value;
        if (!is_present(number, generation))
            continue;
        CHECK_MSG(status == AUR_OK, "scan gave %d: %s", status, error.message);
        CHECK_OK(aur_tree_cursor_entry(&cursor, &key, &key_bytes, &value, &error));
        CHECK_EQ_U64(key_bytes, key_of(number, expected_key));
        CHECK(memcmp(key, expected_key, key_bytes) == 0);
        CHECK_EQ_U64(value.length, length_of(number, generation));
        CHECK_OK(aur_value_read(&reader, &value, bytes, &error));
        CHECK_EQ_U64(aur_get64(bytes), generation);
        CHECK(value.length == 8 || bytes[value.length - 1] == (uint8_t)generation ||
              value.length < 16);
        status = aur_tree_cursor_next(&cursor, &error);
    }
    CHECK_STATUS(status, AUR_NOT_FOUND);
    aur_tree_cursor_close(&cursor);
}

/* Neighbours at once; those that are not in the pool are left to the scans. */
static void get_many_once(race *race, aur_lsn read_point, uint64_t generation) {
    aur_reader reader = world_reader(&race->world, read_point);
    aur_tree_lookup lookups[AUR_TREE_LOOKUPS_MAX];
    uint8_t keys[AUR_TREE_LOOKUPS_MAX][64];
    for (uint64_t first = 0; first < KEYS; first += AUR_TREE_LOOKUPS_MAX) {
        for (uint64_t at = 0; at < AUR_TREE_LOOKUPS_MAX; at++) {
            lookups[at].key = keys[at];
            lookups[at].key_bytes = key_of(first + at, keys[at]);
        }
        aur_tree_get_many(&reader, &race->tree, lookups, AUR_TREE_LOOKUPS_MAX);
        for (uint64_t at = 0; at < AUR_TREE_LOOKUPS_MAX; at++) {
            const uint64_t number = first + at;
            const bool expected = number < KEYS && is_present(number, generation);
            const aur_status status = lookups[at].status;
            CHECK(status == (expected ? AUR_OK : AUR_NOT_FOUND) || status == AUR_WOULD_BLOCK);
            if (status == AUR_OK) {
                const aur_value *value = &lookups[at].value;
                CHECK_EQ_U64(value->length, length_of(number, generation));
                CHECK(value->data == NULL || aur_get64(value->data) == generation);
                aur_value_release(&reader, &lookups[at].value);
            }
        }
    }
}

static void *read_on(void *argument) {
    reader_thread *self = argument;
    race *race = self->race;
    uint8_t *bytes = malloc(1 << 16);
    while (!atomic_load(&race->stop)) {
        pthread_mutex_lock(&race->lock);
        aur_lsn read_point = race->published;
        uint64_t generation = race->generation;
        race->in_use[self->index] = read_point;
        pthread_mutex_unlock(&race->lock);
        scan_once(race, read_point, generation, bytes);
        get_many_once(race, read_point, generation);
        /* Once more: now parts of it have been evicted or superseded. */
        scan_once(race, read_point, generation, bytes);
        atomic_fetch_add(&race->scans, 1);
    }
    free(bytes);
    return NULL;
}

static void write_generation(race *race, uint64_t generation, uint8_t *bytes) {
    tree_world *world = &race->world;
    int64_t delta = 0;
    world_begin(world);
    for (uint64_t number = 0; number < KEYS; number++) {
        uint8_t key[64];
        size_t key_bytes = key_of(number, key);
        bool inserted = false;
        if (is_present(number, generation)) {
            uint64_t length = length_of(number, generation);
            memset(bytes, (int)(generation & 0xff), length);
            aur_put64(bytes, generation);
            CHECK_WORLD(world, aur_tree_put(&world->writer, &race->tree, key, key_bytes, bytes,
                                            length, &inserted, &world->error));
            delta += inserted;
        } else {
            aur_status status =
                aur_tree_delete(&world->writer, &race->tree, key, key_bytes, &world->error);
            CHECK(status == AUR_OK || status == AUR_NOT_FOUND);
            delta -= status == AUR_OK;
        }
    }
    CHECK_WORLD(world, aur_tree_add_count(&world->writer, &race->tree, delta, &world->error));
}

static int compare_points(const void *left, const void *right) {
    aur_lsn a = *(const aur_lsn *)left;
    aur_lsn b = *(const aur_lsn *)right;
    return a < b ? -1 : a > b;
}

/* Ends the mini-transaction, keeps what readers use, and shows the new generation to them. */
static void publish_generation(race *race, uint64_t generation) {
    aur_lsn points[READERS + 1];
    pthread_mutex_lock(&race->lock);
    memcpy(points, race->in_use, sizeof race->in_use);
    points[READERS] = race->published;
    pthread_mutex_unlock(&race->lock);
    qsort(points, READERS + 1, sizeof points[0], compare_points);
    aur_lsn lsn = world_end(&race->world, points, READERS + 1);
    pthread_mutex_lock(&race->lock);
    race->published = lsn;
    race->generation = generation;
    pthread_mutex_unlock(&race->lock);
}

static void run_race(uint64_t budget_bytes, uint64_t lag) {
    race *race = calloc(1, sizeof *race);
    pthread_t threads[READERS];
    reader_thread arguments[READERS];
    uint8_t *bytes = malloc(1 << 16);
    CHECK_OK(pthread_mutex_init(&race->lock, NULL));
    world_open(&race->world, PAGE_BYTES, budget_bytes, lag);
    race->tree = (aur_tree){AUR_DEFAULT_ROOT_PAGE, AUR_DEFAULT_TABLE};
    write_generation(race, 1, bytes);
    publish_generation(race, 1);
    for (size_t at = 0; at < READERS; at++) {
        arguments[at] = (reader_thread){race, at};
        CHECK_OK(pthread_create(&threads[at], NULL, read_on, &arguments[at]));
    }
    for (uint64_t generation = 2; generation < GENERATIONS; generation++) {
        write_generation(race, generation, bytes);
        publish_generation(race, generation);
        if (generation % 16 == 0)
            aur_buffer_set_budget(race->world.buffer,
                                  generation % 32 == 0 ? budget_bytes : 1 << 16);
    }
    atomic_store(&race->stop, true);
    for (size_t at = 0; at < READERS; at++)
        CHECK_OK(pthread_join(threads[at], NULL));
    CHECK(atomic_load(&race->scans) > 0);
    world_verify(&race->world, race->published, NULL, 0);
    world_close(&race->world);
    pthread_mutex_destroy(&race->lock);
    free(bytes);
    free(race);
}

TEST(readers_see_one_moment_from_a_tiny_pool) { run_race(128 << 10, 300); }

TEST(readers_see_one_moment_from_a_large_pool) { run_race(64 << 20, 300); }
