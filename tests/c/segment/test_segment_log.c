/* How long the hot log gets, and how far it reaches back. */
#include "../harness.h"
#include "volume_model.h"

enum { EXTENT_BYTES = 1 << 20, FRAMES = 4096, FRAME_BYTES = 4096, REACH = 120 };

static aur_segment *open_with_large_extents(const volume_model *model, aur_disk *disk) {
    aur_segment_options options;
    aur_segment *segment;
    aur_error error;
    aur_error_clear(&error);
    aur_segment_default_options(&options);
    options.extent_bytes = EXTENT_BYTES;
    options.memtable_bytes = 256 << 10; /* of frames that are mostly padding twice as much */
    CHECK_OK(aur_segment_create(disk, &model->identity, 1, 0, &error));
    CHECK_OK(aur_segment_open(disk, &model->identity, &options, &segment, &error));
    return segment;
}

/* 16 MiB of frames by one writer, whose storage worker keeps up: of a log of two extents each is
 * used again and again, and a quarter of it can always be read by a copy that catches up. */
TEST(a_log_goes_round_when_it_is_long_enough) {
    volume_model *model = model_create();
    aur_disk *disk;
    aur_segment_state state;
    aur_error error;
    uint64_t longest = 0;
    CHECK_OK(aur_disk_open_memory(&disk));
    aur_segment *segment = open_with_large_extents(model, aur_disk_acquire(disk));
    aur_error_clear(&error);
    aur_segment_get_state(segment, &state);
    CHECK_LE_U64(state.log_bytes, EXTENT_BYTES);
    for (size_t written = 0; written < FRAMES; written++) {
        const aur_frame *frame = model_write(model, 2);
        CHECK_LE_U64(frame->header.length, FRAME_BYTES);
        model->vdl = frame->header.last_lsn;
        model_ship(model, segment);
        model_work(segment);
        if (written >= REACH) {
            aur_frame *old = NULL;
            const aur_lsn after = model->frames[written - REACH]->header.last_lsn;
            CHECK_OK(aur_segment_next_frame(segment, after, &old, &error));
            aur_frame_release(old);
        }
        aur_segment_get_state(segment, &state);
        longest = state.log_bytes > longest ? state.log_bytes : longest;
    }
    CHECK_EQ_U64(longest, 2 * EXTENT_BYTES);
    model_check_all(model, segment, AUR_LSN_MAX);
    aur_segment_close(segment);
    aur_disk_close(disk);
    model_destroy(model);
}
