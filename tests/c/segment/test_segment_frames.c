/* The bytes of frames: large buffers come back, and no two frames ever have the same one. */
#include "../harness.h"
#include "segment/frame_buffer.h"
#include "segment/frame_memory.h"

enum { FRAMES = 40, ROUNDS = 4000, LARGE_BYTES = 1 << 20 };

static bool is_filled(const aur_frame *frame, uint8_t with) {
    for (uint32_t at = 0; at < frame->capacity; at += 512) {
        if (frame->bytes[at] != with) {
            return false;
        }
    }
    return frame->bytes[frame->capacity - 1] == with;
}

TEST(frames_in_use_share_no_bytes) {
    aur_frame *frames[FRAMES] = {NULL};
    for (unsigned round = 0; round < ROUNDS; round++) {
        const unsigned at = (unsigned)random_below(FRAMES);
        if (frames[at] != NULL) {
            CHECK(is_filled(frames[at], (uint8_t)at));
            aur_frame_release(frames[at]);
            frames[at] = NULL;
            continue;
        }
        const uint32_t wanted = 1 + (uint32_t)random_below(random_below(2) == 0 ? 8192 : 300000);
        frames[at] = aur_frame_create(wanted);
        CHECK(frames[at] != NULL);
        CHECK_LE_U64(wanted, frames[at]->capacity);
        CHECK_LE_U64(frames[at]->capacity, 2 * aur_frame_padded(wanted) + AUR_FRAME_ALIGN);
        CHECK((uintptr_t)frames[at]->bytes % AUR_FRAME_ALIGN == 0);
        memset(frames[at]->bytes, (int)at, frames[at]->capacity);
        if (random_below(100) == 0) {
            aur_frame_memory_release_spares();
        }
    }
    for (unsigned at = 0; at < FRAMES; at++) {
        CHECK(frames[at] == NULL || is_filled(frames[at], (uint8_t)at));
        aur_frame_release(frames[at]);
    }
}

TEST(a_large_buffer_is_used_again_unless_it_is_much_too_large) {
    aur_frame *frame = aur_frame_create(LARGE_BYTES);
    CHECK(frame != NULL);
    const uint8_t *bytes = frame->bytes;
    aur_frame_release(frame);
    aur_frame *small = aur_frame_create(LARGE_BYTES / 4);
    frame = aur_frame_create(LARGE_BYTES - LARGE_BYTES / 4);
    CHECK(small != NULL && frame != NULL);
    CHECK(small->bytes != bytes);
    CHECK(frame->bytes == bytes);
    CHECK_EQ_U64(frame->capacity, LARGE_BYTES);
    aur_frame_release(small);
    aur_frame_release(frame);
}
