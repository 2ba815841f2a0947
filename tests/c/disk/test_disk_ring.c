/*
 * The ring: every write that was submitted comes back once with its own outcome, wakes are neither
 * lost nor needed twice, and a failed handle stays failed (I10).
 */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "disk/ring.h"

enum {
    FILE_COUNT = 6,
    FILE_BLOCKS = 64,
    DEPTH = 32,
    WRITE_COUNT = 3000,
    WAKE_COUNT = 2000,
};

static const uint64_t second_ns = UINT64_C(1000000000);

typedef struct bench {
    aur_disk *disk;
    aur_ring *ring;
    aur_file *files[FILE_COUNT];
} bench;

/* False, with the reason printed, where there is no io_uring. */
static bool open_bench(bench *opened) {
    char path[600];
    memset(opened, 0, sizeof *opened);
    if (aur_ring_create(DEPTH, &opened->ring) == AUR_NOT_FOUND) {
        printf("  skipped: io_uring is not in this build or refused by this kernel\n");
        return false;
    }
    CHECK_OK(aur_disk_open_posix(temp_path(path, sizeof path, "ring"), true, &opened->disk, NULL));
    for (unsigned at = 0; at < FILE_COUNT; at++) {
        char name[16];
        snprintf(name, sizeof name, "copy %u", at);
        CHECK_OK(aur_disk_create(opened->disk, name, FILE_BLOCKS * AUR_DISK_BLOCK_BYTES, NULL));
        CHECK_OK(aur_disk_open_file(opened->disk, name, AUR_FILE_READ | AUR_FILE_DURABLE,
                                    &opened->files[at], NULL));
    }
    return true;
}

static void close_bench(bench *opened) {
    aur_ring_destroy(opened->ring);
    for (unsigned at = 0; at < FILE_COUNT; at++)
        aur_file_close(opened->files[at]);
    aur_disk_close(opened->disk);
}

static uint8_t *random_block(void) {
    uint8_t *block = aligned_alloc(AUR_DISK_BLOCK_BYTES, AUR_DISK_BLOCK_BYTES);
    CHECK(block != NULL);
    random_bytes(block, AUR_DISK_BLOCK_BYTES);
    return block;
}

/* One write in flight, and the block it goes to; no two in flight share a block. */
typedef struct slot {
    aur_ring_write write;
    unsigned file;
    unsigned block;
    bool busy;
} slot;

static void fill_slot(bench *opened, slot *chosen, bool taken[FILE_COUNT][FILE_BLOCKS]) {
    do {
        chosen->file = (unsigned)random_below(FILE_COUNT);
        chosen->block = (unsigned)random_below(FILE_BLOCKS);
    } while (taken[chosen->file][chosen->block]);
    taken[chosen->file][chosen->block] = true;
    chosen->busy = true;
    chosen->write = (aur_ring_write){
        .file = opened->files[chosen->file],
        .offset = (uint64_t)chosen->block * AUR_DISK_BLOCK_BYTES,
        .buffer = random_block(),
        .length = AUR_DISK_BLOCK_BYTES,
        .shares_flush = random_below(3) > 0,
        .context = chosen,
        .status = AUR_NOT_FOUND,
    };
}

TEST(every_write_comes_back_once_and_is_in_the_file) {
    static uint8_t *model[FILE_COUNT][FILE_BLOCKS]; /* block last written, or NULL */
    static bool taken[FILE_COUNT][FILE_BLOCKS];
    slot slots[DEPTH] = {0};
    bench opened;
    if (!open_bench(&opened))
        return;
    unsigned submitted = 0;
    unsigned reaped = 0;
    while (reaped < WRITE_COUNT) {
        aur_ring_write *batch[DEPTH];
        aur_ring_write *done[DEPTH];
        unsigned count = 0;
        const unsigned wanted = 1 + (unsigned)random_below(DEPTH);
        for (unsigned at = 0; at < DEPTH && count < wanted && submitted + count < WRITE_COUNT;
             at++) {
            if (!slots[at].busy) {
                fill_slot(&opened, &slots[at], taken);
                batch[count++] = &slots[at].write;
            }
        }
        CHECK_OK(aur_ring_submit(opened.ring, batch, count));
        submitted += count;
        const unsigned got = aur_ring_reap(opened.ring, done, 1 + (unsigned)random_below(DEPTH),
                                           10 * second_ns, true);
        for (unsigned at = 0; at < got; at++) {
            slot *ended = done[at]->context;
            CHECK(ended->busy && done[at] == &ended->write);
            CHECK_OK(ended->write.status);
            free(model[ended->file][ended->block]);
            model[ended->file][ended->block] = (uint8_t *)(uintptr_t)ended->write.buffer;
            taken[ended->file][ended->block] = false;
            ended->busy = false;
        }
        reaped += got;
    }
    CHECK_EQ_U64(submitted, WRITE_COUNT);
    for (unsigned file = 0; file < FILE_COUNT; file++) {
        for (unsigned block = 0; block < FILE_BLOCKS; block++) {
            uint8_t bytes[AUR_DISK_BLOCK_BYTES];
            static const uint8_t zeros[AUR_DISK_BLOCK_BYTES];
            size_t count = 0;
            CHECK_OK(aur_file_read(opened.files[file], (uint64_t)block * AUR_DISK_BLOCK_BYTES,
                                   bytes, sizeof bytes, &count, NULL));
            CHECK_EQ_U64(count, sizeof bytes);
            CHECK_EQ_MEM(bytes, model[file][block] != NULL ? model[file][block] : zeros,
                         sizeof bytes);
            free(model[file][block]);
        }
    }
    close_bench(&opened);
}

TEST(a_batch_is_submitted_whole_or_not_at_all) {
    bench opened;
    if (!open_bench(&opened))
        return;
    uint8_t *block = random_block();
    aur_ring_write writes[DEPTH + 1];
    aur_ring_write *batch[DEPTH + 1];
    aur_ring_write *done[DEPTH];
    for (unsigned at = 0; at <= DEPTH; at++) {
        writes[at] = (aur_ring_write){.file = opened.files[at % FILE_COUNT],
                                      .offset = (uint64_t)at * AUR_DISK_BLOCK_BYTES,
                                      .buffer = block,
                                      .length = AUR_DISK_BLOCK_BYTES};
        batch[at] = &writes[at];
    }
    CHECK_STATUS(aur_ring_submit(opened.ring, batch, DEPTH + 1), AUR_WOULD_BLOCK);
    writes[1].offset = 1;
    CHECK_STATUS(aur_ring_submit(opened.ring, batch, 2), AUR_ERR_INVALID);
    CHECK_EQ_U64(aur_ring_reap(opened.ring, done, DEPTH, 0, true), 0);
    writes[1].offset = AUR_DISK_BLOCK_BYTES;
    CHECK_OK(aur_ring_submit(opened.ring, batch, DEPTH));
    CHECK_STATUS(aur_ring_submit(opened.ring, batch + DEPTH, 1), AUR_WOULD_BLOCK);
    close_bench(&opened); /* with everything in flight: destroy waits before the buffer goes away */
    free(block);
}

typedef struct waker {
    aur_ring *ring;
    atomic_uint rung;
    atomic_uint heard;
} waker;

/* Rings, and goes on only when the reaping thread has seen it: a lost wake stops both. */
static void *ring_the_bell(void *context) {
    waker *bell = context;
    for (unsigned at = 1; at <= WAKE_COUNT; at++) {
        atomic_store(&bell->rung, at);
        aur_ring_wake(bell->ring);
        while (at % 3 == 0 && atomic_load(&bell->heard) < at)
            sched_yield();
    }
    return NULL;
}

TEST(no_wake_is_lost) {
    bench opened;
    if (!open_bench(&opened))
        return;
    waker bell = {.ring = opened.ring};
    aur_ring_write *done[1];
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, ring_the_bell, &bell) == 0);
    while (atomic_load(&bell.heard) < WAKE_COUNT) {
        const uint64_t before_ns = second_ns * 20;
        CHECK_EQ_U64(aur_ring_reap(opened.ring, done, 1, before_ns, true), 0);
        atomic_store(&bell.heard, atomic_load(&bell.rung));
    }
    CHECK(pthread_join(thread, NULL) == 0);
    aur_ring_wake(opened.ring);
    aur_ring_wake(opened.ring);
    struct timespec from;
    struct timespec to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    CHECK_EQ_U64(aur_ring_reap(opened.ring, done, 1, 20 * second_ns, true),
                 0); /* rung before the wait */
    CHECK_EQ_U64(aur_ring_reap(opened.ring, done, 1, second_ns / 100, true), 0); /* runs out */
    clock_gettime(CLOCK_MONOTONIC, &to);
    CHECK(to.tv_sec - from.tv_sec < 10);
    close_bench(&opened);
}

/* Submits one write and returns it reaped. */
static void write_one(bench *opened, aur_ring_write *write) {
    aur_ring_write *done[1];
    CHECK_OK(aur_ring_submit(opened->ring, &write, 1));
    while (aur_ring_reap(opened->ring, done, 1, 10 * second_ns, true) == 0) {
    }
    CHECK(done[0] == write);
}

TEST(a_failed_handle_is_not_tried_again) {
    bench opened;
    if (!open_bench(&opened))
        return;
    uint8_t *block = random_block();
    aur_ring_write write = {
        .file = opened.files[0], .buffer = block, .length = AUR_DISK_BLOCK_BYTES};
    /* A descriptor that turned read-only under the handle: EBADF. */
    const int descriptor = aur_file_descriptor(opened.files[0]);
    const int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int saved = dup(descriptor);
    CHECK(read_only >= 0 && saved >= 0 && dup2(read_only, descriptor) == descriptor);
    write_one(&opened, &write);
    CHECK_STATUS(write.status, AUR_ERR_IO);
    CHECK_EQ_I64(write.system_errno, EBADF);
    CHECK(dup2(saved, descriptor) == descriptor);
    write_one(&opened, &write);
    CHECK_STATUS(write.status, AUR_ERR_IO);
    CHECK_STATUS(aur_file_write(opened.files[0], 0, block, AUR_DISK_BLOCK_BYTES, NULL), AUR_ERR_IO);
    CHECK_STATUS(aur_file_sync(opened.files[0], NULL), AUR_ERR_IO);
    write.file = opened.files[1];
    write_one(&opened, &write);
    CHECK_OK(write.status);
    CHECK(close(read_only) == 0 && close(saved) == 0);
    close_bench(&opened);
    free(block);
}

TEST(a_file_that_may_not_grow_is_full) {
    enum { LIMIT_BLOCKS = FILE_BLOCKS + 1 };
    bench opened;
    struct rlimit before;
    if (!open_bench(&opened))
        return;
    uint8_t *blocks = aligned_alloc(AUR_DISK_BLOCK_BYTES, 4 * AUR_DISK_BLOCK_BYTES);
    CHECK(blocks != NULL);
    memset(blocks, 7, 4 * AUR_DISK_BLOCK_BYTES);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    struct rlimit limited = before;
    limited.rlim_cur = LIMIT_BLOCKS * AUR_DISK_BLOCK_BYTES;
    CHECK(setrlimit(RLIMIT_FSIZE, &limited) == 0);
    /* One block fits, three do not: short first, then refused. */
    aur_ring_write write = {.file = opened.files[0],
                            .offset = FILE_BLOCKS * AUR_DISK_BLOCK_BYTES,
                            .buffer = blocks,
                            .length = 4 * AUR_DISK_BLOCK_BYTES};
    write_one(&opened, &write);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_STATUS(write.status, AUR_ERR_FULL);
    CHECK_EQ_I64(write.system_errno, EFBIG);
    close_bench(&opened);
    free(blocks);
}
