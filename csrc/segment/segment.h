/*
 * One segment: one copy of one protection group's log and pages. It stores frames, proves how far
 * its chain reaches (SCL), and materializes any page at any LSN by itself, knowing nothing of
 * trees, transactions or its five peers. Files and byte layouts: docs/format/segment.md.
 *
 *   append -> hot log extent (durable) -> memtable -> delta layers -> base parts
 *
 * A frame is acknowledged when it is in the hot log on disk. Flushing, merging and compacting are
 * background steps that the owner runs with aur_segment_work when it likes, or lets another copy do
 * and takes over with aur_segment_follow; correctness never waits for them. Only records at or
 * below the VDL that the segment was told of go into layers, so a truncation never touches a layer.
 * Compacting gives up versions that no moment sees which aur_segment_retain names.
 *
 * Thread rule: append (or append_begin/append_end) by one thread at a time; everything else from
 * any thread at any time, also together with it. work, follow and compact of one segment wait for
 * each other's steps, and changes of the manifest (epoch, rewinds, layers) for each other; reads
 * and appends wait for none of them.
 *
 * A segment fails for good (state `failed`) at the first write or sync error (I10); reads that
 * still verify go on.
 */
#ifndef AUR_SEGMENT_SEGMENT_H
#define AUR_SEGMENT_SEGMENT_H

#include "disk/disk.h"
#include "disk/ring.h"
#include "format/frame.h"
#include "format/history.h"
#include "format/record.h"
#include "segment/frame_buffer.h"

typedef struct aur_segment aur_segment;

typedef struct aur_segment_identity {
    uint8_t volume_id[AUR_VOLUME_ID_BYTES];
    uint32_t group; /* protection group */
    uint32_t copy;  /* 0 .. copies-1 */
    uint32_t page_bytes;
    uint32_t copies;      /* of the group */
    uint64_t group_pages; /* pages per protection group */
} aur_segment_identity;

typedef struct aur_segment_options {
    uint64_t extent_bytes;   /* full size of a hot log extent; the first ones are smaller */
    uint64_t memtable_bytes; /* flush when the unflushed log holds this much */
    uint32_t merge_fanout;   /* layers of one tier that are merged into one of the next */
    uint64_t delta_bytes;    /* deltas are compacted into the base beyond this, or beyond a part of
                                what the base holds */
    uint64_t part_bytes;     /* a base part is split when it grows beyond this */
    uint32_t planted_bugs;   /* base/planted.h; 0 outside tests */
} aur_segment_options;

AUR_API void aur_segment_default_options(aur_segment_options *options);

enum aur_segment_health {
    AUR_SEGMENT_OK = 0,
    AUR_SEGMENT_DAMAGED =
        1, /* readable in part: something on disk failed its checksum; named in `damage` */
    AUR_SEGMENT_FAILED = 2, /* a write failed, or its files are gone: takes no more frames */
};

typedef struct aur_segment_state {
    aur_segment_identity identity;
    aur_epoch epoch;          /* highest volume epoch it has durably promised */
    aur_lsn scl;              /* inclusive: every frame of the group up to here is here */
    aur_lsn vdl;              /* highest VDL it was told of, by frames or aur_segment_set_vdl */
    aur_lsn flushed_lsn;      /* a frame ends here; the frames after it are in memory */
    aur_lsn log_start;        /* frames after this LSN can still be read from the hot log */
    uint32_t health;          /* enum aur_segment_health */
    uint32_t layers;          /* files that a read may have to look into */
    uint32_t deltas;          /* of those, the ones that are not compacted yet */
    aur_lsn horizon;          /* below it versions were collected: reads there are refused */
    uint64_t base_progress;   /* aur_segment_progress.base */
    uint64_t log_bytes;       /* on disk */
    uint64_t layer_bytes;     /* on disk: live_bytes + history_bytes */
    uint64_t live_bytes;      /* what the newest version of each page takes */
    uint64_t history_bytes;   /* the rest: older versions, and deltas */
    uint64_t delta_bytes;     /* the part of history_bytes that is not compacted yet */
    uint64_t garbage_bytes;   /* the part that the horizon has passed, by an estimate */
    uint64_t memory_bytes;    /* memtables, indexes */
    uint64_t unflushed_bytes; /* log not yet in layers: the backlog that back-pressure bounds */
    aur_error damage;         /* first damage found; status AUR_OK when none */
} aur_segment_state;

/* Formats an empty directory as a segment with SCL `base_lsn` and `epoch`. AUR_ERR_INVALID when a
 * segment is there. */
AUR_API aur_status aur_segment_create(aur_disk *disk, const aur_segment_identity *identity,
                                      aur_epoch epoch, aur_lsn base_lsn,
                                      aur_error *error) AUR_CHECKED;

/*
 * Opens: reads the manifest, then scans the hot log from the last flushed point, verifying every
 * frame and the chain. A torn tail ends the log; a hole before a later valid frame is damage. Takes
 * ownership of `disk` on success only. AUR_NOT_FOUND: no segment there. AUR_ERR_CORRUPT: manifest
 * unreadable, or another volume's or group's segment
 * (`expected`; NULL accepts any). AUR_ERR_VERSION. Damage after the manifest is not an error: see
 * state.health.
 */
AUR_API aur_status aur_segment_open(aur_disk *disk, const aur_segment_identity *expected,
                                    const aur_segment_options *options, aur_segment **segment_out,
                                    aur_error *error) AUR_CHECKED;

/* Closes files and frees; nothing is flushed (the hot log is durable already). */
AUR_API void aur_segment_close(aur_segment *segment);

AUR_API void aur_segment_get_state(aur_segment *segment, aur_segment_state *state_out);

/* How far the work on a segment's layers has come. The copy of a group whose base is ahead leads:
 * whoever followed another one would undo work. */
typedef struct aur_segment_progress {
    uint64_t base;   /* the mean over its parts of the LSNs up to where they are complete, and up to
                        where they are collected, added up */
    aur_lsn flushed; /* decides between equal bases */
} aur_segment_progress;

/* Whether nothing is wrong with it, and its progress: for those who choose among copies often. */
bool aur_segment_is_sound(aur_segment *segment, aur_segment_progress *progress_out);

static inline bool aur_segment_is_further(const aur_segment_progress *left,
                                          const aur_segment_progress *right) {
    return left->base != right->base ? left->base > right->base : left->flushed > right->flushed;
}

/* Durably promises to refuse frames of an epoch below `epoch`. AUR_ERR_FENCED when it has promised
 * a higher one. */
AUR_API aur_status aur_segment_set_epoch(aur_segment *segment, aur_epoch epoch,
                                         aur_error *error) AUR_CHECKED;

/* Tells it of a VDL (monotone; lets background flush go on). */
AUR_API void aur_segment_set_vdl(aur_segment *segment, aur_lsn vdl);

/* Which moments must stay readable: every one from `horizon` on, and `points` below it, ascending
 * (docs/internals/history.md). Nothing is collected before the first call. A call with a lower
 * horizon than an earlier one comes late, and changes nothing: points that were pinned since lie
 * between. */
typedef struct aur_retention {
    aur_lsn horizon;
    const aur_lsn *points;
    size_t count;
} aur_retention;
AUR_API aur_status aur_segment_retain(aur_segment *segment,
                                      const aur_retention *retention) AUR_CHECKED;

/* Durably records a rewind made by recovery of `rewind->epoch`. A truncation drops the frames in
 * (to, at] and puts SCL at the last frame <= to. Idempotent. AUR_ERR_FENCED for an epoch below the
 * promised one. AUR_ERR_INVALID when a layer already holds a record in the range. */
AUR_API aur_status aur_segment_rewind(aur_segment *segment, const aur_rewind *rewind,
                                      aur_error *error) AUR_CHECKED;

/* Copies up to `capacity` rewinds, oldest first; returns how many there are. */
AUR_API size_t aur_segment_rewinds(aur_segment *segment, aur_rewind *out, size_t capacity);

/*
 * Appends one frame (already sealed and decoded: frame_buffer.h) and makes it durable. Idempotent:
 * a frame at or below SCL is AUR_OK and changes nothing. AUR_GAP: frame->prev_lsn is above SCL.
 * AUR_ERR_FENCED: epoch too old. AUR_ERR_CORRUPT: prev_lsn below SCL but last_lsn above it, or its
 * records do not decode. AUR_ERR_IO, AUR_ERR_FULL: the segment is now failed. Keeps a reference on
 * the frame until it is flushed.
 */
AUR_API aur_status aur_segment_append(aur_segment *segment, aur_frame *frame, aur_lsn *scl_out,
                                      aur_error *error) AUR_CHECKED;

/* As append, for a frame that recovery or a peer copies here: `epoch` is that of who copies it, not
 * of who wrote the frame. A frame that a known truncation dropped is AUR_ERR_FENCED. */
AUR_API aur_status aur_segment_fill(aur_segment *segment, aur_frame *frame, aur_epoch epoch,
                                    aur_lsn *scl_out, aur_error *error) AUR_CHECKED;

/*
 * The same in two halves around the I/O, for a ring: begin validates, chooses the place and fills
 * `write` (AUR_OK: the caller performs it, then calls end with its outcome; AUR_NOT_FOUND: nothing
 * to write, the frame is here already). Several frames may be begun before the first ends if they
 * link to each other; they end in the order they began. AUR_WOULD_BLOCK: this very frame is begun
 * and not yet ended, or the log has no room for it, which append makes. A frame that was in flight
 * when set_epoch promised a higher epoch ends with AUR_ERR_FENCED.
 */
aur_status aur_segment_append_begin(aur_segment *segment, aur_frame *frame, aur_ring_write *write,
                                    aur_error *error) AUR_CHECKED;
aur_status aur_segment_append_end(aur_segment *segment, aur_frame *frame,
                                  const aur_ring_write *write, aur_lsn *scl_out,
                                  aur_error *error) AUR_CHECKED;

/*
 * Builds the page as a read at `read_point` sees it (I6). `page` has page_bytes; on AUR_OK it holds
 * a page that passed aur_page_check_structure, with its LSN. AUR_NOT_FOUND: the page has no record
 * in visible(read_point). AUR_ERR_CORRUPT names file, offset, LSN: ask another segment.
 * AUR_ERR_SNAPSHOT: below what is retained. The caller makes sure that SCL covers what it wants to
 * see.
 */
AUR_API aur_status aur_segment_read_page(aur_segment *segment, aur_page_id page_id,
                                         aur_lsn read_point, uint8_t *page,
                                         aur_error *error) AUR_CHECKED;

/* A read of the page at `read_point` will follow: the disk may begin with what it needs. */
void aur_segment_will_read(aur_segment *segment, aur_page_id page_id, aur_lsn read_point);

/* The newest commit of the group at or before a time, or at or below an LSN; how many there are
 * with after < LSN <= upto. Commits of abandoned histories count; those before the horizon may be
 * gone. AUR_NOT_FOUND: none. */
AUR_API aur_status aur_segment_commit_at_time(aur_segment *segment, uint64_t time_us,
                                              aur_commit_mark *out, aur_error *error) AUR_CHECKED;
AUR_API aur_status aur_segment_commit_at_lsn(aur_segment *segment, aur_lsn lsn,
                                             aur_commit_mark *out, aur_error *error) AUR_CHECKED;
AUR_API aur_status aur_segment_count_commits(aur_segment *segment, aur_lsn after, aur_lsn upto,
                                             uint64_t *count_out, aur_error *error) AUR_CHECKED;

/* The next frame after `after_lsn` (the one whose prev_lsn == after_lsn), from memory or the hot
 * log; a new reference for the caller. AUR_NOT_FOUND: after_lsn == SCL. AUR_GAP: no longer in the
 * log (after_lsn < log_start). */
AUR_API aur_status aur_segment_next_frame(aur_segment *segment, aur_lsn after_lsn,
                                          aur_frame **frame_out, aur_error *error) AUR_CHECKED;

/* Fails a segment from outside: its files are gone. Idempotent. */
AUR_API void aur_segment_fail(aur_segment *segment, const aur_error *why);

/* Looks whether its files are still there and long enough; AUR_ERR_IO (and the segment fails) when
 * not. Cheap. */
AUR_API aur_status aur_segment_check(aur_segment *segment, aur_error *error) AUR_CHECKED;

/* One unit of background work: flush a memtable, merge or compact layers, drop or prepare log
 * extents. AUR_OK: did something; AUR_NOT_FOUND: nothing to do. Errors fail the segment only if a
 * write failed. */
AUR_API aur_status aur_segment_work(aur_segment *segment, aur_error *error) AUR_CHECKED;

/*
 * The same for a copy beside one in this process that does the work: takes the layers over that
 * `leader` has and it has not, file by file, with their checksums compared, and looks after its own
 * log extents and files. AUR_NOT_FOUND: nothing to do, or it cannot follow now (it lacks frames
 * that the leader has in layers, or the two do not know of the same rewinds).
 */
AUR_API aur_status aur_segment_follow(aur_segment *segment, aur_segment *leader,
                                      aur_error *error) AUR_CHECKED;

/*
 * One unit of what can wait until nothing is written. Log files go that layers make superfluous,
 * also those that are kept for copies that catch up, so every copy should have caught up; a log
 * that is all in layers becomes small. AUR_NOT_FOUND: nothing to do.
 */
enum aur_tidying {
    AUR_TIDY_LOG = 0,    /* that alone: for a copy that follows a leader */
    AUR_TIDY_LAYERS = 1, /* and flush and compact, if it is worth it */
    AUR_TIDY_FLUSH = 2,  /* and flush in any case, for a follower whose log is large */
};
AUR_API aur_status aur_segment_tidy(aur_segment *segment, enum aur_tidying tidying,
                                    aur_error *error) AUR_CHECKED;

/* Whether the disk has the space to rearrange layers in `copies` copies, if they all lie on it. */
bool aur_segment_has_space(aur_segment *segment, uint32_t copies);

/* Whether the log takes more than it needs to. */
bool aur_segment_log_is_large(aur_segment *segment);

/* Flushes everything that VDL covers and compacts it into the base, so that nothing is kept that
 * need not be, and each page is one block read away (db.compact()). */
AUR_API aur_status aur_segment_compact(aur_segment *segment, aur_error *error) AUR_CHECKED;

/* Reads every byte on disk that belongs to the segment and checks it; `report` is called for each
 * piece of damage. */
typedef struct aur_verify_counts {
    uint64_t files, bytes, frames, records, damaged;
} aur_verify_counts;
AUR_API aur_status aur_segment_verify(aur_segment *segment,
                                      void (*report)(void *context, const aur_error *damage),
                                      void *context, aur_verify_counts *counts_out,
                                      aur_error *error) AUR_CHECKED;

/*
 * Rebuilds a copy: writes into the empty `target` a segment with `identity` that holds everything
 * `source` holds up to its SCL at a moment near the end of the call, while `source` goes on. The
 * manifest is written last, so a rebuild that is cut short leaves no segment. `progress` (may be
 * NULL) returns false to stop (AUR_TIMEOUT); the total grows by what `source` gets meanwhile.
 * AUR_ERR_CORRUPT: `source` is damaged, and notes it.
 */
AUR_API aur_status aur_segment_copy(aur_segment *source, aur_disk *target,
                                    const aur_segment_identity *identity,
                                    bool (*progress)(void *context, uint64_t done_bytes,
                                                     uint64_t total_bytes),
                                    void *context, aur_error *error) AUR_CHECKED;

/* What a segment holds at one moment, kept while it goes on. Unpinned before the segment is closed.
 */
typedef struct aur_segment_snapshot aur_segment_snapshot;
AUR_API aur_status aur_segment_pin(aur_segment *segment, aur_segment_snapshot **snapshot_out,
                                   aur_error *error) AUR_CHECKED;
AUR_API void aur_segment_unpin(aur_segment_snapshot *snapshot);

/*
 * Makes a segment of another volume, a clone, in the empty `target`: everything up to `vdl`, the
 * VDL of the volume when all of its segments were pinned. With `rewind` the clone's history goes on
 * from rewind->to; rewind->at is `vdl`. Layers are shared by hard links where the disks can, else
 * copied; so they are in the second clone of a snapshot, as copies of one volume that were one file
 * would be lost together. `progress` as above.
 */
AUR_API aur_status aur_segment_clone(aur_segment_snapshot *snapshot, aur_disk *target,
                                     const aur_segment_identity *identity, aur_lsn vdl,
                                     const aur_rewind *rewind,
                                     bool (*progress)(void *context, uint64_t done_bytes,
                                                      uint64_t total_bytes),
                                     void *context, aur_error *error) AUR_CHECKED;

#endif
