/*
 * Layers: immutable files of sorted records. docs/format/segment.md has their bytes.
 *
 *   layer_write.c   one pass over sorted records, and the commits of an LSN range
 *   layer_read.c    one page's records out of a layer; blocks and their checksums
 *   layer_index.c   index blocks, which are kept in memory as long as there is room
 *   layer_cursor.c  all records of a layer, or those of a range of pages
 *   commits.c       when the commits of an LSN range happened
 */
#ifndef AUR_SEGMENT_LAYER_PRIVATE_H
#define AUR_SEGMENT_LAYER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "format/checksum.h"
#include "segment/segment.h"
#include "segment/segment_format.h"

enum {
    AURI_NAME_BYTES = 32,            /* "layer-" + 16 hex digits + NUL, rounded up */
    AURI_BLOCK_RAW_BYTES = 8 << 10,  /* a data block is closed at this size: about one page */
    AURI_BLOCK_BYTES_MAX = 16 << 20, /* a reader refuses more */
    AURI_INDEX_ENTRIES = 128,        /* pointers in one index block */
    AURI_COMMITS_PER_BLOCK = 512,    /* all blocks of commits but a layer's last have so many */
    AURI_NUMBER_MIX_BITS = 24,       /* of a layer's number; above them it counts */
    AURI_INDEX_BYTES_KEPT = 8 << 20, /* of index blocks that a segment keeps in memory at most */
};

enum auri_layer_kind {
    AURI_LAYER_DELTA = 1,     /* the records of an LSN range, as they came */
    AURI_LAYER_BASE = 2,      /* all that is retained of a range of pages, up to an LSN */
    AURI_LAYER_CHRONICLE = 3, /* no records: the commits of deltas that have become base */
};

/* What the manifest knows of a layer. */
typedef struct auri_layer_info {
    uint64_t number;
    uint64_t size_bytes; /* 0: a base part of which nothing is retained; it has no file */
    uint64_t records;
    aur_lsn first_lsn, last_lsn; /* of its records */
    aur_page_id first_page; /* of its records; of a base part: where its range begins (it ends where
                               the next part's begins) */
    aur_page_id last_page;  /* of its records */
    uint64_t footer_sum;
    uint64_t file_sum;    /* XXH3 of the whole file, seeded like the footer */
    aur_lsn complete_lsn; /* every record up to here that it should have is in it, or collected */
    aur_lsn horizon;      /* base: what was retained when it was written, from there on */
    aur_lsn lowest_root;  /* base: the lowest moment that was retained then */
    uint64_t live_bytes;  /* base: the part of size_bytes that the newest versions take */
    uint64_t commits;     /* in its LSN range, and when the first and the last of them happened */
    uint64_t first_time_us, last_time_us;
    uint8_t origin[AUR_VOLUME_ID_BYTES]; /* the volume that wrote it: a clone shares its parent's */
    uint32_t kind;                       /* enum auri_layer_kind */
    uint32_t tier;                       /* delta: how often it was merged */
} auri_layer_info;

/* Whether two entries name the same bytes: copies of a group share layers that one of them built.
 */
static inline bool auri_segment_same_layer(const auri_layer_info *left,
                                           const auri_layer_info *right) {
    return left->number == right->number && left->file_sum == right->file_sum &&
           left->size_bytes == right->size_bytes;
}

/* Where a block is: the checksum is in the pointer, so a block that is stale or elsewhere fails.
 * Pointers to blocks of commits have a time in the place of the page. */
typedef struct auri_pointer {
    aur_page_id first_page;
    aur_lsn first_lsn;
    uint64_t offset;
    uint32_t stored_bytes; /* below raw_bytes: zstd */
    uint32_t raw_bytes;
    uint64_t sum;
} auri_pointer;

void auri_segment_pointer_encode(const auri_pointer *pointer, uint8_t out[AUR_POINTER_BYTES]);
void auri_segment_pointer_decode(const uint8_t in[AUR_POINTER_BYTES], auri_pointer *pointer);

/* Seed of the checksum of the block at `offset` of layer `number`. */
static inline uint64_t auri_segment_layer_seed(uint64_t volume_seed, uint64_t number,
                                               uint64_t offset) {
    return volume_seed ^ (number * UINT64_C(0x9e3779b97f4a7c15)) ^
           (offset * UINT64_C(0xc2b2ae3d27d4eb4f));
}

/* Bytes that grow; zero-initialize, free `bytes` at the end. */
typedef struct auri_bytes {
    uint8_t *bytes;
    size_t length, capacity;
} auri_bytes;

/* Makes room for `more` bytes; false: out of memory. */
bool auri_segment_bytes_reserve(auri_bytes *into, size_t more);

/* ---- Writing (layer_write.c) ---- */

typedef struct auri_layer_writer auri_layer_writer;

/* Starts a layer with a new number on the segment's disk. `first_page`: where the range of a base
 * part begins. info_out of finish is what the manifest needs. */
aur_status auri_segment_layer_writer_open(aur_segment *segment, uint32_t kind, uint32_t tier,
                                          aur_page_id first_page, auri_layer_writer **writer_out,
                                          aur_error *error) AUR_CHECKED;
/* Adds one encoded record; records come in (page, LSN) order. */
aur_status auri_segment_layer_writer_add(auri_layer_writer *writer, const aur_record *record,
                                         const uint8_t *bytes, size_t length,
                                         aur_error *error) AUR_CHECKED;
/* Adds a commit, in the order of their LSNs; before, between or after the records. */
aur_status auri_segment_layer_writer_commit(auri_layer_writer *writer,
                                            const aur_commit_mark *commit,
                                            aur_error *error) AUR_CHECKED;
/* Notes that so many of the bytes added make newest versions of pages. */
void auri_segment_layer_writer_live(auri_layer_writer *writer, size_t bytes);
uint64_t auri_segment_layer_writer_bytes(const auri_layer_writer *writer);
/* Writes index and footer and makes the file durable. The writer is still to be closed. */
aur_status auri_segment_layer_writer_finish(auri_layer_writer *writer, aur_lsn complete_lsn,
                                            auri_layer_info *info_out,
                                            aur_error *error) AUR_CHECKED;
/* Frees; removes the file when it was not finished. */
void auri_segment_layer_writer_close(auri_layer_writer *writer);

/* ---- Reading (layer_read.c) ---- */

/* An open layer. Counted by reference; root and bitmap are loaded at the first read. */
typedef struct auri_layer {
    atomic_uint references;
    auri_layer_info info;
    aur_segment_identity identity;
    uint64_t volume_seed; /* of the volume that wrote it */
    uint32_t planted_bugs;
    char name[AURI_NAME_BYTES];
    aur_file *file; /* NULL when it is missing: every read says so */
    pthread_mutex_t load_lock;
    atomic_bool loaded;
    uint8_t *root; /* pointers to index blocks */
    uint32_t root_count;
    atomic_uint_least64_t *kept_bytes; /* of the segment, which outlives it; NULL: keeps none */
    _Atomic(uint8_t *) *kept;          /* index blocks by their place in the root; NULL: not kept */
    uint8_t *bitmap;                   /* one bit for each page from info.first_page on */
    uint64_t bitmap_bytes;
    auri_pointer commit_index;    /* pointers to blocks of commits */
    struct auri_layer *successor; /* the same file under a newer entry: as long as this one is read,
                                     that one's file stays. Set once, when it is replaced. */
} auri_layer;

void auri_segment_layer_name(uint64_t number, char name[AURI_NAME_BYTES]);

/* A missing or short file is not an error here but at the first read; `error` then tells. */
aur_status auri_segment_layer_open(aur_disk *disk, const aur_segment_identity *identity,
                                   uint32_t planted_bugs, const auri_layer_info *info,
                                   auri_layer **layer_out, aur_error *error) AUR_CHECKED;
auri_layer *auri_segment_layer_acquire(auri_layer *layer);
void auri_segment_layer_release(auri_layer *layer);
aur_status auri_segment_layer_load(auri_layer *layer, aur_error *error) AUR_CHECKED;

/* Whether the layer, which is loaded, has a record of some page in [first, end). */
bool auri_segment_layer_has_pages(const auri_layer *layer, aur_page_id first, aur_page_id end);

/* Memory that reading blocks needs; reused from block to block. Zero-initialize; free at the end.
 */
typedef struct auri_block_buffer {
    uint8_t *raw;
    uint8_t *stored;
    size_t raw_capacity, stored_capacity;
    void *unpacker; /* ZSTD_DCtx */
} auri_block_buffer;

void auri_segment_block_buffer_free(auri_block_buffer *buffer);

/* Reads and verifies the block at `pointer` into buffer->raw (pointer->raw_bytes of it). */
aur_status auri_segment_layer_read_block(auri_layer *layer, const auri_pointer *pointer,
                                         auri_block_buffer *buffer, aur_error *error) AUR_CHECKED;

/* AUR_ERR_CORRUPT naming the layer's file. */
aur_status auri_segment_layer_damage(const auri_layer *layer, uint64_t offset, aur_lsn lsn,
                                     const char *what, aur_error *error) AUR_CHECKED;

/* 1 + the last of `count` encoded pointers whose first record is at or before (page, lsn); 0 if
 * none. */
uint32_t auri_segment_last_before(const uint8_t *pointers, uint32_t count, aur_page_id page_id,
                                  aur_lsn lsn);

/* ---- Index blocks (layer_index.c) ---- */

/* Makes room for what is kept of the index of a layer that is being loaded. Without the memory
 * nothing is kept. */
void auri_segment_index_open(auri_layer *layer);
void auri_segment_index_close(auri_layer *layer);

/* The index block that the root names at `at`: one that is kept, or read into `buffer`.
 * *entries_out has *count_out encoded pointers and lives as long as both. */
aur_status auri_segment_index_block(auri_layer *layer, uint32_t at, auri_block_buffer *buffer,
                                    const uint8_t **entries_out, uint32_t *count_out,
                                    aur_error *error) AUR_CHECKED;

/* ---- Walking (layer_cursor.c) ---- */

/* Reads records of a layer in order. */
typedef struct auri_cursor {
    auri_layer *layer; /* one reference */
    auri_block_buffer index, data;
    uint32_t root_at, index_at, index_count; /* next index block, next entry, entries in it */
    uint32_t data_bytes, data_at;
    uint64_t block_offset;
    aur_record record;    /* the current one, when `valid` */
    const uint8_t *bytes; /* its encoding; lives until the next advance */
    size_t length;
    bool valid;
} auri_cursor;

/* Takes a reference on the layer and stands before the first record. */
void auri_segment_cursor_init(auri_cursor *cursor, auri_layer *layer);
/* Moves to the next record; cursor->valid is false at the end. */
aur_status auri_segment_cursor_next(auri_cursor *cursor, aur_error *error) AUR_CHECKED;
/* Moves a fresh cursor to the first record of a page at or behind `first`. */
aur_status auri_segment_cursor_seek(auri_cursor *cursor, aur_page_id first,
                                    aur_error *error) AUR_CHECKED;
void auri_segment_cursor_free(auri_cursor *cursor);

/* ---- Walking several as one (layer_union.c) ---- */

typedef struct auri_union_place {
    aur_page_id page_id;
    aur_lsn lsn;
    uint32_t input;
} auri_union_place;

/* Reads the records of several layers in order. */
typedef struct auri_union {
    auri_cursor *layers; /* `count` of them */
    uint32_t count;
    aur_lsn floor;          /* what deltas hold up to here is passed over */
    aur_page_id end_page;   /* it ends before this page */
    auri_union_place *heap; /* where the cursors stand that have more: `live` of them */
    uint32_t live;
} auri_union;

/* With room for so many layers. */
aur_status auri_segment_union_open(auri_union *walked, uint32_t layers, aur_lsn floor,
                                   aur_page_id end_page, aur_error *error) AUR_CHECKED;
void auri_segment_union_close(auri_union *walked);
/* Takes a reference on the layer. */
void auri_segment_union_add(auri_union *walked, auri_layer *layer);
/* Moves it, freshly filled, to the first record of a page at or behind `first`. */
aur_status auri_segment_union_seek(auri_union *walked, aur_page_id first,
                                   aur_error *error) AUR_CHECKED;
/* Where the next record is; NULL at the end. Lives until the next advance. */
const auri_cursor *auri_segment_union_first(const auri_union *walked);
/* Passes over that record. */
aur_status auri_segment_union_next(auri_union *walked, aur_error *error) AUR_CHECKED;

/* ---- Commits (commits.c) ---- */

/* Encodes `count` commits, ascending, behind `out`; false: out of memory. */
bool auri_segment_commits_encode(const aur_commit_mark *commits, size_t count, auri_bytes *out);

/* Calls `visit` for the commits of a layer with after < LSN <= upto, ascending, until it fails. */
aur_status auri_segment_layer_commits(auri_layer *layer, aur_lsn after, aur_lsn upto,
                                      aur_status (*visit)(void *context,
                                                          const aur_commit_mark *commit,
                                                          aur_error *error),
                                      void *context, aur_error *error) AUR_CHECKED;

#endif
