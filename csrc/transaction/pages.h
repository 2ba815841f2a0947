/*
 * Views and commits for an engine that keeps whole pages in the volume: the SQL databases. Its
 * pages lie in page files, its view of them is an aur_transaction that reads, and what several of
 * its databases change in one transaction is one mini-transaction.
 *
 * P1  A view is at VDL; or at the head, for who is about to write, or at a moment of the past.
 * P2  Who commits stands at a view. Afterwards the view is at the commit, whoever has committed
 *     since.
 * P3  An *era* begins when the volatile head is lost or history is rewound. LSNs of two views are
 *     comparable when their eras are the same.
 *
 * Thread rule: a view by one thread at a time, different ones freely.
 */
#ifndef AUR_TRANSACTION_PAGES_H
#define AUR_TRANSACTION_PAGES_H

#include "btree/page_file.h"
#include "transaction/transaction.h"

typedef struct aur_era {
    unsigned generation;
    unsigned rewinds;
} aur_era;

static inline bool aur_era_is(aur_era left, aur_era right) {
    return left.generation == right.generation && left.rewinds == right.rewinds;
}

/* The era of now, and that of a view. */
aur_era aur_transactions_era(const aur_transactions *transactions);
aur_era aur_view_era(const aur_transaction *view);

/* Where the history that is the present began: at read points below it views see another one. */
aur_lsn aur_transactions_present(const aur_transactions *transactions);

/* A view at the head; VDL, like any read-only transaction: aur_transactions_begin. A moment of the
 * past: aur_transactions_view. */
aur_status aur_transactions_view_head(aur_transactions *transactions, aur_transaction **view_out,
                                      aur_error *error) AUR_CHECKED;

/* How to read at a view; what a read that failed really means (the head may have been lost). */
aur_reader aur_view_reader(const aur_transaction *view);
aur_status aur_view_judge(const aur_transaction *view, aur_status status, aur_error *error);

enum { AUR_SQL_NAME_LIMIT = AUR_TABLE_NAME_LIMIT - 1 };

/* The SQL database of a name at a view. *database (may be NULL) is what was found last, asked
 * first. AUR_NOT_FOUND. */
aur_status aur_view_find(const aur_transaction *view, const char *name, size_t name_bytes,
                         aur_table **database, aur_error *error) AUR_CHECKED;
const aur_tree *aur_view_map(const aur_table *database);

/* The first name of an SQL database behind `after` (empty: the first of all) at a view.
 * `name_out` has AUR_SQL_NAME_LIMIT bytes. AUR_NOT_FOUND. */
aur_status aur_view_next_name(const aur_transaction *view, const char *after, size_t after_bytes,
                              char *name_out, size_t *name_bytes_out, aur_error *error) AUR_CHECKED;

/* Pages that a commit adds, whatever they are: for growing the volume ahead. */
typedef struct aur_page_demand {
    uint64_t extents;
    bool creates; /* a database */
} aur_page_demand;

/* What one view commits. `apply` makes its changes; inside, aur_page_commit_create and _drop. */
typedef struct aur_page_commit {
    aur_transaction *view;
    aur_page_demand demand;
    aur_status (*apply)(void *context, aur_writer *writer, aur_error *error);
    void *context;
} aur_page_commit;

/* Makes, or drops, the SQL database of a name; *database is what the view then finds. */
aur_status aur_page_commit_create(const aur_page_commit *commit, aur_writer *writer,
                                  const char *name, size_t name_bytes, aur_table **database,
                                  aur_error *error) AUR_CHECKED;
/* Gives the SQL database `from` another name, which none has; *database is what the view finds by
 * it. */
aur_status aur_page_commit_rename(const aur_page_commit *commit, aur_writer *writer,
                                  aur_table *from, const char *name, size_t name_bytes,
                                  aur_table **database, aur_error *error) AUR_CHECKED;
aur_status aur_page_commit_drop(const aur_page_commit *commit, aur_writer *writer,
                                aur_table *database, aur_error *error) AUR_CHECKED;

/*
 * Commits what several views (`count`, 1 or more) change, in one mini-transaction; waits until the
 * volume has the room. Each view is at the commit afterwards. AUR_ERR_CONFLICT: a view is of
 * another era. AUR_ERR_FULL, AUR_ERR_QUORUM, AUR_ERR_FENCED, AUR_ERR_CLOSED: nothing was done.
 * Errors of `apply` after its first change lose the volatile head.
 */
aur_status aur_transactions_commit_pages(aur_transactions *transactions, aur_page_commit *commits,
                                         size_t count, aur_lsn *lsn_out,
                                         aur_error *error) AUR_CHECKED;

#endif
