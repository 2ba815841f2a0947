/*
 * A disk that fails on purpose, deterministically from its seed. Wraps any disk. Writes that are
 * not yet durable live in a journal of the wrapper, so that a crash can lose, tear or keep each of
 * them.
 */
#ifndef AUR_DISK_FAULTY_H
#define AUR_DISK_FAULTY_H

#include "disk/disk.h"

/* Probabilities are per operation, in parts per million. */
typedef struct aur_fault_rates {
    uint32_t read_error_ppm;  /* EIO from a read */
    uint32_t write_error_ppm; /* EIO from a write; the range is left torn */
    uint32_t sync_error_ppm;  /* EIO from whatever waits for the medium: a sync or durable write
                               * (what it covered is unknown), or a create, replace, rename or
                               * remove (done or not) */
    uint32_t flip_read_ppm;   /* one bit of what is read is flipped, on the way */
    uint32_t flip_write_ppm;  /* one bit of what is written or replaced is flipped, at rest */
    uint32_t misdirect_ppm;   /* a write lands at another block of the file; its range keeps old
                                 bytes */
    uint32_t lost_write_ppm;  /* a write that reports success never reaches the medium */
} aur_fault_rates;

typedef struct aur_fault_counts {
    uint64_t reads, writes, syncs, faults;
} aur_fault_counts;

/* Takes ownership of `inner`, also when it fails. Closing the disk settles what is pending, as the
 * end of a process does. Calls may come from any thread, but only one thread gives a run that
 * replays. */
AUR_API aur_status aur_disk_open_faulty(aur_disk *inner, uint64_t seed,
                                        aur_disk **disk_out) AUR_CHECKED;

AUR_API void aur_faulty_set_rates(aur_disk *disk, const aur_fault_rates *rates);

/* From now on writes fail with ENOSPC once `bytes` more were written; UINT64_MAX lifts it. */
AUR_API void aur_faulty_set_space(aur_disk *disk, uint64_t bytes);

/* Fails every operation with EIO (a dead disk) until called with false. */
AUR_API void aur_faulty_set_dead(aur_disk *disk, bool dead);

/* After `operations` more writes, syncs, creates, replaces, renames or removes have been done, the
 * disk crashes inside the next one (0: the very next): that is left half done, and from then on
 * everything fails with EIO until aur_faulty_recover. UINT64_MAX disarms. */
AUR_API void aur_faulty_crash_after(aur_disk *disk, uint64_t operations);

/* Crash now (power cut): each write that was not durable is kept, lost or torn at 512-byte steps,
 * and each file that a WRITE handle created without a directory sync is there or not, by the seed;
 * handles that are open stay unusable. Then aur_faulty_recover makes the disk usable again (for new
 * handles). */
AUR_API void aur_faulty_crash(aur_disk *disk);
AUR_API void aur_faulty_recover(aur_disk *disk);

/* Flips one bit at rest in `name` at a place chosen by the seed; AUR_NOT_FOUND when the file is
 * missing or empty. */
AUR_API aur_status aur_faulty_flip(aur_disk *disk, const char *name) AUR_CHECKED;

AUR_API void aur_faulty_counts(const aur_disk *disk, aur_fault_counts *counts_out);

#endif
