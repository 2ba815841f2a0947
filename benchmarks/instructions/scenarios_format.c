/* Bytes only: checksums, frames, redo applied to pages, and the difference of two SQL pages. */
#include <stdlib.h>
#include <string.h>

#include "format/checksum.h"
#include "format/frame.h"
#include "format/page_edit.h"
#include "scenario.h"

enum {
    PAGES = 64,
    CELLS = 40, /* of a page before the scenario, which leaves room for one more */
    FRAMES = 16,
    FRAME_RECORDS = 100,
    RECORD_BODY_BYTES = 60,
    FRAME_BYTES_MAX = 64 << 10,
    FIRST_LSN = 1000,
    VOLUME_SEED = 77,
};

/* ---- pages ---- */

static uint8_t (*pages)[SCENARIO_PAGE_BYTES];
static uint8_t (*changed_pages)[SCENARIO_PAGE_BYTES];
static uint8_t scratch[SCENARIO_PAGE_BYTES];
static uint8_t cell[SCENARIO_VALUE_BYTES];

static void apply(uint8_t *page, uint8_t op, uint16_t arg, const void *body, uint32_t body_bytes) {
    const bool is_init = op == AUR_OP_FORMAT;
    const aur_record record = {.op = op,
                               .flags = is_init ? AUR_RECORD_INIT : 0,
                               .arg = arg,
                               .lsn = aur_page_lsn(page) + 1,
                               .page_id = aur_page_number(page),
                               .page_prev_lsn = is_init ? 0 : aur_page_lsn(page),
                               .body = body,
                               .body_bytes = body_bytes};
    EXPECT_OK(aur_page_apply(page, SCENARIO_PAGE_BYTES, &record, scratch), NULL);
}

static void format_pages(enum aur_page_type type) {
    static const uint8_t owner_and_link[12] = {1};
    pages = calloc(PAGES, sizeof *pages);
    for (uint32_t at = 0; at < PAGES; at++) {
        apply(pages[at], AUR_OP_FORMAT, (uint16_t)type, owner_and_link, sizeof owner_and_link);
    }
}

static void prepare_leaves(void) {
    format_pages(AUR_PAGE_LEAF);
    for (uint32_t at = 0; at < PAGES; at++) {
        for (uint16_t slot = 0; slot < CELLS; slot++) {
            scenario_value(at * CELLS + slot, cell);
            apply(pages[at], AUR_OP_INSERT, slot, cell, sizeof cell);
        }
    }
}

static void finish_pages(void) {
    free(pages);
    free(changed_pages);
    pages = NULL;
    changed_pages = NULL;
}

static void seal_pages(void) {
    for (uint32_t at = 0; at < PAGES; at++) {
        aur_page_seal(pages[at], SCENARIO_PAGE_BYTES);
    }
}

static void apply_inserts(void) {
    for (uint32_t at = 0; at < PAGES; at++) {
        apply(pages[at], AUR_OP_INSERT, (uint16_t)(at % CELLS), cell, sizeof cell);
    }
}

static void apply_replaces(void) {
    for (uint32_t at = 0; at < PAGES; at++) {
        apply(pages[at], AUR_OP_REPLACE, (uint16_t)(at % CELLS), cell, sizeof cell);
    }
}

static void apply_deletes(void) {
    static const uint8_t one[2] = {1};
    for (uint32_t at = 0; at < PAGES; at++) {
        apply(pages[at], AUR_OP_DELETE, (uint16_t)(at % CELLS), one, sizeof one);
    }
}

/* ---- pages of SQLite ---- */

/* What a row costs that SQLite inserts in the middle of a leaf: counters in the header, pointers
 * that move up by one, and a cell. */
static void insert_row(uint8_t *page, uint32_t row) {
    enum { HEADER_BYTES = 8, POINTERS = 60, ROW_BYTES = 90 };
    uint8_t *payload = page + AUR_PAGE_BODY_AT;
    uint8_t *pointers = payload + HEADER_BYTES;
    const uint32_t at = row % POINTERS;
    const uint32_t place = SCENARIO_PAGE_BYTES / 2 + row % PAGES;
    memmove(pointers + 2 * (at + 1), pointers + 2 * at, 2 * (POINTERS - at));
    aur_put16(pointers + 2 * at, (uint16_t)place);
    aur_put16(payload + 3, (uint16_t)(aur_get16(payload + 3) + 1));
    aur_put16(payload + 5, (uint16_t)place);
    memcpy(page + place, cell, ROW_BYTES);
}

static void prepare_sql_pages(void) {
    format_pages(AUR_PAGE_SQL);
    changed_pages = calloc(PAGES, sizeof *changed_pages);
    for (uint32_t at = 0; at < PAGES; at++) {
        uint8_t *payload = pages[at] + AUR_PAGE_BODY_AT;
        for (uint32_t part = 0; part * sizeof cell + sizeof cell < SCENARIO_PAGE_BYTES / 2;
             part++) {
            scenario_value(at * PAGES + part, cell);
            memcpy(payload + part * sizeof cell, cell, sizeof cell);
        }
        memcpy(changed_pages[at], pages[at], SCENARIO_PAGE_BYTES);
        insert_row(changed_pages[at], at);
    }
}

static uint32_t diff(uint32_t page, uint8_t *edits) {
    const uint32_t bytes = aur_page_diff(pages[page], changed_pages[page], SCENARIO_PAGE_BYTES,
                                         edits, SCENARIO_PAGE_BYTES);
    EXPECT_OK(bytes == 0 || bytes == UINT32_MAX ? AUR_ERR_INVALID : AUR_OK, NULL);
    return bytes;
}

static void diff_sql_pages(void) {
    uint8_t edits[SCENARIO_PAGE_BYTES];
    for (uint32_t at = 0; at < PAGES; at++) {
        (void)diff(at, edits);
    }
}

static uint8_t (*page_edits)[SCENARIO_PAGE_BYTES];
static uint32_t page_edit_bytes[PAGES];

static void prepare_edits(void) {
    prepare_sql_pages();
    page_edits = calloc(PAGES, sizeof *page_edits);
    for (uint32_t at = 0; at < PAGES; at++) {
        page_edit_bytes[at] = diff(at, page_edits[at]);
    }
}

static void finish_edits(void) {
    free(page_edits);
    finish_pages();
}

static void apply_edits(void) {
    for (uint32_t at = 0; at < PAGES; at++) {
        apply(pages[at], AUR_OP_EDIT, 0, page_edits[at], page_edit_bytes[at]);
    }
}

/* ---- frames ---- */

static uint8_t *frame_bytes;
static uint32_t frame_length;

/* A boxcar of small records, as it leaves the log. */
static void write_frame(void) {
    uint8_t *out = frame_bytes + AUR_FRAME_BODY_AT;
    for (uint32_t at = 0; at < FRAME_RECORDS; at++) {
        const aur_record record = {.op = AUR_OP_INSERT,
                                   .flags = AUR_RECORD_CPL,
                                   .lsn = FIRST_LSN + at,
                                   .page_id = at,
                                   .page_prev_lsn = at + 1,
                                   .body = cell,
                                   .body_bytes = RECORD_BODY_BYTES,
                                   .time_us = FIRST_LSN};
        aur_record_encode(&record, out);
        out += aur_record_bytes(&record);
    }
    frame_length = (uint32_t)(out - frame_bytes);
    const aur_frame_header header = {.length = frame_length,
                                     .records = FRAME_RECORDS,
                                     .epoch = 1,
                                     .prev_lsn = FIRST_LSN - 1,
                                     .first_lsn = FIRST_LSN,
                                     .last_lsn = FIRST_LSN + FRAME_RECORDS - 1,
                                     .volume_first = FIRST_LSN,
                                     .volume_last = FIRST_LSN + FRAME_RECORDS - 1,
                                     .last_cpl = FIRST_LSN + FRAME_RECORDS - 1,
                                     .vdl = FIRST_LSN - 1,
                                     .time_us = FIRST_LSN,
                                     .groups = 1};
    aur_frame_seal(frame_bytes, &header, VOLUME_SEED);
}

static void prepare_frame(void) {
    scenario_value(1, cell);
    frame_bytes = calloc(1, FRAME_BYTES_MAX);
    write_frame();
}

static void finish_frame(void) { free(frame_bytes); }

static void write_frames(void) {
    for (uint32_t at = 0; at < FRAMES; at++) {
        write_frame();
    }
}

/* What a copy does with a frame before it is kept. */
static void read_frames(void) {
    for (uint32_t at = 0; at < FRAMES; at++) {
        aur_frame_header header;
        EXPECT_OK(aur_frame_decode(frame_bytes, frame_length, VOLUME_SEED, &header), NULL);
        EXPECT_OK(aur_frame_check_payload(frame_bytes, &header, VOLUME_SEED), NULL);
        size_t offset = AUR_FRAME_BODY_AT;
        for (uint32_t record_at = 0; record_at < header.records; record_at++) {
            aur_record record;
            size_t used = 0;
            EXPECT_OK(
                aur_record_decode(frame_bytes + offset, frame_length - offset, &record, &used),
                NULL);
            offset += used;
        }
    }
}

const scenario format_scenarios[] = {
    {"format.checksum_page", PAGES, prepare_leaves, seal_pages, finish_pages},
    {"format.write_frame_of_100", FRAMES, prepare_frame, write_frames, finish_frame},
    {"format.read_frame_of_100", FRAMES, prepare_frame, read_frames, finish_frame},
    {"format.apply_insert", PAGES, prepare_leaves, apply_inserts, finish_pages},
    {"format.apply_replace", PAGES, prepare_leaves, apply_replaces, finish_pages},
    {"format.apply_delete", PAGES, prepare_leaves, apply_deletes, finish_pages},
    {"format.apply_edit", PAGES, prepare_edits, apply_edits, finish_edits},
    {"format.diff_sql_page", PAGES, prepare_sql_pages, diff_sql_pages, finish_pages},
    {0},
};
