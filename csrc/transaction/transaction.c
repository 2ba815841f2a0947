/* A transaction's life: how it begins and ends, and what every operation asks first. */
#include "transaction/transaction_private.h"

#include <stdlib.h>
#include <string.h>

enum { USES_KEPT = 16 };

/* ---- begin and end ---- */

static aur_transaction *create_transaction(aur_transactions *transactions) {
    aur_transaction *transaction = calloc(1, sizeof *transaction);
    if (transaction != NULL) {
        transaction->transactions = transactions;
        (void)pthread_mutex_init(&transaction->lock, NULL);
    }
    return transaction;
}

/* One that is not open yet, from the spare ones or new. The points' lock is held. NULL: out of
 * memory. */
static aur_transaction *take(aur_transactions *transactions) {
    aur_transaction *transaction = transactions->spare;
    if (transaction == NULL) {
        transaction = create_transaction(transactions);
        if (transaction == NULL) {
            return NULL;
        }
    } else {
        transactions->spare = transaction->next_spare;
    }
    /* Before the read point: a loss of the head in between then shows as another generation. */
    transaction->generation = atomic_load_explicit(&transactions->generation, memory_order_acquire);
    transaction->rewinds = atomic_load_explicit(&transactions->rewinds, memory_order_acquire);
    return transaction;
}

static void open_at(aur_transaction *transaction, bool read_only, auri_point *point,
                    aur_lsn read_point) {
    transaction->point = point;
    transaction->read_point = read_point;
    transaction->read_only = read_only;
    transaction->is_durable = read_point <= aur_log_vdl(transaction->transactions->options.log);
    atomic_store_explicit(&transaction->is_open, true, memory_order_relaxed);
}

aur_transaction *auri_transaction_open(aur_transactions *transactions, bool read_only,
                                       aur_lsn moment) {
    aur_transaction *transaction = take(transactions);
    if (transaction == NULL) {
        return NULL;
    }
    aur_lsn read_point = moment;
    if (read_only) {
        auri_note_reader(transactions);
    }
    if (moment == AUR_LSN_MAX) {
        read_point =
            read_only ? auri_reading_point(transactions) : aur_log_head(transactions->options.log);
    }
    auri_point *point = auri_read_points_add(
        &transactions->points, read_only ? AURI_POINT_READER : AURI_POINT_WRITER, read_point);
    if (point == NULL) {
        transaction->next_spare = transactions->spare;
        transactions->spare = transaction;
        return NULL;
    }
    open_at(transaction, read_only, point, read_point);
    return transaction;
}

static aur_status judge_open(const aur_transaction *transaction, aur_error *error) {
    return transaction != NULL
               ? AUR_OK
               : aur_fail(error, AUR_ERR_MEMORY, "no memory to begin a transaction");
}

aur_status aur_transactions_begin(aur_transactions *transactions, bool read_only, bool cached_only,
                                  aur_transaction **transaction_out, aur_error *error) {
    *transaction_out = NULL;
    aur_status status = auri_check_open(transactions, error);
    if (status == AUR_OK && read_only) {
        status = auri_await_own_commits(transactions, cached_only, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&transactions->points.lock);
    if (cached_only && transactions->points.head_is_claimed) {
        (void)pthread_mutex_unlock(&transactions->points.lock);
        return AUR_WOULD_BLOCK;
    }
    if (read_only) {
        auri_await_reading_point(transactions);
    } else {
        auri_await_head(transactions);
    }
    *transaction_out = auri_transaction_open(transactions, read_only, AUR_LSN_MAX);
    (void)pthread_mutex_unlock(&transactions->points.lock);
    return judge_open(*transaction_out, error);
}

aur_status aur_transactions_begin_blind(aur_transactions *transactions,
                                        aur_transaction **transaction_out, aur_error *error) {
    *transaction_out = NULL;
    const aur_status status = auri_check_open(transactions, error);
    if (status != AUR_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&transactions->points.lock);
    *transaction_out = take(transactions);
    (void)pthread_mutex_unlock(&transactions->points.lock);
    if (*transaction_out != NULL) {
        open_at(*transaction_out, false, NULL, 0);
    }
    return judge_open(*transaction_out, error);
}

/* Makes it as good as new, keeping the memory that the next transaction will want. */
static void clear_transaction(aur_transaction *transaction) {
    auri_read_set_clear(&transaction->reads);
    transaction->use_count = 0;
    transaction->last_use = 0;
    transaction->change_count = 0;
    transaction->listed_index = 0;
    transaction->listed_bytes = 0;
    if (transaction->use_capacity > USES_KEPT) {
        free(transaction->uses);
        transaction->uses = NULL;
        transaction->use_capacity = 0;
    }
    if (transaction->arena == NULL) {
        return;
    }
    if (auri_arena_is_private(transaction->arena)) {
        auri_arena_reset(transaction->arena);
    } else {
        auri_arena_release(transaction->arena); /* the values that were found in it keep it */
        transaction->arena = NULL;
    }
}

void auri_transaction_end(aur_transaction *transaction, bool is_committed) {
    aur_transactions *transactions = transaction->transactions;
    for (size_t at = 0; at < transaction->change_count; at++) {
        const auri_change *change = &transaction->changes[at];
        if (change->is_drop) {
            continue;
        }
        if (is_committed) {
            auri_tables_settle(&transactions->tables, change->table);
        } else {
            auri_tables_abandon(&transactions->tables, change->table);
        }
    }
    if (transaction->point != NULL) {
        (void)pthread_mutex_lock(&transactions->points.lock);
        auri_read_points_remove(&transactions->points, transaction->point);
        (void)pthread_mutex_unlock(&transactions->points.lock);
        transaction->point = NULL;
    }
    atomic_store_explicit(&transaction->is_open, false, memory_order_relaxed);
    clear_transaction(transaction);
}

void aur_transaction_rollback(aur_transaction *transaction) {
    (void)pthread_mutex_lock(&transaction->lock);
    if (aur_transaction_is_open(transaction)) {
        auri_transaction_end(transaction, false);
    }
    (void)pthread_mutex_unlock(&transaction->lock);
}

void aur_transaction_destroy(aur_transaction *transaction) {
    if (transaction == NULL) {
        return;
    }
    aur_transactions *transactions = transaction->transactions;
    if (aur_transaction_is_open(transaction)) {
        aur_transaction_rollback(transaction);
    }
    (void)pthread_mutex_lock(&transactions->points.lock);
    transaction->next_spare = transactions->spare;
    transactions->spare = transaction;
    (void)pthread_mutex_unlock(&transactions->points.lock);
}

bool aur_transaction_is_open(const aur_transaction *transaction) {
    return atomic_load_explicit(&transaction->is_open, memory_order_relaxed);
}

aur_lsn aur_transaction_read_point(const aur_transaction *transaction) {
    return transaction->read_point;
}

/* ---- what every operation asks first ---- */

static bool head_was_lost(const aur_transaction *transaction) {
    return transaction->generation !=
           atomic_load_explicit(&transaction->transactions->generation, memory_order_acquire);
}

static bool was_rewound(const aur_transaction *transaction) {
    return transaction->rewinds !=
           atomic_load_explicit(&transaction->transactions->rewinds, memory_order_acquire);
}

/* Whether the transaction stands on commits that were lost, or would write into another history
 * than it reads. */
static aur_status check_head(const aur_transaction *transaction, aur_error *error) {
    const bool is_lost = head_was_lost(transaction);
    if (is_lost && !transaction->read_only) {
        return aur_fail(error, AUR_ERR_CONFLICT,
                        "what this transaction read was lost with the write quorum; run it again");
    }
    if (is_lost && !transaction->is_durable) {
        return aur_fail(error, AUR_ERR_SNAPSHOT,
                        "the moment of this view was lost with the "
                        "write quorum; begin another");
    }
    if (!transaction->read_only && was_rewound(transaction)) {
        return aur_fail(error, AUR_ERR_CONFLICT,
                        "the database went back to another moment after this transaction had begun "
                        "(a backtrack); run it again");
    }
    return AUR_OK;
}

aur_status auri_transaction_check(const aur_transaction *transaction, aur_error *error) {
    if (!aur_transaction_is_open(transaction)) {
        return aur_fail(error, AUR_ERR_CLOSED, "the transaction is over");
    }
    const aur_status status = auri_check_open(transaction->transactions, error);
    return status == AUR_OK ? check_head(transaction, error) : status;
}

aur_status auri_transaction_check_tables(const aur_transaction *transaction, aur_error *error) {
    const aur_status status = auri_transaction_check(transaction, error);
    return status != AUR_OK || !auri_transaction_is_blind(transaction)
               ? status
               : aur_fail(error, AUR_ERR_INVALID, "a blind transaction knows no tables");
}

aur_status auri_transaction_judge(const aur_transaction *transaction, aur_status status,
                                  aur_error *error) {
    if (status >= AUR_OK) {
        return status;
    }
    const aur_status head_status = check_head(transaction, error);
    return head_status == AUR_OK ? status : head_status;
}
