/* A page as one record: everything but its free middle. */
#include <string.h>

#include "format/page_private.h"

/* The image starts behind id and LSN, which travel in the record's header. */
enum { IMAGE_FROM = AUR_PAGE_TYPE_AT, HEAD_BYTES = 4 };

/* End of the last byte that is not zero, at least AUR_PAGE_BODY_AT. */
static uint32_t last_used_byte(const uint8_t *page, uint32_t page_bytes) {
    uint32_t end = page_bytes;
    while (end > AUR_PAGE_BODY_AT && aur_get64(page + end - sizeof(uint64_t)) == 0) {
        end -= (uint32_t)sizeof(uint64_t);
    }
    while (end > AUR_PAGE_BODY_AT && page[end - 1] == 0) {
        end--;
    }
    return end;
}

/* An SQL page has its free middle wherever SQLite has put it: the longest run of zeros, by whole
 * words. What lies behind it is *tail_out bytes long; returns where it begins. */
static uint32_t longest_gap(const uint8_t *page, uint32_t page_bytes, uint32_t *tail_out) {
    uint32_t begin = page_bytes;
    uint32_t end = page_bytes;
    uint32_t at = AUR_PAGE_BODY_AT;
    while (at < page_bytes) {
        const uint32_t from = at;
        while (at < page_bytes && aur_get64(page + at) == 0) {
            at += (uint32_t)sizeof(uint64_t);
        }
        if (at - from > end - begin) {
            begin = from;
            end = at;
        }
        at += (uint32_t)sizeof(uint64_t);
    }
    *tail_out = page_bytes - end;
    return begin;
}

_Static_assert(AUR_PAGE_BODY_AT % sizeof(uint64_t) == 0, "a payload is whole words");

uint32_t aur_page_image_body(const uint8_t *page, uint32_t page_bytes, uint8_t *out) {
    uint32_t head_end = last_used_byte(page, page_bytes);
    uint32_t tail_bytes = 0;
    auri_page_layout layout;
    if (auri_page_is_slotted(page) && auri_page_layout_read(page, page_bytes, &layout)) {
        head_end = auri_page_directory_end(&layout);
        tail_bytes = page_bytes - layout.heap;
    } else if (aur_page_type_of(page) == AUR_PAGE_SQL) {
        head_end = longest_gap(page, page_bytes, &tail_bytes);
    }
    aur_put32(out, head_end - IMAGE_FROM);
    memcpy(out + HEAD_BYTES, page + IMAGE_FROM, head_end - IMAGE_FROM);
    memcpy(out + HEAD_BYTES + head_end - IMAGE_FROM, page + page_bytes - tail_bytes, tail_bytes);
    return HEAD_BYTES + head_end - IMAGE_FROM + tail_bytes;
}

bool auri_page_apply_image(uint8_t *page, uint32_t page_bytes, const aur_record *record) {
    const uint32_t room = page_bytes - IMAGE_FROM;
    if (record->body_bytes < HEAD_BYTES || record->body_bytes - HEAD_BYTES > room) {
        return false;
    }
    const uint32_t head = aur_get32(record->body);
    if (head < AUR_PAGE_BODY_AT - IMAGE_FROM || head > record->body_bytes - HEAD_BYTES) {
        return false;
    }
    const uint32_t tail = record->body_bytes - HEAD_BYTES - head;
    memcpy(page + IMAGE_FROM, record->body + HEAD_BYTES, head);
    memset(page + IMAGE_FROM + head, 0, room - head - tail);
    memcpy(page + page_bytes - tail, record->body + HEAD_BYTES + head, tail);
    aur_put64(page + AUR_PAGE_ID_AT, record->page_id);
    return aur_page_check_structure(page, page_bytes) == AUR_OK;
}
