/*
 * What page.c, page_apply.c and page_image.c share. Every function here takes any bytes without
 * undefined behaviour: a page may come from disk, and a record from the wire.
 */
#ifndef AUR_FORMAT_PAGE_PRIVATE_H
#define AUR_FORMAT_PAGE_PRIVATE_H

#include "format/page.h"
#include "format/record.h"

/* The header fields that say where slots and cells are, decoded. */
typedef struct auri_page_layout {
    uint32_t slots;
    uint32_t heap;
    uint32_t garbage;
} auri_page_layout;

/* Only leaf and inner pages have slots; all others use the bytes from AUR_PAGE_BODY_AT as they
 * like. */
static inline bool auri_page_is_slotted(const uint8_t *page) {
    const uint8_t type = aur_page_type_of(page);
    return type == AUR_PAGE_LEAF || type == AUR_PAGE_INNER;
}

/* End of the slot directory: the first byte of the free gap. */
static inline uint32_t auri_page_directory_end(const auri_page_layout *layout) {
    return AUR_PAGE_BODY_AT + AUR_SLOT_BYTES * layout->slots;
}

/* The gap between slot directory and heap. */
static inline uint32_t auri_page_gap(const auri_page_layout *layout) {
    return layout->heap - auri_page_directory_end(layout);
}

static inline uint8_t *auri_page_slot(uint8_t *page, uint32_t slot) {
    return page + AUR_PAGE_BODY_AT + AUR_SLOT_BYTES * slot;
}

/* Decodes the layout. False when it contradicts the page size or itself; *layout is then not to be
 * used. */
bool auri_page_layout_read(const uint8_t *page, uint32_t page_bytes, auri_page_layout *layout);

void auri_page_layout_write(uint8_t *page, const auri_page_layout *layout);

/* Offset and length of a slot's cell. False when it does not lie inside the heap. Precondition:
 * layout was read from this page, slot < layout->slots. */
bool auri_page_find_cell(const uint8_t *page, uint32_t page_bytes, const auri_page_layout *layout,
                         uint32_t slot, uint32_t *offset_out, uint32_t *length_out);

/* True iff this type may stand at this level, and `link` is a length that fits if the type is
 * overflow. */
bool auri_page_kind_is_valid(uint32_t page_bytes, uint8_t type, uint8_t level, uint64_t link);

/* Applies AUR_OP_IMAGE, all but the LSN. False when the body breaks the format, or does not make a
 * sound page. */
bool auri_page_apply_image(uint8_t *page, uint32_t page_bytes, const aur_record *record);

/* Applies AUR_OP_EDIT, all but the LSN. False when an edit breaks the format. */
bool auri_page_apply_edits(uint8_t *page, uint32_t page_bytes, const aur_record *record);

#endif
