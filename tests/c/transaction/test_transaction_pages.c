/* Views and commits of whole pages: what a view sees, one mini-transaction for several databases,
 * and eras. */
#include "api/api_private.h"
#include "transaction/pages.h"
#include "transaction/stack.h"

static stack world;
static aur_error error;

static aur_transactions *transactions(void) { return world.engine->transactions; }

/* ---- commits that make databases and resize them ---- */

typedef struct change {
    aur_page_commit commit;
    const char *name;
    aur_table *database; /* NULL: it is to be made */
    uint32_t pages;
    aur_status fails;
} change;

static aur_status apply(void *context, aur_writer *writer, aur_error *why) {
    change *made = context;
    if (made->fails != AUR_OK)
        return aur_fail(why, made->fails, "as the test wants");
    aur_status status = AUR_OK;
    if (made->database == NULL)
        status = aur_page_commit_create(&made->commit, writer, made->name, strlen(made->name),
                                        &made->database, why);
    return status == AUR_OK
               ? aur_page_file_resize(writer, aur_view_map(made->database), made->pages, why)
               : status;
}

static change change_of(aur_transaction *view, const char *name, aur_table *database,
                        uint32_t pages) {
    return (change){.commit = {.view = view, .demand = {0, database == NULL}, .apply = apply},
                    .name = name,
                    .database = database,
                    .pages = pages};
}

static aur_status commit_all(change *changes, size_t count, aur_lsn *lsn_out) {
    aur_page_commit commits[4];
    for (size_t at = 0; at < count; at++) {
        changes[at].commit.context = &changes[at];
        commits[at] = changes[at].commit;
    }
    const aur_status status =
        aur_transactions_commit_pages(transactions(), commits, count, lsn_out, &error);
    return status;
}

static aur_transaction *view_head(void) {
    aur_transaction *view = NULL;
    CHECK_OK(aur_transactions_view_head(transactions(), &view, &error));
    return view;
}

/* Pages of a database at a view; -1: it is not there. */
static int64_t size_at(const aur_transaction *view, const char *name) {
    aur_table *database = NULL;
    const aur_reader reader = aur_view_reader(view);
    uint32_t pages;
    const aur_status found = aur_view_find(view, name, strlen(name), &database, &error);
    if (found == AUR_NOT_FOUND)
        return -1;
    CHECK_OK(found);
    const aur_status status = aur_page_file_size(&reader, aur_view_map(database), &pages, &error);
    CHECK_OK(aur_view_judge(view, status, &error));
    return pages;
}

TEST(views_at_vdl_and_at_the_head) {
    aur_lsn lsn = 0;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    aur_transaction *writer = view_head();
    change made = change_of(writer, "db", NULL, 11);
    CHECK_OK(commit_all(&made, 1, &lsn));
    CHECK_EQ_U64(aur_transaction_read_point(writer), lsn);
    CHECK_EQ_I64(size_at(writer, "db"), 11);
    aur_transaction *head = view_head();
    CHECK_EQ_U64(aur_transaction_read_point(head), lsn);
    CHECK_EQ_I64(size_at(head, "db"), 11);
    aur_transaction *durable = NULL;
    CHECK_STATUS(aur_transactions_begin(transactions(), true, false, &durable, &error),
                 AUR_TIMEOUT);
    stack_settle(&world);
    durable = begin(&world, true);
    CHECK_EQ_I64(size_at(durable, "db"), 11);
    /* The others stay where they are when one goes on. */
    made.pages = 12;
    CHECK_OK(commit_all(&made, 1, &lsn));
    CHECK_EQ_I64(size_at(writer, "db"), 12);
    CHECK_EQ_I64(size_at(head, "db"), 11);
    CHECK_EQ_I64(size_at(durable, "db"), 11);
    aur_transaction_destroy(durable);
    aur_transaction_destroy(head);
    aur_transaction_destroy(writer);
    stack_close(&world);
}

/* Tables and databases do not show among each other, whatever their names. */
TEST(databases_stand_beside_tables) {
    aur_lsn lsn = 0;
    char name[AUR_SQL_NAME_LIMIT];
    size_t bytes;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    (void)open_table(&world, "same");
    aur_transaction *view = view_head();
    change made[] = {change_of(view, "same", NULL, 1), change_of(view, "a", NULL, 2)};
    CHECK_OK(commit_all(made, 2, &lsn));
    CHECK_OK(aur_view_next_name(view, "", 0, name, &bytes, &error));
    CHECK(bytes == 1 && name[0] == 'a');
    CHECK_OK(aur_view_next_name(view, name, bytes, name, &bytes, &error));
    CHECK(bytes == 4 && memcmp(name, "same", 4) == 0);
    CHECK_STATUS(aur_view_next_name(view, name, bytes, name, &bytes, &error), AUR_NOT_FOUND);
    aur_transaction_destroy(view);
    aur_transaction *reader = begin(&world, true);
    CHECK_OK(aur_transaction_table_name(reader, 0, name, &bytes, &error));
    CHECK(bytes == 4 && memcmp(name, "same", 4) == 0);
    CHECK_STATUS(aur_transaction_table_name(reader, 1, name, &bytes, &error), AUR_NOT_FOUND);
    CHECK_OK(commit(reader));
    stack_close(&world);
}

/* Two views, three databases, one LSN: nobody sees one without the others, also after a recovery
 * that loses them. */
TEST(several_views_commit_as_one) {
    aur_lsn lsn = 0;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    aur_transaction *first = view_head();
    aur_transaction *second = view_head();
    change made[] = {change_of(first, "a", NULL, 1), change_of(second, "b", NULL, 2),
                     change_of(second, "c", NULL, 3)};
    CHECK_OK(commit_all(made, 3, &lsn));
    CHECK_EQ_U64(aur_transaction_read_point(first), lsn);
    CHECK_EQ_U64(aur_transaction_read_point(second), lsn);
    stack_settle(&world);
    for (int at = 0; at < 3; at++)
        made[at].pages += 10;
    CHECK_OK(commit_all(made, 3, &lsn));
    aur_transaction *head = view_head();
    CHECK(size_at(head, "a") == 11 && size_at(head, "b") == 12 && size_at(head, "c") == 13);
    aur_transaction_destroy(head);
    stack_recover(&world); /* before it was durable */
    head = view_head();
    CHECK(size_at(head, "a") == 1 && size_at(head, "b") == 2 && size_at(head, "c") == 3);
    aur_transaction_destroy(head);
    aur_transaction_destroy(second);
    aur_transaction_destroy(first);
    stack_close(&world);
}

/* A view of another era commits nothing, not even what views of this one would. */
TEST(views_of_another_era_are_refused) {
    aur_lsn lsn = 0;
    aur_lsn ignored;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    aur_transaction *old = view_head();
    change made = change_of(old, "db", NULL, 1);
    CHECK_OK(commit_all(&made, 1, &lsn));
    stack_settle(&world);
    made.pages = 2;
    CHECK_OK(commit_all(&made, 1, &ignored));
    stack_settle(&world);
    const aur_era before = aur_transactions_era(transactions());
    CHECK(aur_era_is(before, aur_view_era(old)));
    for (int round = 0; round < 2; round++) {
        if (round == 0)
            (void)stack_backtrack(&world, lsn);
        else
            stack_recover(&world);
        CHECK(!aur_era_is(aur_view_era(old), aur_transactions_era(transactions())));
        aur_transaction *fresh = view_head();
        CHECK(aur_era_is(aur_view_era(fresh), aur_transactions_era(transactions())));
        CHECK_EQ_I64(size_at(fresh, "db"), 1);
        change both[] = {change_of(fresh, "other", NULL, 9), change_of(old, "db", NULL, 5)};
        CHECK_STATUS(commit_all(both, 2, &ignored), AUR_ERR_CONFLICT);
        CHECK_EQ_I64(size_at(fresh, "other"), -1);
        CHECK_OK(commit_all(both, 1, &ignored));
        CHECK_EQ_I64(size_at(fresh, "other"), 9);
        aur_transaction_destroy(fresh);
        stack_settle(&world);
        if (round == 0) {
            aur_transaction_destroy(old);
            old = view_head();
            (void)stack_backtrack(&world, lsn); /* "other" is to be made again */
        }
    }
    CHECK(aur_transactions_present(transactions()) > 0);
    aur_transaction_destroy(old);
    stack_close(&world);
}

TEST(a_change_that_fails_before_it_began_changes_nothing) {
    aur_lsn lsn = 0;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    aur_transaction *view = view_head();
    change made = change_of(view, "db", NULL, 4);
    made.fails = AUR_ERR_FULL;
    CHECK_STATUS(commit_all(&made, 1, &lsn), AUR_ERR_FULL);
    CHECK_EQ_I64(size_at(view, "db"), -1);
    made.fails = AUR_OK;
    CHECK_OK(commit_all(&made, 1, &lsn));
    CHECK_EQ_I64(size_at(view, "db"), 4);
    aur_transactions_close(transactions());
    CHECK_STATUS(commit_all(&made, 1, &lsn), AUR_ERR_CLOSED);
    aur_transaction_destroy(view);
    stack_close(&world);
}
