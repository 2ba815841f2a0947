/* Crashes and damage. I1: what a segment acknowledged is there after any crash. I5: a flipped bit
 * is never returned as data. I10: after a failed write the segment takes no more. */
#include "../harness.h"
#include "disk/faulty.h"
#include "volume_model.h"

enum { CRASH_FRAMES = 60 };

typedef struct crash_world {
    volume_model *model;
    aur_disk *disk; /* faulty over memory; ours */
    aur_segment *segment;
    aur_lsn acknowledged;
    aur_epoch promised;
} crash_world;

static aur_disk *faulty_disk(uint64_t seed) {
    aur_disk *inner;
    aur_disk *disk;
    CHECK_OK(aur_disk_open_memory(&inner));
    CHECK_OK(aur_disk_open_faulty(inner, seed, &disk));
    return disk;
}

static aur_status open_again(crash_world *world, aur_error *error) {
    aur_segment_options options;
    model_options(&options);
    aur_error_clear(error);
    aur_disk *disk = aur_disk_acquire(world->disk);
    aur_status status =
        aur_segment_open(disk, &world->model->identity, &options, &world->segment, error);
    if (status != AUR_OK)
        aur_disk_close(disk);
    return status;
}

/* Writes frames and works in the background until something fails. */
static void run_until_failure(crash_world *world) {
    for (unsigned at = 0; at < CRASH_FRAMES; at++) {
        aur_error error;
        aur_error_clear(&error);
        if (at < world->model->frame_count)
            continue; /* after a reopen the model has them */
        aur_lsn scl;
        aur_frame *frame = model_write(world->model, (uint32_t)(1 + random_below(30)));
        if (aur_segment_append(world->segment, frame, &scl, &error) != AUR_OK)
            return;
        world->acknowledged = scl;
        world->model->vdl = scl;
        aur_segment_set_vdl(world->segment, scl);
        /* What only the past saw is collected as it goes. */
        const aur_retention retention = {.horizon = random_below(scl + 1)};
        CHECK_OK(aur_segment_retain(world->segment, &retention));
        if (at % 7 == 3) {
            aur_epoch epoch = world->promised + 1;
            if (aur_segment_set_epoch(world->segment, epoch, &error) != AUR_OK)
                return;
            world->promised = epoch;
            world->model->epoch = epoch;
        }
        while (random_below(3) != 0) {
            aur_status status = random_below(4) == 0
                                    ? aur_segment_tidy(world->segment, AUR_TIDY_FLUSH, &error)
                                    : aur_segment_work(world->segment, &error);
            if (status < AUR_OK)
                return;
            if (status != AUR_OK)
                break;
        }
    }
}

/* Crashes at the n-th durable step, reopens, and checks; returns whether there was a crash at all.
 */
static bool crash_at(uint64_t n) {
    crash_world world = {.model = model_create(), .promised = 1};
    aur_segment_state state;
    aur_error error;
    world.disk = faulty_disk(random_u64());
    world.segment = model_segment(world.model, aur_disk_acquire(world.disk));
    aur_faulty_crash_after(world.disk, n);
    run_until_failure(&world);
    bool crashed =
        world.model->frame_count < CRASH_FRAMES || world.acknowledged < world.model->prev_lsn;
    aur_segment_get_state(world.segment, &state);
    crashed = crashed || state.health == AUR_SEGMENT_FAILED;
    if (crashed) {
        aur_lsn scl;
        CHECK(aur_segment_append(world.segment, world.model->frames[world.model->frame_count - 1],
                                 &scl, &error) != AUR_OK ||
              scl <= world.acknowledged);
    }
    aur_faulty_crash(world.disk);
    aur_segment_close(world.segment);
    aur_faulty_recover(world.disk);
    aur_faulty_crash_after(world.disk, UINT64_MAX);
    aur_status status = open_again(&world, &error);
    CHECK_MSG(status == AUR_OK, "step %" PRIu64 ": %d %s", n, status, error.message);
    aur_segment_get_state(world.segment, &state);
    CHECK_MSG(state.scl >= world.acknowledged,
              "step %" PRIu64 ": SCL %" PRIu64 " below acknowledged %" PRIu64, n, state.scl,
              world.acknowledged);
    CHECK(state.epoch >= world.promised && state.epoch <= world.promised + 1);
    CHECK_MSG(state.health == AUR_SEGMENT_OK, "step %" PRIu64 ": %s", n, state.damage.message);
    model_check_all(world.model, world.segment, state.scl);
    /* And it goes on from there. */
    world.model->epoch = state.epoch;
    model_ship(world.model, world.segment);
    model_write(world.model, 10);
    model_ship(world.model, world.segment);
    model_work(world.segment);
    model_check_all(world.model, world.segment, AUR_LSN_MAX);
    aur_segment_close(world.segment);
    CHECK_OK(open_again(&world, &error));
    model_check_all(world.model, world.segment, AUR_LSN_MAX);
    aur_segment_close(world.segment);
    aur_disk_close(world.disk);
    model_destroy(world.model);
    return crashed;
}

TEST(segment_keeps_what_it_acknowledged_through_a_crash_at_every_step) {
    uint64_t n = 0;
    while (crash_at(n))
        n++;
    CHECK(n > CRASH_FRAMES);
}

/* A segment with several layers and an unflushed log, closed. */
static void build_volume(crash_world *world) {
    world->model = model_create();
    world->disk = faulty_disk(random_u64());
    world->segment = model_segment(world->model, aur_disk_acquire(world->disk));
    for (unsigned at = 0; at < 300; at++) {
        world->model->vdl =
            model_write(world->model, (uint32_t)(1 + random_below(20)))->header.last_lsn;
        if (at % 8 == 0) {
            model_ship(world->model, world->segment);
            model_work(world->segment);
        }
    }
    model_ship(world->model, world->segment);
    aur_segment_close(world->segment);
}

typedef struct name_list {
    char names[64][64];
    uint64_t sizes[64];
    size_t count;
} name_list;

static bool collect_name(void *context, const char *name, uint64_t size_bytes) {
    name_list *list = context;
    CHECK(list->count < 64);
    snprintf(list->names[list->count], sizeof list->names[0], "%s", name);
    list->sizes[list->count++] = size_bytes;
    return true;
}

static bool collect_log(void *context, const char *name, uint64_t size_bytes) {
    return strncmp(name, "log-", 4) != 0 || collect_name(context, name, size_bytes);
}

/* A layer's bytes all count; so do the manifest's. Of the log, what comes before the replay point
 * and behind the last frame does not. */
static void check_damaged(crash_world *world, const char *name) {
    aur_segment_state state;
    aur_verify_counts counts;
    aur_error error;
    aur_status status = open_again(world, &error);
    if (status != AUR_OK) {
        CHECK_STATUS(status, AUR_ERR_CORRUPT);
        CHECK(strcmp(name, "manifest") == 0);
        return;
    }
    bool intact = true;
    aur_segment_get_state(world->segment, &state);
    for (uint32_t page = 0; page < MODEL_PAGES; page++) {
        intact &= model_check_page(world->model, world->segment, page, state.scl);
        intact &= model_check_page(world->model, world->segment, page, state.scl / 2);
    }
    if (state.scl < world->model->prev_lsn)
        CHECK(state.health == AUR_SEGMENT_DAMAGED);
    CHECK_OK(aur_segment_verify(world->segment, NULL, NULL, &counts, &error));
    if (strncmp(name, "layer-", 6) == 0)
        CHECK_LE_U64(1, counts.damaged);
    aur_segment_get_state(world->segment, &state);
    CHECK((intact && counts.damaged == 0) || state.health == AUR_SEGMENT_DAMAGED);
    aur_segment_close(world->segment);
}

/* Each damage is undone before the next, so each is met alone. Closing records the SCL in the
 * manifest, hence the manifest is put back too. */
TEST(segment_never_returns_damaged_bytes) {
    crash_world world = {0};
    name_list list = {0};
    build_volume(&world);
    CHECK_OK(aur_disk_list(world.disk, collect_name, &list, NULL));
    for (unsigned round = 0; round < 400; round++) {
        size_t chosen = random_below(list.count);
        if (list.sizes[chosen] == 0)
            continue;
        uint64_t offset = random_below(list.sizes[chosen]);
        uint8_t mask = (uint8_t)(1u << random_below(8));
        model_change_byte(world.disk, list.names[chosen], offset, mask);
        check_damaged(&world, list.names[chosen]);
        model_change_byte(world.disk, list.names[chosen], offset, mask);
    }
    aur_error error;
    CHECK_OK(open_again(&world, &error));
    model_check_all(world.model, world.segment, AUR_LSN_MAX);
    aur_segment_close(world.segment);
    aur_disk_close(world.disk);
    model_destroy(world.model);
}

/* Any file cut to any length, and put back afterwards. */
TEST(segment_survives_files_that_are_cut_off) {
    crash_world world = {0};
    name_list list = {0};
    build_volume(&world);
    CHECK_OK(aur_disk_list(world.disk, collect_name, &list, NULL));
    for (unsigned round = 0; round < 100; round++) {
        size_t chosen = random_below(list.count);
        const char *name = list.names[chosen];
        uint8_t *bytes = malloc(list.sizes[chosen]);
        aur_file *file;
        size_t length;
        CHECK(bytes != NULL);
        CHECK_OK(aur_disk_open_file(world.disk, name, AUR_FILE_READ, &file, NULL));
        CHECK_OK(aur_file_read(file, 0, bytes, list.sizes[chosen], &length, NULL));
        aur_file_close(file);
        CHECK_OK(aur_disk_replace(world.disk, name, bytes, random_below(length), NULL));
        check_damaged(&world, name);
        CHECK_OK(aur_disk_replace(world.disk, name, bytes, length, NULL));
        free(bytes);
    }
    aur_error error;
    CHECK_OK(open_again(&world, &error));
    model_check_all(world.model, world.segment, AUR_LSN_MAX);
    aur_segment_close(world.segment);
    aur_disk_close(world.disk);
    model_destroy(world.model);
}

/* A missing file: the segment opens, says so, and never returns wrong data. */
TEST(segment_opens_without_a_file) {
    crash_world world = {0};
    name_list list = {0};
    build_volume(&world);
    CHECK_OK(aur_disk_list(world.disk, collect_name, &list, NULL));
    for (size_t at = 0; at < list.count; at++) {
        aur_error error;
        aur_segment_state state;
        if (strncmp(list.names[at], "layer-", 6) != 0)
            continue;
        CHECK_OK(aur_disk_rename(world.disk, list.names[at], "aside", &error));
        CHECK_OK(open_again(&world, &error));
        aur_segment_get_state(world.segment, &state);
        CHECK(state.health == AUR_SEGMENT_DAMAGED &&
              strstr(state.damage.file, list.names[at]) != NULL);
        for (uint32_t page = 0; page < MODEL_PAGES; page++)
            model_check_page(world.model, world.segment, page, state.scl);
        aur_segment_close(world.segment);
        CHECK_OK(aur_disk_rename(world.disk, "aside", list.names[at], &error));
    }
    aur_disk_close(world.disk);
    model_destroy(world.model);
}

/* A hole in the middle of the log is damage, the log ends before it, and the lost frames can be
 * filled in. */
TEST(segment_names_a_hole_in_its_log) {
    crash_world world = {.model = model_create()};
    aur_segment_state state;
    aur_error error;
    world.disk = faulty_disk(7);
    world.segment = model_segment(world.model, aur_disk_acquire(world.disk));
    for (unsigned at = 0; at < 10; at++)
        world.model->vdl = model_write(world.model, 2)->header.last_lsn;
    model_ship(world.model, world.segment);
    aur_faulty_crash(world.disk); /* not closed: the manifest does not know the SCL */
    aur_segment_close(world.segment);
    aur_faulty_recover(world.disk);
    model_change_byte(world.disk, "log-0000000000000001", 4096 * 5 + AUR_FRAME_BODY_AT + 8, 1);
    CHECK_OK(open_again(&world, &error));
    aur_segment_get_state(world.segment, &state);
    CHECK_EQ_U64(state.scl, world.model->frames[3]->header.last_lsn);
    CHECK_EQ_U64(state.health, AUR_SEGMENT_DAMAGED);
    CHECK_STATUS(state.damage.status, AUR_ERR_CORRUPT);
    model_check_all(world.model, world.segment, state.scl);
    model_ship(world.model, world.segment);
    model_check_all(world.model, world.segment, AUR_LSN_MAX);
    aur_segment_close(world.segment);
    CHECK_OK(open_again(&world, &error));
    aur_segment_get_state(world.segment, &state);
    CHECK_EQ_U64(state.scl, world.model->prev_lsn);
    model_check_all(world.model, world.segment, AUR_LSN_MAX);
    aur_segment_close(world.segment);
    aur_disk_close(world.disk);
    model_destroy(world.model);
}

/* The same when what is lost is the first frame of an extent: the scan looks further than at the
 * place where the chain would go on. */
TEST(segment_names_a_hole_at_the_head_of_an_extent) {
    crash_world world = {.model = model_create()};
    aur_segment_state state;
    aur_error error;
    name_list names = {0};
    world.disk = faulty_disk(7);
    world.segment = model_segment(world.model, aur_disk_acquire(world.disk));
    while (names.count < 3) {
        world.model->vdl = model_write(world.model, 2)->header.last_lsn;
        model_ship(world.model, world.segment);
        names.count = 0;
        CHECK_OK(aur_disk_list(world.disk, collect_log, &names, NULL));
    }
    aur_faulty_crash(world.disk);
    aur_segment_close(world.segment);
    aur_faulty_recover(world.disk);
    model_change_byte(world.disk, "log-0000000000000002", 4096 + AUR_FRAME_MAGIC_AT, 1);
    CHECK_OK(open_again(&world, &error));
    aur_segment_get_state(world.segment, &state);
    CHECK_EQ_U64(state.health, AUR_SEGMENT_DAMAGED);
    CHECK(state.scl < world.model->prev_lsn);
    model_ship(world.model, world.segment);
    model_check_all(world.model, world.segment, AUR_LSN_MAX);
    aur_segment_close(world.segment);
    aur_disk_close(world.disk);
    model_destroy(world.model);
}

TEST(segment_fails_for_good_at_the_first_write_error) {
    crash_world world = {.model = model_create()};
    aur_segment_state state;
    aur_error error;
    aur_lsn scl;
    world.disk = faulty_disk(7);
    world.segment = model_segment(world.model, aur_disk_acquire(world.disk));
    CHECK_OK(aur_segment_append(world.segment, model_write(world.model, 2), &scl, &error));
    aur_faulty_set_dead(world.disk, true);
    CHECK_STATUS(aur_segment_append(world.segment, model_write(world.model, 2), &scl, &error),
                 AUR_ERR_IO);
    aur_faulty_set_dead(world.disk, false);
    CHECK_STATUS(aur_segment_append(world.segment, world.model->frames[1], &scl, &error),
                 AUR_ERR_IO);
    CHECK_STATUS(aur_segment_set_epoch(world.segment, 9, &error), AUR_ERR_IO);
    aur_segment_get_state(world.segment, &state);
    CHECK_EQ_U64(state.health, AUR_SEGMENT_FAILED);
    model_check_all(world.model, world.segment, world.model->frames[0]->header.last_lsn);
    aur_segment_close(world.segment);
    aur_disk_close(world.disk);
    model_destroy(world.model);
}
