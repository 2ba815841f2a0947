/*
 * The engine: one opened volume in this process. The coordinator (Python,
 * src/aurora_engine/volume/) opens segments, recovers by quorum, and hands the result to the
 * engine; from then on the data path runs here.
 *
 * Thread rule: every function from any thread at any time between create and destroy; the caller
 * makes sure that no call is under way when it destroys. No function here calls back into the
 * caller. Functions that may wait take a timeout or say so; none waits for another transaction
 * except on the commit latch.
 */
#ifndef AURORA_ENGINE_H
#define AURORA_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aurora/errors.h>
#include <aurora/export.h>
#include <aurora/rewind.h>

typedef struct aur_engine aur_engine;
typedef struct aur_segment aur_segment;

enum aur_engine_drive {
    AUR_ENGINE_DRIVE_RING = 1,    /* io_uring, or threads where it is missing */
    AUR_ENGINE_DRIVE_THREADS = 2, /* one thread a segment */
    AUR_ENGINE_DRIVE_MANUAL = 3,  /* no thread: aur_engine_step (simulator) */
};

typedef struct aur_engine_options {
    uint8_t volume_id[16];
    uint32_t page_bytes;
    uint32_t copies;       /* segments per protection group */
    uint64_t group_pages;  /* pages per protection group */
    uint64_t cache_bytes;  /* budget: pages in the pool, and redo that is not in layers yet */
    uint64_t volume_pages; /* growth ends here: AUR_ERR_FULL */
    uint32_t drive;        /* enum aur_engine_drive */
    bool read_volatile;    /* durability="async": read points are the head, not VDL */
    bool ungated;          /* one thread plays many clients (simulator): its reads do not wait for
                            * its own commits */
    uint32_t planted_bugs; /* 0 outside tests */
    int lock_descriptor;   /* of the locked file that makes the volume this process's: once it has
                            * no name, another process may have it, and nothing is acknowledged.
                            * 0: there is none */
    uint64_t (*wall_us)(void *context); /* NULL: the system's clock */
    void *clock_context;
} aur_engine_options;

/* What recovery found. group_lsn[g]: last LSN of group g at or below vdl. `rewinds`: all that are
 * recorded, ascending by `at`; vdl is not below `at` of a backtrack. */
typedef struct aur_engine_start_point {
    uint64_t epoch;
    uint64_t vdl;
    uint64_t next_lsn;
    uint64_t time_us;
    uint32_t groups;
    const uint64_t *group_lsn;
    uint32_t rewind_count;
    const aur_rewind *rewinds;
} aur_engine_start_point;

AUR_API AUR_CHECKED aur_status aur_engine_create(const aur_engine_options *options,
                                                 aur_engine **engine_out, aur_error *error);

/* Stops all threads and frees. Transactions and cursors must be gone. Segments stay the caller's.
 */
AUR_API void aur_engine_destroy(aur_engine *engine);

/* Adds the next protection group; segments[copy] may be NULL (failed). Also while running (the
 * volume grows). */
AUR_API AUR_CHECKED aur_status aur_engine_add_group(aur_engine *engine,
                                                    aur_segment *const *segments, uint32_t copies,
                                                    aur_error *error);

/*
 * Starts or restarts service at a recovered point. A restart (after aur_engine_stop) drops the
 * volatile head: pages newer than vdl are forgotten, read-write transactions that began before end
 * in AUR_ERR_CONFLICT. With vdl == 0 the volume is new and its first mini-transaction formats it
 * (and, but for the MANUAL drive, this call waits until that is durable).
 */
AUR_API AUR_CHECKED aur_status aur_engine_start(aur_engine *engine,
                                                const aur_engine_start_point *start,
                                                aur_error *error);

/* Fails waiters and new writes with AUR_ERR_QUORUM and ceases shipping, so that a recovery in place
 * may run on the segments. Reads go on. */
AUR_API void aur_engine_stop(aur_engine *engine);

/* Marks the engine closed: every later call says AUR_ERR_CLOSED; wakes all waiters. destroy
 * follows. */
AUR_API void aur_engine_close(aur_engine *engine);

/* Puts another segment (NULL: none) in a place; *old_out (may be NULL) is no longer used by the
 * engine. */
AUR_API AUR_CHECKED aur_status aur_engine_replace(aur_engine *engine, uint32_t group, uint32_t copy,
                                                  aur_segment *segment, aur_segment **old_out,
                                                  aur_error *error);

/* MANUAL drive: one piece of one segment's work. AUR_NOT_FOUND: it had none. */
AUR_API AUR_CHECKED aur_status aur_engine_step(aur_engine *engine, uint32_t group, uint32_t copy);

/* Sends what was committed on its way, for whoever does not go on to wait for it. */
AUR_API void aur_engine_ship(aur_engine *engine);

/* Ships, and waits in the calling thread, at most timeout_ns, until VDL >= lsn. AUR_TIMEOUT,
 * AUR_ERR_QUORUM, AUR_ERR_FENCED, AUR_ERR_CLOSED. */
AUR_API AUR_CHECKED aur_status aur_engine_wait_durable(aur_engine *engine, uint64_t lsn,
                                                       uint64_t timeout_ns, aur_error *error);

/* Readable (an eventfd, owned by the engine) when the state of a copy or of the quorum changed
 * since aur_engine_drain. */
AUR_API int aur_engine_event_descriptor(aur_engine *engine);
AUR_API void aur_engine_drain(aur_engine *engine);

AUR_API void aur_engine_set_cache_bytes(aur_engine *engine, uint64_t cache_bytes);

/* After AUR_NEEDS_GROUPS from a commit: how many groups the volume must have before it is tried
 * again. */
AUR_API uint32_t aur_engine_groups_wanted(aur_engine *engine);

/* How many groups a commit waits for that cannot ask its caller (SQL); 0: none does. The event
 * descriptor tells. It goes on when they are there, or fails with a status and a reason. */
AUR_API uint32_t aur_engine_growth_wanted(aur_engine *engine);
AUR_API void aur_engine_refuse_growth(aur_engine *engine, int status, const char *why);

enum aur_engine_copy_state {
    AUR_ENGINE_COPY_OK = 0,
    AUR_ENGINE_COPY_LAGGING = 1,
    AUR_ENGINE_COPY_FAILED = 2,
    AUR_ENGINE_COPY_REBUILDING = 3,
};

typedef struct aur_engine_copy {
    uint32_t state; /* enum aur_engine_copy_state */
    uint64_t scl;
    uint64_t queued_bytes;
    aur_error error; /* why it failed or what is damaged; status AUR_OK when nothing is */
} aur_engine_copy;
AUR_API AUR_CHECKED aur_status aur_engine_copy_status(aur_engine *engine, uint32_t group,
                                                      uint32_t copy, aur_engine_copy *out);

typedef struct aur_engine_status {
    uint64_t epoch, vdl, vcl, head, next_lsn;
    uint64_t durable_time_us; /* when the newest durable commit was, or a backtrack since */
    uint32_t groups;
    int32_t write_status; /* AUR_OK, or the aur_status that a write gets now */
    uint64_t snapshots;   /* open read points */
    uint64_t cache_budget_bytes, cache_used_bytes, cache_hits, cache_misses, cache_evictions;
    uint64_t commits, conflicts, records, boxcars, log_bytes; /* since open */
    uint64_t pages_used, pages_extent;                        /* of the volume; 0 while unknown */
} aur_engine_status;
AUR_API void aur_engine_get_status(aur_engine *engine, aur_engine_status *out);

/* Walks every tree at the newest commit, checks its structure and the allocation maps.
 * AUR_ERR_CORRUPT names the page: one that is marked in use but was leaked too. May wait for I/O.
 */
typedef struct aur_engine_verified {
    uint64_t tables, pages, records, leaked_pages;
} aur_engine_verified;
AUR_API AUR_CHECKED aur_status aur_engine_verify(aur_engine *engine, aur_engine_verified *out,
                                                 aur_error *error);

#endif
