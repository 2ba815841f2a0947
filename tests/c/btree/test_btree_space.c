/* The page space against an array of flags: lowest fit, runs over several bitmaps, limits. */
#include "tree_world.h"

enum { PAGE_BYTES = 4096, GROUP_PAGES = (PAGE_BYTES - AUR_PAGE_BODY_AT) * 8, GROUPS = 4 };
enum { LIMIT = GROUPS * GROUP_PAGES - 1000, RUNS = 400 };

typedef struct run_of_pages {
    aur_page_id first;
    uint64_t count;
} run_of_pages;

typedef struct space_model {
    bool used[LIMIT]; /* bitmap pages too, from the start */
    run_of_pages runs[RUNS];
    size_t run_count;
} space_model;

static bool is_bitmap(uint64_t page) { return page % GROUP_PAGES == AUR_FIRST_BITMAP_PAGE; }

/* Lowest run that fits, LIMIT when none does. */
static uint64_t lowest_fit(const space_model *model, uint64_t count) {
    uint64_t length = 0;
    uint64_t first = LIMIT;
    for (uint64_t page = 0; page < LIMIT && length < count; page++) {
        if (is_bitmap(page))
            continue;
        if (model->used[page])
            length = 0;
        else if (length++ == 0)
            first = page;
    }
    return length == count ? first : LIMIT;
}

static void set_run(space_model *model, const run_of_pages *run, bool used) {
    uint64_t page = run->first;
    for (uint64_t left = run->count; left > 0; page++) {
        if (is_bitmap(page))
            continue;
        CHECK(model->used[page] != used);
        model->used[page] = used;
        left--;
    }
}

static void allocate(tree_world *world, space_model *model) {
    run_of_pages run = {.count = 1 + random_below(40)};
    if (random_below(3) == 0)
        run.count = 1;
    else if (random_below(20) == 0)
        run.count = 1 + random_below(2 * GROUP_PAGES);
    uint64_t expected = lowest_fit(model, run.count);
    aur_status status =
        aur_space_allocate(world->space, &world->mtr, run.count, &run.first, &world->error);
    if (expected == LIMIT) {
        CHECK_STATUS(status, AUR_ERR_FULL);
        return;
    }
    CHECK_WORLD(world, status);
    CHECK_EQ_U64(run.first, expected);
    set_run(model, &run, true);
    model->runs[model->run_count++] = run;
}

static void free_one(tree_world *world, space_model *model) {
    size_t at = random_below(model->run_count);
    run_of_pages run = model->runs[at];
    CHECK_WORLD(world,
                aur_space_free(world->space, &world->mtr, run.first, run.count, &world->error));
    set_run(model, &run, false);
    model->runs[at] = model->runs[--model->run_count];
}

static void check_totals(tree_world *world, const space_model *model) {
    uint64_t used;
    uint64_t expected_used = 0;
    aur_page_id extent;
    uint64_t expected_extent = 0;
    uint64_t groups;
    CHECK_WORLD(world, aur_space_used(world->space, &used, &world->error));
    CHECK_WORLD(world, aur_space_extent(world->space, &extent, &world->error));
    for (uint64_t page = 0; page < LIMIT; page++) {
        if (!is_bitmap(page) && model->used[page]) {
            expected_used++;
            expected_extent = page + 1;
        }
    }
    /* Bitmaps stay once they exist; they count, and the last one may be the highest page. */
    CHECK(used > expected_used && used <= expected_used + GROUPS);
    groups = used - expected_used;
    uint64_t last_bitmap_end = (groups - 1) * GROUP_PAGES + AUR_FIRST_BITMAP_PAGE + 1;
    CHECK_EQ_U64(extent, expected_extent > last_bitmap_end ? expected_extent : last_bitmap_end);
}

TEST(runs_are_the_lowest_that_fit) {
    tree_world world;
    space_model *model = calloc(1, sizeof *model);
    world_open(&world, PAGE_BYTES, 1 << 20, 10);
    aur_space_destroy(world.space);
    CHECK_OK(aur_space_create(world.buffer, PAGE_BYTES, LIMIT, &world.space));
    model->used[AUR_META_PAGE] = true;
    model->used[AUR_CATALOG_ROOT_PAGE] = true;
    model->used[AUR_DEFAULT_ROOT_PAGE] = true;
    for (size_t step = 0; step < 1500; step++) {
        world_begin(&world);
        bool grows = step / 100 % 2 == 0;
        if (model->run_count < RUNS && (model->run_count == 0 || random_below(4) < (grows ? 3 : 1)))
            allocate(&world, model);
        else
            free_one(&world, model);
        world_end(&world, NULL, 0);
        if (random_below(40) == 0)
            aur_space_forget(world.space);
        if (random_below(20) == 0)
            check_totals(&world, model);
    }
    world_close(&world);
    free(model);
}

TEST(freeing_what_is_not_in_use_is_refused) {
    tree_world world;
    aur_page_id first;
    world_open(&world, PAGE_BYTES, 1 << 20, 10);
    world_begin(&world);
    CHECK_OK(aur_space_allocate(world.space, &world.mtr, 10, &first, NULL));
    CHECK_STATUS(aur_space_free(world.space, &world.mtr, first, 11, NULL), AUR_ERR_CORRUPT);
    CHECK_STATUS(aur_space_free(world.space, &world.mtr, AUR_META_PAGE, 1, NULL), AUR_ERR_CORRUPT);
    CHECK_STATUS(aur_space_free(world.space, &world.mtr, AUR_FIRST_BITMAP_PAGE, 1, NULL),
                 AUR_ERR_CORRUPT);
    CHECK_STATUS(aur_space_free(world.space, &world.mtr, UINT64_MAX - 2, 5, NULL), AUR_ERR_CORRUPT);
    CHECK_STATUS(aur_space_free(world.space, &world.mtr, GROUP_PAGES * 3, 1, NULL),
                 AUR_ERR_CORRUPT);
    CHECK_OK(aur_space_free(world.space, &world.mtr, first, 10, NULL));
    world_end(&world, NULL, 0);
    world_close(&world);
}
