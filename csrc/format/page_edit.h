/*
 * Edits: what AUR_OP_EDIT does to the payload of an SQL page, and how they are found. Normative
 * text: docs/format/record.md.
 *
 * An SQL engine hands over whole pages. What it changed is a few runs of bytes, and runs that it
 * moved: the pointers behind a new cell, or cells that made room for another. So an edit writes
 * bytes, or moves bytes of the same page.
 */
#ifndef AUR_FORMAT_PAGE_EDIT_H
#define AUR_FORMAT_PAGE_EDIT_H

#include "format/record.h"

enum {
    AUR_EDIT_KIND_AT = 0,   /* u8 enum aur_edit_kind */
    AUR_EDIT_TO_AT = 1,     /* u16 offset in the page of the first byte that changes */
    AUR_EDIT_LENGTH_AT = 3, /* u16 bytes that change, at least 1 */
    AUR_EDIT_BODY_AT = 5, /* write: the bytes. Move: u16 offset of the first byte that is copied */
};

enum aur_edit_kind {
    AUR_EDIT_WRITE = 1,
    AUR_EDIT_MOVE = 2, /* the two ranges may overlap: all is read before any is written */
};

/* The edits that turn the payload of page `before` into that of `after`. Returns their bytes, 0
 * when there is no difference, UINT32_MAX when they would take more than `capacity`, or so many
 * runs of bytes differ that nobody should want them. */
uint32_t aur_page_diff(const uint8_t *before, const uint8_t *after, uint32_t page_bytes,
                       uint8_t *out, uint32_t capacity);

#endif
