#include "transaction/arena_private.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum {
    ARENA_ALIGN = 8,
    /* Chunks double from the first size to the last: a small transaction stays small, a big one
     * calls the allocator rarely. */
    ARENA_FIRST_CHUNK_BYTES = 4096,
    ARENA_LAST_CHUNK_BYTES = 1 << 20,
};

typedef struct arena_chunk {
    struct arena_chunk *next;
    size_t capacity_bytes;
    uint64_t bytes[]; /* uint64_t for its alignment */
} arena_chunk;

struct auri_arena {
    atomic_uint references;
    arena_chunk *chunks; /* the first one is being filled; the last one is the oldest */
    size_t used_bytes;   /* of the first chunk */
    size_t next_chunk_bytes;
};

auri_arena *auri_arena_create(void) {
    auri_arena *arena = calloc(1, sizeof *arena);
    if (arena != NULL) {
        atomic_init(&arena->references, 1);
        arena->next_chunk_bytes = ARENA_FIRST_CHUNK_BYTES;
    }
    return arena;
}

static void free_chunks(arena_chunk *chunk) {
    while (chunk != NULL) {
        arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void auri_arena_acquire(auri_arena *arena) {
    (void)atomic_fetch_add_explicit(&arena->references, 1, memory_order_relaxed);
}

void auri_arena_release(auri_arena *arena) {
    /* Acquire and release: whoever frees sees that all others have finished reading. */
    if (arena != NULL &&
        atomic_fetch_sub_explicit(&arena->references, 1, memory_order_acq_rel) == 1) {
        free_chunks(arena->chunks);
        free(arena);
    }
}

bool auri_arena_is_private(const auri_arena *arena) {
    return atomic_load_explicit(&arena->references, memory_order_acquire) == 1;
}

static arena_chunk *create_chunk(size_t capacity_bytes) {
    arena_chunk *chunk = malloc(sizeof *chunk + capacity_bytes);
    if (chunk != NULL) {
        chunk->next = NULL;
        chunk->capacity_bytes = capacity_bytes;
    }
    return chunk;
}

/* A piece that would waste much of a chunk gets one of its own, behind the one that is filled. */
static void *allocate_alone(auri_arena *arena, size_t size_bytes) {
    arena_chunk *chunk = create_chunk(size_bytes);
    if (chunk == NULL) {
        return NULL;
    }
    if (arena->chunks == NULL) {
        arena->chunks = chunk;
        arena->used_bytes = size_bytes;
    } else {
        chunk->next = arena->chunks->next;
        arena->chunks->next = chunk;
    }
    return chunk->bytes;
}

void *auri_arena_allocate(auri_arena *arena, size_t size_bytes) {
    if (size_bytes > SIZE_MAX / 2) {
        return NULL;
    }
    size_bytes = (size_bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || size_bytes > chunk->capacity_bytes - arena->used_bytes) {
        if (size_bytes > arena->next_chunk_bytes / 4) {
            return allocate_alone(arena, size_bytes);
        }
        chunk = create_chunk(arena->next_chunk_bytes);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->used_bytes = 0;
        if (arena->next_chunk_bytes < ARENA_LAST_CHUNK_BYTES) {
            arena->next_chunk_bytes *= 2;
        }
    }
    void *piece = (uint8_t *)chunk->bytes + arena->used_bytes;
    arena->used_bytes += size_bytes;
    return piece;
}

void auri_arena_reset(auri_arena *arena) {
    arena_chunk *chunk = arena->chunks;
    arena_chunk *kept = NULL;
    while (chunk != NULL) {
        arena_chunk *next = chunk->next;
        if (kept == NULL && chunk->capacity_bytes == ARENA_FIRST_CHUNK_BYTES) {
            kept = chunk;
            kept->next = NULL;
        } else {
            free(chunk);
        }
        chunk = next;
    }
    arena->chunks = kept;
    arena->used_bytes = 0;
    arena->next_chunk_bytes = ARENA_FIRST_CHUNK_BYTES;
}
