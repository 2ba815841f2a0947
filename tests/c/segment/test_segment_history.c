/*
 * History against a model that keeps every version: backtracks to and fro, retention with pins,
 * compaction, copies that follow, clones (I6, I7). A read at a retained moment is right, one at any
 * other moment is right or refused.
 */
#include "../harness.h"
#include "disk/faulty.h"
#include "volume_model.h"

enum { COPIES = 2, PINS_MAX = 6, STEPS = 800 };

typedef struct history_world {
    volume_model *model;
    aur_disk *disks[COPIES];
    aur_segment *segments[COPIES]; /* the second follows the first */
    aur_lsn horizon;
    aur_lsn pins[PINS_MAX];
    size_t pin_count;
} history_world;

static aur_segment *open_copy(history_world *world, size_t copy) {
    aur_segment_options options;
    aur_segment *segment;
    aur_error error;
    aur_error_clear(&error);
    model_options(&options);
    world->model->identity.copy = (uint32_t)copy;
    aur_status status = aur_segment_open(aur_disk_acquire(world->disks[copy]),
                                         &world->model->identity, &options, &segment, &error);
    CHECK_MSG(status == AUR_OK, "%s", error.message);
    return segment;
}

static void create_world(history_world *world) {
    *world = (history_world){.model = model_create()};
    world->model->keeps_bytes = true;
    for (size_t copy = 0; copy < COPIES; copy++) {
        CHECK_OK(aur_disk_open_memory(&world->disks[copy]));
        world->model->identity.copy = (uint32_t)copy;
        CHECK_OK(aur_segment_create(world->disks[copy], &world->model->identity, 1, 0, NULL));
        world->segments[copy] = open_copy(world, copy);
    }
}

static void destroy_world(history_world *world) {
    for (size_t copy = 0; copy < COPIES; copy++) {
        aur_segment_close(world->segments[copy]);
        aur_disk_close(world->disks[copy]);
    }
    model_destroy(world->model);
}

static bool is_retained(const history_world *world, aur_lsn lsn) {
    for (size_t at = 0; at < world->pin_count; at++)
        if (world->pins[at] == lsn)
            return true;
    return lsn >= world->horizon;
}

static void tell_retention(const history_world *world) {
    aur_lsn below[PINS_MAX];
    aur_retention retention = {.horizon = world->horizon, .points = below};
    for (size_t at = 0; at < world->pin_count; at++) {
        if (world->pins[at] >= world->horizon)
            continue;
        size_t place = retention.count++;
        for (; place > 0 && below[place - 1] > world->pins[at]; place--)
            below[place] = below[place - 1];
        below[place] = world->pins[at];
    }
    for (size_t copy = 0; copy < COPIES; copy++)
        CHECK_OK(aur_segment_retain(world->segments[copy], &retention));
}

static void check_moment(const history_world *world, aur_segment *segment, aur_lsn lsn) {
    uint8_t bytes[MODEL_PAGE_BYTES];
    for (uint32_t page = 0; page < MODEL_PAGES; page++) {
        aur_status status = aur_segment_read_page(segment, MODEL_GROUP * MODEL_GROUP_PAGES + page,
                                                  lsn, bytes, NULL);
        if (status == AUR_ERR_SNAPSHOT) {
            CHECK_MSG(!is_retained(world, lsn), "page %u at %" PRIu64 " is refused", page, lsn);
            continue;
        }
        CHECK(model_check_page(world->model, segment, page, lsn));
    }
}

static aur_lsn random_moment(const history_world *world) {
    aur_lsn newest = world->model->next_lsn - 1;
    return world->horizon + random_below(newest - world->horizon + 1);
}

/* Every frame is a commit. Those at and above the newest one at or below the horizon are known. */
static void check_commits(const history_world *world, aur_segment *segment) {
    const volume_model *model = world->model;
    aur_commit_mark mark;
    aur_error error;
    aur_error_clear(&error);
    aur_lsn lsn = random_moment(world);
    const aur_frame_header *found = NULL;
    const aur_frame_header *anchor = NULL;
    uint64_t count = 0;
    for (size_t at = 0; at < model->frame_count; at++) {
        const aur_frame_header *header = &model->frames[at]->header;
        anchor = header->last_lsn <= world->horizon ? header : anchor;
        found = header->last_lsn <= lsn ? header : found;
        count += header->last_lsn > world->horizon && header->last_lsn <= lsn;
    }
    if (found == NULL) {
        CHECK_STATUS(aur_segment_commit_at_lsn(segment, lsn, &mark, &error), AUR_NOT_FOUND);
        return;
    }
    aur_status status = aur_segment_commit_at_lsn(segment, lsn, &mark, &error);
    CHECK_MSG(status == AUR_OK, "%d %s", status, error.message);
    CHECK_EQ_U64(mark.lsn, found->last_lsn);
    CHECK_EQ_U64(mark.time_us, found->time_us);
    CHECK_OK(aur_segment_commit_at_time(segment, found->time_us, &mark, &error));
    CHECK(mark.lsn >= found->last_lsn && mark.time_us == found->time_us);
    uint64_t counted;
    CHECK_OK(aur_segment_count_commits(segment, world->horizon, lsn, &counted, &error));
    CHECK_EQ_U64(counted, count);
}

static void check_some(const history_world *world, size_t copy) {
    aur_segment *segment = world->segments[copy];
    check_commits(world, segment);
    check_moment(world, segment, AUR_LSN_MAX);
    check_moment(world, segment, random_moment(world));
    check_moment(world, segment, random_below(world->model->next_lsn));
    for (size_t at = 0; at < world->pin_count; at++)
        check_moment(world, segment, world->pins[at]);
}

static void backtrack(history_world *world) {
    if (world->model->rewind_count == MODEL_REWINDS_MAX)
        return;
    aur_rewind rewind = model_rewind(world->model, random_moment(world));
    world->model->vdl = rewind.at + 1;
    for (size_t copy = 0; copy < COPIES; copy++) {
        aur_error error;
        CHECK_OK(aur_segment_rewind(world->segments[copy], &rewind, &error));
        aur_segment_set_vdl(world->segments[copy], world->model->vdl);
    }
}

static void change_pins(history_world *world) {
    if (world->pin_count < PINS_MAX && random_below(2) == 0) {
        world->pins[world->pin_count++] = random_moment(world);
    } else if (world->pin_count > 0) {
        size_t gone = random_below(world->pin_count);
        world->pins[gone] = world->pins[--world->pin_count];
    }
    tell_retention(world);
}

static void write_some(history_world *world) {
    for (unsigned frames = 1 + (unsigned)random_below(4); frames > 0; frames--)
        model_write(world->model, (uint32_t)(1 + random_below(12)));
    world->model->vdl = world->model->next_lsn - 1;
    for (size_t copy = 0; copy < COPIES; copy++)
        model_ship(world->model, world->segments[copy]);
}

static void follow(history_world *world) {
    aur_error error;
    aur_segment_state leader;
    aur_segment_state follower;
    aur_error_clear(&error);
    aur_status status = AUR_OK;
    while (status == AUR_OK)
        status = aur_segment_follow(world->segments[1], world->segments[0], &error);
    CHECK_MSG(status == AUR_NOT_FOUND, "%d %s", status, error.message);
    aur_segment_get_state(world->segments[0], &leader);
    aur_segment_get_state(world->segments[1], &follower);
    CHECK_EQ_U64(follower.flushed_lsn, leader.flushed_lsn);
    CHECK_EQ_U64(follower.layer_bytes, leader.layer_bytes);
}

static void reopen(history_world *world, size_t copy) {
    aur_segment_state before;
    aur_segment_state after;
    aur_segment_get_state(world->segments[copy], &before);
    aur_segment_close(world->segments[copy]);
    world->segments[copy] = open_copy(world, copy);
    aur_segment_get_state(world->segments[copy], &after);
    CHECK_EQ_U64(after.scl, before.scl);
    CHECK_EQ_U64(after.layer_bytes, before.layer_bytes);
    CHECK_MSG(after.health == AUR_SEGMENT_OK, "%s", after.damage.message);
    tell_retention(world);
}

/* A copy is lost and made anew from the other one. It knows no layer numbers but those that are
 * left, and must give none of them to another layer. */
static void rebuild(history_world *world) {
    size_t lost = random_below(COPIES);
    aur_segment_identity identity = world->model->identity;
    aur_disk *disk;
    aur_error error;
    aur_error_clear(&error);
    aur_segment_close(world->segments[lost]);
    aur_disk_close(world->disks[lost]);
    CHECK_OK(aur_disk_open_memory(&disk));
    identity.copy = (uint32_t)lost;
    CHECK_OK(aur_segment_copy(world->segments[1 - lost], disk, &identity, NULL, NULL, &error));
    world->disks[lost] = disk;
    world->segments[lost] = open_copy(world, lost);
    tell_retention(world);
}

static void one_step(history_world *world) {
    aur_error error;
    switch (random_below(13)) {
    case 12:
        if (random_below(3) == 0)
            rebuild(world);
        break;
    case 0:
        backtrack(world);
        break;
    case 1:
        change_pins(world);
        break;
    case 2:
        if (random_below(3) == 0)
            world->horizon = random_moment(world);
        tell_retention(world);
        break;
    case 3:
        reopen(world, random_below(COPIES));
        break;
    case 4:
        follow(world);
        break;
    case 5:
        if (random_below(5) == 0)
            CHECK_OK(aur_segment_compact(world->segments[0], &error));
        break;
    case 6:
        model_work(world->segments[0]);
        break;
    case 7:
        check_some(world, random_below(COPIES));
        break;
    default:
        write_some(world);
    }
}

TEST(history_agrees_with_a_model_that_keeps_everything) {
    history_world world;
    create_world(&world);
    for (unsigned step = 0; step < STEPS; step++)
        one_step(&world);
    model_work(world.segments[0]);
    follow(&world);
    for (size_t copy = 0; copy < COPIES; copy++)
        for (unsigned round = 0; round < 40; round++)
            check_some(&world, copy);
    destroy_world(&world);
}

/* Versions of all pages that some retained moment sees. */
static uint64_t count_needed(const history_world *world) {
    uint64_t needed = 0;
    for (uint32_t number = 0; number < MODEL_PAGES; number++) {
        const model_page *page = &world->model->pages[number];
        for (size_t at = 0; at < page->count; at++) {
            const model_version *version = &page->versions[at];
            bool wanted = version->lsn > world->horizon ||
                          model_seen(world->model, number, world->horizon) == version;
            for (size_t pin = 0; pin < world->pin_count; pin++)
                wanted = wanted || model_seen(world->model, number, world->pins[pin]) == version;
            for (size_t turn = 0; turn < world->model->rewind_count; turn++) {
                const aur_rewind *rewind = &world->model->rewinds[turn];
                wanted = wanted || (rewind->at >= world->horizon && rewind->to < world->horizon &&
                                    model_seen(world->model, number, rewind->to) == version);
            }
            needed += wanted;
        }
    }
    return needed;
}

/* What compaction leaves: every needed version once, and images, of which there is one for a chain
 * of 17 records or half a page, and one for the newest version. */
TEST(history_keeps_what_is_needed_and_no_more) {
    for (unsigned round = 0; round < 6; round++) {
        history_world world;
        aur_verify_counts counts;
        aur_error error;
        create_world(&world);
        for (unsigned step = 0; step < 150; step++) {
            write_some(&world);
            if (random_below(10) == 0)
                backtrack(&world);
            if (random_below(20) == 0)
                change_pins(&world);
        }
        world.horizon = random_moment(&world);
        tell_retention(&world);
        CHECK_OK(aur_segment_compact(world.segments[0], &error));
        CHECK_OK(aur_segment_verify(world.segments[0], NULL, NULL, &counts, &error));
        uint64_t needed = count_needed(&world);
        CHECK_LE_U64(needed, counts.records);
        CHECK_LE_U64(counts.records, needed + needed / 4 + 2 * MODEL_PAGES);
        /* With nothing but the present retained, nothing but the present is kept. */
        world.pin_count = 0;
        world.horizon = world.model->vdl + 1;
        tell_retention(&world);
        aur_lsn vdl = world.model->vdl;
        while (world.model->next_lsn <= world.horizon + 1)
            write_some(&world);
        CHECK(vdl < world.model->vdl);
        world.horizon = world.model->vdl;
        tell_retention(&world);
        CHECK_OK(aur_segment_compact(world.segments[0], &error));
        CHECK_OK(aur_segment_verify(world.segments[0], NULL, NULL, &counts, &error));
        CHECK_LE_U64(counts.records, MODEL_PAGES);
        check_moment(&world, world.segments[0], AUR_LSN_MAX);
        destroy_world(&world);
    }
}

/* The limit of history is kept with it: half of the LSNs passed, half of the history; and nothing
 * is left to be collected where a compaction has been. */
TEST(garbage_is_the_share_that_the_horizon_has_passed) {
    history_world world;
    aur_segment_state all;
    aur_segment_state passed;
    aur_segment_state collected;
    aur_error error;
    create_world(&world);
    for (unsigned step = 0; step < 150; step++) {
        write_some(&world);
    }
    CHECK_OK(aur_segment_compact(world.segments[0], &error));
    aur_segment_get_state(world.segments[0], &all);
    CHECK_LE_U64(1, all.history_bytes);
    CHECK_EQ_U64(all.garbage_bytes, 0);
    world.horizon = world.model->vdl / 2;
    tell_retention(&world);
    aur_segment_get_state(world.segments[0], &passed);
    CHECK_EQ_U64(passed.history_bytes, all.history_bytes);
    CHECK_LE_U64(passed.history_bytes / 4, passed.garbage_bytes);
    CHECK_LE_U64(passed.garbage_bytes, passed.history_bytes / 4 * 3);
    CHECK_OK(aur_segment_compact(world.segments[0], &error));
    aur_segment_get_state(world.segments[0], &collected);
    CHECK_EQ_U64(collected.garbage_bytes, 0);
    CHECK(collected.history_bytes < all.history_bytes);
    destroy_world(&world);
}

/* A clone of a past moment sees that moment at its head, and the parent's history before it. */
TEST(history_of_a_clone) {
    for (unsigned round = 0; round < 8; round++) {
        history_world world;
        aur_segment_snapshot *snapshot;
        aur_segment *clone;
        aur_segment_options options;
        aur_disk *disk;
        aur_error error;
        aur_error_clear(&error);
        create_world(&world);
        for (unsigned step = 0; step < 200; step++)
            one_step(&world);
        write_some(&world);
        aur_lsn vdl = world.model->vdl;
        aur_lsn past = random_moment(&world);
        CHECK_OK(aur_segment_pin(world.segments[0], &snapshot, &error));
        for (unsigned step = 0; step < 50; step++)
            write_some(&world); /* the parent goes on */
        model_work(world.segments[0]);
        aur_rewind rewind = {.at = vdl, .to = past, .epoch = 1, .kind = AUR_REWIND_BACKTRACK};
        aur_segment_identity identity = world.model->identity;
        memset(identity.volume_id, 0x77, sizeof identity.volume_id);
        CHECK_OK(aur_disk_open_memory(&disk));
        CHECK_OK(aur_segment_clone(snapshot, disk, &identity, vdl, &rewind, NULL, NULL, &error));
        aur_segment_unpin(snapshot);
        model_options(&options);
        aur_status status = aur_segment_open(disk, &identity, &options, &clone, &error);
        CHECK_MSG(status == AUR_OK, "%s", error.message);
        tell_retention(&world);
        for (uint32_t page = 0; page < MODEL_PAGES; page++) {
            uint8_t bytes[MODEL_PAGE_BYTES];
            const model_version *seen = model_seen(world.model, page, past);
            status = aur_segment_read_page(clone, MODEL_GROUP * MODEL_GROUP_PAGES + page, vdl + 1,
                                           bytes, &error);
            CHECK_STATUS(status, seen == NULL ? AUR_NOT_FOUND : AUR_OK);
            CHECK(seen == NULL || model_page_sum(bytes) == seen->sum);
        }
        check_moment(&world, clone, past);
        status = aur_segment_compact(clone, &error);
        CHECK_MSG(status == AUR_OK, "%s", error.message);
        check_moment(&world, clone, past);
        aur_segment_close(clone);
        destroy_world(&world);
    }
}
