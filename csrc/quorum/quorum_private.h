/*
 * Inside the quorum layer: groups, their copies, the tail of frames that is queued for them, and
 * the boxcars in flight.
 *
 * There is one queue of frames per group, the tail, not one per copy: each copy reads it at its own
 * place. A frame leaves the tail when a write quorum has it and either every healthy copy has it
 * too or the tail holds more than backlog_bytes. A copy that is still before such a frame is
 * lagging, and fetches it from a peer. So a frame that is not complete is always at hand, for a
 * copy that was replaced as well, and memory is bounded by backlog_bytes plus what the log lets
 * fly.
 *
 * Everything here is guarded by aur_quorum.lock unless it says otherwise.
 */
#ifndef AUR_QUORUM_QUORUM_PRIVATE_H
#define AUR_QUORUM_QUORUM_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "quorum/quorum.h"
#include "quorum/transport.h"

typedef struct auri_group auri_group;

struct auri_copy {
    auri_group *group;
    uint32_t index;
    aur_segment *segment; /* NULL when there is none */
    bool failed;
    aur_error failure; /* why, when failed */
    aur_lsn scl;       /* acknowledged */
    aur_lsn sent;      /* last LSN handed to the segment; equals scl when nothing is under way */
    uint64_t position; /* in the tail: no frame before it is still to be sent */
    uint32_t writing;  /* frames handed out and not settled */
    uint32_t users;    /* calls into the segment under way, writes included */
    bool leaving;      /* being replaced: nobody starts using the segment */
    bool blind;        /* does not know of the newest rewind: failed, and not read from */
    bool throttled; /* its background work is behind: it looks slow until the storage worker clears
                       this */
    uint64_t unjudged_bytes; /* appended since its backlog was last looked at */
    uint32_t reading;        /* page reads under way */
    uint64_t read_errors;
    aur_error damage; /* the newest error of a page read; AUR_OK when there was none */
    bool queued;      /* in a transport's ready list */
    auri_copy *next_ready;
    bool by_thread; /* RING: served by a thread lane, because it is catching up or has no descriptor
                     */
    bool no_ring;   /* RING: its files have no descriptor */
    bool no_room;   /* RING: its log has no room for the next frame, and a lane makes some */
    void *ring_state; /* RING: the transport's slots for it */
};

typedef struct auri_tail_entry {
    aur_frame *frame;
    uint64_t end_bytes; /* of all frames ever queued in this group, this one included */
    uint64_t flight;    /* the boxcar it came in */
} auri_tail_entry;

struct auri_group {
    aur_quorum *quorum;
    uint32_t number;
    aur_lsn pgcl;
    auri_tail_entry
        *tail; /* a ring, indexed by sequence number modulo the capacity, a power of two */
    uint64_t tail_capacity;
    uint64_t tail_first;    /* sequence numbers: oldest in the tail, */
    uint64_t tail_complete; /* first that is not at a write quorum, */
    uint64_t tail_end;      /* one past the newest */
    uint64_t total_bytes;   /* end_bytes of the newest frame ever queued */
    uint64_t trimmed_bytes; /* end_bytes of the newest frame that left */
    bool has_large_log;     /* some copy has, when the storage worker last tidied up */
    auri_copy copies[];     /* options.copies of them */
};

/* A boxcar that is not complete yet, or waits behind one that is not. */
typedef struct auri_flight {
    aur_lsn last_lsn;
    aur_lsn last_cpl;
    uint64_t bytes;
    uint32_t remaining; /* frames not yet at a write quorum */
} auri_flight;

/* The copies of a group follow their leader; a worker and its helpers take one each. */
typedef struct auri_round {
    auri_group *group;
    auri_copy *leader; /* pinned; NULL: each works by itself */
    const aur_retention *retention;
    uint32_t next; /* the next copy to look at */
    uint32_t busy; /* copies being worked on */
    bool more;     /* some copy may have more to do */
} auri_round;

enum { AURI_HELPERS = 4 };

typedef struct auri_background {
    pthread_t work_thread, watch_thread;
    pthread_t helper_threads[AURI_HELPERS];
    uint32_t helpers; /* started; of start and stop alone */
    bool work_started, watch_started;
    pthread_cond_t work_wake, watch_wake, round_changed;
    pthread_cond_t resumed; /* a copy is not throttled any more, or failed */
    auri_round *round;      /* what helpers may take part in, or NULL */
    bool work_sleeping;
    bool stopping;
    uint64_t unworked_bytes; /* appended by all copies since the worker's last round */
    uint32_t quiet_rounds;   /* the last ones, in which nothing was appended */
} auri_background;

struct aur_quorum {
    aur_quorum_options options;
    aur_quorum_rule write_rule;
    atomic_uint_least64_t redo_bytes; /* memory for redo that is in no layer */
    pthread_mutex_t lock;
    pthread_cond_t idle; /* some copy has no users, or no listener call is under way */
    void (*on_advance)(void *context);
    void *listener_context;
    uint32_t announcing; /* listener calls under way */
    bool news;           /* something the listener has not been told */
    uint64_t changes;    /* of the states of copies */
    bool running;
    bool fenced;
    bool out_of_memory; /* a boxcar could not be queued: nothing after it can ever complete */
    auri_group **groups;
    uint32_t group_count;
    uint32_t group_capacity;
    auri_flight *flights; /* a ring like the tail */
    uint64_t flight_capacity;
    uint64_t flight_first;
    uint64_t flight_end;
    uint64_t flight_bytes;
    aur_epoch epoch; /* of the writer; 0 until it is known */
    aur_lsn vcl;
    aur_lsn vdl;
    void (*retention_source)(void *context, aur_retention *out);
    void *retention_context;
    aur_status status;
    auri_transport *transport; /* NULL in the MANUAL drive */
    auri_wakes wakes;          /* threads to wake once the lock is released */
    auri_background background;
};

void auri_quorum_lock(aur_quorum *quorum);
/* Releases the lock and then wakes the threads that were given work. */
void auri_quorum_unlock(aur_quorum *quorum);
/* Tells the listener, if there is news. Without the lock. */
void auri_quorum_announce(aur_quorum *quorum);
/* A condition variable on the monotonic clock, and a wait on it with the lock held. */
aur_status auri_condition_create(pthread_cond_t *condition) AUR_CHECKED;
void auri_condition_wait(aur_quorum *quorum, pthread_cond_t *condition, uint64_t timeout_ns);
/* A thread that leaves all signals to the threads of the application. */
aur_status auri_thread_start(pthread_t *thread, void *(*body)(void *), void *argument) AUR_CHECKED;

/* tail.c. Reserve makes room for one more, push cannot fail then and takes over the reference. */
bool auri_tail_reserve(auri_group *group);
void auri_tail_push(auri_group *group, aur_frame *frame, uint64_t flight);
const auri_tail_entry *auri_tail_entry_at(const auri_group *group, uint64_t sequence);
void auri_tail_trim(auri_group *group);
void auri_tail_clear(auri_group *group);
uint64_t auri_tail_bytes_from(const auri_group *group, uint64_t sequence);

/* copy.c: the work of one copy, from the tail or from its peers, and its outcome. */
enum auri_work { AURI_WORK_NONE, AURI_WORK_APPEND, AURI_WORK_FETCH };

/* The next work of a copy that may have `limit` frames under way. APPEND: *frame_out is a new
 * reference. What it returns must be settled; until then the segment stays in place. Lock held. */
enum auri_work auri_copy_take(auri_copy *copy, uint32_t limit, aur_frame **frame_out);
bool auri_copy_lagging(auri_copy *copy);
/* Bytes of log that may be in no layer yet before the copy waits for its background work. */
uint64_t auri_copy_unflushed_limit(const auri_copy *copy);
/* Without the lock: */
aur_status auri_copy_fetch(auri_copy *copy, aur_frame **frame_out, aur_error *error) AUR_CHECKED;
/* The outcome of an append: counts the acknowledgement or fails the copy; whoever settled
 * announces. Releases the reference on the frame (NULL: a fetch that found none). `fetched`: the
 * frame came from a peer, so it may carry an older writer's epoch. */
void auri_copy_settle(auri_copy *copy, aur_frame *frame, bool fetched, aur_status status,
                      aur_lsn scl, const aur_error *error);
/* Takes back the newest frame that was handed out: nothing was done with it. Releases the
 * reference.
 */
void auri_copy_put_back(auri_copy *copy, aur_frame *frame);
/* Lock held: */
void auri_copy_fail(auri_copy *copy, const aur_error *why);
/* Its state is not what it was: the listener is told at the next announcement. */
void auri_copy_changed(auri_copy *copy);
bool auri_copy_pin(auri_copy *copy);
void auri_copy_unpin(auri_copy *copy);
/* One piece of work from take to settle, in the calling thread, without the lock. False when there
 * was none. */
bool auri_copy_step(auri_copy *copy);
/* Looks whether the segment's files are still there; fails the copy when not. Without the lock. */
void auri_copy_check(auri_copy *copy);

/* watermarks.c, lock held. */
bool auri_flights_reserve(aur_quorum *quorum);
void auri_watermarks_advance(auri_group *group);
void auri_watermarks_judge(aur_quorum *quorum);
/* Ends the writer if another may have taken the volume. */
void auri_watermarks_fence_if_taken(aur_quorum *quorum);
uint64_t auri_group_healthy(const auri_group *group);

/* background.c: the storage worker and the watch over deleted files. Start and stop without the
 * lock. */
aur_status auri_background_start(aur_quorum *quorum, aur_error *error) AUR_CHECKED;
void auri_background_stop(aur_quorum *quorum);
/* Lock held: `copy` has stored `bytes` more. */
void auri_background_stored(auri_copy *copy, uint64_t bytes);

#endif
