/* Page files against an array of extents: growing, holes, shrinking, and the volume's pages that
 * they take and give back. */
#include "btree/page_file.h"
#include "tree_world.h"

enum { PAGE_BYTES = 4096, TABLE = 7, EXTENTS = 3000, STEPS = 500 };

typedef struct file_model {
    aur_page_id first[EXTENTS]; /* 0: a hole */
    uint32_t pages;
    uint64_t extents;
} file_model;

static tree_world world;
static aur_tree map;

static void open_world(file_model *model) {
    memset(model, 0, sizeof *model);
    world_open(&world, PAGE_BYTES, 1 << 20, 10);
    world_begin(&world);
    CHECK_WORLD(&world, aur_tree_create(&world.writer, TABLE, &map, &world.error));
    CHECK_WORLD(&world, aur_page_file_create(&world.writer, &map, &world.error));
    world_end(&world, NULL, 0);
}

static uint64_t used_pages(void) {
    uint64_t used;
    CHECK_WORLD(&world, aur_space_used(world.space, &used, &world.error));
    return used;
}

static void extend(file_model *model, uint32_t extent) {
    CHECK_WORLD(&world, aur_page_file_extend(&world.writer, &map, extent, &model->first[extent],
                                             &world.error));
    model->extents++;
}

static void resize(file_model *model, uint32_t pages) {
    CHECK_WORLD(&world, aur_page_file_resize(&world.writer, &map, pages, &world.error));
    for (uint32_t extent = aur_extents_of(pages); extent < EXTENTS; extent++) {
        model->extents -= model->first[extent] != 0;
        model->first[extent] = 0;
    }
    model->pages = pages;
}

static void check_file(const file_model *model, aur_lsn read_point) {
    const aur_reader reader = world_reader(&world, read_point);
    uint32_t pages;
    uint64_t count;
    CHECK_WORLD(&world, aur_page_file_size(&reader, &map, &pages, &world.error));
    CHECK_EQ_U64(pages, model->pages);
    CHECK_WORLD(&world, aur_tree_count(&reader, &map, &count, &world.error));
    CHECK_EQ_U64(count, model->extents + 1);
    for (int look = 0; look < 40; look++) {
        const uint32_t extent = (uint32_t)random_below(EXTENTS);
        aur_page_id first = 0;
        const aur_status status = aur_page_file_find(&reader, &map, extent, &first, &world.error);
        CHECK_STATUS(status, model->first[extent] != 0 ? AUR_OK : AUR_NOT_FOUND);
        CHECK_EQ_U64(first, model->first[extent]);
    }
}

/* The map, the extents, the trees of the volume and its bitmaps agree to the page. */
static aur_status verify(aur_lsn read_point, bool with_extents) {
    const aur_reader reader = world_reader(&world, read_point);
    const aur_tree trees[] = {{AUR_CATALOG_ROOT_PAGE, AUR_CATALOG_TABLE},
                              {AUR_DEFAULT_ROOT_PAGE, AUR_DEFAULT_TABLE},
                              map};
    aur_tree_check check = {.seen_bits = 1 << 20};
    check.seen = calloc(1, check.seen_bits / 8);
    CHECK(check.seen != NULL);
    for (size_t at = 0; at < 3; at++)
        CHECK_WORLD(&world, aur_tree_verify(&reader, &trees[at], &check, &world.error));
    aur_status status =
        with_extents ? aur_page_file_verify(&reader, &map, &check, &world.error) : AUR_OK;
    if (status == AUR_OK)
        status = aur_space_verify(&reader, &check, &world.error);
    free(check.seen);
    return status;
}

static void change(file_model *model) {
    const uint64_t kind = random_below(10);
    for (uint64_t left = kind < 6 ? 1 + random_below(12) : 0; left > 0; left--) {
        const uint32_t extent = (uint32_t)random_below(aur_extents_of(model->pages) + 1);
        if (extent >= EXTENTS || model->first[extent] != 0)
            continue;
        if (extent == aur_extents_of(model->pages) && model->pages / 8 + 9 < EXTENTS)
            resize(model, model->pages + 1 + (uint32_t)random_below(8 * AUR_EXTENT_PAGES));
        if (extent < aur_extents_of(model->pages))
            extend(model, extent);
    }
    if (kind == 6)
        resize(model, model->pages - (uint32_t)random_below(model->pages / 8 + 1));
    else if (kind == 7)
        resize(model, model->pages);
    else if (kind == 8 && random_below(6) == 0)
        resize(model, 0);
}

TEST(a_file_follows_its_model) {
    static file_model model;
    static file_model past;
    aur_lsn moment = 0;
    open_world(&model);
    const uint64_t used = used_pages();
    for (int step = 0; step < STEPS; step++) {
        world_begin(&world);
        change(&model);
        const aur_lsn lsn = world_end(&world, &moment, moment == 0 ? 0 : 1);
        if (random_below(20) == 0)
            check_file(&model, lsn);
        if (step % 100 == 40) {
            past = model;
            moment = lsn;
        }
        if (step % 100 == 90) {
            check_file(&past, moment);
            CHECK_WORLD(&world, verify(lsn, true));
            CHECK(used_pages() >= used + model.extents * AUR_EXTENT_PAGES);
        }
    }
    world_begin(&world);
    CHECK_WORLD(&world, aur_page_file_drop(&world.writer, &map, &world.error));
    world_end(&world, NULL, 0);
    world_verify(&world, world_head(&world), NULL, 0);
    world_close(&world);
}

/* A run steps over bitmap pages; its pages are none of anybody else's. */
TEST(extents_step_over_bitmaps) {
    enum { GROUP_PAGES = (PAGE_BYTES - AUR_PAGE_BODY_AT) * 8 };
    static file_model model;
    aur_page_id filler;
    bool has_stepped = false;
    open_world(&model);
    world_begin(&world);
    CHECK_WORLD(&world, aur_space_allocate(world.space, &world.mtr, GROUP_PAGES - 61, &filler,
                                           &world.error));
    resize(&model, 16 * AUR_EXTENT_PAGES);
    for (uint32_t extent = 0; extent < 16; extent++) {
        extend(&model, extent);
        const aur_page_id last =
            aur_space_page_of_run(PAGE_BYTES, model.first[extent], AUR_EXTENT_PAGES - 1);
        has_stepped |= last - model.first[extent] == AUR_EXTENT_PAGES;
        for (uint32_t page = 0; page < AUR_EXTENT_PAGES; page++)
            CHECK(aur_space_page_of_run(PAGE_BYTES, model.first[extent], page) % GROUP_PAGES !=
                  AUR_FIRST_BITMAP_PAGE);
    }
    CHECK(has_stepped);
    CHECK_WORLD(&world,
                aur_space_free(world.space, &world.mtr, filler, GROUP_PAGES - 61, &world.error));
    world_end(&world, NULL, 0);
    CHECK_WORLD(&world, verify(world_head(&world), true));
    world_close(&world);
}

/* ---- what verify finds ---- */

static void put_raw(const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                    int64_t added) {
    bool is_new;
    world_begin(&world);
    CHECK_WORLD(&world, aur_tree_put(&world.writer, &map, key, key_bytes, value, value_bytes,
                                     &is_new, &world.error));
    CHECK_WORLD(&world, aur_tree_add_count(&world.writer, &map, added, &world.error));
    world_end(&world, NULL, 0);
}

TEST(maps_that_contradict_the_volume_are_refused) {
    static file_model model;
    const uint8_t second[AUR_EXTENT_KEY_BYTES] = {0, 0, 0, 1};
    const uint8_t zeros[AUR_MAP_EXTENT_BYTES] = {0};
    uint8_t first[AUR_MAP_EXTENT_BYTES];
    uint32_t pages;
    open_world(&model);
    world_begin(&world);
    resize(&model, 20);
    extend(&model, 0);
    world_end(&world, NULL, 0);
    CHECK_OK(verify(world_head(&world), true));
    CHECK_STATUS(verify(world_head(&world), false), AUR_ERR_CORRUPT); /* pages of nobody */
    aur_put64(first, model.first[0]);
    put_raw(second, sizeof second, first, sizeof first, 1); /* an extent twice */
    CHECK_STATUS(verify(world_head(&world), true), AUR_ERR_CORRUPT);
    aur_put64(first, model.first[0] + 1000); /* pages that are free */
    put_raw(second, sizeof second, first, sizeof first, 0);
    CHECK_STATUS(verify(world_head(&world), true), AUR_ERR_CORRUPT);
    put_raw(second, sizeof second, zeros, 7, 0); /* cut short */
    CHECK_STATUS(verify(world_head(&world), true), AUR_ERR_CORRUPT);
    const aur_reader reader = world_reader(&world, world_head(&world));
    aur_page_id found;
    CHECK_STATUS(aur_page_file_find(&reader, &map, 1, &found, &world.error), AUR_ERR_CORRUPT);
    CHECK_OK(aur_page_file_size(&reader, &map, &pages, &world.error));
    CHECK_EQ_U64(pages, 20);
    put_raw(second, 0, zeros, 5, 0); /* the size */
    const aur_reader later = world_reader(&world, world_head(&world));
    CHECK_STATUS(aur_page_file_size(&later, &map, &pages, &world.error), AUR_ERR_CORRUPT);
    world_close(&world);
}
