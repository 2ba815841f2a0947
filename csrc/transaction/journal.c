#include "transaction/journal_private.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_BYTES = 8192,
    SLICE_CHUNKS = 64, /* checked at a time: some 100 microseconds */
    ENTRY_ALIGN = 8,
};

/* An entry in a chunk: this header, then the key, padded to 8 bytes. */
typedef struct journal_entry {
    aur_lsn lsn;
    uint64_t hash;
    uint32_t table;
    uint32_t key_bytes;
    uint8_t key[];
} journal_entry;

struct auri_journal_chunk {
    auri_journal_chunk *older;
    auri_journal_chunk *newer;
    aur_lsn last_lsn;
    size_t used_bytes;
    uint64_t bytes[CHUNK_BYTES / sizeof(uint64_t)]; /* uint64_t for its alignment */
};

void auri_journal_init(auri_journal *journal, uint64_t limit_bytes) {
    memset(journal, 0, sizeof *journal);
    const uint64_t chunks = limit_bytes / sizeof(auri_journal_chunk);
    journal->chunk_limit = chunks == 0 ? 1 : chunks;
}

static void drop_oldest(auri_journal *journal) {
    auri_journal_chunk *chunk = journal->oldest;
    journal->oldest = chunk->newer;
    if (journal->oldest == NULL) {
        journal->newest = NULL;
    } else {
        journal->oldest->older = NULL;
    }
    journal->chunks--;
    /* One chunk is kept for the next key: keys come and go with each pair of transactions. */
    if (journal->spare == NULL) {
        journal->spare = chunk;
    } else {
        free(chunk);
    }
}

void auri_journal_forget(auri_journal *journal, aur_lsn lsn) {
    while (journal->oldest != NULL) {
        drop_oldest(journal);
    }
    if (lsn > journal->floor) {
        journal->floor = lsn;
    }
}

void auri_journal_destroy(auri_journal *journal) {
    auri_journal_forget(journal, AUR_LSN_MAX);
    free(journal->spare);
}

void auri_journal_prune(auri_journal *journal, aur_lsn oldest_read_point) {
    while (journal->oldest != NULL && journal->oldest->last_lsn <= oldest_read_point) {
        drop_oldest(journal);
    }
}

/* A chunk at the newest end; within the limit the oldest makes room for it. */
static auri_journal_chunk *add_chunk(auri_journal *journal) {
    if (journal->chunks == journal->chunk_limit) {
        journal->floor = journal->oldest->last_lsn;
        drop_oldest(journal);
    }
    auri_journal_chunk *chunk = journal->spare;
    journal->spare = NULL;
    if (chunk == NULL) {
        chunk = malloc(sizeof *chunk);
    }
    if (chunk == NULL) {
        return NULL;
    }
    chunk->older = journal->newest;
    chunk->newer = NULL;
    chunk->used_bytes = 0;
    chunk->last_lsn = 0;
    *(journal->newest == NULL ? &journal->oldest : &journal->newest->newer) = chunk;
    journal->newest = chunk;
    journal->chunks++;
    return chunk;
}

static size_t entry_bytes(size_t key_bytes) {
    const size_t bytes = sizeof(journal_entry) + key_bytes;
    return (bytes + ENTRY_ALIGN - 1) & ~(size_t)(ENTRY_ALIGN - 1);
}

void auri_journal_add(auri_journal *journal, aur_lsn lsn, uint32_t table, const uint8_t *key,
                      size_t key_bytes) {
    const size_t bytes = entry_bytes(key_bytes);
    auri_journal_chunk *chunk = journal->newest;
    if (chunk == NULL || bytes > CHUNK_BYTES - chunk->used_bytes) {
        chunk = add_chunk(journal);
    }
    if (chunk == NULL) {
        auri_journal_forget(journal, lsn);
        return;
    }
    journal_entry *entry = (journal_entry *)(void *)((uint8_t *)chunk->bytes + chunk->used_bytes);
    entry->lsn = lsn;
    entry->hash = auri_key_hash(table, key, key_bytes);
    entry->table = table;
    entry->key_bytes = (uint32_t)key_bytes;
    if (key_bytes > 0) {
        memcpy(entry->key, key, key_bytes);
    }
    chunk->used_bytes += bytes;
    chunk->last_lsn = lsn;
}

static bool chunk_conflicts(const auri_journal_chunk *chunk, const auri_read_set *set,
                            aur_lsn after) {
    size_t at = 0;
    while (at < chunk->used_bytes) {
        const journal_entry *entry =
            (const journal_entry *)(const void *)((const uint8_t *)chunk->bytes + at);
        if (entry->lsn > after &&
            auri_read_set_covers(set, entry->hash, entry->table, entry->key, entry->key_bytes)) {
            return true;
        }
        at += entry_bytes(entry->key_bytes);
    }
    return false;
}

/* The oldest chunk with a commit after `lsn`. Transactions are short: it is looked for from the
 * newest end. */
static const auri_journal_chunk *first_after(const auri_journal *journal, aur_lsn lsn) {
    const auri_journal_chunk *chunk = journal->newest;
    if (chunk == NULL || chunk->last_lsn <= lsn) {
        return NULL;
    }
    while (chunk->older != NULL && chunk->older->last_lsn > lsn) {
        chunk = chunk->older;
    }
    return chunk;
}

aur_status auri_journal_check(const auri_journal *journal, const auri_read_set *set,
                              aur_lsn *checked_to) {
    if (journal->floor > *checked_to) {
        return AUR_ERR_CONFLICT;
    }
    const auri_journal_chunk *chunk = first_after(journal, *checked_to);
    const aur_lsn after = *checked_to;
    for (unsigned checked = 0; chunk != NULL; checked++) {
        /* The commit that ends the chunk before may go on in this one, so it is looked at again in
         * the next slice; and the slice goes on until there is some progress to tell. */
        if (checked >= SLICE_CHUNKS && chunk->older->last_lsn - 1 > *checked_to) {
            *checked_to = chunk->older->last_lsn - 1;
            return AUR_TIMEOUT;
        }
        if (chunk_conflicts(chunk, set, after)) {
            return AUR_ERR_CONFLICT;
        }
        chunk = chunk->newer;
    }
    return AUR_OK;
}
