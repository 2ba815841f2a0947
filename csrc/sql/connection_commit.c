/* The commit of connections, and the wait for it. */
#include <string.h>

#include "sql/sql_private.h"

enum { COMMITS_MAX = 16, BIG_PART = 16 };

static const uint64_t wait_slice_ns = 100000000;

/* One connection's part of a mini-transaction. */
typedef struct part {
    aur_sql_connection *connection;
    const aur_page_commit *commit;
    const aur_tree *map;
    auri_version version; /* that it makes */
    uint32_t extent;      /* that was looked up last, + 1 */
    aur_page_id first;
    bool is_big;   /* its pages leave the pool as soon as they may */
    bool is_piece; /* of a hidden database, which is not committed yet */
} part;

/* An image that was staged before the database had an id. */
static const uint8_t *with_owner(const part *made, uint8_t *image, const uint8_t *body,
                                 uint32_t bytes) {
    enum { OWNER_AT = 4 + AUR_PAGE_OWNER_AT - AUR_PAGE_TYPE_AT };
    memmove(image, body, bytes);
    aur_put32(image + OWNER_AT, made->map->table);
    return image;
}

static aur_status locate(part *made, aur_writer *writer, uint32_t page, aur_page_id *page_out,
                         aur_error *error) {
    const aur_sql_options *options = &made->connection->sql->options;
    const aur_reader head = {options->buffer, options->page_bytes, AUR_LSN_MAX, false};
    const uint32_t extent = aur_extent_of(page);
    aur_status status = AUR_OK;
    if (made->extent != extent + 1) {
        status = aur_page_file_find(&head, made->map, extent, &made->first, error);
        if (status == AUR_NOT_FOUND) {
            status = aur_page_file_extend(writer, made->map, extent, &made->first, error);
        }
        made->extent = extent + 1;
    }
    if (status == AUR_OK) {
        *page_out =
            aur_space_page_of_run(options->page_bytes, made->first, page % AUR_EXTENT_PAGES);
    }
    return status;
}

static void unpin(const part *made, aur_page_ref *ref) {
    aur_buffer *buffer = made->connection->sql->options.buffer;
    if (made->is_big) {
        aur_buffer_unpin_streamed(buffer, ref);
    } else {
        aur_buffer_unpin(buffer, ref);
    }
}

static aur_status apply_zeros(part *made, aur_writer *writer, uint32_t page, aur_error *error) {
    aur_sql_connection *connection = made->connection;
    const uint32_t page_bytes = connection->sql->options.page_bytes;
    aur_page_ref ref = {NULL, NULL};
    aur_page_id page_id;
    aur_status status = locate(made, writer, page, &page_id, error);
    if (status == AUR_OK) {
        memset(connection->after, 0, page_bytes);
        connection->after[AUR_PAGE_TYPE_AT] = AUR_PAGE_SQL;
        aur_put32(connection->after + AUR_PAGE_HEAP_AT, page_bytes);
        aur_put32(connection->after + AUR_PAGE_OWNER_AT, made->map->table);
        const uint32_t bytes =
            aur_page_image_body(connection->after, page_bytes, connection->image);
        status = aur_mtr_create(writer->mtr, page_id, AUR_OP_IMAGE, 0, connection->image, bytes,
                                &ref, error);
        unpin(made, &ref);
    }
    return status;
}

static aur_status apply_page(part *made, aur_writer *writer, const auri_staged *staged,
                             aur_error *error) {
    aur_sql_connection *connection = made->connection;
    aur_buffer *buffer = connection->sql->options.buffer;
    aur_page_ref ref = {NULL, NULL};
    aur_page_id page_id;
    const uint8_t *body = NULL;
    aur_status status =
        auri_staging_body(&connection->staging, staged, connection->image, &body, error);
    if (status == AUR_OK) {
        status = locate(made, writer, staged->page, &page_id, error);
    }
    if (status == AUR_OK && staged->op == AUR_OP_IMAGE) {
        body = with_owner(made, connection->image, body, staged->bytes);
        status =
            aur_mtr_create(writer->mtr, page_id, AUR_OP_IMAGE, 0, body, staged->bytes, &ref, error);
    } else if (status == AUR_OK) {
        status = aur_buffer_pin_head(buffer, page_id, &ref, error);
        if (status == AUR_OK) {
            status = aur_mtr_apply(writer->mtr, &ref, AUR_OP_EDIT, 0, body, staged->bytes, error);
        }
    }
    unpin(made, &ref);
    return status == AUR_NOT_FOUND
               ? aur_fail(error, AUR_ERR_CORRUPT, "page %u of SQL database '%s' is missing",
                          staged->page + 1, connection->database->name)
               : status;
}

/* Pages of the file that SQLite has not written, because they were free again before that, or will
 * be written with a later piece: their places may hold what somebody else has left there. */
static aur_status fill_gaps(part *made, aur_writer *writer, aur_error *error) {
    aur_sql_connection *connection = made->connection;
    uint64_t missing = 0;
    if (connection->pages > connection->view_pages) {
        missing = connection->pages - connection->view_pages;
    }
    for (uint32_t at = 0; at < connection->staging.count && missing > 0; at++) {
        const uint32_t page = connection->staging.pages[at].page;
        missing -= page >= connection->view_pages && page < connection->pages;
    }
    aur_status status = AUR_OK;
    for (uint32_t page = connection->view_pages; missing > 0 && status == AUR_OK; page++) {
        if (auri_staging_find(&connection->staging, page) == NULL) {
            status = apply_zeros(made, writer, page, error);
            missing--;
        }
    }
    return status;
}

static aur_status create(part *made, aur_writer *writer, aur_error *error) {
    aur_sql_connection *connection = made->connection;
    const auri_sql_database *database = connection->database;
    char hidden[AURI_HIDDEN_NAME_BYTES];
    auri_hidden_name(connection->id, hidden);
    return aur_page_commit_create(
        made->commit, writer, connection->is_streamed ? hidden : database->name,
        connection->is_streamed ? sizeof hidden : database->name_bytes, &connection->table, error);
}

/* The hidden database takes the place of what is there. */
static aur_status unveil(part *made, aur_writer *writer, aur_error *error) {
    aur_sql_connection *connection = made->connection;
    const auri_sql_database *database = connection->database;
    aur_status status = AUR_OK;
    if (connection->replaced != NULL) {
        status = aur_page_commit_drop(made->commit, writer, connection->replaced, error);
    }
    return status == AUR_OK
               ? aur_page_commit_rename(made->commit, writer, connection->table, database->name,
                                        database->name_bytes, &connection->table, error)
               : status;
}

static aur_status apply_pages(part *made, aur_writer *writer, aur_error *error) {
    aur_sql_connection *connection = made->connection;
    aur_status status = AUR_OK;
    made->map = aur_view_map(connection->table);
    for (uint32_t at = 0; at < connection->staging.count && status == AUR_OK; at++) {
        const auri_staged *staged = &connection->staging.pages[at];
        if (staged->op != 0 && staged->page < connection->pages) {
            status = apply_page(made, writer, staged, error);
        }
    }
    if (status == AUR_OK) {
        status = fill_gaps(made, writer, error);
    }
    return status == AUR_OK ? aur_page_file_resize(writer, made->map, connection->pages, error)
                            : status;
}

static aur_status apply_part(void *context, aur_writer *writer, aur_error *error) {
    part *made = context;
    aur_sql_connection *connection = made->connection;
    const uint64_t before = writer->mtr->records;
    aur_status status = connection->exists ? AUR_OK : create(made, writer, error);
    if (status == AUR_OK) {
        status = apply_pages(made, writer, error);
    }
    if (status == AUR_OK && connection->is_streamed && !made->is_piece) {
        status = unveil(made, writer, error);
    }
    /* Without a record the head stays where it is, and nobody would ever see this version. */
    made->version = connection->version;
    if (status == AUR_OK && writer->mtr->records > before && !made->is_piece) {
        made->version = (auri_version){aur_view_era(made->commit->view), writer->mtr->start};
        auri_versions_add(&connection->database->versions, made->version);
    }
    return status;
}

static bool has_changes(const aur_sql_connection *connection) {
    if (connection->is_streamed || connection->pages != connection->view_pages) {
        return true;
    }
    for (uint32_t at = 0; at < connection->staging.count; at++) {
        const auri_staged *staged = &connection->staging.pages[at];
        if (staged->op != 0 && staged->page < connection->pages) {
            return true; /* what lies behind the end was written and rolled back */
        }
    }
    return false;
}

/* Extents that may be missing: those of the pages beyond the end, and the last one before it. */
static uint64_t extents_needed(const aur_sql_connection *connection) {
    const uint64_t before = aur_extents_of(connection->view_pages);
    const uint64_t after = aur_extents_of(connection->pages);
    return after > before ? after - before + 1 : 0;
}

static aur_page_commit commit_of(part *made) {
    return (aur_page_commit){
        .view = made->connection->view,
        .demand = {extents_needed(made->connection), !made->connection->exists},
        .apply = apply_part,
        .context = made,
    };
}

static bool is_big(const aur_sql_connection *connection) {
    const aur_sql_options *options = &connection->sql->options;
    const uint64_t bytes = (uint64_t)connection->staging.count * options->page_bytes;
    return bytes > aur_buffer_budget(options->buffer) / BIG_PART;
}

/* It stands at its commit, which SQLite's cache holds already. */
static void settle(part *made, aur_lsn lsn) {
    aur_sql_connection *connection = made->connection;
    connection->version = made->version;
    connection->exists = true;
    connection->is_blank = false;
    connection->is_streamed = false;
    connection->view_pages = connection->pages;
    atomic_store_explicit(&connection->last_commit, lsn, memory_order_relaxed);
    atomic_store_explicit(&connection->read_point, lsn, memory_order_relaxed);
    atomic_fetch_add_explicit(&connection->sql->commits, 1, memory_order_relaxed);
}

/* The transaction is over for the volume, whatever SQLite still says. */
static void end(aur_sql_connection *connection, bool is_committed) {
    if (connection->written_counter != 0) {
        connection->counter = connection->written_counter;
        connection->written_counter = 0;
    }
    if (!is_committed) {
        /* SQLite's cache is not what the volume holds. */
        connection->version.commit = AURI_VERSION_UNKNOWN;
    }
    auri_connection_abandon(connection);
    connection->has_committed = true;
    connection->has_failed = !is_committed;
    connection->lock = AURI_SQL_ENDED;
}

aur_status auri_connection_flush(aur_sql_connection *connection, aur_error *error) {
    part piece = {.connection = connection, .is_big = true, .is_piece = true};
    aur_page_commit commit = commit_of(&piece);
    aur_lsn lsn = 0;
    piece.commit = &commit;
    const aur_status status = aur_transactions_commit_pages(connection->sql->options.transactions,
                                                            &commit, 1, &lsn, error);
    if (status == AUR_OK) {
        connection->exists = true;
        connection->view_pages = connection->pages;
        auri_staging_clear(&connection->staging);
        aur_log_ship(connection->sql->options.log);
    }
    return status;
}

aur_status auri_connections_commit(aur_sql_connection *const *connections, size_t count,
                                   aur_lsn *lsn_out, aur_error *error) {
    part parts[COMMITS_MAX];
    aur_page_commit commits[COMMITS_MAX];
    size_t changed = 0;
    aur_status status = AUR_OK;
    *lsn_out = 0;
    if (count > COMMITS_MAX) {
        return aur_fail(error, AUR_ERR_INVALID, "a transaction writes at most %d databases",
                        COMMITS_MAX);
    }
    for (size_t at = 0; at < count; at++) {
        if (has_changes(connections[at])) {
            parts[changed] = (part){.connection = connections[at],
                                    .commit = &commits[changed],
                                    .is_big = is_big(connections[at])};
            commits[changed] = commit_of(&parts[changed]);
            changed++;
        }
    }
    if (changed > 0) {
        status = aur_transactions_commit_pages(connections[0]->sql->options.transactions, commits,
                                               changed, lsn_out, error);
    }
    for (size_t at = 0; at < changed && status == AUR_OK; at++) {
        settle(&parts[at], *lsn_out);
    }
    for (size_t at = 0; at < count; at++) {
        end(connections[at], status == AUR_OK);
    }
    return status;
}

aur_status auri_connection_wait(aur_sql_connection *connection, aur_lsn lsn, aur_error *error) {
    aur_status status = AUR_TIMEOUT;
    while (status == AUR_TIMEOUT) {
        status = aur_log_wait_durable(connection->sql->options.log, lsn, wait_slice_ns, error);
    }
    return status;
}
