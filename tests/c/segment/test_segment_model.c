/* A segment against a model: random frames, flushes, merges, reopens and truncations; every page at
 * every LSN must be what the records make of it (I6). */
#include "../harness.h"
#include "disk/faulty.h"
#include "volume_model.h"

/* Closes and opens again on the same disk; the disk lives through it because it is wrapped. */
static aur_segment *reopen(const volume_model *model, const char *path, aur_segment *segment) {
    aur_segment_options options;
    aur_segment_state before;
    aur_segment_state after;
    aur_error error;
    aur_disk *disk;
    aur_error_clear(&error);
    model_options(&options);
    aur_segment_get_state(segment, &before);
    aur_segment_close(segment);
    CHECK_OK(aur_disk_open_posix(path, false, &disk, &error));
    CHECK_OK(aur_segment_open(disk, &model->identity, &options, &segment, &error));
    aur_segment_get_state(segment, &after);
    CHECK_EQ_U64(after.scl, before.scl);
    CHECK_EQ_U64(after.epoch, before.epoch);
    CHECK_EQ_U64(after.layers, before.layers);
    CHECK_MSG(after.health == AUR_SEGMENT_OK, "%s", after.damage.message);
    return segment;
}

static aur_segment *create_on_posix(const volume_model *model, const char *path) {
    aur_disk *disk;
    aur_error error;
    aur_error_clear(&error);
    CHECK_OK(aur_disk_open_posix(path, true, &disk, &error));
    return model_segment(model, disk);
}

static void truncate_some(volume_model *model, aur_segment *segment) {
    aur_segment_state state;
    aur_error error;
    aur_error_clear(&error);
    model_ship(model, segment);
    aur_segment_get_state(segment, &state);
    /* Cut at the end of some frame at or above the VDL. */
    aur_lsn to = model->vdl;
    for (size_t at = model->frame_count;
         at > 0 && model->frames[at - 1]->header.last_lsn > model->vdl; at--) {
        if (random_below(3) == 0) {
            to = model->frames[at - 1]->header.last_lsn;
            break;
        }
    }
    aur_rewind rewind = {.at = model->next_lsn + 1000,
                         .to = to,
                         .epoch = model->epoch + 1,
                         .kind = AUR_REWIND_TRUNCATION};
    CHECK_OK(aur_segment_set_epoch(segment, rewind.epoch, &error));
    CHECK_OK(aur_segment_rewind(segment, &rewind, &error));
    CHECK_OK(aur_segment_rewind(segment, &rewind, &error));
    model->epoch++;
    model_truncate(model, to, rewind.at);
    model->vdl = to;
    aur_segment_get_state(segment, &state);
    CHECK_EQ_U64(state.scl, model->prev_lsn);
    CHECK_EQ_U64(state.epoch, model->epoch);
}

static void one_step(volume_model *model, aur_segment **segment, const char *path, unsigned step) {
    uint64_t choice = random_below(40);
    aur_lsn scl;
    aur_error error;
    aur_error_clear(&error);
    if (choice == 0) {
        *segment = reopen(model, path, *segment);
    } else if (choice == 1) {
        truncate_some(model, *segment);
    } else if (choice == 2 && random_below(6) == 0) {
        CHECK_OK(aur_segment_compact(*segment, &error));
    } else if (choice == 3) {
        model_tidy(*segment);
    } else if (choice < 8) {
        model_work(*segment);
    } else if (choice < 12) {
        aur_lsn at = random_below(model->next_lsn + 5);
        uint32_t page = (uint32_t)random_below(MODEL_PAGES);
        CHECK(model_check_page(model, *segment, page, at));
    } else {
        /* Now and then several large ones, which go into extents of another kind. */
        const uint64_t records_max = step % 500 < 20 ? 300 : 40;
        aur_frame *frame = model_write(model, (uint32_t)(1 + random_below(records_max)));
        if (random_below(4) != 0)
            model->vdl = frame->header.last_lsn;
        CHECK_OK(aur_segment_append(*segment, frame, &scl, &error));
        CHECK_EQ_U64(scl, frame->header.last_lsn);
        CHECK_OK(aur_segment_append(*segment, frame, &scl, &error));
    }
}

TEST(segment_agrees_with_the_model) {
    char path[600];
    volume_model *model = model_create();
    aur_segment *segment = create_on_posix(model, temp_path(path, sizeof path, "segment"));
    aur_segment_state state;
    for (unsigned step = 0; step < 4000; step++)
        one_step(model, &segment, path, step);
    model_ship(model, segment);
    model_work(segment);
    for (unsigned round = 0; round < 60; round++)
        model_check_all(model, segment, random_below(model->next_lsn + 1));
    model_check_all(model, segment, AUR_LSN_MAX);
    aur_segment_get_state(segment, &state);
    CHECK(state.layers > 0);
    CHECK_MSG(state.health == AUR_SEGMENT_OK, "%s", state.damage.message);
    aur_error error;
    aur_error_clear(&error);
    CHECK_OK(aur_segment_compact(segment, &error));
    aur_segment_get_state(segment, &state);
    CHECK_EQ_U64(state.deltas, 0);
    for (unsigned round = 0; round < 60; round++)
        model_check_all(model, segment, random_below(model->next_lsn + 1));
    aur_segment_close(segment);
    model_destroy(model);
}

TEST(segment_hands_out_its_frames_in_order) {
    char path[600];
    volume_model *model = model_create();
    aur_segment *segment = create_on_posix(model, temp_path(path, sizeof path, "frames"));
    aur_error error;
    aur_frame *frame;
    aur_error_clear(&error);
    for (unsigned at = 0; at < 20; at++)
        model_write(model, 3);
    model_ship(model, segment);
    aur_lsn after = 0;
    for (size_t at = 0; at < model->frame_count; at++) {
        CHECK_OK(aur_segment_next_frame(segment, after, &frame, &error));
        CHECK(frame == model->frames[at]);
        after = frame->header.last_lsn;
        aur_frame_release(frame);
    }
    CHECK_STATUS(aur_segment_next_frame(segment, after, &frame, &error), AUR_NOT_FOUND);
    aur_segment_close(segment);
    model_destroy(model);
}

/* A copy that fell behind is brought up from what the log still holds, flushed or not. */
TEST(segment_hands_out_frames_that_were_flushed) {
    char path[600];
    volume_model *model = model_create();
    aur_segment *segment = create_on_posix(model, temp_path(path, sizeof path, "behind"));
    aur_segment_state state;
    aur_error error;
    aur_error_clear(&error);
    for (unsigned at = 0; at < 600; at++) {
        model->vdl = model_write(model, (uint32_t)(1 + random_below(30)))->header.last_lsn;
        if (at == 150) {
            aur_rewind rewind = {.at = model->next_lsn + 100,
                                 .to = model->vdl,
                                 .epoch = 2,
                                 .kind = AUR_REWIND_TRUNCATION};
            model_write(model, 5);
            model_ship(model, segment);
            CHECK_OK(aur_segment_rewind(segment, &rewind, &error));
            model_truncate(model, rewind.to, rewind.at);
            model->epoch = 2;
        }
        model_ship(model, segment);
        model_work(segment);
        aur_segment_get_state(segment, &state);
        aur_lsn after = state.log_start;
        for (size_t frame_at = 0; frame_at < model->frame_count; frame_at++) {
            aur_frame *frame;
            const aur_frame *expected = model->frames[frame_at];
            if (expected->header.prev_lsn < state.log_start || at % 20 != 0)
                continue;
            CHECK_EQ_U64(expected->header.prev_lsn, after);
            CHECK_OK(aur_segment_next_frame(segment, after, &frame, &error));
            CHECK_EQ_MEM(frame->bytes, expected->bytes, expected->header.length);
            after = frame->header.last_lsn;
            aur_frame_release(frame);
        }
    }
    aur_frame *frame;
    CHECK(state.log_start > 0 &&
          state.log_start < model->frames[model->frame_count - 20]->header.last_lsn);
    CHECK_STATUS(aur_segment_next_frame(segment, 0, &frame, &error), AUR_GAP);
    aur_segment_close(segment);
    model_destroy(model);
}

TEST(segment_refuses_what_does_not_belong) {
    char path[600];
    volume_model *model = model_create();
    aur_segment *segment = create_on_posix(model, temp_path(path, sizeof path, "refuses"));
    aur_error error;
    aur_lsn scl;
    aur_error_clear(&error);
    aur_frame *first = model_write(model, 3);
    aur_frame *second = model_write(model, 3);
    CHECK_STATUS(aur_segment_append(segment, second, &scl, &error), AUR_GAP);
    CHECK_OK(aur_segment_append(segment, first, &scl, &error));
    CHECK_OK(aur_segment_set_epoch(segment, 5, &error));
    CHECK_STATUS(aur_segment_append(segment, second, &scl, &error), AUR_ERR_FENCED);
    CHECK_STATUS(aur_segment_fill(segment, second, 4, &scl, &error), AUR_ERR_FENCED);
    CHECK_OK(aur_segment_fill(segment, second, 5, &scl, &error));
    CHECK_EQ_U64(scl, second->header.last_lsn);
    CHECK_STATUS(aur_segment_set_epoch(segment, 4, &error), AUR_ERR_FENCED);
    aur_rewind late = {.at = 900, .to = scl, .epoch = 4, .kind = AUR_REWIND_TRUNCATION};
    CHECK_STATUS(aur_segment_rewind(segment, &late, &error), AUR_ERR_FENCED);
    aur_rewind cut = {.at = 900, .to = scl - 1, .epoch = 6, .kind = AUR_REWIND_TRUNCATION};
    CHECK_STATUS(aur_segment_rewind(segment, &cut, &error), AUR_ERR_INVALID);
    uint8_t page[MODEL_PAGE_BYTES];
    CHECK_STATUS(aur_segment_read_page(segment, 3, scl, page, &error), AUR_ERR_INVALID);
    aur_segment_close(segment);
    model_destroy(model);
}

/* I4: a frame that was in flight when a newer writer was promised is not acknowledged. */
TEST(segment_fences_a_frame_in_flight) {
    char path[600];
    volume_model *model = model_create();
    aur_segment *segment = create_on_posix(model, temp_path(path, sizeof path, "fence"));
    aur_error error;
    aur_lsn scl;
    aur_ring_write write;
    aur_ring_write next;
    aur_error_clear(&error);
    aur_frame *first = model_write(model, 3);
    aur_frame *second = model_write(model, 3);
    CHECK_OK(aur_segment_append_begin(segment, first, &write, &error));
    CHECK_STATUS(aur_segment_append_begin(segment, first, &next, &error), AUR_WOULD_BLOCK);
    CHECK_OK(aur_segment_append_begin(segment, second, &next, &error));
    CHECK_OK(aur_file_write(write.file, write.offset, write.buffer, write.length, &error));
    CHECK_OK(aur_file_write(next.file, next.offset, next.buffer, next.length, &error));
    write.status = AUR_OK;
    next.status = AUR_OK;
    CHECK_OK(aur_segment_append_end(segment, first, &write, &scl, &error));
    CHECK_OK(aur_segment_set_epoch(segment, 2, &error));
    CHECK_STATUS(aur_segment_append_end(segment, second, &next, &scl, &error), AUR_ERR_FENCED);
    CHECK_EQ_U64(scl, first->header.last_lsn);
    /* Recovery found it durable elsewhere and brings it back: the log then holds it twice. */
    CHECK_OK(aur_segment_fill(segment, second, 2, &scl, &error));
    model->epoch = 2;
    model_write(model, 4);
    model_ship(model, segment);
    segment = reopen(model, path, segment);
    model_check_all(model, segment, AUR_LSN_MAX);
    aur_segment_close(segment);
    model_destroy(model);
}

/* When nothing is written any more, the log shrinks to one small extent, and the base takes the
 * deltas in. */
TEST(segment_is_small_when_it_is_tidy) {
    char path[600];
    volume_model *model = model_create();
    aur_segment *segment = create_on_posix(model, temp_path(path, sizeof path, "tidy"));
    aur_segment_state state;
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned at = 0; at < 60; at++)
            model->vdl = model_write(model, (uint32_t)(1 + random_below(40)))->header.last_lsn;
        model_ship(model, segment);
        aur_segment_get_state(segment, &state);
        CHECK_LE_U64(256 << 10, state.log_bytes);
        model_tidy(segment);
        aur_segment_get_state(segment, &state);
        CHECK_EQ_U64(state.log_bytes, 128 << 10);
        CHECK_EQ_U64(state.unflushed_bytes, 0);
        CHECK_LE_U64(state.delta_bytes, state.layer_bytes / 32);
        segment = reopen(model, path, segment);
        model_check_all(model, segment, AUR_LSN_MAX);
        model_check_all(model, segment, random_below(model->next_lsn + 1));
    }
    aur_segment_close(segment);
    model_destroy(model);
}
