/*
 * A frame: the records of one protection group out of one boxcar, as they are shipped to its six
 * segments and as they rest in a hot log. Normative text: docs/format/frame.md.
 *
 * A boxcar is what the writer ships at one moment: a contiguous LSN range [volume_first,
 * volume_last]. It becomes one frame for each of the pg_count protection groups that it touches. A
 * boxcar is complete when all of its frames are; that is how recovery finds VCL over many groups
 * without reading records, and last_cpl gives VDL the same way. A boxcar ends at a CPL, or holds no
 * CPL at all (last_cpl is volume_last or 0): a mini-transaction too big for one boxcar starts a
 * boxcar of its own, so that a truncation never falls inside a frame.
 */
#ifndef AUR_FORMAT_FRAME_H
#define AUR_FORMAT_FRAME_H

#include <stddef.h>

#include "base/endian.h"
#include "base/status.h"
#include "format/types.h"

enum {
    AUR_FRAME_MAGIC_AT = 0,    /* 8 bytes "AURFRAME" */
    AUR_FRAME_LENGTH_AT = 8,   /* u32 header and payload, without padding */
    AUR_FRAME_RECORDS_AT = 12, /* u32 number of records */
    AUR_FRAME_EPOCH_AT = 16,   /* u64 volume epoch of the writer */
    AUR_FRAME_PREV_AT =
        24, /* u64 last LSN of this group's previous frame: the chain that shows holes */
    AUR_FRAME_FIRST_AT = 32,        /* u64 first LSN in this frame */
    AUR_FRAME_LAST_AT = 40,         /* u64 last LSN in this frame */
    AUR_FRAME_VOLUME_FIRST_AT = 48, /* u64 first LSN of the boxcar */
    AUR_FRAME_VOLUME_LAST_AT = 56,  /* u64 last LSN of the boxcar */
    AUR_FRAME_CPL_AT = 64,          /* u64 volume_last if it is a CPL; 0 if the boxcar holds none */
    AUR_FRAME_VDL_AT = 72,          /* u64 VDL when the frame was sent */
    AUR_FRAME_TIME_AT = 80,    /* u64 time of the newest commit when it was sent, microseconds since
                                  1970: no commit in it or before it is newer */
    AUR_FRAME_GROUP_AT = 88,   /* u32 protection group */
    AUR_FRAME_GROUPS_AT = 92,  /* u16 number of groups in the boxcar */
    AUR_FRAME_VERSION_AT = 94, /* u16 format version, 1 */
    AUR_FRAME_PAYLOAD_SUM_AT = 96, /* u64 XXH3 of the payload, seeded with the volume */
    AUR_FRAME_HEADER_SUM_AT = 104, /* u64 XXH3 of bytes 0..103, seeded with the volume */
    AUR_FRAME_BODY_AT = 112,       /* records, one after the other */
    AUR_FRAME_ALIGN =
        4096, /* on disk a frame starts at, and is zero-padded to, a multiple of this */
    AUR_FRAME_BYTES_MAX = 4 << 20, /* padded; a decoder refuses more */
    AUR_FRAME_FORMAT = 1,
};

_Static_assert(AUR_FRAME_BODY_AT == AUR_FRAME_HEADER_SUM_AT + 8 && AUR_FRAME_BODY_AT == 112,
               "frame header");
_Static_assert(AUR_FRAME_BYTES_MAX % AUR_FRAME_ALIGN == 0, "the longest frame needs no padding");

typedef struct aur_frame_header {
    uint32_t length;
    uint32_t records;
    aur_epoch epoch;
    aur_lsn prev_lsn;
    aur_lsn first_lsn;
    aur_lsn last_lsn;
    aur_lsn volume_first;
    aur_lsn volume_last;
    aur_lsn last_cpl;
    aur_lsn vdl;
    uint64_t time_us;
    uint32_t group;
    uint16_t groups;
} aur_frame_header;

static inline size_t aur_frame_padded(uint32_t length) {
    return ((size_t)length + AUR_FRAME_ALIGN - 1) & ~(size_t)(AUR_FRAME_ALIGN - 1);
}

/* Writes the header, both checksums included, before `length - AUR_FRAME_BODY_AT` payload bytes
 * that already stand at frame + AUR_FRAME_BODY_AT. The padding is the caller's. */
void aur_frame_seal(uint8_t *frame, const aur_frame_header *header, uint64_t volume_seed);

/* Decodes and verifies the header alone (needs AUR_FRAME_BODY_AT bytes). AUR_NOT_FOUND when there
 * is no frame (the magic is not there); AUR_ERR_CORRUPT when its checksum does not hold, or its
 * fields contradict each other; AUR_ERR_VERSION when the header is sound but of another version.
 * Does not look at the payload: `length` may end before it. */
aur_status aur_frame_decode(const uint8_t *bytes, size_t length, uint64_t volume_seed,
                            aur_frame_header *out) AUR_CHECKED;

/* Verifies the payload checksum of a frame whose header was decoded and whose `header->length`
 * bytes are all there. */
aur_status aur_frame_check_payload(const uint8_t *frame, const aur_frame_header *header,
                                   uint64_t volume_seed) AUR_CHECKED;

#endif
