/*
 * Durable writes through io_uring: one thread keeps the writes of many files in flight. Found at
 * build (AUR_HAVE_URING) and probed at run time; where it is missing aur_ring_create says
 * AUR_NOT_FOUND and the caller writes with aur_file_write.
 */
#ifndef AUR_DISK_RING_H
#define AUR_DISK_RING_H

#include "disk/disk.h"

typedef struct aur_ring aur_ring;

/* One write. Owned by the caller, who keeps it and the buffer alive until it is reaped. */
typedef struct aur_ring_write {
    aur_file *file; /* opened AUR_FILE_DURABLE, with a descriptor */
    uint64_t offset;
    const void *buffer;
    size_t length;
    void *context;
    aur_status status; /* set when reaped: AUR_OK, AUR_ERR_IO, AUR_ERR_FULL */
    int system_errno;
} aur_ring_write;

/* AUR_NOT_FOUND when io_uring is not in this build or refused by the kernel. */
aur_status aur_ring_create(unsigned depth, aur_ring **ring_out) AUR_CHECKED;
void aur_ring_destroy(aur_ring *ring);

/* Queues and submits `count` writes. Only the thread that reaps may call it. */
aur_status aur_ring_submit(aur_ring *ring, aur_ring_write *const *writes,
                           unsigned count) AUR_CHECKED;

/* Waits until a write completes, aur_ring_wake is called, or `timeout_ns` is over; returns the
 * number of completed writes stored in `done` (0 on wake or timeout). Short writes are finished
 * inside. */
unsigned aur_ring_reap(aur_ring *ring, aur_ring_write **done, unsigned capacity,
                       uint64_t timeout_ns);

/* Wakes the reaping thread from any other thread. */
void aur_ring_wake(aur_ring *ring);

#endif
