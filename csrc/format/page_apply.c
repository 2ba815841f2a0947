/*
 * Redo: one record changes one page, the same way on the writer and on every segment.
 *
 * Every byte of a page that is neither header nor slot nor live cell is zero, always: space is
 * zeroed when it is given up. So a page that was rebuilt from an image equals one that took every
 * record, byte for byte, and deleted data is gone. Each operation proves that it fits before it
 * changes anything.
 */
#include <string.h>

#include "format/page_private.h"

enum {
    FORMAT_BODY_BYTES = 12,
    FORMAT_LINK_AT = 4,
    DELETE_BODY_BYTES = 2,
    PATCH_CELL_BYTES_AT = 2,
    NO_SLOT = UINT16_MAX, /* above every slot: 64 KiB have room for less than 32768 of them */
};

/* The page that an operation works on, and its layout, read once and written back once. */
typedef struct target {
    uint8_t *page;
    uint32_t page_bytes;
    uint8_t *scratch;
    auri_page_layout layout;
} target;

static void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t length) {
    if (length > 0) {
        memcpy(to, from, length); /* an empty body may be NULL, which memcpy does not take */
    }
}

/* Moves all cells to the end of the page in slot order, so that garbage joins the gap. The cell of
 * slot `vacated` (NO_SLOT: none) was given up already. */
static bool compact(target *at, uint32_t vacated) {
    uint32_t heap = at->page_bytes;
    uint32_t offset;
    uint32_t length;
    for (uint32_t slot = 0; slot < at->layout.slots; slot++) {
        if (slot == vacated) {
            continue;
        }
        if (!auri_page_find_cell(at->page, at->page_bytes, &at->layout, slot, &offset, &length)) {
            return false;
        }
        length += AUR_CELL_HEADER_BYTES;
        if (length > heap - at->layout.heap) {
            return false; /* cells that overlap: together they are longer than the heap */
        }
        heap -= length;
        memcpy(at->scratch + heap, at->page + offset, length);
        aur_put16(auri_page_slot(at->page, slot), (uint16_t)heap);
    }
    memcpy(at->page + heap, at->scratch + heap, at->page_bytes - heap);
    memset(at->page + at->layout.heap, 0, heap - at->layout.heap);
    at->layout.heap = heap;
    at->layout.garbage = 0;
    return true;
}

/* Makes the gap at least `needed` bytes wide. */
static bool make_room(target *at, uint32_t needed, uint32_t vacated) {
    const uint32_t gap = auri_page_gap(&at->layout);
    if (needed <= gap) {
        return true;
    }
    if (needed > gap + at->layout.garbage) {
        return false;
    }
    return compact(at, vacated) && needed <= auri_page_gap(&at->layout);
}

/* Writes a cell at the low end of the heap. The gap has room for it. */
static void put_cell(target *at, uint32_t slot, const uint8_t *bytes, uint32_t length) {
    at->layout.heap -= AUR_CELL_HEADER_BYTES + length;
    uint8_t *cell = at->page + at->layout.heap;
    aur_put16(cell, (uint16_t)length);
    copy_bytes(cell + AUR_CELL_HEADER_BYTES, bytes, length);
    aur_put16(auri_page_slot(at->page, slot), (uint16_t)at->layout.heap);
}

/* Opens `count` slots before `slot`; their contents are the caller's to fill. The gap has room for
 * them. */
static void open_slots(target *at, uint32_t slot, uint32_t count) {
    uint8_t *first = auri_page_slot(at->page, slot);
    memmove(first + AUR_SLOT_BYTES * count, first,
            AUR_SLOT_BYTES * (size_t)(at->layout.slots - slot));
    at->layout.slots += count;
}

/* Gives `length` bytes of the heap up. False when the page then counts more garbage than it has
 * heap. */
static bool discard(target *at, uint32_t offset, uint32_t length) {
    if (length > at->page_bytes - at->layout.heap - at->layout.garbage) {
        return false;
    }
    memset(at->page + offset, 0, length);
    at->layout.garbage += length;
    return true;
}

static bool apply_insert(target *at, const aur_record *record) {
    const uint32_t needed = AUR_SLOT_BYTES + AUR_CELL_HEADER_BYTES + record->body_bytes;
    if (record->arg > at->layout.slots || !make_room(at, needed, NO_SLOT)) {
        return false;
    }
    open_slots(at, record->arg, 1);
    put_cell(at, record->arg, record->body, record->body_bytes);
    return true;
}

/* Counts the cells of an INSERT_MANY body. False when it does not end where its last cell does. */
static bool count_cells(const aur_record *record, uint32_t *count_out) {
    uint32_t count = 0;
    uint32_t used = 0;
    while (used < record->body_bytes) {
        if (record->body_bytes - used < AUR_CELL_HEADER_BYTES) {
            return false;
        }
        const uint32_t length = aur_get16(record->body + used);
        used += AUR_CELL_HEADER_BYTES;
        if (length > record->body_bytes - used) {
            return false;
        }
        used += length;
        count++;
    }
    *count_out = count;
    return count > 0;
}

static bool apply_insert_many(target *at, const aur_record *record) {
    uint32_t count;
    if (record->arg > at->layout.slots || !count_cells(record, &count) ||
        !make_room(at, AUR_SLOT_BYTES * count + record->body_bytes, NO_SLOT)) {
        return false;
    }
    open_slots(at, record->arg, count);
    const uint8_t *cell = record->body;
    for (uint32_t added = 0; added < count; added++) {
        const uint32_t length = aur_get16(cell);
        put_cell(at, record->arg + added, cell + AUR_CELL_HEADER_BYTES, length);
        cell += AUR_CELL_HEADER_BYTES + length;
    }
    return true;
}

static bool apply_delete(target *at, const aur_record *record) {
    if (record->body_bytes != DELETE_BODY_BYTES) {
        return false;
    }
    const uint32_t count = aur_get16(record->body);
    if (count == 0 || record->arg + count > at->layout.slots) {
        return false;
    }
    for (uint32_t slot = record->arg; slot < record->arg + count; slot++) {
        uint32_t offset;
        uint32_t length;
        if (!auri_page_find_cell(at->page, at->page_bytes, &at->layout, slot, &offset, &length) ||
            !discard(at, offset, AUR_CELL_HEADER_BYTES + length)) {
            return false;
        }
    }
    const uint32_t remaining = at->layout.slots - count;
    uint8_t *first = auri_page_slot(at->page, record->arg);
    memmove(first, first + AUR_SLOT_BYTES * count,
            AUR_SLOT_BYTES * (size_t)(remaining - record->arg));
    memset(auri_page_slot(at->page, remaining), 0, AUR_SLOT_BYTES * (size_t)count);
    at->layout.slots = remaining;
    return true;
}

/* A cell that does not grow stays where it is; a longer one moves to the low end of the heap. */
static bool apply_replace(target *at, const aur_record *record) {
    const uint32_t slot = record->arg;
    const uint32_t length = record->body_bytes;
    uint32_t offset;
    uint32_t old_length;
    if (slot >= at->layout.slots ||
        !auri_page_find_cell(at->page, at->page_bytes, &at->layout, slot, &offset, &old_length)) {
        return false;
    }
    const uint32_t old_bytes = AUR_CELL_HEADER_BYTES + old_length;
    if (length <= old_length) {
        aur_put16(at->page + offset, (uint16_t)length);
        copy_bytes(at->page + offset + AUR_CELL_HEADER_BYTES, record->body, length);
        return discard(at, offset + AUR_CELL_HEADER_BYTES + length, old_length - length);
    }
    const uint32_t free_bytes = auri_page_gap(&at->layout) + at->layout.garbage;
    if (AUR_CELL_HEADER_BYTES + length > free_bytes + old_bytes ||
        !discard(at, offset, old_bytes) || !make_room(at, AUR_CELL_HEADER_BYTES + length, slot)) {
        return false;
    }
    put_cell(at, slot, record->body, length);
    return true;
}

static bool apply_patch_cell(target *at, const aur_record *record) {
    uint32_t offset;
    uint32_t length;
    if (record->body_bytes < PATCH_CELL_BYTES_AT || record->arg >= at->layout.slots ||
        !auri_page_find_cell(at->page, at->page_bytes, &at->layout, record->arg, &offset,
                             &length)) {
        return false;
    }
    const uint32_t from = aur_get16(record->body);
    const uint32_t count = record->body_bytes - PATCH_CELL_BYTES_AT;
    if (from + count > length) {
        return false;
    }
    memcpy(at->page + offset + AUR_CELL_HEADER_BYTES + from, record->body + PATCH_CELL_BYTES_AT,
           count);
    return true;
}

/* The fields before the link are apply's own, and so are slots and cells. */
static bool apply_patch(uint8_t *page, uint32_t page_bytes, const aur_record *record) {
    const uint32_t end = auri_page_is_slotted(page) ? (uint32_t)AUR_PAGE_BODY_AT : page_bytes;
    if (record->arg < AUR_PAGE_LINK_AT || record->arg > end ||
        record->body_bytes > end - record->arg) {
        return false;
    }
    copy_bytes(page + record->arg, record->body, record->body_bytes);
    return auri_page_kind_is_valid(page_bytes, aur_page_type_of(page), aur_page_level(page),
                                   aur_page_link(page));
}

static bool apply_format(uint8_t *page, uint32_t page_bytes, const aur_record *record) {
    const uint8_t type = (uint8_t)(record->arg & 0xff);
    const uint8_t level = (uint8_t)(record->arg >> 8);
    if (record->body_bytes != FORMAT_BODY_BYTES) {
        return false;
    }
    const uint64_t link = aur_get64(record->body + FORMAT_LINK_AT);
    if (!auri_page_kind_is_valid(page_bytes, type, level, link)) {
        return false;
    }
    memset(page, 0, page_bytes);
    aur_put64(page + AUR_PAGE_ID_AT, record->page_id);
    page[AUR_PAGE_TYPE_AT] = type;
    page[AUR_PAGE_LEVEL_AT] = level;
    aur_put32(page + AUR_PAGE_HEAP_AT, page_bytes);
    aur_put32(page + AUR_PAGE_OWNER_AT, aur_get32(record->body));
    aur_put64(page + AUR_PAGE_LINK_AT, link);
    return true;
}

/* The operations on slots and cells. */
static bool apply_to_slots(target *at, const aur_record *record) {
    switch (record->op) {
    case AUR_OP_INSERT:
        return apply_insert(at, record);
    case AUR_OP_INSERT_MANY:
        return apply_insert_many(at, record);
    case AUR_OP_DELETE:
        return apply_delete(at, record);
    case AUR_OP_REPLACE:
        return apply_replace(at, record);
    case AUR_OP_PATCH_CELL:
        return apply_patch_cell(at, record);
    default:
        return false;
    }
}

/* The operations that change a page which is there already. */
static bool apply_change(uint8_t *page, uint32_t page_bytes, const aur_record *record,
                         uint8_t *scratch) {
    target at = {.page = page, .page_bytes = page_bytes, .scratch = scratch};
    if (aur_page_lsn(page) != record->page_prev_lsn || aur_page_number(page) != record->page_id ||
        !auri_page_layout_read(page, page_bytes, &at.layout)) {
        return false;
    }
    if (record->op == AUR_OP_PATCH) {
        return apply_patch(page, page_bytes, record);
    }
    if (record->op == AUR_OP_EDIT) {
        return auri_page_apply_edits(page, page_bytes, record);
    }
    if (!auri_page_is_slotted(page) || !apply_to_slots(&at, record)) {
        return false;
    }
    auri_page_layout_write(page, &at.layout);
    return true;
}

aur_status aur_page_apply(uint8_t *page, uint32_t page_bytes, const aur_record *record,
                          uint8_t *scratch) {
    bool applied;
    if (record->body_bytes > page_bytes) {
        return AUR_ERR_CORRUPT; /* no body is longer; and sums of lengths stay far from overflow
                                   below */
    }
    if (record->op == AUR_OP_IMAGE) {
        applied = auri_page_apply_image(page, page_bytes, record);
    } else if (record->op == AUR_OP_FORMAT) {
        applied = apply_format(page, page_bytes, record);
    } else {
        applied = apply_change(page, page_bytes, record, scratch);
    }
    if (!applied) {
        return AUR_ERR_CORRUPT;
    }
    aur_put64(page + AUR_PAGE_CHECKSUM_AT, 0);
    aur_put64(page + AUR_PAGE_LSN_AT, record->lsn);
    return AUR_OK;
}
