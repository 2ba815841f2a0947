/* What all transactions of an engine share: its life, restarts and rewinds, and what a thread has
 * committed itself. */
#include <stdlib.h>
#include <string.h>

#include "transaction/transaction_private.h"

enum { JOURNAL_BYTES = 64 << 20 };

static aur_status create_parts(aur_transactions *transactions) {
    const aur_transactions_options *options = &transactions->options;
    transactions->scratch = malloc(options->page_bytes);
    if (transactions->scratch == NULL || auri_tables_init(&transactions->tables) != AUR_OK) {
        return AUR_ERR_MEMORY;
    }
    return aur_space_create(options->buffer, options->page_bytes, options->volume_pages,
                            &transactions->space);
}

aur_status aur_transactions_create(const aur_transactions_options *options,
                                   aur_transactions **transactions_out, aur_error *error) {
    aur_transactions *transactions = calloc(1, sizeof *transactions);
    if (transactions == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for the transactions of a volume");
    }
    transactions->options = *options;
    (void)pthread_mutex_init(&transactions->latch, NULL);
    (void)pthread_cond_init(&transactions->has_grown, NULL);
    auri_read_points_init(&transactions->points);
    auri_journal_init(&transactions->journal,
                      options->journal_bytes == 0 ? JOURNAL_BYTES : options->journal_bytes);
    const aur_status status = create_parts(transactions);
    if (status != AUR_OK) {
        aur_transactions_destroy(transactions);
        return aur_fail(error, status, "no memory for the transactions of a volume");
    }
    *transactions_out = transactions;
    return AUR_OK;
}

static void free_transaction(aur_transaction *transaction) {
    auri_arena_release(transaction->arena);
    auri_read_set_destroy(&transaction->reads);
    free(transaction->uses);
    free(transaction->changes);
    (void)pthread_mutex_destroy(&transaction->lock);
    free(transaction);
}

void aur_transactions_destroy(aur_transactions *transactions) {
    if (transactions == NULL) {
        return;
    }
    while (transactions->spare != NULL) {
        aur_transaction *next = transactions->spare->next_spare;
        free_transaction(transactions->spare);
        transactions->spare = next;
    }
    aur_space_destroy(transactions->space);
    auri_tables_destroy(&transactions->tables);
    auri_journal_destroy(&transactions->journal);
    auri_read_points_destroy(&transactions->points);
    (void)pthread_cond_destroy(&transactions->has_grown);
    (void)pthread_mutex_destroy(&transactions->latch);
    free(transactions->keep.items);
    free(transactions->boundaries.items);
    free(transactions->pinned.items);
    free(transactions->scratch);
    free(transactions);
}

void aur_transactions_pause(aur_transactions *transactions) {
    (void)pthread_mutex_lock(&transactions->latch);
}

void aur_transactions_resume(aur_transactions *transactions) {
    (void)pthread_mutex_unlock(&transactions->latch);
}

void aur_transactions_add_group(aur_transactions *transactions) {
    transactions->groups++;
    transactions->slack_pages = 0; /* looked up again when it is needed */
    (void)pthread_cond_broadcast(&transactions->has_grown);
}

void aur_transactions_refuse_growth(aur_transactions *transactions, const aur_error *why) {
    (void)pthread_mutex_lock(&transactions->latch);
    transactions->growth_refusal = *why;
    transactions->growth_refusals++;
    (void)pthread_cond_broadcast(&transactions->has_grown);
    (void)pthread_mutex_unlock(&transactions->latch);
}

uint32_t aur_transactions_growth_wanted(const aur_transactions *transactions) {
    const bool is_wanted =
        atomic_load_explicit(&transactions->growth_waiters, memory_order_acquire) > 0;
    return is_wanted ? aur_transactions_groups_wanted(transactions) : 0;
}

/* What was looked up in the head, and what would be checked against it. */
static void forget_head(aur_transactions *transactions, aur_lsn lsn) {
    aur_space_forget(transactions->space);
    auri_journal_forget(&transactions->journal, lsn);
    transactions->slack_pages = 0;
}

void aur_transactions_restart(aur_transactions *transactions, aur_lsn vdl) {
    auri_tables_begin_present(&transactions->tables, vdl, true);
    forget_head(transactions, vdl);
}

void aur_transactions_restarted(aur_transactions *transactions) {
    (void)atomic_fetch_add_explicit(&transactions->generation, 1, memory_order_acq_rel);
    for (size_t slot = 0; slot < AURI_OWN_COMMIT_SLOTS; slot++) {
        atomic_store_explicit(&transactions->own_commit[slot], 0, memory_order_release);
    }
}

void aur_transactions_rewound(aur_transactions *transactions, aur_lsn at) {
    (void)atomic_fetch_add_explicit(&transactions->rewinds, 1, memory_order_acq_rel);
    auri_tables_begin_present(&transactions->tables, at + 1, false);
    forget_head(transactions, at + 1);
}

void aur_transactions_close(aur_transactions *transactions) {
    atomic_store_explicit(&transactions->is_closed, true, memory_order_release);
}

aur_status aur_transactions_format(aur_transactions *transactions, aur_lsn *lsn_out,
                                   aur_error *error) {
    auri_commit commit;
    aur_status status = auri_commit_begin(&commit, transactions, NULL, error);
    if (status != AUR_OK) {
        return status;
    }
    status = aur_space_format(&commit.mtr, error);
    if (status != AUR_OK) {
        return auri_commit_fail(&commit, status, error);
    }
    *lsn_out = auri_commit_end(&commit, NULL, NULL, NULL);
    return AUR_OK;
}

aur_status auri_check_open(const aur_transactions *transactions, aur_error *error) {
    if (atomic_load_explicit(&transactions->is_closed, memory_order_acquire)) {
        return aur_fail(error, AUR_ERR_CLOSED, "the database is closed");
    }
    return AUR_OK;
}

aur_status auri_check_key(size_t key_bytes, aur_error *error) {
    if (key_bytes > AUR_KEY_LIMIT) {
        return aur_fail(error, AUR_ERR_INVALID, "a key of %zu bytes; the limit is %d", key_bytes,
                        AUR_KEY_LIMIT);
    }
    return AUR_OK;
}

aur_status auri_check_value(uint64_t value_bytes, aur_error *error) {
    if (value_bytes > AUR_VALUE_LIMIT) {
        return aur_fail(error, AUR_ERR_INVALID, "a value of %llu bytes; the limit is %llu",
                        (unsigned long long)value_bytes, (unsigned long long)AUR_VALUE_LIMIT);
    }
    return AUR_OK;
}

static _Atomic aur_lsn *own_slot(aur_transactions *transactions) {
    /* Thread ids are addresses of thread blocks: their low bits are equal, so they are mixed. */
    const uint64_t mixed = (uint64_t)pthread_self() * UINT64_C(0x9e3779b97f4a7c15);
    return &transactions->own_commit[mixed >> 56];
}

_Static_assert(AURI_OWN_COMMIT_SLOTS == 1 << (64 - 56), "a slot for every value of the top byte");

void auri_note_own_commit(aur_transactions *transactions, aur_lsn lsn) {
    _Atomic aur_lsn *slot = own_slot(transactions);
    /* Commits come under the latch, in order of their LSNs: the newest is the highest. */
    atomic_store_explicit(slot, lsn, memory_order_release);
}

aur_status auri_await_own_commits(aur_transactions *transactions, bool cached_only,
                                  aur_error *error) {
    if (transactions->options.read_volatile || transactions->options.ungated) {
        return AUR_OK;
    }
    const aur_lsn own = atomic_load_explicit(own_slot(transactions), memory_order_acquire);
    if (own <= aur_log_vdl(transactions->options.log)) {
        return AUR_OK;
    }
    if (cached_only) {
        return AUR_WOULD_BLOCK;
    }
    const aur_status status = aur_log_wait_durable(transactions->options.log, own,
                                                   transactions->options.wait_slice_ns, error);
    if (status == AUR_ERR_QUORUM || status == AUR_ERR_FENCED) { /* the head is gone */
        aur_error_clear(error);
        return AUR_OK;
    }
    return status;
}

aur_lsn auri_reading_point(const aur_transactions *transactions) {
    return transactions->options.read_volatile ? aur_log_head(transactions->options.log)
                                               : aur_log_vdl(transactions->options.log);
}

void auri_await_head(aur_transactions *transactions) {
    if (transactions->points.head_is_claimed) {
        auri_note_reader(transactions);
    }
    auri_read_points_await_head(&transactions->points);
}

void auri_await_reading_point(aur_transactions *transactions) {
    if (transactions->options.read_volatile) {
        auri_await_head(transactions);
    }
}

/* Looks up page counts if no commit is under way; they may be read a moment late. */
static void refresh_page_counts(aur_transactions *transactions) {
    if (pthread_mutex_trylock(&transactions->latch) != 0) {
        return;
    }
    uint64_t used;
    aur_page_id extent;
    if (aur_log_head(transactions->options.log) > 0 &&
        aur_space_used(transactions->space, &used, NULL) == AUR_OK &&
        aur_space_extent(transactions->space, &extent, NULL) == AUR_OK) {
        atomic_store_explicit(&transactions->pages_used, used, memory_order_relaxed);
        atomic_store_explicit(&transactions->pages_extent, extent, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&transactions->latch);
}

uint32_t aur_transactions_groups_wanted(const aur_transactions *transactions) {
    return atomic_load_explicit(&transactions->groups_wanted, memory_order_relaxed);
}

void aur_transactions_get_counts(aur_transactions *transactions, aur_transactions_counts *out) {
    auri_read_points *points = &transactions->points;
    refresh_page_counts(transactions);
    memset(out, 0, sizeof *out);
    out->commits = atomic_load_explicit(&transactions->commits, memory_order_relaxed);
    out->conflicts = atomic_load_explicit(&transactions->conflicts, memory_order_relaxed);
    out->pages_used = atomic_load_explicit(&transactions->pages_used, memory_order_relaxed);
    out->pages_extent = atomic_load_explicit(&transactions->pages_extent, memory_order_relaxed);
    (void)pthread_mutex_lock(&points->lock);
    out->snapshots = points->references[AURI_POINT_READER] + points->references[AURI_POINT_WRITER];
    (void)pthread_mutex_unlock(&points->lock);
}
