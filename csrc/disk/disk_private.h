/*
 * What the implementations of disk.h share: the two tables of operations, the heads of every disk
 * and file handle, and the helpers that fill errors. disk.c checks arguments and remembers failures
 * (I10) once for all of them, so an operation here may rely on: names are valid; a write goes
 * through a writable handle that has not failed, and a DURABLE one is aligned; offset + length fits
 * into a signed 64-bit file offset.
 */
#ifndef AUR_DISK_PRIVATE_H
#define AUR_DISK_PRIVATE_H

#include <stdatomic.h>

#include "disk/disk.h"

/* Ends the name of the temporary file of aur_disk_replace. No caller may use it, and no listing
 * shows it. */
#define AURI_DISK_REPLACING ".replacing"

typedef bool auri_disk_visit(void *context, const char *name, uint64_t size_bytes);

typedef struct auri_disk_operations {
    void (*close)(aur_disk *disk);
    aur_status (*create)(aur_disk *disk, const char *name, uint64_t size_bytes, aur_error *error);
    /* NULL: create does it. */
    aur_status (*reserve)(aur_disk *disk, const char *name, uint64_t size_bytes, aur_error *error);
    aur_status (*open_file)(aur_disk *disk, const char *name, unsigned mode, aur_file **file_out,
                            aur_error *error);
    aur_status (*replace)(aur_disk *disk, const char *name, const void *bytes, size_t length,
                          aur_error *error);
    aur_status (*rename)(aur_disk *disk, const char *from, const char *to, aur_error *error);
    /* NULL: its files cannot be shared. `to` has the same operations. */
    aur_status (*link)(aur_disk *from, const char *name, aur_disk *to, const char *new_name,
                       aur_error *error);
    aur_status (*remove)(aur_disk *disk, const char *name, aur_error *error);
    aur_status (*sync_directory)(aur_disk *disk, aur_error *error);
    aur_status (*list)(aur_disk *disk, auri_disk_visit *visit, void *context, aur_error *error);
    uint64_t (*free_bytes)(aur_disk *disk);
} auri_disk_operations;

typedef struct auri_file_operations {
    void (*close)(aur_file *file);
    aur_status (*read)(aur_file *file, uint64_t offset, void *buffer, size_t length,
                       size_t *read_out, aur_error *error);
    aur_status (*write)(aur_file *file, uint64_t offset, const void *buffer, size_t length,
                        aur_error *error);
    aur_status (*sync)(aur_file *file, aur_error *error);
    aur_status (*size)(aur_file *file, uint64_t *size_out, aur_error *error);
    aur_status (*check)(aur_file *file, uint64_t size_bytes, aur_error *error);
    int (*descriptor)(aur_file *file);
    /* NULL: nothing is gained by knowing. */
    void (*will_read)(aur_file *file, uint64_t offset, size_t length);
} auri_file_operations;

/* First member of every implementation's disk. */
struct aur_disk {
    const auri_disk_operations *operations;
    atomic_uint owners; /* the last one to close frees the disk */
    char *path;         /* owned */
};

/* First member of every implementation's file. */
struct aur_file {
    const auri_file_operations *operations;
    const aur_disk *disk; /* outlives the file */
    unsigned mode;
    uint64_t flush_device; /* see aur_file_flush_device; 0 unless the implementation sets it */
    atomic_int failed;     /* aur_status of the first failed write or sync; AUR_OK before it */
    char name[AUR_FILE_NAME_BYTES_MAX + 1];
};

/* Fills the head. False when out of memory (the path is copied); free it with auri_disk_clear. */
bool auri_disk_init(aur_disk *disk, const auri_disk_operations *operations, const char *path);
void auri_disk_clear(aur_disk *disk);
void auri_file_init(aur_file *file, const auri_file_operations *operations, const aur_disk *disk,
                    const char *name, unsigned mode);

/* aur_fail_errno with the full path of `name` (NULL: of the directory itself). */
aur_status auri_disk_fail(const aur_disk *disk, const char *name, int system_errno,
                          const char *operation, aur_error *error);

/* The same for a file, with the place of the failure. */
aur_status auri_file_fail(const aur_file *file, uint64_t offset, int system_errno,
                          const char *operation, aur_error *error);

/* AUR_ERR_IO with a message that says what somebody did to the file behind our back. */
aur_status auri_file_judge(const aur_file *file, bool linked, uint64_t actual_bytes,
                           uint64_t expected_bytes, aur_error *error);

/* AUR_OK, or why a write or sync through this handle is refused without trying. */
aur_status auri_file_writable(const aur_file *file, aur_error *error);

/* Whether a write keeps to the rules of its handle: range, and alignment when it is DURABLE. */
aur_status auri_file_accepts(const aur_file *file, uint64_t offset, const void *buffer,
                             size_t length, aur_error *error);

/* Makes every later write and sync through the handle fail (I10). The first failure is the one
 * kept. */
void auri_file_set_failed(aur_file *file, aur_status status);

/* Opens a file under a directory descriptor (disk_posix_file.c). */
aur_status auri_posix_open_file(const aur_disk *disk, int directory_fd, const char *name,
                                unsigned mode, aur_file **file_out, aur_error *error);

/* Writes all bytes at `offset`, through interruptions and short writes; returns 0 or the errno. */
int auri_posix_write(int fd, const void *buffer, size_t length, uint64_t offset);

/* aur_file_flush_device of a file that was opened O_DIRECT and without O_DSYNC
 * (disk_posix_flush.c). */
uint64_t auri_posix_flush_device(int fd);

#endif
