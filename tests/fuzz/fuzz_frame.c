/*
 * A frame as it comes from disk or wire. Each input is tried twice: as it is, and with its magic,
 * version and header checksum set right, so that what a checksum would stop is decoded too.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "format/checksum.h"
#include "format/frame.h"
#include "format/record.h"

static const uint64_t seed = 42;

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* A header that decodes must be sealed to the same bytes, given the same payload. */
static void check_sealing(const uint8_t *frame, const aur_frame_header *header) {
    uint8_t *copy = malloc(header->length);
    AUR_ASSERT(copy != NULL);
    memcpy(copy, frame, header->length);
    aur_frame_seal(copy, header, seed);
    AUR_ASSERT(memcmp(copy, frame, AUR_FRAME_PAYLOAD_SUM_AT) == 0);
    if (aur_frame_check_payload(frame, header, seed) == AUR_OK) {
        AUR_ASSERT(memcmp(copy, frame, header->length) == 0);
    }
    free(copy);
}

static void read_frame(const uint8_t *bytes, size_t size) {
    aur_frame_header header;
    aur_record record;
    size_t used;
    if (aur_frame_decode(bytes, size, seed, &header) != AUR_OK || header.length > size) {
        return;
    }
    check_sealing(bytes, &header);
    for (size_t at = AUR_FRAME_BODY_AT; at < header.length; at += used) {
        if (aur_record_decode(bytes + at, header.length - at, &record, &used) != AUR_OK) {
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    read_frame(bytes, size);
    if (size < AUR_FRAME_BODY_AT) {
        return 0;
    }
    uint8_t *repaired = malloc(size);
    AUR_ASSERT(repaired != NULL);
    memcpy(repaired, bytes, size);
    memcpy(repaired, "AURFRAME", AUR_FRAME_LENGTH_AT);
    aur_put16(repaired + AUR_FRAME_VERSION_AT, AUR_FRAME_FORMAT);
    aur_put64(repaired + AUR_FRAME_HEADER_SUM_AT,
              aur_checksum(repaired, AUR_FRAME_HEADER_SUM_AT, seed));
    read_frame(repaired, size);
    free(repaired);
    return 0;
}
