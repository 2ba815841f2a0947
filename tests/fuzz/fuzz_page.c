/*
 * A page from nowhere, and then records for it. Input: u16 length of the page's head (from byte 24
 * on), u16 length of its tail, both, and records. Apply must stay inside the page whatever it
 * holds; a page that passes the check must be readable, and come back from its image.
 */
#include <string.h>

#include "base/assert.h"
#include "format/record.h"

enum { PAGE_BYTES = AUR_PAGE_BYTES_MIN, HEAD_AT = AUR_PAGE_TYPE_AT, PAGE_ID = 1 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Fills `page`; returns how many input bytes that took. */
static size_t read_page(uint8_t *page, const uint8_t *bytes, size_t size) {
    if (size < 4) {
        return size;
    }
    size_t head = aur_get16(bytes);
    size_t tail = aur_get16(bytes + 2);
    bytes += 4;
    size -= 4;
    head = head < size ? head : size;
    head = head < PAGE_BYTES - HEAD_AT ? head : PAGE_BYTES - HEAD_AT;
    tail = tail < size - head ? tail : size - head;
    tail = tail < PAGE_BYTES - HEAD_AT ? tail : PAGE_BYTES - HEAD_AT;
    aur_put64(page + AUR_PAGE_ID_AT, PAGE_ID);
    memcpy(page + HEAD_AT, bytes, head);
    memcpy(page + PAGE_BYTES - tail, bytes + head, tail);
    return 4 + head + tail;
}

/* Reads every cell; the sum keeps the compiler from leaving the reads out. */
static uint64_t read_cells(const uint8_t *page) {
    uint64_t sum = 0;
    for (uint32_t slot = 0; slot < aur_page_slots(page); slot++) {
        uint32_t length;
        const uint8_t *cell = aur_page_cell(page, slot, &length);
        for (uint32_t at = 0; at < length; at++) {
            sum += cell[at];
        }
    }
    return sum;
}

/* The image of a sound page makes a page with the same cells. */
static void check_image(const uint8_t *page) {
    uint8_t body[PAGE_BYTES + 4];
    uint8_t copy[PAGE_BYTES];
    uint8_t scratch[PAGE_BYTES];
    const aur_record record = {.op = AUR_OP_IMAGE,
                               .flags = AUR_RECORD_INIT,
                               .lsn = aur_page_lsn(page),
                               .page_id = PAGE_ID,
                               .body = body,
                               .body_bytes = aur_page_image_body(page, PAGE_BYTES, body)};
    AUR_ASSERT(aur_page_apply(copy, PAGE_BYTES, &record, scratch) == AUR_OK);
    AUR_ASSERT(aur_page_used_bytes(copy, PAGE_BYTES) == aur_page_used_bytes(page, PAGE_BYTES));
    AUR_ASSERT(read_cells(copy) == read_cells(page));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    uint8_t page[PAGE_BYTES] = {0};
    uint8_t scratch[PAGE_BYTES];
    aur_record record;
    size_t used = read_page(page, bytes, size);
    bool sound = aur_page_check_structure(page, PAGE_BYTES) == AUR_OK;
    do {
        if (sound) {
            check_image(page);
        }
        bytes += used;
        size -= used;
        if (aur_record_decode(bytes, size, &record, &used) != AUR_OK) {
            break;
        }
        record.page_id = PAGE_ID;
        record.page_prev_lsn = aur_page_lsn(page);
        if (aur_page_apply(page, PAGE_BYTES, &record, scratch) != AUR_OK) {
            break;
        }
        sound = sound || (record.flags & AUR_RECORD_INIT) != 0;
        AUR_ASSERT(!sound || aur_page_check_structure(page, PAGE_BYTES) == AUR_OK);
    } while (size > 0);
    return 0;
}
