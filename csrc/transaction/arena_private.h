/*
 * Memory that is given out in pieces and taken back as a whole: what a transaction writes. Found
 * values that point into it hold a reference, so they outlive the transaction.
 *
 * Thread rule: allocate and reset by one thread at a time; acquire and release from any thread.
 */
#ifndef AUR_TRANSACTION_ARENA_PRIVATE_H
#define AUR_TRANSACTION_ARENA_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct auri_arena auri_arena;

/* An empty arena with one reference; NULL when out of memory. */
auri_arena *auri_arena_create(void);
void auri_arena_acquire(auri_arena *arena);
/* The last reference frees it. NULL is ignored. */
void auri_arena_release(auri_arena *arena);

/* Memory aligned to 8, valid until the arena goes or is reset; NULL when out of memory. */
void *auri_arena_allocate(auri_arena *arena, size_t size_bytes);

/* True when nobody but the caller holds a reference, so that bytes in it may be overwritten. */
bool auri_arena_is_private(const auri_arena *arena);

/* Takes everything back but one small chunk. Precondition: auri_arena_is_private. */
void auri_arena_reset(auri_arena *arena);

#endif
