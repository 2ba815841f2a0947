/*
 * Durable writes through io_uring. The files are open with O_DSYNC, so a plain write that completes
 * is on disk, and one system call carries the writes of all copies.
 *
 * A wake is a read of an eventfd that is always in flight while the thread waits: it completes like
 * a write does. `wake_pending` lets any number of wakes between two waits cost one system call.
 *
 * Thread rule: aur_ring_wake from any thread; everything else from the one thread that reaps.
 */
#ifdef AUR_HAVE_URING

#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "disk/disk_private.h"
#include "disk/ring.h"

enum {
    DEPTH_MAX = 1 << 14,
    DESTROY_BATCH = 16,
};

static const uint64_t second_ns = UINT64_C(1000000000);

struct aur_ring {
    struct io_uring uring;
    unsigned depth;
    unsigned in_flight; /* writes: queued and not yet reaped */
    int wake_fd;
    bool wake_armed;     /* the read of wake_fd is in flight */
    uint64_t wake_count; /* where it puts the counter of the eventfd */
    atomic_bool wake_pending;
};

/* The queue has room for `depth` writes and the read of the wake, so it is never full. */
static struct io_uring_sqe *next_entry(aur_ring *ring) {
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->uring);
    AUR_ASSERT(entry != NULL);
    return entry;
}

/* The completion of the wake is told from a write's by its NULL. */
static void arm_wake(aur_ring *ring) {
    if (!ring->wake_armed) {
        struct io_uring_sqe *entry = next_entry(ring);
        io_uring_prep_read(entry, ring->wake_fd, &ring->wake_count, sizeof ring->wake_count, 0);
        io_uring_sqe_set_data(entry, NULL);
        ring->wake_armed = true;
    }
}

/* Waits for `count` completions; what is queued and not submitted yet goes along. */
static int wait_for(aur_ring *ring, unsigned count, uint64_t timeout_ns) {
    const uint64_t longest_ns = UINT64_C(3600) * second_ns;
    const uint64_t wait_ns = timeout_ns < longest_ns ? timeout_ns : longest_ns;
    struct io_uring_cqe *first = NULL;
    struct __kernel_timespec timeout = {
        .tv_sec = (long long)(wait_ns / second_ns),
        .tv_nsec = (long long)(wait_ns % second_ns),
    };
    return io_uring_submit_and_wait_timeout(&ring->uring, &first, count, &timeout, NULL);
}

/* Lack of memory or an interruption passes: what stays queued is submitted with the next call.
 * Anything else would mean that we misuse the interface. */
static void check_submitted(int result) {
    AUR_ASSERT(result >= 0 || result == -EINTR || result == -EAGAIN || result == -EBUSY ||
               result == -ENOMEM || result == -ETIME);
}

/* Whether this kernel really carries a write and a read of an eventfd, beyond letting us make a
 * ring. */
static bool works(aur_ring *ring) {
    const uint64_t one = 1;
    struct io_uring_cqe *completions[2];
    bool both = true;
    arm_wake(ring);
    struct io_uring_sqe *entry = next_entry(ring);
    io_uring_prep_write(entry, ring->wake_fd, &one, sizeof one, 0);
    io_uring_sqe_set_data(entry, NULL);
    (void)wait_for(ring, 2, second_ns);
    const unsigned count = io_uring_peek_batch_cqe(&ring->uring, completions, 2);
    for (unsigned at = 0; at < count; at++) {
        both = both && completions[at]->res == (int)sizeof one;
    }
    io_uring_cq_advance(&ring->uring, count);
    ring->wake_armed = false;
    return both && count == 2;
}

/* Sets up the queues: IORING_SETUP_COOP_TASKRUN spares an interrupt per completion where the kernel
 * has it. */
static bool open_queues(aur_ring *ring) {
    const unsigned needed = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL;
    struct io_uring_params parameters = {.flags = IORING_SETUP_COOP_TASKRUN};
    int result = io_uring_queue_init_params(ring->depth + 1, &ring->uring, &parameters);
    if (result == -EINVAL) {
        parameters = (struct io_uring_params){.flags = 0};
        result = io_uring_queue_init_params(ring->depth + 1, &ring->uring, &parameters);
    }
    if (result < 0) {
        return false;
    }
    if ((parameters.features & needed) != needed || !works(ring)) {
        io_uring_queue_exit(&ring->uring);
        return false;
    }
    return true;
}

aur_status aur_ring_create(unsigned depth, aur_ring **ring_out) {
    if (depth == 0 || depth > DEPTH_MAX) {
        return AUR_ERR_INVALID;
    }
    aur_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        return AUR_ERR_MEMORY;
    }
    ring->depth = depth;
    atomic_init(&ring->wake_pending, false);
    /* Blocking on purpose: io_uring would fail the read of a non-blocking one instead of waiting.
     */
    ring->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (ring->wake_fd < 0 || !open_queues(ring)) {
        if (ring->wake_fd >= 0) {
            (void)close(ring->wake_fd);
        }
        free(ring);
        return AUR_NOT_FOUND;
    }
    *ring_out = ring;
    return AUR_OK;
}

void aur_ring_destroy(aur_ring *ring) {
    aur_ring_write *done[DESTROY_BATCH];
    if (ring == NULL) {
        return;
    }
    while (ring->in_flight > 0) { /* the kernel still reads from their buffers */
        (void)aur_ring_reap(ring, done, DESTROY_BATCH, second_ns);
    }
    io_uring_queue_exit(&ring->uring);
    (void)close(ring->wake_fd);
    free(ring);
}

static aur_status check_write(const aur_ring_write *write) {
    if ((write->file->mode & AUR_FILE_DURABLE) == 0 || write->length > INT32_MAX ||
        aur_file_descriptor(write->file) < 0) {
        return AUR_ERR_INVALID;
    }
    return auri_file_accepts(write->file, write->offset, write->buffer, write->length, NULL);
}

static void queue_write(aur_ring *ring, aur_ring_write *write) {
    struct io_uring_sqe *entry = next_entry(ring);
    if (auri_file_writable(write->file, NULL) == AUR_OK) {
        io_uring_prep_write(entry, aur_file_descriptor(write->file), write->buffer,
                            (unsigned)write->length, write->offset);
    } else {
        io_uring_prep_nop(entry); /* comes back through reap, where the old failure is reported */
    }
    io_uring_sqe_set_data(entry, write);
    ring->in_flight++;
}

aur_status aur_ring_submit(aur_ring *ring, aur_ring_write *const *writes, unsigned count) {
    if (count > ring->depth - ring->in_flight) {
        return AUR_WOULD_BLOCK;
    }
    for (unsigned at = 0; at < count; at++) {
        const aur_status status = check_write(writes[at]);
        if (status != AUR_OK) {
            return status;
        }
    }
    for (unsigned at = 0; at < count; at++) {
        queue_write(ring, writes[at]);
    }
    check_submitted(io_uring_submit(&ring->uring));
    return AUR_OK;
}

/* Sets the outcome of a write whose completion said `result`: bytes written, or a negative errno.
 */
static void finish_write(aur_ring_write *write, int result) {
    int failure = 0;
    write->status = auri_file_writable(write->file, NULL);
    write->system_errno = 0;
    if (write->status != AUR_OK || result == (int)write->length) {
        return;
    }
    if (result < 0 && result != -EINTR && result != -EAGAIN) {
        failure = -result;
    } else {
        /* Short or interrupted, which is rare: writing all of it again either finishes or tells why
         * not. */
        failure = auri_posix_write(aur_file_descriptor(write->file), write->buffer, write->length,
                                   write->offset);
    }
    if (failure != 0) {
        write->system_errno = failure;
        write->status = auri_file_fail(write->file, write->offset, failure, "write", NULL);
        auri_file_set_failed(write->file, write->status);
    }
}

/* Takes up to `capacity` completed writes off the queue; *woken_out tells whether a wake was among
 * them. */
static unsigned collect(aur_ring *ring, aur_ring_write **done, unsigned capacity, bool *woken_out) {
    struct io_uring_cqe *completion = NULL;
    unsigned count = 0;
    while (count < capacity && io_uring_peek_cqe(&ring->uring, &completion) == 0) {
        aur_ring_write *write = io_uring_cqe_get_data(completion);
        const int result = completion->res;
        io_uring_cqe_seen(&ring->uring, completion);
        if (write == NULL) {
            /* Cleared before the caller looks for its news: a wake after that rings again. */
            ring->wake_armed = false;
            atomic_store(&ring->wake_pending, false);
            *woken_out = true;
            continue;
        }
        finish_write(write, result);
        ring->in_flight--;
        done[count++] = write;
    }
    return count;
}

unsigned aur_ring_reap(aur_ring *ring, aur_ring_write **done, unsigned capacity,
                       uint64_t timeout_ns) {
    bool woken = false;
    unsigned count = collect(ring, done, capacity, &woken);
    if (count == 0 && !woken) {
        arm_wake(ring);
        check_submitted(wait_for(ring, 1, timeout_ns));
        count = collect(ring, done, capacity, &woken);
    }
    return count;
}

void aur_ring_wake(aur_ring *ring) {
    const uint64_t one = 1;
    if (!atomic_exchange(&ring->wake_pending, true)) {
        /* Cannot block or fail: the counter of the eventfd is at most 1 here. */
        const ssize_t written = write(ring->wake_fd, &one, sizeof one);
        AUR_ASSERT(written == (ssize_t)sizeof one);
    }
}

#endif
