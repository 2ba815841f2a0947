/*
 * Inside the log: the open boxcar, the boxcars in flight, and the words that waiters sleep on.
 *
 * Who may touch the open boxcar: while `busy` only the thread that appends, without the lock;
 * otherwise whoever holds the lock. So an acknowledging thread seals between mini-transactions, and
 * never inside one.
 *
 * Lock order: aur_log.lock before the quorum's. The quorum calls on_advance without its lock.
 */
#ifndef AUR_LOG_LOG_PRIVATE_H
#define AUR_LOG_LOG_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "log/log.h"

enum { AURI_LOG_FLIGHTS_MAX = 64, AURI_LOG_WORDS = 16 };

/* One group's part of the open boxcar, and its chain. */
typedef struct auri_open_frame {
    aur_frame *frame; /* NULL: the open boxcar has no record of this group */
    uint32_t length;  /* header and records */
    uint32_t records;
    aur_lsn first_lsn;
    aur_lsn last_lsn;
    aur_lsn shipped_lsn;     /* last LSN of the group's newest shipped frame */
    uint32_t expected_bytes; /* capacity that the next frame starts with */

    /* Where the part begins that stays when what is before it is shipped alone. */
    uint64_t mark_mtr; /* the mini-transaction that set it, when it first touched the frame */
    uint32_t mark_length;
    uint32_t mark_records;
    aur_lsn mark_last_lsn;
    aur_lsn mark_first_lsn; /* of the part that stays */
    aur_frame *kept;        /* that part, while the rest is being shipped */
} auri_open_frame;

/* A shipped boxcar. */
typedef struct auri_log_flight {
    aur_lsn last_lsn;
    aur_lsn last_cpl;
    uint64_t time_us;
    uint64_t bytes;
} auri_log_flight;

/* LSNs that a recovery truncated or skipped: no wait for one of them ever succeeds. */
typedef struct auri_lost_range {
    aur_lsn first, last;
} auri_lost_range;

/* A futex. Boxcar number n wakes word n modulo AURI_LOG_WORDS, so only those are woken whose commit
 * is durable. */
typedef struct auri_wait_word {
    atomic_uint value;
    atomic_uint waiters;
} auri_wait_word;

struct aur_log {
    aur_log_options options;
    aur_quorum *quorum;
    uint64_t volume_seed;
    pthread_mutex_t lock;
    void (*on_news)(void *context); /* set before the start, never while the quorum reports */
    void *news_context;

    /* The open boxcar. */
    auri_open_frame *groups;
    uint32_t group_count;
    uint32_t group_capacity;
    uint32_t *touched; /* groups with an open frame */
    uint32_t touched_count;
    aur_frame **sealed; /* scratch for shipping; like touched, room for every group */
    aur_lsn open_first; /* LSN of its first record */
    uint64_t open_records;
    uint64_t open_bytes;
    aur_lsn open_cpl; /* its newest CPL, 0 for none */
    aur_lsn next_lsn;

    /* The mini-transaction, and its newest record: the CPL, if it ends there. */
    uint64_t mtr_number;
    uint64_t mtr_records;
    uint32_t newest_group;
    uint32_t newest_bytes;
    aur_lsn newest_before_lsn; /* last LSN of its frame before it */

    /* Guarded by the lock. */
    bool busy;       /* between begin and end */
    bool is_ordered; /* somebody wants what is open to leave, while the log is busy */
    aur_epoch epoch;
    uint64_t newest_time_us; /* of the newest commit */
    auri_log_flight flights[AURI_LOG_FLIGHTS_MAX];
    uint64_t flight_first; /* boxcar numbers: oldest in flight, */
    uint64_t flight_end;   /* and the open one */
    uint64_t flight_bytes;
    aur_status quorum_status;
    bool failed;
    aur_error failure;
    auri_lost_range *lost;
    size_t lost_count;
    aur_log_counts counts;

    /* Read without the lock. */
    _Atomic aur_lsn vdl;
    _Atomic aur_lsn vcl;
    _Atomic aur_lsn head;
    atomic_bool rests; /* at the newest end nothing was in flight: what is open waits for a ship */
    _Atomic aur_lsn lost_upto; /* end of the newest lost range */
    _Atomic aur_lsn first_lsn; /* what next_lsn was at the newest start */
    _Atomic uint64_t durable_time_us;
    auri_wait_word words[AURI_LOG_WORDS];
    auri_wait_word progress; /* of VCL, for the one who appends */
};

void auri_log_lock(aur_log *log);
void auri_log_unlock(aur_log *log);

/* log_boxcar.c. Puts a record into the open boxcar, with room behind it for the commit time; false
 * when out of memory. */
bool auri_boxcar_add(aur_log *log, uint32_t group, const aur_record *record);
/* Makes the newest record the CPL: commit times never go back. */
void auri_boxcar_mark_cpl(aur_log *log);
/* Seals the open boxcar and hands it to the quorum. It has records and there is room for a flight.
 * Lock held. */
void auri_boxcar_ship(aur_log *log);
/* The same without the records of the mini-transaction that is being appended, or without its
 * newest one: they make the next boxcar. Something remains to be shipped. AUR_ERR_MEMORY: nothing
 * has changed. Lock held. */
aur_status auri_boxcar_ship_before_mtr(aur_log *log) AUR_CHECKED;
aur_status auri_boxcar_ship_before_newest(aur_log *log) AUR_CHECKED;
void auri_boxcar_drop(aur_log *log);
/* Ships the open boxcar if it may leave now; in the middle of a mini-transaction that is left to
 * its end. True: shipped. Lock held. */
bool auri_boxcar_order(aur_log *log);
/* Whether the open boxcar may leave: it is not empty, and nothing is in flight, or it is full. Lock
 * held, and not busy. */
bool auri_boxcar_may_leave(const aur_log *log);
/* Whether the open boxcar may be shipped as far as memory in flight goes. Lock held. */
bool auri_boxcar_has_room(const aur_log *log);

/* log_wait.c. Counts the boxcar's waiters as reached; the lock is held. Wake comes after it is
 * released. */
void auri_wait_bump(auri_wait_word *word);
void auri_wait_wake(auri_wait_word *word);
void auri_wait_bump_all(aur_log *log);
void auri_wait_wake_all(aur_log *log);
/* AUR_OK, or why nothing more can become durable now. Lock held. */
aur_status auri_log_trouble(aur_log *log, aur_error *error) AUR_CHECKED;
/* Waits until VCL moves. Lock held, released meanwhile. */
aur_status auri_log_await_progress(aur_log *log, aur_error *error) AUR_CHECKED;

#endif
