/*
 * Durable writes through io_uring: one system call carries the writes of all copies.
 *
 * Each write is synced by itself (its file is open with O_DSYNC, or the write asks for it), unless
 * it may share a flush. Those that share one are on one device at a time, `flush_device`; as soon
 * as none of them is in flight, or the first that was written has waited `patience_ns` for the
 * others, one fdatasync flushes the device for all that are written by then. Only then are they
 * reaped.
 *
 * A wake is a read of an eventfd that is always in flight while a thread waits for wakes too: it
 * completes like a write does. `wake_pending` lets any number of wakes between two waits cost one
 * system call.
 *
 * Thread rule: aur_ring_wake from any thread; everything else from one thread at a time.
 */
#ifdef AUR_HAVE_URING

#include <errno.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "disk/disk_private.h"
#include "disk/ring.h"

enum {
    DEPTH_MAX = 1 << 14,
    DESTROY_BATCH = 16,
};

/* How long writes wait for slower ones to share the flush. */
static const uint64_t patience_ns = UINT64_C(2000000);

/* Writes in the order in which they came. */
typedef struct write_queue {
    aur_ring_write *first;
    aur_ring_write *last;
} write_queue;

struct aur_ring {
    struct io_uring uring;
    unsigned depth;
    unsigned in_flight;          /* writes: queued and not yet reaped, */
    unsigned with_kernel;        /* … of them not yet completed, */
    unsigned sharing;            /* … of those the ones that will share a flush */
    uint64_t flush_device;       /* of the writes that share a flush; any when there are none */
    write_queue unflushed;       /* written, and will share a flush */
    uint64_t unflushed_since_ns; /* when the first of them was written */
    write_queue durable;         /* to be reaped, or failed */
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
    const uint64_t longest_ns = UINT64_C(3600) * AUR_NS_PER_SECOND;
    const uint64_t wait_ns = timeout_ns < longest_ns ? timeout_ns : longest_ns;
    struct io_uring_cqe *first = NULL;
    struct __kernel_timespec timeout = {
        .tv_sec = (long long)(wait_ns / AUR_NS_PER_SECOND),
        .tv_nsec = (long long)(wait_ns % AUR_NS_PER_SECOND),
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
    (void)wait_for(ring, 2, AUR_NS_PER_SECOND);
    const unsigned count = io_uring_peek_batch_cqe(&ring->uring, completions, 2);
    for (unsigned at = 0; at < count; at++) {
        both = both && completions[at]->res == (int)sizeof one;
    }
    io_uring_cq_advance(&ring->uring, count);
    ring->wake_armed = false;
    return both && count == 2;
}

/* Sets up the queues. Completions interrupt the thread that submitted: it may have gone on to other
 * things while another one reaps. */
static bool open_queues(aur_ring *ring) {
    const unsigned needed = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL;
    struct io_uring_params parameters = {.flags = 0};
    if (io_uring_queue_init_params(ring->depth + 1, &ring->uring, &parameters) < 0) {
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
        (void)aur_ring_reap(ring, done, DESTROY_BATCH, AUR_NS_PER_SECOND, false);
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

static void push(write_queue *queue, aur_ring_write *write) {
    write->next = NULL;
    if (queue->first == NULL) {
        queue->first = write;
    } else {
        queue->last->next = write;
    }
    queue->last = write;
}

static aur_ring_write *pop(write_queue *queue) {
    aur_ring_write *write = queue->first;
    if (write != NULL) {
        queue->first = write->next;
    }
    return write;
}

/* Whether the write shares a flush: writes on another device than those under way do not. */
static bool joins(aur_ring *ring, const aur_ring_write *write) {
    const uint64_t device = write->shares_flush ? aur_file_flush_device(write->file) : 0;
    if (device != 0 && ring->sharing == 0 && ring->unflushed.first == NULL) {
        ring->flush_device = device;
    }
    return device != 0 && device == ring->flush_device;
}

static void queue_write(aur_ring *ring, aur_ring_write *write) {
    struct io_uring_sqe *entry = next_entry(ring);
    write->shares_flush = joins(ring, write);
    if (auri_file_writable(write->file, NULL) == AUR_OK) {
        io_uring_prep_write(entry, aur_file_descriptor(write->file), write->buffer,
                            (unsigned)write->length, write->offset);
        if (!write->shares_flush && aur_file_flush_device(write->file) != 0) {
            entry->rw_flags = RWF_DSYNC;
        }
    } else {
        io_uring_prep_nop(entry); /* comes back through reap, where the old failure is reported */
    }
    io_uring_sqe_set_data(entry, write);
    ring->sharing += write->shares_flush;
    ring->with_kernel++;
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

static void fail(aur_ring_write *write, int failure, const char *operation) {
    write->system_errno = failure;
    write->status = auri_file_fail(write->file, write->offset, failure, operation, NULL);
    auri_file_set_failed(write->file, write->status);
}

/* Sets the outcome of a write whose completion said `result`: bytes written, or a negative errno.
 */
static void finish_write(aur_ring_write *write, int result) {
    write->status = auri_file_writable(write->file, NULL);
    write->system_errno = 0;
    if (write->status != AUR_OK || result == (int)write->length) {
        return;
    }
    if (result < 0 && result != -EINTR && result != -EAGAIN) {
        fail(write, -result, "write");
        return;
    }
    /* Short or interrupted, which is rare: writing all of it again, synced, either finishes or
     * tells why not. */
    aur_error error;
    aur_error_clear(&error);
    write->status =
        aur_file_write(write->file, write->offset, write->buffer, write->length, &error);
    write->system_errno = error.system_errno;
}

/* A write is done as far as the kernel is concerned. */
static void take_completion(aur_ring *ring, aur_ring_write *write, int result) {
    finish_write(write, result);
    ring->sharing -= write->shares_flush;
    ring->with_kernel--;
    if (!write->shares_flush || write->status != AUR_OK) {
        push(&ring->durable, write);
        return;
    }
    if (ring->unflushed.first == NULL) {
        ring->unflushed_since_ns = aur_monotonic_ns();
    }
    push(&ring->unflushed, write);
}

/* Takes what is completed off the queue; whether a wake was among it. */
static bool take_completions(aur_ring *ring) {
    struct io_uring_cqe *completion = NULL;
    bool woken = false;
    while (io_uring_peek_cqe(&ring->uring, &completion) == 0) {
        aur_ring_write *write = io_uring_cqe_get_data(completion);
        const int result = completion->res;
        io_uring_cqe_seen(&ring->uring, completion);
        if (write == NULL) {
            /* Cleared before the caller looks for its news: a wake after that rings again. */
            ring->wake_armed = false;
            atomic_store(&ring->wake_pending, false);
            woken = true;
        } else {
            take_completion(ring, write, result);
        }
    }
    return woken;
}

/* How long the writes that are to be flushed may still wait for others. */
static uint64_t patience_left_ns(const aur_ring *ring) {
    const uint64_t waited = aur_monotonic_ns() - ring->unflushed_since_ns;
    return waited < patience_ns ? patience_ns - waited : 0;
}

/* One flush for everything that is written. When it fails nobody knows what is on disk. */
static void flush_device(aur_ring *ring) {
    const int failure =
        fdatasync(aur_file_descriptor(ring->unflushed.first->file)) == 0 ? 0 : errno;
    for (aur_ring_write *write; (write = pop(&ring->unflushed)) != NULL;) {
        if (failure != 0) {
            fail(write, failure, "fdatasync");
        }
        push(&ring->durable, write);
    }
}

static bool is_flush_due(const aur_ring *ring) {
    return ring->unflushed.first != NULL && (ring->sharing == 0 || patience_left_ns(ring) == 0);
}

/* Hands out up to `capacity` durable writes. */
static unsigned collect(aur_ring *ring, aur_ring_write **done, unsigned capacity, bool *woken_out) {
    unsigned count = 0;
    *woken_out |= take_completions(ring);
    if (is_flush_due(ring)) {
        flush_device(ring);
    }
    while (count < capacity && ring->durable.first != NULL) {
        done[count++] = pop(&ring->durable);
        ring->in_flight--;
    }
    return count;
}

/* Until something completes. Writes that share a flush are waited for together, as one of them
 * alone is of no use, but not for longer than their patience lasts. */
static void wait_for_completions(aur_ring *ring, uint64_t timeout_ns, bool hears_wakes) {
    unsigned count = 1;
    if (ring->sharing > 0) {
        const uint64_t left_ns =
            ring->unflushed.first == NULL ? patience_ns : patience_left_ns(ring);
        timeout_ns = timeout_ns < left_ns ? timeout_ns : left_ns;
        count = ring->sharing == ring->with_kernel ? ring->sharing : 1;
    }
    if (hears_wakes) {
        arm_wake(ring);
    }
    check_submitted(wait_for(ring, count, timeout_ns));
}

unsigned aur_ring_reap(aur_ring *ring, aur_ring_write **done, unsigned capacity,
                       uint64_t timeout_ns, bool hears_wakes) {
    bool woken = false;
    unsigned count = collect(ring, done, capacity, &woken);
    if (count == 0 && !woken) {
        wait_for_completions(ring, timeout_ns, hears_wakes);
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
