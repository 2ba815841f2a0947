/*
 * The bare probe: what six durable copies cost on this machine with nothing else done. Each round
 * writes 4 KiB to six preallocated files and waits for the fourth to be on disk; the other two
 * finish meanwhile.
 *
 * usage: probe FOLDER SECONDS   prints rounds per second
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { COPIES = 6, QUORUM = 4, BLOCK = 4096, BLOCKS = 1024 };

typedef struct probe {
    pthread_mutex_t mutex;
    pthread_cond_t posted, landed;
    uint64_t wanted;           /* rounds asked for */
    uint64_t finished[COPIES]; /* rounds that each copy has on disk */
    int stop;
} probe;

typedef struct copy {
    probe *owner;
    int index, file;
} copy;

static void die(const char *what) {
    (void)fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int open_preallocated(const char *folder, int index, void *block) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/probe-%d", folder, index);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_DSYNC, 0600);
    if (file < 0 && errno == EINVAL) {
        file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DSYNC, 0600);
    }
    if (file < 0) {
        die(path);
    }
    for (off_t at = 0; at < (off_t)BLOCKS * BLOCK; at += BLOCK * 16) {
        if (pwrite(file, block, BLOCK * 16, at) != BLOCK * 16) {
            die("preallocate");
        }
    }
    return file;
}

static void *run_copy(void *argument) {
    copy *self = argument;
    probe *owner = self->owner;
    void *block = NULL;
    if (posix_memalign(&block, BLOCK, BLOCK) != 0) {
        die("memory");
    }
    memset(block, 'a' + self->index, BLOCK);
    pthread_mutex_lock(&owner->mutex);
    while (!owner->stop) {
        const uint64_t round = owner->finished[self->index];
        if (round == owner->wanted) {
            pthread_cond_wait(&owner->posted, &owner->mutex);
            continue;
        }
        pthread_mutex_unlock(&owner->mutex);
        if (pwrite(self->file, block, BLOCK, (off_t)(round % BLOCKS) * BLOCK) != BLOCK) {
            die("write");
        }
        pthread_mutex_lock(&owner->mutex);
        owner->finished[self->index] = round + 1;
        pthread_cond_signal(&owner->landed);
    }
    pthread_mutex_unlock(&owner->mutex);
    free(block);
    return NULL;
}

static int at_quorum(const probe *owner) {
    int count = 0;
    for (int index = 0; index < COPIES; index++) {
        count += owner->finished[index] >= owner->wanted;
    }
    return count >= QUORUM;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        (void)fprintf(stderr, "usage: probe FOLDER SECONDS\n");
        return 2;
    }
    static probe owner = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                          .posted = PTHREAD_COND_INITIALIZER,
                          .landed = PTHREAD_COND_INITIALIZER};
    copy copies[COPIES];
    pthread_t threads[COPIES];
    void *blocks = NULL;
    if (posix_memalign(&blocks, BLOCK, BLOCK * 16) != 0) {
        die("memory");
    }
    memset(blocks, 0, BLOCK * 16);
    for (int index = 0; index < COPIES; index++) {
        copies[index] = (copy){&owner, index, open_preallocated(argv[1], index, blocks)};
        if (pthread_create(&threads[index], NULL, run_copy, &copies[index]) != 0) {
            die("thread");
        }
    }
    const double start = now_seconds(), seconds = atof(argv[2]);
    uint64_t rounds = 0;
    pthread_mutex_lock(&owner.mutex);
    for (; now_seconds() - start < seconds; rounds++) {
        owner.wanted++;
        pthread_cond_broadcast(&owner.posted);
        while (!at_quorum(&owner)) {
            pthread_cond_wait(&owner.landed, &owner.mutex);
        }
    }
    const double rate = (double)rounds / (now_seconds() - start);
    owner.stop = 1;
    pthread_cond_broadcast(&owner.posted);
    pthread_mutex_unlock(&owner.mutex);
    for (int index = 0; index < COPIES; index++) {
        pthread_join(threads[index], NULL);
    }
    (void)printf("%.1f\n", rate);
    free(blocks);
    return 0;
}
