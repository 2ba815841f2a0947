/*
 * The hot log: extents on disk, and the frames of them that no layer holds yet.
 *
 *   log_extent.c   extents: make, recycle, find a place
 *   log_scan.c     reading them back at open
 *   log_fetch.c    frames that are in layers already, for copies that catch up
 *   memtable.c     frames in memory, and an index of their records
 */
#ifndef AUR_SEGMENT_HOT_LOG_PRIVATE_H
#define AUR_SEGMENT_HOT_LOG_PRIVATE_H

#include "segment/layer_private.h"

enum {
    AURI_EXTENT_HEADER_BYTES = 4096,   /* frames start here */
    AURI_SCAN_BYTES_FIRST = 64 << 10,  /* as most extents that are opened got no frame since */
    AURI_FIRST_EXTENT_BYTES = 1 << 20, /* small, so that an empty volume of six copies is small */
    AURI_RETAINED_EXTENTS = 2,         /* in full ones: flushed, kept for copies that catch up */
    AURI_BULK_SHARE = 32, /* frames above this part of an extent do not mind a slow one */
};

/* Where a frame rests in the hot log. */
typedef struct auri_log_position {
    uint64_t sequence; /* of the extent */
    uint64_t offset;
} auri_log_position;

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
    bool slow;   /* made in a hurry: blocks that were not written before cost each frame more */
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
    uint64_t bulk_bytes; /* frames above are large */
    bool is_bulk;        /* the newest frame was a large one, and more will come */
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
/* The same, at once, with blocks that were not written before. */
aur_status auri_segment_extent_hurry(aur_disk *disk, const aur_segment_identity *identity,
                                     uint64_t sequence, uint64_t size_bytes,
                                     auri_extent **extent_out, aur_error *error) AUR_CHECKED;
/* Opens the existing extent `sequence` of `size_bytes` for reading. */
aur_status auri_segment_extent_open(aur_disk *disk, uint64_t sequence, uint64_t size_bytes,
                                    auri_extent **extent_out, aur_error *error) AUR_CHECKED;
/* Looks at its header. AUR_ERR_CORRUPT when it belongs to another segment; a header that is merely
 * damaged clears header_good. */
aur_status auri_segment_extent_read_header(auri_extent *extent,
                                           const aur_segment_identity *identity,
                                           aur_error *error) AUR_CHECKED;
/* Opens it for frames too: only the few that get some, as it takes a flush of the disk. The caller
 * is alone with it. */
aur_status auri_segment_extent_arm(aur_disk *disk, auri_extent *extent,
                                   aur_error *error) AUR_CHECKED;
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

/* Makes an extent that a frame of `length` bytes, which waits for it, fits into, and puts it into
 * the list. Without lock. */
aur_status auri_segment_log_grow(aur_segment *segment, size_t length, aur_error *error) AUR_CHECKED;

/* One step of keeping the set of extents right: prepares one ahead, recycles or removes a flushed
 * one. AUR_NOT_FOUND when nothing is to be done. Holds work_lock only. */
aur_status auri_segment_log_maintain(aur_segment *segment, aur_error *error) AUR_CHECKED;

/* Makes the log small, or as long as it may stay beside large layers: removes flushed extents, also
 * those kept for copies that catch up, and begins anew with a small one when layers hold
 * everything. AUR_NOT_FOUND when nothing is to be done. Holds work_lock only. */
aur_status auri_segment_log_trim(aur_segment *segment, aur_error *error) AUR_CHECKED;

/* Reads the hot log from the manifest's replay position into the memtable and sets SCL. Damage is
 * noted in the segment's health; only lack of memory is an error. */
aur_status auri_segment_log_scan(aur_segment *segment, aur_error *error) AUR_CHECKED;

/* ---- Memtable ---- */

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
 * is the active one. Records are indexed, under `lock` too, when somebody looks for one: of the
 * copies in a process only the one that serves reads and builds layers pays for an index. */
typedef struct auri_memtable {
    atomic_uint references;
    uint32_t slot_count, slot_capacity;
    uint32_t held_count;    /* slots with a reference: slot_count, and those that moved on when it
                               froze */
    uint32_t indexed_count; /* slots whose records are indexed */
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

/* The next commit of a frame whose records were checked: *at begins at 0. False at its end. */
bool auri_segment_frame_commit(const aur_frame *frame, size_t *at, aur_commit_mark *commit_out);

/* Adds a frame whose records were checked; takes a reference. All or nothing: AUR_ERR_MEMORY. */
aur_status auri_segment_memtable_add(auri_memtable *table, aur_frame *frame,
                                     auri_log_position position) AUR_CHECKED;

/* Indexes what is not indexed yet. Holds `lock`. AUR_ERR_MEMORY leaves a part of it for later. */
aur_status auri_segment_memtable_index(auri_memtable *table) AUR_CHECKED;

/* Index + 1 of the newest record of a page, 0 when there is none. What was indexed counts. */
uint32_t auri_segment_memtable_find(const auri_memtable *table, aur_page_id page_id);

static inline const uint8_t *auri_segment_entry_bytes(const auri_memtable *table,
                                                      const auri_entry *entry) {
    return table->slots[entry->slot].frame->bytes + entry->offset;
}

/* A memtable that holds the slots of `table` from `first` on. NULL when out of memory. */
auri_memtable *auri_segment_memtable_tail(const auri_memtable *table, uint32_t first);

/* The extent with that sequence number (a new reference), or NULL. Holds `lock`. */
auri_extent *auri_segment_log_find(const auri_log *log, uint64_t sequence);

/* References on every frame that no layer holds, oldest first; NULL when out of memory. Holds
 * `lock`. */
auri_slot *auri_segment_hot_slots(const aur_segment *segment, size_t *count_out);
void auri_segment_release_slots(auri_slot *slots, size_t count);

#endif
