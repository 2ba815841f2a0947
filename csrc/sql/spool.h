/*
 * Scratch bytes of one connection that must not grow in memory without bound: a rollback journal,
 * or the changes of a big transaction. The first ones stay in memory; what lies beyond goes to a
 * file in the folder for temporary files, which has no name any more.
 *
 * Thread rule: one thread at a time.
 */
#ifndef AUR_SQL_SPOOL_H
#define AUR_SQL_SPOOL_H

#include "disk/disk.h"

enum { AURI_SPOOL_CHUNK_BYTES = 64 << 10, AURI_SPOOL_CHUNKS = 64 };

typedef struct auri_spool {
    uint8_t *chunk[AURI_SPOOL_CHUNKS];
    aur_disk *disk; /* where the file is made; NULL: the folder for temporary files, once needed */
    aur_file *file;
    uint64_t size;
} auri_spool;

void auri_spool_init(auri_spool *spool);
void auri_spool_destroy(auri_spool *spool);

/* Writes anywhere; a hole that this leaves is unspecified. AUR_ERR_MEMORY, AUR_ERR_IO,
 * AUR_ERR_FULL. */
aur_status auri_spool_write(auri_spool *spool, uint64_t offset, const void *bytes, size_t length,
                            aur_error *error) AUR_CHECKED;
/* Precondition: offset + length <= size. */
aur_status auri_spool_read(auri_spool *spool, uint64_t offset, void *out, size_t length,
                           aur_error *error) AUR_CHECKED;
/* Bytes in one piece without copying them, NULL when they are not. As in read. */
const uint8_t *auri_spool_peek(const auri_spool *spool, uint64_t offset, size_t length);
/* Cuts it to at most `size`; with 0 all but a little memory is given back. */
void auri_spool_truncate(auri_spool *spool, uint64_t size);

#endif
