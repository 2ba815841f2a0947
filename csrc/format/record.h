/*
 * A redo record: one operation on one page. Normative text: docs/format/record.md.
 *
 * Records are self-contained: they travel in frames, rest in layers, and are applied by anybody who
 * holds the page at `page_prev_lsn`. The three back links of Aurora (SIGMOD 2018, 2.2) are: block =
 * page_prev_lsn here; segment = prev_lsn of the frame; volume = volume_first of the frame.
 */
#ifndef AUR_FORMAT_RECORD_H
#define AUR_FORMAT_RECORD_H

#include <stdbool.h>
#include <stddef.h>

#include "format/page.h"

enum {
    AUR_RECORD_LENGTH_AT = 0, /* u32 bytes, this header and the commit time included */
    AUR_RECORD_OP_AT = 4,     /* u8 enum aur_record_op */
    AUR_RECORD_FLAGS_AT = 5,  /* u8 enum aur_record_flag */
    AUR_RECORD_ARG_AT =
        6, /* u16 slot, or offset in the page, or page type and level: see the operation */
    AUR_RECORD_LSN_AT = 8,   /* u64 */
    AUR_RECORD_PAGE_AT = 16, /* u64 page id */
    AUR_RECORD_PREV_AT = 24, /* u64 LSN of this page's previous record; 0 with AUR_RECORD_INIT */
    AUR_RECORD_BODY_AT = 32,
    AUR_RECORD_TIME_BYTES = 8, /* with AUR_RECORD_CPL, behind the body: u64 commit time */
    /* A decoder refuses more: no body is longer than the image of the largest page. */
    AUR_RECORD_BYTES_MAX = AUR_RECORD_BODY_AT + 4 + AUR_PAGE_BYTES_MAX - AUR_PAGE_TYPE_AT +
        AUR_RECORD_TIME_BYTES,
};

_Static_assert(AUR_RECORD_BODY_AT == AUR_RECORD_PREV_AT + 8 && AUR_RECORD_BODY_AT == 32,
               "record header");

enum aur_record_op {
    /* Formats the page as empty. arg = type | level << 8; body = u32 owner, u64 link. Always INIT.
     */
    AUR_OP_FORMAT = 1,
    /* Replaces the whole page. body = the page from byte 24 on, without its free middle: u32 head
       bytes, head, tail. Always INIT. */
    AUR_OP_IMAGE = 2,
    /* Inserts one cell before slot `arg`. body = the cell's bytes. */
    AUR_OP_INSERT = 3,
    /* Inserts several cells before slot `arg`. body = repeated (u16 length, bytes). */
    AUR_OP_INSERT_MANY = 4,
    /* Deletes the slots [arg, arg + count). body = u16 count. */
    AUR_OP_DELETE = 5,
    /* Replaces the cell of slot `arg`. body = the cell's new bytes. */
    AUR_OP_REPLACE = 6,
    /* Overwrites bytes of a cell in place. arg = slot; body = u16 offset in the cell, bytes. Never
       changes its length. */
    AUR_OP_PATCH_CELL = 7,
    /* Overwrites bytes of the page at offset `arg` (header fields link and count, or the body of a
       slotless page). */
    AUR_OP_PATCH = 8,
    /* Edits the payload of an SQL page, in order. body = edits: see format/page_edit.h. */
    AUR_OP_EDIT = 9,
    AUR_OP_LAST = AUR_OP_EDIT,
};

enum aur_record_flag {
    AUR_RECORD_CPL = 1,  /* last record of its mini-transaction: a consistency point (CPL). It ends
                            with the commit's time */
    AUR_RECORD_INIT = 2, /* needs no older record: a search for the page may stop here */
};

/* A decoded record. `body` points into the bytes it was decoded from, and lives as long as they. */
typedef struct aur_record {
    uint8_t op;
    uint8_t flags;
    uint16_t arg;
    aur_lsn lsn;
    aur_page_id page_id;
    aur_lsn page_prev_lsn;
    const uint8_t *body;
    uint32_t body_bytes;
    uint64_t time_us; /* with AUR_RECORD_CPL: when it was committed, microseconds since 1970 */
} aur_record;

/* Bytes the record takes when encoded. */
static inline uint32_t aur_record_bytes(const aur_record *record) {
    const bool is_commit = (record->flags & AUR_RECORD_CPL) != 0;
    return AUR_RECORD_BODY_AT + record->body_bytes + (is_commit ? AUR_RECORD_TIME_BYTES : 0);
}

/* The commit time of an encoded record that was decoded before; 0 of one that is no CPL. */
static inline uint64_t aur_record_commit_time(const uint8_t *bytes) {
    return (bytes[AUR_RECORD_FLAGS_AT] & AUR_RECORD_CPL) == 0
               ? 0
               : aur_get64(bytes + aur_get32(bytes + AUR_RECORD_LENGTH_AT) - AUR_RECORD_TIME_BYTES);
}

/* Writes the header, copies the body behind it, and the commit time behind that if the record is a
 * CPL; a body of NULL is the caller's to put there (at out + AUR_RECORD_BODY_AT). `out` has room
 * for aur_record_bytes(record). */
void aur_record_encode(const aur_record *record, uint8_t *out);

/* Decodes one record from `bytes`. Accepts hostile bytes: AUR_ERR_CORRUPT when the length,
 * operation, flags or LSNs break the format (the body is looked at by aur_page_apply).
 * *used_out = bytes consumed. */
aur_status aur_record_decode(const uint8_t *bytes, size_t length, aur_record *record,
                             size_t *used_out) AUR_CHECKED;

/*
 * Applies one record. The page must hold exactly the state at record->page_prev_lsn (not looked at
 * for INIT records): AUR_ERR_CORRUPT when it does not, when the operation does not fit the page, or
 * when the body breaks the format; the page is then unspecified. On AUR_OK the page's LSN is the
 * record's and its checksum field is 0. Deterministic: the same page and record give the same bytes
 * everywhere. Compacts the page when only garbage is in the way.
 *
 * Takes any page and any record without undefined behaviour: every offset is checked before it is
 * used. A page that was sound stays sound (aur_page_check_structure), and an INIT record makes a
 * sound page of any bytes; so pages built by apply alone need no check.
 *
 * `scratch` has page_bytes of room (used by compaction); page, scratch and body do not overlap.
 */
aur_status aur_page_apply(uint8_t *page, uint32_t page_bytes, const aur_record *record,
                          uint8_t *scratch) AUR_CHECKED;

/* Encodes the body of an AUR_OP_IMAGE record of `page` into `out` (room for page_bytes + 4);
 * returns its bytes. */
uint32_t aur_page_image_body(const uint8_t *page, uint32_t page_bytes, uint8_t *out);

#endif
