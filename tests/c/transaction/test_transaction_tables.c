/* Tables: the catalog as transactions see it, races of creation and drop, and their snapshots. */
#include "transaction/stack.h"

static stack world;

static aur_status find(aur_transaction *transaction, const char *name, bool create,
                       aur_table **table_out) {
    aur_error error;
    return aur_transaction_table(transaction, name, strlen(name), create, table_out, &error);
}

static aur_status drop(aur_transaction *transaction, const char *name) {
    aur_error error;
    return aur_transaction_drop_table(transaction, name, strlen(name), &error);
}

static void drop_now(const char *name) {
    aur_transaction *transaction = begin(&world, false);
    CHECK_OK(drop(transaction, name));
    CHECK_OK(commit(transaction));
}

static aur_status put_in(aur_transaction *transaction, aur_table *table) {
    aur_error error;
    return aur_transaction_put(transaction, table, as_bytes("k"), 1, as_bytes("v"), 1, &error);
}

/* The names that a transaction lists, with a space behind each. */
static void check_names(aur_transaction *transaction, const char *expected) {
    char listed[256] = {0};
    char name[AUR_TABLE_NAME_LIMIT];
    size_t name_bytes;
    aur_error error;
    for (size_t index = 0;; index++) {
        const aur_status status =
            aur_transaction_table_name(transaction, index, name, &name_bytes, &error);
        if (status == AUR_NOT_FOUND) {
            break;
        }
        CHECK_OK(status);
        strncat(listed, name, name_bytes);
        strcat(listed, " ");
    }
    CHECK_EQ_STR(listed, expected);
}

TEST(a_table_exists_from_its_commit_on) {
    aur_table *mine = NULL;
    aur_table *theirs = NULL;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    aur_transaction *before = begin(&world, true);
    aur_transaction *creator = begin(&world, false);
    CHECK_STATUS(find(creator, "t", false, &mine), AUR_NOT_FOUND);
    CHECK_OK(find(creator, "t", true, &mine));
    CHECK_OK(find(creator, "t", false, &theirs));
    CHECK(mine == theirs);
    put(creator, mine, "k", "v");
    CHECK(reads(creator, mine, "k", "v"));
    CHECK(reads(creator, mine, "other", NULL));
    aur_found found = {0};
    aur_error error;
    CHECK_STATUS(aur_engine_get(world.engine, mine, as_bytes("k"), 1, false, &found, &error),
                 AUR_NO_TABLE);
    CHECK_OK(commit(creator));
    stack_settle(&world);
    CHECK_STATUS(find(before, "t", false, &theirs), AUR_NOT_FOUND);
    CHECK_STATUS(aur_transaction_get(before, mine, as_bytes("k"), 1, false, &found, &error),
                 AUR_NO_TABLE);
    CHECK_OK(commit(before));
    aur_transaction *after = begin(&world, true);
    CHECK_OK(find(after, "t", false, &theirs));
    CHECK(mine == theirs);
    CHECK(reads(after, theirs, "k", "v"));
    CHECK(reads(after, NULL, "k", NULL));
    CHECK_OK(commit(after));
    stack_close(&world);
}

TEST(a_rolled_back_table_never_was) {
    aur_table *first = NULL;
    aur_table *second = NULL;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    aur_transaction *creator = begin(&world, false);
    CHECK_OK(find(creator, "t", true, &first));
    aur_transaction_destroy(creator);
    creator = begin(&world, false);
    CHECK_STATUS(find(creator, "t", false, &second), AUR_NOT_FOUND);
    CHECK_STATUS(put_in(creator, first), AUR_NO_TABLE);
    /* The same object serves again, so that attempts in a loop do not pile up. */
    CHECK_OK(find(creator, "t", true, &second));
    CHECK(first == second);
    CHECK_OK(put_in(creator, second));
    CHECK_OK(commit(creator));
    stack_close(&world);
}

TEST(a_dropped_table_stays_in_its_snapshots) {
    aur_table *table;
    aur_table *again = NULL;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    table = open_table(&world, "t");
    (void)put_now(&world, table, "k", "old");
    aur_transaction *view = begin(&world, true);
    drop_now("t");
    aur_transaction *creator = begin(&world, false);
    CHECK_STATUS(find(creator, "t", false, &again), AUR_NOT_FOUND);
    CHECK_STATUS(put_in(creator, table), AUR_NO_TABLE);
    CHECK_OK(find(creator, "t", true, &again));
    CHECK(again != table);
    put(creator, again, "k", "new");
    CHECK_OK(commit(creator));
    for (int at = 0; at < 200; at++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%03d", at);
        (void)put_now(&world, again, key, "filling of the pages that were freed, some of it long");
    }
    CHECK(reads(view, table, "k", "old"));
    CHECK_STATUS(find(view, "t", false, &again), AUR_OK);
    CHECK(again == table);
    CHECK_OK(commit(view));
    uint64_t lsn;
    aur_error error;
    CHECK_STATUS(aur_engine_put(world.engine, table, as_bytes("k"), 1, NULL, 0, &lsn, &error),
                 AUR_NO_TABLE);
    CHECK_STATUS(aur_engine_delete(world.engine, table, as_bytes("k"), 1, &lsn, &error),
                 AUR_NO_TABLE);
    stack_close(&world);
}

TEST(races_of_create_and_drop_end_in_conflicts) {
    aur_table *table = NULL;
    aur_table *other = NULL;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    aur_transaction *first = begin(&world, false);
    aur_transaction *second = begin(&world, false);
    CHECK_OK(find(first, "t", true, &table));
    CHECK_OK(find(second, "t", true, &other));
    CHECK(table != other);
    CHECK_OK(commit(first));
    CHECK_STATUS(commit(second), AUR_ERR_CONFLICT);

    /* Who writes blindly into a table that goes meanwhile would write into nothing. */
    aur_transaction *writer = begin(&world, false);
    CHECK_OK(put_in(writer, table));
    aur_transaction *reader = begin(&world, false);
    CHECK(reads(reader, table, "k", NULL));
    put(reader, NULL, "k", "v");
    aur_transaction *elsewhere = begin(&world, false);
    put(elsewhere, NULL, "k", "v");
    drop_now("t");
    CHECK_STATUS(commit(writer), AUR_ERR_CONFLICT);
    CHECK_STATUS(commit(reader), AUR_ERR_CONFLICT);
    CHECK_OK(commit(elsewhere));

    /* Two drops: the second finds that it read a table that is gone. */
    (void)open_table(&world, "t");
    first = begin(&world, false);
    second = begin(&world, false);
    CHECK_OK(drop(first, "t"));
    CHECK_OK(drop(second, "t"));
    CHECK_OK(commit(first));
    CHECK_STATUS(commit(second), AUR_ERR_CONFLICT);
    stack_close(&world);
}

TEST(one_transaction_may_create_drop_and_create) {
    aur_table *table = NULL;
    aur_table *again = NULL;
    aur_error error;
    aur_engine_verified verified;
    uint64_t count;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    aur_table *old = open_table(&world, "t");
    (void)put_now(&world, old, "old", "v");
    aur_transaction *transaction = begin(&world, false);
    CHECK_OK(drop(transaction, "t"));
    CHECK_STATUS(drop(transaction, "t"), AUR_NOT_FOUND);
    CHECK_STATUS(put_in(transaction, old), AUR_NO_TABLE);
    CHECK_OK(find(transaction, "t", true, &table));
    put(transaction, table, "middle", "v");
    CHECK_OK(drop(transaction, "t"));
    CHECK_STATUS(put_in(transaction, table), AUR_NO_TABLE);
    CHECK_OK(find(transaction, "t", true, &again));
    put(transaction, again, "new", "v");
    CHECK_OK(commit(transaction));
    transaction = begin(&world, true);
    CHECK_OK(find(transaction, "t", false, &table));
    CHECK(table == again);
    CHECK_OK(aur_transaction_count(transaction, table, &count, &error));
    CHECK_EQ_U64(count, 1);
    CHECK(reads(transaction, table, "new", "v"));
    CHECK_OK(commit(transaction));
    const aur_status status = aur_engine_verify(world.engine, &verified, &error);
    CHECK_MSG(status == AUR_OK, "verify: %s", error.message);
    CHECK_EQ_U64(verified.records, 1);
    CHECK_EQ_U64(verified.leaked_pages, 0);
    stack_close(&world);
}

TEST(names_are_listed_in_order_with_own_changes) {
    aur_table *table = NULL;
    char name[AUR_TABLE_NAME_LIMIT + 1];
    aur_error error;
    stack_open(&world, AUR_ENGINE_DRIVE_MANUAL);
    (void)open_table(&world, "beta");
    (void)open_table(&world, "delta");
    (void)open_table(&world, "zeta");
    aur_transaction *transaction = begin(&world, false);
    check_names(transaction, "beta delta zeta ");
    CHECK_OK(find(transaction, "alpha", true, &table));
    CHECK_OK(find(transaction, "epsilon", true, &table));
    CHECK_OK(find(transaction, "gone", true, &table));
    CHECK_OK(drop(transaction, "gone"));
    CHECK_OK(drop(transaction, "delta"));
    CHECK_OK(drop(transaction, "zeta"));
    CHECK_OK(find(transaction, "zeta", true, &table));
    check_names(transaction, "alpha beta epsilon zeta ");
    aur_transaction *other = begin(&world, false);
    CHECK_OK(find(other, "new", true, &table));
    CHECK_OK(commit(other));
    CHECK_STATUS(commit(transaction), AUR_ERR_CONFLICT);
    transaction = begin(&world, true);
    check_names(transaction, "beta delta new zeta ");
    CHECK_STATUS(find(transaction, "more", true, &table), AUR_ERR_READ_ONLY);
    CHECK_STATUS(drop(transaction, "beta"), AUR_ERR_READ_ONLY);
    memset(name, 'n', sizeof name);
    CHECK_STATUS(aur_transaction_table(transaction, name, sizeof name, false, &table, &error),
                 AUR_ERR_INVALID);
    CHECK_STATUS(aur_transaction_table(transaction, name, 0, false, &table, &error),
                 AUR_ERR_INVALID);
    CHECK_OK(commit(transaction));
    stack_close(&world);
}
