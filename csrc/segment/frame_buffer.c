/* Frames in memory: aligned buffers counted by reference. */
#include "segment/frame_buffer.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"

/* Large buffers come and go with every boxcar. They are mapped one by one, because in the heap
 * they would leave holes that the process never gives back; and all of their pages at once, because
 * they will be filled, and a fault for each page takes longer than the filling. */
enum {
    MAPPED_BYTES_MIN = 64 << 10,
#ifdef MAP_POPULATE
    MAP_FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
#else
    MAP_FLAGS = MAP_PRIVATE | MAP_ANONYMOUS,
#endif
};

static uint8_t *take_bytes(size_t length) {
    if (length < MAPPED_BYTES_MIN) {
        return aligned_alloc(AUR_FRAME_ALIGN, length);
    }
    void *bytes = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_FLAGS, -1, 0);
    return bytes == MAP_FAILED ? NULL : bytes;
}

static void give_bytes_back(uint8_t *bytes, size_t length) {
    if (length < MAPPED_BYTES_MIN) {
        free(bytes);
    } else {
        AUR_ASSERT(munmap(bytes, length) == 0);
    }
}

aur_frame *aur_frame_create(uint32_t capacity) {
    const size_t rounded = aur_frame_padded(capacity);
    if (rounded == 0 || rounded > AUR_FRAME_BYTES_MAX) {
        return NULL;
    }
    aur_frame *frame = calloc(1, sizeof *frame);
    if (frame == NULL) {
        return NULL;
    }
    frame->bytes = take_bytes(rounded);
    if (frame->bytes == NULL) {
        free(frame);
        return NULL;
    }
    frame->capacity = (uint32_t)rounded;
    atomic_init(&frame->references, 1);
    atomic_init(&frame->records_checked, 0);
    return frame;
}

aur_status aur_frame_create_from(const uint8_t *bytes, size_t length, uint64_t volume_seed,
                                 aur_frame **frame_out) {
    *frame_out = NULL;
    aur_frame_header header;
    aur_status status = aur_frame_decode(bytes, length, volume_seed, &header);
    if (status != AUR_OK) {
        return status;
    }
    if (header.length > length) {
        return AUR_ERR_CORRUPT;
    }
    status = aur_frame_check_payload(bytes, &header, volume_seed);
    if (status != AUR_OK) {
        return status;
    }
    aur_frame *frame = aur_frame_create(header.length);
    if (frame == NULL) {
        return AUR_ERR_MEMORY;
    }
    memcpy(frame->bytes, bytes, header.length);
    memset(frame->bytes + header.length, 0, frame->capacity - header.length);
    frame->header = header;
    *frame_out = frame;
    return AUR_OK;
}

aur_frame *aur_frame_acquire(aur_frame *frame) {
    /* Relaxed: whoever acquires holds a reference already, so the frame cannot be going away. */
    const unsigned before = atomic_fetch_add_explicit(&frame->references, 1, memory_order_relaxed);
    AUR_ASSERT(before > 0);
    return frame;
}

void aur_frame_release(aur_frame *frame) {
    if (frame == NULL) {
        return;
    }
    const unsigned before = atomic_fetch_sub_explicit(&frame->references, 1, memory_order_acq_rel);
    AUR_ASSERT(before > 0);
    if (before == 1) {
        give_bytes_back(frame->bytes, frame->capacity);
        free(frame);
    }
}
