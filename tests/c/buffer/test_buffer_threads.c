/* Many threads at one pool: misses of one page read it once, and nobody sees a page change. */
#include <pthread.h>
#include <stdatomic.h>

#include "buffer/buffer.h"
#include "harness.h"

enum { PAGE_BYTES = 4096, PAGES = 200, READERS = 4, ROUNDS = 3000 };

typedef struct volume {
    aur_buffer *buffer;
    atomic_ulong reads;
    atomic_ulong head;
    atomic_bool stop;
    bool is_slow;
} volume;

static void make_page(uint8_t *bytes, aur_page_id page_id, aur_lsn lsn) {
    memset(bytes, (int)(lsn + page_id), PAGE_BYTES);
    aur_put64(bytes + AUR_PAGE_ID_AT, page_id);
    aur_put64(bytes + AUR_PAGE_LSN_AT, lsn);
}

static void check_page(const uint8_t *bytes, aur_page_id page_id, aur_lsn lsn) {
    CHECK_EQ_U64(aur_page_number(bytes), page_id);
    CHECK_EQ_U64(aur_page_lsn(bytes), lsn);
    for (size_t at = AUR_PAGE_BODY_AT; at < PAGE_BYTES; at += 97)
        CHECK(bytes[at] == (uint8_t)(lsn + page_id));
}

/* Page p changes at each LSN that is p modulo PAGES. */
static aur_lsn last_change(aur_page_id page_id, aur_lsn point) {
    aur_lsn back = (point + PAGES - page_id % PAGES) % PAGES;
    return point > back ? point - back : 0;
}

static aur_status read_page(void *context, aur_page_id page_id, aur_lsn read_point, uint8_t *page,
                            aur_error *error) {
    volume *volume = context;
    (void)error;
    if (volume->is_slow) {
        struct timespec pause = {0, 2000000};
        nanosleep(&pause, NULL);
    }
    aur_lsn head = atomic_load(&volume->head);
    aur_lsn lsn = last_change(page_id, read_point < head ? read_point : head);
    atomic_fetch_add(&volume->reads, 1);
    if (lsn == 0)
        return AUR_NOT_FOUND;
    make_page(page, page_id, lsn);
    return AUR_OK;
}

static aur_lsn hardened(void *context) { return atomic_load(&((volume *)context)->head); }

static aur_status harden(void *context, aur_error *error) {
    (void)context;
    (void)error;
    return AUR_OK;
}

static void open_volume(volume *volume, uint64_t budget_bytes) {
    memset(volume, 0, sizeof *volume);
    atomic_store(&volume->head, 10 * PAGES);
    aur_page_source source = {
        .context = volume, .read_page = read_page, .hardened = hardened, .harden = harden};
    CHECK_OK(aur_buffer_create(PAGE_BYTES, budget_bytes, &source, &volume->buffer));
}

static void *read_everything(void *argument) {
    volume *volume = argument;
    for (aur_page_id page = 0; page < 50; page++) {
        aur_page_ref ref;
        aur_lsn point = 10 * PAGES;
        CHECK_OK(aur_buffer_pin(volume->buffer, page, point, false, &ref, NULL));
        check_page(ref.page, page, last_change(page, point));
        aur_buffer_unpin(volume->buffer, &ref);
    }
    return NULL;
}

TEST(concurrent_misses_of_a_page_read_it_once) {
    volume volume;
    pthread_t threads[READERS];
    open_volume(&volume, 64 << 20);
    volume.is_slow = true;
    for (size_t at = 0; at < READERS; at++)
        CHECK_OK(pthread_create(&threads[at], NULL, read_everything, &volume));
    for (size_t at = 0; at < READERS; at++)
        CHECK_OK(pthread_join(threads[at], NULL));
    CHECK_EQ_U64(atomic_load(&volume.reads), 50);
    aur_buffer_destroy(volume.buffer);
}

static void *read_at_random(void *argument) {
    volume *volume = argument;
    uint64_t state = (uint64_t)(uintptr_t)&state;
    while (!atomic_load(&volume->stop)) {
        aur_page_ref ref;
        aur_page_id page = harness_random_next(&state) % PAGES;
        aur_lsn point = atomic_load(&volume->head) - harness_random_next(&state) % (2 * PAGES);
        CHECK_OK(aur_buffer_pin(volume->buffer, page, point, false, &ref, NULL));
        check_page(ref.page, page, last_change(page, point));
        if (state % 8 == 0)
            aur_buffer_unpin_once(volume->buffer, &ref);
        else
            aur_buffer_unpin(volume->buffer, &ref);
    }
    return NULL;
}

static void run_race(uint64_t budget_bytes) {
    volume volume;
    pthread_t threads[READERS];
    open_volume(&volume, budget_bytes);
    for (size_t at = 0; at < READERS; at++)
        CHECK_OK(pthread_create(&threads[at], NULL, read_at_random, &volume));
    for (size_t round = 0; round < ROUNDS; round++) {
        aur_page_ref ref = {NULL, NULL};
        aur_lsn start = atomic_load(&volume.head);
        aur_page_id page = (start + 1) % PAGES;
        CHECK_OK(aur_buffer_modify(volume.buffer, page, start, round % 3 != 0, &ref, NULL));
        check_page(ref.page, page, last_change(page, start));
        make_page(ref.page, page, start + 1);
        if (round % 8 == 0)
            aur_buffer_unpin_streamed(volume.buffer, &ref);
        else
            aur_buffer_unpin(volume.buffer, &ref);
        atomic_store(&volume.head, start + 1);
        aur_lsn points[] = {start - PAGES, start, start + 1};
        aur_buffer_publish(volume.buffer, points, 3);
        if (round % 500 == 0)
            aur_buffer_set_budget(volume.buffer,
                                  round % 1000 == 0 ? 20 * PAGE_BYTES : budget_bytes);
    }
    atomic_store(&volume.stop, true);
    for (size_t at = 0; at < READERS; at++)
        CHECK_OK(pthread_join(threads[at], NULL));
    aur_buffer_destroy(volume.buffer);
}

TEST(readers_and_a_writer_in_a_small_pool) { run_race(40 * PAGE_BYTES); }

TEST(readers_and_a_writer_in_a_large_pool) { run_race(64 << 20); }
