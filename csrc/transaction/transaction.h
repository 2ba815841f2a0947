/*
 * Transactions and tables on top of the trees of one volume. The public functions on transactions
 * and cursors (<aurora/transaction.h>) are implemented in this layer; those that start from an
 * engine are forwarded to the functions below by api.
 *
 * T1  A commit is one mini-transaction under the commit latch; what is uncommitted lives only in
 *     the write set of its transaction.
 * T2  A read-write transaction commits only if no key that it read was committed by another since
 *     its read point; so its reads hold at the place of its commit in LSN order.
 * T3  Everybody else reads at a VDL (read_volatile: at a head): a consistency point, so a state
 *     between two commits; and never before the caller's own commits.
 * T4  A read point is registered in one critical section with its choice, and a commit frees page
 *     versions only after it has looked at all read points and at all places where VDL may stop. A
 *     view of the past may find its versions freed, and reads them from storage again. A commit
 *     that nobody reads beside keeps none, and who wants to begin at the head waits for its end.
 * T5  A view begins at or above the horizon, or where a read point is registered already; storage
 *     is told the horizon and the points below it at once. So what is read is retained (I7).
 *
 * Locks, in the order in which they are taken: a transaction's lock, the commit latch, then one of
 * the read points' lock and the tables' lock.
 */
#ifndef AUR_TRANSACTION_TRANSACTION_H
#define AUR_TRANSACTION_TRANSACTION_H

#include <aurora/transaction.h>

#include "btree/btree.h"

/* All transactions and tables of one opened volume. */
typedef struct aur_transactions aur_transactions;

typedef struct aur_transactions_options {
    aur_buffer *buffer;
    aur_log *log;
    uint32_t page_bytes;
    uint64_t group_pages;
    uint64_t volume_pages;  /* growth ends here: AUR_ERR_FULL */
    bool read_volatile;     /* readers see the head, not VDL */
    bool ungated;           /* reads do not wait for the commits of their thread */
    uint64_t wait_slice_ns; /* a read that waits for own commits gives up after this: AUR_TIMEOUT */
    uint64_t journal_bytes; /* memory for recently committed keys; 0: 64 MiB */
    /* The coordinator is wanted: a commit failed half-way and took the volatile head with it, so
     * that a recovery in place is due; or one waits for protection groups. May be NULL; called
     * under the commit latch. */
    void (*on_attention)(void *context);
    void *listener_context;
} aur_transactions_options;

/* Buffer and log outlive it. */
aur_status aur_transactions_create(const aur_transactions_options *options,
                                   aur_transactions **transactions_out,
                                   aur_error *error) AUR_CHECKED;
/* Precondition: every transaction, cursor and found value is gone. NULL is ignored. */
void aur_transactions_destroy(aur_transactions *transactions);

/* Keeps commits out: takes and releases the commit latch. */
void aur_transactions_pause(aur_transactions *transactions);
void aur_transactions_resume(aur_transactions *transactions);

/* The volume has one more protection group. Paused. */
void aur_transactions_add_group(aur_transactions *transactions);

/* How many groups the volume must have for a commit that waits for them; 0: none waits. Such a
 * commit goes on when they are there, or fails with `why`. */
uint32_t aur_transactions_growth_wanted(const aur_transactions *transactions);
void aur_transactions_refuse_growth(aur_transactions *transactions, const aur_error *why);

/* Service starts at `vdl`, perhaps after a loss of the volatile head. Restart: tables that were
 * created or dropped above vdl were not, and nothing is remembered of the head; the pool is at vdl
 * already. Restarted: the log is there too, and read-write transactions that began before
 * conflict. Paused. */
void aur_transactions_restart(aur_transactions *transactions, aur_lsn vdl);
void aur_transactions_restarted(aur_transactions *transactions);

/* History goes on from an older moment after `at`: read-write transactions that began before
 * conflict, and what is remembered of the head is forgotten. Held; the pool knows already, and the
 * log comes next: who begins in between reads at `at`, and has its commit checked against all. */
void aur_transactions_rewound(aur_transactions *transactions, aur_lsn at);

/* The functions of <aurora/history.h> of the same names, for what they say. While it is held only
 * the thread that holds may call resume, which lets commits go on. */
aur_status aur_transactions_hold(aur_transactions *transactions, uint64_t timeout_ns,
                                 aur_lsn *lsn_out, aur_error *error) AUR_CHECKED;
aur_status aur_transactions_view(aur_transactions *transactions, aur_lsn lsn,
                                 aur_transaction **transaction_out, aur_error *error) AUR_CHECKED;
void aur_transactions_set_horizon(aur_transactions *transactions, aur_lsn lsn);
aur_lsn aur_transactions_horizon(aur_transactions *transactions);
size_t aur_transactions_pins(aur_transactions *transactions, aur_lsn below, aur_lsn *out,
                             size_t capacity);

/* What storage must retain, as of one moment: the horizon, and through *points_out the read points
 * below it, ascending, valid until the next call. Returns how many. By one thread. */
size_t aur_transactions_retained(aur_transactions *transactions, aur_lsn *horizon_out,
                                 const aur_lsn **points_out);

/* Formats a new volume in its first mini-transaction. Paused. */
aur_status aur_transactions_format(aur_transactions *transactions, aur_lsn *lsn_out,
                                   aur_error *error) AUR_CHECKED;

/* From now on every call says AUR_ERR_CLOSED. */
void aur_transactions_close(aur_transactions *transactions);

/* The functions of <aurora/transaction.h> of the same names. */
aur_status aur_transactions_get(aur_transactions *transactions, aur_table *table,
                                const uint8_t *key, size_t key_bytes, bool cached_only,
                                aur_found *found_out, aur_error *error) AUR_CHECKED;
aur_status aur_transactions_put(aur_transactions *transactions, aur_table *table,
                                const uint8_t *key, size_t key_bytes, const uint8_t *value,
                                uint64_t value_bytes, aur_lsn *lsn_out,
                                aur_error *error) AUR_CHECKED;
aur_status aur_transactions_delete(aur_transactions *transactions, aur_table *table,
                                   const uint8_t *key, size_t key_bytes, aur_lsn *lsn_out,
                                   aur_error *error) AUR_CHECKED;
aur_status aur_transactions_begin(aur_transactions *transactions, bool read_only, bool cached_only,
                                  aur_transaction **transaction_out, aur_error *error) AUR_CHECKED;
aur_status aur_transactions_begin_blind(aur_transactions *transactions,
                                        aur_transaction **transaction_out,
                                        aur_error *error) AUR_CHECKED;

/* After AUR_NEEDS_GROUPS: how many groups the volume must have. */
uint32_t aur_transactions_groups_wanted(const aur_transactions *transactions);

typedef struct aur_transactions_counts {
    uint64_t commits, conflicts;
    uint64_t snapshots;                /* read points in use, each reader counted */
    uint64_t pages_used, pages_extent; /* as of the last time the latch was free; 0 before */
} aur_transactions_counts;
void aur_transactions_get_counts(aur_transactions *transactions, aur_transactions_counts *out);

/* Walks the catalog and every tree at the newest commit, and compares them with the allocation
 * maps. AUR_ERR_CORRUPT names the page. */
aur_status aur_transactions_verify(aur_transactions *transactions, aur_engine_verified *out,
                                   aur_error *error) AUR_CHECKED;

#endif
