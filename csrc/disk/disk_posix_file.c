/*
 * One file of a POSIX directory.
 *
 * A DURABLE handle has two descriptors: writes go through O_DIRECT, so that they leave the page
 * cache alone; reads of any alignment go through a buffered one. Linux keeps both coherent: a
 * direct write drops the cached pages of its range before it returns. Where a flush of the device
 * is all that a write owes, each write asks for it, so that a ring can leave it out and flush once
 * for many; elsewhere O_DSYNC asks for all of them.
 *
 * An UNCACHED handle has a direct descriptor too, for what is aligned, and is synced like WRITE.
 */
#include <errno.h>
#include <fcntl.h>
#ifdef __linux__
#include <linux/fs.h> /* RWF_DSYNC */
#include <linux/stat.h>
#endif
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "disk/disk_private.h"

enum {
    FILE_PERMISSIONS = 0666, /* as far as the umask lets them */
    PIECE_BYTES = 512 << 10,
};

typedef struct posix_file {
    aur_file base;
    int read_fd;
    int write_fd;  /* read_fd itself in mode WRITE, -1 in mode READ */
    int direct_fd; /* in mode UNCACHED where that can be, else -1 */
    /* In mode WRITE, for who writes: where the last write ended, and up to where the disk has been
     * told to begin. */
    uint64_t written_to;
    uint64_t begun_to;
} posix_file;

/* One write that is synced before it returns, although the descriptor does not ask for it. */
static ssize_t write_synced(int fd, const void *buffer, size_t length, off_t offset) {
#ifdef RWF_DSYNC
    const struct iovec part = {.iov_base = (void *)(uintptr_t)buffer, .iov_len = length};
    return syscall(SYS_pwritev2, fd, &part, 1, (long)offset, (long)(offset >> 32), RWF_DSYNC);
#else
    const ssize_t written = pwrite(fd, buffer, length, offset);
    return written > 0 && fdatasync(fd) != 0 ? -1 : written;
#endif
}

/* Writes all of it, through interruptions and short writes; returns 0 or the errno. */
static int write_all(int fd, const void *buffer, size_t length, uint64_t offset,
                     ssize_t (*write_some)(int fd, const void *buffer, size_t length,
                                           off_t offset)) {
    const uint8_t *next = buffer;
    while (length > 0) {
        const ssize_t written = write_some(fd, next, length, (off_t)offset);
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

int auri_posix_write(int fd, const void *buffer, size_t length, uint64_t offset) {
    return write_all(fd, buffer, length, offset, pwrite);
}

static void posix_file_close(aur_file *base) {
    posix_file *file = (posix_file *)base;
    if (file->write_fd >= 0 && file->write_fd != file->read_fd) {
        (void)close(file->write_fd);
    }
    if (file->direct_fd >= 0) {
        (void)close(file->direct_fd);
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

/* Advice, so what becomes of it does not matter. */
static void posix_file_will_read(aur_file *base, uint64_t offset, size_t length) {
#ifdef POSIX_FADV_WILLNEED
    const posix_file *file = (const posix_file *)base;
    (void)posix_fadvise(file->read_fd, (off_t)offset, (off_t)length, POSIX_FADV_WILLNEED);
#else
    (void)base;
    (void)offset;
    (void)length;
#endif
}

/* Begins to write a piece, once the one before it is written. 0 or the errno. */
static int write_piece(const posix_file *file, uint64_t piece) {
#ifdef SYNC_FILE_RANGE_WRITE
    const int fd = file->write_fd;
    if ((piece >= PIECE_BYTES && sync_file_range(fd, (off_t)(piece - PIECE_BYTES), PIECE_BYTES,
                                                 SYNC_FILE_RANGE_WAIT_BEFORE) != 0) ||
        sync_file_range(fd, (off_t)piece, PIECE_BYTES, SYNC_FILE_RANGE_WRITE) != 0) {
        /* Only what says that data is lost counts: each failure is told once, so not at the sync
         * any more. */
        return errno == EIO || errno == ENOSPC || errno == EDQUOT ? errno : 0;
    }
#else
    (void)file;
    (void)piece;
#endif
    return 0;
}

/* What goes through the page cache is written piece by piece behind the writer. All of it at once,
 * when it is synced, would keep the disk from everybody's commits for as long as that takes. 0 or
 * the errno. */
static int write_behind(posix_file *file, uint64_t offset, size_t length) {
    int failure = 0;
    if (offset != file->written_to) {
        file->begun_to = offset;
    }
    file->written_to = offset + length;
    while (failure == 0 && file->written_to - file->begun_to >= PIECE_BYTES) {
        failure = write_piece(file, file->begun_to);
        file->begun_to += PIECE_BYTES;
    }
    return failure;
}

static int write_cached(posix_file *file, const uint8_t *buffer, size_t length, uint64_t offset) {
    const int failure = write_all(file->write_fd, buffer, length, offset, pwrite);
    return failure == 0 ? write_behind(file, offset, length) : failure;
}

/* The whole blocks around the cache, and what is left through it. */
static int write_uncached(posix_file *file, const uint8_t *buffer, size_t length, uint64_t offset) {
    const bool is_aligned = (offset | (uintptr_t)buffer) % AUR_DISK_BLOCK_BYTES == 0;
    size_t direct = is_aligned ? length - length % AUR_DISK_BLOCK_BYTES : 0;
    int failure = direct > 0 ? write_all(file->direct_fd, buffer, direct, offset, pwrite) : 0;
    if (failure == EINVAL) {
        direct = 0; /* the file system wants another alignment */
        failure = 0;
    }
    return failure == 0 && direct < length
               ? write_cached(file, buffer + direct, length - direct, offset + direct)
               : failure;
}

static aur_status posix_file_write(aur_file *base, uint64_t offset, const void *buffer,
                                   size_t length, aur_error *error) {
    posix_file *file = (posix_file *)base;
    int failure = 0;
    if (file->direct_fd >= 0) {
        failure = write_uncached(file, buffer, length, offset);
    } else if (file->write_fd == file->read_fd) {
        failure = write_cached(file, buffer, length, offset);
    } else {
        failure = write_all(file->write_fd, buffer, length, offset,
                            base->flush_device != 0 ? write_synced : pwrite);
    }
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

/* Does not ask for times: Linux gives each write a time of its own once the last one was asked for,
 * and would write the inode with every frame. 0 or the errno. */
static int links_and_size(int fd, uint32_t *links_out, uint64_t *size_out) {
#if defined(SYS_statx) && defined(STATX_NLINK)
    struct statx facts;
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_NLINK | STATX_SIZE, &facts) == 0) {
        *links_out = facts.stx_nlink;
        *size_out = facts.stx_size;
        return 0;
    }
    if (errno != ENOSYS) {
        return errno;
    }
#endif
    struct stat old_facts;
    if (fstat(fd, &old_facts) != 0) {
        return errno;
    }
    *links_out = (uint32_t)old_facts.st_nlink;
    *size_out = (uint64_t)old_facts.st_size;
    return 0;
}

static aur_status posix_file_check(aur_file *base, uint64_t size_bytes, aur_error *error) {
    const posix_file *file = (const posix_file *)base;
    uint32_t links = 0;
    uint64_t size = 0;
    const int failure = links_and_size(file->read_fd, &links, &size);
    if (failure != 0) {
        return auri_file_fail(base, UINT64_MAX, failure, "statx", error);
    }
    return auri_file_judge(base, links > 0, size, size_bytes, error);
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
    .will_read = posix_file_will_read,
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

/* Opens for writes that a flush of the device makes durable, and says of which; -1 where that is
 * not all that they need. */
static int open_for_flush(int directory_fd, const char *name, uint64_t *device_out) {
    const int fd = openat(directory_fd, name, O_RDWR | O_DIRECT | O_CLOEXEC);
    *device_out = fd >= 0 && direct_works(fd) ? auri_posix_flush_device(fd) : 0;
    if (fd >= 0 && *device_out == 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
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
        const int failure = file->read_fd < 0 ? errno : 0;
        if (failure == 0 && (mode & AUR_FILE_UNCACHED) != 0) {
            file->direct_fd = openat(directory_fd, name, O_RDWR | O_DIRECT | O_CLOEXEC);
        }
        return failure;
    }
    file->read_fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
    if (file->read_fd < 0) {
        return errno;
    }
    if ((mode & AUR_FILE_DURABLE) != 0) {
        file->write_fd = open_for_flush(directory_fd, name, &file->base.flush_device);
        if (file->write_fd < 0) {
            file->write_fd = open_durable(directory_fd, name);
        }
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
    file->direct_fd = -1;
    file->written_to = 0;
    file->begun_to = 0;
    const int failure = open_descriptors(file, directory_fd, name, mode);
    if (failure != 0) {
        posix_file_close(&file->base);
        return failure == ENOENT ? AUR_NOT_FOUND
                                 : auri_disk_fail(disk, name, failure, "open", error);
    }
    *file_out = &file->base;
    return AUR_OK;
}
