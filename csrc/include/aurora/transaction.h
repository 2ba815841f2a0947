/*
 * Transactions: serializable, optimistic. A read-write transaction reads at the head of the moment
 * it began, keeps its writes to itself (and reads them), and at commit its read keys and ranges are
 * checked against everything committed since: a clash is AUR_ERR_CONFLICT. A read-only one reads at
 * VDL and never conflicts. Readers block nobody and nothing deadlocks. A transaction that stays
 * open while others commit more than 64 MiB of keys conflicts, whatever it read.
 *
 * A commit returns its LSN at once; it is durable when VDL >= LSN. Whoever commits goes on to
 * aur_engine_wait_durable, or to aur_engine_ship. A
 * thread's later reads outside of read-write transactions wait until its own commits are durable:
 * it reads its own writes, and nobody reads what is not durable. That wait comes back after a slice
 * of 100 ms (at once in the MANUAL drive) with AUR_TIMEOUT, so that the caller can look for signals
 * and call again. When those commits can no longer become durable, reads go on without them. A
 * read-write transaction without writes returns the LSN it read at, so waiting for it waits for
 * what was read.
 *
 * Thread rule: one transaction by one thread at a time (a lock inside makes a breach safe, not
 * meaningful); different ones freely. Cursors belong to their transaction and go before it.
 *
 * After a loss of the volatile head (aur_engine_start again) read-write transactions that began
 * before answer AUR_ERR_CONFLICT; so do, with AUR_ERR_SNAPSHOT, views of an engine whose readers
 * see the head.
 *
 * A table that does not exist for a call (dropped, or created by another transaction that has not
 * committed) is AUR_NO_TABLE.
 *
 * cached_only: with true, a call returns AUR_WOULD_BLOCK instead of doing I/O or waiting, and may
 * be repeated with false; this lets a caller keep its interpreter lock for what is in memory.
 *
 * aur_engine_get and a read-only aur_transaction_begin wait for the calling thread's own commits in
 * slices: after one they return AUR_TIMEOUT, and the caller looks for signals and calls again.
 */
#ifndef AURORA_TRANSACTION_H
#define AURORA_TRANSACTION_H

#include <aurora/engine.h>

typedef struct aur_transaction aur_transaction;
typedef struct aur_cursor aur_cursor;

/* A table of the volume. Owned by the engine, valid until it is destroyed. NULL means the database
 * itself everywhere. */
typedef struct aur_table aur_table;

enum { AUR_KEY_LIMIT = 1024, AUR_TABLE_NAME_LIMIT = 255 };
#define AUR_VALUE_LIMIT ((uint64_t)1 << 30)

/* A value found. `data` is valid until aur_found_release; NULL with length > 0 for a big value, to
 * be copied out by aur_found_read. Zero-initialise before use. */
typedef struct aur_found {
    const uint8_t *data;
    uint64_t length;
    void *hidden[8];
} aur_found;

/* A key and its value. */
typedef struct aur_entry {
    const uint8_t *key;
    const uint8_t *value; /* NULL with value_bytes > 0: a big value, aur_cursor_read */
    size_t key_bytes;
    uint64_t value_bytes;
} aur_entry;

/* ---- one-shot operations: each is its own transaction ---- */

/* AUR_NOT_FOUND. AUR_WOULD_BLOCK with cached_only, AUR_TIMEOUT without (see above). */

AUR_API AUR_CHECKED aur_status aur_engine_get(aur_engine *engine, aur_table *table,
                                              const uint8_t *key, size_t key_bytes,
                                              bool cached_only, aur_found *found_out,
                                              aur_error *error);
/* Never conflicts. AUR_NEEDS_GROUPS as in aur_transaction_commit, AUR_ERR_FULL, AUR_ERR_QUORUM,
 * AUR_ERR_FENCED. */
AUR_API AUR_CHECKED aur_status aur_engine_put(aur_engine *engine, aur_table *table,
                                              const uint8_t *key, size_t key_bytes,
                                              const uint8_t *value, uint64_t value_bytes,
                                              uint64_t *lsn_out, aur_error *error);
/* AUR_NOT_FOUND (with *lsn_out = what was read) when the key is not there. */
AUR_API AUR_CHECKED aur_status aur_engine_delete(aur_engine *engine, aur_table *table,
                                                 const uint8_t *key, size_t key_bytes,
                                                 uint64_t *lsn_out, aur_error *error);

/* ---- transactions ---- */

/* AUR_WOULD_BLOCK with cached_only; read-only without it: AUR_TIMEOUT as above. */
AUR_API AUR_CHECKED aur_status aur_transaction_begin(aur_engine *engine, bool read_only,
                                                     bool cached_only, aur_transaction **out,
                                                     aur_error *error);

/* One for blind writes to the database itself: but for what it writes it sees nothing, as at LSN 0,
 * and it uses no tables (AUR_ERR_INVALID). So it never conflicts with another commit, and no commit
 * has to keep for it what pages were like. Its commit without writes says where the head is. */
AUR_API AUR_CHECKED aur_status aur_transaction_begin_blind(aur_engine *engine,
                                                           aur_transaction **out, aur_error *error);

/* AUR_NEEDS_GROUPS: grow the volume (aur_engine_groups_wanted), then commit again; the transaction
 * is untouched. Any other failure ends the transaction (rolled back). */
AUR_API AUR_CHECKED aur_status aur_transaction_commit(aur_transaction *transaction,
                                                      uint64_t *lsn_out, aur_error *error);
AUR_API void aur_transaction_rollback(aur_transaction *transaction);

/* Rolls back if still open, closes, frees. */
AUR_API void aur_transaction_destroy(aur_transaction *transaction);

AUR_API bool aur_transaction_is_open(const aur_transaction *transaction);
AUR_API uint64_t aur_transaction_read_point(const aur_transaction *transaction);

AUR_API AUR_CHECKED aur_status aur_transaction_get(aur_transaction *transaction, aur_table *table,
                                                   const uint8_t *key, size_t key_bytes,
                                                   bool cached_only, aur_found *found_out,
                                                   aur_error *error);

/* One key of aur_transaction_get_many, and what became of it. */
enum { AUR_LOOKUPS_LIMIT = 32 };
typedef struct aur_lookup {
    const uint8_t *key;
    size_t key_bytes;
    aur_status status;
    aur_found found; /* filled, and to be released, if the status is AUR_OK */
} aur_lookup;

/* Up to AUR_LOOKUPS_LIMIT keys at once, as if each were looked up with cached_only, but quicker.
 * Each `status` is AUR_OK, AUR_NOT_FOUND, or AUR_WOULD_BLOCK: aur_transaction_get has to look, or
 * knows what is wrong. Anything but AUR_OK as result: no key was looked at. */
AUR_API AUR_CHECKED aur_status aur_transaction_get_many(aur_transaction *transaction,
                                                        aur_table *table, aur_lookup *lookups,
                                                        size_t count, aur_error *error);
/* Those that would block will be looked up one after the other: the disk may begin with all of
 * them. Waits for the disk where it must read to know what to read. */
AUR_API void aur_transaction_will_get(aur_transaction *transaction, aur_table *table,
                                      const aur_lookup *lookups, size_t count);
AUR_API AUR_CHECKED aur_status aur_transaction_put(aur_transaction *transaction, aur_table *table,
                                                   const uint8_t *key, size_t key_bytes,
                                                   const uint8_t *value, uint64_t value_bytes,
                                                   aur_error *error);
/* Up to AUR_PUTS_LIMIT puts, as if one after the other, but quicker. When one is refused, those
 * before it are done. */
enum { AUR_PUTS_LIMIT = 512 };
AUR_API AUR_CHECKED aur_status aur_transaction_put_many(aur_transaction *transaction,
                                                        aur_table *table, const aur_entry *entries,
                                                        size_t count, aur_error *error);
/* AUR_NOT_FOUND when the key is not there as this transaction sees it. */
AUR_API AUR_CHECKED aur_status aur_transaction_delete(aur_transaction *transaction,
                                                      aur_table *table, const uint8_t *key,
                                                      size_t key_bytes, bool cached_only,
                                                      aur_error *error);
AUR_API AUR_CHECKED aur_status aur_transaction_count(aur_transaction *transaction, aur_table *table,
                                                     uint64_t *count_out, aur_error *error);

AUR_API AUR_CHECKED aur_status aur_found_read(aur_found *found, uint8_t *out, aur_error *error);
AUR_API void aur_found_release(aur_found *found);

/* ---- tables ---- */

/* AUR_NOT_FOUND when there is none at the transaction's read point and `create` is false. A created
 * table exists for others from the commit on. AUR_ERR_INVALID: empty name or longer than
 * AUR_TABLE_NAME_LIMIT bytes. */
AUR_API AUR_CHECKED aur_status aur_transaction_table(aur_transaction *transaction, const char *name,
                                                     size_t name_bytes, bool create,
                                                     aur_table **table_out, aur_error *error);
/* Drops the table and frees its pages at commit. AUR_NOT_FOUND. */
AUR_API AUR_CHECKED aur_status aur_transaction_drop_table(aur_transaction *transaction,
                                                          const char *name, size_t name_bytes,
                                                          aur_error *error);
/* The index-th table name in order; AUR_NOT_FOUND past the last. `name_out` has
 * AUR_TABLE_NAME_LIMIT bytes. */
AUR_API AUR_CHECKED aur_status aur_transaction_table_name(aur_transaction *transaction,
                                                          size_t index, char *name_out,
                                                          size_t *name_bytes_out, aur_error *error);

/* ---- cursors ---- */

/* Keys in [start, stop), from either end. NULL start or stop: unbounded. The bounds are copied. In
 * a read-write transaction the ranges that were really walked become part of what commit checks;
 * its own writes, also later ones, are seen. */
AUR_API AUR_CHECKED aur_status aur_cursor_open(aur_transaction *transaction, aur_table *table,
                                               const uint8_t *start, size_t start_bytes,
                                               const uint8_t *stop, size_t stop_bytes, bool reverse,
                                               bool cached_only, aur_cursor **cursor_out,
                                               aur_error *error);
/* Up to `capacity` (1 or more) next entries; fewer do not mean the end. They are valid until the
 * next call on this cursor or, in a read-write transaction, its next write. *count_out == 0: the
 * end. */
AUR_API AUR_CHECKED aur_status aur_cursor_fetch(aur_cursor *cursor, bool cached_only,
                                                aur_entry *entries, size_t capacity,
                                                size_t *count_out, aur_error *error);
/* Copies the value of an entry of the last fetch; big ones are read from their pages. */
AUR_API AUR_CHECKED aur_status aur_cursor_read(aur_cursor *cursor, const aur_entry *entry,
                                               uint8_t *out, aur_error *error);
/* The key at which the page ends that holds or would hold `key`, be it damaged or not: where to
 * open another cursor when a fetch has failed with AUR_ERR_CORRUPT. It is above `key`. `end_out`
 * has AUR_KEY_LIMIT bytes. AUR_NOT_FOUND: nothing is behind that page. Writes of the transaction
 * are not looked at. */
AUR_API AUR_CHECKED aur_status aur_cursor_page_end(aur_cursor *cursor, const uint8_t *key,
                                                   size_t key_bytes, uint8_t *end_out,
                                                   size_t *end_bytes_out, aur_error *error);
AUR_API void aur_cursor_close(aur_cursor *cursor);

#endif
