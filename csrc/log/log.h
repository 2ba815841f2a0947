/*
 * The log of the single writer: allocates LSNs, collects redo records into an open boxcar, ships
 * it, and tells when a commit is durable.
 *
 * Group commit without a timer: a boxcar is shipped as soon as somebody waits for one of its
 * commits, or asks for it to leave, and nothing is in flight; while one is in flight the next one
 * fills, and leaves when the flight lands (or when it is full). Big mini-transactions are shipped
 * in several boxcars; VDL moves only when the last one, with the CPL, is complete.
 *
 * The thread that waits first, or the one that delivers the deciding acknowledgement, does the
 * shipping: there is no log thread. One that waits while no other thread carries boxcars to the
 * copies carries its own (aur_quorum_board), and so is spared two hops between threads.
 *
 * No LSN is ever issued above max(VCL, next_lsn of the newest start - 1) +
 * AUR_LSN_ALLOCATION_LIMIT; append waits. A recovery sees a VCL that is at least the dead writer's,
 * and the truncations that were recorded before that writer started, so it may take as the upper
 * end of its own truncation max(recovered VCL, `at` of the newest recorded truncation) +
 * AUR_LSN_ALLOCATION_LIMIT, and start the next writer above it: nothing that the dead writer still
 * has under way lies beyond. VCL and not VDL, because VDL stands still inside a mini-transaction,
 * which may have more records than the limit.
 *
 * Thread rule: append calls (begin, append, end) only under the caller's commit latch, one thread
 * at a time. All else from any thread.
 */
#ifndef AUR_LOG_LOG_H
#define AUR_LOG_LOG_H

#include "base/clock.h"
#include "format/record.h"
#include "quorum/quorum.h"

typedef struct aur_log aur_log;

typedef struct aur_log_options {
    uint8_t volume_id[AUR_VOLUME_ID_BYTES];
    uint32_t page_bytes;
    uint64_t group_pages;
    uint64_t boxcar_bytes;   /* an open boxcar that reaches this is shipped even while others fly;
                                default 1 MiB */
    uint64_t inflight_bytes; /* back-pressure: append waits while more than this is shipped and not
                                complete; default 8 MiB */
    aur_clock clock;
} aur_log_options;

/* Where a recovered volume stands. group_lsn[g] = last LSN of group g at or below vdl. */
typedef struct aur_log_start {
    aur_epoch epoch;
    aur_lsn vdl;
    aur_lsn next_lsn;
    uint64_t time_us; /* newest frame time seen: commit times never go back, nor across a restart */
    uint32_t groups;
    const aur_lsn *group_lsn;
} aur_log_start;

void aur_log_default_options(aur_log_options *options);

/* Installs itself as the quorum's listener. The quorum outlives the log. */
aur_status aur_log_create(const aur_log_options *options, aur_quorum *quorum,
                          aur_log **log_out) AUR_CHECKED;
void aur_log_destroy(aur_log *log);

/* Names who is told, in the thread that delivers the news and with no lock held, after the quorum
 * told the log that a watermark moved or that a copy or the quorum was lost or came back. Before
 * start. */
void aur_log_listen(aur_log *log, void (*on_news)(void *context), void *context);

/* (Re)starts after recovery. Open records are dropped, a failure is forgotten, head = vdl. */
aur_status aur_log_start_at(aur_log *log, const aur_log_start *start, aur_error *error) AUR_CHECKED;

/* The LSN at which a rewind can be made when everything is durable: the head; or, when a recovery
 * has skipped LSNs above that, the first that it has not, so that rewinds come in the order of
 * `at`. Under the commit latch. */
aur_lsn aur_log_rewind_point(const aur_log *log);

/*
 * History goes on from an older moment since `at`, the rewind point: VDL = VCL = head = at + 1,
 * which no record has as its LSN, and no later commit is before time_us. Everything is durable,
 * nothing is open or in flight, and the caller keeps it so.
 */
void aur_log_rewound(aur_log *log, aur_lsn at, uint64_t time_us);

/* No later commit is before time_us, which is that of the newest one. */
void aur_log_not_before(aur_log *log, uint64_t time_us);

/* The moment that an LSN stands for: itself, or, of LSNs that a recovery has dropped or skipped,
 * the VDL at which it went on. */
aur_lsn aur_log_moment(aur_log *log, aur_lsn lsn);

/* A new protection group exists; its chain starts at 0. */
aur_status aur_log_add_group(aur_log *log) AUR_CHECKED;

/*
 * Begins a mini-transaction. AUR_ERR_QUORUM / AUR_ERR_FENCED when a write could not complete now
 * (nothing is changed), or when the log has failed. *start_out: the head before it; every record of
 * it gets a larger LSN.
 */
aur_status aur_log_begin(aur_log *log, aur_lsn *start_out, aur_error *error) AUR_CHECKED;

/* Allocates the record's LSN (stored in record->lsn) and copies it into the open boxcar. May ship
 * and wait for room; fails only with AUR_ERR_MEMORY, AUR_ERR_QUORUM, AUR_ERR_FENCED, and then the
 * mini-transaction must be failed. */
aur_status aur_log_append(aur_log *log, aur_record *record, aur_error *error) AUR_CHECKED;

/* Ends it: its last record becomes a CPL and gets the commit time, which is that of the clock but
 * never before an older commit's; head moves to it. A mini-transaction without records leaves head
 * where it was. Ships only what is full: whoever ended it goes on to aur_log_wait_durable or
 * aur_log_ship. Never fails. */
aur_lsn aur_log_end(aur_log *log);

/* What has ended leaves for the copies, now or when what is in flight has landed. */
void aur_log_ship(aur_log *log);

/*
 * Gives the mini-transaction up after a failure in its middle, or the volatile head after a loss of
 * quorum: the log is failed, every wait above VDL returns `why`, every begin fails with it, until
 * aur_log_start_at after a recovery.
 */
void aur_log_fail(aur_log *log, const aur_error *why);

/* AUR_OK, or why the log has failed. */
aur_status aur_log_failure(aur_log *log, aur_error *error);

/* AUR_OK, or what a begin would say now. */
aur_status aur_log_check(aur_log *log, aur_error *error) AUR_CHECKED;

/* Newest complete mini-transaction, durable or not. Never below VDL. */
aur_lsn aur_log_head(const aur_log *log);
aur_lsn aur_log_vdl(const aur_log *log);
aur_lsn aur_log_vcl(const aur_log *log);

/* The consistency points at which VDL may come to stand with what is shipped:
 * aur_quorum_boundaries, for the layers above that free page versions. Returns how many there are;
 * stores at most `capacity`. */
size_t aur_log_boundaries(aur_log *log, aur_lsn *out, size_t capacity);

/* Newest durable commit's time, microseconds since 1970. */
uint64_t aur_log_time_us(const aur_log *log);

/*
 * Ships, and waits until VDL >= lsn. AUR_TIMEOUT after timeout_ns (callers wait in slices so that
 * signals are seen). AUR_ERR_QUORUM / AUR_ERR_FENCED: it cannot become durable now (in doubt: it
 * may survive).
 */
aur_status aur_log_wait_durable(aur_log *log, aur_lsn lsn, uint64_t timeout_ns,
                                aur_error *error) AUR_CHECKED;

/* Ships the open records even in the middle of a mini-transaction, and waits until VCL has moved
 * beyond what it was, for callers that must make room (buffer). Called under the commit latch. */
aur_status aur_log_push(aur_log *log, aur_error *error) AUR_CHECKED;

/* Counters for status(): what was shipped since open. */
typedef struct aur_log_counts {
    uint64_t mini_transactions, records, boxcars, bytes;
} aur_log_counts;
void aur_log_get_counts(aur_log *log, aur_log_counts *out);

#endif
