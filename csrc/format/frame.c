#include "format/frame.h"

#include <string.h>

#include "base/assert.h"
#include "format/checksum.h"
#include "format/record.h"

static const uint8_t magic[AUR_FRAME_LENGTH_AT] = {'A', 'U', 'R', 'F', 'R', 'A', 'M', 'E'};

static uint64_t payload_sum(const uint8_t *frame, uint32_t length, uint64_t volume_seed) {
    return aur_checksum(frame + AUR_FRAME_BODY_AT, length - AUR_FRAME_BODY_AT, volume_seed);
}

static uint64_t header_sum(const uint8_t *frame, uint64_t volume_seed) {
    return aur_checksum(frame, AUR_FRAME_HEADER_SUM_AT, volume_seed);
}

void aur_frame_seal(uint8_t *frame, const aur_frame_header *header, uint64_t volume_seed) {
    AUR_ASSERT(header->length >= AUR_FRAME_BODY_AT && header->length <= AUR_FRAME_BYTES_MAX);
    memcpy(frame + AUR_FRAME_MAGIC_AT, magic, sizeof magic);
    aur_put32(frame + AUR_FRAME_LENGTH_AT, header->length);
    aur_put32(frame + AUR_FRAME_RECORDS_AT, header->records);
    aur_put64(frame + AUR_FRAME_EPOCH_AT, header->epoch);
    aur_put64(frame + AUR_FRAME_PREV_AT, header->prev_lsn);
    aur_put64(frame + AUR_FRAME_FIRST_AT, header->first_lsn);
    aur_put64(frame + AUR_FRAME_LAST_AT, header->last_lsn);
    aur_put64(frame + AUR_FRAME_VOLUME_FIRST_AT, header->volume_first);
    aur_put64(frame + AUR_FRAME_VOLUME_LAST_AT, header->volume_last);
    aur_put64(frame + AUR_FRAME_CPL_AT, header->last_cpl);
    aur_put64(frame + AUR_FRAME_VDL_AT, header->vdl);
    aur_put64(frame + AUR_FRAME_TIME_AT, header->time_us);
    aur_put32(frame + AUR_FRAME_GROUP_AT, header->group);
    aur_put16(frame + AUR_FRAME_GROUPS_AT, header->groups);
    aur_put16(frame + AUR_FRAME_VERSION_AT, AUR_FRAME_FORMAT);
    aur_put64(frame + AUR_FRAME_PAYLOAD_SUM_AT, payload_sum(frame, header->length, volume_seed));
    aur_put64(frame + AUR_FRAME_HEADER_SUM_AT, header_sum(frame, volume_seed));
}

static void read_fields(const uint8_t *bytes, aur_frame_header *out) {
    out->length = aur_get32(bytes + AUR_FRAME_LENGTH_AT);
    out->records = aur_get32(bytes + AUR_FRAME_RECORDS_AT);
    out->epoch = aur_get64(bytes + AUR_FRAME_EPOCH_AT);
    out->prev_lsn = aur_get64(bytes + AUR_FRAME_PREV_AT);
    out->first_lsn = aur_get64(bytes + AUR_FRAME_FIRST_AT);
    out->last_lsn = aur_get64(bytes + AUR_FRAME_LAST_AT);
    out->volume_first = aur_get64(bytes + AUR_FRAME_VOLUME_FIRST_AT);
    out->volume_last = aur_get64(bytes + AUR_FRAME_VOLUME_LAST_AT);
    out->last_cpl = aur_get64(bytes + AUR_FRAME_CPL_AT);
    out->vdl = aur_get64(bytes + AUR_FRAME_VDL_AT);
    out->time_us = aur_get64(bytes + AUR_FRAME_TIME_AT);
    out->group = aur_get32(bytes + AUR_FRAME_GROUP_AT);
    out->groups = aur_get16(bytes + AUR_FRAME_GROUPS_AT);
}

/* The payload fits the length limit and can hold that many records. */
static bool sizes_are_valid(const aur_frame_header *header) {
    return header->length >= AUR_FRAME_BODY_AT && header->length <= AUR_FRAME_BYTES_MAX &&
           header->records > 0 &&
           header->records <= (header->length - AUR_FRAME_BODY_AT) / AUR_RECORD_BODY_AT;
}

/* prev < first <= last, inside the boxcar, which ends at its CPL if it has one. */
static bool chain_is_valid(const aur_frame_header *header) {
    return header->prev_lsn < header->first_lsn && header->first_lsn <= header->last_lsn &&
           header->volume_first <= header->first_lsn && header->last_lsn <= header->volume_last &&
           (header->last_cpl == 0 || header->last_cpl == header->volume_last) && header->groups > 0;
}

aur_status aur_frame_decode(const uint8_t *bytes, size_t length, uint64_t volume_seed,
                            aur_frame_header *out) {
    if (length < sizeof magic || memcmp(bytes + AUR_FRAME_MAGIC_AT, magic, sizeof magic) != 0) {
        return AUR_NOT_FOUND;
    }
    if (length < AUR_FRAME_BODY_AT ||
        aur_get64(bytes + AUR_FRAME_HEADER_SUM_AT) != header_sum(bytes, volume_seed)) {
        return AUR_ERR_CORRUPT;
    }
    if (aur_get16(bytes + AUR_FRAME_VERSION_AT) != AUR_FRAME_FORMAT) {
        return AUR_ERR_VERSION; /* told only of intact headers: a flipped bit is damage, not a new
                                   format */
    }
    read_fields(bytes, out);
    return sizes_are_valid(out) && chain_is_valid(out) ? AUR_OK : AUR_ERR_CORRUPT;
}

aur_status aur_frame_check_payload(const uint8_t *frame, const aur_frame_header *header,
                                   uint64_t volume_seed) {
    const uint64_t sum = payload_sum(frame, header->length, volume_seed);
    return sum == aur_get64(frame + AUR_FRAME_PAYLOAD_SUM_AT) ? AUR_OK : AUR_ERR_CORRUPT;
}
