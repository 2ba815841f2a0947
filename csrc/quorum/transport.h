/*
 * How frames travel to the copies. The core keeps what is to be sent and counts what has arrived; a
 * transport is told which copies have work, takes it (auri_copy_take), carries it in threads of its
 * own, and settles it (auri_copy_settle). The local ones call the segment in this process.
 */
#ifndef AUR_QUORUM_TRANSPORT_H
#define AUR_QUORUM_TRANSPORT_H

#include "quorum/quorum.h"

typedef struct auri_copy auri_copy;
typedef struct auri_transport auri_transport;

/* Which threads wait for work that they have just been given. */
typedef struct auri_wakes {
    uint64_t lanes;   /* bit mask of thread lanes */
    bool ring;        /* RING: the ring thread, which waits for writes */
    bool ring_thread; /* RING: the ring thread, which has nothing to do */
} auri_wakes;

struct auri_transport {
    /* Prepares what it keeps for a copy, before the copy is first enqueued. */
    aur_status (*add_copy)(auri_transport *transport, auri_copy *copy) AUR_CHECKED;
    void (*remove_copy)(auri_transport *transport, auri_copy *copy);
    /* Starts to take work. Without the lock. */
    aur_status (*start)(auri_transport *transport, aur_error *error) AUR_CHECKED;
    /* Returns when no write is under way and no thread is left. The quorum is not running any more.
     * Without the lock. */
    void (*stop)(auri_transport *transport);
    /* The copy may have work. Notes in quorum->wakes whom to wake. Lock held; does not block. */
    void (*enqueue)(auri_transport *transport, auri_copy *copy);
    /* Wakes them. Without the lock. */
    void (*wake)(auri_transport *transport, const auri_wakes *wakes);
    /* In a thread of the transport itself: sends at once what was enqueued. Elsewhere: nothing.
     * Without the lock. */
    void (*flush)(auri_transport *transport);
    /* A waiting thread does the transport's work: aur_quorum_board and its friends. NULL where that
     * cannot be. Without the lock. */
    bool (*board)(auri_transport *transport);
    bool (*carry)(auri_transport *transport, uint64_t timeout_ns);
    void (*leave)(auri_transport *transport);
    void (*destroy)(auri_transport *transport);
};

/* One thread for each copy number, started when it first has work. */
aur_status auri_transport_create_threads(aur_quorum *quorum,
                                         auri_transport **transport_out) AUR_CHECKED;

/* An io_uring for all copies, and one thread that serves it when no waiting one does; what cannot
 * go through a ring goes to thread lanes. AUR_NOT_FOUND where there is no io_uring. */
aur_status auri_transport_create_ring(aur_quorum *quorum,
                                      auri_transport **transport_out) AUR_CHECKED;

#endif
