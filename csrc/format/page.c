/* Accounting and checks of pages. */
#include "format/page.h"

#include <string.h>

#include "format/checksum.h"
#include "format/page_private.h"

enum { WORD_BITS = 64 };

/* One bit for each byte of the largest page: set where a cell starts. */
typedef struct cell_starts {
    uint64_t words[AUR_PAGE_BYTES_MAX / WORD_BITS];
} cell_starts;

bool auri_page_layout_read(const uint8_t *page, uint32_t page_bytes, auri_page_layout *layout) {
    layout->slots = aur_page_slots(page);
    layout->heap = aur_get32(page + AUR_PAGE_HEAP_AT);
    layout->garbage = aur_get32(page + AUR_PAGE_GARBAGE_AT);
    if (layout->heap > page_bytes || auri_page_directory_end(layout) > layout->heap) {
        return false;
    }
    if (!auri_page_is_slotted(page)) {
        return layout->slots == 0 && layout->heap == page_bytes && layout->garbage == 0;
    }
    return layout->garbage <= page_bytes - layout->heap;
}

void auri_page_layout_write(uint8_t *page, const auri_page_layout *layout) {
    aur_put16(page + AUR_PAGE_SLOTS_AT, (uint16_t)layout->slots);
    aur_put32(page + AUR_PAGE_HEAP_AT, layout->heap);
    aur_put32(page + AUR_PAGE_GARBAGE_AT, layout->garbage);
}

bool auri_page_find_cell(const uint8_t *page, uint32_t page_bytes, const auri_page_layout *layout,
                         uint32_t slot, uint32_t *offset_out, uint32_t *length_out) {
    const uint32_t offset = aur_get16(page + AUR_PAGE_BODY_AT + AUR_SLOT_BYTES * slot);
    if (offset < layout->heap || offset + AUR_CELL_HEADER_BYTES > page_bytes) {
        return false;
    }
    *offset_out = offset;
    *length_out = aur_get16(page + offset);
    return offset + AUR_CELL_HEADER_BYTES + *length_out <= page_bytes;
}

bool auri_page_kind_is_valid(uint32_t page_bytes, uint8_t type, uint8_t level, uint64_t link) {
    switch (type) {
    case AUR_PAGE_INNER:
        return level > 0;
    case AUR_PAGE_OVERFLOW:
        return level == 0 && link <= page_bytes - AUR_PAGE_BODY_AT;
    case AUR_PAGE_FREE:
    case AUR_PAGE_LEAF:
    case AUR_PAGE_BITMAP:
    case AUR_PAGE_META:
    case AUR_PAGE_SQL:
        return level == 0;
    default:
        return false;
    }
}

uint32_t aur_page_free_bytes(const uint8_t *page, uint32_t page_bytes) {
    auri_page_layout layout;
    if (!auri_page_layout_read(page, page_bytes, &layout)) {
        return 0;
    }
    return auri_page_gap(&layout) + layout.garbage;
}

uint32_t aur_page_used_bytes(const uint8_t *page, uint32_t page_bytes) {
    return page_bytes - AUR_PAGE_BODY_AT - aur_page_free_bytes(page, page_bytes);
}

void aur_page_seal(uint8_t *page, uint32_t page_bytes) {
    const uint64_t sum =
        aur_checksum(page + AUR_PAGE_ID_AT, page_bytes - AUR_PAGE_ID_AT, aur_page_number(page));
    aur_put64(page + AUR_PAGE_CHECKSUM_AT, sum);
}

/* Sets the bit of `offset`; false when it was set. */
static bool mark_start(cell_starts *starts, uint32_t offset) {
    uint64_t *word = &starts->words[offset / WORD_BITS];
    const uint64_t bit = UINT64_C(1) << (offset % WORD_BITS);
    const bool fresh = (*word & bit) == 0;
    *word |= bit;
    return fresh;
}

/* True iff no cell starts in [begin, end). */
static bool is_clear(const cell_starts *starts, uint32_t begin, uint32_t end) {
    while (begin < end) {
        const uint32_t in_word = begin % WORD_BITS;
        const uint32_t width =
            end - begin < WORD_BITS - in_word ? end - begin : WORD_BITS - in_word;
        const uint64_t mask = (~UINT64_C(0) >> (WORD_BITS - width)) << in_word;
        if ((starts->words[begin / WORD_BITS] & mask) != 0) {
            return false;
        }
        begin += width;
    }
    return true;
}

/* Cells lie inside the heap, none overlaps another, and together with the garbage they are the
 * heap. Two cells overlap exactly if one starts inside the other, which a map of the starts shows
 * in one pass. */
static bool cells_are_sound(const uint8_t *page, uint32_t page_bytes,
                            const auri_page_layout *layout) {
    cell_starts starts;
    uint32_t live = 0;
    uint32_t offset;
    uint32_t length;
    memset(starts.words, 0, page_bytes / 8);
    for (uint32_t slot = 0; slot < layout->slots; slot++) {
        if (!auri_page_find_cell(page, page_bytes, layout, slot, &offset, &length) ||
            !mark_start(&starts, offset)) {
            return false;
        }
    }
    for (uint32_t slot = 0; slot < layout->slots; slot++) {
        const uint8_t *cell = aur_page_cell(page, slot, &length);
        offset = (uint32_t)(cell - page);
        if (!is_clear(&starts, offset - AUR_CELL_HEADER_BYTES + 1, offset + length)) {
            return false;
        }
        live += AUR_CELL_HEADER_BYTES + length;
    }
    return live + layout->garbage == page_bytes - layout->heap;
}

aur_status aur_page_check_structure(const uint8_t *page, uint32_t page_bytes) {
    auri_page_layout layout;
    if (!auri_page_kind_is_valid(page_bytes, aur_page_type_of(page), aur_page_level(page),
                                 aur_page_link(page)) ||
        !auri_page_layout_read(page, page_bytes, &layout) ||
        !cells_are_sound(page, page_bytes, &layout)) {
        return AUR_ERR_CORRUPT;
    }
    return AUR_OK;
}

aur_status aur_page_check(const uint8_t *page, uint32_t page_bytes, aur_page_id page_id) {
    const uint64_t sum = aur_checksum(page + AUR_PAGE_ID_AT, page_bytes - AUR_PAGE_ID_AT, page_id);
    if (sum != aur_get64(page + AUR_PAGE_CHECKSUM_AT) || aur_page_number(page) != page_id) {
        return AUR_ERR_CORRUPT;
    }
    return aur_page_check_structure(page, page_bytes);
}
