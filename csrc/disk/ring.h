/*
 * Durable writes through io_uring: one thread keeps the writes of many files in flight, and those
 * that may share a flush of their device do. Found at build (AUR_HAVE_URING) and probed at run
 * time; where it is missing aur_ring_create says AUR_NOT_FOUND and the caller writes with
 * aur_file_write.
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
    bool shares_flush; /* may wait for others on the same device (aur_file_flush_device) */
    void *context;
    struct aur_ring_write *next; /* the ring's, until it is reaped */
    aur_status status;           /* set when reaped: AUR_OK, AUR_ERR_IO, AUR_ERR_FULL */
    int system_errno;
} aur_ring_write;

/* A ring for up to `depth` writes in flight. AUR_NOT_FOUND when io_uring is not in this build, or
 * the kernel refuses it or lacks what is needed. */
aur_status aur_ring_create(unsigned depth, aur_ring **ring_out) AUR_CHECKED;

/* Waits for the writes that are in flight, which are not reaped any more. NULL is ignored. */
void aur_ring_destroy(aur_ring *ring);

/* Queues and submits `count` writes, all or none. AUR_WOULD_BLOCK: more than `depth` would be in
 * flight, reap first. AUR_ERR_INVALID: one is not durable, has no descriptor, or is not aligned.
 * Failures of the disk come with the reaped write; one whose handle failed before is not tried
 * (I10) and is reaped with that failure. */
aur_status aur_ring_submit(aur_ring *ring, aur_ring_write *const *writes,
                           unsigned count) AUR_CHECKED;

/* Waits until a write is durable, aur_ring_wake is called (if it `hears_wakes`), a signal arrives,
 * or `timeout_ns` (less while a flush is to be shared) is over; returns the number of completed
 * writes stored in `done` (0 for the other reasons). Short writes are finished inside, and the
 * shared flushes are done inside, in this thread. */
unsigned aur_ring_reap(aur_ring *ring, aur_ring_write **done, unsigned capacity,
                       uint64_t timeout_ns, bool hears_wakes);

/* Wakes the reaping thread from any other thread; if none waits for wakes, the next such wait ends
 * at once. All else in this file is for one thread at a time; it may be another one each time. */
void aur_ring_wake(aur_ring *ring);

#endif
