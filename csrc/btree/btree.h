/*
 * Ordered trees of (key, value) on pages, many in one volume, and the allocation of pages. Layout
 * of cells, meta and bitmap pages: docs/format/tree.md.
 *
 * Keys: 0..1024 bytes, ordered as bytes. Values: up to 1 GiB; a value that does not fit a quarter
 * of a page goes to a run of consecutive overflow pages. A tree's root page never moves. Roots
 * count their records. There are no sibling links: a scan climbs its own path, so a split changes
 * three pages and no more.
 *
 * Thread rule: readers at a read point from any thread, no latch; writers under the commit latch,
 * inside an MTR.
 */
#ifndef AUR_BTREE_BTREE_H
#define AUR_BTREE_BTREE_H

#include "btree/mini_transaction.h"

enum {
    AUR_META_PAGE = 0,
    AUR_FIRST_BITMAP_PAGE = 1,
    AUR_CATALOG_ROOT_PAGE = 2, /* the tree of tables: owner 0 */
    AUR_DEFAULT_ROOT_PAGE = 3, /* the tree of the database itself: owner 1 */
    AUR_CATALOG_TABLE = 0,
    AUR_DEFAULT_TABLE = 1,
    AUR_FIRST_USER_TABLE = 2,
};

typedef struct aur_tree {
    aur_page_id root;
    uint32_t table; /* owner written into every page; a page of another owner is corruption */
} aur_tree;

/* ---- page space (allocation by bitmaps) ---- */

/* The writer's in-memory view of the allocation bitmaps. Everything in it is a hint that can be
 * read back from pages. */
typedef struct aur_space aur_space;
aur_status aur_space_create(aur_buffer *buffer, uint32_t page_bytes, uint64_t page_limit,
                            aur_space **space_out) AUR_CHECKED;
void aur_space_destroy(aur_space *space);
void aur_space_forget(
    aur_space *space); /* after aur_buffer_restart and aur_buffer_rewind: hints may be wrong */

/* First use of a volume: meta page, first bitmap, catalog and default tree. */
aur_status aur_space_format(aur_mtr *mtr, aur_error *error) AUR_CHECKED;

/* A run of `count` consecutive pages; the lowest that fits. AUR_ERR_FULL beyond page_limit. */
aur_status aur_space_allocate(aur_space *space, aur_mtr *mtr, uint64_t count,
                              aur_page_id *first_out, aur_error *error) AUR_CHECKED;
aur_status aur_space_free(aur_space *space, aur_mtr *mtr, aur_page_id first, uint64_t count,
                          aur_error *error) AUR_CHECKED;

/* The page at `index` of a run that begins at `first`. */
aur_page_id aur_space_page_of_run(uint32_t page_bytes, aur_page_id first, uint64_t index);

/* Highest page in use + 1, so that the caller can make sure of protection groups before a commit
 * needs them. */
aur_status aur_space_extent(aur_space *space, aur_page_id *end_out, aur_error *error) AUR_CHECKED;
aur_status aur_space_used(aur_space *space, uint64_t *pages_out, aur_error *error) AUR_CHECKED;

/* ---- reading ---- */

/* A found value. Inline values point into a pinned page; overflow values have data == NULL and are
 * fetched by aur_value_read. Release exactly once. */
typedef struct aur_value {
    const uint8_t *data;
    uint64_t length;
    aur_page_id overflow; /* first page of the run when data == NULL && length > 0 */
    uint32_t table;
    aur_lsn read_point;
    aur_page_ref ref;
} aur_value;

typedef struct aur_reader {
    aur_buffer *buffer;
    uint32_t page_bytes;
    aur_lsn read_point; /* AUR_LSN_MAX: the head; writer only */
    bool cached_only;   /* AUR_WOULD_BLOCK instead of I/O */
} aur_reader;

/* AUR_NOT_FOUND when the key is not there. `value_out` may be NULL to ask for existence. */
aur_status aur_tree_get(const aur_reader *reader, const aur_tree *tree, const uint8_t *key,
                        size_t key_bytes, aur_value *value_out, aur_error *error) AUR_CHECKED;

/* One key of aur_tree_get_many, and what became of it. */
enum { AUR_TREE_LOOKUPS_MAX = 32 };
typedef struct aur_tree_lookup {
    const uint8_t *key;
    size_t key_bytes;
    aur_status status;
    aur_value value; /* to be released if the status is AUR_OK */
} aur_tree_lookup;

/* Looks up to AUR_TREE_LOOKUPS_MAX keys up at once, so that waits for memory overlap; only in the
 * pool. Each `status` is AUR_OK, AUR_NOT_FOUND, or AUR_WOULD_BLOCK: aur_tree_get knows, or knows
 * what is wrong. */
void aur_tree_get_many(const aur_reader *reader, const aur_tree *tree, aur_tree_lookup *lookups,
                       size_t count);
/* The leaf of the key is about to be read: it is announced to the pool, unless it is *announced,
 * which was the last one. Inner pages are read. */
void aur_tree_will_read(const aur_reader *reader, const aur_tree *tree, const uint8_t *key,
                        size_t key_bytes, aur_page_id *announced);
/* Copies value bytes [0, length) to `out`. */
aur_status aur_value_read(const aur_reader *reader, const aur_value *value, uint8_t *out,
                          aur_error *error) AUR_CHECKED;
void aur_value_release(const aur_reader *reader, aur_value *value);
aur_status aur_tree_count(const aur_reader *reader, const aur_tree *tree, uint64_t *count_out,
                          aur_error *error) AUR_CHECKED;
/* The key at which the page ends that holds or would hold `key`: its leaf, or the first page on the
 * way there that is damaged. It is above `key`; for who wants to go on behind damage. `end_out` has
 * AUR_KEY_BYTES_MAX bytes. AUR_NOT_FOUND when the tree ends with that page. */
aur_status aur_tree_page_end(const aur_reader *reader, const aur_tree *tree, const uint8_t *key,
                             size_t key_bytes, uint8_t *end_out, size_t *end_bytes_out,
                             aur_error *error) AUR_CHECKED;

/* A cursor at one read point, both ways. Keys and values are valid until it moves. Its path of
 * pinned pages is at most 16 long. */
enum { AUR_TREE_DEPTH_MAX = 16 };
typedef struct aur_tree_cursor {
    aur_reader reader;
    aur_tree tree;
    uint32_t depth; /* 0: not positioned */
    struct {
        aur_page_ref ref;
        uint32_t slot;
    } path[AUR_TREE_DEPTH_MAX];
} aur_tree_cursor;

void aur_tree_cursor_open(aur_tree_cursor *cursor, const aur_reader *reader, const aur_tree *tree);
void aur_tree_cursor_close(aur_tree_cursor *cursor);
/* Positions at the first key >= key (forward) or the last key < key (backward). key NULL: the very
 * first or last. */
aur_status aur_tree_cursor_seek(aur_tree_cursor *cursor, const uint8_t *key, size_t key_bytes,
                                bool backward, aur_error *error) AUR_CHECKED;
/* AUR_NOT_FOUND at the end. */
aur_status aur_tree_cursor_next(aur_tree_cursor *cursor, aur_error *error) AUR_CHECKED;
aur_status aur_tree_cursor_previous(aur_tree_cursor *cursor, aur_error *error) AUR_CHECKED;
/* Current entry; the value is as in aur_tree_get but borrows the cursor's pin (no release). */
aur_status aur_tree_cursor_entry(aur_tree_cursor *cursor, const uint8_t **key_out,
                                 size_t *key_bytes_out, aur_value *value_out,
                                 aur_error *error) AUR_CHECKED;

/* ---- writing, inside an MTR ---- */

typedef struct aur_writer {
    aur_mtr *mtr;
    aur_space *space;
} aur_writer;

/* Creates an empty tree; its root is allocated. */
aur_status aur_tree_create(aur_writer *writer, uint32_t table, aur_tree *tree_out,
                           aur_error *error) AUR_CHECKED;
/* Sets key to value; *inserted_out tells whether the key is new. */
aur_status aur_tree_put(aur_writer *writer, const aur_tree *tree, const uint8_t *key,
                        size_t key_bytes, const uint8_t *value, uint64_t value_bytes,
                        bool *inserted_out, aur_error *error) AUR_CHECKED;
/* One write of many. */
typedef struct aur_tree_write {
    const uint8_t *key;
    size_t key_bytes;
    const uint8_t *value;
    uint64_t value_bytes;
    bool is_delete;
} aur_tree_write;

/* Fills in the next write, whose bytes stay until the call after it; false at the end. */
typedef bool aur_tree_next_write(void *context, aur_tree_write *write_out);

/* Puts and deletes (also what is not there) in ascending order of keys, each key once, and counts
 * the records. Neighbours cost little more than their bytes. */
aur_status aur_tree_write_many(aur_writer *writer, const aur_tree *tree, aur_tree_next_write *next,
                               void *context, aur_error *error) AUR_CHECKED;
/* AUR_NOT_FOUND (and nothing changed) when the key is not there. */
aur_status aur_tree_delete(aur_writer *writer, const aur_tree *tree, const uint8_t *key,
                           size_t key_bytes, aur_error *error) AUR_CHECKED;
/* Adds `delta` to the root's record count: once per tree and transaction, after its single puts and
 * deletes. */
aur_status aur_tree_add_count(aur_writer *writer, const aur_tree *tree, int64_t delta,
                              aur_error *error) AUR_CHECKED;
/* Frees every page of the tree, its root too. */
aur_status aur_tree_drop(aur_writer *writer, const aur_tree *tree, aur_error *error) AUR_CHECKED;

/* Upper bound of pages that putting these bytes could allocate, whatever the tree looks like; for
 * growing the volume ahead. Several times too high for small records: see the forecast. */
uint64_t aur_tree_pages_needed(uint32_t page_bytes, uint64_t records, uint64_t value_bytes);
/* The pages and the bitmap pages that they may bring along. */
uint64_t aur_space_with_bitmaps(uint32_t page_bytes, uint64_t pages);

/* A close upper bound, by looking at the pages of the head that the puts would change; for the
 * writer, under the commit latch. Begin (tree NULL: one that will be made), put in ascending order
 * of keys, end. */
typedef struct auri_forecast_inflow {
    uint64_t cells;
    uint64_t bytes;
} auri_forecast_inflow;

typedef struct auri_forecast_node {
    aur_page_id page_id;
    uint64_t used;
    uint64_t cell_max; /* longest cell and key, of those here and those to come */
    uint64_t key_max;
    bool at_edge; /* the last node of its level */
    auri_forecast_inflow inside;
    auri_forecast_inflow edge; /* behind everything that the tree holds */
} auri_forecast_node;

typedef struct aur_tree_forecast {
    aur_reader reader;
    aur_tree tree;
    bool is_new;
    bool has_path;
    bool has_runs; /* some of the pages have to follow each other */
    uint32_t height;
    uint64_t pages;
    auri_forecast_node node[AUR_TREE_DEPTH_MAX]; /* by level; 0 is the leaf */
} aur_tree_forecast;

void aur_tree_forecast_begin(aur_tree_forecast *forecast, const aur_reader *reader,
                             const aur_tree *tree);
aur_status aur_tree_forecast_put(aur_tree_forecast *forecast, const uint8_t *key, size_t key_bytes,
                                 uint64_t value_bytes, aur_error *error) AUR_CHECKED;
uint64_t aur_tree_forecast_end(aur_tree_forecast *forecast);

/* Checks order, levels, owners, separators, counts, overflow runs, and that every page is marked in
 * the bitmap exactly once (`seen`, a bit per page, owned by the caller, may be NULL). */
typedef struct aur_tree_check {
    uint64_t pages, records;
    uint8_t *seen;
    uint64_t seen_bits;
} aur_tree_check;
aur_status aur_tree_verify(const aur_reader *reader, const aur_tree *tree, aur_tree_check *check,
                           aur_error *error) AUR_CHECKED;
/* After the verify of every tree of the volume into one `check`: the meta page and the bitmaps are
 * sound, and what is marked in use is what was seen, no page less and none more. */
aur_status aur_space_verify(const aur_reader *reader, aur_tree_check *check,
                            aur_error *error) AUR_CHECKED;

#endif
