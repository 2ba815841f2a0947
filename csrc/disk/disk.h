/*
 * The only door to the operating system's files. A disk is one directory; a file is reached through
 * a handle.
 *
 * Implementations: POSIX (disk_posix.c; O_DIRECT and O_DSYNC where the file system has them), in
 * memory (disk_memory.c), and a faulty wrapper around either (disk_faulty.c) that can tear, lose,
 * misdirect and flip, return EIO or ENOSPC, and crash. io_uring (ring_uring.c) is not another disk
 * but another way to carry the durable writes of POSIX files: see ring.h.
 *
 * Thread rule: a disk and different files may be used from several threads at once; one file by one
 * writer and any number of readers at a time. Every name is relative to the disk's directory,
 * of 1 to AUR_FILE_NAME_BYTES_MAX bytes without '/', and does not end in ".replacing", which
 * aur_disk_replace keeps for its temporary file; others are AUR_ERR_INVALID.
 */
#ifndef AUR_DISK_DISK_H
#define AUR_DISK_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct aur_disk aur_disk;
typedef struct aur_file aur_file;

enum { AUR_DISK_BLOCK_BYTES = 4096, AUR_FILE_NAME_BYTES_MAX = 64 };

enum aur_file_mode {
    AUR_FILE_READ = 1,  /* buffered reads only */
    AUR_FILE_WRITE = 2, /* buffered writes; durable after aur_file_sync */
    /* Every write is on disk when it returns; offset, length and buffer are block-aligned. */
    AUR_FILE_DURABLE = 4,
    /* With WRITE: nobody reads it soon. What is block-aligned in file and memory stays out of the
     * system's cache, where that can be. */
    AUR_FILE_UNCACHED = 8,
};

/* Opens the directory `path` (created with its parents when `create`). AUR_NOT_FOUND when it is not
 * there. */
AUR_API aur_status aur_disk_open_posix(const char *path, bool create, aur_disk **disk_out,
                                       aur_error *error) AUR_CHECKED;

/* A new empty disk in memory. */
AUR_API aur_status aur_disk_open_memory(aur_disk **disk_out) AUR_CHECKED;

/* One more owner of the handle, who closes it too. Lets a disk outlive the segment that owns it, so
 * that a simulator can crash the segment and open the same medium again. Returns `disk`. */
AUR_API aur_disk *aur_disk_acquire(aur_disk *disk);

/* Gives up one owner's part; the last one frees the handle. Files opened from it must be closed
 * before. NULL is ignored. */
AUR_API void aur_disk_close(aur_disk *disk);

/* Creates `name` with `size_bytes` written zeros (so that later durable writes change no metadata),
 * durable together with its directory entry. Replaces an existing file. */
aur_status aur_disk_create(aur_disk *disk, const char *name, uint64_t size_bytes,
                           aur_error *error) AUR_CHECKED;

/* The same with blocks that are reserved but not written, where the file system can do that: quick,
 * and each durable write then changes metadata until the whole file is written. */
aur_status aur_disk_reserve(aur_disk *disk, const char *name, uint64_t size_bytes,
                            aur_error *error) AUR_CHECKED;

/* Opens an existing file. mode is READ, WRITE|READ (|UNCACHED) or DURABLE|READ. AUR_NOT_FOUND when
 * there is none. WRITE creates the file empty when it is not there. */
aur_status aur_disk_open_file(aur_disk *disk, const char *name, unsigned mode, aur_file **file_out,
                              aur_error *error) AUR_CHECKED;

/* Replaces the content of `name` as one atomic, durable step: after a crash it is the old content
 * or the new. */
AUR_API aur_status aur_disk_replace(aur_disk *disk, const char *name, const void *bytes,
                                    size_t length, aur_error *error) AUR_CHECKED;

/* Renames (over an existing file too), removes (both AUR_NOT_FOUND when there is none); durable
 * when they return. Whoever has the removed or replaced file open keeps it, and learns of it from
 * aur_file_check. */
aur_status aur_disk_rename(aur_disk *disk, const char *from, const char *to,
                           aur_error *error) AUR_CHECKED;
AUR_API aur_status aur_disk_remove(aur_disk *disk, const char *name, aur_error *error) AUR_CHECKED;

/* Gives a file of `from` a second name on `to`, which must not be in use there; durable when the
 * directory of `to` is synced. Both must leave the bytes alone from then on. AUR_WOULD_BLOCK: these
 * disks cannot share a file (another file system, or none with links): copy it. AUR_NOT_FOUND. */
aur_status aur_disk_link(aur_disk *from, const char *name, aur_disk *to, const char *new_name,
                         aur_error *error) AUR_CHECKED;

/* Makes directory entries of files that were written through WRITE handles durable. */
aur_status aur_disk_sync_directory(aur_disk *disk, aur_error *error) AUR_CHECKED;

/* Bytes that may still be written; UINT64_MAX when nobody can tell. Others may take them first. */
uint64_t aur_disk_free_bytes(aur_disk *disk);

/* Calls `visit` for every regular file with a valid name; stops when it returns false. It may use
 * the disk. */
AUR_API aur_status aur_disk_list(aur_disk *disk,
                                 bool (*visit)(void *context, const char *name,
                                               uint64_t size_bytes),
                                 void *context, aur_error *error) AUR_CHECKED;

/* The directory's path, for messages. "memory" for the in-memory disk. */
AUR_API const char *aur_disk_path(const aur_disk *disk);

void aur_file_close(aur_file *file);

/* Reads up to `length` bytes; *read_out < length only at the end of the file. Any alignment. */
aur_status aur_file_read(aur_file *file, uint64_t offset, void *buffer, size_t length,
                         size_t *read_out, aur_error *error) AUR_CHECKED;

/* The range is about to be read: the disk may begin with it, and the caller does not wait. Reads
 * that are announced together are under way together. */
void aur_file_will_read(aur_file *file, uint64_t offset, size_t length);

/* Writes all of it, or fails. After a failure the content of the range is unknown and the caller
 * fails the copy (I10): the handle remembers the first failed write or sync, and fails every later
 * one without trying. AUR_ERR_READ_ONLY in mode READ, AUR_ERR_INVALID when a durable write is not
 * aligned; these two leave the handle as it was. */
aur_status aur_file_write(aur_file *file, uint64_t offset, const void *buffer, size_t length,
                          aur_error *error) AUR_CHECKED;
aur_status aur_file_sync(aur_file *file, aur_error *error) AUR_CHECKED;
aur_status aur_file_size(aur_file *file, uint64_t *size_out, aur_error *error) AUR_CHECKED;

/* Whether the file is still linked in its directory and at least `size_bytes` long: AUR_ERR_IO when
 * somebody removed or truncated it behind our back. One system call. */
aur_status aur_file_check(aur_file *file, uint64_t size_bytes, aur_error *error) AUR_CHECKED;

/* File descriptor of a POSIX file for a ring, or -1. The faulty disk never gives one, so its writes
 * stay visible. */
int aur_file_descriptor(aur_file *file);

/* The device whose flush is all that a write through the descriptor of this DURABLE file owes for
 * being on disk, so that files on it can share one; 0: each write is synced by itself. */
uint64_t aur_file_flush_device(const aur_file *file);
const char *aur_file_name(const aur_file *file);

#endif
