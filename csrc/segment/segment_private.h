/*
 * Inside a segment. Which file does what:
 *
 *   segment.c      create, close, state, health          manifest.c     the one file that is
 * replaced atomically open.c         opening a directory                   log_extent.c   hot log
 * files: make, recycle, find a place append.c       frames in log_scan.c     reading the hot log
 * back at open history.c      epoch promise and rewinds             memtable.c     index of what no
 * layer holds yet read.c         pages and frames out                  layer_write.c, layer_read.c,
 * layer_cursor.c work.c         what to do next in the background     flush.c, merge.c,
 * layer_build.c copy.c         rebuild a copy                        verify.c       re-read
 * everything, or look if it is there
 *
 * Locks, in the order in which they are taken:
 *   work_lock      flush, merge, extents, compact: one at a time
 *   manifest_lock  one manifest replacement at a time
 *   lock           every field below it; never held across I/O
 */
#ifndef AUR_SEGMENT_PRIVATE_H
#define AUR_SEGMENT_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "format/checksum.h"
#include "segment/segment.h"
#include "segment/segment_format.h"

enum {
    AURI_NAME_BYTES = 32,              /* "layer-" + 16 hex digits + NUL, rounded up */
    AURI_EXTENT_HEADER_BYTES = 4096,   /* frames start here */
    AURI_FIRST_EXTENT_BYTES = 1 << 20, /* small, so that an empty volume of six copies is small */
    AURI_RETAINED_EXTENTS = 2,         /* flushed extents kept for copies that catch up */
    AURI_SPARE_EXTENTS = 2,            /* flushed extents kept for reuse */
    AURI_REWINDS_MAX = 1024,           /* the newest are kept */
    AURI_GROUP_PAGES_MAX = 1 << 26,    /* bounds the page bitmap of a layer */
    AURI_BLOCK_RAW_BYTES = 32 << 10,   /* a data block is closed at this size */
    AURI_BLOCK_BYTES_MAX = 16 << 20,   /* a reader refuses more */
    AURI_INDEX_ENTRIES = 512,          /* pointers in one index block */
    AURI_UNPACKERS = 4,                /* decompression contexts kept for reads */
};

/* Where a frame rests in the hot log. */
typedef struct auri_log_position {
    uint64_t sequence; /* of the extent */
    uint64_t offset;
} auri_log_position;

/* ---- Manifest (manifest.c)
 * -------------------------------------------------------------------------------- */

typedef struct auri_layer_info {
    uint64_t number;
    uint64_t size_bytes;
    uint64_t records;
    aur_lsn first_lsn, last_lsn;
    aur_page_id first_page, last_page;
    uint64_t footer_sum;
    uint32_t tier;
} auri_layer_info;

/* What `manifest` says. Owns its two arrays. */
typedef struct auri_manifest {
    aur_segment_identity identity;
    uint64_t edition; /* grows by one with each replacement */
    aur_epoch epoch;
    aur_lsn base_lsn;    /* SCL the segment was created with */
    aur_lsn flushed_lsn; /* every frame up to here is in layers */
    aur_lsn proven_scl;  /* SCL when this was written: a scan that ends below has met damage */
    aur_lsn vdl;
    auri_log_position replay; /* no live frame rests before it */
    uint64_t next_layer;
    aur_rewind *rewinds; /* ascending by `at` */
    uint32_t rewind_count;
    uint32_t layer_count;
    auri_layer_info *layers; /* newest first; LSN ranges do not overlap */
} auri_manifest;

void auri_segment_manifest_free(auri_manifest *manifest);
aur_status auri_segment_manifest_copy(const auri_manifest *from, auri_manifest *to) AUR_CHECKED;

/* Reads and verifies `manifest`. AUR_NOT_FOUND, AUR_ERR_CORRUPT, AUR_ERR_VERSION. */
aur_status auri_segment_manifest_load(aur_disk *disk, auri_manifest *manifest,
                                      aur_error *error) AUR_CHECKED;

/* Makes sure of the file that keeps room for one more manifest, so that a recovery can fence and
 * truncate on a full disk and what was acknowledged stays readable. Best effort. */
void auri_segment_reserve(aur_disk *disk);

/* Replaces `manifest` on `disk`. */
aur_status auri_segment_manifest_store(aur_disk *disk, const auri_manifest *manifest,
                                       aur_error *error) AUR_CHECKED;

/* ---- Hot log (log_extent.c, log_scan.c)
 * ------------------------------------------------------------------- */

/* Counted by reference, so that a look at its file outlives its removal from the list. */
typedef struct auri_extent {
    atomic_uint references;
    uint64_t sequence;
    uint64_t size_bytes;
    uint64_t used_bytes; /* where the next frame goes */
    aur_lsn stale_lsn;   /* frames up to here are left over from the extent's earlier life */
    aur_file *file;
    bool header_good;
    bool unborn; /* a crash came between making or renaming the file and writing its header */
    /* What a peer that catches up may still read from here; link_offset is 0 when that is nothing.
     */
    aur_lsn link_lsn;     /* the first readable frame links to it … */
    uint64_t link_offset; /* … and stands here */
    aur_lsn last_lsn;     /* of the newest frame */
    aur_lsn hint_lsn;     /* the frame that links to this LSN was last seen … */
    uint64_t hint_offset; /* … here: catching up goes forward */
} auri_extent;

typedef struct auri_log {
    auri_extent **extents; /* ascending by sequence */
    uint32_t count, capacity;
    auri_extent *active; /* takes frames; NULL when the next frame needs a fresh one */
    uint64_t floor;      /* only extents with a sequence above may become active */
    uint64_t next_sequence;
    uint64_t bytes; /* sum of sizes */
} auri_log;

/* One frame of the hot log that no layer holds yet. */
typedef struct auri_slot {
    aur_frame *frame; /* one reference */
    auri_log_position position;
} auri_slot;

void auri_segment_extent_name(uint64_t sequence, char name[AURI_NAME_BYTES]);
bool auri_segment_parse_name(const char *name, const char *prefix, uint64_t *number_out);

/* Creates a zeroed extent with its header on `disk` and opens it. Usable before a segment is open.
 */
aur_status auri_segment_extent_create(aur_disk *disk, const aur_segment_identity *identity,
                                      uint64_t sequence, uint64_t size_bytes,
                                      auri_extent **extent_out, aur_error *error) AUR_CHECKED;
/* Opens the existing extent `sequence` of `size_bytes` and looks at its header. AUR_ERR_CORRUPT
 * when it belongs to another segment; a header that is merely damaged clears header_good. */
aur_status auri_segment_extent_open(aur_disk *disk, const aur_segment_identity *identity,
                                    uint64_t sequence, uint64_t size_bytes,
                                    auri_extent **extent_out, aur_error *error) AUR_CHECKED;
auri_extent *auri_segment_extent_acquire(auri_extent *extent);
void auri_segment_extent_release(auri_extent *extent);

/* Reads the header again: AUR_ERR_CORRUPT when it does not verify. */
aur_status auri_segment_extent_check(const auri_extent *extent,
                                     const aur_segment_identity *identity,
                                     aur_error *error) AUR_CHECKED;

/* Adds to / takes from the list of extents; the caller holds `lock` (or is alone). */
aur_status auri_segment_log_insert(auri_log *log, auri_extent *extent) AUR_CHECKED;
void auri_segment_log_take_out(auri_log *log, auri_extent *extent);

/* Notes that a frame stands at `offset`. Holds `lock`. */
void auri_segment_extent_note(auri_extent *extent, uint64_t offset, const aur_frame_header *header);

/* The lowest LSN whose following frame is in memory or in a retained extent. Holds `lock`. */
aur_lsn auri_segment_log_start(const aur_segment *segment);

/* Reads the frame that links to `after_lsn` from a flushed extent. AUR_GAP: it is not there any
 * more. */
aur_status auri_segment_log_fetch(aur_segment *segment, aur_lsn after_lsn, aur_frame **frame_out,
                                  aur_error *error) AUR_CHECKED;

/* Finds room for `length` bytes and reserves it. AUR_NOT_FOUND: no extent has room. Holds `lock`.
 */
aur_status auri_segment_log_place(auri_log *log, size_t length, auri_extent **extent_out,
                                  uint64_t *offset_out) AUR_CHECKED;

/* Makes an extent that a frame of `length` bytes fits into and puts it into the list. Without lock.
 */
aur_status auri_segment_log_grow(aur_segment *segment, size_t length, aur_error *error) AUR_CHECKED;

/* One step of keeping the set of extents right: prepares one ahead, recycles or removes a flushed
 * one. AUR_NOT_FOUND when nothing is to be done. Holds work_lock only. */
aur_status auri_segment_log_maintain(aur_segment *segment, aur_error *error) AUR_CHECKED;

/* Reads the hot log from the manifest's replay position into the memtable and sets SCL. Damage is
 * noted in the segment's health; only lack of memory is an error. */
aur_status auri_segment_log_scan(aur_segment *segment, aur_error *error) AUR_CHECKED;

/* ---- Memtable (memtable.c)
 * -------------------------------------------------------------------------------- */

/* One record: 24 bytes. `previous` is 1 + the index of the page's older record, 0 when there is
 * none. */
typedef struct auri_entry {
    aur_lsn lsn;
    uint32_t slot;
    uint32_t offset;
    uint32_t previous;
    uint32_t flags;
} auri_entry;

typedef struct auri_page_entry {
    aur_page_id page_id;
    uint32_t newest; /* 1 + index of the newest record, 0 in an empty place */
    uint32_t unused;
} auri_page_entry;

/* Counted by reference: readers pin it, which keeps its frames alive. Grows under `lock` while it
 * is the active one; immutable once frozen, but for `limit`. */
typedef struct auri_memtable {
    atomic_uint references;
    uint32_t slot_count, slot_capacity;
    uint32_t
        held_count; /* slots with a reference: slot_count, and those that moved on when it froze */
    uint32_t entry_count, entry_capacity;
    uint32_t page_count, page_capacity; /* capacity is a power of two */
    aur_lsn limit;                      /* entries above moved to a newer memtable */
    uint64_t payload_bytes, padded_bytes;
    auri_slot *slots;
    auri_entry *entries;
    auri_page_entry *pages;
} auri_memtable;

auri_memtable *auri_segment_memtable_create(void);
auri_memtable *auri_segment_memtable_acquire(auri_memtable *table);
void auri_segment_memtable_release(auri_memtable *table);
uint64_t auri_segment_memtable_bytes(const auri_memtable *table);

/* Decodes every record of a frame and checks it against the frame and the group. AUR_ERR_CORRUPT.
 * The result is remembered in the frame, which the other copies in this process share. */
aur_status auri_segment_check_records(aur_frame *frame,
                                      const aur_segment_identity *identity) AUR_CHECKED;

/* Adds a frame whose records were checked; takes a reference. All or nothing: AUR_ERR_MEMORY. */
aur_status auri_segment_memtable_add(auri_memtable *table, aur_frame *frame,
                                     auri_log_position position) AUR_CHECKED;

/* Index + 1 of the newest record of a page, 0 when there is none. */
uint32_t auri_segment_memtable_find(const auri_memtable *table, aur_page_id page_id);

static inline const uint8_t *auri_segment_entry_bytes(const auri_memtable *table,
                                                      const auri_entry *entry) {
    return table->slots[entry->slot].frame->bytes + entry->offset;
}

/* A memtable that holds the slots of `table` from `first` on. NULL when out of memory. */
auri_memtable *auri_segment_memtable_tail(const auri_memtable *table, uint32_t first);

/* ---- Layers (layer_write.c, layer_read.c, layer_cursor.c)
 * ------------------------------------------------- */

/* Where a block is: the checksum is in the pointer, so a block that is stale or elsewhere fails. */
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

typedef struct auri_layer_writer auri_layer_writer;

/* Starts layer-`number` on the segment's disk; info_out of finish is what the manifest needs. */
aur_status auri_segment_layer_writer_open(aur_segment *segment, uint64_t number, uint32_t tier,
                                          auri_layer_writer **writer_out,
                                          aur_error *error) AUR_CHECKED;
/* Adds one encoded record; records come in (page, LSN) order. */
aur_status auri_segment_layer_writer_add(auri_layer_writer *writer, const aur_record *record,
                                         const uint8_t *bytes, size_t length,
                                         aur_error *error) AUR_CHECKED;
uint64_t auri_segment_layer_writer_bytes(const auri_layer_writer *writer);
/* Writes index and footer and makes the file durable. The writer is still to be closed. */
aur_status auri_segment_layer_writer_finish(auri_layer_writer *writer, auri_layer_info *info_out,
                                            aur_error *error) AUR_CHECKED;
void auri_segment_layer_writer_close(auri_layer_writer *writer);

/* An open layer. Counted by reference; root and bitmap are loaded at the first read. */
typedef struct auri_layer {
    atomic_uint references;
    auri_layer_info info;
    aur_segment_identity identity;
    uint64_t volume_seed;
    uint32_t planted_bugs;
    char name[AURI_NAME_BYTES];
    aur_file *file; /* NULL when it is missing: every read says so */
    pthread_mutex_t load_lock;
    atomic_bool loaded;
    uint8_t *root; /* pointers to index blocks */
    uint32_t root_count;
    uint8_t *bitmap; /* one bit for each page from first_page on */
    uint64_t bitmap_bytes;
} auri_layer;

void auri_segment_layer_name(uint64_t number, char name[AURI_NAME_BYTES]);

/* A missing or short file is not an error here but at the first read; *damaged_out tells. */
aur_status auri_segment_layer_open(aur_disk *disk, const aur_segment_identity *identity,
                                   uint32_t planted_bugs, const auri_layer_info *info,
                                   auri_layer **layer_out, aur_error *error) AUR_CHECKED;
auri_layer *auri_segment_layer_acquire(auri_layer *layer);
void auri_segment_layer_release(auri_layer *layer);
aur_status auri_segment_layer_load(auri_layer *layer, aur_error *error) AUR_CHECKED;

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

/* Reads all records of a layer in order. */
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
void auri_segment_cursor_free(auri_cursor *cursor);

/* ---- What readers pin (segment.c)
 * ------------------------------------------------------------------------- */

/* An immutable list of layers and rewinds; replaced, never changed. */
typedef struct auri_view {
    atomic_uint references;
    uint32_t layer_count;
    uint32_t rewind_count;
    auri_layer **layers; /* newest first, one reference each */
    aur_rewind *rewinds;
} auri_view;

auri_view *auri_segment_view_create(auri_layer *const *layers, uint32_t layer_count,
                                    const aur_rewind *rewinds, uint32_t rewind_count);
auri_view *auri_segment_view_acquire(auri_view *view);
void auri_segment_view_release(auri_view *view);

/* ---- Chain of one page (read.c)
 * --------------------------------------------------------------------------- */

typedef struct auri_link {
    const uint8_t *bytes;
    const auri_layer *layer; /* NULL: from a memtable */
    uint64_t offset;         /* of the block in the layer */
} auri_link;

/* The records that build one page at one read point, newest first. */
typedef struct auri_chain {
    aur_page_id page_id;
    aur_lsn read_point;
    const auri_view *view;
    auri_link *links;
    uint32_t count, capacity;
    bool complete; /* the oldest link needs no older one */
    uint8_t **blocks;
    uint32_t block_count, block_capacity;
    auri_block_buffer index, data;
} auri_chain;

bool auri_segment_chain_wants(const auri_chain *chain, aur_lsn lsn);
aur_status auri_segment_chain_add(auri_chain *chain, const uint8_t *bytes, const auri_layer *layer,
                                  uint64_t offset, bool init) AUR_CHECKED;
/* Adds what one layer has of the chain. */
aur_status auri_segment_layer_collect(auri_layer *layer, auri_chain *chain,
                                      aur_error *error) AUR_CHECKED;

/* ---- The segment
 * ------------------------------------------------------------------------------------------ */

typedef struct auri_merge auri_merge;

struct aur_segment {
    aur_disk *disk;
    aur_segment_options options;
    aur_segment_identity identity;
    uint64_t volume_seed;

    pthread_mutex_t work_lock;
    auri_merge *merge;     /* under work_lock: the merge that goes on, step by step */
    bool merge_blocked;    /* under work_lock: its inputs are damaged */
    auri_layer **obsolete; /* under work_lock: replaced layers whose readers may still be there */
    uint32_t obsolete_count, obsolete_capacity;

    pthread_mutex_t manifest_lock;

    pthread_mutex_t lock;
    auri_manifest
        manifest; /* as on disk; changed under manifest_lock and lock, read under either */
    auri_view *view;
    auri_memtable *active;
    auri_memtable *frozen; /* being flushed; NULL at most times */
    auri_log log;
    auri_slot *pending; /* begun and not ended, oldest first */
    uint32_t pending_count, pending_capacity;
    aur_lsn chain_lsn; /* last LSN begun: what the next frame links to */
    aur_lsn scl;
    aur_lsn vdl;
    aur_lsn lowest_read_point;
    uint64_t next_layer; /* number for the next layer file */
    void *unpackers[AURI_UNPACKERS];
    uint32_t unpacker_count;
    uint32_t health;
    aur_error damage;
};

/* Notes a failed write (health FAILED) or damage (health DAMAGED); the first one is kept in
 * `damage`. */
void auri_segment_note_failure(aur_segment *segment, const aur_error *error);
void auri_segment_note_damage(aur_segment *segment, const aur_error *error);

/* Frees everything but the disk. */
void auri_segment_free(aur_segment *segment);

/* Removes every log extent and layer: what an interrupted create or rebuild left in a directory
 * that has no manifest. Their frames would otherwise be met by a scan. */
aur_status auri_segment_remove_files(aur_disk *disk, aur_error *error) AUR_CHECKED;

/* AUR_OK, or why the segment takes no more writes. */
aur_status auri_segment_writable(aur_segment *segment, aur_error *error) AUR_CHECKED;

/* A copy of the manifest to change and to install. The caller holds manifest_lock. */
aur_status auri_segment_draft(aur_segment *segment, auri_manifest *draft_out,
                              aur_error *error) AUR_CHECKED;

/* Fills in what a manifest records in passing (SCL, VDL, replay position), makes `next` durable and
 * installs it; `next` is consumed in every case. The caller holds manifest_lock. `view` (may be
 * NULL: the layers and rewinds did not change; consumed too) replaces the current view, and with
 * `flushed` the frozen memtable is dropped, in the same moment. A draft's proven_scl bounds the one
 * that is recorded. A failure fails the segment. */
aur_status auri_segment_install(aur_segment *segment, auri_manifest *next, auri_view *view,
                                bool flushed, aur_error *error) AUR_CHECKED;

/* As aur_segment_read_page; damage is not noted. */
aur_status auri_segment_build_page(aur_segment *segment, aur_page_id page_id, aur_lsn read_point,
                                   uint8_t *page, aur_error *error) AUR_CHECKED;

/* ---- Background (flush.c, merge.c, layer_build.c)
 * --------------------------------------------------------- */

/* Writes records of one page after the other into a layer and adds images where chains get long. */
typedef struct auri_builder auri_builder;
aur_status auri_segment_builder_open(aur_segment *segment, uint32_t tier,
                                     auri_builder **builder_out, aur_error *error) AUR_CHECKED;
aur_status auri_segment_builder_add(auri_builder *builder, const aur_record *record,
                                    const uint8_t *bytes, size_t length,
                                    aur_error *error) AUR_CHECKED;
uint64_t auri_segment_builder_bytes(const auri_builder *builder);
/* Finishes the file and opens it as a layer (one reference). */
aur_status auri_segment_builder_finish(auri_builder *builder, auri_layer **layer_out,
                                       aur_error *error) AUR_CHECKED;
/* Frees; removes the file when it was not finished. */
void auri_segment_builder_close(auri_builder *builder);

/* All of these hold work_lock. AUR_NOT_FOUND: nothing to do. */
aur_status auri_segment_flush(aur_segment *segment, bool everything, aur_error *error) AUR_CHECKED;
aur_status auri_segment_merge_step(aur_segment *segment, aur_error *error) AUR_CHECKED;
aur_status auri_segment_merge_all(aur_segment *segment, aur_error *error) AUR_CHECKED;
void auri_segment_merge_abort(aur_segment *segment);
aur_status auri_segment_remove_obsolete(aur_segment *segment, aur_error *error) AUR_CHECKED;

/* Opens the layer anew on `disk` and reads every block, with checksums, order and counts compared;
 * adds to `counts` what was read. The first damage ends it: AUR_ERR_CORRUPT, AUR_ERR_IO. */
aur_status auri_segment_layer_verify(aur_disk *disk, const aur_segment_identity *identity,
                                     const auri_layer_info *info, aur_verify_counts *counts,
                                     aur_error *error) AUR_CHECKED;

/* The extent with that sequence number (a new reference), or NULL. Holds `lock`. */
auri_extent *auri_segment_log_find(const auri_log *log, uint64_t sequence);

/* References on every frame that no layer holds, oldest first; NULL when out of memory. Holds
 * `lock`. */
auri_slot *auri_segment_hot_slots(const aur_segment *segment, size_t *count_out);
void auri_segment_release_slots(auri_slot *slots, size_t count);

#endif
