#include "format/record.h"

#include <string.h>

void aur_record_encode(const aur_record *record, uint8_t *out) {
    aur_put32(out + AUR_RECORD_LENGTH_AT, aur_record_bytes(record));
    out[AUR_RECORD_OP_AT] = record->op;
    out[AUR_RECORD_FLAGS_AT] = record->flags;
    aur_put16(out + AUR_RECORD_ARG_AT, record->arg);
    aur_put64(out + AUR_RECORD_LSN_AT, record->lsn);
    aur_put64(out + AUR_RECORD_PAGE_AT, record->page_id);
    aur_put64(out + AUR_RECORD_PREV_AT, record->page_prev_lsn);
    if (record->body != NULL && record->body_bytes > 0) {
        memcpy(out + AUR_RECORD_BODY_AT, record->body, record->body_bytes);
    }
    if ((record->flags & AUR_RECORD_CPL) != 0) {
        aur_put64(out + AUR_RECORD_BODY_AT + record->body_bytes, record->time_us);
    }
}

/* An operation that makes a page from nothing says so in its flags, and no other does: a search for
 * the records of a page stops at that flag without knowing operations. */
static bool flags_are_valid(const aur_record *record) {
    const bool makes_page = record->op == AUR_OP_FORMAT || record->op == AUR_OP_IMAGE;
    const bool is_init = (record->flags & AUR_RECORD_INIT) != 0;
    return (record->flags & ~(AUR_RECORD_CPL | AUR_RECORD_INIT)) == 0 && makes_page == is_init &&
           (!is_init || record->page_prev_lsn == 0);
}

aur_status aur_record_decode(const uint8_t *bytes, size_t length, aur_record *record,
                             size_t *used_out) {
    if (length < AUR_RECORD_BODY_AT) {
        return AUR_ERR_CORRUPT;
    }
    const uint32_t record_bytes = aur_get32(bytes + AUR_RECORD_LENGTH_AT);
    const uint32_t time_bytes =
        (bytes[AUR_RECORD_FLAGS_AT] & AUR_RECORD_CPL) != 0 ? AUR_RECORD_TIME_BYTES : 0;
    if (record_bytes < AUR_RECORD_BODY_AT + time_bytes ||
        record_bytes > AUR_RECORD_BYTES_MAX - AUR_RECORD_TIME_BYTES + time_bytes ||
        record_bytes > length) {
        return AUR_ERR_CORRUPT;
    }
    record->op = bytes[AUR_RECORD_OP_AT];
    record->flags = bytes[AUR_RECORD_FLAGS_AT];
    record->arg = aur_get16(bytes + AUR_RECORD_ARG_AT);
    record->lsn = aur_get64(bytes + AUR_RECORD_LSN_AT);
    record->page_id = aur_get64(bytes + AUR_RECORD_PAGE_AT);
    record->page_prev_lsn = aur_get64(bytes + AUR_RECORD_PREV_AT);
    record->body = bytes + AUR_RECORD_BODY_AT;
    record->body_bytes = record_bytes - AUR_RECORD_BODY_AT - time_bytes;
    record->time_us = aur_record_commit_time(bytes);
    if (record->op < AUR_OP_FORMAT || record->op > AUR_OP_LAST || !flags_are_valid(record) ||
        record->page_prev_lsn >= record->lsn) {
        return AUR_ERR_CORRUPT;
    }
    *used_out = record_bytes;
    return AUR_OK;
}
