/*
 * A mini-transaction (MTR): a set of page changes that becomes visible whole. The tree changes
 * pages only through it: each change is encoded as a redo record, appended to the log, and applied
 * to the page in the pool by the same code that storage will run.
 *
 * Between begin and end the caller holds the commit latch. After any failure in between call
 * aur_mtr_fail: pages and log are then above VDL in an unknown state, the log is failed, and a
 * recovery in place brings the head back.
 */
#ifndef AUR_BTREE_MINI_TRANSACTION_H
#define AUR_BTREE_MINI_TRANSACTION_H

#include "buffer/buffer.h"
#include "log/log.h"

typedef struct aur_mtr {
    aur_buffer *buffer;
    aur_log *log;
    uint32_t page_bytes;
    uint8_t *scratch; /* page_bytes, the owner's of the latch */
    aur_lsn start;    /* head when it began */
    bool keeps_past;  /* pages that it changes stay in the pool as they were, for readers */
    uint64_t records;
} aur_mtr;

/* Fills `mtr`; see aur_log_begin for its errors. `scratch` has page_bytes and lives until end. It
 * keeps the past unless the caller says otherwise before the first change. */
aur_status aur_mtr_begin(aur_mtr *mtr, aur_buffer *buffer, aur_log *log, uint32_t page_bytes,
                         uint8_t *scratch, aur_error *error) AUR_CHECKED;

/* Applies one operation to a page. `ref` is a pin of its head, exchanged for the writable version
 * when needed. */
aur_status aur_mtr_apply(aur_mtr *mtr, aur_page_ref *ref, uint8_t op, uint16_t arg,
                         const void *body, uint32_t body_bytes, aur_error *error) AUR_CHECKED;

/* Makes a page from nothing by one INIT record, and pins it. */
aur_status aur_mtr_create(aur_mtr *mtr, aur_page_id page_id, uint8_t op, uint16_t arg,
                          const void *body, uint32_t body_bytes, aur_page_ref *ref_out,
                          aur_error *error) AUR_CHECKED;

/* Formats a page and pins it. */
aur_status aur_mtr_format(aur_mtr *mtr, aur_page_id page_id, enum aur_page_type type, uint8_t level,
                          uint32_t owner, uint64_t link, aur_page_ref *ref_out,
                          aur_error *error) AUR_CHECKED;

/* Ends it; returns the commit LSN (mtr->start when it has no records). Publishing to the pool is
 * the caller's next step. */
aur_lsn aur_mtr_end(aur_mtr *mtr);
void aur_mtr_fail(aur_mtr *mtr, const aur_error *why);

#endif
