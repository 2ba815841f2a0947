/*
 * Inside the faulty disk: three files share these. disk_faulty.c has the directory and the
 * switches, faulty_file.c the handles, faulty_journal.c what is written but not yet durable.
 *
 * The wrapper itself plays the medium: what it has passed on to the inner disk counts as durable,
 * what is in a journal does not. So the inner disk is written through plain handles and never asked
 * to sync.
 *
 * Thread rule: one lock of the disk guards everything here. Order of calls decides what the seed
 * does, so only a single-threaded use replays exactly.
 */
#ifndef AUR_FAULTY_PRIVATE_H
#define AUR_FAULTY_PRIVATE_H

#include <pthread.h>

#include "base/random.h"
#include "disk/disk_private.h"
#include "disk/faulty.h"

enum { AURI_SECTOR_BYTES = 512 }; /* what a real disk writes whole or not at all */

typedef struct auri_pending {
    struct auri_pending *next;
    uint64_t offset;
    size_t length;
    uint8_t bytes[];
} auri_pending;

/* One file's state that a crash may undo. Lives while a handle is open or something is not durable.
 */
typedef struct auri_journal {
    struct auri_journal *next; /* in the disk's list while linked */
    unsigned handles;
    bool linked;         /* the name still leads here; an unlinked file is gone after a crash */
    bool entry_durable;  /* the directory entry survives a crash */
    auri_pending *first; /* in the order of the writes */
    auri_pending **last;
    char name[AUR_FILE_NAME_BYTES_MAX + 1];
} auri_journal;

typedef struct auri_faulty_disk {
    aur_disk base;
    aur_disk *inner; /* owned */
    pthread_mutex_t lock;
    aur_random random;
    aur_fault_rates rates;
    aur_fault_counts counts;
    uint64_t space_left_bytes; /* UINT64_MAX: no limit */
    uint64_t crash_countdown;  /* operations that still succeed; UINT64_MAX: not armed */
    uint64_t crashes;          /* handles of before the last one are unusable */
    bool dead;
    bool crashed;
    auri_journal *journals; /* the linked ones */
} auri_faulty_disk;

/* Where surviving bytes go: `context` is the sink's own. */
typedef aur_status auri_sink(void *context, uint64_t offset, const void *bytes, size_t length);

/* ---- faulty_journal.c ---- */

/* NULL when out of memory. */
auri_journal *auri_faulty_journal_create(const char *name, bool entry_durable);

/* Frees the journal unless a handle or unfinished business holds it. It must be off the list to be
 * freed. */
void auri_faulty_journal_release(auri_faulty_disk *disk, auri_journal *journal);

auri_journal *auri_faulty_journal_find(const auri_faulty_disk *disk, const char *name);
void auri_faulty_journal_link(auri_faulty_disk *disk, auri_journal *journal);

/* The name no longer leads to this file: it was removed or replaced. Nothing happens when there is
 * no journal. */
void auri_faulty_journal_unlink(auri_faulty_disk *disk, const char *name);

aur_status auri_faulty_journal_add(auri_journal *journal, uint64_t offset, const void *bytes,
                                   size_t length);

/* One past the last byte that is pending; 0 when there is none. */
uint64_t auri_faulty_journal_end(const auri_journal *journal);

/* Lays the pending bytes over what was read from the inner file. */
void auri_faulty_journal_overlay(const auri_journal *journal, uint64_t offset, uint8_t *buffer,
                                 size_t length);

/* Passes the pending writes on to `inner`, whole when `random` is NULL, otherwise each kept, lost
 * or torn; then forgets them. */
aur_status auri_faulty_journal_settle(auri_journal *journal, aur_file *inner, aur_random *random);

/* Gives `sink` what is left of a write that something interrupted: all, nothing, or some of its
 * sectors. */
aur_status auri_tear(aur_random *random, uint64_t offset, const void *bytes, size_t length,
                     auri_sink *sink, void *context);

/* ---- disk_faulty.c; all with the lock held ---- */

/* AUR_OK, or EIO when the disk is dead or crashed. */
aur_status auri_faulty_alive(const auri_faulty_disk *disk, const char *name, aur_error *error);

/* Counts an operation that changes the disk; true when the armed crash fires inside it. The caller
 * leaves its own operation half done and then calls auri_faulty_power_cut. */
bool auri_faulty_crash_is_due(auri_faulty_disk *disk);

/* Each pending write and each directory entry that is not durable is kept, lost or torn. */
void auri_faulty_power_cut(auri_faulty_disk *disk);

/* Draws whether a fault of this rate happens now, and counts it. */
bool auri_faulty_strikes(auri_faulty_disk *disk, uint32_t ppm);

/* Takes `length` from the space that is left; false when there is too little. */
bool auri_faulty_take_space(auri_faulty_disk *disk, uint64_t length);

/* ---- faulty_file.c ---- */

/* Opens `name`; takes the lock itself. */
aur_status auri_faulty_open_file(aur_disk *base, const char *name, unsigned mode,
                                 aur_file **file_out, aur_error *error);

#endif
