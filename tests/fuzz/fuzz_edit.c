/*
 * Edits as a body that nobody checked, and the search for edits between two pages. The first half
 * of the input makes a page, by turns of bytes and moves of its own; the second half changes it,
 * and is then a body of edits as it is. What is found between the two pages must make one of the
 * other.
 */
#include <string.h>

#include "base/assert.h"
#include "format/page_edit.h"

enum { PAGE_BYTES = AUR_PAGE_BYTES_MIN, PAYLOAD = PAGE_BYTES - AUR_PAGE_BODY_AT, STEP_BYTES = 6 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Copies of input and of the page itself, so that runs repeat as they do in real pages. */
static void change(uint8_t *page, const uint8_t *bytes, size_t size) {
    uint8_t *payload = page + AUR_PAGE_BODY_AT;
    for (; size >= STEP_BYTES; bytes += STEP_BYTES, size -= STEP_BYTES) {
        const uint32_t to = aur_get16(bytes) % PAYLOAD;
        const uint32_t from = aur_get16(bytes + 2) % PAYLOAD;
        const uint32_t most = PAYLOAD - (to > from ? to : from);
        const uint32_t length = aur_get16(bytes + 4) % (most + 1);
        if (to % 2 == 0) {
            memmove(payload + to, payload + from, length);
        } else {
            for (uint32_t at = 0; at < length; at++) {
                payload[to + at] = (uint8_t)(bytes[at % size] + at / size);
            }
        }
    }
}

static aur_status apply(uint8_t *page, const uint8_t *body, uint32_t body_bytes) {
    static uint8_t scratch[PAGE_BYTES];
    const aur_record record = {.op = AUR_OP_EDIT,
                               .lsn = aur_page_lsn(page) + 1,
                               .page_id = aur_page_number(page),
                               .page_prev_lsn = aur_page_lsn(page),
                               .body = body,
                               .body_bytes = body_bytes};
    return aur_page_apply(page, PAGE_BYTES, &record, scratch);
}

static void check_diff(const uint8_t *before, const uint8_t *after) {
    uint8_t page[PAGE_BYTES];
    uint8_t body[PAGE_BYTES];
    const uint32_t bytes = aur_page_diff(before, after, PAGE_BYTES, body, sizeof body);
    memcpy(page, before, sizeof page);
    if (bytes == UINT32_MAX) {
        return;
    }
    AUR_ASSERT(bytes == 0 || apply(page, body, bytes) == AUR_OK);
    AUR_ASSERT(memcmp(page + AUR_PAGE_BODY_AT, after + AUR_PAGE_BODY_AT, PAYLOAD) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    uint8_t before[PAGE_BYTES] = {0};
    uint8_t after[PAGE_BYTES];
    before[AUR_PAGE_TYPE_AT] = AUR_PAGE_SQL;
    aur_put32(before + AUR_PAGE_HEAP_AT, PAGE_BYTES);
    change(before, bytes, size / 2);
    memcpy(after, before, sizeof after);
    change(after, bytes + size / 2, size - size / 2);
    check_diff(before, after);
    if (size < PAGE_BYTES &&
        apply(after, bytes + size / 2, (uint32_t)(size - size / 2)) == AUR_OK) {
        AUR_ASSERT(aur_page_check_structure(after, PAGE_BYTES) == AUR_OK);
        check_diff(before, after);
    }
    return 0;
}
