/* Handles of a faulty disk: each write, read and sync draws from the seed whether and how it goes
 * wrong. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/faulty_private.h"

typedef struct faulty_file {
    aur_file base;
    auri_faulty_disk *disk;
    aur_file *inner;       /* owned */
    auri_journal *journal; /* counted in its `handles` */
    uint64_t crashes;      /* of the disk when it was opened */
} faulty_file;

static aur_status fail_io(const faulty_file *file, uint64_t offset, const char *operation,
                          aur_error *error) {
    return auri_file_fail(&file->base, offset, EIO, operation, error);
}

/* AUR_OK, or EIO when the disk is down or has crashed since the handle was opened. */
static aur_status check_alive(const faulty_file *file, aur_error *error) {
    if (file->crashes != file->disk->crashes) {
        return fail_io(file, UINT64_MAX, "use of a handle from before the crash", error);
    }
    return auri_faulty_alive(file->disk, file->base.name, error);
}

static bool is_durable(const faulty_file *file) {
    return (file->base.mode & AUR_FILE_DURABLE) != 0;
}

static aur_status get_size(const faulty_file *file, uint64_t *size_out, aur_error *error) {
    const uint64_t pending_end = auri_faulty_journal_end(file->journal);
    const aur_status status = aur_file_size(file->inner, size_out, error);
    if (status == AUR_OK && pending_end > *size_out) {
        *size_out = pending_end;
    }
    return status;
}

/* Puts bytes where a write through this handle puts them: on the medium, or into the journal. A
 * sink. */
static aur_status store(void *context, uint64_t offset, const void *bytes, size_t length) {
    const faulty_file *file = context;
    if (!is_durable(file)) {
        return auri_faulty_journal_add(file->journal, offset, bytes, length);
    }
    return aur_file_write(file->inner, offset, bytes, length, NULL);
}

static aur_status tear(faulty_file *file, uint64_t offset, const void *bytes, size_t length) {
    return auri_tear(&file->disk->random, offset, bytes, length, store, file);
}

/* A write that gets lost still makes the file longer: its size is the file system's, not the
 * medium's. */
static aur_status extend(faulty_file *file, uint64_t end) {
    static const uint8_t zero = 0;
    uint64_t size_bytes = 0;
    const aur_status status = get_size(file, &size_bytes, NULL);
    return status != AUR_OK || end <= size_bytes ? status
                                                 : store(file, end - 1, &zero, sizeof zero);
}

/* Puts the bytes at another block of the file, cut at its end. A file of one block has none: the
 * write is lost. */
static aur_status misdirect(faulty_file *file, uint64_t offset, const void *bytes, size_t length) {
    uint64_t size_bytes = 0;
    aur_status status = extend(file, offset + length);
    if (status == AUR_OK) {
        status = get_size(file, &size_bytes, NULL);
    }
    const uint64_t blocks = (size_bytes + AUR_DISK_BLOCK_BYTES - 1) / AUR_DISK_BLOCK_BYTES;
    if (status != AUR_OK || blocks < 2) {
        return status;
    }
    const uint64_t own_block = offset / AUR_DISK_BLOCK_BYTES;
    const uint64_t step = 1 + aur_random_below(&file->disk->random, blocks - 1);
    const uint64_t target = (own_block + step) % blocks * AUR_DISK_BLOCK_BYTES;
    const uint64_t room = size_bytes - target;
    return store(file, target, bytes, length < room ? length : (size_t)room);
}

static aur_status store_flipped(faulty_file *file, uint64_t offset, const void *bytes,
                                size_t length) {
    uint8_t *flipped = malloc(length);
    if (flipped == NULL) {
        return AUR_ERR_MEMORY;
    }
    memcpy(flipped, bytes, length);
    const uint64_t bit = aur_random_below(&file->disk->random, (uint64_t)length * 8);
    flipped[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    const aur_status status = store(file, offset, flipped, length);
    free(flipped);
    return status;
}

/* A write that is about to report success; the medium may know better. */
static aur_status write_quietly(faulty_file *file, uint64_t offset, const void *bytes,
                                size_t length) {
    auri_faulty_disk *disk = file->disk;
    if (auri_faulty_strikes(disk, disk->rates.lost_write_ppm)) {
        return extend(file, offset + length);
    }
    if (auri_faulty_strikes(disk, disk->rates.misdirect_ppm)) {
        return misdirect(file, offset, bytes, length);
    }
    if (auri_faulty_strikes(disk, disk->rates.flip_write_ppm)) {
        return store_flipped(file, offset, bytes, length);
    }
    return store(file, offset, bytes, length);
}

static aur_status write_locked(faulty_file *file, uint64_t offset, const void *bytes, size_t length,
                               aur_error *error) {
    auri_faulty_disk *disk = file->disk;
    aur_status status = check_alive(file, error);
    if (status != AUR_OK) {
        return status;
    }
    disk->counts.writes++;
    if (is_durable(file) && file->journal->first != NULL) {
        /* Written before through a WRITE handle: goes first, or it would hide what is written now.
         */
        status = auri_faulty_journal_settle(file->journal, file->inner, NULL);
    }
    if (status != AUR_OK) {
        return aur_fail(error, status, "the disk under the faulty one failed");
    }
    if (auri_faulty_crash_is_due(disk)) {
        (void)tear(file, offset, bytes, length);
        auri_faulty_power_cut(disk);
        return fail_io(file, offset, "write (crash)", error);
    }
    if (!auri_faulty_take_space(disk, length)) {
        return auri_file_fail(&file->base, offset, ENOSPC, "write", error);
    }
    if (auri_faulty_strikes(disk, disk->rates.write_error_ppm) ||
        (is_durable(file) && auri_faulty_strikes(disk, disk->rates.sync_error_ppm))) {
        (void)tear(file, offset, bytes, length);
        return fail_io(file, offset, "write (injected)", error);
    }
    status = write_quietly(file, offset, bytes, length);
    return status == AUR_OK ? status
                            : aur_fail(error, status, "the disk under the faulty one failed");
}

static aur_status faulty_file_write(aur_file *base, uint64_t offset, const void *buffer,
                                    size_t length, aur_error *error) {
    faulty_file *file = (faulty_file *)base;
    pthread_mutex_lock(&file->disk->lock);
    const aur_status status = write_locked(file, offset, buffer, length, error);
    pthread_mutex_unlock(&file->disk->lock);
    return status;
}

static aur_status sync_locked(faulty_file *file, aur_error *error) {
    auri_faulty_disk *disk = file->disk;
    aur_status status = check_alive(file, error);
    if (status != AUR_OK) {
        return status;
    }
    disk->counts.syncs++;
    if (auri_faulty_crash_is_due(disk)) {
        auri_faulty_power_cut(disk);
        return fail_io(file, UINT64_MAX, "sync (crash)", error);
    }
    if (auri_faulty_strikes(disk, disk->rates.sync_error_ppm)) {
        /* The kernel marks such pages clean all the same: nothing tells which of them arrived. */
        (void)auri_faulty_journal_settle(file->journal, file->inner, &disk->random);
        return fail_io(file, UINT64_MAX, "sync (injected)", error);
    }
    status = auri_faulty_journal_settle(file->journal, file->inner, NULL);
    return status == AUR_OK ? status
                            : aur_fail(error, status, "the disk under the faulty one failed");
}

static aur_status faulty_file_sync(aur_file *base, aur_error *error) {
    faulty_file *file = (faulty_file *)base;
    pthread_mutex_lock(&file->disk->lock);
    const aur_status status = sync_locked(file, error);
    pthread_mutex_unlock(&file->disk->lock);
    return status;
}

static aur_status read_locked(faulty_file *file, uint64_t offset, uint8_t *buffer, size_t length,
                              size_t *read_out, aur_error *error) {
    auri_faulty_disk *disk = file->disk;
    uint64_t size_bytes = 0;
    size_t from_inner = 0;
    aur_status status = check_alive(file, error);
    if (status != AUR_OK) {
        return status;
    }
    disk->counts.reads++;
    if (auri_faulty_strikes(disk, disk->rates.read_error_ppm)) {
        return fail_io(file, offset, "read (injected)", error);
    }
    status = get_size(file, &size_bytes, error);
    if (status != AUR_OK || offset >= size_bytes || length == 0) {
        return status;
    }
    const uint64_t left = size_bytes - offset;
    const size_t count = length < left ? length : (size_t)left;
    status = aur_file_read(file->inner, offset, buffer, count, &from_inner, error);
    if (status != AUR_OK) {
        return status;
    }
    memset(buffer + from_inner, 0, count - from_inner);
    auri_faulty_journal_overlay(file->journal, offset, buffer, count);
    if (auri_faulty_strikes(disk, disk->rates.flip_read_ppm)) {
        const uint64_t bit = aur_random_below(&disk->random, (uint64_t)count * 8);
        buffer[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    *read_out = count;
    return AUR_OK;
}

static aur_status faulty_file_read(aur_file *base, uint64_t offset, void *buffer, size_t length,
                                   size_t *read_out, aur_error *error) {
    faulty_file *file = (faulty_file *)base;
    pthread_mutex_lock(&file->disk->lock);
    const aur_status status = read_locked(file, offset, buffer, length, read_out, error);
    pthread_mutex_unlock(&file->disk->lock);
    return status;
}

static aur_status faulty_file_size(aur_file *base, uint64_t *size_out, aur_error *error) {
    faulty_file *file = (faulty_file *)base;
    pthread_mutex_lock(&file->disk->lock);
    aur_status status = check_alive(file, error);
    if (status == AUR_OK) {
        status = get_size(file, size_out, error);
    }
    pthread_mutex_unlock(&file->disk->lock);
    return status;
}

static aur_status faulty_file_check(aur_file *base, uint64_t size_bytes, aur_error *error) {
    faulty_file *file = (faulty_file *)base;
    uint64_t actual_bytes = 0;
    pthread_mutex_lock(&file->disk->lock);
    aur_status status = check_alive(file, error);
    if (status == AUR_OK) {
        status = aur_file_check(file->inner, 0, error);
    }
    if (status == AUR_OK) {
        status = get_size(file, &actual_bytes, error);
    }
    if (status == AUR_OK) {
        status = auri_file_judge(base, true, actual_bytes, size_bytes, error);
    }
    pthread_mutex_unlock(&file->disk->lock);
    return status;
}

static int faulty_file_descriptor(aur_file *base) {
    (void)base;
    return -1;
}

static void faulty_file_close(aur_file *base) {
    faulty_file *file = (faulty_file *)base;
    auri_faulty_disk *disk = file->disk;
    pthread_mutex_lock(&disk->lock);
    aur_file_close(file->inner);
    file->journal->handles--;
    auri_faulty_journal_release(disk, file->journal);
    pthread_mutex_unlock(&disk->lock);
    free(file);
}

static const auri_file_operations faulty_file_operations = {
    .close = faulty_file_close,
    .read = faulty_file_read,
    .write = faulty_file_write,
    .sync = faulty_file_sync,
    .size = faulty_file_size,
    .check = faulty_file_check,
    .descriptor = faulty_file_descriptor,
};

/* Opens the inner file; *existed_out tells whether it was there. DURABLE becomes WRITE, because
 * what a torn write leaves behind keeps to no alignment. */
static aur_status open_inner(auri_faulty_disk *disk, const char *name, unsigned mode,
                             bool *existed_out, aur_file **inner_out, aur_error *error) {
    const aur_status found = aur_disk_open_file(disk->inner, name, AUR_FILE_READ, inner_out, error);
    *existed_out = found == AUR_OK;
    if (mode == AUR_FILE_READ || (found == AUR_NOT_FOUND && (mode & AUR_FILE_WRITE) == 0)) {
        return found;
    }
    if (found == AUR_OK) {
        aur_file_close(*inner_out);
    } else if (found != AUR_NOT_FOUND) {
        return found;
    }
    return aur_disk_open_file(disk->inner, name, AUR_FILE_READ | AUR_FILE_WRITE, inner_out, error);
}

static aur_status open_locked(auri_faulty_disk *disk, faulty_file *file, const char *name,
                              unsigned mode, aur_error *error) {
    bool existed = false;
    aur_status status = auri_faulty_alive(disk, name, error);
    if (status == AUR_OK) {
        status = open_inner(disk, name, mode, &existed, &file->inner, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    file->journal = auri_faulty_journal_find(disk, name);
    if (file->journal == NULL) {
        file->journal = auri_faulty_journal_create(name, existed);
        if (file->journal == NULL) {
            aur_file_close(file->inner);
            return aur_fail(error, AUR_ERR_MEMORY, "no memory to open %s", name);
        }
        auri_faulty_journal_link(disk, file->journal);
    }
    file->journal->handles++;
    file->crashes = disk->crashes;
    return AUR_OK;
}

aur_status auri_faulty_open_file(aur_disk *base, const char *name, unsigned mode,
                                 aur_file **file_out, aur_error *error) {
    auri_faulty_disk *disk = (auri_faulty_disk *)base;
    faulty_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to open %s", name);
    }
    auri_file_init(&file->base, &faulty_file_operations, base, name, mode);
    file->disk = disk;
    pthread_mutex_lock(&disk->lock);
    const aur_status status = open_locked(disk, file, name, mode, error);
    pthread_mutex_unlock(&disk->lock);
    if (status != AUR_OK) {
        free(file);
        return status;
    }
    *file_out = &file->base;
    return AUR_OK;
}
