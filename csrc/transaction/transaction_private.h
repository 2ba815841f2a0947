/* The manager, a transaction and what they share inside this layer. */
#ifndef AUR_TRANSACTION_TRANSACTION_PRIVATE_H
#define AUR_TRANSACTION_TRANSACTION_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "transaction/arena_private.h"
#include "transaction/journal_private.h"
#include "transaction/read_points_private.h"
#include "transaction/read_set_private.h"
#include "transaction/tables_private.h"
#include "transaction/transaction.h"
#include "transaction/write_map_private.h"

enum { AURI_OWN_COMMIT_SLOTS = 256 };

typedef struct auri_lsn_list {
    aur_lsn *items;
    size_t count;
    size_t capacity;
} auri_lsn_list;

struct aur_transactions {
    aur_transactions_options options;
    atomic_bool is_closed;
    atomic_uint generation; /* counts losses of the volatile head */
    atomic_uint rewinds;    /* counts them, since open */
    atomic_uint groups_wanted;
    atomic_uint growth_waiters; /* commits that wait for groups_wanted */
    atomic_bool was_read;       /* since a commit last looked */
    atomic_uint_least64_t commits, conflicts;
    atomic_uint_least64_t pages_used, pages_extent;

    atomic_uint missing_commits; /* the next ones, which announce what they will read (ahead.c) */

    /* The newest commit of the threads that hash to a slot: their reads do not go before it. */
    _Atomic aur_lsn own_commit[AURI_OWN_COMMIT_SLOTS];

    auri_read_points points;
    aur_transaction *spare; /* ended transactions, for the next ones; under points.lock */
    auri_tables tables;

    /* The commit latch, and what it guards. */
    pthread_mutex_t latch;
    aur_space *space;
    uint8_t *scratch;
    auri_journal journal;
    uint64_t groups;
    pthread_cond_t has_grown; /* or was refused to grow */
    uint64_t growth_refusals; /* counts them */
    aur_error growth_refusal; /* the last one */
    uint32_t unread_commits;  /* the last ones, in which nobody began to read */
    uint64_t slack_pages; /* free pages behind the extent, as of its last look, less all needs */
    auri_lsn_list keep;   /* of the commit under way: points to keep page versions for, */
    auri_lsn_list boundaries; /* and among them where VDL may come to stand */

    /* What storage was last told to retain: its worker's alone. */
    aur_lsn pinned_horizon;
    auri_lsn_list pinned;
};

/* What a transaction does with one table. */
typedef struct auri_use {
    aur_table *table;
    bool is_dropped; /* by this transaction */
    bool has_writes;
    auri_write_map writes;
    const auri_write *unannounced; /* while it commits: the first write whose leaf is not */
    aur_page_id announced;         /* and the leaf that was last */
} auri_use;

/* A table that it creates or drops. In order; the last entry of a name counts. */
typedef struct auri_change {
    aur_table *table;
    bool is_drop;
} auri_change;

struct aur_transaction {
    aur_transactions *transactions;
    aur_transaction *next_spare;
    pthread_mutex_t lock;
    auri_point *point; /* NULL once it has ended */
    aur_lsn read_point;
    unsigned generation;
    unsigned rewinds;
    bool read_only;
    bool is_durable; /* what it reads was durable when it began, and outlives the volatile head */
    atomic_bool is_open;
    auri_arena *arena; /* of writes and bounds; made with the first one */
    auri_use *uses;
    size_t use_count;
    size_t use_capacity;
    size_t last_use; /* index of the use that was asked for last */
    auri_change *changes;
    size_t change_count;
    size_t change_capacity;
    auri_read_set reads;
    size_t listed_index; /* table_name: the last index and its name, to go on from there */
    size_t listed_bytes;
    char listed_name[AUR_TABLE_NAME_LIMIT];
};

/* ---- transactions.c: the manager ---- */

/* AUR_ERR_CLOSED after aur_transactions_close. */
aur_status auri_check_open(const aur_transactions *transactions, aur_error *error) AUR_CHECKED;

/* AUR_ERR_INVALID for a key or value that is too long. */
aur_status auri_check_key(size_t key_bytes, aur_error *error) AUR_CHECKED;
aur_status auri_check_value(uint64_t value_bytes, aur_error *error) AUR_CHECKED;

static inline aur_table *auri_table_or_database(aur_transactions *transactions, aur_table *table) {
    return table == NULL ? transactions->tables.database : table;
}

/* Somebody begins to read: commits keep the past of pages for a while. */
static inline void auri_note_reader(aur_transactions *transactions) {
    if (!atomic_load_explicit(&transactions->was_read, memory_order_relaxed)) {
        atomic_store_explicit(&transactions->was_read, true, memory_order_relaxed);
    }
}

/* Remembers a commit of the calling thread. */
void auri_note_own_commit(aur_transactions *transactions, aur_lsn lsn);

/* Waits until the calling thread's commits may be read: for one slice (AUR_TIMEOUT), or not at all
 * when cached_only (AUR_WOULD_BLOCK). When they can no longer become durable the volatile head is
 * gone, and reads go on at VDL: AUR_OK. */
aur_status auri_await_own_commits(aur_transactions *transactions, bool cached_only,
                                  aur_error *error) AUR_CHECKED;

/* Where readers read now. */
aur_lsn auri_reading_point(const aur_transactions *transactions);

/* Waits until the head is not claimed. The next commits do not claim it then: else they could do so
 * one after the other, always before the waiter is awake. The read points' lock held, released
 * meanwhile. */
void auri_await_head(aur_transactions *transactions);

/* Waits until a reader may begin there: the head may be claimed, VDL never is. The read points'
 * lock held, released meanwhile. */
void auri_await_reading_point(aur_transactions *transactions);

static inline aur_reader auri_reader(const aur_transactions *transactions, aur_lsn read_point,
                                     bool cached_only) {
    return (aur_reader){transactions->options.buffer, transactions->options.page_bytes, read_point,
                        cached_only};
}

/* Makes sure that a table exists at the reader's read point: AUR_NO_TABLE, with its message. */
static inline aur_status auri_check_table(aur_transactions *transactions, const aur_reader *reader,
                                          aur_table *table, aur_error *error) {
    const aur_status status = auri_tables_check(&transactions->tables, reader, table, error);
    return status == AUR_NO_TABLE ? auri_no_table(table, error) : status;
}

/* Room for `wanted` items; false: out of memory. */
bool auri_lsn_list_reserve(auri_lsn_list *list, size_t wanted);

/* ---- past.c ---- */

/* So long from now, for waits at the latch: by the system's clock, because that is what POSIX has
 * there; a jump of it makes one wait longer or shorter. */
struct timespec auri_realtime_after(uint64_t ns);

/* ---- found.c ---- */

/* Fills *found_out; takes over the value's pin. A big value shares `point`, which is where it was
 * found. */
void auri_found_in_tree(aur_transactions *transactions, const aur_value *value, auri_point *point,
                        aur_found *found_out);
void auri_found_in_arena(auri_arena *arena, const auri_write *write, aur_found *found_out);

/* ---- commit.c ---- */

typedef struct auri_commit {
    aur_transactions *transactions;
    aur_mtr mtr;
    aur_writer writer;
} auri_commit;

/* What a commit puts, roughly; and, when it comes to that, how many pages it takes and whether some
 * of them must follow each other. */
typedef struct auri_demand {
    uint64_t records;
    uint64_t bytes;
    aur_status (*forecast)(void *context, uint64_t *pages, bool *has_runs, aur_error *error);
    void *context;
} auri_demand;

/* Makes sure that it fits into the volume. AUR_NEEDS_GROUPS, AUR_ERR_FULL. Latch held. */
aur_status auri_commit_reserve(aur_transactions *transactions, const auri_demand *demand,
                               aur_error *error) AUR_CHECKED;

/* Begins the mini-transaction of a commit, of a transaction that reads at `own` (NULL: of a single
 * operation). Latch held, here and below. */
aur_status auri_commit_begin(auri_commit *commit, aur_transactions *transactions,
                             const auri_point *own, aur_error *error) AUR_CHECKED;

/* Gives it up after `status`: a mini-transaction that has changed nothing just ends; else the log
 * fails and the head is lost. Returns `status`. */
aur_status auri_commit_fail(auri_commit *commit, aur_status status, const aur_error *cause);

/* ---- reading ahead of commits (ahead.c) ---- */

/* Announces the leaves of a transaction's first writes. Before the latch is taken. */
void auri_ahead_begin(aur_transaction *transaction);
/* The commit has come to the next write: announces one more. */
void auri_ahead_step(auri_use *use, const aur_reader *reader);
/* Announces the leaf of a write that is a transaction of its own. Before the latch is taken. */
void auri_ahead_one(aur_transactions *transactions, aur_table *table, const uint8_t *key,
                    size_t key_bytes);
/* The commit has come to its end; `loads_before`: aur_buffer_loads at its beginning. Latch held. */
void auri_ahead_learn(aur_transactions *transactions, uint64_t loads_before);

/* Ends it: it becomes visible. When others must check against it `record` is called to add its keys
 * to the journal. `own` (may be NULL) is the read point of the committer, released here. Returns
 * the LSN. */
aur_lsn auri_commit_end(auri_commit *commit, auri_point *own,
                        void (*record)(void *context, auri_journal *journal, aur_lsn lsn),
                        void *context);
/* The same, after aur_mtr_end gave `lsn`. */
void auri_commit_publish(auri_commit *commit, aur_lsn lsn, auri_point *own,
                         void (*record)(void *context, auri_journal *journal, aur_lsn lsn),
                         void *context);

/* ---- transaction.c: for views and cursors ---- */

/* A transaction at a read point: at `moment`, or now (AUR_LSN_MAX). The points' lock is held. NULL:
 * out of memory. */
aur_transaction *auri_transaction_open(aur_transactions *transactions, bool read_only,
                                       aur_lsn moment);

/* Whether it reads nothing: no read point is registered for it. Precondition: it is open. */
static inline bool auri_transaction_is_blind(const aur_transaction *transaction) {
    return transaction->point == NULL;
}

/* Takes its lock for a call. False: another thread is in a call on it, maybe waiting for the disk,
 * and this one asked for what is in memory only. */
static inline bool auri_transaction_lock(aur_transaction *transaction, bool cached_only) {
    if (cached_only) {
        return pthread_mutex_trylock(&transaction->lock) == 0;
    }
    (void)pthread_mutex_lock(&transaction->lock);
    return true;
}

/* AUR_OK, or why it takes no more calls. Its lock held, here and below. */
aur_status auri_transaction_check(const aur_transaction *transaction, aur_error *error) AUR_CHECKED;
/* The same before it looks for a table: a blind one may not, as it sees no catalog. */
aur_status auri_transaction_check_tables(const aur_transaction *transaction,
                                         aur_error *error) AUR_CHECKED;

/* What it does with a table (NULL: the database), valid until it uses another one. Checks that the
 * table exists for it: AUR_NO_TABLE; that may take a look at the catalog. */
aur_status auri_transaction_use(aur_transaction *transaction, aur_table *table, bool cached_only,
                                auri_use **use_out, aur_error *error) AUR_CHECKED;

/* True when the table, which it uses, has no pages that this transaction could see. */
bool auri_transaction_sees_no_tree(const aur_transaction *transaction, const aur_table *table);

/* The final word on a read that ended in `status`: a failure may come from a loss of the volatile
 * head in its middle, and then that is what is told. */
aur_status auri_transaction_judge(const aur_transaction *transaction, aur_status status,
                                  aur_error *error);

/* Its arena, made at the first call; NULL: out of memory. */
auri_arena *auri_transaction_arena(aur_transaction *transaction);

/* The write to a key, NULL when there is none. */
auri_write *auri_use_find(const auri_use *use, const uint8_t *key, size_t key_bytes);

/* Ends it: prepared tables are abandoned unless it has committed. */
void auri_transaction_end(aur_transaction *transaction, bool is_committed);

#endif
