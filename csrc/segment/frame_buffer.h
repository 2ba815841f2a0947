/*
 * A frame in memory: sealed bytes that the log, the quorum and all segments share by reference
 * count, so that six copies in one process cost one buffer.
 */
#ifndef AUR_SEGMENT_FRAME_BUFFER_H
#define AUR_SEGMENT_FRAME_BUFFER_H

#include <stdatomic.h>

#include "format/frame.h"

typedef struct aur_frame {
    atomic_uint references;
    atomic_uint records_checked; /* 1 once some segment of the group has decoded every record */
    uint32_t capacity;           /* of bytes, a multiple of AUR_FRAME_ALIGN */
    uint8_t *bytes; /* AUR_FRAME_ALIGN-aligned; zero-padded up to aur_frame_padded(header.length)
                       once sealed */
    aur_frame_header header; /* decoded twin of the bytes; valid once sealed */
} aur_frame;

/* A frame with room for `capacity` bytes (rounded up) and one reference; NULL when out of memory.
 */
aur_frame *aur_frame_create(uint32_t capacity);

/* A frame that wraps a copy of sealed bytes from disk or wire: header and payload are verified. */
AUR_API aur_status aur_frame_create_from(const uint8_t *bytes, size_t length, uint64_t volume_seed,
                                         aur_frame **frame_out) AUR_CHECKED;
aur_frame *aur_frame_acquire(aur_frame *frame);
AUR_API void aur_frame_release(aur_frame *frame);

#endif
