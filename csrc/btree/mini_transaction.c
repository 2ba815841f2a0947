/* Mini-transactions: one operation = one record in the log and the same record applied to the page
 * in the pool. */
#include "btree/mini_transaction.h"

#include "btree/btree_private.h"

aur_status aur_mtr_begin(aur_mtr *mtr, aur_buffer *buffer, aur_log *log, uint32_t page_bytes,
                         uint8_t *scratch, aur_error *error) {
    *mtr = (aur_mtr){.buffer = buffer,
                     .log = log,
                     .page_bytes = page_bytes,
                     .scratch = scratch,
                     .keeps_past = true};
    return aur_log_begin(log, &mtr->start, error);
}

/* Logs and applies one operation to a version that belongs to this mini-transaction. */
static aur_status write_record(aur_mtr *mtr, uint8_t *page, aur_record *record, aur_error *error) {
    aur_status status = aur_log_append(mtr->log, record, error);
    if (status != AUR_OK) {
        return status;
    }
    mtr->records++;
    status = aur_page_apply(page, mtr->page_bytes, record, mtr->scratch);
    if (status != AUR_OK) {
        return aur_fail(error, status, "operation %u does not fit page %llu", record->op,
                        (unsigned long long)record->page_id);
    }
    return AUR_OK;
}

aur_status aur_mtr_apply(aur_mtr *mtr, aur_page_ref *ref, uint8_t op, uint16_t arg,
                         const void *body, uint32_t body_bytes, aur_error *error) {
    const bool is_init = op == AUR_OP_FORMAT || op == AUR_OP_IMAGE;
    aur_record record = {
        .op = op,
        .flags = is_init ? AUR_RECORD_INIT : 0,
        .arg = arg,
        .page_id = aur_page_number(ref->page),
        .page_prev_lsn = is_init ? 0 : aur_page_lsn(ref->page),
        .body = body,
        .body_bytes = body_bytes,
    };
    const aur_status status =
        aur_buffer_modify(mtr->buffer, record.page_id, mtr->start, mtr->keeps_past, ref, error);
    return status == AUR_OK ? write_record(mtr, ref->page, &record, error) : status;
}

aur_status aur_mtr_create(aur_mtr *mtr, aur_page_id page_id, uint8_t op, uint16_t arg,
                          const void *body, uint32_t body_bytes, aur_page_ref *ref_out,
                          aur_error *error) {
    aur_record record = {
        .op = op,
        .flags = AUR_RECORD_INIT,
        .arg = arg,
        .page_id = page_id,
        .body = body,
        .body_bytes = body_bytes,
    };
    aur_status status = aur_buffer_create_page(mtr->buffer, page_id, mtr->start, ref_out, error);
    if (status == AUR_OK) {
        status = write_record(mtr, ref_out->page, &record, error);
        if (status != AUR_OK) {
            aur_buffer_unpin(mtr->buffer, ref_out);
        }
    }
    return status;
}

aur_status aur_mtr_format(aur_mtr *mtr, aur_page_id page_id, enum aur_page_type type, uint8_t level,
                          uint32_t owner, uint64_t link, aur_page_ref *ref_out, aur_error *error) {
    uint8_t body[AURI_FORMAT_BODY_BYTES];
    const uint16_t arg = auri_format_body(type, level, owner, link, body);
    return aur_mtr_create(mtr, page_id, AUR_OP_FORMAT, arg, body, sizeof body, ref_out, error);
}

aur_lsn aur_mtr_end(aur_mtr *mtr) { return aur_log_end(mtr->log); }

void aur_mtr_fail(aur_mtr *mtr, const aur_error *why) { aur_log_fail(mtr->log, why); }
