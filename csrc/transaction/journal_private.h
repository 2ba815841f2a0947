/*
 * The keys that were committed lately, for the conflict checks of transactions that began before:
 * a queue of (LSN, table, key) in commit order, in small chunks.
 *
 * A check walks what was committed since the transaction's read point and asks its read set about
 * each key; that is little for the short transactions that are common, and needs no index that
 * every commit would have to keep up. A long transaction is checked in slices, so that others can
 * commit in between.
 *
 * Bounded: past a limit the oldest chunk is dropped, and then any read at or before its last LSN
 * counts as a conflict.
 *
 * Thread rule: the commit latch.
 */
#ifndef AUR_TRANSACTION_JOURNAL_PRIVATE_H
#define AUR_TRANSACTION_JOURNAL_PRIVATE_H

#include "format/types.h"
#include "transaction/read_set_private.h"

typedef struct auri_journal_chunk auri_journal_chunk;

typedef struct auri_journal {
    auri_journal_chunk *oldest;
    auri_journal_chunk *newest;
    auri_journal_chunk *spare;
    uint64_t chunks;
    uint64_t chunk_limit;
    aur_lsn floor; /* commits up to here may be missing */
} auri_journal;

void auri_journal_init(auri_journal *journal, uint64_t limit_bytes);
void auri_journal_destroy(auri_journal *journal);

/* Appends one committed key. LSNs never fall. Never fails: without memory the journal forgets. */
void auri_journal_add(auri_journal *journal, aur_lsn lsn, uint32_t table, const uint8_t *key,
                      size_t key_bytes);

/* Drops what no transaction that reads at `oldest_read_point` or later asks for. */
void auri_journal_prune(auri_journal *journal, aur_lsn oldest_read_point);

/* Drops everything; reads at or before `lsn` conflict from now on. */
void auri_journal_forget(auri_journal *journal, aur_lsn lsn);

/*
 * Looks for a key of the read set among the commits after *checked_to, for a while. AUR_OK: none
 * to the journal's end. AUR_TIMEOUT: none yet, *checked_to has advanced; call again (the latch may
 * be released in between). AUR_ERR_CONFLICT: found, or forgotten.
 */
aur_status auri_journal_check(const auri_journal *journal, const auri_read_set *set,
                              aur_lsn *checked_to) AUR_CHECKED;

#endif
