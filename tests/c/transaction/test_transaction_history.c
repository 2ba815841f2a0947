/*
 * The past against a model that keeps every state there ever was. Random commits into tables that
 * come and go, rewinds back and forward to any moment, losses of the volatile head, and views that
 * are open across all of it. A view reads exactly the state of its moment, finds the same objects
 * for the same tables, and the head is where the model says.
 */
#include "transaction/stack.h"

enum {
    TABLES = 5, /* the last one is the database itself */
    DATABASE = TABLES - 1,
    KEYS = 30,
    STATES_MAX = 3000,
    INCARNATIONS_MAX = 2000,
    VIEWS = 8,
};

/* A table as it is at some moment. Number 0: the key is not there. */
typedef struct table_state {
    uint32_t incarnation; /* which of all tables; 0: there is none; 1: the database itself */
    uint32_t numbers[KEYS];
} table_state;

typedef struct state {
    uint64_t lsn; /* the moment */
    table_state tables[TABLES];
} state;

static stack world;
static state
    states[STATES_MAX]; /* all of the past, ascending by moment; the last one is the head */
static size_t state_count;
/* Of each incarnation; of one that was dropped by its creator there is none. */
static aur_table *objects[INCARNATIONS_MAX];
static uint32_t incarnations;
static uint32_t numbers;
static uint64_t horizon;

typedef struct view {
    aur_transaction *transaction;
    size_t state;
} view;
static view views[VIEWS];

static state *head(void) { return &states[state_count - 1]; }

static void push_state(const state *next, uint64_t lsn) {
    CHECK(state_count < STATES_MAX);
    CHECK(state_count == 0 || lsn > head()->lsn);
    states[state_count] = *next;
    states[state_count++].lsn = lsn;
}

static const char *key_of(uint32_t key) {
    static char text[16];
    (void)snprintf(text, sizeof text, "key %u", key);
    return text;
}

/* Long ones among them, so that trees split and values overflow. */
static const char *value_of(uint32_t number) {
    static char text[3000];
    const size_t length = number % 11 == 0 ? 2500 : 10 + number % 300;
    memset(text, 'a' + (char)(number % 26), length);
    text[length] = 0;
    const int digits = snprintf(NULL, 0, "%u", number);
    (void)snprintf(text, (size_t)digits + 1, "%u", number);
    text[digits] = ' ';
    return text;
}

static const char *name_of(uint32_t table) {
    static const char *const names[TABLES] = {"alpha", "beta", "gamma", "delta", NULL};
    return names[table];
}

static aur_status find_table(aur_transaction *transaction, uint32_t table, bool create,
                             aur_table **out) {
    aur_error error;
    *out = NULL;
    return table == DATABASE ? AUR_OK
                             : aur_transaction_table(transaction, name_of(table),
                                                     strlen(name_of(table)), create, out, &error);
}

/* ---- commits ---- */

/* Creates the table if it is not there; drops it now and then. */
static aur_table *prepare_table(aur_transaction *transaction, uint32_t table, state *next) {
    aur_table *object;
    table_state *now = &next->tables[table];
    CHECK_STATUS(find_table(transaction, table, false, &object),
                 now->incarnation != 0 ? AUR_OK : AUR_NOT_FOUND);
    if (now->incarnation == 0) {
        CHECK_OK(find_table(transaction, table, true, &object));
        CHECK(incarnations + 1 < INCARNATIONS_MAX);
        now->incarnation = ++incarnations;
        memset(now->numbers, 0, sizeof now->numbers);
        objects[now->incarnation] = object;
    } else {
        CHECK(object == objects[now->incarnation]);
    }
    return object;
}

static void change_table(aur_transaction *transaction, uint32_t table, state *next) {
    table_state *now = &next->tables[table];
    aur_error error;
    if (table != DATABASE && now->incarnation != 0 && random_below(6) == 0) {
        const char *name = name_of(table);
        CHECK_OK(aur_transaction_drop_table(transaction, name, strlen(name), &error));
        *now = (table_state){0};
        return;
    }
    aur_table *object = prepare_table(transaction, table, next);
    for (uint64_t writes = 1 + random_below(random_below(6) == 0 ? KEYS : 4); writes > 0;
         writes--) {
        const uint32_t key = (uint32_t)random_below(KEYS);
        if (random_below(4) == 0) {
            CHECK(erase(transaction, object, key_of(key)) == (now->numbers[key] != 0));
            now->numbers[key] = 0;
        } else {
            now->numbers[key] = ++numbers;
            put(transaction, object, key_of(key), value_of(numbers));
        }
    }
}

/* The object of a table that its creator dropped again serves for another one. */
static void forget_unborn(uint32_t first, const state *next) {
    for (uint32_t incarnation = first; incarnation <= incarnations; incarnation++) {
        bool is_born = false;
        for (uint32_t table = 0; table < TABLES; table++) {
            is_born |= next->tables[table].incarnation == incarnation;
        }
        objects[incarnation] = is_born ? objects[incarnation] : NULL;
    }
}

static bool has_object(uint32_t incarnation) {
    return incarnation == 1 || objects[incarnation] != NULL;
}

static void commit_some(void) {
    const uint32_t first = incarnations + 1;
    state next = *head();
    uint64_t lsn;
    aur_error error;
    aur_transaction *transaction = begin(&world, false);
    for (uint64_t changes = 1 + random_below(3); changes > 0; changes--) {
        change_table(transaction, (uint32_t)random_below(TABLES), &next);
    }
    const aur_status status = aur_transaction_commit(transaction, &lsn, &error);
    CHECK_MSG(status == AUR_OK, "commit: %d %s", (int)status, error.message);
    aur_transaction_destroy(transaction);
    forget_unborn(first, &next);
    if (lsn > head()->lsn) {
        push_state(&next, lsn);
    } else { /* nothing was changed: there is no record */
        CHECK_EQ_MEM(next.tables, head()->tables, sizeof next.tables);
    }
}

/* With an object of any time: it works if that very table exists at the head. */
static void put_alone(void) {
    const uint32_t incarnation = (uint32_t)random_below(incarnations + 1);
    aur_table *object = objects[incarnation];
    uint32_t table = 0;
    while (table < TABLES && head()->tables[table].incarnation != incarnation) {
        table++;
    }
    if (!has_object(incarnation)) {
        return;
    }
    const uint32_t key = (uint32_t)random_below(KEYS);
    state next = *head();
    uint64_t lsn;
    aur_error error;
    const char *value = value_of(++numbers);
    const aur_status status =
        aur_engine_put(world.engine, object, as_bytes(key_of(key)), strlen(key_of(key)),
                       as_bytes(value), strlen(value), &lsn, &error);
    CHECK_STATUS(status, table < TABLES ? AUR_OK : AUR_NO_TABLE);
    if (status == AUR_OK) {
        next.tables[table].numbers[key] = numbers;
        push_state(&next, lsn);
    }
}

static void get_alone(void) {
    const uint32_t table = (uint32_t)random_below(TABLES);
    const uint32_t key = (uint32_t)random_below(KEYS);
    const table_state *now = &head()->tables[table];
    aur_found found = {0};
    aur_error error;
    if (now->incarnation == 0) {
        return;
    }
    stack_settle(&world);
    const aur_status status =
        aur_engine_get(world.engine, objects[now->incarnation], as_bytes(key_of(key)),
                       strlen(key_of(key)), false, &found, &error);
    CHECK_STATUS(status, now->numbers[key] != 0 ? AUR_OK : AUR_NOT_FOUND);
    if (status == AUR_OK) {
        CHECK_EQ_U64(found.length, strlen(value_of(now->numbers[key])));
        aur_found_release(&found);
    }
}

/* ---- views ---- */

static void check_table(aur_transaction *transaction, uint32_t table, const table_state *then) {
    aur_table *object;
    aur_error error;
    uint64_t count;
    uint64_t expected = 0;
    const bool exists = then->incarnation != 0;
    CHECK_STATUS(find_table(transaction, table, false, &object), exists ? AUR_OK : AUR_NOT_FOUND);
    if (!exists) {
        return;
    }
    CHECK(object == objects[then->incarnation]);
    for (uint32_t key = 0; key < KEYS; key++) {
        const uint32_t number = then->numbers[key];
        CHECK(reads(transaction, object, key_of(key), number == 0 ? NULL : value_of(number)));
        expected += number != 0;
    }
    CHECK_OK(aur_transaction_count(transaction, object, &count, &error));
    CHECK_EQ_U64(count, expected);
}

/* What is listed are the names of the tables that exist. */
static void check_names(aur_transaction *transaction, const state *then) {
    char name[AUR_TABLE_NAME_LIMIT];
    size_t name_bytes;
    size_t listed = 0;
    aur_error error;
    for (uint32_t table = 0; table < DATABASE; table++) {
        listed += then->tables[table].incarnation != 0;
    }
    for (size_t index = 0; index < listed; index++) {
        CHECK_OK(aur_transaction_table_name(transaction, index, name, &name_bytes, &error));
    }
    CHECK_STATUS(aur_transaction_table_name(transaction, listed, name, &name_bytes, &error),
                 AUR_NOT_FOUND);
}

/* Another table's object, of any time: the view sees that very table or none. */
static void check_stranger(aur_transaction *transaction, const state *then) {
    const uint32_t incarnation = (uint32_t)random_below(incarnations + 1);
    aur_found found = {0};
    aur_error error;
    bool exists = false;
    for (uint32_t table = 0; table < TABLES; table++) {
        exists |= then->tables[table].incarnation == incarnation;
    }
    if (!has_object(incarnation)) {
        return;
    }
    const aur_status status = aur_transaction_get(transaction, objects[incarnation],
                                                  as_bytes("none"), 4, false, &found, &error);
    CHECK_STATUS(status, exists ? AUR_NOT_FOUND : AUR_NO_TABLE);
}

static void check_view(const view *which) {
    const state *then = &states[which->state];
    CHECK_EQ_U64(aur_transaction_read_point(which->transaction), then->lsn);
    check_stranger(which->transaction, then);
    if (random_below(4) == 0) {
        check_names(which->transaction, then);
    }
    for (uint32_t table = 0; table < TABLES; table++) {
        if (random_below(2) == 0) {
            check_table(which->transaction, table, &then->tables[table]);
        }
    }
}

static bool is_pinned(uint64_t lsn) {
    for (size_t at = 0; at < VIEWS; at++) {
        if (views[at].transaction != NULL && states[views[at].state].lsn == lsn) {
            return true;
        }
    }
    return false;
}

static void open_view(void) {
    view *which = &views[random_below(VIEWS)];
    aur_error error;
    stack_settle(&world);
    const size_t chosen = random_below(4) == 0 ? state_count - 1 : random_below(state_count);
    const uint64_t lsn = states[chosen].lsn;
    const bool is_retained = lsn >= horizon || is_pinned(lsn);
    aur_transaction *transaction = NULL;
    CHECK_STATUS(aur_engine_view(world.engine, lsn, &transaction, &error),
                 is_retained ? AUR_OK : AUR_ERR_SNAPSHOT);
    CHECK(is_retained == (transaction != NULL));
    if (is_retained) {
        aur_transaction_destroy(which->transaction);
        *which = (view){transaction, chosen};
        check_view(which);
    }
}

static void check_some_view(void) {
    const view *which = &views[random_below(VIEWS)];
    if (which->transaction != NULL) {
        check_view(which);
    }
}

static void raise_horizon(void) {
    uint64_t pins[VIEWS];
    stack_settle(&world);
    const uint64_t lsn = states[random_below(state_count)].lsn;
    aur_engine_set_horizon(world.engine, lsn);
    horizon = lsn > horizon ? lsn : horizon;
    CHECK_EQ_U64(aur_engine_horizon(world.engine), horizon);
    const size_t count = aur_engine_pins(world.engine, horizon, pins, VIEWS);
    CHECK(count <= VIEWS);
    for (size_t at = 0; at < count; at++) {
        CHECK(is_pinned(pins[at]) && pins[at] < horizon);
        CHECK(at == 0 || pins[at - 1] < pins[at]);
    }
}

/* ---- rewinds ---- */

/* Everything is the same from here as it was then. */
static void rewind_to_some(void) {
    size_t chosen = random_below(state_count);
    stack_settle(&world);
    while (states[chosen].lsn < horizon) {
        chosen++;
    }
    aur_transaction *begun_before = begin(&world, false);
    put(begun_before, NULL, "key 0", "lost");
    const uint64_t at = stack_backtrack(&world, states[chosen].lsn);
    CHECK_STATUS(commit(begun_before), AUR_ERR_CONFLICT);
    push_state(&states[chosen], at + 1);
}

/* The engine dies between the two steps of a backtrack, and recovery carries it out. */
static void rewind_in_doubt(void) {
    size_t chosen = random_below(state_count);
    aur_error error;
    uint64_t at;
    stack_settle(&world);
    while (states[chosen].lsn < horizon) {
        chosen++;
    }
    CHECK_OK(aur_engine_hold(world.engine, 0, &at, &error));
    const aur_rewind rewind = {
        .at = at, .to = states[chosen].lsn, .epoch = world.epoch, .kind = AUR_REWIND_BACKTRACK};
    stack_record(&world, &rewind);
    aur_engine_release(world.engine);
    check_some_view();
    stack_recover(&world);
    push_state(&states[chosen], at + 1);
}

/* Commits that are not durable yet are lost. */
static void lose_head(void) {
    stack_settle(&world);
    const size_t durable = state_count;
    for (uint64_t commits = random_below(4); commits > 0; commits--) {
        commit_some();
        if (commits > 1) {
            break; /* begin settles: only the newest one is sure to be volatile */
        }
    }
    (void)durable;
    aur_engine_status status;
    aur_engine_get_status(world.engine, &status);
    stack_recover(&world);
    while (head()->lsn > status.vdl) {
        state_count--;
    }
}

static void verify(void) {
    aur_engine_verified verified;
    aur_error error;
    const aur_status status = aur_engine_verify(world.engine, &verified, &error);
    CHECK_MSG(status == AUR_OK, "verify: %s", error.message);
    CHECK_EQ_U64(verified.leaked_pages, 0);
}

static void check_everything(void) {
    stack_settle(&world);
    for (size_t at = 0; at < state_count; at += 1 + random_below(1 + state_count / 40)) {
        aur_error error;
        view whole = {NULL, at};
        if (states[at].lsn < horizon) {
            continue;
        }
        CHECK_OK(aur_engine_view(world.engine, states[at].lsn, &whole.transaction, &error));
        for (uint32_t table = 0; table < TABLES; table++) {
            check_table(whole.transaction, table, &states[at].tables[table]);
        }
        aur_transaction_destroy(whole.transaction);
    }
}

static void step(uint64_t choice) {
    if (choice < 40) {
        commit_some();
    } else if (choice < 50) {
        put_alone();
    } else if (choice < 60) {
        get_alone();
    } else if (choice < 75) {
        open_view();
    } else if (choice < 94) {
        check_some_view();
    } else if (choice < 98 && world.rewind_count + 2 < STACK_REWINDS_MAX) {
        rewind_to_some();
    } else if (choice == 98 && world.rewind_count + 2 < STACK_REWINDS_MAX) {
        random_below(2) == 0 ? lose_head() : rewind_in_doubt();
    } else if (choice == 99) {
        random_below(10) == 0 ? raise_horizon() : verify();
    }
}

static void run_model(uint64_t cache_bytes, bool read_volatile) {
    aur_engine_options options = stack_options(AUR_ENGINE_DRIVE_MANUAL);
    aur_engine_status status;
    const state empty = {.tables[DATABASE].incarnation = 1};
    options.cache_bytes = cache_bytes;
    options.read_volatile = read_volatile;
    stack_open_with(&world, &options);
    aur_engine_get_status(world.engine, &status);
    state_count = 0;
    incarnations = 1;
    numbers = 0;
    horizon = 0;
    memset(views, 0, sizeof views);
    memset(objects, 0, sizeof objects);
    push_state(&empty, status.vdl);
    for (int round = 0; round < 1500; round++) {
        step(random_below(100));
    }
    check_everything();
    for (size_t at = 0; at < VIEWS; at++) {
        aur_transaction_destroy(views[at].transaction);
    }
    stack_close(&world);
}

TEST(every_moment_reads_as_it_was) { run_model(16 << 20, false); }

TEST(every_moment_reads_as_it_was_in_a_small_pool) { run_model(160 << 10, false); }

TEST(every_moment_reads_as_it_was_beside_a_volatile_head) { run_model(16 << 20, true); }
