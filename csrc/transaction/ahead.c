/*
 * A commit knows which leaves it will change before it reads the first of them. Those that are not
 * in the pool are announced some way ahead, so that the disk reads them together while the commit
 * goes from one to the next. The first ones are announced before the latch is taken: commits that
 * wait for it then wait for their pages at the same time.
 *
 * Where everything is in the pool that is work for nothing, so it is only done for a while after a
 * commit had to read.
 */
#include "transaction/transaction_private.h"

enum {
    WRITES_AHEAD = 64,    /* a disk that is asked for so many blocks at once is busy enough */
    MISSING_COMMITS = 32, /* after the last one that had to read */
};

static bool is_due(const aur_transactions *transactions) {
    return atomic_load_explicit(&transactions->missing_commits, memory_order_relaxed) > 0;
}

void auri_ahead_learn(aur_transactions *transactions, uint64_t loads_before) {
    const unsigned left =
        atomic_load_explicit(&transactions->missing_commits, memory_order_relaxed);
    if (aur_buffer_loads(transactions->options.buffer) != loads_before) {
        atomic_store_explicit(&transactions->missing_commits, MISSING_COMMITS,
                              memory_order_relaxed);
    } else if (left > 0) {
        atomic_store_explicit(&transactions->missing_commits, left - 1, memory_order_relaxed);
    }
}

void auri_ahead_step(auri_use *use, const aur_reader *reader) {
    const auri_write *write = use->unannounced;
    if (write != NULL) {
        aur_tree_will_read(reader, &use->table->tree, auri_write_key(write), write->key_bytes,
                           &use->announced);
        use->unannounced = auri_write_next(write);
    }
}

/* No read point is registered, so only what is in the pool may be looked at. */
static aur_reader unregistered_reader(const aur_transactions *transactions) {
    return auri_reader(transactions, auri_reading_point(transactions), true);
}

void auri_ahead_begin(aur_transaction *transaction) {
    aur_transactions *transactions = transaction->transactions;
    const aur_reader reader = auri_transaction_is_blind(transaction)
                                  ? unregistered_reader(transactions)
                                  : auri_reader(transactions, transaction->read_point, false);
    const bool announces = is_due(transactions);
    for (size_t at = 0; at < transaction->use_count; at++) {
        auri_use *use = &transaction->uses[at];
        const bool has_leaves =
            use->has_writes && !use->is_dropped &&
            atomic_load_explicit(&use->table->creator, memory_order_relaxed) != transaction;
        use->unannounced = announces && has_leaves ? auri_write_map_first(&use->writes) : NULL;
        use->announced = use->table->tree.root; /* which is a leaf only while it is alone */
        for (int write = 0; write < WRITES_AHEAD && use->unannounced != NULL; write++) {
            auri_ahead_step(use, &reader);
        }
    }
}

void auri_ahead_one(aur_transactions *transactions, aur_table *table, const uint8_t *key,
                    size_t key_bytes) {
    if (!is_due(transactions)) {
        return;
    }
    const aur_reader reader = unregistered_reader(transactions);
    if (auri_tables_check(&transactions->tables, &reader, table, NULL) == AUR_OK) {
        aur_page_id announced = table->tree.root;
        aur_tree_will_read(&reader, &table->tree, key, key_bytes, &announced);
    }
}
