/*
 * A directory of the operating system as a disk. Everything is reached relative to one directory
 * descriptor, so that a path with any bytes works and a directory that is moved while open stays
 * the same disk.
 *
 * Thread rule: nothing here changes after open; the kernel serializes operations on names.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "disk/disk_private.h"

enum {
    DIRECTORY_PERMISSIONS = 0777, /* both as far as the umask lets them */
    FILE_PERMISSIONS = 0666,
    ZERO_CHUNK_BYTES = 1 << 20,
    TEMPORARY_NAME_BYTES = AUR_FILE_NAME_BYTES_MAX + sizeof AURI_DISK_REPLACING,
};

typedef struct posix_disk {
    aur_disk base;
    int directory_fd;
} posix_disk;

static void posix_close(aur_disk *base) {
    posix_disk *disk = (posix_disk *)base;
    if (disk->directory_fd >= 0) {
        (void)close(disk->directory_fd);
    }
    auri_disk_clear(base);
    free(disk);
}

static aur_status posix_sync_directory(aur_disk *base, aur_error *error) {
    const posix_disk *disk = (const posix_disk *)base;
    if (fsync(disk->directory_fd) != 0) {
        return auri_disk_fail(base, NULL, errno, "fsync of the directory", error);
    }
    return AUR_OK;
}

/* Switches to buffered writes, for the last bytes of a file that are no whole block. */
static int drop_direct(int fd) {
    const int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags & ~O_DIRECT) != 0 ? errno : 0;
}

/* Writes real zeros up to `size_bytes`, so that the blocks are allocated and initialized; 0 or the
 * errno. */
static int write_zeros(int fd, uint64_t size_bytes) {
    const uint64_t whole_bytes = size_bytes / AUR_DISK_BLOCK_BYTES * AUR_DISK_BLOCK_BYTES;
    bool direct = true;
    int failure = 0;
    uint64_t offset = 0;
    uint8_t *zeros = aligned_alloc(AUR_DISK_BLOCK_BYTES, ZERO_CHUNK_BYTES);
    if (zeros == NULL) {
        return ENOMEM;
    }
    memset(zeros, 0, ZERO_CHUNK_BYTES);
    while (offset < whole_bytes && failure == 0) {
        const uint64_t left = whole_bytes - offset;
        const size_t length = left < ZERO_CHUNK_BYTES ? (size_t)left : ZERO_CHUNK_BYTES;
        failure = auri_posix_write(fd, zeros, length, offset);
        if (failure == EINVAL && direct) { /* O_DIRECT was accepted at open but does not work */
            direct = false;
            failure = drop_direct(fd);
            continue;
        }
        offset += length;
    }
    if (failure == 0 && whole_bytes < size_bytes) {
        failure = drop_direct(fd);
    }
    if (failure == 0) {
        failure = auri_posix_write(fd, zeros, (size_t)(size_bytes - whole_bytes), whole_bytes);
    }
    free(zeros);
    return failure;
}

/* Blocks for `size_bytes` that read as zeros; 0 or the errno. */
static int reserve_blocks(int fd, uint64_t size_bytes) {
#ifdef __linux__
    if (size_bytes > 0 && fallocate(fd, 0, 0, (off_t)size_bytes) == 0) {
        return 0;
    }
    if (size_bytes > 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
        return errno;
    }
#endif
    return write_zeros(fd, size_bytes);
}

static int open_new(int directory_fd, const char *name) {
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    const int fd = openat(directory_fd, name, flags | O_DIRECT, FILE_PERMISSIONS);
    if (fd >= 0 || errno != EINVAL) {
        return fd;
    }
    /* Linux creates the file before it finds out that O_DIRECT is not possible. */
    (void)unlinkat(directory_fd, name, 0);
    return openat(directory_fd, name, flags, FILE_PERMISSIONS);
}

/* The old file is unlinked, not truncated: whoever has it open keeps it, and learns of it from
 * aur_file_check. */
static aur_status create_filled(aur_disk *base, const char *name, uint64_t size_bytes,
                                int (*fill)(int fd, uint64_t size_bytes), aur_error *error) {
    const posix_disk *disk = (const posix_disk *)base;
    if (unlinkat(disk->directory_fd, name, 0) != 0 && errno != ENOENT) {
        return auri_disk_fail(base, name, errno, "unlink", error);
    }
    const int fd = open_new(disk->directory_fd, name);
    if (fd < 0) {
        return auri_disk_fail(base, name, errno, "create", error);
    }
    int failure = fill(fd, size_bytes);
    if (failure == 0 && fsync(fd) != 0) {
        failure = errno;
    }
    (void)close(fd);
    if (failure != 0) {
        (void)unlinkat(disk->directory_fd, name, 0);
        return auri_disk_fail(base, name, failure, "writing zeros", error);
    }
    return posix_sync_directory(base, error);
}

static aur_status posix_create(aur_disk *base, const char *name, uint64_t size_bytes,
                               aur_error *error) {
    return create_filled(base, name, size_bytes, write_zeros, error);
}

static aur_status posix_reserve(aur_disk *base, const char *name, uint64_t size_bytes,
                                aur_error *error) {
    return create_filled(base, name, size_bytes, reserve_blocks, error);
}

static aur_status posix_open_file(aur_disk *base, const char *name, unsigned mode,
                                  aur_file **file_out, aur_error *error) {
    const posix_disk *disk = (const posix_disk *)base;
    return auri_posix_open_file(base, disk->directory_fd, name, mode, file_out, error);
}

/* Writes and syncs the whole temporary file; 0 or the errno. One that a crash left behind is
 * overwritten. */
static int write_temporary(int directory_fd, const char *name, const void *bytes, size_t length) {
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
    const int fd = openat(directory_fd, name, flags, FILE_PERMISSIONS);
    if (fd < 0) {
        return errno;
    }
    int failure = auri_posix_write(fd, bytes, length, 0);
    if (failure == 0 && fsync(fd) != 0) {
        failure = errno;
    }
    (void)close(fd);
    return failure;
}

static aur_status posix_replace(aur_disk *base, const char *name, const void *bytes, size_t length,
                                aur_error *error) {
    const posix_disk *disk = (const posix_disk *)base;
    char temporary[TEMPORARY_NAME_BYTES];
    (void)snprintf(temporary, sizeof temporary, "%s%s", name, AURI_DISK_REPLACING);
    int failure = write_temporary(disk->directory_fd, temporary, bytes, length);
    if (failure == 0 && renameat(disk->directory_fd, temporary, disk->directory_fd, name) != 0) {
        failure = errno;
    }
    if (failure != 0) {
        (void)unlinkat(disk->directory_fd, temporary, 0);
        return auri_disk_fail(base, name, failure, "replace", error);
    }
    return posix_sync_directory(base, error);
}

/* Where the kernel says that it cannot be done at all, another copy has to be made. */
static aur_status posix_link(aur_disk *base, const char *name, aur_disk *to, const char *new_name,
                             aur_error *error) {
    const posix_disk *from = (const posix_disk *)base;
    const posix_disk *target = (const posix_disk *)to;
    if (linkat(from->directory_fd, name, target->directory_fd, new_name, 0) == 0) {
        return AUR_OK;
    }
    switch (errno) {
    case ENOENT:
        return AUR_NOT_FOUND;
    case EXDEV:
    case EPERM:
    case EMLINK:
    case EOPNOTSUPP:
    case ENOSYS:
        return AUR_WOULD_BLOCK;
    default:
        return auri_disk_fail(to, new_name, errno, "link", error);
    }
}

static aur_status posix_rename(aur_disk *base, const char *from, const char *to, aur_error *error) {
    const posix_disk *disk = (const posix_disk *)base;
    if (renameat(disk->directory_fd, from, disk->directory_fd, to) != 0) {
        return errno == ENOENT ? AUR_NOT_FOUND : auri_disk_fail(base, from, errno, "rename", error);
    }
    return posix_sync_directory(base, error);
}

static aur_status posix_remove(aur_disk *base, const char *name, aur_error *error) {
    const posix_disk *disk = (const posix_disk *)base;
    if (unlinkat(disk->directory_fd, name, 0) != 0) {
        return errno == ENOENT ? AUR_NOT_FOUND : auri_disk_fail(base, name, errno, "unlink", error);
    }
    return posix_sync_directory(base, error);
}

/* Visits the entries of an open directory; 0 or the errno. A file that vanishes meanwhile is not an
 * error. */
static int visit_entries(DIR *directory, auri_disk_visit *visit, void *context) {
    for (;;) {
        struct stat facts;
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            return errno;
        }
        if (fstatat(dirfd(directory), entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT) {
                continue;
            }
            return errno;
        }
        if (S_ISREG(facts.st_mode) && !visit(context, entry->d_name, (uint64_t)facts.st_size)) {
            return 0;
        }
    }
}

static uint64_t posix_free_bytes(aur_disk *base) {
    struct statvfs facts;
    if (fstatvfs(((const posix_disk *)base)->directory_fd, &facts) != 0) {
        return UINT64_MAX;
    }
    return (uint64_t)facts.f_bavail * facts.f_frsize;
}

static aur_status posix_list(aur_disk *base, auri_disk_visit *visit, void *context,
                             aur_error *error) {
    const posix_disk *disk = (const posix_disk *)base;
    /* A descriptor of its own: two listings at the same time must not share one read position. */
    const int fd = openat(disk->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return auri_disk_fail(base, NULL, errno, "open", error);
    }
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        const int failure = errno;
        (void)close(fd);
        return auri_disk_fail(base, NULL, failure, "open", error);
    }
    const int failure = visit_entries(directory, visit, context);
    (void)closedir(directory);
    return failure == 0 ? AUR_OK : auri_disk_fail(base, NULL, failure, "listing", error);
}

static const auri_disk_operations posix_operations = {
    .close = posix_close,
    .create = posix_create,
    .reserve = posix_reserve,
    .open_file = posix_open_file,
    .replace = posix_replace,
    .rename = posix_rename,
    .link = posix_link,
    .remove = posix_remove,
    .sync_directory = posix_sync_directory,
    .list = posix_list,
    .free_bytes = posix_free_bytes,
};

/* Makes the directory `path` and its entry in its parent durable; 0 or the errno. There already is
 * success. */
static int make_directory(const char *path, const char *parent) {
    if (mkdir(path, DIRECTORY_PERMISSIONS) != 0) {
        return errno == EEXIST ? 0 : errno;
    }
    const int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    const int failure = fsync(fd) != 0 ? errno : 0;
    (void)close(fd);
    return failure;
}

/* Makes `path` with all its parents. Existing ones are passed by name only: they need not be
 * readable. */
static int make_directories(const char *path) {
    char *current = strdup(path);
    char *parent = strdup(path);
    int failure = current == NULL || parent == NULL ? ENOMEM : 0;
    for (size_t at = 1; failure == 0 && path[at - 1] != '\0'; at++) {
        if ((path[at] != '/' && path[at] != '\0') || path[at - 1] == '/') {
            continue;
        }
        memcpy(current, path, at);
        current[at] = '\0';
        memcpy(parent, current, at + 1);
        char *slash = strrchr(parent, '/');
        if (slash != NULL) {
            slash[1] = '\0';
        }
        failure = make_directory(current, slash != NULL ? parent : ".");
    }
    free(current);
    free(parent);
    return failure;
}

static int open_directory(const char *path) {
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

aur_status aur_disk_open_posix(const char *path, bool create, aur_disk **disk_out,
                               aur_error *error) {
    aur_status status = AUR_OK;
    int failure = 0;
    if (path[0] == '\0') {
        return aur_fail(error, AUR_ERR_INVALID, "the path of a directory is empty");
    }
    posix_disk *disk = malloc(sizeof *disk);
    if (disk == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to open %.150s", path);
    }
    disk->directory_fd = -1;
    if (!auri_disk_init(&disk->base, &posix_operations, path)) {
        status = aur_fail(error, AUR_ERR_MEMORY, "no memory to open %.150s", path);
        goto done;
    }
    disk->directory_fd = open_directory(path);
    failure = disk->directory_fd < 0 ? errno : 0;
    if (failure == ENOENT && create) {
        failure = make_directories(path);
        if (failure == 0) {
            disk->directory_fd = open_directory(path);
            failure = disk->directory_fd < 0 ? errno : 0;
        }
    } else if (failure == ENOENT) {
        status = AUR_NOT_FOUND;
        goto done;
    }
    if (failure != 0) {
        status = aur_fail_errno(error, failure, path, "opening the directory");
    }
done:
    if (status != AUR_OK) {
        posix_close(&disk->base);
    } else {
        *disk_out = &disk->base;
    }
    return status;
}
