/*
 * The pool against a history of every page. A page's bytes say which page they are and as of which
 * LSN, so a pin at the wrong version is seen at once. Random commits, pins at old points,
 * evictions, budgets, losses of the volatile head, and rewinds to any older moment.
 */
#include "buffer/buffer.h"
#include "harness.h"

enum {
    PAGE_BYTES = 4096,
    PAGES = 60,
    POINTS = 6,
    VERSIONS_MAX = 20000,
    MOMENTS_MAX = 10000,
    REWINDS_MAX = 400,
};

/* LSNs at which each page changed, ascending, abandoned ones too: with the rewinds this is all
 * there is to know about it. */
typedef struct page_history {
    aur_lsn *lsns;
    size_t count;
} page_history;

typedef struct volume {
    page_history pages[PAGES];
    aur_lsn head;
    aur_lsn hardened;
    bool stuck; /* hardening does not go on */
    aur_buffer *buffer;
    aur_lsn points[POINTS]; /* ascending */
    size_t point_count;
    aur_lsn moments[MOMENTS_MAX]; /* at which head stood, ascending */
    size_t moment_count;
    aur_rewind rewinds[REWINDS_MAX];
    size_t rewind_count;
    const aur_rewind *pending; /* the pool hears of it in the middle of the next read */
} volume;

/* Newest change that a read at `point` sees, 0 when there is none. */
static aur_lsn version_at(const volume *volume, aur_page_id page_id, aur_lsn point) {
    const page_history *page = &volume->pages[page_id];
    size_t at = page->count;
    while (at > 0 &&
           !aur_history_visible(volume->rewinds, volume->rewind_count, point, page->lsns[at - 1]))
        at--;
    return at == 0 ? 0 : page->lsns[at - 1];
}

static void move_head(volume *volume, aur_lsn head) {
    volume->head = head;
    CHECK(volume->moment_count < MOMENTS_MAX);
    volume->moments[volume->moment_count++] = head;
}

static aur_lsn newest_rewind(const volume *volume) {
    return volume->rewind_count == 0 ? 0 : volume->rewinds[volume->rewind_count - 1].at;
}

static void make_page(uint8_t *bytes, aur_page_id page_id, aur_lsn lsn) {
    memset(bytes, (int)(lsn * 7 + page_id), PAGE_BYTES);
    aur_put64(bytes + AUR_PAGE_ID_AT, page_id);
    aur_put64(bytes + AUR_PAGE_LSN_AT, lsn);
}

static void check_page(const uint8_t *bytes, aur_page_id page_id, aur_lsn lsn) {
    uint8_t expected[PAGE_BYTES];
    CHECK_EQ_U64(aur_page_lsn(bytes), lsn);
    make_page(expected, page_id, lsn);
    CHECK(memcmp(bytes, expected, PAGE_BYTES) == 0);
}

static aur_status read_page(void *context, aur_page_id page_id, aur_lsn read_point, uint8_t *page,
                            aur_error *error) {
    volume *volume = context;
    (void)error;
    if (volume->pending != NULL) {
        CHECK_OK(aur_buffer_rewind(volume->buffer, volume->pending));
        volume->pending = NULL;
    }
    aur_lsn point = read_point < volume->hardened ? read_point : volume->hardened;
    aur_lsn lsn = version_at(volume, page_id, point);
    if (lsn == 0)
        return AUR_NOT_FOUND;
    make_page(page, page_id, lsn);
    return AUR_OK;
}

static aur_lsn hardened(void *context) { return ((volume *)context)->hardened; }

static aur_status harden(void *context, aur_error *error) {
    volume *volume = context;
    (void)error;
    if (!volume->stuck)
        volume->hardened = volume->head + 1000000; /* everything, also what is being written */
    return AUR_OK;
}

static void open_volume(volume *volume, uint64_t budget_bytes) {
    memset(volume, 0, sizeof *volume);
    move_head(volume, 1);
    aur_page_source source = {
        .context = volume, .read_page = read_page, .hardened = hardened, .harden = harden};
    for (size_t page = 0; page < PAGES; page++)
        volume->pages[page].lsns = malloc(VERSIONS_MAX * sizeof(aur_lsn));
    CHECK_OK(aur_buffer_create(PAGE_BYTES, budget_bytes, &source, &volume->buffer));
}

static void close_volume(volume *volume) {
    aur_buffer_destroy(volume->buffer);
    for (size_t page = 0; page < PAGES; page++)
        free(volume->pages[page].lsns);
}

/* Whether whoever reads, at a point or at the head that was, finds it in storage. */
static bool storage_has_points(const volume *volume) {
    bool has = volume->head <= volume->hardened;
    for (size_t at = 0; at < volume->point_count; at++)
        has &= volume->points[at] <= volume->hardened;
    return has;
}

/* One record: the page is formatted when it is new, and now and then when it is not. */
static void change(volume *volume, aur_lsn start, aur_lsn lsn, aur_page_id page_id) {
    page_history *page = &volume->pages[page_id];
    aur_page_ref ref = {NULL, NULL};
    const aur_lsn newest = version_at(volume, page_id, lsn);
    if (newest == 0 || random_below(5) == 0) {
        CHECK_OK(aur_buffer_create_page(volume->buffer, page_id, start, &ref, NULL));
    } else {
        if (random_below(2) == 0) {
            CHECK_OK(aur_buffer_pin_head(volume->buffer, page_id, &ref, NULL));
            check_page(ref.page, page_id, newest);
        }
        const bool keeps_past = !storage_has_points(volume) || random_below(2) == 0;
        CHECK_OK(aur_buffer_modify(volume->buffer, page_id, start, keeps_past, &ref, NULL));
        check_page(ref.page, page_id, newest);
    }
    make_page(ref.page, page_id, lsn);
    page->lsns[page->count++] = lsn;
    if (random_below(6) == 0)
        aur_buffer_unpin_streamed(volume->buffer, &ref);
    else
        aur_buffer_unpin(volume->buffer, &ref);
}

static void commit(volume *volume) {
    aur_lsn start = volume->head;
    aur_lsn lsn = start;
    for (size_t changes = 1 + random_below(20); changes > 0; changes--)
        change(volume, start, ++lsn, random_below(PAGES));
    move_head(volume, lsn);
    if (volume->hardened > lsn || random_below(3) == 0)
        volume->hardened = lsn; /* harden went ahead, or caught up */
    aur_lsn points[POINTS + 1];
    memcpy(points, volume->points, sizeof volume->points);
    points[volume->point_count] = volume->head;
    aur_buffer_publish(volume->buffer, points, volume->point_count + 1);
}

/* Now, or some moment of the past that storage has. */
static void keep_point(volume *volume) {
    aur_lsn lsn = volume->moments[random_below(volume->moment_count)];
    if (lsn > volume->hardened || random_below(3) != 0)
        lsn = volume->head;
    if (volume->point_count == POINTS) {
        memmove(volume->points, volume->points + 1, (POINTS - 1) * sizeof(aur_lsn));
        volume->point_count--;
    }
    size_t at = volume->point_count++;
    for (; at > 0 && volume->points[at - 1] > lsn; at--)
        volume->points[at] = volume->points[at - 1];
    volume->points[at] = lsn;
}

static void read_pages(volume *volume, bool may_commit) {
    aur_page_ref held[8];
    aur_page_id pages[8];
    aur_lsn lsns[8];
    size_t count = 0;
    for (size_t reads = 0; reads < 8; reads++) {
        size_t choice = random_below(volume->point_count + 1);
        aur_lsn point = choice < volume->point_count ? volume->points[choice] : volume->head;
        aur_page_id page_id = random_below(PAGES);
        bool cached_only = random_below(3) == 0;
        aur_lsn expected = version_at(volume, page_id, point);
        aur_page_ref ref = {NULL, NULL};
        aur_status status = aur_buffer_pin(volume->buffer, page_id, point, cached_only, &ref, NULL);
        if (cached_only && status == AUR_WOULD_BLOCK)
            continue;
        CHECK_STATUS(status, expected == 0 ? AUR_NOT_FOUND : AUR_OK);
        if (status != AUR_OK)
            continue;
        check_page(ref.page, page_id, expected);
        held[count] = ref;
        pages[count] = page_id;
        lsns[count++] = expected;
    }
    if (may_commit && random_below(4) == 0)
        commit(volume); /* B3: what is pinned stays as it is */
    while (count > 0) {
        count--;
        check_page(held[count].page, pages[count], lsns[count]);
        if (random_below(4) == 0)
            aur_buffer_unpin_once(volume->buffer, &held[count]);
        else
            aur_buffer_unpin(volume->buffer, &held[count]);
    }
}

/* Everything after a kept point is lost; the LSNs are not used again. */
static void lose_head(volume *volume) {
    if (volume->point_count == 0)
        return;
    const size_t kept = 1 + random_below(volume->point_count);
    aur_lsn lsn = volume->points[kept - 1];
    if (lsn <= newest_rewind(volume))
        return; /* VDL has never been below */
    volume->point_count = kept;
    while (volume->moments[volume->moment_count - 1] > lsn)
        volume->moment_count--;
    for (size_t page = 0; page < PAGES; page++) {
        page_history *history = &volume->pages[page];
        while (history->count > 0 && history->lsns[history->count - 1] > lsn)
            history->count--;
    }
    volume->head += 1000;
    volume->hardened = lsn;
    CHECK_OK(aur_buffer_restart(volume->buffer, lsn, volume->rewinds, volume->rewind_count));
}

/* Everything is durable, and history goes on from any moment. The pool hears of it at once, while
 * it reads, or only when service starts again. */
static void rewind_to_some(volume *volume) {
    if (volume->rewind_count == REWINDS_MAX)
        return;
    const aur_rewind rewind = {.at = volume->head,
                               .to = volume->moments[random_below(volume->moment_count)],
                               .kind = AUR_REWIND_BACKTRACK};
    volume->hardened = volume->head;
    volume->rewinds[volume->rewind_count++] = rewind; /* storage knows first */
    read_pages(volume, false);
    const uint64_t choice = random_below(3);
    if (choice == 0) {
        volume->pending = &rewind;
        read_pages(volume, false);
        volume->pending = NULL;
    }
    if (choice < 2)
        CHECK_OK(aur_buffer_rewind(volume->buffer, &rewind)); /* once more does no harm */
    else
        CHECK_OK(aur_buffer_restart(volume->buffer, rewind.at + 1, volume->rewinds,
                                    volume->rewind_count));
    read_pages(volume, false);
    move_head(volume, rewind.at + 1);
    volume->hardened = volume->head;
}

static void check_counts(volume *volume, uint64_t overshoot_bytes) {
    aur_buffer_counts counts;
    aur_buffer_get_counts(volume->buffer, &counts);
    CHECK(counts.versions >= counts.pages && counts.pages <= PAGES);
    CHECK(counts.used_bytes >= counts.versions * PAGE_BYTES);
    CHECK_LE_U64(counts.used_bytes, counts.budget_bytes + overshoot_bytes);
}

static void run_model(uint64_t budget_bytes, bool is_steady, uint64_t overshoot_bytes) {
    static volume volume;
    open_volume(&volume, budget_bytes);
    for (size_t round = 0; round < 6000; round++) {
        commit(&volume);
        read_pages(&volume, true);
        if (random_below(10) == 0)
            keep_point(&volume);
        if (random_below(40) == 0)
            rewind_to_some(&volume);
        if (random_below(50) == 0)
            lose_head(&volume);
        if (!is_steady && random_below(50) == 0)
            aur_buffer_set_budget(volume.buffer, random_below(budget_bytes));
        check_counts(&volume, overshoot_bytes);
    }
    close_volume(&volume);
}

/* B2: readers overshoot by what they pin, up to 8 pages here, when nothing else may go. */
TEST(versions_in_a_pool_of_twelve_pages) {
    run_model(12 * (PAGE_BYTES + 200), true, 9 * (PAGE_BYTES + 200));
}

TEST(versions_in_a_pool_that_changes_its_size) { run_model(200 * PAGE_BYTES, false, UINT32_MAX); }

TEST(versions_in_huge_pages_that_are_given_back) { run_model(64 << 20, false, UINT32_MAX); }

TEST(versions_in_a_large_pool) { run_model(64 << 20, true, 0); }

TEST(nothing_is_kept_for_points_that_are_gone) {
    volume volume;
    aur_buffer_counts counts;
    open_volume(&volume, 256 << 20);
    for (size_t round = 0; round < 3000; round++) {
        commit(&volume);
        if (round % 3 == 0)
            keep_point(&volume);
    }
    volume.point_count = 0;
    for (size_t round = 0; round < 300; round++)
        commit(&volume);
    aur_buffer_get_counts(volume.buffer, &counts);
    CHECK_EQ_U64(counts.versions, counts.pages);
    close_volume(&volume);
}

TEST(what_is_not_hardened_stays_whatever_the_budget) {
    volume volume;
    aur_buffer_counts counts;
    open_volume(&volume, 4 * PAGE_BYTES);
    volume.stuck = true;
    for (aur_page_id page = 0; page < PAGES; page++)
        change(&volume, 1, 2 + page, page);
    volume.head = 2 + PAGES;
    aur_buffer_set_budget(volume.buffer, 1);
    aur_buffer_get_counts(volume.buffer, &counts);
    CHECK_EQ_U64(counts.versions, PAGES);
    volume.hardened = volume.head;
    aur_buffer_set_budget(volume.buffer, 4 * PAGE_BYTES);
    aur_buffer_get_counts(volume.buffer, &counts);
    CHECK_LE_U64(counts.used_bytes, 4 * PAGE_BYTES);
    for (aur_page_id page = 0; page < PAGES; page++) {
        aur_page_ref ref;
        CHECK_OK(aur_buffer_pin(volume.buffer, page, volume.head, false, &ref, NULL));
        check_page(ref.page, page, 2 + page);
        aur_buffer_unpin(volume.buffer, &ref);
    }
    close_volume(&volume);
}

TEST(storage_that_forgets_a_change_is_found_out) {
    volume volume;
    aur_page_ref ref = {NULL, NULL};
    open_volume(&volume, 64 << 20);
    memcpy(volume.pages[5].lsns, (aur_lsn[]){3, 5, 10}, 3 * sizeof(aur_lsn));
    volume.pages[5].count = 3;
    volume.head = 10;
    volume.hardened = 10;
    for (aur_lsn point = 10; point >= 5; point -= 5) {
        CHECK_OK(aur_buffer_pin(volume.buffer, 5, point, false, &ref, NULL));
        check_page(ref.page, 5, point);
        aur_buffer_unpin(volume.buffer, &ref);
    }
    /* Now a copy answers that never got the change at 5. */
    volume.pages[5].lsns[1] = 10;
    volume.pages[5].count = 2;
    CHECK_STATUS(aur_buffer_pin(volume.buffer, 5, 8, false, &ref, NULL), AUR_ERR_CORRUPT);
    CHECK(ref.version == NULL);
    close_volume(&volume);
}
