/*
 * Ships boxcars to the segments of every protection group and counts acknowledgements into
 * watermarks.
 *
 *   SCL  of a segment, in each acknowledgement: every frame of its group up to here is there.
 *
 *   PGCL  of a group: the highest LSN that a write quorum of its segments has reached.
 *
 *   VCL  highest LSN such that every boxcar up to it is complete in all of its groups. Not the
 *   minimum of the PGCLs.
 *
 *   VDL  highest CPL <= VCL, or the first moment after a backtrack: what may be acknowledged and
 *   read (I1, I3).
 *
 * A segment that is slow or dead slows nobody while a write quorum lives (I8): each has its own
 * place in its group's queue, which backlog_bytes bounds; one that is before what was dropped there
 * is "lagging" and catches up by next_frame from a peer. A segment whose append fails is never sent
 * to again until it is replaced (I10).
 *
 * Drive: RING = one thread keeps the writes of all local segments in flight through io_uring;
 * THREADS = one thread a segment; MANUAL = no thread, aur_quorum_step does one segment's next piece
 * of work (simulator, deterministic). RING falls back to THREADS where there is no io_uring, or
 * where a disk gives no descriptor.
 *
 * Thread rule: every function may be called from any thread; one internal mutex, not held across
 * I/O nor while on_advance runs. on_advance runs in whichever thread delivered the deciding
 * acknowledgement.
 */
#ifndef AUR_QUORUM_QUORUM_H
#define AUR_QUORUM_QUORUM_H

#include "segment/segment.h"

typedef struct aur_quorum aur_quorum;

enum { AUR_COPIES_MAX = 64, AUR_RULE_TERMS_MAX = 4 };

/* A quorum set: every term must hold; a term holds when `need` of its `members` (a bit mask of
 * copies) are in. */
typedef struct aur_quorum_rule {
    uint32_t terms;
    struct {
        uint64_t members;
        uint32_t need;
    } term[AUR_RULE_TERMS_MAX];
} aur_quorum_rule;

/* The write rule V_w = floor(n/2) + 1 over copies 0..n-1 (6 -> 4), and the read rule V_r = n + 1 -
 * V_w (6 -> 3). */
aur_quorum_rule aur_quorum_write_rule(uint32_t copies);
aur_quorum_rule aur_quorum_read_rule(uint32_t copies);
bool aur_quorum_met(const aur_quorum_rule *rule, uint64_t members);

enum aur_drive { AUR_DRIVE_RING = 1, AUR_DRIVE_THREADS = 2, AUR_DRIVE_MANUAL = 3 };

typedef struct aur_quorum_options {
    uint32_t copies;        /* per group */
    uint32_t drive;         /* enum aur_drive */
    uint64_t backlog_bytes; /* of a group's queue; default 8 MiB */
    uint64_t group_pages;   /* pages per protection group */
    uint32_t page_bytes;
    uint32_t planted_bugs;
    /* Whether nobody else can have taken the volume meanwhile; asked with the quorum's lock held,
     * before anything is written, and again before it is acknowledged, when it is on disk. NULL:
     * nobody can. */
    bool (*is_ours)(void *context);
    void *owner;
} aur_quorum_options;

/* What is shipped at one moment. frames[i] is one group's part, sealed; the quorum takes over the
 * caller's references. */
typedef struct aur_boxcar {
    aur_lsn first_lsn;
    aur_lsn last_lsn;
    aur_lsn last_cpl; /* last_lsn, or 0 when it holds no CPL: see format/frame.h */
    uint32_t frame_count;
    aur_frame **frames;
} aur_boxcar;

typedef struct aur_watermarks {
    aur_lsn vcl;
    aur_lsn vdl;
    uint64_t boxcars_in_flight;
    uint64_t bytes_in_flight;
    uint64_t changes;  /* how often a copy failed, turned out damaged or was replaced */
    aur_status status; /* AUR_OK; AUR_ERR_QUORUM: some group has fewer healthy segments than a write
                        * needs; AUR_ERR_FENCED: a segment has promised a newer epoch, or the
                        * volume is no longer ours */
} aur_watermarks;

enum aur_copy_state {
    AUR_COPY_OK = 0,
    AUR_COPY_LAGGING = 1,
    AUR_COPY_FAILED = 2,
    AUR_COPY_REBUILDING = 3
};

aur_status aur_quorum_create(const aur_quorum_options *options,
                             aur_quorum **quorum_out) AUR_CHECKED;

/* Names who is told when VCL or VDL moved, when a copy failed, turned out damaged or was replaced,
 * or when the quorum was lost, came back or was fenced. NULL: nobody; when this returns the old
 * listener is not running any more. Not from inside on_advance. */
void aur_quorum_listen(aur_quorum *quorum, void (*on_advance)(void *context), void *context);

/* Stops the threads (writes under way are finished) and frees; the segments are the caller's again.
 */
void aur_quorum_destroy(aur_quorum *quorum);

/* Adds the next protection group (they are added in order from 0). segments[i] may be NULL: failed.
 * Segments stay owned by the caller, who keeps them until they are replaced or the quorum is
 * destroyed. */
aur_status aur_quorum_add_group(aur_quorum *quorum, aur_segment *const *segments,
                                aur_error *error) AUR_CHECKED;

/* Sets where the volume stands after recovery: VCL = VDL = vdl, nothing in flight; starts the
 * drive. Also called again after a recovery in place; boxcars that were in flight are forgotten. */
aur_status aur_quorum_start(aur_quorum *quorum, aur_lsn vdl, aur_error *error) AUR_CHECKED;

/* The epoch of the writer that ships through this quorum, monotone until the quorum is stopped.
 * Copies catch up from their peers in its name, so that a writer that was fenced cannot complete
 * anything that way either (I4); before it is known nobody catches up. The log tells it when it
 * starts. */
void aur_quorum_set_epoch(aur_quorum *quorum, aur_epoch epoch);

/* Stops sending and drops all queues; when it returns no write is under way. Watermarks stay.
 * start() goes on. */
void aur_quorum_stop(aur_quorum *quorum);

/* Puts another segment (or NULL) at a place; returns the old one, no longer in use, through
 * old_out. */
aur_status aur_quorum_replace(aur_quorum *quorum, uint32_t group, uint32_t copy,
                              aur_segment *segment, aur_segment **old_out,
                              aur_error *error) AUR_CHECKED;

/* The memory that redo may take until it is in layers, about; by default as much as it likes. With
 * less, copies wait earlier for their background work. */
void aur_quorum_set_redo_bytes(aur_quorum *quorum, uint64_t bytes);

/* Shipping: returns at once. Never fails: with a lost quorum the boxcar simply stays incomplete. */
void aur_quorum_submit(aur_quorum *quorum, aur_boxcar *boxcar);

/* Before a full boxcar is shipped: waits, not long, for copies whose background work is behind. */
void aur_quorum_keep_step(aur_quorum *quorum);

/* For on_advance, after it has submitted more and before it does what may take time: sends it now,
 * when the calling thread is the one that would send it. Without it, that is done when on_advance
 * returns. */
void aur_quorum_flush(aur_quorum *quorum);

/*
 * A thread that is about to submit a boxcar and to wait for it may carry it itself, where that
 * takes no thread of the drive: true, and the calling thread is on board until it leaves. False:
 * another one carries, or the drive has its own threads for it.
 */
bool aur_quorum_board(aur_quorum *quorum);
/* On board: sends what is to be sent and takes what has arrived, for up to `timeout_ns`; on_advance
 * may run in this thread. False: nothing is under way any more. */
bool aur_quorum_carry(aur_quorum *quorum, uint64_t timeout_ns);
/* Leaves; what is still to be carried is left to the thread of the drive. */
void aur_quorum_leave(aur_quorum *quorum);

void aur_quorum_watermarks(aur_quorum *quorum, aur_watermarks *out);

/* The status in the watermarks, and in `error` why it is not AUR_OK: which group has how many
 * healthy copies, and what to do. */
aur_status aur_quorum_explain(aur_quorum *quorum, aur_error *error) AUR_CHECKED;

/* The CPLs at which VDL may come to stand: VDL itself, then last_cpl of each boxcar in flight,
 * ascending. Returns how many there are; stores at most `capacity`. */
size_t aur_quorum_boundaries(aur_quorum *quorum, aur_lsn *out, size_t capacity);

/* Number of protection groups. */
uint32_t aur_quorum_groups(aur_quorum *quorum);

/* Enum aur_copy_state, SCL and queue of one copy. */
typedef struct aur_copy_status {
    uint32_t state;
    aur_lsn scl;
    uint64_t queued_bytes;
    aur_error error; /* why it failed */
} aur_copy_status;
aur_status aur_quorum_copy_status(aur_quorum *quorum, uint32_t group, uint32_t copy,
                                  aur_copy_status *out) AUR_CHECKED;

/*
 * Reads a page as of read_point from one segment that has everything up to it (SCL >=
 * min(read_point, PGCL)), the preferred one first; on corruption or failure tries the others and
 * remembers the damage. AUR_NOT_FOUND: never written. AUR_ERR_CORRUPT / AUR_ERR_QUORUM: no copy
 * could serve it. Counts per segment steer the preference.
 */
aur_status aur_quorum_read_page(aur_quorum *quorum, aur_page_id page_id, aur_lsn read_point,
                                uint8_t *page, aur_error *error) AUR_CHECKED;

/* Such a read will follow: the copy that would be asked now may begin with what it needs from disk.
 */
void aur_quorum_will_read(aur_quorum *quorum, aur_page_id page_id, aur_lsn read_point);

/* Names who knows what must be retained. The storage worker asks before each unit of work, in its
 * thread and with no lock held; out->points stays valid until it asks again. NULL: nobody. Before
 * start. */
void aur_quorum_set_retention(aur_quorum *quorum, void (*source)(void *context, aur_retention *out),
                              void *context);

/*
 * A rewind that is said to be durable at a write quorum of every group: looks which copies have
 * recorded it. One that has not fails, and serves no reads either, until it is replaced or the
 * quorum starts again. Other errors than those of a lost quorum: AUR_ERR_MEMORY. Nothing is in
 * flight.
 */
aur_status aur_quorum_confirm_rewind(aur_quorum *quorum, const aur_rewind *rewind,
                                     aur_error *error) AUR_CHECKED;
/* Then: VCL = VDL = at + 1, of which no record has the LSN. */
void aur_quorum_rewound(aur_quorum *quorum, aur_lsn at);

/* The functions of aurora/history.h, up to VDL. AUR_ERR_QUORUM: no copy of some group could answer.
 */
aur_status aur_quorum_commit_at_time(aur_quorum *quorum, uint64_t time_us, aur_commit_mark *out,
                                     aur_error *error) AUR_CHECKED;
aur_status aur_quorum_commit_at_lsn(aur_quorum *quorum, aur_lsn lsn, aur_commit_mark *out,
                                    aur_error *error) AUR_CHECKED;
aur_status aur_quorum_count_commits(aur_quorum *quorum, aur_lsn after, aur_lsn upto,
                                    uint64_t *count_out, aur_error *error) AUR_CHECKED;

/* MANUAL drive: lets one segment do its next piece of work (append one queued frame and acknowledge
 * it, or fetch one missing frame from a peer). AUR_NOT_FOUND when it had none. */
aur_status aur_quorum_step(aur_quorum *quorum, uint32_t group, uint32_t copy) AUR_CHECKED;

/* For a thread that must wait for progress: in the MANUAL drive it makes some, by one step of the
 * first copy that has work (AUR_NOT_FOUND: none has). AUR_WOULD_BLOCK in the other drives: there
 * are threads for that. */
aur_status aur_quorum_help(aur_quorum *quorum) AUR_CHECKED;

#endif
