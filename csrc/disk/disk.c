/*
 * The face of all disks: checks arguments, remembers failed handles, and calls the implementation.
 *
 * I10 lives here: the first failed write or sync of a handle is the last one that is tried.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk/disk_private.h"

static bool name_is_valid(const char *name) {
    static const char reserved[] = AURI_DISK_REPLACING;
    const size_t reserved_length = sizeof reserved - 1;
    const size_t length = strnlen(name, AUR_FILE_NAME_BYTES_MAX + 1);
    if (length == 0 || length > AUR_FILE_NAME_BYTES_MAX || strchr(name, '/') != NULL) {
        return false;
    }
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return false;
    }
    return length < reserved_length || strcmp(name + length - reserved_length, reserved) != 0;
}

static aur_status check_name(const aur_disk *disk, const char *name, aur_error *error) {
    if (!name_is_valid(name)) {
        return aur_fail(error, AUR_ERR_INVALID, "\"%.80s\" is not a name for a file in %.120s",
                        name, disk->path);
    }
    return AUR_OK;
}

/* A file offset is signed in every operating system's interface. */
static bool range_is_valid(uint64_t offset, uint64_t length) {
    return offset <= INT64_MAX && length <= INT64_MAX - offset;
}

bool auri_disk_init(aur_disk *disk, const auri_disk_operations *operations, const char *path) {
    disk->operations = operations;
    disk->path = strdup(path);
    atomic_init(&disk->owners, 1);
    return disk->path != NULL;
}

void auri_disk_clear(aur_disk *disk) {
    free(disk->path);
    disk->path = NULL;
}

void auri_file_init(aur_file *file, const auri_file_operations *operations, const aur_disk *disk,
                    const char *name, unsigned mode) {
    file->operations = operations;
    file->disk = disk;
    file->mode = mode;
    file->flush_device = 0;
    atomic_init(&file->failed, AUR_OK);
    (void)snprintf(file->name, sizeof file->name, "%s", name);
}

aur_status auri_disk_fail(const aur_disk *disk, const char *name, int system_errno,
                          const char *operation, aur_error *error) {
    char place[AUR_ERROR_TEXT_BYTES];
    (void)snprintf(place, sizeof place, "%s%s%s", disk->path, name == NULL ? "" : "/",
                   name == NULL ? "" : name);
    return aur_fail_errno(error, system_errno, place, operation);
}

aur_status auri_file_fail(const aur_file *file, uint64_t offset, int system_errno,
                          const char *operation, aur_error *error) {
    if (error != NULL) {
        error->offset = offset;
    }
    return auri_disk_fail(file->disk, file->name, system_errno, operation, error);
}

aur_status auri_file_judge(const aur_file *file, bool linked, uint64_t actual_bytes,
                           uint64_t expected_bytes, aur_error *error) {
    if (!linked) {
        return aur_fail(error, AUR_ERR_IO, "%s was removed from %.120s while it was in use",
                        file->name, file->disk->path);
    }
    if (actual_bytes < expected_bytes) {
        const aur_status status = aur_fail(
            error, AUR_ERR_IO, "%s in %.80s was cut to %llu bytes while it was in use; it had %llu",
            file->name, file->disk->path, (unsigned long long)actual_bytes,
            (unsigned long long)expected_bytes);
        if (error != NULL) {
            error->system_errno = EIO; /* unlike a file that is away, it does not come back whole */
        }
        return status;
    }
    return AUR_OK;
}

aur_status auri_file_writable(const aur_file *file, aur_error *error) {
    if ((file->mode & (AUR_FILE_WRITE | AUR_FILE_DURABLE)) == 0) {
        return aur_fail(error, AUR_ERR_READ_ONLY, "%s is open for reading only", file->name);
    }
    const aur_status failed = (aur_status)atomic_load_explicit(&file->failed, memory_order_relaxed);
    if (failed != AUR_OK) {
        return aur_fail(error, failed, "%s in %.100s failed before (%s) and is not tried again",
                        file->name, file->disk->path, aur_status_text(failed));
    }
    return AUR_OK;
}

aur_status auri_file_accepts(const aur_file *file, uint64_t offset, const void *buffer,
                             size_t length, aur_error *error) {
    if (!range_is_valid(offset, length)) {
        return aur_fail(error, AUR_ERR_INVALID, "%s: a write ends beyond the largest file offset",
                        file->name);
    }
    const uint64_t bits = offset | length | (uint64_t)(uintptr_t)buffer;
    if ((file->mode & AUR_FILE_DURABLE) != 0 && bits % AUR_DISK_BLOCK_BYTES != 0) {
        return aur_fail(error, AUR_ERR_INVALID,
                        "%s: a durable write must be aligned to %d bytes in file and memory",
                        file->name, AUR_DISK_BLOCK_BYTES);
    }
    return AUR_OK;
}

void auri_file_set_failed(aur_file *file, aur_status status) {
    int expected = AUR_OK;
    (void)atomic_compare_exchange_strong(&file->failed, &expected, (int)status);
}

aur_disk *aur_disk_acquire(aur_disk *disk) {
    (void)atomic_fetch_add_explicit(&disk->owners, 1, memory_order_relaxed);
    return disk;
}

void aur_disk_close(aur_disk *disk) {
    if (disk != NULL && atomic_fetch_sub_explicit(&disk->owners, 1, memory_order_acq_rel) == 1) {
        disk->operations->close(disk);
    }
}

static aur_status check_new(const aur_disk *disk, const char *name, uint64_t size_bytes,
                            aur_error *error) {
    const aur_status status = check_name(disk, name, error);
    if (status == AUR_OK && !range_is_valid(0, size_bytes)) {
        return aur_fail(error, AUR_ERR_INVALID, "%s: no file can have %llu bytes", name,
                        (unsigned long long)size_bytes);
    }
    return status;
}

aur_status aur_disk_create(aur_disk *disk, const char *name, uint64_t size_bytes,
                           aur_error *error) {
    const aur_status status = check_new(disk, name, size_bytes, error);
    return status == AUR_OK ? disk->operations->create(disk, name, size_bytes, error) : status;
}

aur_status aur_disk_reserve(aur_disk *disk, const char *name, uint64_t size_bytes,
                            aur_error *error) {
    const aur_status status = check_new(disk, name, size_bytes, error);
    if (status != AUR_OK) {
        return status;
    }
    return disk->operations->reserve != NULL
               ? disk->operations->reserve(disk, name, size_bytes, error)
               : disk->operations->create(disk, name, size_bytes, error);
}

aur_status aur_disk_open_file(aur_disk *disk, const char *name, unsigned mode, aur_file **file_out,
                              aur_error *error) {
    const aur_status status = check_name(disk, name, error);
    if (status != AUR_OK) {
        return status;
    }
    if (mode != AUR_FILE_READ && mode != (AUR_FILE_READ | AUR_FILE_WRITE) &&
        mode != (AUR_FILE_READ | AUR_FILE_WRITE | AUR_FILE_UNCACHED) &&
        mode != (AUR_FILE_READ | AUR_FILE_DURABLE)) {
        return aur_fail(error, AUR_ERR_INVALID, "%s: %u is not a mode to open a file in", name,
                        mode);
    }
    return disk->operations->open_file(disk, name, mode, file_out, error);
}

aur_status aur_disk_replace(aur_disk *disk, const char *name, const void *bytes, size_t length,
                            aur_error *error) {
    const aur_status status = check_name(disk, name, error);
    return status != AUR_OK ? status : disk->operations->replace(disk, name, bytes, length, error);
}

aur_status aur_disk_rename(aur_disk *disk, const char *from, const char *to, aur_error *error) {
    aur_status status = check_name(disk, from, error);
    if (status == AUR_OK) {
        status = check_name(disk, to, error);
    }
    return status != AUR_OK ? status : disk->operations->rename(disk, from, to, error);
}

aur_status aur_disk_link(aur_disk *from, const char *name, aur_disk *to, const char *new_name,
                         aur_error *error) {
    aur_status status = check_name(from, name, error);
    if (status == AUR_OK) {
        status = check_name(to, new_name, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    if (from->operations != to->operations || from->operations->link == NULL) {
        return AUR_WOULD_BLOCK;
    }
    return from->operations->link(from, name, to, new_name, error);
}

aur_status aur_disk_remove(aur_disk *disk, const char *name, aur_error *error) {
    const aur_status status = check_name(disk, name, error);
    return status != AUR_OK ? status : disk->operations->remove(disk, name, error);
}

aur_status aur_disk_sync_directory(aur_disk *disk, aur_error *error) {
    return disk->operations->sync_directory(disk, error);
}

/* Shows a caller only the names that it could open. */
typedef struct valid_names {
    auri_disk_visit *visit;
    void *context;
} valid_names;

static bool visit_valid_name(void *context, const char *name, uint64_t size_bytes) {
    const valid_names *names = context;
    return !name_is_valid(name) || names->visit(names->context, name, size_bytes);
}

aur_status aur_disk_list(aur_disk *disk, auri_disk_visit *visit, void *context, aur_error *error) {
    valid_names names = {visit, context};
    return disk->operations->list(disk, visit_valid_name, &names, error);
}

uint64_t aur_disk_free_bytes(aur_disk *disk) { return disk->operations->free_bytes(disk); }

const char *aur_disk_path(const aur_disk *disk) { return disk->path; }

void aur_file_close(aur_file *file) {
    if (file != NULL) {
        file->operations->close(file);
    }
}

aur_status aur_file_read(aur_file *file, uint64_t offset, void *buffer, size_t length,
                         size_t *read_out, aur_error *error) {
    *read_out = 0;
    if (!range_is_valid(offset, length)) {
        return aur_fail(error, AUR_ERR_INVALID, "%s: a read ends beyond the largest file offset",
                        file->name);
    }
    return file->operations->read(file, offset, buffer, length, read_out, error);
}

void aur_file_will_read(aur_file *file, uint64_t offset, size_t length) {
    if (file->operations->will_read != NULL && range_is_valid(offset, length)) {
        file->operations->will_read(file, offset, length);
    }
}

aur_status aur_file_write(aur_file *file, uint64_t offset, const void *buffer, size_t length,
                          aur_error *error) {
    aur_status status = auri_file_writable(file, error);
    if (status == AUR_OK) {
        status = auri_file_accepts(file, offset, buffer, length, error);
    }
    if (status != AUR_OK || length == 0) {
        return status;
    }
    status = file->operations->write(file, offset, buffer, length, error);
    if (status != AUR_OK) {
        auri_file_set_failed(file, status);
    }
    return status;
}

aur_status aur_file_sync(aur_file *file, aur_error *error) {
    aur_status status = auri_file_writable(file, error);
    if (status != AUR_OK) {
        return status;
    }
    status = file->operations->sync(file, error);
    if (status != AUR_OK) {
        auri_file_set_failed(file, status);
    }
    return status;
}

aur_status aur_file_size(aur_file *file, uint64_t *size_out, aur_error *error) {
    return file->operations->size(file, size_out, error);
}

aur_status aur_file_check(aur_file *file, uint64_t size_bytes, aur_error *error) {
    return file->operations->check(file, size_bytes, error);
}

int aur_file_descriptor(aur_file *file) { return file->operations->descriptor(file); }

uint64_t aur_file_flush_device(const aur_file *file) { return file->flush_device; }

const char *aur_file_name(const aur_file *file) { return file->name; }
