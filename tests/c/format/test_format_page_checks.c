/* What a page check must refuse, and the corners of the page: first and last cell, full page,
 * compaction. */
#include "../harness.h"
#include "format/record.h"

enum { PAGE_BYTES = 4096, PAGE_ID = 12 };

static uint8_t scratch[AUR_PAGE_BYTES_MAX];

/* Applies an operation to a page as its next record. */
static aur_status change(uint8_t *page, uint32_t page_bytes, enum aur_record_op op, uint16_t arg,
                         const uint8_t *body, uint32_t body_bytes) {
    const aur_record record = {.op = (uint8_t)op,
                               .arg = arg,
                               .lsn = aur_page_lsn(page) + 1,
                               .page_id = aur_page_number(page),
                               .page_prev_lsn = aur_page_lsn(page),
                               .body = body,
                               .body_bytes = body_bytes};
    return aur_page_apply(page, page_bytes, &record, scratch);
}

static aur_status format_as(uint8_t *page, uint32_t page_bytes, uint8_t type, uint8_t level,
                            uint64_t link) {
    uint8_t body[12] = {0};
    const aur_record record = {.op = AUR_OP_FORMAT,
                               .flags = AUR_RECORD_INIT,
                               .arg = (uint16_t)(type | level << 8),
                               .lsn = 1,
                               .page_id = PAGE_ID,
                               .body = body,
                               .body_bytes = sizeof body};
    aur_put64(body + 4, link);
    return aur_page_apply(page, page_bytes, &record, scratch);
}

/* A leaf with cells "0", "11", "222", ... and one deleted in the middle, so that there is garbage.
 */
static void build_leaf(uint8_t *page) {
    uint8_t bytes[16];
    uint8_t one[2];
    CHECK_OK(format_as(page, PAGE_BYTES, AUR_PAGE_LEAF, 0, 0));
    for (uint16_t slot = 0; slot < 10; slot++) {
        memset(bytes, '0' + slot, sizeof bytes);
        CHECK_OK(change(page, PAGE_BYTES, AUR_OP_INSERT, slot, bytes, slot + 1u));
    }
    aur_put16(one, 1);
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_DELETE, 4, one, sizeof one));
}

TEST(every_flipped_bit_of_a_sealed_page_is_detected) {
    static uint8_t page[PAGE_BYTES];
    build_leaf(page);
    aur_page_seal(page, PAGE_BYTES);
    CHECK_OK(aur_page_check(page, PAGE_BYTES, PAGE_ID));
    CHECK_STATUS(aur_page_check(page, PAGE_BYTES, PAGE_ID + 1), AUR_ERR_CORRUPT);
    for (uint32_t bit = 0; bit < PAGE_BYTES * 8; bit++) {
        page[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        CHECK_MSG(aur_page_check(page, PAGE_BYTES, PAGE_ID) == AUR_ERR_CORRUPT, "bit %u", bit);
        page[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    CHECK_OK(aur_page_check(page, PAGE_BYTES, PAGE_ID));
}

TEST(a_page_of_another_place_is_refused) {
    static uint8_t page[PAGE_BYTES];
    build_leaf(page);
    aur_put64(page + AUR_PAGE_ID_AT, PAGE_ID + 1);
    aur_page_seal(page, PAGE_BYTES);
    CHECK_STATUS(aur_page_check(page, PAGE_BYTES, PAGE_ID), AUR_ERR_CORRUPT);
}

/* Checks a leaf in which one 16-bit number was set; nothing else was touched. */
static aur_status check_with16(uint32_t at, uint16_t value) {
    static uint8_t page[PAGE_BYTES];
    build_leaf(page);
    aur_put16(page + at, value);
    return aur_page_check_structure(page, PAGE_BYTES);
}

TEST(structures_that_contradict_themselves_are_refused) {
    const uint32_t slots = AUR_PAGE_BODY_AT;
    static uint8_t page[PAGE_BYTES];
    build_leaf(page);
    const uint16_t first = aur_get16(page + slots);
    const uint16_t second = aur_get16(page + slots + 2);
    CHECK_OK(check_with16(slots, first));
    CHECK_STATUS(check_with16(slots, second), AUR_ERR_CORRUPT);                /* a cell twice */
    CHECK_STATUS(check_with16(slots, (uint16_t)(first + 1)), AUR_ERR_CORRUPT); /* ends outside */
    CHECK_STATUS(check_with16(slots, PAGE_BYTES - 1), AUR_ERR_CORRUPT);        /* half a header */
    CHECK_STATUS(check_with16(slots, slots), AUR_ERR_CORRUPT);         /* a slot as a cell */
    CHECK_STATUS(check_with16(first, 40), AUR_ERR_CORRUPT);            /* over the end */
    CHECK_STATUS(check_with16(second, 3), AUR_ERR_CORRUPT);            /* into the first */
    CHECK_STATUS(check_with16(second, 1), AUR_ERR_CORRUPT);            /* a byte of nobody */
    CHECK_STATUS(check_with16(AUR_PAGE_SLOTS_AT, 8), AUR_ERR_CORRUPT); /* a cell of nobody */
    CHECK_STATUS(check_with16(AUR_PAGE_SLOTS_AT, UINT16_MAX), AUR_ERR_CORRUPT); /* over the heap */
    CHECK_STATUS(check_with16(AUR_PAGE_HEAP_AT, PAGE_BYTES + 1), AUR_ERR_CORRUPT);
    CHECK_STATUS(check_with16(AUR_PAGE_HEAP_AT + 2, 1), AUR_ERR_CORRUPT);
    CHECK_STATUS(check_with16(AUR_PAGE_GARBAGE_AT, 6), AUR_ERR_CORRUPT);
    CHECK_STATUS(check_with16(AUR_PAGE_GARBAGE_AT + 2, UINT16_MAX), AUR_ERR_CORRUPT);
    CHECK_STATUS(check_with16(AUR_PAGE_TYPE_AT, AUR_PAGE_SQL + 1), AUR_ERR_CORRUPT);
    CHECK_STATUS(check_with16(AUR_PAGE_TYPE_AT, AUR_PAGE_OVERFLOW), AUR_ERR_CORRUPT);
    CHECK_STATUS(check_with16(AUR_PAGE_TYPE_AT, AUR_PAGE_LEAF | 1 << 8), AUR_ERR_CORRUPT);
    CHECK_STATUS(check_with16(AUR_PAGE_TYPE_AT, AUR_PAGE_INNER), AUR_ERR_CORRUPT);
    CHECK_STATUS(check_with16(AUR_PAGE_TYPE_AT, AUR_PAGE_SQL), AUR_ERR_CORRUPT); /* has slots */
    CHECK_OK(check_with16(AUR_PAGE_TYPE_AT, AUR_PAGE_INNER | 1 << 8));
    memset(page, 0, sizeof page);
    CHECK_STATUS(aur_page_check_structure(page, PAGE_BYTES), AUR_ERR_CORRUPT);
}

/* Both pages have the right number of cell bytes: only their places are wrong. */
TEST(cells_that_share_bytes_are_refused) {
    static uint8_t page[PAGE_BYTES];
    const uint8_t nested[8] = {'x', 'x', 2, 0, 'y', 'y', 'z', 'z'};
    CHECK_OK(format_as(page, PAGE_BYTES, AUR_PAGE_LEAF, 0, 0));
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_INSERT, 0, nested, 8));
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_INSERT, 1, nested, 8));
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_INSERT, 2, nested, 2));
    CHECK_OK(aur_page_check_structure(page, PAGE_BYTES));
    const uint16_t first = aur_get16(page + AUR_PAGE_BODY_AT);
    const uint16_t third = aur_get16(page + AUR_PAGE_BODY_AT + 4);
    aur_put16(page + AUR_PAGE_BODY_AT + 4, (uint16_t)(first + 4)); /* a cell inside the first */
    CHECK_STATUS(aur_page_check_structure(page, PAGE_BYTES), AUR_ERR_CORRUPT);
    aur_put16(page + AUR_PAGE_BODY_AT + 4, third);
    CHECK_OK(aur_page_check_structure(page, PAGE_BYTES));
    aur_put16(page + AUR_PAGE_BODY_AT + 2, first); /* the first cell twice */
    CHECK_STATUS(aur_page_check_structure(page, PAGE_BYTES), AUR_ERR_CORRUPT);
}

/* The page claims more garbage than it can have once this cell is deleted. */
TEST(garbage_never_exceeds_the_heap) {
    static uint8_t page[PAGE_BYTES];
    uint8_t one[2];
    aur_put16(one, 1);
    build_leaf(page);
    aur_put32(page + AUR_PAGE_GARBAGE_AT, PAGE_BYTES - aur_get32(page + AUR_PAGE_HEAP_AT));
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_DELETE, 0, one, 2), AUR_ERR_CORRUPT);
}

TEST(bodies_that_break_the_format_are_refused) {
    static uint8_t page[PAGE_BYTES];
    const uint8_t zero[40] = {0};
    const uint8_t torn_cell[5] = {1, 0, 'a', 2, 0};
    build_leaf(page);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_DELETE, 0, zero, 2), AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_DELETE, 0, zero, 3), AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_INSERT_MANY, 0, NULL, 0), AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_INSERT_MANY, 0, zero, 3), AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_INSERT_MANY, 0, torn_cell, 5), AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_PATCH_CELL, 0, zero, 1), AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_FORMAT, AUR_PAGE_LEAF, zero, 11), AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_IMAGE, 0, zero, 3), AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_INSERT, 0, zero, UINT32_MAX - 3), AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_EDIT, 0, zero, 8), AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_LAST + 1, 0, zero, 8), AUR_ERR_CORRUPT);
    CHECK_OK(aur_page_check_structure(page, PAGE_BYTES));
}

/* The same page, its header cut in two between head and tail. */
TEST(an_image_brings_its_whole_header) {
    static uint8_t page[PAGE_BYTES];
    static uint8_t body[PAGE_BYTES + 4];
    CHECK_OK(format_as(page, PAGE_BYTES, AUR_PAGE_BITMAP, 0, 0));
    const uint32_t body_bytes = aur_page_image_body(page, PAGE_BYTES, body);
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_IMAGE, 0, body, body_bytes));
    aur_put32(body, aur_get32(body) - 1);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_IMAGE, 0, body, body_bytes), AUR_ERR_CORRUPT);
    aur_put32(body, aur_get32(body) + 2);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_IMAGE, 0, body, body_bytes), AUR_ERR_CORRUPT);
}

TEST(format_takes_only_kinds_that_exist) {
    static uint8_t page[PAGE_BYTES];
    const uint64_t payload_max = PAGE_BYTES - AUR_PAGE_BODY_AT;
    CHECK_OK(format_as(page, PAGE_BYTES, AUR_PAGE_FREE, 0, 3));
    CHECK_OK(format_as(page, PAGE_BYTES, AUR_PAGE_OVERFLOW, 0, payload_max));
    CHECK_OK(aur_page_check_structure(page, PAGE_BYTES));
    CHECK_STATUS(format_as(page, PAGE_BYTES, AUR_PAGE_OVERFLOW, 0, payload_max + 1),
                 AUR_ERR_CORRUPT);
    CHECK_OK(format_as(page, PAGE_BYTES, AUR_PAGE_SQL, 0, 0));
    CHECK_STATUS(format_as(page, PAGE_BYTES, AUR_PAGE_SQL, 1, 0), AUR_ERR_CORRUPT);
    CHECK_STATUS(format_as(page, PAGE_BYTES, AUR_PAGE_LEAF, 1, 0), AUR_ERR_CORRUPT);
    CHECK_STATUS(format_as(page, PAGE_BYTES, AUR_PAGE_INNER, 0, 0), AUR_ERR_CORRUPT);
    CHECK_STATUS(format_as(page, PAGE_BYTES, AUR_PAGE_SQL + 1, 0, 0), AUR_ERR_CORRUPT);
}

TEST(slotless_pages_take_patches_and_nothing_else) {
    static uint8_t page[PAGE_BYTES];
    const uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    CHECK_OK(format_as(page, PAGE_BYTES, AUR_PAGE_BITMAP, 0, 0));
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_PATCH, PAGE_BYTES - 8, bytes, 8));
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_PATCH, AUR_PAGE_LINK_AT, bytes, 8));
    CHECK_EQ_MEM(page + PAGE_BYTES - 8, bytes, 8);
    CHECK_EQ_MEM(page + AUR_PAGE_LINK_AT, bytes, 8);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_PATCH, PAGE_BYTES - 7, bytes, 8), AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_PATCH, AUR_PAGE_LINK_AT - 1, bytes, 1),
                 AUR_ERR_CORRUPT);
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_INSERT, 0, bytes, 8), AUR_ERR_CORRUPT);
    CHECK_OK(aur_page_check_structure(page, PAGE_BYTES));
    CHECK_OK(format_as(page, PAGE_BYTES, AUR_PAGE_OVERFLOW, 0, 5));
    CHECK_STATUS(change(page, PAGE_BYTES, AUR_OP_PATCH, AUR_PAGE_LINK_AT, bytes, 8),
                 AUR_ERR_CORRUPT);
}

TEST(an_image_of_a_slotless_page_ends_with_its_last_byte) {
    static uint8_t page[PAGE_BYTES];
    static uint8_t copy[PAGE_BYTES];
    static uint8_t body[PAGE_BYTES + 4];
    const uint8_t byte = 9;
    CHECK_OK(format_as(page, PAGE_BYTES, AUR_PAGE_META, 0, 0));
    CHECK_EQ_U64(aur_page_image_body(page, PAGE_BYTES, body), 4 + AUR_PAGE_BODY_AT - 24);
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_PATCH, 1001, &byte, 1));
    const aur_record record = {.op = AUR_OP_IMAGE,
                               .flags = AUR_RECORD_INIT,
                               .lsn = aur_page_lsn(page),
                               .page_id = PAGE_ID,
                               .body = body,
                               .body_bytes = aur_page_image_body(page, PAGE_BYTES, body)};
    CHECK_EQ_U64(record.body_bytes, 4 + 1002 - 24);
    memset(copy, 0x55, sizeof copy);
    CHECK_OK(aur_page_apply(copy, PAGE_BYTES, &record, scratch));
    CHECK_EQ_MEM(copy, page, PAGE_BYTES);
}

/* The largest page: an empty cell in its last two bytes, and one cell that fills it. */
TEST(cells_reach_both_ends_of_a_64_KiB_page) {
    static uint8_t page[AUR_PAGE_BYTES_MAX];
    static uint8_t bytes[AUR_PAGE_BYTES_MAX];
    uint32_t length;
    const uint32_t largest =
        AUR_PAGE_BYTES_MAX - AUR_PAGE_BODY_AT - AUR_SLOT_BYTES - AUR_CELL_HEADER_BYTES;
    memset(bytes, 7, sizeof bytes);
    CHECK_OK(format_as(page, AUR_PAGE_BYTES_MAX, AUR_PAGE_LEAF, 0, 0));
    CHECK_OK(change(page, AUR_PAGE_BYTES_MAX, AUR_OP_INSERT, 0, NULL, 0));
    CHECK_EQ_U64(aur_page_cell(page, 0, &length) - page, AUR_PAGE_BYTES_MAX);
    CHECK_EQ_U64(length, 0);
    CHECK_OK(aur_page_check_structure(page, AUR_PAGE_BYTES_MAX));
    CHECK_STATUS(change(page, AUR_PAGE_BYTES_MAX, AUR_OP_REPLACE, 0, bytes, largest + 1),
                 AUR_ERR_CORRUPT);
    CHECK_OK(change(page, AUR_PAGE_BYTES_MAX, AUR_OP_REPLACE, 0, bytes, largest));
    CHECK_EQ_U64(aur_page_free_bytes(page, AUR_PAGE_BYTES_MAX), 0);
    CHECK_STATUS(change(page, AUR_PAGE_BYTES_MAX, AUR_OP_INSERT, 0, NULL, 0), AUR_ERR_CORRUPT);
    CHECK_OK(aur_page_check_structure(page, AUR_PAGE_BYTES_MAX));
}

/* Offset of slot 0's cell tells whether the page was compacted: only then it moves. */
TEST(a_page_is_compacted_only_when_the_gap_is_too_small) {
    static uint8_t page[PAGE_BYTES];
    static uint8_t bytes[PAGE_BYTES];
    uint8_t one[2];
    memset(bytes, 3, sizeof bytes);
    aur_put16(one, 1);
    CHECK_OK(format_as(page, PAGE_BYTES, AUR_PAGE_LEAF, 0, 0));
    for (uint16_t slot = 0; slot < 4; slot++)
        CHECK_OK(change(page, PAGE_BYTES, AUR_OP_INSERT, slot, bytes, 900));
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_DELETE, 0, one, 2));
    const uint16_t before = aur_get16(page + AUR_PAGE_BODY_AT);
    const uint32_t gap = aur_page_free_bytes(page, PAGE_BYTES) - 902;
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_INSERT, 3, bytes, gap - 4));
    CHECK_EQ_U64(aur_get16(page + AUR_PAGE_BODY_AT), before);
    CHECK_EQ_U64(aur_get32(page + AUR_PAGE_GARBAGE_AT), 902);
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_INSERT, 3, bytes, 400));
    CHECK_EQ_U64(aur_get16(page + AUR_PAGE_BODY_AT), before + 902u);
    CHECK_EQ_U64(aur_get32(page + AUR_PAGE_GARBAGE_AT), 0);
    CHECK_OK(aur_page_check_structure(page, PAGE_BYTES));
}

TEST(bytes_of_deleted_cells_do_not_stay_in_the_page) {
    static uint8_t page[PAGE_BYTES];
    static uint8_t secret[PAGE_BYTES];
    uint8_t one[2];
    memset(secret, 's', sizeof secret);
    aur_put16(one, 1);
    CHECK_OK(format_as(page, PAGE_BYTES, AUR_PAGE_LEAF, 0, 0));
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_INSERT, 0, secret, 100));
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_INSERT, 0, secret, 3000));
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_REPLACE, 0, NULL, 0));
    CHECK_OK(change(page, PAGE_BYTES, AUR_OP_DELETE, 1, one, 2));
    CHECK(memchr(page, 's', PAGE_BYTES) == NULL);
}
