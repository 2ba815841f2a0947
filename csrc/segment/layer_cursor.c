/* Walking a layer in order, or from a page on: for merges, collection and verification. */
#include "segment/segment_private.h"

void auri_segment_cursor_init(auri_cursor *cursor, auri_layer *layer) {
    memset(cursor, 0, sizeof *cursor);
    cursor->layer = auri_segment_layer_acquire(layer);
}

void auri_segment_cursor_free(auri_cursor *cursor) {
    auri_segment_block_buffer_free(&cursor->index);
    auri_segment_block_buffer_free(&cursor->data);
    auri_segment_layer_release(cursor->layer);
    cursor->layer = NULL;
    cursor->valid = false;
}

/* AUR_NOT_FOUND after the last index block. */
static aur_status next_index(auri_cursor *cursor, aur_error *error) {
    auri_pointer pointer;
    if (cursor->root_at == cursor->layer->root_count) {
        return AUR_NOT_FOUND;
    }
    auri_segment_pointer_decode(cursor->layer->root + (size_t)cursor->root_at * AUR_POINTER_BYTES,
                                &pointer);
    cursor->root_at++;
    cursor->index_at = 0;
    cursor->index_count = pointer.raw_bytes / AUR_POINTER_BYTES;
    return auri_segment_layer_read_block(cursor->layer, &pointer, &cursor->index, error);
}

static aur_status next_block(auri_cursor *cursor, aur_error *error) {
    auri_pointer pointer;
    while (cursor->index_at == cursor->index_count) {
        const aur_status status = next_index(cursor, error);
        if (status != AUR_OK) {
            return status;
        }
    }
    auri_segment_pointer_decode(cursor->index.raw + (size_t)cursor->index_at * AUR_POINTER_BYTES,
                                &pointer);
    cursor->index_at++;
    cursor->data_at = 0;
    cursor->data_bytes = pointer.raw_bytes;
    cursor->block_offset = pointer.offset;
    return auri_segment_layer_read_block(cursor->layer, &pointer, &cursor->data, error);
}

/* Whether a record may stand behind `last`: an image has the LSN of the record that it stands for.
 */
static bool follows(const aur_record *last, const aur_record *record) {
    return record->page_id > last->page_id ||
           (record->page_id == last->page_id && record->lsn >= last->lsn);
}

aur_status auri_segment_cursor_next(auri_cursor *cursor, aur_error *error) {
    const aur_record last = cursor->record;
    aur_status status = auri_segment_layer_load(cursor->layer, error);
    cursor->valid = false;
    while (status == AUR_OK && cursor->data_at == cursor->data_bytes) {
        status = next_block(cursor, error);
    }
    if (status != AUR_OK) {
        return status == AUR_NOT_FOUND ? AUR_OK : status;
    }
    const auri_layer_info *info = &cursor->layer->info;
    cursor->bytes = cursor->data.raw + cursor->data_at;
    status = aur_record_decode(cursor->bytes, cursor->data_bytes - cursor->data_at, &cursor->record,
                               &cursor->length);
    if (status != AUR_OK || cursor->record.page_id < info->first_page ||
        cursor->record.page_id > info->last_page) {
        return auri_segment_layer_damage(cursor->layer, cursor->block_offset, UINT64_MAX,
                                         "a record does not decode", error);
    }
    if (!follows(&last, &cursor->record)) {
        return auri_segment_layer_damage(cursor->layer, cursor->block_offset, cursor->record.lsn,
                                         "records are out of order", error);
    }
    cursor->data_at += (uint32_t)cursor->length;
    cursor->valid = true;
    return AUR_OK;
}

/* Stands before the data block that may hold the first record of page `first`. */
static aur_status seek_block(auri_cursor *cursor, aur_page_id first, aur_error *error) {
    const auri_layer *layer = cursor->layer;
    /* The block before the one that begins with the page may end with it. */
    const uint32_t root = auri_segment_last_before(layer->root, layer->root_count, first, 0);
    cursor->root_at = root == 0 ? 0 : root - 1;
    const aur_status status = next_index(cursor, error);
    if (status != AUR_OK) {
        return status;
    }
    const uint32_t index =
        auri_segment_last_before(cursor->index.raw, cursor->index_count, first, 0);
    cursor->index_at = index == 0 ? 0 : index - 1;
    return AUR_OK;
}

aur_status auri_segment_cursor_seek(auri_cursor *cursor, aur_page_id first, aur_error *error) {
    aur_status status = auri_segment_layer_load(cursor->layer, error);
    cursor->valid = false;
    if (status == AUR_OK && cursor->layer->root_count > 0) {
        status = seek_block(cursor, first, error);
    }
    do {
        if (status == AUR_OK) {
            status = auri_segment_cursor_next(cursor, error);
        }
    } while (status == AUR_OK && cursor->valid && cursor->record.page_id < first);
    return status;
}
