/* What only the operating system can do to a disk: limits, removal behind our back, left-overs,
 * file systems of many kinds. */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "disk/disk.h"

enum {
    BLOCK_BYTES = AUR_DISK_BLOCK_BYTES,
    DURABLE = AUR_FILE_READ | AUR_FILE_DURABLE,
    WRITE = AUR_FILE_READ | AUR_FILE_WRITE,
    THREAD_COUNT = 4,
    THREAD_ROUNDS = 150,
};

static uint8_t *filled_block(int value) {
    uint8_t *block = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
    CHECK(block != NULL);
    memset(block, value, BLOCK_BYTES);
    return block;
}

static aur_disk *open_disk(const char *name) {
    char path[600];
    aur_disk *disk = NULL;
    CHECK_OK(aur_disk_open_posix(temp_path(path, sizeof path, name), true, &disk, NULL));
    return disk;
}

static void path_in(const aur_disk *disk, const char *name, char *path, size_t path_bytes) {
    snprintf(path, path_bytes, "%s/%s", aur_disk_path(disk), name);
}

TEST(a_missing_directory_is_not_found_and_a_file_is_no_directory) {
    char path[600];
    aur_disk *disk = NULL;
    aur_error error;
    temp_path(path, sizeof path, "missing/below");
    CHECK_STATUS(aur_disk_open_posix(path, false, &disk, NULL), AUR_NOT_FOUND);
    CHECK_STATUS(aur_disk_open_posix("", true, &disk, NULL), AUR_ERR_INVALID);
    aur_error_clear(&error);
    CHECK_STATUS(aur_disk_open_posix("/dev/null/x", true, &disk, &error), AUR_ERR_IO);
    CHECK_EQ_I64(error.system_errno, ENOTDIR);
    CHECK_EQ_STR(error.file, "/dev/null/x");
    CHECK_OK(aur_disk_open_posix(path, true, &disk, NULL));
    aur_disk_close(disk);
    CHECK_OK(aur_disk_open_posix(path, false, &disk, NULL));
    aur_disk_close(disk);
}

static bool count_file(void *context, const char *name, uint64_t size_bytes) {
    (void)name;
    (void)size_bytes;
    ++*(unsigned *)context;
    return true;
}

TEST(a_left_over_of_replace_is_invisible_and_overwritten) {
    char path[700];
    char content[8];
    size_t count = 0;
    unsigned files = 0;
    aur_file *file = NULL;
    aur_disk *disk = open_disk("replace");
    path_in(disk, "manifest.replacing", path, sizeof path);
    FILE *left = fopen(path, "w");
    CHECK(left != NULL && fputs("half of something longer", left) >= 0 && fclose(left) == 0);
    path_in(disk, "folder", path, sizeof path);
    CHECK(mkdir(path, 0777) == 0);
    CHECK_OK(aur_disk_list(disk, count_file, &files, NULL));
    CHECK_EQ_U64(files, 0);
    CHECK_OK(aur_disk_replace(disk, "manifest", "whole", 5, NULL));
    CHECK_OK(aur_disk_list(disk, count_file, &files, NULL));
    CHECK_EQ_U64(files, 1);
    CHECK_OK(aur_disk_open_file(disk, "manifest", AUR_FILE_READ, &file, NULL));
    CHECK_OK(aur_file_read(file, 0, content, sizeof content, &count, NULL));
    CHECK_EQ_U64(count, 5);
    CHECK_EQ_MEM(content, "whole", 5);
    aur_file_close(file);
    CHECK_STATUS(aur_disk_replace(disk, "folder", "x", 1, NULL), AUR_ERR_IO);
    path_in(disk, "folder.replacing", path, sizeof path);
    CHECK(access(path, F_OK) != 0);
    aur_disk_close(disk);
}

TEST(a_file_limit_is_full_and_final) {
    struct rlimit before;
    aur_file *file = NULL;
    aur_error error;
    aur_disk *disk = open_disk("limit");
    uint8_t *block = filled_block(1);
    CHECK_OK(aur_disk_create(disk, "f", BLOCK_BYTES, NULL));
    CHECK_OK(aur_disk_open_file(disk, "f", DURABLE, &file, NULL));
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    struct rlimit limited = before;
    limited.rlim_cur = BLOCK_BYTES;
    CHECK(setrlimit(RLIMIT_FSIZE, &limited) == 0);
    aur_error_clear(&error);
    CHECK_STATUS(aur_file_write(file, BLOCK_BYTES, block, BLOCK_BYTES, &error), AUR_ERR_FULL);
    CHECK_EQ_I64(error.system_errno, EFBIG);
    CHECK_STATUS(aur_disk_create(disk, "g", 3 * BLOCK_BYTES + 1, NULL), AUR_ERR_FULL);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_STATUS(aur_file_write(file, 0, block, BLOCK_BYTES, &error), AUR_ERR_FULL);
    aur_file_close(file);
    CHECK_STATUS(aur_disk_open_file(disk, "g", AUR_FILE_READ, &file, NULL), AUR_NOT_FOUND);
    free(block);
    aur_disk_close(disk);
}

TEST(removal_and_truncation_behind_our_back_are_noticed) {
    char path[700];
    aur_file *cut = NULL;
    aur_file *removed = NULL;
    aur_disk *disk = open_disk("behind");
    CHECK_OK(aur_disk_create(disk, "cut", 2 * BLOCK_BYTES, NULL));
    CHECK_OK(aur_disk_create(disk, "removed", 2 * BLOCK_BYTES, NULL));
    CHECK_OK(aur_disk_open_file(disk, "cut", DURABLE, &cut, NULL));
    CHECK_OK(aur_disk_open_file(disk, "removed", DURABLE, &removed, NULL));
    CHECK_OK(aur_file_check(cut, 2 * BLOCK_BYTES, NULL));
    CHECK_OK(aur_file_check(removed, 2 * BLOCK_BYTES, NULL));
    path_in(disk, "cut", path, sizeof path);
    CHECK(truncate(path, BLOCK_BYTES) == 0);
    path_in(disk, "removed", path, sizeof path);
    CHECK(unlink(path) == 0);
    CHECK_STATUS(aur_file_check(cut, 2 * BLOCK_BYTES, NULL), AUR_ERR_IO);
    CHECK_OK(aur_file_check(cut, BLOCK_BYTES, NULL));
    CHECK_STATUS(aur_file_check(removed, 0, NULL), AUR_ERR_IO);
    aur_file_close(cut);
    aur_file_close(removed);
    aur_disk_close(disk);
}

static uint64_t flush_device_of(aur_disk *disk, const char *name) {
    aur_file *file = NULL;
    CHECK_OK(aur_disk_open_file(disk, name, DURABLE, &file, NULL));
    const uint64_t device = aur_file_flush_device(file);
    aur_file_close(file);
    return device;
}

/* What `cp --sparse`, a restore, or somebody's fallocate may make of a file that was written. */
TEST(only_what_is_written_throughout_may_share_a_flush) {
    char path[600];
    aur_disk *disk = open_disk("flush");
    CHECK_OK(aur_disk_create(disk, "written", 8 * BLOCK_BYTES, NULL));
    if (flush_device_of(disk, "written") == 0) {
        printf("  this file system or kernel shares no flush at all\n");
    }
    CHECK_OK(aur_disk_create(disk, "holes", 8 * BLOCK_BYTES, NULL));
    path_in(disk, "holes", path, sizeof path);
    CHECK(truncate(path, 4 * BLOCK_BYTES) == 0 && truncate(path, 8 * BLOCK_BYTES) == 0);
    CHECK_EQ_U64(flush_device_of(disk, "holes"), 0);
    CHECK_OK(aur_disk_create(disk, "allocated", 0, NULL));
    CHECK_EQ_U64(flush_device_of(disk, "allocated"), 0);
    path_in(disk, "allocated", path, sizeof path);
    const int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && posix_fallocate(fd, 0, 8 * BLOCK_BYTES) == 0);
    CHECK(close(fd) == 0);
    CHECK_EQ_U64(flush_device_of(disk, "allocated"), 0);
    aur_disk_close(disk);
}

/* A reserved file reads as zeros, and shares a flush no sooner than all of it was written. */
TEST(a_reserved_file_is_as_good_as_a_written_one_once_it_is_written) {
    aur_disk *disk = open_disk("reserved");
    aur_file *file = NULL;
    uint64_t size_bytes = 0;
    size_t count = 0;
    uint8_t *zeros = filled_block(0);
    uint8_t *block = filled_block(7);
    CHECK_OK(aur_disk_create(disk, "written", 8 * BLOCK_BYTES, NULL));
    CHECK_OK(aur_disk_reserve(disk, "f", 8 * BLOCK_BYTES, NULL));
    CHECK_OK(aur_disk_open_file(disk, "f", DURABLE, &file, NULL));
    CHECK_OK(aur_file_size(file, &size_bytes, NULL));
    CHECK_EQ_U64(size_bytes, 8 * BLOCK_BYTES);
    for (uint64_t at = 0; at < 8; at++) {
        CHECK_OK(aur_file_read(file, at * BLOCK_BYTES, block, BLOCK_BYTES, &count, NULL));
        CHECK_EQ_MEM(block, zeros, BLOCK_BYTES);
    }
    for (uint64_t at = 8; at-- > 0;) {
        CHECK_EQ_U64(flush_device_of(disk, "f"), 0);
        memset(block, (int)at + 1, BLOCK_BYTES);
        CHECK_OK(aur_file_write(file, at * BLOCK_BYTES, block, BLOCK_BYTES, NULL));
    }
    CHECK_EQ_U64(flush_device_of(disk, "f"), flush_device_of(disk, "written"));
    aur_file_close(file);
    free(zeros);
    free(block);
    aur_disk_close(disk);
}

TEST(descriptors_are_closed_on_exec_and_only_writers_have_one) {
    aur_file *file = NULL;
    aur_disk *disk = open_disk("descriptor");
    CHECK_OK(aur_disk_create(disk, "f", BLOCK_BYTES, NULL));
    CHECK_OK(aur_disk_open_file(disk, "f", AUR_FILE_READ, &file, NULL));
    CHECK(aur_file_descriptor(file) == -1);
    aur_file_close(file);
    CHECK_OK(aur_disk_open_file(disk, "f", DURABLE, &file, NULL));
    const int descriptor = aur_file_descriptor(file);
    CHECK((fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
    /* Writes sync themselves, or a flush of the device is all that they need. */
    CHECK(((fcntl(descriptor, F_GETFL) & O_DSYNC) == 0) == (aur_file_flush_device(file) != 0));
    aur_file_close(file);
    aur_disk_close(disk);
}

/* A file system in memory may refuse O_DIRECT, at open or at the first write: nobody above may
 * notice. */
TEST(a_file_system_without_direct_writes_works_too) {
    char path[] = "/dev/shm/aurora-test-XXXXXX";
    if (mkdtemp(path) == NULL) {
        printf("  skipped: no /dev/shm to write to\n");
        return;
    }
    aur_disk *disk = NULL;
    aur_file *file = NULL;
    uint8_t *block = filled_block(5);
    uint8_t bytes[3] = {0};
    size_t count = 0;
    CHECK_OK(aur_disk_open_posix(path, false, &disk, NULL));
    CHECK_OK(aur_disk_create(disk, "f", 2 * BLOCK_BYTES + 7, NULL));
    CHECK_OK(aur_disk_open_file(disk, "f", DURABLE, &file, NULL));
    CHECK_OK(aur_file_write(file, BLOCK_BYTES, block, BLOCK_BYTES, NULL));
    CHECK_OK(aur_file_read(file, BLOCK_BYTES - 1, bytes, 3, &count, NULL));
    CHECK_EQ_MEM(bytes, "\0\5\5", 3);
    CHECK_OK(aur_file_check(file, 2 * BLOCK_BYTES + 7, NULL));
    aur_file_close(file);
    CHECK_OK(aur_disk_remove(disk, "f", NULL));
    aur_disk_close(disk);
    CHECK(rmdir(path) == 0);
    free(block);
}

/* One thread's work: its own file, names that all threads fight for, and reads of a file that
 * another one writes. */
typedef struct worker {
    aur_disk *disk;
    aur_file *shared;
    unsigned number;
    bool writes_shared;
} worker;

static void *work(void *context) {
    const worker *self = context;
    char own[16];
    char content[BLOCK_BYTES];
    aur_file *file = NULL;
    size_t count = 0;
    uint8_t *block = filled_block((int)self->number);
    snprintf(own, sizeof own, "own %u", self->number);
    CHECK_OK(aur_disk_open_file(self->disk, own, WRITE, &file, NULL));
    for (unsigned round = 0; round < THREAD_ROUNDS; round++) {
        unsigned files = 0;
        aur_file *contested = NULL;
        CHECK_OK(aur_file_write(file, round * 100, block, 100, NULL));
        if (self->writes_shared)
            CHECK_OK(aur_file_write(self->shared, 0, block, BLOCK_BYTES, NULL));
        CHECK_OK(aur_file_read(self->shared, 0, content, sizeof content, &count, NULL));
        CHECK_EQ_U64(count, BLOCK_BYTES);
        if (round % 10 == self->number) {
            CHECK_OK(aur_disk_list(self->disk, count_file, &files, NULL));
            CHECK(files >= 2);
            CHECK_OK(aur_disk_create(self->disk, own + 1, round, NULL));
            CHECK_OK(aur_disk_open_file(self->disk, "shared", AUR_FILE_READ, &contested, NULL));
            aur_file_close(contested);
        }
    }
    CHECK_OK(aur_file_sync(file, NULL));
    aur_file_close(file);
    CHECK_OK(aur_disk_remove(self->disk, own, NULL));
    free(block);
    return NULL;
}

static void work_in_threads(aur_disk *disk) {
    pthread_t threads[THREAD_COUNT];
    worker workers[THREAD_COUNT];
    aur_file *shared = NULL;
    CHECK_OK(aur_disk_create(disk, "shared", BLOCK_BYTES, NULL));
    CHECK_OK(aur_disk_open_file(disk, "shared", DURABLE, &shared, NULL));
    for (unsigned at = 0; at < THREAD_COUNT; at++) {
        workers[at] = (worker){disk, shared, at, at == 0};
        CHECK(pthread_create(&threads[at], NULL, work, &workers[at]) == 0);
    }
    for (unsigned at = 0; at < THREAD_COUNT; at++)
        CHECK(pthread_join(threads[at], NULL) == 0);
    aur_file_close(shared);
    aur_disk_close(disk);
}

TEST(threads_share_a_posix_disk) { work_in_threads(open_disk("threads")); }

TEST(threads_share_a_memory_disk) {
    aur_disk *disk = NULL;
    CHECK_OK(aur_disk_open_memory(&disk));
    work_in_threads(disk);
}
