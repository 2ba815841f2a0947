/*
 * Whether one flush of the device makes a finished direct write of a file durable.
 *
 * A direct write into blocks that the file has already, and whose place its file system has already
 * recorded, leaves nothing behind but data in the device's write cache. Then it does not matter
 * through which file that cache is flushed, and files on one device can share a flush. All of it is
 * looked at when a file is opened, and whatever is not known for sure means no: another file system
 * than ext4 (some write elsewhere than they were told, some skip the flush when the flushed file
 * itself is clean), data that passes the page cache or the processor's caches, holes, blocks that
 * were never written, and blocks that are shared. docs/decisions/0008 argues it.
 */
#include <stddef.h>

#include "disk/disk_private.h"

#ifdef __linux__

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#endif

/* Kernels before 6.1 do not say whether a direct write is one. */
#if defined(__linux__) && defined(STATX_DIOALIGN) && defined(SYS_statx)

enum { EXT4_MAGIC = 0xEF53, EXTENTS_AT_ONCE = 64 };

static const uint32_t unsure_extent =
    FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |
    FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE |
    FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_SHARED;

static bool is_ext4(int fd) {
    struct statfs facts;
    return fstatfs(fd, &facts) == 0 && facts.f_type == EXT4_MAGIC;
}

/* A descriptor that was opened O_DIRECT may still write through the page cache (data=journal) or
 * the processor's caches (DAX). */
static bool writes_directly(int fd, struct statx *facts_out) {
    const unsigned wanted = STATX_BASIC_STATS | STATX_DIOALIGN;
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, wanted, facts_out) != 0) {
        return false;
    }
    const uint64_t unsure = STATX_ATTR_COMPRESSED | STATX_ATTR_ENCRYPTED | STATX_ATTR_DAX;
    return (facts_out->stx_mask & STATX_DIOALIGN) != 0 && facts_out->stx_dio_mem_align > 0 &&
           facts_out->stx_dio_offset_align > 0 &&
           facts_out->stx_dio_mem_align <= AUR_DISK_BLOCK_BYTES &&
           facts_out->stx_dio_offset_align <= AUR_DISK_BLOCK_BYTES &&
           (facts_out->stx_attributes & unsure) == 0;
}

/* The part of the file from `offset` on that is known to be written, in one look; *end_out is where
 * it ends. False: there is a hole or a doubt. */
static bool look_at_extents(int fd, uint64_t offset, uint64_t *end_out) {
    union {
        struct fiemap map;
        uint8_t room[sizeof(struct fiemap) + EXTENTS_AT_ONCE * sizeof(struct fiemap_extent)];
    } look;
    memset(&look, 0, sizeof look);
    look.map.fm_start = offset;
    look.map.fm_length = FIEMAP_MAX_OFFSET - offset;
    look.map.fm_flags = FIEMAP_FLAG_SYNC;
    look.map.fm_extent_count = EXTENTS_AT_ONCE;
    if (ioctl(fd, FS_IOC_FIEMAP, &look.map) != 0 || look.map.fm_mapped_extents == 0) {
        return false;
    }
    for (uint32_t at = 0; at < look.map.fm_mapped_extents; at++) {
        struct fiemap_extent extent;
        memcpy(&extent, look.room + sizeof(struct fiemap) + at * sizeof extent, sizeof extent);
        if (extent.fe_logical > offset || (extent.fe_flags & unsure_extent) != 0) {
            return false;
        }
        offset = extent.fe_logical + extent.fe_length;
    }
    *end_out = offset;
    return true;
}

static bool is_written_throughout(int fd, uint64_t size_bytes) {
    uint64_t end = 0;
    while (end < size_bytes) {
        if (!look_at_extents(fd, end, &end)) {
            return false;
        }
    }
    return size_bytes > 0;
}

uint64_t auri_posix_flush_device(int fd) {
    struct statx facts;
    memset(&facts, 0, sizeof facts);
    if (!is_ext4(fd) || !writes_directly(fd, &facts) ||
        !is_written_throughout(fd, facts.stx_size) || fdatasync(fd) != 0) {
        return 0;
    }
    return (uint64_t)facts.stx_dev_major << 32 | facts.stx_dev_minor;
}

#else

uint64_t auri_posix_flush_device(int fd) {
    (void)fd;
    return 0;
}

#endif
