/*
 * One file of a POSIX directory.
 *
 * A DURABLE handle has two descriptors: writes go through O_DIRECT | O_DSYNC, so that one system
 * call is one durable write that leaves the page cache alone; reads of any alignment go through a
 * buffered one. Linux keeps both coherent: a direct write drops the cached pages of its range
 * before it returns.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/disk_private.h"

enum { FILE_PERMISSIONS = 0666 }; /* as far as the umask lets them */

typedef struct posix_file {
    aur_file base;
    int read_fd;
    int write_fd; /* read_fd itself in mode WRITE, -1 in mode READ */
} posix_file;

int auri_posix_write(int fd, const void *buffer, size_t length, uint64_t offset) {
    const uint8_t *next = buffer;
    while (length > 0) {
        const ssize_t written = pwrite(fd, next, length, (off_t)offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? errno : ENOSPC;
        }
        next += written;
        offset += (uint64_t)written;
        length -= (size_t)written;
    }
    return 0;
}

static void posix_file_close(aur_file *base) {
    posix_file *file = (posix_file *)base;
    if (file->write_fd >= 0 && file->write_fd != file->read_fd) {
        (void)close(file->write_fd);
    }
    if (file->read_fd >= 0) {
        (void)close(file->read_fd);
    }
    free(file);
}

static aur_status posix_file_read(aur_file *base, uint64_t offset, void *buffer, size_t length,
                                  size_t *read_out, aur_error *error) {
    const posix_file *file = (const posix_file *)base;
    size_t done = 0;
    while (done < length) {
        const ssize_t got =
            pread(file->read_fd, (uint8_t *)buffer + done, length - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return auri_file_fail(base, offset + done, errno, "read", error);
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    *read_out = done;
    return AUR_OK;
}

static aur_status posix_file_write(aur_file *base, uint64_t offset, const void *buffer,
                                   size_t length, aur_error *error) {
    const posix_file *file = (const posix_file *)base;
    const int failure = auri_posix_write(file->write_fd, buffer, length, offset);
    return failure == 0 ? AUR_OK : auri_file_fail(base, offset, failure, "write", error);
}

static aur_status posix_file_sync(aur_file *base, aur_error *error) {
    const posix_file *file = (const posix_file *)base;
    if (fdatasync(file->write_fd) != 0) {
        return auri_file_fail(base, UINT64_MAX, errno, "fdatasync", error);
    }
    return AUR_OK;
}

static aur_status posix_file_size(aur_file *base, uint64_t *size_out, aur_error *error) {
    const posix_file *file = (const posix_file *)base;
    struct stat facts;
    if (fstat(file->read_fd, &facts) != 0) {
        return auri_file_fail(base, UINT64_MAX, errno, "fstat", error);
    }
    *size_out = (uint64_t)facts.st_size;
    return AUR_OK;
}

static aur_status posix_file_check(aur_file *base, uint64_t size_bytes, aur_error *error) {
    const posix_file *file = (const posix_file *)base;
    struct stat facts;
    if (fstat(file->read_fd, &facts) != 0) {
        return auri_file_fail(base, UINT64_MAX, errno, "fstat", error);
    }
    return auri_file_judge(base, facts.st_nlink > 0, (uint64_t)facts.st_size, size_bytes, error);
}

static int posix_file_descriptor(aur_file *base) { return ((const posix_file *)base)->write_fd; }

static const auri_file_operations posix_file_operations = {
    .close = posix_file_close,
    .read = posix_file_read,
    .write = posix_file_write,
    .sync = posix_file_sync,
    .size = posix_file_size,
    .check = posix_file_check,
    .descriptor = posix_file_descriptor,
};

/* Some file systems take O_DIRECT at open and refuse it at the first transfer: one read tells. */
static bool direct_works(int fd) {
    void *block = aligned_alloc(AUR_DISK_BLOCK_BYTES, AUR_DISK_BLOCK_BYTES);
    if (block == NULL) {
        return false;
    }
    const bool works = pread(fd, block, AUR_DISK_BLOCK_BYTES, 0) >= 0;
    free(block);
    return works;
}

/* Opens for durable writes, direct where the file system lets us; -1 with errno otherwise. */
static int open_durable(int directory_fd, const char *name) {
    const int flags = O_RDWR | O_DSYNC | O_CLOEXEC;
    int fd = openat(directory_fd, name, flags | O_DIRECT);
    if (fd >= 0 && !direct_works(fd)) {
        (void)close(fd);
        fd = openat(directory_fd, name, flags);
    } else if (fd < 0 && errno == EINVAL) {
        fd = openat(directory_fd, name, flags);
    }
    return fd;
}

/* Opens the descriptors that `mode` needs; 0 or the errno. What was opened is in `file` either way.
 */
static int open_descriptors(posix_file *file, int directory_fd, const char *name, unsigned mode) {
    if ((mode & AUR_FILE_WRITE) != 0) {
        file->read_fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, FILE_PERMISSIONS);
        file->write_fd = file->read_fd;
        return file->read_fd < 0 ? errno : 0;
    }
    file->read_fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
    if (file->read_fd < 0) {
        return errno;
    }
    if ((mode & AUR_FILE_DURABLE) != 0) {
        file->write_fd = open_durable(directory_fd, name);
        return file->write_fd < 0 ? errno : 0;
    }
    return 0;
}

aur_status auri_posix_open_file(const aur_disk *disk, int directory_fd, const char *name,
                                unsigned mode, aur_file **file_out, aur_error *error) {
    posix_file *file = malloc(sizeof *file);
    if (file == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to open %s", name);
    }
    auri_file_init(&file->base, &posix_file_operations, disk, name, mode);
    file->read_fd = -1;
    file->write_fd = -1;
    const int failure = open_descriptors(file, directory_fd, name, mode);
    if (failure != 0) {
        posix_file_close(&file->base);
        return failure == ENOENT ? AUR_NOT_FOUND
                                 : auri_disk_fail(disk, name, failure, "open", error);
    }
    *file_out = &file->base;
    return AUR_OK;
}
