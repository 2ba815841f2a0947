/*
 * What a transaction has written so far, page by page, as the redo that will make it so: edits of
 * the page as its view shows it, or an image. A page that SQLite writes again gets new redo.
 *
 * Thread rule: one thread at a time.
 */
#ifndef AUR_SQL_STAGING_H
#define AUR_SQL_STAGING_H

#include "sql/spool.h"

typedef struct auri_staged {
    uint32_t page;  /* number in its file, from 0 */
    uint8_t op;     /* AUR_OP_EDIT, AUR_OP_IMAGE; 0: as it was */
    uint32_t bytes; /* of the record's body */
    uint32_t room;  /* bytes at the offset that are its own */
    uint64_t offset;
    uint64_t checksum; /* of the body, if it is not in memory */
} auri_staged;

typedef struct auri_staging {
    auri_spool spool;
    auri_staged *pages; /* in the order of their first write */
    uint32_t count;
    uint32_t capacity;
    uint32_t *slots; /* hash table: index in pages + 1, 0: none */
    uint32_t slot_mask;
} auri_staging;

void auri_staging_init(auri_staging *staging);
void auri_staging_destroy(auri_staging *staging);
/* Forgets everything. */
void auri_staging_clear(auri_staging *staging);

/* NULL: not written. Valid until the next put. */
const auri_staged *auri_staging_find(const auri_staging *staging, uint32_t page);

/* Sets the redo of a page; op 0: none. AUR_ERR_MEMORY, AUR_ERR_IO, AUR_ERR_FULL. */
aur_status auri_staging_put(auri_staging *staging, uint32_t page, uint8_t op, const uint8_t *body,
                            uint32_t bytes, aur_error *error) AUR_CHECKED;

/* The body of an entry: where it lies, or copied to `room`. AUR_ERR_CORRUPT: the temporary file
 * gives other bytes than it got. */
aur_status auri_staging_body(auri_staging *staging, const auri_staged *staged, uint8_t *room,
                             const uint8_t **body_out, aur_error *error) AUR_CHECKED;

#endif
