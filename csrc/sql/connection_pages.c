/* The pages of a connection: what its view shows, and what it has staged. */
#include <string.h>

#include "format/page_edit.h"
#include "sql/sql_private.h"

/* ---- the map ---- */

/* Extents stay where they are as long as nothing is freed; what a version showed holds for it. */
static auri_extent_slot *slot_of(aur_sql_connection *connection, uint32_t extent) {
    if (!auri_version_is(connection->extents_version, connection->version)) {
        memset(connection->extents, 0, sizeof connection->extents);
        connection->extents_version = connection->version;
    }
    return &connection->extents[extent % AURI_EXTENT_SLOTS];
}

aur_status auri_connection_extent(aur_sql_connection *connection, const aur_reader *reader,
                                  uint32_t extent, aur_page_id *first_out, aur_error *error) {
    auri_extent_slot *slot = slot_of(connection, extent);
    if (slot->extent == extent + 1) {
        *first_out = slot->first;
        return AUR_OK;
    }
    const aur_status status =
        aur_page_file_find(reader, aur_view_map(connection->table), extent, first_out, error);
    if (status == AUR_OK) {
        *slot = (auri_extent_slot){extent + 1, *first_out};
    }
    return status;
}

static aur_status check_page(const aur_sql_connection *connection, const uint8_t *page,
                             aur_error *error) {
    if (aur_page_type_of(page) != AUR_PAGE_SQL ||
        aur_page_owner(page) != aur_view_map(connection->table)->table) {
        return aur_fail(error, AUR_ERR_CORRUPT,
                        "page %llu is not one of SQL database '%s', whose map names it",
                        (unsigned long long)aur_page_number(page), connection->database->name);
    }
    return AUR_OK;
}

/* Pins a page as the view shows it. AUR_NOT_FOUND: it lies behind the end. Up to there all pages
 * are, because a commit makes those that SQLite has not written. */
static aur_status pin_page(aur_sql_connection *connection, uint32_t page, aur_page_ref *ref_out,
                           aur_error *error) {
    const aur_reader reader = aur_view_reader(connection->view);
    aur_page_id first;
    if (!connection->exists || page >= connection->view_pages) {
        return AUR_NOT_FOUND;
    }
    aur_status status =
        auri_connection_extent(connection, &reader, aur_extent_of(page), &first, error);
    if (status == AUR_OK) {
        const aur_page_id page_id =
            aur_space_page_of_run(reader.page_bytes, first, page % AUR_EXTENT_PAGES);
        status = aur_buffer_pin(reader.buffer, page_id, reader.read_point, false, ref_out, error);
    }
    if (status == AUR_NOT_FOUND) {
        return aur_fail(error, AUR_ERR_CORRUPT, "page %u of SQL database '%s' is missing", page + 1,
                        connection->database->name);
    }
    if (status == AUR_OK) {
        status = check_page(connection, ref_out->page, error);
        if (status != AUR_OK) {
            aur_buffer_unpin(reader.buffer, ref_out);
        }
    }
    return status;
}

/* ---- reading ---- */

static void put_big_endian(uint8_t *out, uint32_t value) {
    aur_put32(out, __builtin_bswap32(value));
}

static uint32_t get_big_endian(const uint8_t *bytes) { return __builtin_bswap32(aur_get32(bytes)); }

static void show_counter(uint8_t *first_page, uint32_t counter) {
    put_big_endian(first_page + SQLITE_HEADER_CHANGE_COUNTER_AT, counter);
    put_big_endian(first_page + SQLITE_HEADER_VALID_FOR_AT, counter);
}

/* The schema cookie as SQLite is to see it, or back to what is stored. */
static void shift_cookie(uint8_t *first_page, uint32_t by) {
    uint8_t *cookie = first_page + SQLITE_HEADER_COOKIE_AT;
    put_big_endian(cookie, get_big_endian(cookie) + by);
}

/* Makes the staged page in `after`: what the view shows, with the redo applied. */
static aur_status build_staged(aur_sql_connection *connection, const auri_staged *staged,
                               aur_error *error) {
    const uint32_t page_bytes = connection->sql->options.page_bytes;
    const uint8_t *body = NULL;
    aur_page_ref ref = {NULL, NULL};
    aur_status status =
        auri_staging_body(&connection->staging, staged, connection->edits, &body, error);
    if (status != AUR_OK) {
        return status;
    }
    aur_record record = {.op = staged->op, .body = body, .body_bytes = staged->bytes};
    if (staged->op == AUR_OP_EDIT) {
        status = pin_page(connection, staged->page, &ref, error);
        if (status != AUR_OK) {
            return status;
        }
        memcpy(connection->after, ref.page, page_bytes);
        aur_buffer_unpin(connection->sql->options.buffer, &ref);
        record.page_id = aur_page_number(connection->after);
        record.page_prev_lsn = aur_page_lsn(connection->after);
    }
    record.lsn = record.page_prev_lsn + 1;
    return aur_page_apply(connection->after, page_bytes, &record, connection->image);
}

/* What page 1 says of the counter: what SQLite has written itself, once it has. */
static uint32_t counter_of(const aur_sql_connection *connection) {
    return connection->lock == AURI_SQL_RESERVED && connection->written_counter != 0
               ? connection->written_counter
               : connection->counter;
}

static void copy_out(const aur_sql_connection *connection, uint32_t number, const uint8_t *page,
                     uint8_t *out) {
    const uint32_t payload = connection->sql->options.page_bytes - AURI_SQL_RESERVED_BYTES;
    memcpy(out, page + AUR_PAGE_BODY_AT, payload);
    memset(out + payload, 0, AURI_SQL_RESERVED_BYTES);
    if (number == 1) {
        show_counter(out, counter_of(connection));
        shift_cookie(out, connection->cookie_shift);
    }
}

aur_status auri_connection_read(aur_sql_connection *connection, uint32_t number, uint8_t *out,
                                aur_error *error) {
    const uint32_t page = number - 1;
    aur_page_ref ref = {NULL, NULL};
    const auri_staged *staged = connection->lock == AURI_SQL_RESERVED
                                    ? auri_staging_find(&connection->staging, page)
                                    : NULL;
    atomic_fetch_add_explicit(&connection->sql->reads, 1, memory_order_relaxed);
    connection->has_read_pages = connection->has_read_pages || number > 1;
    if (staged != NULL && staged->op != 0) {
        const aur_status status = build_staged(connection, staged, error);
        if (status == AUR_OK) {
            copy_out(connection, number, connection->after, out);
        }
        return status;
    }
    aur_status status = pin_page(connection, page, &ref, error);
    if (status == AUR_OK) {
        copy_out(connection, number, ref.page, out);
        aur_buffer_unpin(connection->sql->options.buffer, &ref);
    } else if (status == AUR_NOT_FOUND) {
        memset(out, 0, connection->sql->options.page_bytes);
        status = AUR_OK;
    }
    return aur_view_judge(connection->view, status, error);
}

/* The header at the view; what is staged is not looked at. */
static aur_status load_header(aur_sql_connection *connection, aur_error *error) {
    aur_page_ref ref = {NULL, NULL};
    const aur_status status = pin_page(connection, 0, &ref, error);
    if (status == AUR_OK) {
        memcpy(connection->header, ref.page + AUR_PAGE_BODY_AT, sizeof connection->header);
        shift_cookie(connection->header, connection->cookie_shift);
        aur_buffer_unpin(connection->sql->options.buffer, &ref);
        connection->header_version = connection->version;
    }
    return aur_view_judge(connection->view, status, error);
}

aur_status auri_connection_read_header(aur_sql_connection *connection, uint32_t from, uint8_t *out,
                                       uint32_t bytes, aur_error *error) {
    aur_status status = AUR_OK;
    const uint8_t *header = connection->header;
    if (connection->lock != AURI_SQL_SHARED) {
        header = connection->image;
        status = auri_connection_read(connection, 1, connection->image, error);
    } else if (!auri_version_is(connection->header_version, connection->version)) {
        status = load_header(connection, error);
    }
    if (status == AUR_OK) {
        show_counter(connection->header, counter_of(connection));
        memcpy(out, header + from, bytes);
    }
    return status;
}

/* ---- writing ---- */

/* Page 1 may not change what the volume has fixed: page size, reserved bytes, no WAL. */
static aur_status check_first_page(aur_sql_connection *connection, const uint8_t *bytes,
                                   aur_error *error) {
    const uint32_t page_bytes = connection->sql->options.page_bytes;
    const uint32_t written = (uint32_t)bytes[SQLITE_HEADER_PAGE_SIZE_AT] << 8 |
                             (uint32_t)bytes[SQLITE_HEADER_PAGE_SIZE_AT + 1] << 16;
    if (written != page_bytes || bytes[SQLITE_HEADER_RESERVED_AT] != AURI_SQL_RESERVED_BYTES) {
        return aur_fail(error, AUR_ERR_INVALID,
                        "a database in this volume has pages of %u bytes with %d reserved, not %u "
                        "with %u; copy it by import-sqlite",
                        page_bytes, AURI_SQL_RESERVED_BYTES, written,
                        bytes[SQLITE_HEADER_RESERVED_AT]);
    }
    if (bytes[SQLITE_HEADER_WRITE_VERSION_AT] > 1 || bytes[SQLITE_HEADER_READ_VERSION_AT] > 1) {
        return aur_fail(error, AUR_ERR_INVALID, "a database in a volume has no WAL of its own");
    }
    connection->written_counter = get_big_endian(bytes + SQLITE_HEADER_CHANGE_COUNTER_AT);
    return AUR_OK;
}

/* Makes `after` of what SQLite hands over; `before` NULL: the page is new. */
static void build_after(aur_sql_connection *connection, uint32_t number, const uint8_t *bytes,
                        const uint8_t *before) {
    const uint32_t page_bytes = connection->sql->options.page_bytes;
    uint8_t *after = connection->after;
    if (before != NULL) {
        memcpy(after, before, AUR_PAGE_BODY_AT);
    } else {
        memset(after, 0, AUR_PAGE_BODY_AT);
        after[AUR_PAGE_TYPE_AT] = AUR_PAGE_SQL;
        aur_put32(after + AUR_PAGE_HEAP_AT, page_bytes);
    }
    memcpy(after + AUR_PAGE_BODY_AT, bytes, page_bytes - AURI_SQL_RESERVED_BYTES);
    if (number == 1) {
        show_counter(after + AUR_PAGE_BODY_AT, 0);
        shift_cookie(after + AUR_PAGE_BODY_AT, 0 - connection->cookie_shift);
    }
}

/* The shorter redo: edits, unless they are long and an image is not longer. */
static aur_status stage(aur_sql_connection *connection, uint32_t page, const uint8_t *before,
                        aur_error *error) {
    const uint32_t page_bytes = connection->sql->options.page_bytes;
    const uint32_t limit = page_bytes - AUR_PAGE_BODY_AT;
    uint32_t edited = UINT32_MAX;
    if (before != NULL && !connection->is_overwritten) {
        edited = aur_page_diff(before, connection->after, page_bytes, connection->edits, limit);
    }
    if (edited == 0) {
        return auri_staging_find(&connection->staging, page) == NULL
                   ? AUR_OK
                   : auri_staging_put(&connection->staging, page, 0, connection->edits, 0, error);
    }
    if (edited > limit / 8) {
        const uint32_t bytes =
            aur_page_image_body(connection->after, page_bytes, connection->image);
        if (bytes <= edited) {
            return auri_staging_put(&connection->staging, page, AUR_OP_IMAGE, connection->image,
                                    bytes, error);
        }
    }
    return auri_staging_put(&connection->staging, page, AUR_OP_EDIT, connection->edits, edited,
                            error);
}

aur_status auri_connection_write(aur_sql_connection *connection, uint32_t number,
                                 const uint8_t *bytes, aur_error *error) {
    aur_page_ref ref = {NULL, NULL};
    if (connection->lock == AURI_SQL_ENDED) {
        return connection->has_failed
                   ? AUR_OK
                   : aur_fail(error, AUR_ERR_INVALID,
                              "a database in a volume is not written with locking_mode=EXCLUSIVE");
    }
    aur_status status = number == 1 ? check_first_page(connection, bytes, error) : AUR_OK;
    if (status != AUR_OK) {
        return status;
    }
    atomic_fetch_add_explicit(&connection->sql->writes, 1, memory_order_relaxed);
    status = pin_page(connection, number - 1, &ref, error);
    if (status != AUR_OK && status != AUR_NOT_FOUND) {
        return aur_view_judge(connection->view, status, error);
    }
    build_after(connection, number, bytes, ref.page);
    status = stage(connection, number - 1, ref.page, error);
    aur_buffer_unpin(connection->sql->options.buffer, &ref);
    if (status == AUR_OK && number > connection->pages) {
        connection->pages = number;
    }
    if (status == AUR_OK && connection->is_blank) {
        status = auri_connection_stream(connection, error);
    }
    return status;
}

void auri_connection_resize(aur_sql_connection *connection, uint32_t pages) {
    if (connection->lock == AURI_SQL_RESERVED) {
        connection->pages = pages;
    }
}
