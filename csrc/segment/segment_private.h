/*
 * Inside a segment. Which file does what:
 *
 *   segment.c    create, close, state, health, installing a manifest
 *   manifest.c   the one file that is replaced atomically
 *   view.c       what readers pin
 *   open.c       opening a directory
 *   append.c     frames in
 *   history.c    epoch promise, rewinds, what is retained
 *   read.c       pages and frames out
 *   work.c       what to do next in the background
 *   flush.c      memtable -> delta layer
 *   merge.c      delta layers -> one delta layer
 *   compact.c    delta layers and base parts -> base parts
 *   collect.c    which versions of a page are kept
 *   follow.c     taking over the layers that another copy built
 *   copy.c       rebuilding a copy; a clone
 *   verify.c     re-read everything, or look if it is there
 *
 * hot_log_private.h and layer_private.h have the files of the hot log and of layers.
 *
 * Locks, in the order in which they are taken:
 *   work_lock      flush, merge, compact, follow, extents: one at a time
 *   manifest_lock  one manifest replacement at a time
 *   lock           every field below it; never held across I/O
 */
#ifndef AUR_SEGMENT_PRIVATE_H
#define AUR_SEGMENT_PRIVATE_H

#include "segment/hot_log_private.h"
#include "segment/layer_private.h"

enum {
    AURI_REWINDS_MAX = 4096,        /* more backtracks than this are refused */
    AURI_REWINDS_KEPT = 64,         /* so many of the newest are kept whatever they hide */
    AURI_GROUP_PAGES_MAX = 1 << 26, /* bounds the page bitmap of a layer */
    AURI_UNPACKERS = 4,             /* decompression contexts kept for reads */
    AURI_STEP_BYTES = 4 << 20,      /* of output, of a merge or compaction, in one unit of work */
};

/* ---- Manifest (manifest.c) ---- */

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
    auri_layer_info *layers; /* deltas, newest first, whose LSN ranges do not overlap; base parts,
                                ascending by page; chronicles, newest first */
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

/* ---- What readers pin (view.c) ---- */

/* An immutable list of layers and rewinds; replaced, never changed. */
typedef struct auri_view {
    atomic_uint references;
    uint32_t layer_count;
    uint32_t delta_count, base_count; /* the first of the layers, and those behind them */
    uint32_t rewind_count;
    auri_layer **layers; /* in the order of the manifest, one reference each */
    aur_rewind *rewinds;
} auri_view;

/* The base part whose range holds the page; NULL when there is none. */
auri_layer *auri_segment_view_part(const auri_view *view, aur_page_id page_id);

/* Where the range of the base part at `index` ends. */
aur_page_id auri_segment_view_part_end(const auri_view *view, uint32_t index,
                                       const aur_segment_identity *identity);

/* Puts layers into the order of the manifest, and counts them. */
auri_view *auri_segment_view_create(auri_layer *const *layers, uint32_t layer_count,
                                    const aur_rewind *rewinds, uint32_t rewind_count);
auri_view *auri_segment_view_acquire(auri_view *view);
void auri_segment_view_release(auri_view *view);

/* A change of the list of layers. The caller keeps its references. */
typedef struct auri_layer_change {
    auri_layer *const *removed;
    uint32_t removed_count;
    auri_layer *const *added; /* one that is removed may come back with another info */
    uint32_t added_count;
    aur_lsn flushed_lsn; /* where frames end that are in layers now; 0: where they did */
    bool drops_frozen;   /* the frozen memtable is in the layers */
    bool drops_flushed;  /* frames of the active memtable up to flushed_lsn are in the layers */
} auri_layer_change;

/* Makes the change durable and visible in one step; files of layers that are out of use are removed
 * once nobody reads them. Holds work_lock. */
aur_status auri_segment_publish(aur_segment *segment, const auri_layer_change *change,
                                aur_error *error) AUR_CHECKED;

/* Takes the frames up to `flushed_lsn` out of the active memtable; readers that pinned it keep it.
 * Holds `lock`. */
aur_status auri_segment_keep_tail(aur_segment *segment, aur_lsn flushed_lsn) AUR_CHECKED;

/* Removes the file of one layer that is out of use, or that was left over. AUR_NOT_FOUND: none can
 * be. Holds work_lock. */
aur_status auri_segment_remove_obsolete(aur_segment *segment, aur_error *error) AUR_CHECKED;

/* Whether a layer of that number is in the view, or waits for its removal. Holds work_lock. */
bool auri_segment_has_number(aur_segment *segment, uint64_t number);
/* A layer will be written under this number, and in the place of a file that was left over. Holds
 * work_lock. */
void auri_segment_claim_number(aur_segment *segment, uint64_t number);

/* A reference on the current view. */
auri_view *auri_segment_pin_view(aur_segment *segment);

/* ---- What is retained (history.c) ---- */

/* A copy of what the owner said must be retained, joined with the view's rewinds: the moments whose
 * newest visible versions are kept among those below the horizon. */
typedef struct auri_roots {
    aur_lsn horizon;
    aur_lsn *lsns; /* ascending, distinct; the horizon is the last */
    uint32_t count;
} auri_roots;

/* AUR_ERR_MEMORY. Freed with free(roots->lsns). */
aur_status auri_segment_roots(aur_segment *segment, const auri_view *view,
                              auri_roots *roots_out) AUR_CHECKED;

/* Bytes of a part that could be collected, if its history is spread evenly over its LSNs: what the
 * horizon has passed since, or what was retained below it and is not any more. */
uint64_t auri_segment_garbage_bytes(const auri_layer_info *part, aur_lsn horizon,
                                    aur_lsn lowest_root);

/* Whether a read at `lsn` is refused where versions below `horizon` were collected. Holds `lock`.
 */
bool auri_segment_is_collected(const aur_segment *segment, aur_lsn lsn, aur_lsn horizon);

/* ---- Chain of one page (read.c) ---- */

typedef struct auri_link {
    const uint8_t *bytes;
    const auri_layer *layer; /* NULL: from a memtable */
    uint64_t offset;         /* of the block in the layer */
} auri_link;

/* The records that build one page at one read point, newest first. */
typedef struct auri_chain {
    aur_page_id page_id;
    aur_lsn read_point;
    aur_lsn floor; /* deltas up to here are in the base part already */
    const auri_view *view;
    auri_link *links;
    uint32_t count, capacity;
    bool retained_only; /* refused when the read point is not retained */
    bool complete;      /* the oldest link needs no older one */
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

/* Announces the read of the block that has the page's newest records up to a read point. */
void auri_segment_layer_will_read(auri_layer *layer, aur_page_id page_id, aur_lsn read_point);

/* ---- The segment ---- */

typedef struct auri_merge auri_merge;
typedef struct auri_compaction auri_compaction;

struct aur_segment {
    aur_disk *disk;
    aur_segment_options options;
    aur_segment_identity identity;
    uint64_t volume_seed;

    pthread_mutex_t work_lock;
    auri_merge *merge;           /* under work_lock: the merge that goes on, step by step */
    auri_compaction *compaction; /* under work_lock: the same for a base part */
    bool merge_blocked;          /* under work_lock: the inputs are damaged */
    aur_lsn untidy_scl;          /* under work_lock: SCL when there was no space to tidy up */
    auri_layer **obsolete; /* under work_lock: replaced layers whose readers may still be there */
    uint32_t obsolete_count, obsolete_capacity;
    uint64_t *leftovers; /* under work_lock: numbers of files that no manifest named at open */
    uint32_t leftover_count;

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
    aur_lsn horizon; /* every moment from here on is retained */
    aur_lsn *points; /* and these below it, ascending */
    size_t point_count;
    uint64_t next_layer; /* above the count in the number of every layer known */
    void *unpackers[AURI_UNPACKERS];
    uint32_t unpacker_count;
    uint32_t health;
    aur_error damage;

    atomic_uint_least64_t kept_index_bytes; /* what layers keep of their index */
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

/* As aur_segment_read_page, of any moment that is still there; damage is not noted. */
aur_status auri_segment_build_page(aur_segment *segment, aur_page_id page_id, aur_lsn read_point,
                                   uint8_t *page, aur_error *error) AUR_CHECKED;

/* ---- Background ---- */

/* Opens a layer that was just written or taken over, which must be sound. */
aur_status auri_segment_layer_open_new(aur_segment *segment, const auri_layer_info *info,
                                       auri_layer **layer_out, aur_error *error) AUR_CHECKED;

/* All of these hold work_lock. AUR_NOT_FOUND: nothing to do. */
aur_status auri_segment_flush(aur_segment *segment, bool everything, aur_error *error) AUR_CHECKED;
aur_status auri_segment_merge_step(aur_segment *segment, aur_error *error) AUR_CHECKED;
void auri_segment_merge_abort(aur_segment *segment);
/* Aborts a merge that has one of these layers, which are in use no more: it would bring back what
 * compacting has taken over. */
void auri_segment_merge_abort_of(aur_segment *segment, auri_layer *const *removed, uint32_t count);

/* Where compacting is to come to, when somebody asks for it. */
typedef struct auri_goal {
    aur_lsn complete_lsn; /* every part has the deltas up to here */
    aur_lsn horizon;      /* and, if it has history at all, was collected with this horizon, */
    aur_lsn lowest_root;  /* and when no moment below this one was retained */
} auri_goal;

/* While nothing is written, fewer deltas are worth rewriting a part for. */
typedef enum auri_patience { AURI_BUSY, AURI_IDLE } auri_patience;

/* Whether so many bytes of new records are worth being taken into the base while nothing is
 * written. */
bool auri_segment_is_worth_idle_work(const aur_segment *segment, const auri_view *view,
                                     uint64_t bytes);

/* Compacts a base part that has too many deltas above it, or too much that may be collected; with a
 * goal (else NULL), one that has not come to it. */
aur_status auri_segment_compact_step(aur_segment *segment, const auri_goal *goal,
                                     auri_patience patience, aur_error *error) AUR_CHECKED;
void auri_segment_compact_abort(aur_segment *segment);

/* Takes over what the leader has built. */
aur_status auri_segment_follow(aur_segment *segment, aur_segment *leader,
                               aur_error *error) AUR_CHECKED;

/* Writes the versions of one page after the other into a base part, and keeps those that are
 * retained (collect.c). `view` outlives it. */
typedef struct auri_collector auri_collector;
aur_status auri_segment_collector_open(aur_segment *segment, const auri_view *view,
                                       auri_collector **collector_out,
                                       aur_error *error) AUR_CHECKED;
/* Records come in (page, LSN) order, an image behind the record whose state it holds. */
aur_status auri_segment_collector_add(auri_collector *collector, auri_layer_writer *writer,
                                      const aur_record *record, const uint8_t *bytes, size_t length,
                                      aur_error *error) AUR_CHECKED;
/* The page is complete. */
aur_status auri_segment_collector_end_page(auri_collector *collector, auri_layer_writer *writer,
                                           aur_error *error) AUR_CHECKED;
aur_lsn auri_segment_collector_horizon(const auri_collector *collector);
aur_lsn auri_segment_collector_lowest_root(const auri_collector *collector);
/* The highest moment known up to which all retained moments have the same history. */
aur_lsn auri_segment_collector_common(const auri_collector *collector);
void auri_segment_collector_close(auri_collector *collector);

/* An image record of `page` at `lsn` in `out`, which has room for AUR_RECORD_BYTES_MAX. */
size_t auri_segment_encode_image(const uint8_t *page, uint32_t page_bytes, aur_page_id page_id,
                                 aur_lsn lsn, uint8_t *out);

/* Opens the layer anew on `disk` and reads every block, with checksums, order and counts compared;
 * adds to `counts` what was read. The first damage ends it: AUR_ERR_CORRUPT, AUR_ERR_IO. */
aur_status auri_segment_layer_verify(aur_disk *disk, const aur_segment_identity *identity,
                                     const auri_layer_info *info, aur_verify_counts *counts,
                                     aur_error *error) AUR_CHECKED;

/* Copies a layer's file to another disk and compares its checksum on the way. `advance` (may be
 * NULL) is told how much was copied, and may end it. */
aur_status auri_segment_layer_copy(const auri_layer *layer, aur_disk *target,
                                   aur_status (*advance)(void *context, uint64_t bytes,
                                                         aur_error *error),
                                   void *context, aur_error *error) AUR_CHECKED;

/* Whether that failed because of the segment that the layer is of: its file is damaged, or cannot
 * be read. */
bool auri_segment_is_source_of(const aur_segment *segment, const aur_error *failure);

#endif
