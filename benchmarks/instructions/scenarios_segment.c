/* One copy: frames that it keeps, and a page made from its newest image and the redo behind it. */
#include <stdlib.h>
#include <string.h>

#include "format/checksum.h"
#include "scenario.h"
#include "segment/segment.h"

enum {
    PAGES = 64,
    CELLS = 40,
    DELTAS = 16, /* records behind the image, at each of which the page can be read */
    PATCH_BYTES = 24,
    FRAMES = 50,
};

static const aur_segment_identity identity = {
    .volume_id = {1, 2, 3},
    .page_bytes = SCENARIO_PAGE_BYTES,
    .copies = 1,
    .group_pages = PAGES,
};

static aur_segment *segment;
static aur_lsn last_lsn;
static aur_lsn page_lsn[PAGES];
static uint8_t page[SCENARIO_PAGE_BYTES];

/* One record as a frame of its own. */
static aur_frame *make_frame(aur_record *record) {
    static uint8_t bytes[2 * SCENARIO_PAGE_BYTES];
    const uint64_t seed = aur_volume_seed(identity.volume_id);
    aur_frame *frame = NULL;
    record->flags |= AUR_RECORD_CPL;
    record->page_prev_lsn = (record->flags & AUR_RECORD_INIT) == 0 ? page_lsn[record->page_id] : 0;
    record->lsn = last_lsn + 1;
    record->time_us = record->lsn;
    aur_record_encode(record, bytes + AUR_FRAME_BODY_AT);
    const aur_frame_header header = {.length = AUR_FRAME_BODY_AT + aur_record_bytes(record),
                                     .records = 1,
                                     .epoch = 1,
                                     .prev_lsn = last_lsn,
                                     .first_lsn = record->lsn,
                                     .last_lsn = record->lsn,
                                     .volume_first = record->lsn,
                                     .volume_last = record->lsn,
                                     .last_cpl = record->lsn,
                                     .vdl = last_lsn,
                                     .time_us = record->time_us,
                                     .groups = 1};
    aur_frame_seal(bytes, &header, seed);
    EXPECT_OK(aur_frame_create_from(bytes, header.length, seed, &frame), NULL);
    last_lsn = record->lsn;
    page_lsn[record->page_id] = record->lsn;
    return frame;
}

static void append(aur_frame *frame) {
    aur_error error;
    aur_lsn scl = 0;
    EXPECT_OK(aur_segment_append(segment, frame, &scl, &error), &error);
}

static void append_record(aur_record *record) {
    aur_frame *frame = make_frame(record);
    append(frame);
    aur_frame_release(frame);
}

/* The image of a leaf full of records. */
static void write_image(aur_page_id page_id) {
    static uint8_t scratch[SCENARIO_PAGE_BYTES];
    static uint8_t body[SCENARIO_PAGE_BYTES + sizeof(uint32_t)];
    static const uint8_t owner_and_link[12] = {1};
    aur_record record = {.op = AUR_OP_FORMAT,
                         .flags = AUR_RECORD_INIT,
                         .arg = AUR_PAGE_LEAF,
                         .lsn = 1,
                         .page_id = page_id,
                         .body = owner_and_link,
                         .body_bytes = sizeof owner_and_link};
    EXPECT_OK(aur_page_apply(page, sizeof page, &record, scratch), NULL);
    for (uint16_t slot = 0; slot < CELLS; slot++) {
        uint8_t cell[SCENARIO_VALUE_BYTES];
        scenario_value(page_id * CELLS + slot, cell);
        record = (aur_record){.op = AUR_OP_INSERT,
                              .arg = slot,
                              .lsn = aur_page_lsn(page) + 1,
                              .page_id = page_id,
                              .page_prev_lsn = aur_page_lsn(page),
                              .body = cell,
                              .body_bytes = sizeof cell};
        EXPECT_OK(aur_page_apply(page, sizeof page, &record, scratch), NULL);
    }
    record = (aur_record){.op = AUR_OP_IMAGE,
                          .flags = AUR_RECORD_INIT,
                          .page_id = page_id,
                          .body = body,
                          .body_bytes = aur_page_image_body(page, sizeof page, body)};
    append_record(&record);
}

static aur_frame *make_delta(aur_page_id page_id, uint16_t slot) {
    uint8_t body[sizeof(uint16_t) + PATCH_BYTES];
    memset(body, slot, sizeof body);
    aur_put16(body, SCENARIO_VALUE_BYTES / 2);
    aur_record record = {.op = AUR_OP_PATCH_CELL,
                         .arg = slot,
                         .page_id = page_id,
                         .body = body,
                         .body_bytes = sizeof body};
    return make_frame(&record);
}

static void write_deltas(void) {
    for (uint16_t delta = 0; delta < DELTAS; delta++) {
        for (aur_page_id page_id = 0; page_id < PAGES; page_id++) {
            aur_frame *frame = make_delta(page_id, delta);
            append(frame);
            aur_frame_release(frame);
        }
    }
}

static void open_with_images(void) {
    aur_segment_options options;
    aur_disk *disk = NULL;
    aur_error error;
    last_lsn = 0;
    aur_segment_default_options(&options);
    EXPECT_OK(aur_disk_open_memory(&disk), NULL);
    EXPECT_OK(aur_segment_create(disk, &identity, 1, 0, &error), &error);
    EXPECT_OK(aur_segment_open(disk, &identity, &options, &segment, &error), &error);
    for (aur_page_id page_id = 0; page_id < PAGES; page_id++) {
        write_image(page_id);
    }
}

/* Everything in the index of what is not in layers yet. */
static void prepare_in_memory(void) {
    open_with_images();
    write_deltas();
}

/* The images in the base, as blocks that zstd has compressed; the deltas newer. */
static void prepare_over_base(void) {
    aur_error error;
    open_with_images();
    aur_segment_set_vdl(segment, last_lsn);
    EXPECT_OK(aur_segment_compact(segment, &error), &error);
    write_deltas();
}

static void read_pages(void) {
    aur_error error;
    for (aur_page_id page_id = 0; page_id < PAGES; page_id++) {
        EXPECT_OK(aur_segment_read_page(segment, page_id, last_lsn, page, &error), &error);
    }
}

static void finish(void) { aur_segment_close(segment); }

static aur_frame *frames[FRAMES];

static void prepare_frames(void) {
    open_with_images();
    for (uint32_t at = 0; at < FRAMES; at++) {
        frames[at] = make_delta(at, 0);
    }
}

static void append_frames(void) {
    for (uint32_t at = 0; at < FRAMES; at++) {
        append(frames[at]);
    }
}

static void finish_frames(void) {
    for (uint32_t at = 0; at < FRAMES; at++) {
        aur_frame_release(frames[at]);
    }
    finish();
}

const scenario segment_scenarios[] = {
    {"segment.append_frame", FRAMES, prepare_frames, append_frames, finish_frames},
    {"segment.page_from_memory", PAGES, prepare_in_memory, read_pages, finish},
    {"segment.page_over_base", PAGES, prepare_over_base, read_pages, finish},
    {0},
};
