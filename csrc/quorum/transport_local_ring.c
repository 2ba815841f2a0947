/*
 * One thread keeps the writes of all local copies in flight through an io_uring, so that a boxcar
 * costs one hop and one system call whatever the number of copies.
 *
 * Each copy has a few slots, used in order: writes complete in any order, but are ended in the
 * order they began. What would block the thread goes to thread lanes: a copy that catches up from
 * its peers, and one whose files have no descriptor. A copy changes sides only while nothing of it
 * is under way, so a segment has one appender at a time.
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

/* The writes of one copy; touched only by the ring thread. */
typedef struct slots {
    slot slot[WRITES_PER_COPY];
    uint32_t first;
    uint32_t count;
} slots;

typedef struct ring_transport {
    auri_transport transport; /* first: the two are cast into each other */
    aur_quorum *quorum;
    auri_transport *lanes; /* the slow path */
    aur_ring *ring;
    pthread_t thread;
    bool started;
    bool stopping;
    bool sleeping; /* in reap, and nobody has rung yet */
    auri_copy *first_ready;
    auri_copy *last_ready;
    uint32_t in_flight;                /* ring thread only */
    aur_ring_write *batch[RING_DEPTH]; /* begun, not yet submitted; ring thread only */
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

static void ring_enqueue(auri_transport *transport, auri_copy *copy) {
    ring_transport *ring = ring_of(transport);
    if (copy->queued || copy->failed || !ring->quorum->running) {
        return;
    }
    if (copy->writing == 0) {
        copy->by_thread = copy->no_ring || auri_copy_lagging(copy);
    }
    if (copy->by_thread) {
        ring->lanes->enqueue(ring->lanes, copy);
        return;
    }
    push_ready(ring, copy);
    if (ring->sleeping) {
        ring->sleeping = false;
        ring->quorum->wakes.ring = true;
    }
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

static void begin_write(ring_transport *ring, auri_copy *copy, aur_frame *frame) {
    aur_error error;
    aur_error_clear(&error);
    slot *taken = take_slot(copy, frame);
    const aur_status status = aur_segment_append_begin(copy->segment, frame, &taken->write, &error);
    taken->write.context = taken;
    if (status == AUR_OK && aur_file_descriptor(taken->write.file) < 0) {
        write_here(ring, taken);
    } else if (status == AUR_OK) {
        ring->batch[ring->batch_count++] = &taken->write;
        ring->in_flight++;
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

/* Begins everything that is ready and submits it in one go. Ring thread. */
static void pump(ring_transport *ring) {
    auri_quorum_lock(ring->quorum);
    while (ring->in_flight < RING_DEPTH) {
        aur_frame *frame = NULL;
        auri_copy *copy = pop_ready(ring);
        if (copy == NULL) {
            break;
        }
        if (auri_copy_lagging(copy)) {
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

/* Whether the thread may end; otherwise notes whether it is about to sleep. */
static bool settle_down(ring_transport *ring, uint64_t *wait_ns) {
    aur_quorum *quorum = ring->quorum;
    auri_quorum_lock(quorum);
    const bool ends = ring->stopping && ring->in_flight == 0;
    const bool work = ring->first_ready != NULL && ring->in_flight < RING_DEPTH;
    *wait_ns = work || quorum->news ? 0 : REAP_WAIT_NS;
    ring->sleeping = !ends && *wait_ns > 0;
    auri_quorum_unlock(quorum);
    return ends;
}

static void wake_up(ring_transport *ring) {
    auri_quorum_lock(ring->quorum);
    ring->sleeping = false;
    const bool news = ring->quorum->news;
    auri_quorum_unlock(ring->quorum);
    if (news) {
        auri_quorum_announce(ring->quorum);
    }
}

static void *ring_main(void *argument) {
    ring_transport *ring = argument;
    aur_ring_write *done[REAP_BATCH];
    uint64_t wait_ns = 0;
    for (;;) {
        pump(ring);
        if (settle_down(ring, &wait_ns)) {
            break;
        }
        const unsigned count = aur_ring_reap(ring->ring, done, REAP_BATCH, wait_ns);
        wake_up(ring);
        for (unsigned i = 0; i < count; i++) {
            complete(ring, done[i]->context);
        }
    }
    return NULL;
}

static void ring_wake(auri_transport *transport, const auri_wakes *wakes) {
    ring_transport *ring = ring_of(transport);
    if (wakes->ring) {
        aur_ring_wake(ring->ring);
    }
    if (wakes->lanes != 0) {
        ring->lanes->wake(ring->lanes, wakes);
    }
}

static void ring_flush(auri_transport *transport) {
    ring_transport *ring = ring_of(transport);
    auri_quorum_lock(ring->quorum);
    const bool own = ring->started && pthread_equal(pthread_self(), ring->thread) != 0;
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
        auri_quorum_unlock(ring->quorum);
        aur_ring_wake(ring->ring);
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
    ring->quorum = quorum;
    ring->transport = (auri_transport){.add_copy = ring_add_copy,
                                       .remove_copy = ring_remove_copy,
                                       .start = ring_start,
                                       .stop = ring_stop,
                                       .enqueue = ring_enqueue,
                                       .wake = ring_wake,
                                       .flush = ring_flush,
                                       .destroy = ring_destroy};
    *transport_out = &ring->transport;
    return AUR_OK;
}
