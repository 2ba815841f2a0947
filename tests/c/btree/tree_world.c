#include "tree_world.h"

#include "format/record.h"

enum { IMAGE_INTERVAL = 32 };

/* Everything that ever happened to one page. */
typedef struct page_image {
    size_t records; /* how many of them it includes */
    uint8_t *page;
} page_image;

typedef struct page_history {
    aur_page_id page_id;
    uint8_t **records; /* encoded */
    size_t count;
    page_image *images;
    size_t image_count;
    uint8_t *current;
} page_history;

struct aur_log {
    pthread_mutex_t lock;
    uint32_t page_bytes;
    uint64_t lag;
    uint8_t *scratch;
    uint8_t *read_scratch;
    aur_lsn last_lsn; /* allocated */
    aur_lsn head;
    aur_lsn hardened;
    uint64_t reads, announcements, redo_bytes;
    aur_page_id last_read, last_announced;
    bool tolerate;
    void (*damage)(uint8_t *page, uint32_t page_bytes);
    page_history *pages; /* open addressing */
    size_t capacity;
    size_t used;
};

static page_history *find_history(aur_log *log, aur_page_id page_id) {
    size_t at = (page_id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (log->capacity - 1);
    while (log->pages[at].records != NULL && log->pages[at].page_id != page_id)
        at = (at + 1) & (log->capacity - 1);
    return &log->pages[at];
}

static page_history *history_of(aur_log *log, aur_page_id page_id) {
    if (log->used * 2 >= log->capacity) {
        page_history *old = log->pages;
        size_t old_capacity = log->capacity;
        log->capacity = old_capacity * 2;
        log->pages = calloc(log->capacity, sizeof *log->pages);
        for (size_t at = 0; at < old_capacity; at++) {
            if (old[at].records != NULL)
                *find_history(log, old[at].page_id) = old[at];
        }
        free(old);
    }
    page_history *history = find_history(log, page_id);
    if (history->records == NULL) {
        history->page_id = page_id;
        history->records = malloc(sizeof *history->records);
        history->current = calloc(1, log->page_bytes);
        log->used++;
    }
    return history;
}

static aur_record decode(const uint8_t *bytes) {
    aur_record record;
    size_t used;
    CHECK_OK(aur_record_decode(bytes, aur_get32(bytes), &record, &used));
    return record;
}

static void keep_image(aur_log *log, page_history *history) {
    history->images =
        realloc(history->images, (history->image_count + 1) * sizeof *history->images);
    page_image *image = &history->images[history->image_count++];
    image->records = history->count;
    image->page = malloc(log->page_bytes);
    memcpy(image->page, history->current, log->page_bytes);
}

aur_status aur_log_begin(aur_log *log, aur_lsn *start_out, aur_error *error) {
    (void)error;
    *start_out = log->head;
    return AUR_OK;
}

aur_status aur_log_append(aur_log *log, aur_record *record, aur_error *error) {
    (void)error;
    pthread_mutex_lock(&log->lock);
    record->lsn = ++log->last_lsn;
    page_history *history = history_of(log, record->page_id);
    uint8_t *bytes = malloc(aur_record_bytes(record));
    aur_record_encode(record, bytes);
    log->redo_bytes += aur_record_bytes(record);
    history->records = realloc(history->records, (history->count + 1) * sizeof(uint8_t *));
    history->records[history->count++] = bytes;
    aur_status status = aur_page_apply(history->current, log->page_bytes, record, log->scratch);
    CHECK(status == AUR_OK || log->tolerate);
    if (history->count % IMAGE_INTERVAL == 0)
        keep_image(log, history);
    pthread_mutex_unlock(&log->lock);
    return AUR_OK;
}

aur_lsn aur_log_end(aur_log *log) {
    pthread_mutex_lock(&log->lock);
    log->head = log->last_lsn;
    if (log->head > log->lag && log->head - log->lag > log->hardened)
        log->hardened = log->head - log->lag;
    pthread_mutex_unlock(&log->lock);
    return log->head;
}

void aur_log_fail(aur_log *log, const aur_error *why) {
    (void)log;
    FAIL("mini-transaction failed: %s", why->message);
}

/* The state of a page after the records up to `read_point`. */
static aur_status replay(aur_log *log, const page_history *history, aur_lsn read_point,
                         uint8_t *page) {
    size_t count = 0;
    size_t high = history->count;
    while (count < high) {
        size_t middle = (count + high) / 2;
        if (aur_get64(history->records[middle] + AUR_RECORD_LSN_AT) <= read_point)
            count = middle + 1;
        else
            high = middle;
    }
    if (count == 0)
        return AUR_NOT_FOUND;
    size_t done = 0;
    memset(page, 0, log->page_bytes);
    for (size_t at = history->image_count; at > 0 && done == 0; at--) {
        if (history->images[at - 1].records <= count) {
            done = history->images[at - 1].records;
            memcpy(page, history->images[at - 1].page, log->page_bytes);
        }
    }
    for (; done < count; done++) {
        aur_record record = decode(history->records[done]);
        aur_status status = aur_page_apply(page, log->page_bytes, &record, log->read_scratch);
        CHECK(status == AUR_OK || log->tolerate);
        if (status != AUR_OK)
            return status;
    }
    return AUR_OK;
}

static aur_status read_page(void *context, aur_page_id page_id, aur_lsn read_point, uint8_t *page,
                            aur_error *error) {
    aur_log *log = context;
    (void)error;
    pthread_mutex_lock(&log->lock);
    const page_history *history = find_history(log, page_id);
    aur_lsn visible = read_point < log->hardened ? read_point : log->hardened;
    aur_status status =
        history->records == NULL ? AUR_NOT_FOUND : replay(log, history, visible, page);
    log->reads++;
    log->last_read = page_id;
    if (status == AUR_OK && log->damage != NULL)
        log->damage(page, log->page_bytes);
    pthread_mutex_unlock(&log->lock);
    return status;
}

static void will_read(void *context, aur_page_id page_id, aur_lsn read_point) {
    aur_log *log = context;
    (void)read_point;
    pthread_mutex_lock(&log->lock);
    log->announcements++;
    log->last_announced = page_id;
    pthread_mutex_unlock(&log->lock);
}

static aur_lsn hardened(void *context) {
    aur_log *log = context;
    pthread_mutex_lock(&log->lock);
    aur_lsn lsn = log->hardened;
    pthread_mutex_unlock(&log->lock);
    return lsn;
}

static aur_status harden(void *context, aur_error *error) {
    aur_log *log = context;
    (void)error;
    pthread_mutex_lock(&log->lock);
    log->hardened = log->last_lsn;
    pthread_mutex_unlock(&log->lock);
    return AUR_OK;
}

static void free_history(page_history *history) {
    for (size_t at = 0; at < history->count; at++)
        free(history->records[at]);
    for (size_t at = 0; at < history->image_count; at++)
        free(history->images[at].page);
    free(history->records);
    free(history->images);
    free(history->current);
}

void world_open(tree_world *world, uint32_t page_bytes, uint64_t budget_bytes, uint64_t lag) {
    memset(world, 0, sizeof *world);
    world->page_bytes = page_bytes;
    world->scratch = malloc(page_bytes);
    aur_log *log = calloc(1, sizeof *log);
    CHECK_OK(pthread_mutex_init(&log->lock, NULL));
    log->page_bytes = page_bytes;
    log->lag = lag;
    log->scratch = malloc(page_bytes);
    log->read_scratch = malloc(page_bytes);
    log->capacity = 1024;
    log->pages = calloc(log->capacity, sizeof *log->pages);
    world->log = log;
    aur_page_source source = {.context = log,
                              .read_page = read_page,
                              .hardened = hardened,
                              .harden = harden,
                              .will_read = will_read};
    CHECK_OK(aur_buffer_create(page_bytes, budget_bytes, &source, &world->buffer));
    CHECK_OK(aur_space_create(world->buffer, page_bytes, UINT64_C(1) << 34, &world->space));
    world->writer = (aur_writer){&world->mtr, world->space};
    world_begin(world);
    CHECK_WORLD(world, aur_space_format(&world->mtr, &world->error));
    world_end(world, NULL, 0);
}

void world_close(tree_world *world) {
    aur_log *log = world->log;
    aur_space_destroy(world->space);
    aur_buffer_destroy(world->buffer);
    for (size_t at = 0; at < log->capacity; at++) {
        if (log->pages[at].records != NULL)
            free_history(&log->pages[at]);
    }
    free(log->pages);
    free(log->scratch);
    free(log->read_scratch);
    pthread_mutex_destroy(&log->lock);
    free(log);
    free(world->scratch);
}

void world_begin(tree_world *world) {
    CHECK_OK(aur_mtr_begin(&world->mtr, world->buffer, world->log, world->page_bytes,
                           world->scratch, &world->error));
}

aur_lsn world_end(tree_world *world, const aur_lsn *points, size_t count) {
    aur_lsn lsn = aur_mtr_end(&world->mtr);
    aur_buffer_publish(world->buffer, points, count);
    return lsn;
}

aur_lsn world_head(const tree_world *world) { return world->log->head; }

uint64_t world_reads(const tree_world *world) { return world->log->reads; }

aur_page_id world_last_read(const tree_world *world) { return world->log->last_read; }

uint64_t world_redo_bytes(const tree_world *world) { return world->log->redo_bytes; }

uint64_t world_announcements(const tree_world *world) { return world->log->announcements; }

aur_page_id world_last_announced(const tree_world *world) { return world->log->last_announced; }

void world_damage(tree_world *world, void (*damage)(uint8_t *page, uint32_t page_bytes)) {
    world->log->damage = damage;
}

void world_tolerate_damage(tree_world *world, bool tolerate) { world->log->tolerate = tolerate; }

void world_lose_above(tree_world *world, aur_lsn lsn) {
    aur_log *log = world->log;
    for (size_t at = 0; at < log->capacity; at++) {
        page_history *history = &log->pages[at];
        if (history->records == NULL)
            continue;
        while (history->count > 0 &&
               aur_get64(history->records[history->count - 1] + AUR_RECORD_LSN_AT) > lsn)
            free(history->records[--history->count]);
        while (history->image_count > 0 &&
               history->images[history->image_count - 1].records > history->count)
            free(history->images[--history->image_count].page);
        if (history->count > 0)
            CHECK_OK(replay(log, history, lsn, history->current));
    }
    log->head = lsn;
    log->hardened = lsn;
    /* Lost LSNs are not used again: a recovered writer goes on far above them. */
    log->last_lsn += 1000;
    log->head = log->last_lsn;
    CHECK_OK(aur_buffer_restart(world->buffer, lsn, NULL, 0));
    aur_space_forget(world->space);
}

void world_verify(tree_world *world, aur_lsn read_point, const aur_tree *trees, size_t count) {
    aur_reader reader = world_reader(world, read_point);
    const aur_tree own[] = {{AUR_CATALOG_ROOT_PAGE, AUR_CATALOG_TABLE},
                            {AUR_DEFAULT_ROOT_PAGE, AUR_DEFAULT_TABLE}};
    aur_tree_check check = {.seen_bits = 1 << 20};
    check.seen = calloc(1, check.seen_bits / 8);
    for (size_t at = 0; at < 2; at++)
        CHECK_WORLD(world, aur_tree_verify(&reader, &own[at], &check, &world->error));
    for (size_t at = 0; at < count; at++)
        CHECK_WORLD(world, aur_tree_verify(&reader, &trees[at], &check, &world->error));
    CHECK_WORLD(world, aur_space_verify(&reader, &check, &world->error));
    free(check.seen);
}

void fill_value(uint64_t seed, uint8_t *out, uint64_t length) {
    uint64_t state = seed;
    for (uint64_t at = 0; at < length; at += 8) {
        uint64_t word = harness_random_next(&state);
        memcpy(out + at, &word, length - at < 8 ? length - at : 8);
    }
}
