/*
 * A frame in memory: sealed bytes that the log, the quorum and all segments share by reference
 * count, so that six copies in one process cost one buffer.
 */
#ifndef AUR_SEGMENT_FRAME_BUFFER_H
#define AUR_SEGMENT_FRAME_BUFFER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "format/frame.h"

typedef struct aur_frame {
    atomic_uint references;
    bool is_findable; /* it is among those that aur_frame_of looks through; set when created */
    struct aur_frame *next_findable; /* guarded by their lock */
    atomic_uint records_checked;     /* 1 once some segment of the group has decoded every record */
    uint32_t capacity;               /* of bytes, a multiple of AUR_FRAME_ALIGN */
    uint8_t *bytes; /* AUR_FRAME_ALIGN-aligned; zero-padded up to aur_frame_padded(header.length)
                       once sealed */
    aur_frame_header header; /* decoded twin of the bytes; valid once sealed */
} aur_frame;

/* A frame with room for `capacity` bytes or more and one reference; NULL when out of memory. */
aur_frame *aur_frame_create(uint32_t capacity);

/* The frame with these bytes, verified up to the padding, and this decoded header: one that the
 * process has in memory, if such a call made it, else a copy. So the copies of a volume that are
 * opened here share what each of them finds in its log. NULL when out of memory. */
aur_frame *aur_frame_of(const uint8_t *bytes, const aur_frame_header *header);

/* The same of sealed bytes from disk or wire: header and payload are verified. */
AUR_API aur_status aur_frame_create_from(const uint8_t *bytes, size_t length, uint64_t volume_seed,
                                         aur_frame **frame_out) AUR_CHECKED;
aur_frame *aur_frame_acquire(aur_frame *frame);
AUR_API void aur_frame_release(aur_frame *frame);

#endif
