/*
 * The page: a header, a slot directory that grows up, cells that grow down. Normative text:
 * docs/format/page.md.
 *
 * `format` knows slots and cells, never keys: what a cell means is the tree's business. Every
 * change of a page is one of the operations of format/record.h, applied by aur_page_apply on the
 * writer and on every segment alike, so equal records give equal bytes.
 * Whatever is neither header nor slot nor live cell is zero.
 *
 * Thread rule: none of these functions lock; the caller owns the buffer.
 */
#ifndef AUR_FORMAT_PAGE_H
#define AUR_FORMAT_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/endian.h"
#include "base/status.h"
#include "format/types.h"

enum {
    AUR_PAGE_CHECKSUM_AT =
        0,              /* u64 XXH3 of the bytes from 8 on, seeded with the page id; 0 in memory */
    AUR_PAGE_ID_AT = 8, /* u64 */
    AUR_PAGE_LSN_AT = 16,     /* u64 LSN of the newest record applied */
    AUR_PAGE_TYPE_AT = 24,    /* u8 enum aur_page_type */
    AUR_PAGE_LEVEL_AT = 25,   /* u8 height above the leaves */
    AUR_PAGE_SLOTS_AT = 26,   /* u16 number of slots */
    AUR_PAGE_HEAP_AT = 28,    /* u32 offset of the lowest cell byte; page size when there is none */
    AUR_PAGE_GARBAGE_AT = 32, /* u32 bytes of deleted cells inside the heap */
    AUR_PAGE_OWNER_AT = 36,   /* u32 table id */
    AUR_PAGE_LINK_AT = 40,  /* u64 inner: leftmost child; overflow: bytes of payload on this page */
    AUR_PAGE_COUNT_AT = 48, /* u64 root: records in the table */
    AUR_PAGE_BODY_AT = 56, /* slot directory (u16 offsets), or the payload of pages without slots */
};

_Static_assert(AUR_PAGE_CHECKSUM_AT == 0 && AUR_PAGE_ID_AT == 8,
               "the checksum covers all but itself");
_Static_assert(AUR_PAGE_BODY_AT == AUR_PAGE_COUNT_AT + 8 && AUR_PAGE_BODY_AT == 56, "page header");
_Static_assert(AUR_PAGE_LINK_AT % 8 == 0 && AUR_PAGE_BODY_AT % 8 == 0, "page header alignment");

enum aur_page_type {
    AUR_PAGE_FREE = 0,
    AUR_PAGE_LEAF = 1,
    AUR_PAGE_INNER = 2,
    AUR_PAGE_OVERFLOW = 3,
    AUR_PAGE_BITMAP = 4,
    AUR_PAGE_META = 5,
    AUR_PAGE_SQL = 6, /* payload: a page of an SQL database, without its reserved end */
};

/* A cell is u16 length, then that many bytes. Slots hold the cell's offset. */
enum { AUR_CELL_HEADER_BYTES = 2, AUR_SLOT_BYTES = 2 };
_Static_assert(AUR_PAGE_BYTES_MAX - AUR_CELL_HEADER_BYTES <= UINT16_MAX,
               "a slot reaches every cell");

static inline aur_lsn aur_page_lsn(const uint8_t *page) {
    return aur_get64(page + AUR_PAGE_LSN_AT);
}
static inline aur_page_id aur_page_number(const uint8_t *page) {
    return aur_get64(page + AUR_PAGE_ID_AT);
}
static inline uint8_t aur_page_type_of(const uint8_t *page) { return page[AUR_PAGE_TYPE_AT]; }
static inline uint8_t aur_page_level(const uint8_t *page) { return page[AUR_PAGE_LEVEL_AT]; }
static inline uint32_t aur_page_owner(const uint8_t *page) {
    return aur_get32(page + AUR_PAGE_OWNER_AT);
}
static inline uint64_t aur_page_link(const uint8_t *page) {
    return aur_get64(page + AUR_PAGE_LINK_AT);
}
static inline uint64_t aur_page_count(const uint8_t *page) {
    return aur_get64(page + AUR_PAGE_COUNT_AT);
}
static inline uint32_t aur_page_slots(const uint8_t *page) {
    return aur_get16(page + AUR_PAGE_SLOTS_AT);
}

/* Cell of a slot. Precondition: slot < aur_page_slots, page passed aur_page_check or was built by
 * apply. */
static inline const uint8_t *aur_page_cell(const uint8_t *page, uint32_t slot,
                                           uint32_t *length_out) {
    const uint8_t *cell = page + aur_get16(page + AUR_PAGE_BODY_AT + AUR_SLOT_BYTES * slot);
    *length_out = aur_get16(cell);
    return cell + AUR_CELL_HEADER_BYTES;
}

/* Bytes that slots and cells may still take, counting garbage that a compaction inside the page
 * would win back. 0 for a page whose layout fields break the format. */
uint32_t aur_page_free_bytes(const uint8_t *page, uint32_t page_bytes);

/* Bytes that live cells and their slots take. */
uint32_t aur_page_used_bytes(const uint8_t *page, uint32_t page_bytes);

/* For a page that is stored or sent by itself, which none is yet: seals it (writes its checksum),
 * and checks one that came so: checksum, id, and that all offsets lie inside. aur_page_check
 * returns AUR_ERR_CORRUPT; it accepts any bytes without undefined behaviour. */
void aur_page_seal(uint8_t *page, uint32_t page_bytes);
aur_status aur_page_check(const uint8_t *page, uint32_t page_bytes,
                          aur_page_id page_id) AUR_CHECKED;

/* The structural half of the check, without the checksum: type and level exist, cells lie inside
 * the heap, do not overlap, and make up the heap together with the garbage. AUR_ERR_CORRUPT. */
aur_status aur_page_check_structure(const uint8_t *page, uint32_t page_bytes) AUR_CHECKED;

#endif
