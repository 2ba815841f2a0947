/*
 * The faulty disk: its directory, its switches, and what a crash leaves behind. See faulty.h for
 * what it promises and faulty_private.h for how it is cut.
 *
 * create, replace, rename and remove are durable when they return, so a crash inside one leaves the
 * old or the new state; so does one that fails with EIO.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "disk/faulty_private.h"

aur_status auri_faulty_alive(const auri_faulty_disk *disk, const char *name, aur_error *error) {
    if (disk->crashed) {
        return auri_disk_fail(&disk->base, name, EIO, "use of a crashed disk", error);
    }
    if (disk->dead) {
        return auri_disk_fail(&disk->base, name, EIO, "use of a dead disk", error);
    }
    return AUR_OK;
}

bool auri_faulty_strikes(auri_faulty_disk *disk, uint32_t ppm) {
    const bool strikes = aur_random_chance(&disk->random, ppm);
    disk->counts.faults += strikes ? 1 : 0;
    return strikes;
}

bool auri_faulty_take_space(auri_faulty_disk *disk, uint64_t length) {
    if (disk->space_left_bytes == UINT64_MAX) {
        return true;
    }
    if (length > disk->space_left_bytes) {
        disk->counts.faults++;
        return false;
    }
    disk->space_left_bytes -= length;
    return true;
}

bool auri_faulty_crash_is_due(auri_faulty_disk *disk) {
    if (disk->crash_countdown == UINT64_MAX) {
        return false;
    }
    if (disk->crash_countdown == 0) {
        return true;
    }
    disk->crash_countdown--;
    return false;
}

/* Decides about one file at a crash. A failure of the inner disk here means that more of it is
 * lost: allowed too. */
static void cut_file(auri_faulty_disk *disk, auri_journal *journal) {
    aur_file *inner = NULL;
    if (!journal->entry_durable && aur_random_below(&disk->random, 2) == 0) {
        (void)!aur_disk_remove(disk->inner, journal->name, NULL);
        return;
    }
    if (journal->first == NULL) {
        return;
    }
    if (aur_disk_open_file(disk->inner, journal->name, AUR_FILE_READ | AUR_FILE_WRITE, &inner,
                           NULL) == AUR_OK) {
        (void)!auri_faulty_journal_settle(journal, inner, &disk->random);
        aur_file_close(inner);
    }
}

void auri_faulty_power_cut(auri_faulty_disk *disk) {
    if (disk->crashed) {
        return;
    }
    while (disk->journals != NULL) {
        auri_journal *journal = disk->journals;
        cut_file(disk, journal);
        auri_faulty_journal_unlink(disk, journal->name);
    }
    disk->crashed = true;
    disk->crashes++;
    disk->crash_countdown = UINT64_MAX;
    disk->counts.faults++;
}

/* What may happen to an operation on names that is done as one durable step. */
enum step_outcome { STEP_DONE, STEP_CRASHED, STEP_FAILED };

/* Decides how the operation goes. Unless it is done, `*happens_out` says whether it takes effect
 * all the same. */
static enum step_outcome draw_step(auri_faulty_disk *disk, bool *happens_out) {
    enum step_outcome outcome = STEP_DONE;
    if (auri_faulty_crash_is_due(disk)) {
        outcome = STEP_CRASHED;
    } else if (auri_faulty_strikes(disk, disk->rates.sync_error_ppm)) {
        outcome = STEP_FAILED;
    }
    *happens_out = outcome == STEP_DONE || aur_random_below(&disk->random, 2) == 0;
    return outcome;
}

/* Ends an operation that draw_step began: crashes the disk if it must, and chooses what the caller
 * is told. */
static aur_status finish_step(auri_faulty_disk *disk, enum step_outcome outcome, aur_status status,
                              const char *name, aur_error *error) {
    if (outcome == STEP_DONE) {
        return status;
    }
    if (outcome == STEP_CRASHED) {
        auri_faulty_power_cut(disk);
    }
    return auri_disk_fail(&disk->base, name, EIO,
                          outcome == STEP_CRASHED ? "crash" : "injected failure", error);
}

static aur_status create_locked(auri_faulty_disk *disk, const char *name, uint64_t size_bytes,
                                aur_error *error) {
    bool happens = false;
    aur_status status = auri_faulty_alive(disk, name, error);
    if (status != AUR_OK) {
        return status;
    }
    const enum step_outcome outcome = draw_step(disk, &happens);
    if (outcome == STEP_DONE && !auri_faulty_take_space(disk, size_bytes)) {
        return auri_disk_fail(&disk->base, name, ENOSPC, "create", error);
    }
    if (happens) {
        /* Zeros are written one after the other: an interrupted create leaves a shorter file. */
        const uint64_t reached =
            outcome == STEP_DONE ? size_bytes : aur_random_below(&disk->random, size_bytes + 1);
        status = aur_disk_create(disk->inner, name, reached, error);
        if (status == AUR_OK) {
            auri_faulty_journal_unlink(disk, name);
        }
    }
    return finish_step(disk, outcome, status, name, error);
}

static aur_status faulty_create(aur_disk *base, const char *name, uint64_t size_bytes,
                                aur_error *error) {
    auri_faulty_disk *disk = (auri_faulty_disk *)base;
    pthread_mutex_lock(&disk->lock);
    const aur_status status = create_locked(disk, name, size_bytes, error);
    pthread_mutex_unlock(&disk->lock);
    return status;
}

/* Replaces on the inner disk, with one bit wrong when `flip` is set. */
static aur_status replace_inner(auri_faulty_disk *disk, const char *name, const void *bytes,
                                size_t length, bool flip, aur_error *error) {
    if (!flip || length == 0) {
        return aur_disk_replace(disk->inner, name, bytes, length, error);
    }
    uint8_t *flipped = malloc(length);
    if (flipped == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to replace %s", name);
    }
    memcpy(flipped, bytes, length);
    const uint64_t bit = aur_random_below(&disk->random, (uint64_t)length * 8);
    flipped[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    const aur_status status = aur_disk_replace(disk->inner, name, flipped, length, error);
    free(flipped);
    return status;
}

static aur_status replace_locked(auri_faulty_disk *disk, const char *name, const void *bytes,
                                 size_t length, aur_error *error) {
    bool happens = false;
    aur_status status = auri_faulty_alive(disk, name, error);
    if (status != AUR_OK) {
        return status;
    }
    const enum step_outcome outcome = draw_step(disk, &happens);
    if (outcome == STEP_DONE && !auri_faulty_take_space(disk, length)) {
        return auri_disk_fail(&disk->base, name, ENOSPC, "replace", error);
    }
    if (happens) {
        const bool flip = auri_faulty_strikes(disk, disk->rates.flip_write_ppm);
        status = replace_inner(disk, name, bytes, length, flip, error);
        if (status == AUR_OK) {
            auri_faulty_journal_unlink(disk, name);
        }
    }
    return finish_step(disk, outcome, status, name, error);
}

static aur_status faulty_replace(aur_disk *base, const char *name, const void *bytes, size_t length,
                                 aur_error *error) {
    auri_faulty_disk *disk = (auri_faulty_disk *)base;
    pthread_mutex_lock(&disk->lock);
    const aur_status status = replace_locked(disk, name, bytes, length, error);
    pthread_mutex_unlock(&disk->lock);
    return status;
}

/* Renames, and lets the journal follow: bytes that are not durable stay so under the new name. */
static aur_status rename_inner(auri_faulty_disk *disk, const char *from, const char *to,
                               aur_error *error) {
    const aur_status status = aur_disk_rename(disk->inner, from, to, error);
    if (status != AUR_OK) {
        return status;
    }
    if (strcmp(from, to) != 0) {
        auri_faulty_journal_unlink(disk, to);
    }
    auri_journal *journal = auri_faulty_journal_find(disk, from);
    if (journal != NULL) {
        journal->entry_durable = true;
        (void)snprintf(journal->name, sizeof journal->name, "%s", to);
        auri_faulty_journal_release(disk, journal);
    }
    return AUR_OK;
}

static aur_status faulty_rename(aur_disk *base, const char *from, const char *to,
                                aur_error *error) {
    auri_faulty_disk *disk = (auri_faulty_disk *)base;
    bool happens = false;
    pthread_mutex_lock(&disk->lock);
    aur_status status = auri_faulty_alive(disk, from, error);
    if (status == AUR_OK) {
        const enum step_outcome outcome = draw_step(disk, &happens);
        if (happens) {
            status = rename_inner(disk, from, to, error);
        }
        status = finish_step(disk, outcome, status, from, error);
    }
    pthread_mutex_unlock(&disk->lock);
    return status;
}

static aur_status faulty_remove(aur_disk *base, const char *name, aur_error *error) {
    auri_faulty_disk *disk = (auri_faulty_disk *)base;
    bool happens = false;
    pthread_mutex_lock(&disk->lock);
    aur_status status = auri_faulty_alive(disk, name, error);
    if (status == AUR_OK) {
        const enum step_outcome outcome = draw_step(disk, &happens);
        if (happens) {
            status = aur_disk_remove(disk->inner, name, error);
            if (status == AUR_OK) {
                auri_faulty_journal_unlink(disk, name);
            }
        }
        status = finish_step(disk, outcome, status, name, error);
    }
    pthread_mutex_unlock(&disk->lock);
    return status;
}

static void make_entries_durable(auri_faulty_disk *disk) {
    auri_journal *next = NULL;
    for (auri_journal *journal = disk->journals; journal != NULL; journal = next) {
        next = journal->next;
        journal->entry_durable = true;
        auri_faulty_journal_release(disk, journal);
    }
}

static aur_status faulty_sync_directory(aur_disk *base, aur_error *error) {
    auri_faulty_disk *disk = (auri_faulty_disk *)base;
    bool happens = false;
    pthread_mutex_lock(&disk->lock);
    aur_status status = auri_faulty_alive(disk, NULL, error);
    if (status == AUR_OK) {
        disk->counts.syncs++;
        const enum step_outcome outcome = draw_step(disk, &happens);
        if (happens) {
            make_entries_durable(disk);
        }
        status = finish_step(disk, outcome, status, NULL, error);
    }
    pthread_mutex_unlock(&disk->lock);
    return status;
}

typedef struct faulty_visit {
    auri_faulty_disk *disk;
    auri_disk_visit *visit;
    void *context;
} faulty_visit;

/* Adds pending bytes to the size. The lock is not held over the caller's visit, which may use the
 * disk. */
static bool visit_with_pending(void *context, const char *name, uint64_t size_bytes) {
    const faulty_visit *visit = context;
    pthread_mutex_lock(&visit->disk->lock);
    const auri_journal *journal = auri_faulty_journal_find(visit->disk, name);
    const uint64_t pending_end = journal != NULL ? auri_faulty_journal_end(journal) : 0;
    pthread_mutex_unlock(&visit->disk->lock);
    return visit->visit(visit->context, name, pending_end > size_bytes ? pending_end : size_bytes);
}

static uint64_t faulty_free_bytes(aur_disk *base) {
    return aur_disk_free_bytes(((auri_faulty_disk *)base)->inner);
}

static aur_status faulty_list(aur_disk *base, auri_disk_visit *visit, void *context,
                              aur_error *error) {
    auri_faulty_disk *disk = (auri_faulty_disk *)base;
    faulty_visit with_pending = {disk, visit, context};
    pthread_mutex_lock(&disk->lock);
    const aur_status status = auri_faulty_alive(disk, NULL, error);
    pthread_mutex_unlock(&disk->lock);
    if (status != AUR_OK) {
        return status;
    }
    return aur_disk_list(disk->inner, visit_with_pending, &with_pending, error);
}

/* A clean end of the process: the operating system still writes what it holds. */
static void settle_quietly(auri_faulty_disk *disk, auri_journal *journal) {
    aur_file *inner = NULL;
    if (journal->first != NULL &&
        aur_disk_open_file(disk->inner, journal->name, AUR_FILE_READ | AUR_FILE_WRITE, &inner,
                           NULL) == AUR_OK) {
        (void)!auri_faulty_journal_settle(journal, inner, NULL);
        aur_file_close(inner);
    }
}

static void faulty_close(aur_disk *base) {
    auri_faulty_disk *disk = (auri_faulty_disk *)base;
    while (disk->journals != NULL) {
        settle_quietly(disk, disk->journals);
        auri_faulty_journal_unlink(disk, disk->journals->name);
    }
    aur_disk_close(disk->inner);
    pthread_mutex_destroy(&disk->lock);
    auri_disk_clear(base);
    free(disk);
}

static const auri_disk_operations faulty_operations = {
    .close = faulty_close,
    .create = faulty_create,
    .open_file = auri_faulty_open_file,
    .replace = faulty_replace,
    .rename = faulty_rename,
    .remove = faulty_remove,
    .sync_directory = faulty_sync_directory,
    .list = faulty_list,
    .free_bytes = faulty_free_bytes,
};

aur_status aur_disk_open_faulty(aur_disk *inner, uint64_t seed, aur_disk **disk_out) {
    auri_faulty_disk *disk = calloc(1, sizeof *disk);
    if (disk == NULL || !auri_disk_init(&disk->base, &faulty_operations, aur_disk_path(inner)) ||
        pthread_mutex_init(&disk->lock, NULL) != 0) {
        if (disk != NULL) {
            auri_disk_clear(&disk->base);
        }
        free(disk);
        aur_disk_close(inner);
        return AUR_ERR_MEMORY;
    }
    disk->inner = inner;
    disk->random = aur_random_seeded(seed);
    disk->space_left_bytes = UINT64_MAX;
    disk->crash_countdown = UINT64_MAX;
    *disk_out = &disk->base;
    return AUR_OK;
}

/* The faulty disk behind a handle, locked. Calling a switch on another kind of disk is a bug of
 * ours. */
static auri_faulty_disk *lock_faulty(aur_disk *base) {
    AUR_ASSERT(base->operations == &faulty_operations);
    auri_faulty_disk *disk = (auri_faulty_disk *)base;
    pthread_mutex_lock(&disk->lock);
    return disk;
}

void aur_faulty_set_rates(aur_disk *base, const aur_fault_rates *rates) {
    auri_faulty_disk *disk = lock_faulty(base);
    disk->rates = *rates;
    pthread_mutex_unlock(&disk->lock);
}

void aur_faulty_set_space(aur_disk *base, uint64_t bytes) {
    auri_faulty_disk *disk = lock_faulty(base);
    disk->space_left_bytes = bytes;
    pthread_mutex_unlock(&disk->lock);
}

void aur_faulty_set_dead(aur_disk *base, bool dead) {
    auri_faulty_disk *disk = lock_faulty(base);
    disk->dead = dead;
    pthread_mutex_unlock(&disk->lock);
}

void aur_faulty_crash_after(aur_disk *base, uint64_t operations) {
    auri_faulty_disk *disk = lock_faulty(base);
    disk->crash_countdown = operations;
    pthread_mutex_unlock(&disk->lock);
}

void aur_faulty_crash(aur_disk *base) {
    auri_faulty_disk *disk = lock_faulty(base);
    auri_faulty_power_cut(disk);
    pthread_mutex_unlock(&disk->lock);
}

void aur_faulty_recover(aur_disk *base) {
    auri_faulty_disk *disk = lock_faulty(base);
    disk->crashed = false;
    pthread_mutex_unlock(&disk->lock);
}

/* Flips one bit of an open inner file. */
static aur_status flip_bit(auri_faulty_disk *disk, aur_file *inner) {
    uint64_t size_bytes = 0;
    size_t count = 0;
    uint8_t byte = 0;
    aur_status status = aur_file_size(inner, &size_bytes, NULL);
    if (status != AUR_OK || size_bytes == 0) {
        return status != AUR_OK ? status : AUR_NOT_FOUND;
    }
    const uint64_t offset = aur_random_below(&disk->random, size_bytes);
    const unsigned bit = (unsigned)aur_random_below(&disk->random, 8);
    status = aur_file_read(inner, offset, &byte, 1, &count, NULL);
    if (status != AUR_OK || count != 1) {
        return status != AUR_OK ? status : AUR_NOT_FOUND;
    }
    byte ^= (uint8_t)(1u << bit);
    disk->counts.faults++;
    return aur_file_write(inner, offset, &byte, 1, NULL);
}

aur_status aur_faulty_flip(aur_disk *base, const char *name) {
    auri_faulty_disk *disk = lock_faulty(base);
    aur_file *inner = NULL;
    aur_status status = aur_disk_open_file(disk->inner, name, AUR_FILE_READ, &inner, NULL);
    if (status == AUR_OK) { /* it exists, so that WRITE does not create it */
        aur_file_close(inner);
        status =
            aur_disk_open_file(disk->inner, name, AUR_FILE_READ | AUR_FILE_WRITE, &inner, NULL);
    }
    if (status == AUR_OK) {
        status = flip_bit(disk, inner);
        aur_file_close(inner);
    }
    pthread_mutex_unlock(&disk->lock);
    return status;
}

void aur_faulty_counts(const aur_disk *base, aur_fault_counts *counts_out) {
    /* The lock is part of the object, not of what the caller promised to leave alone. */
    auri_faulty_disk *disk = lock_faulty((aur_disk *)(uintptr_t)base);
    *counts_out = disk->counts;
    pthread_mutex_unlock(&disk->lock);
}
