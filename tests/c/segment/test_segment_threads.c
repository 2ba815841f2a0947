/* The thread rule of segment.h: one appender, one worker, and anybody reading, verifying and
 * checking at the same time. Meant for the thread sanitizer; what is read is compared with the
 * model at the end. */
#include <pthread.h>
#include <stdatomic.h>

#include "../harness.h"
#include "volume_model.h"

enum { FRAMES = 600 };

typedef struct shared {
    volume_model *model;
    aur_segment *segment;
    _Atomic aur_lsn durable;
    atomic_bool done;
} shared;

static void *work_thread(void *context) {
    shared *world = context;
    while (!atomic_load(&world->done)) {
        aur_error error;
        aur_error_clear(&error);
        CHECK(aur_segment_work(world->segment, &error) >= AUR_OK);
    }
    return NULL;
}

/* Two reads at one read point must agree, whatever was flushed or merged in between. */
static void *read_thread(void *context) {
    shared *world = context;
    uint64_t random = 1;
    uint8_t first[MODEL_PAGE_BYTES];
    uint8_t second[MODEL_PAGE_BYTES];
    while (!atomic_load(&world->done)) {
        aur_error error;
        aur_error_clear(&error);
        aur_lsn durable = atomic_load(&world->durable);
        aur_lsn at = durable == 0 ? 0 : 1 + harness_random_next(&random) % durable;
        aur_page_id page =
            MODEL_GROUP * MODEL_GROUP_PAGES + harness_random_next(&random) % MODEL_PAGES;
        aur_status status = aur_segment_read_page(world->segment, page, at, first, &error);
        CHECK_STATUS(aur_segment_read_page(world->segment, page, at, second, &error), status);
        CHECK(status >= AUR_OK);
        if (status == AUR_OK)
            CHECK_EQ_U64(model_page_sum(first), model_page_sum(second));
    }
    return NULL;
}

static void *check_thread(void *context) {
    shared *world = context;
    while (!atomic_load(&world->done)) {
        aur_verify_counts counts;
        aur_segment_state state;
        aur_error error;
        aur_error_clear(&error);
        CHECK_OK(aur_segment_verify(world->segment, NULL, NULL, &counts, &error));
        CHECK_EQ_U64(counts.damaged, 0);
        aur_segment_get_state(world->segment, &state);
        CHECK_MSG(aur_segment_check(world->segment, &error) == AUR_OK, "%s", error.message);
        aur_frame *frame;
        if (aur_segment_next_frame(world->segment, state.log_start, &frame, &error) == AUR_OK)
            aur_frame_release(frame);
        CHECK_OK(aur_segment_set_epoch(world->segment, 1, &error));
    }
    return NULL;
}

TEST(segment_serves_many_threads) {
    shared world = {.model = model_create()};
    char path[600];
    aur_disk *disk;
    aur_error error;
    pthread_t threads[4];
    void *(*entries[4])(void *) = {work_thread, read_thread, read_thread, check_thread};
    aur_error_clear(&error);
    CHECK_OK(aur_disk_open_posix(temp_path(path, sizeof path, "threads"), true, &disk, &error));
    world.segment = model_segment(world.model, disk);
    for (size_t at = 0; at < 4; at++)
        CHECK(pthread_create(&threads[at], NULL, entries[at], &world) == 0);
    for (unsigned at = 0; at < FRAMES; at++) {
        aur_lsn scl;
        aur_frame *frame = model_write(world.model, (uint32_t)(1 + random_below(30)));
        world.model->vdl = frame->header.last_lsn;
        CHECK_OK(aur_segment_append(world.segment, frame, &scl, &error));
        atomic_store(&world.durable, scl);
        aur_segment_set_vdl(world.segment, scl);
    }
    atomic_store(&world.done, true);
    for (size_t at = 0; at < 4; at++)
        CHECK(pthread_join(threads[at], NULL) == 0);
    for (unsigned round = 0; round < 20; round++)
        model_check_all(world.model, world.segment, random_below(world.model->next_lsn));
    aur_segment_close(world.segment);
    model_destroy(world.model);
}
