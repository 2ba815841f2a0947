/* One thread lane for each copy number, serving that copy of every group: copies of one number
 * share a zone's disk. A lane starts when it first has work. */
#include "quorum/quorum_private.h"

#include <stdlib.h>

typedef struct threads_transport threads_transport;

typedef struct lane {
    threads_transport *transport;
    uint32_t number;
    pthread_t thread;
    pthread_cond_t wake;
    bool started;
    bool sleeping;
    auri_copy *first_ready;
    auri_copy *last_ready;
} lane;

struct threads_transport {
    auri_transport transport; /* first: the two are cast into each other */
    aur_quorum *quorum;
    bool stopping;
    lane lanes[]; /* options.copies of them */
};

static threads_transport *threads_of(auri_transport *transport) {
    return (threads_transport *)(void *)transport;
}

static auri_copy *pop_ready(lane *own) {
    auri_copy *copy = own->first_ready;
    if (copy != NULL) {
        own->first_ready = copy->next_ready;
        copy->next_ready = NULL;
        copy->queued = false;
    }
    return copy;
}

static void *lane_main(void *argument) {
    lane *own = argument;
    aur_quorum *quorum = own->transport->quorum;
    auri_quorum_lock(quorum);
    while (!own->transport->stopping) {
        if (quorum->news && quorum->on_advance != NULL) {
            auri_quorum_unlock(quorum);
            auri_quorum_announce(quorum);
            auri_quorum_lock(quorum);
            continue;
        }
        auri_copy *copy = pop_ready(own);
        if (copy != NULL) {
            (void)auri_copy_step(copy); /* settling it enqueues it again */
        } else {
            own->sleeping = true;
            (void)pthread_cond_wait(&own->wake, &quorum->lock);
            own->sleeping = false;
        }
    }
    auri_quorum_unlock(quorum);
    return NULL;
}

static void fail_without_thread(auri_copy *copy) {
    aur_error why;
    aur_error_clear(&why);
    (void)aur_fail(&why, AUR_ERR_MEMORY, "no thread could be started to write this copy");
    auri_copy_fail(copy, &why);
}

static void threads_enqueue(auri_transport *transport, auri_copy *copy) {
    threads_transport *threads = threads_of(transport);
    lane *own = &threads->lanes[copy->index];
    if (copy->queued || copy->failed || !threads->quorum->running) {
        return;
    }
    if (!own->started) {
        own->started = auri_thread_start(&own->thread, lane_main, own) == AUR_OK;
        if (!own->started) {
            fail_without_thread(copy);
            return;
        }
    }
    copy->queued = true;
    copy->next_ready = NULL;
    if (own->first_ready == NULL) {
        own->first_ready = copy;
    } else {
        own->last_ready->next_ready = copy;
    }
    own->last_ready = copy;
    if (own->sleeping) {
        own->sleeping = false;
        threads->quorum->wakes.lanes |= UINT64_C(1) << own->number;
    }
}

static void threads_wake(auri_transport *transport, const auri_wakes *wakes) {
    threads_transport *threads = threads_of(transport);
    for (uint64_t left = wakes->lanes; left != 0; left &= left - 1) {
        pthread_cond_signal(&threads->lanes[__builtin_ctzll(left)].wake);
    }
}

static aur_status threads_start(auri_transport *transport, aur_error *error) {
    (void)error;
    threads_of(transport)->stopping = false;
    return AUR_OK;
}

static void threads_stop(auri_transport *transport) {
    threads_transport *threads = threads_of(transport);
    const uint32_t copies = threads->quorum->options.copies;
    auri_quorum_lock(threads->quorum);
    threads->stopping = true;
    for (uint32_t i = 0; i < copies; i++) {
        pthread_cond_broadcast(&threads->lanes[i].wake);
    }
    auri_quorum_unlock(threads->quorum);
    for (uint32_t i = 0; i < copies; i++) {
        if (threads->lanes[i].started) {
            (void)pthread_join(threads->lanes[i].thread, NULL);
            threads->lanes[i].started = false;
        }
        while (pop_ready(&threads->lanes[i]) != NULL) {
        }
    }
}

static aur_status threads_add_copy(auri_transport *transport, auri_copy *copy) {
    (void)transport;
    (void)copy;
    return AUR_OK;
}

static void threads_remove_copy(auri_transport *transport, auri_copy *copy) {
    (void)transport;
    (void)copy;
}

static void threads_flush(auri_transport *transport) { (void)transport; }

static void threads_destroy(auri_transport *transport) {
    threads_transport *threads = threads_of(transport);
    for (uint32_t i = 0; i < threads->quorum->options.copies; i++) {
        (void)pthread_cond_destroy(&threads->lanes[i].wake);
    }
    free(threads);
}

aur_status auri_transport_create_threads(aur_quorum *quorum, auri_transport **transport_out) {
    const uint32_t copies = quorum->options.copies;
    threads_transport *threads = calloc(1, sizeof *threads + copies * sizeof threads->lanes[0]);
    if (threads == NULL) {
        return AUR_ERR_MEMORY;
    }
    threads->quorum = quorum;
    threads->transport = (auri_transport){.add_copy = threads_add_copy,
                                          .remove_copy = threads_remove_copy,
                                          .start = threads_start,
                                          .stop = threads_stop,
                                          .enqueue = threads_enqueue,
                                          .wake = threads_wake,
                                          .flush = threads_flush,
                                          .destroy = threads_destroy};
    for (uint32_t i = 0; i < copies; i++) {
        threads->lanes[i].transport = threads;
        threads->lanes[i].number = i;
        if (auri_condition_create(&threads->lanes[i].wake) != AUR_OK) {
            free(threads);
            return AUR_ERR_MEMORY;
        }
    }
    *transport_out = &threads->transport;
    return AUR_OK;
}
