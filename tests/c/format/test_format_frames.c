/* Frames: what was sealed is read back, and whatever changed on the way is noticed. */
#include "../harness.h"
#include "format/checksum.h"
#include "format/frame.h"

enum { PAYLOAD_BYTES = 200, FRAME_BYTES = AUR_FRAME_BODY_AT + PAYLOAD_BYTES };

static const uint64_t seed = UINT64_C(0x1234567890abcdef);

static const aur_frame_header sound = {
    .length = FRAME_BYTES,
    .records = 3,
    .epoch = 7,
    .prev_lsn = 90,
    .first_lsn = 101,
    .last_lsn = 105,
    .volume_first = 100,
    .volume_last = 110,
    .last_cpl = 110,
    .vdl = 99,
    .time_us = UINT64_C(1700000000000000),
    .group = 4,
    .groups = 2,
};

static void seal(uint8_t *frame, const aur_frame_header *header) {
    memset(frame, 0, FRAME_BYTES);
    for (int at = 0; at < PAYLOAD_BYTES; at++)
        frame[AUR_FRAME_BODY_AT + at] = (uint8_t)at;
    aur_frame_seal(frame, header, seed);
}

TEST(what_was_sealed_is_read_back) {
    uint8_t frame[FRAME_BYTES];
    aur_frame_header got = {0};
    seal(frame, &sound);
    CHECK_OK(aur_frame_decode(frame, AUR_FRAME_BODY_AT, seed, &got));
    CHECK_OK(aur_frame_check_payload(frame, &got, seed));
    CHECK(got.length == sound.length && got.records == sound.records && got.epoch == sound.epoch);
    CHECK(got.prev_lsn == sound.prev_lsn && got.first_lsn == sound.first_lsn);
    CHECK(got.last_lsn == sound.last_lsn && got.volume_first == sound.volume_first);
    CHECK(got.volume_last == sound.volume_last && got.last_cpl == sound.last_cpl);
    CHECK(got.vdl == sound.vdl && got.time_us == sound.time_us);
    CHECK(got.group == sound.group && got.groups == sound.groups);
}

TEST(every_flipped_bit_of_a_frame_is_detected) {
    uint8_t frame[FRAME_BYTES];
    aur_frame_header got;
    seal(frame, &sound);
    for (uint32_t bit = 0; bit < FRAME_BYTES * 8; bit++) {
        frame[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        const aur_status status = aur_frame_decode(frame, FRAME_BYTES, seed, &got);
        if (bit < AUR_FRAME_LENGTH_AT * 8)
            CHECK_STATUS(status, AUR_NOT_FOUND);
        else if (bit < AUR_FRAME_BODY_AT * 8)
            CHECK_STATUS(status, AUR_ERR_CORRUPT);
        else
            CHECK_STATUS(aur_frame_check_payload(frame, &got, seed), AUR_ERR_CORRUPT);
        frame[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

TEST(a_frame_of_another_volume_is_refused) {
    uint8_t frame[FRAME_BYTES];
    aur_frame_header got;
    seal(frame, &sound);
    CHECK_STATUS(aur_frame_decode(frame, FRAME_BYTES, seed + 1, &got), AUR_ERR_CORRUPT);
    CHECK_STATUS(aur_frame_check_payload(frame, &sound, seed + 1), AUR_ERR_CORRUPT);
}

TEST(a_torn_header_is_no_frame_or_a_corrupt_one) {
    uint8_t frame[FRAME_BYTES];
    aur_frame_header got;
    seal(frame, &sound);
    for (size_t length = 0; length < AUR_FRAME_BODY_AT; length++) {
        uint8_t *torn = malloc(length + 1);
        CHECK(torn != NULL);
        memcpy(torn, frame, length);
        CHECK_STATUS(aur_frame_decode(torn, length, seed, &got),
                     length < AUR_FRAME_LENGTH_AT ? AUR_NOT_FOUND : AUR_ERR_CORRUPT);
        free(torn);
    }
}

TEST(a_newer_version_is_told_from_damage) {
    uint8_t frame[FRAME_BYTES];
    aur_frame_header got;
    seal(frame, &sound);
    aur_put16(frame + AUR_FRAME_VERSION_AT, AUR_FRAME_FORMAT + 1);
    CHECK_STATUS(aur_frame_decode(frame, FRAME_BYTES, seed, &got), AUR_ERR_CORRUPT);
    aur_put64(frame + AUR_FRAME_HEADER_SUM_AT, aur_checksum(frame, AUR_FRAME_HEADER_SUM_AT, seed));
    CHECK_STATUS(aur_frame_decode(frame, FRAME_BYTES, seed, &got), AUR_ERR_VERSION);
}

/* A checksum proves who wrote the frame, not that the writer was right. */
TEST(sealed_headers_that_contradict_themselves_are_refused) {
    enum { CASES = 12 };
    aur_frame_header bad[CASES];
    for (int at = 0; at < CASES; at++)
        bad[at] = sound;
    bad[0].records = 0;
    bad[1].records = PAYLOAD_BYTES / 32 + 1;
    bad[2].prev_lsn = 101;
    bad[3].first_lsn = 106;
    bad[4].volume_first = 102;
    bad[5].volume_last = 104;
    bad[6].last_cpl = 111;
    bad[7].last_cpl = 109;
    bad[8].groups = 0;
    bad[9].first_lsn = 0;
    bad[10].length = AUR_FRAME_BODY_AT;
    bad[11].length = AUR_FRAME_BODY_AT + 31;
    for (int at = 0; at < CASES; at++) {
        uint8_t frame[FRAME_BYTES];
        aur_frame_header got;
        seal(frame, &bad[at]);
        CHECK_MSG(aur_frame_decode(frame, FRAME_BYTES, seed, &got) == AUR_ERR_CORRUPT, "case %d",
                  at);
    }
}

TEST(lengths_outside_the_format_are_refused) {
    const uint32_t lengths[] = {0, 1, AUR_FRAME_BODY_AT - 1, AUR_FRAME_BYTES_MAX + 1, UINT32_MAX};
    for (size_t at = 0; at < sizeof lengths / sizeof lengths[0]; at++) {
        uint8_t frame[FRAME_BYTES];
        aur_frame_header got;
        seal(frame, &sound);
        aur_put32(frame + AUR_FRAME_LENGTH_AT, lengths[at]);
        aur_put64(frame + AUR_FRAME_HEADER_SUM_AT,
                  aur_checksum(frame, AUR_FRAME_HEADER_SUM_AT, seed));
        CHECK_STATUS(aur_frame_decode(frame, FRAME_BYTES, seed, &got), AUR_ERR_CORRUPT);
    }
}

TEST(padding_rounds_up_to_the_alignment) {
    CHECK_EQ_U64(aur_frame_padded(AUR_FRAME_BODY_AT), AUR_FRAME_ALIGN);
    CHECK_EQ_U64(aur_frame_padded(AUR_FRAME_ALIGN), AUR_FRAME_ALIGN);
    CHECK_EQ_U64(aur_frame_padded(AUR_FRAME_ALIGN + 1), 2 * AUR_FRAME_ALIGN);
    CHECK_EQ_U64(aur_frame_padded(AUR_FRAME_BYTES_MAX), AUR_FRAME_BYTES_MAX);
}
