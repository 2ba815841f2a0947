/*
 * The writes of all local copies are in flight in one io_uring, so that a boxcar costs one system
 * call whatever the number of copies.
 *
 * One thread at a time carries: it begins writes, waits for them, and ends them. That is the ring
 * thread, or, while there is nothing to do for it, a thread that waits for its own boxcar and is
 * spared being woken twice. Such a thread leaves when it has what it wants; whatever is then under
 * way the ring thread goes on with.
 *
 * Each copy has a few slots, used in order: writes complete in any order, but are ended in the
 * order they began. What would block the carrier goes to thread lanes: a copy that catches up from
 * its peers, one whose log has no room, and one whose files have no descriptor. A copy changes
 * sides only while nothing of it is under way, so a segment has one appender at a time.
 */
#include "quorum/quorum_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum {
    WRITES_PER_COPY = 8,
    RING_DEPTH = 256,
    REAP_BATCH = 64,
    REAP_WAIT_NS = 500 * 1000 * 1000,
};

typedef struct slot {
    aur_ring_write write;
    aur_frame *frame;
    auri_copy *copy;
    bool done;
} slot;

/* The writes of one copy; touched only by the carrier. */
typedef struct slots {
    slot slot[WRITES_PER_COPY];
    uint32_t first;
    uint32_t count;
    uint64_t device; /* whose flush the newest write could share, 0 for none */
} slots;

enum carrier { CARRIER_NOBODY, CARRIER_RING_THREAD, CARRIER_WAITER };

typedef struct ring_transport {
    auri_transport transport; /* first: the two are cast into each other */
    aur_quorum *quorum;
    auri_transport *lanes; /* the slow path */
    aur_ring *ring;        /* the carrier's; others may wake it */
    pthread_t thread;
    bool started;

    /* Under the quorum's lock. */
    enum carrier carrier;
    pthread_cond_t duty; /* the ring thread's to carry, or to stop */
    bool stopping;
    bool is_reaping; /* the ring thread is in reap, and nobody has rung yet */
    auri_copy *first_ready;
    auri_copy *last_ready;

    /* The carrier's; what it leaves is handed over under the lock. */
    uint32_t in_flight;
    bool is_whole; /* the newest boxcar's writes complete together, or there is but one */
    aur_ring_write *batch[RING_DEPTH]; /* begun, not yet submitted */
    uint32_t batch_count;
} ring_transport;

static ring_transport *ring_of(auri_transport *transport) {
    return (ring_transport *)(void *)transport;
}

static auri_copy *pop_ready(ring_transport *ring) {
    auri_copy *copy = ring->first_ready;
    if (copy != NULL) {
        ring->first_ready = copy->next_ready;
        copy->next_ready = NULL;
        copy->queued = false;
    }
    return copy;
}

static void push_ready(ring_transport *ring, auri_copy *copy) {
    copy->queued = true;
    copy->next_ready = NULL;
    if (ring->first_ready == NULL) {
        ring->first_ready = copy;
    } else {
        ring->last_ready->next_ready = copy;
    }
    ring->last_ready = copy;
}

/* There is something to do. Lock held. */
static void call_carrier(ring_transport *ring) {
    if (ring->carrier == CARRIER_NOBODY) {
        ring->carrier = CARRIER_RING_THREAD;
        ring->quorum->wakes.ring_thread = true;
    } else if (ring->is_reaping) {
        ring->is_reaping = false;
        ring->quorum->wakes.ring = true;
    }
}

static void ring_enqueue(auri_transport *transport, auri_copy *copy) {
    ring_transport *ring = ring_of(transport);
    if (copy->queued || copy->failed || !ring->quorum->running) {
        return;
    }
    if (copy->writing == 0) {
        copy->by_thread = copy->no_ring || copy->no_room || auri_copy_lagging(copy);
    }
    if (copy->by_thread) {
        ring->lanes->enqueue(ring->lanes, copy);
        return;
    }
    push_ready(ring, copy);
    call_carrier(ring);
}

static slot *take_slot(auri_copy *copy, aur_frame *frame) {
    slots *own = copy->ring_state;
    AUR_ASSERT(own->count < WRITES_PER_COPY);
    slot *taken = &own->slot[(own->first + own->count) % WRITES_PER_COPY];
    own->count++;
    *taken = (slot){.frame = frame, .copy = copy};
    taken->write.context = taken;
    return taken;
}

static void drop_newest_slot(auri_copy *copy) {
    slots *own = copy->ring_state;
    own->count--;
}

/* Ends the writes of a copy that are done and have no older one before them. */
static void end_writes(ring_transport *ring, auri_copy *copy) {
    slots *own = copy->ring_state;
    while (own->count > 0 && own->slot[own->first].done) {
        slot ended = own->slot[own->first];
        aur_lsn scl = 0;
        aur_error error;
        aur_error_clear(&error);
        own->first = (own->first + 1) % WRITES_PER_COPY;
        own->count--;
        ring->in_flight--;
        const aur_status status =
            aur_segment_append_end(copy->segment, ended.frame, &ended.write, &scl, &error);
        auri_copy_settle(copy, ended.frame, false, status, scl, &error);
    }
}

static void complete(ring_transport *ring, slot *completed) {
    completed->done = true;
    end_writes(ring, completed->copy);
}

/* For a file that has no descriptor: this one write is done here, and from then on a lane serves
 * the copy. */
static void write_here(ring_transport *ring, slot *taken) {
    aur_error error;
    aur_error_clear(&error);
    auri_quorum_lock(ring->quorum);
    taken->copy->no_ring = true;
    auri_quorum_unlock(ring->quorum);
    taken->write.status = aur_file_write(taken->write.file, taken->write.offset,
                                         taken->write.buffer, taken->write.length, &error);
    taken->write.system_errno = error.system_errno;
    ring->in_flight++;
    complete(ring, taken);
}

/* Whether the copies on this device are a write quorum by themselves. Then no acknowledgement could
 * come before this device has flushed, and one flush does for all of them; or for the only one,
 * which then does not wait for a thread of the kernel that syncs it. */
static bool is_quorum_on(const auri_group *group, uint64_t device) {
    const aur_quorum *quorum = group->quorum;
    uint64_t members = 0;
    for (uint32_t at = 0; at < quorum->options.copies; at++) {
        const slots *own = group->copies[at].ring_state;
        members |= (uint64_t)(own->device == device) << at;
    }
    return aur_quorum_met(&quorum->write_rule, members);
}

static bool may_share_flush(const auri_copy *copy, const aur_file *file) {
    slots *own = copy->ring_state;
    own->device = aur_file_flush_device(file);
    return own->device != 0 && is_quorum_on(copy->group, own->device);
}

static void begin_write(ring_transport *ring, auri_copy *copy, aur_frame *frame) {
    aur_error error;
    aur_error_clear(&error);
    slot *taken = take_slot(copy, frame);
    const aur_status status = aur_segment_append_begin(copy->segment, frame, &taken->write, &error);
    taken->write.context = taken;
    if (status == AUR_OK && aur_file_descriptor(taken->write.file) < 0) {
        write_here(ring, taken);
    } else if (status == AUR_OK) {
        taken->write.shares_flush = may_share_flush(copy, taken->write.file);
        ring->is_whole = taken->write.shares_flush || ring->quorum->options.copies == 1;
        ring->batch[ring->batch_count++] = &taken->write;
        ring->in_flight++;
    } else if (status == AUR_WOULD_BLOCK) {
        drop_newest_slot(copy);
        auri_copy_put_back(copy, frame);
    } else {
        drop_newest_slot(copy);
        const bool present = status == AUR_NOT_FOUND;
        auri_copy_settle(copy, frame, false, present ? AUR_OK : status,
                         present ? frame->header.last_lsn : 0, &error);
    }
}

/* None of the batch was taken. On a copy of it, because settling one write may begin others. */
static void refuse_batch(ring_transport *ring, uint32_t count, aur_status status) {
    aur_ring_write *refused[RING_DEPTH];
    memcpy((void *)refused, (const void *)ring->batch, count * sizeof refused[0]);
    for (uint32_t i = 0; i < count; i++) {
        refused[i]->status = status;
        complete(ring, refused[i]->context);
    }
}

static void submit_batch(ring_transport *ring) {
    const uint32_t count = ring->batch_count;
    ring->batch_count = 0;
    if (count == 0) {
        return;
    }
    const aur_status status = aur_ring_submit(ring->ring, ring->batch, count);
    if (status != AUR_OK) {
        refuse_batch(ring, count, status);
    }
}

/* Begins everything that is ready and submits it in one go. */
static void pump(ring_transport *ring) {
    auri_quorum_lock(ring->quorum);
    while (ring->in_flight < RING_DEPTH) {
        aur_frame *frame = NULL;
        auri_copy *copy = pop_ready(ring);
        if (copy == NULL) {
            break;
        }
        if (copy->no_room || auri_copy_lagging(copy)) {
            if (copy->writing == 0) {
                ring_enqueue(&ring->transport, copy);
            }
        } else if (auri_copy_take(copy, WRITES_PER_COPY, &frame) == AURI_WORK_APPEND) {
            push_ready(ring, copy);
            auri_quorum_unlock(ring->quorum);
            begin_write(ring, copy, frame);
            auri_quorum_lock(ring->quorum);
        }
    }
    auri_quorum_unlock(ring->quorum);
    submit_batch(ring);
}

/* How long the carrier may wait in the ring, of `timeout_ns`. The ring thread is rung for from now
 * on; a waiter sees soon enough, by its own boxcar, that there is more. */
static uint64_t lie_down(ring_transport *ring, uint64_t timeout_ns) {
    aur_quorum *quorum = ring->quorum;
    auri_quorum_lock(quorum);
    const bool work = ring->first_ready != NULL && ring->in_flight < RING_DEPTH;
    const uint64_t wait_ns = work || quorum->news || ring->in_flight == 0 ? 0 : timeout_ns;
    ring->is_reaping = wait_ns > 0 && ring->carrier == CARRIER_RING_THREAD;
    auri_quorum_unlock(quorum);
    return wait_ns;
}

static void get_up(ring_transport *ring) {
    auri_quorum_lock(ring->quorum);
    ring->is_reaping = false;
    auri_quorum_unlock(ring->quorum);
}

/* Sends what is ready, waits for something to complete, and ends it. The news are the caller's to
 * announce. */
static void carry_once(ring_transport *ring, uint64_t timeout_ns, bool hears_wakes) {
    aur_ring_write *done[REAP_BATCH];
    pump(ring);
    const uint64_t wait_ns = lie_down(ring, timeout_ns);
    const unsigned count = aur_ring_reap(ring->ring, done, REAP_BATCH, wait_ns, hears_wakes);
    get_up(ring);
    for (unsigned i = 0; i < count; i++) {
        complete(ring, done[i]->context);
    }
    pump(ring); /* copies that have ended something look for more, and mostly there is none */
}

/* Lock held by the carrier. */
static bool is_idle(const ring_transport *ring) {
    return ring->in_flight == 0 && ring->first_ready == NULL;
}

/* The ring thread's duty, which it gives up before it announces: whoever is woken may carry next.
 * Lock held, released meanwhile. */
static void serve(ring_transport *ring) {
    if (!is_idle(ring)) {
        auri_quorum_unlock(ring->quorum);
        carry_once(ring, REAP_WAIT_NS, true);
        auri_quorum_lock(ring->quorum);
    }
    if (is_idle(ring)) {
        ring->carrier = CARRIER_NOBODY;
    }
    auri_quorum_unlock(ring->quorum);
    auri_quorum_announce(ring->quorum);
    auri_quorum_lock(ring->quorum);
}

static void *ring_main(void *argument) {
    ring_transport *ring = argument;
    auri_quorum_lock(ring->quorum);
    while (!ring->stopping || ring->carrier != CARRIER_NOBODY) {
        if (ring->carrier == CARRIER_RING_THREAD) {
            serve(ring);
        } else {
            (void)pthread_cond_wait(&ring->duty, &ring->quorum->lock);
        }
    }
    auri_quorum_unlock(ring->quorum);
    return NULL;
}

static bool ring_board(auri_transport *transport) {
    ring_transport *ring = ring_of(transport);
    auri_quorum_lock(ring->quorum);
    const bool boards =
        ring->carrier == CARRIER_NOBODY && ring->is_whole && ring->started && !ring->stopping;
    if (boards) {
        ring->carrier = CARRIER_WAITER;
    }
    auri_quorum_unlock(ring->quorum);
    return boards;
}

static bool ring_carry(auri_transport *transport, uint64_t timeout_ns) {
    ring_transport *ring = ring_of(transport);
    carry_once(ring, timeout_ns, false);
    auri_quorum_announce(ring->quorum);
    auri_quorum_lock(ring->quorum);
    const bool is_under_way = !is_idle(ring);
    auri_quorum_unlock(ring->quorum);
    return is_under_way;
}

static void ring_leave(auri_transport *transport) {
    ring_transport *ring = ring_of(transport);
    auri_quorum_lock(ring->quorum);
    ring->carrier = CARRIER_NOBODY;
    if (!is_idle(ring) || ring->stopping) {
        call_carrier(ring);
    }
    auri_quorum_unlock(ring->quorum);
}

static void ring_wake(auri_transport *transport, const auri_wakes *wakes) {
    ring_transport *ring = ring_of(transport);
    if (wakes->ring) {
        aur_ring_wake(ring->ring);
    }
    if (wakes->ring_thread) {
        (void)pthread_cond_signal(&ring->duty);
    }
    if (wakes->lanes != 0) {
        ring->lanes->wake(ring->lanes, wakes);
    }
}

/* Not for a waiter: it is about to leave, and what it began would come back to it. */
static void ring_flush(auri_transport *transport) {
    ring_transport *ring = ring_of(transport);
    auri_quorum_lock(ring->quorum);
    const bool own = ring->started && ring->carrier == CARRIER_RING_THREAD &&
                     pthread_equal(pthread_self(), ring->thread) != 0;
    auri_quorum_unlock(ring->quorum);
    if (own) {
        pump(ring);
    }
}

static aur_status ring_start(auri_transport *transport, aur_error *error) {
    ring_transport *ring = ring_of(transport);
    auri_quorum_lock(ring->quorum);
    ring->stopping = false;
    ring->started = auri_thread_start(&ring->thread, ring_main, ring) == AUR_OK;
    const bool started = ring->started;
    auri_quorum_unlock(ring->quorum);
    if (!started) {
        return aur_fail(error, AUR_ERR_MEMORY, "the thread that writes the log cannot be started");
    }
    return ring->lanes->start(ring->lanes, error);
}

static void ring_stop(auri_transport *transport) {
    ring_transport *ring = ring_of(transport);
    if (ring->started) {
        auri_quorum_lock(ring->quorum);
        ring->stopping = true;
        (void)pthread_cond_signal(&ring->duty);
        auri_quorum_unlock(ring->quorum);
        (void)pthread_join(ring->thread, NULL);
        auri_quorum_lock(ring->quorum);
        ring->started = false;
        auri_quorum_unlock(ring->quorum);
    }
    while (pop_ready(ring) != NULL) {
    }
    ring->lanes->stop(ring->lanes);
}

static aur_status ring_add_copy(auri_transport *transport, auri_copy *copy) {
    (void)transport;
    copy->ring_state = calloc(1, sizeof(slots));
    return copy->ring_state == NULL ? AUR_ERR_MEMORY : AUR_OK;
}

static void ring_remove_copy(auri_transport *transport, auri_copy *copy) {
    (void)transport;
    free(copy->ring_state);
    copy->ring_state = NULL;
}

static void ring_destroy(auri_transport *transport) {
    ring_transport *ring = ring_of(transport);
    ring->lanes->destroy(ring->lanes);
    aur_ring_destroy(ring->ring);
    (void)pthread_cond_destroy(&ring->duty);
    free(ring);
}

aur_status auri_transport_create_ring(aur_quorum *quorum, auri_transport **transport_out) {
    ring_transport *ring = calloc(1, sizeof *ring);
    aur_status status = AUR_ERR_MEMORY;
    if (ring == NULL) {
        return AUR_ERR_MEMORY;
    }
    status = auri_transport_create_threads(quorum, &ring->lanes);
    if (status == AUR_OK) {
        status = aur_ring_create(RING_DEPTH, &ring->ring);
        if (status != AUR_OK) {
            ring->lanes->destroy(ring->lanes);
        }
    }
    if (status != AUR_OK) {
        free(ring);
        return status;
    }
    AUR_ASSERT(auri_condition_create(&ring->duty) == AUR_OK);
    ring->quorum = quorum;
    ring->transport = (auri_transport){.add_copy = ring_add_copy,
                                       .remove_copy = ring_remove_copy,
                                       .start = ring_start,
                                       .stop = ring_stop,
                                       .enqueue = ring_enqueue,
                                       .wake = ring_wake,
                                       .flush = ring_flush,
                                       .board = ring_board,
                                       .carry = ring_carry,
                                       .leave = ring_leave,
                                       .destroy = ring_destroy};
    *transport_out = &ring->transport;
    return AUR_OK;
}
