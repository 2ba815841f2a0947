/*
 * What durable commits cost on this machine with nothing else done. Threads in closed loops each
 * append a record of 132 bytes and wait until it is on disk. Whoever finds nobody writing writes
 * for all who wait: that is group commit without a timer.
 *
 * one    one file, O_DIRECT and O_DSYNC
 * six    six files, each with a thread and a sync of its own; the fourth that is done counts
 * flush  six files written at once without a sync, then one flush: true only while all of them
 *        lie on one disk
 *
 * usage: bare MODE FOLDER THREADS SECONDS   prints {"rate": commits a second, "commits": ...}
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { COPIES = 6, QUORUM = 4, RECORD = 132, BLOCK = 4096, BLOCKS = 2048, ROUNDS = 1024 };
enum { BYTES_MAX = 16 * BLOCK, THREADS_MAX = 256 };

typedef enum mode { ONE, SIX, FLUSH } mode;

typedef struct log {
    mode mode;
    pthread_mutex_t mutex;
    pthread_cond_t durable_moved, round_posted, copy_done;
    uint64_t appended, durable; /* records */
    int writing;
    uint64_t rounds;           /* rounds asked for */
    size_t sizes[ROUNDS];      /* bytes of each, in a ring */
    uint64_t finished[COPIES]; /* rounds that each copy has on disk */
    int files[COPIES];
    off_t at;
    void *block;
    aio_context_t context;
    int stop;
} log;

typedef struct copy {
    log *owner;
    int index;
} copy;

static void die(const char *what) {
    (void)fprintf(stderr, "bare: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Where the next write of a file goes that is written round and round. */
static off_t advance(off_t *at, size_t size) {
    if (*at + (off_t)size > (off_t)BLOCKS * BLOCK) {
        *at = 0;
    }
    const off_t here = *at;
    *at += (off_t)size;
    return here;
}

static int open_written(const char *folder, int index, int flags, const void *block) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/bare-%d", folder, index);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | flags, 0600);
    if (file < 0 && errno == EINVAL) {
        file = open(path, O_RDWR | O_CREAT | O_TRUNC | flags, 0600);
    }
    if (file < 0) {
        die(path);
    }
    for (off_t at = 0; at < (off_t)BLOCKS * BLOCK; at += BYTES_MAX) {
        if (pwrite(file, block, BYTES_MAX, at) != BYTES_MAX) {
            die("write beforehand");
        }
    }
    if (fsync(file) != 0) {
        die("sync beforehand");
    }
    return file;
}

static void *run_copy(void *argument) {
    const copy *self = argument;
    log *owner = self->owner;
    off_t at = 0;
    pthread_mutex_lock(&owner->mutex);
    for (;;) {
        const uint64_t round = owner->finished[self->index];
        if (round == owner->rounds) {
            if (owner->stop) {
                break;
            }
            pthread_cond_wait(&owner->round_posted, &owner->mutex);
            continue;
        }
        const size_t size = owner->sizes[round % ROUNDS];
        pthread_mutex_unlock(&owner->mutex);
        if (pwrite(owner->files[self->index], owner->block, size, advance(&at, size)) !=
            (ssize_t)size) {
            die("write");
        }
        pthread_mutex_lock(&owner->mutex);
        owner->finished[self->index] = round + 1;
        pthread_cond_signal(&owner->copy_done);
    }
    pthread_mutex_unlock(&owner->mutex);
    return NULL;
}

static int copies_with(const log *owner, uint64_t rounds) {
    int count = 0;
    for (int index = 0; index < COPIES; index++) {
        count += owner->finished[index] >= rounds;
    }
    return count;
}

static void write_six(log *owner, size_t size) {
    pthread_mutex_lock(&owner->mutex);
    /* A copy that is a whole ring behind would read sizes that are gone. */
    while (owner->rounds >= ROUNDS && copies_with(owner, owner->rounds - ROUNDS + 1) < COPIES) {
        pthread_cond_wait(&owner->copy_done, &owner->mutex);
    }
    owner->sizes[owner->rounds++ % ROUNDS] = size;
    pthread_cond_broadcast(&owner->round_posted);
    while (copies_with(owner, owner->rounds) < QUORUM) {
        pthread_cond_wait(&owner->copy_done, &owner->mutex);
    }
    pthread_mutex_unlock(&owner->mutex);
}

static void write_and_flush(log *owner, size_t size) {
    struct iocb blocks[COPIES], *pointers[COPIES];
    struct io_event events[COPIES];
    const off_t at = advance(&owner->at, size);
    for (int index = 0; index < COPIES; index++) {
        blocks[index] = (struct iocb){.aio_lio_opcode = IOCB_CMD_PWRITE,
                                      .aio_fildes = (uint32_t)owner->files[index],
                                      .aio_buf = (uint64_t)(uintptr_t)owner->block,
                                      .aio_nbytes = size,
                                      .aio_offset = at};
        pointers[index] = &blocks[index];
    }
    if (syscall(SYS_io_submit, owner->context, COPIES, pointers) != COPIES ||
        syscall(SYS_io_getevents, owner->context, COPIES, COPIES, events, NULL) != COPIES) {
        die("six writes");
    }
    for (int index = 0; index < COPIES; index++) {
        if (events[index].res != (int64_t)size) {
            die("write");
        }
    }
    if (fdatasync(owner->files[0]) != 0) {
        die("flush");
    }
}

static void write_round(log *owner, uint64_t records) {
    const size_t bytes = records * RECORD;
    const size_t size = (bytes + BLOCK - 1) / BLOCK * BLOCK;
    if (owner->mode == SIX) {
        write_six(owner, size);
    } else if (owner->mode == FLUSH) {
        write_and_flush(owner, size);
    } else if (pwrite(owner->files[0], owner->block, size, advance(&owner->at, size)) !=
               (ssize_t)size) {
        die("write");
    }
}

static void commit(log *owner) {
    pthread_mutex_lock(&owner->mutex);
    const uint64_t mine = ++owner->appended;
    while (owner->durable < mine) {
        if (owner->writing) {
            pthread_cond_wait(&owner->durable_moved, &owner->mutex);
            continue;
        }
        owner->writing = 1;
        const uint64_t upto = owner->appended, records = upto - owner->durable;
        pthread_mutex_unlock(&owner->mutex);
        write_round(owner, records);
        pthread_mutex_lock(&owner->mutex);
        owner->writing = 0;
        owner->durable = upto;
        pthread_cond_broadcast(&owner->durable_moved);
    }
    pthread_mutex_unlock(&owner->mutex);
}

static double end_seconds;

static void *run_client(void *argument) {
    while (now_seconds() < end_seconds) {
        commit(argument);
    }
    return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), void *argument) {
    if (pthread_create(thread, NULL, run, argument) != 0) {
        die("thread");
    }
}

static int mode_of(const char *name, mode *out) {
    static const char *const names[] = {"one", "six", "flush"};
    for (int each = ONE; each <= FLUSH; each++) {
        if (strcmp(name, names[each]) == 0) {
            *out = (mode)each;
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    static log owner = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                        .durable_moved = PTHREAD_COND_INITIALIZER,
                        .round_posted = PTHREAD_COND_INITIALIZER,
                        .copy_done = PTHREAD_COND_INITIALIZER};
    const int clients = argc == 5 ? atoi(argv[3]) : 0;
    if (clients < 1 || clients > THREADS_MAX || !mode_of(argv[1], &owner.mode)) {
        (void)fprintf(stderr, "usage: bare one|six|flush FOLDER THREADS SECONDS\n");
        return 2;
    }
    if (posix_memalign(&owner.block, BLOCK, BYTES_MAX) != 0) {
        die("memory");
    }
    memset(owner.block, 'a', BYTES_MAX);
    for (int index = 0; index < (owner.mode == ONE ? 1 : COPIES); index++) {
        owner.files[index] =
            open_written(argv[2], index, owner.mode == FLUSH ? 0 : O_DSYNC, owner.block);
    }
    if (owner.mode == FLUSH && syscall(SYS_io_setup, COPIES, &owner.context) != 0) {
        die("io_setup");
    }
    copy copies[COPIES];
    pthread_t writers[COPIES], threads[THREADS_MAX];
    for (int index = 0; owner.mode == SIX && index < COPIES; index++) {
        copies[index] = (copy){&owner, index};
        start(&writers[index], run_copy, &copies[index]);
    }
    const double begin = now_seconds();
    end_seconds = begin + atof(argv[4]);
    for (int index = 0; index < clients; index++) {
        start(&threads[index], run_client, &owner);
    }
    for (int index = 0; index < clients; index++) {
        pthread_join(threads[index], NULL);
    }
    const double elapsed = now_seconds() - begin;
    pthread_mutex_lock(&owner.mutex);
    owner.stop = 1;
    pthread_cond_broadcast(&owner.round_posted);
    pthread_mutex_unlock(&owner.mutex);
    for (int index = 0; owner.mode == SIX && index < COPIES; index++) {
        pthread_join(writers[index], NULL);
    }
    (void)printf("{\"rate\": %.1f, \"commits\": %llu}\n", (double)owner.durable / elapsed,
                 (unsigned long long)owner.durable);
    return 0;
}
