/*
 * Long values: a run of overflow pages, each written by one IMAGE record and read once. A value
 * that is large against the pool passes through it without pushing others out.
 */
#include "btree/btree_private.h"

/* A value of more than this part of the pool is streamed. */
enum { STREAM_PART = 16, IMAGE_HEAD_BYTES = 4, IMAGE_FROM = AUR_PAGE_TYPE_AT };

static bool is_streamed(aur_buffer *buffer, uint64_t value_bytes) {
    return value_bytes > aur_buffer_budget(buffer) / STREAM_PART;
}

/* The body of the IMAGE record of an overflow page: header from its type on, and payload. */
static uint32_t image_body(const aur_writer *writer, uint32_t table, const uint8_t *payload,
                           uint32_t payload_bytes) {
    uint8_t *body = writer->space->body;
    uint8_t *header = body + IMAGE_HEAD_BYTES;
    const uint32_t header_bytes = AUR_PAGE_BODY_AT - IMAGE_FROM;
    memset(header, 0, header_bytes);
    header[AUR_PAGE_TYPE_AT - IMAGE_FROM] = AUR_PAGE_OVERFLOW;
    aur_put32(header + AUR_PAGE_HEAP_AT - IMAGE_FROM, writer->mtr->page_bytes);
    aur_put32(header + AUR_PAGE_OWNER_AT - IMAGE_FROM, table);
    aur_put64(header + AUR_PAGE_LINK_AT - IMAGE_FROM, payload_bytes);
    memcpy(header + header_bytes, payload, payload_bytes);
    aur_put32(body, header_bytes + payload_bytes);
    return IMAGE_HEAD_BYTES + header_bytes + payload_bytes;
}

static uint32_t piece_bytes(uint32_t page_bytes, uint64_t rest) {
    const uint32_t payload = auri_payload_bytes(page_bytes);
    return rest < payload ? (uint32_t)rest : payload;
}

aur_status auri_overflow_write(aur_writer *writer, const aur_tree *tree, const uint8_t *value,
                               uint64_t value_bytes, aur_page_id *first_out, aur_error *error) {
    aur_mtr *mtr = writer->mtr;
    const bool streamed = is_streamed(mtr->buffer, value_bytes);
    const uint64_t pages = auri_overflow_pages(mtr->page_bytes, value_bytes);
    aur_status status = aur_space_allocate(writer->space, mtr, pages, first_out, error);
    aur_page_id page_id = *first_out;
    uint64_t done = 0;
    while (status == AUR_OK && done < value_bytes) {
        aur_page_ref ref = {NULL, NULL};
        const uint32_t piece = piece_bytes(mtr->page_bytes, value_bytes - done);
        const uint32_t body_bytes = image_body(writer, tree->table, value + done, piece);
        status = aur_mtr_create(mtr, page_id, AUR_OP_IMAGE, 0, writer->space->body, body_bytes,
                                &ref, error);
        if (status == AUR_OK && streamed) {
            aur_buffer_unpin_streamed(mtr->buffer, &ref);
        } else {
            aur_buffer_unpin(mtr->buffer, &ref);
        }
        page_id = auri_space_next_page(mtr->page_bytes, page_id);
        done += piece;
    }
    return status;
}

aur_status auri_overflow_free(aur_writer *writer, const auri_leaf_cell *cell, aur_error *error) {
    if (cell->value != NULL) {
        return AUR_OK;
    }
    const uint64_t pages = auri_overflow_pages(writer->mtr->page_bytes, cell->value_bytes);
    return aur_space_free(writer->space, writer->mtr, cell->overflow, pages, error);
}

static aur_status check_page(const uint8_t *page, uint32_t table, uint32_t piece,
                             aur_error *error) {
    if (aur_page_type_of(page) != AUR_PAGE_OVERFLOW) {
        return auri_node_corrupt(page, "not a page of a long value", error);
    }
    if (aur_page_owner(page) != table) {
        return auri_node_corrupt(page, "belongs to another table", error);
    }
    if (aur_page_link(page) != piece) {
        return auri_node_corrupt(page, "holds another part of a long value", error);
    }
    return AUR_OK;
}

aur_status auri_overflow_walk(const aur_reader *reader, uint32_t table, aur_page_id first,
                              uint64_t value_bytes, auri_overflow_visit visit, void *context,
                              aur_error *error) {
    const bool streamed = is_streamed(reader->buffer, value_bytes);
    aur_page_id page_id = first;
    aur_status status = AUR_OK;
    uint64_t done = 0;
    while (status == AUR_OK && done < value_bytes) {
        aur_page_ref ref = {NULL, NULL};
        const uint32_t piece = piece_bytes(reader->page_bytes, value_bytes - done);
        status = aur_buffer_pin(reader->buffer, page_id, reader->read_point, reader->cached_only,
                                &ref, error);
        if (status == AUR_NOT_FOUND) {
            return aur_fail(error, AUR_ERR_CORRUPT, "page %llu of a long value is missing",
                            (unsigned long long)page_id);
        }
        if (status != AUR_OK) {
            return status;
        }
        status = check_page(ref.page, table, piece, error);
        if (status == AUR_OK) {
            status = visit(context, ref.page + AUR_PAGE_BODY_AT, piece, page_id, error);
        }
        if (streamed) {
            aur_buffer_unpin_once(reader->buffer, &ref);
        } else {
            aur_buffer_unpin(reader->buffer, &ref);
        }
        page_id = auri_space_next_page(reader->page_bytes, page_id);
        done += piece;
    }
    return status;
}

/* An auri_overflow_visit: `context` is the pointer to where the next payload goes. */
static aur_status copy_payload(void *context, const uint8_t *payload, uint32_t payload_bytes,
                               aur_page_id page_id, aur_error *error) {
    uint8_t **out = context;
    (void)page_id;
    (void)error;
    memcpy(*out, payload, payload_bytes);
    *out += payload_bytes;
    return AUR_OK;
}

aur_status aur_value_read(const aur_reader *reader, const aur_value *value, uint8_t *out,
                          aur_error *error) {
    if (value->data != NULL) {
        if (value->length > 0) {
            memcpy(out, value->data, value->length);
        }
        return AUR_OK;
    }
    return auri_overflow_walk(reader, value->table, value->overflow, value->length, copy_payload,
                              &out, error);
}
