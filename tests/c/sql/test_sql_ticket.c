/* The right to write: one holder, in the order of asking for those who have waited, within a time,
 * and taken over from who went away. */
#include <pthread.h>
#include <stdatomic.h>

#include "../harness.h"
#include "sql/ticket.h"

enum { THREADS = 6, ROUNDS = 400 };

static const uint64_t ms = 1000000;
static const uint64_t long_ns = UINT64_C(60000000000);

static auri_ticket ticket;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- threads that ask, and note when they were given it ---- */

typedef struct asker {
    pthread_t thread;
    uint64_t timeout_ns;
    const auri_watch *watch;
    aur_status status;
    int place; /* order of being given it */
} asker;

static atomic_int given;

static void *ask(void *context) {
    asker *who = context;
    who->status = auri_ticket_take(&ticket, who, who->timeout_ns, who->watch);
    if (who->status == AUR_OK) {
        who->place = atomic_fetch_add(&given, 1);
        auri_ticket_give_up(&ticket, who);
    }
    return NULL;
}

static bool is_in_line(const void *last_before) {
    pthread_mutex_lock(&ticket.lock);
    const bool is_longer = ticket.last != NULL && (const void *)ticket.last != last_before;
    pthread_mutex_unlock(&ticket.lock);
    return is_longer;
}

/* Returns when it stands in line. */
static void start_watched(asker *who, uint64_t timeout_ns, const auri_watch *watch) {
    pthread_mutex_lock(&ticket.lock);
    const void *last = ticket.last;
    pthread_mutex_unlock(&ticket.lock);
    *who = (asker){.timeout_ns = timeout_ns, .watch = watch, .place = -1};
    CHECK(pthread_create(&who->thread, NULL, ask, who) == 0);
    while (!is_in_line(last)) {
        const struct timespec pause = {0, 100000};
        nanosleep(&pause, NULL);
    }
}

static void start(asker *who, uint64_t timeout_ns) { start_watched(who, timeout_ns, NULL); }

static void finish(asker *who) { CHECK(pthread_join(who->thread, NULL) == 0); }

static void sleep_ns(uint64_t duration_ns) {
    const struct timespec pause = {(time_t)(duration_ns / 1000000000),
                                   (long)(duration_ns % 1000000000)};
    nanosleep(&pause, NULL);
}

TEST(it_is_given_in_the_order_of_asking_to_those_who_have_waited) {
    asker askers[THREADS];
    auri_ticket_init(&ticket);
    atomic_store(&given, 0);
    CHECK_OK(auri_ticket_take(&ticket, &ticket, 0, NULL));
    CHECK_OK(auri_ticket_take(&ticket, &ticket, 0, NULL)); /* it has it already */
    for (int at = 0; at < THREADS; at++)
        start(&askers[at], long_ns);
    CHECK_STATUS(auri_ticket_take(&ticket, "other", 0, NULL), AUR_TIMEOUT);
    auri_ticket_give_up(&ticket, "other"); /* of who has it not: nothing */
    CHECK_EQ_U64((uint64_t)atomic_load(&given), 0);
    sleep_ns(AURI_TICKET_PATIENCE_NS);
    auri_ticket_give_up(&ticket, &ticket);
    for (int at = 0; at < THREADS; at++) {
        finish(&askers[at]);
        CHECK_OK(askers[at].status);
        CHECK_EQ_I64(askers[at].place, at);
    }
    CHECK(ticket.holder == NULL && ticket.first == NULL && ticket.last == NULL);
    auri_ticket_destroy(&ticket);
}

/* While others hold it for moments only, one that waits is overtaken for its patience at most,
 * however many come: each of them gives up a ticket that it never slept for. */
TEST(who_waits_is_overtaken_for_a_while_only) {
    asker patient;
    auri_ticket_init(&ticket);
    atomic_store(&given, 0);
    CHECK_OK(auri_ticket_take(&ticket, &ticket, 0, NULL));
    start(&patient, long_ns);
    const uint64_t begin = now_ns();
    uint64_t overtakings = 0;
    auri_ticket_give_up(&ticket, &ticket);
    while (atomic_load(&given) == 0 && now_ns() - begin < 30000 * ms) {
        if (auri_ticket_take(&ticket, "hasty", 0, NULL) == AUR_OK) {
            auri_ticket_give_up(&ticket, "hasty");
            overtakings++;
        }
    }
    CHECK_MSG(atomic_load(&given) == 1, "still waiting after being overtaken %llu times",
              (unsigned long long)overtakings);
    finish(&patient);
    CHECK_OK(patient.status);
    auri_ticket_destroy(&ticket);
}

/* Whoever gave up waiting is not waited for: neither at the head, nor inside, nor at the end. */
TEST(who_waits_too_long_leaves_the_line) {
    asker patient[2];
    asker hasty[3];
    auri_ticket_init(&ticket);
    atomic_store(&given, 0);
    CHECK_OK(auri_ticket_take(&ticket, &ticket, 0, NULL));
    const uint64_t begin = now_ns();
    start(&hasty[0], 200 * ms);
    start(&patient[0], long_ns);
    start(&hasty[1], 200 * ms);
    start(&patient[1], long_ns);
    start(&hasty[2], 200 * ms);
    for (int at = 0; at < 3; at++) {
        finish(&hasty[at]);
        CHECK_STATUS(hasty[at].status, AUR_TIMEOUT);
    }
    CHECK(now_ns() - begin >= 200 * ms);
    sleep_ns(AURI_TICKET_PATIENCE_NS);
    auri_ticket_give_up(&ticket, &ticket);
    for (int at = 0; at < 2; at++) {
        finish(&patient[at]);
        CHECK_EQ_I64(patient[at].place, at);
    }
    CHECK(ticket.first == NULL && ticket.last == NULL);
    auri_ticket_destroy(&ticket);
}

TEST(who_comes_back_in_time_has_it_still) {
    asker other;
    auri_ticket_init(&ticket);
    CHECK_OK(auri_ticket_take(&ticket, &ticket, 0, NULL));
    auri_ticket_leave(&ticket, &ticket, long_ns);
    CHECK_STATUS(auri_ticket_take(&ticket, "other", 0, NULL), AUR_TIMEOUT);
    start(&other, 50 * ms);
    CHECK(auri_ticket_is_held(&ticket, &ticket));
    CHECK_OK(auri_ticket_take(&ticket, &ticket, 0, NULL));
    finish(&other);
    CHECK_STATUS(other.status, AUR_TIMEOUT);
    CHECK(!auri_ticket_is_held(&ticket, "other"));
    auri_ticket_give_up(&ticket, &ticket);
    CHECK(!auri_ticket_is_held(&ticket, &ticket));
    auri_ticket_destroy(&ticket);
}

/* It waits as long as the other may come back, and no longer; whether it stood in line before. */
TEST(it_is_taken_over_from_who_stays_away) {
    for (int before = 0; before < 2; before++) {
        asker other;
        auri_ticket_init(&ticket);
        CHECK_OK(auri_ticket_take(&ticket, &ticket, 0, NULL));
        const uint64_t begin = now_ns();
        if (before == 0)
            auri_ticket_leave(&ticket, &ticket, 100 * ms);
        start(&other, long_ns);
        if (before == 1)
            auri_ticket_leave(&ticket, &ticket, 100 * ms);
        finish(&other);
        CHECK_OK(other.status);
        CHECK(now_ns() - begin >= 100 * ms && now_ns() - begin < 30000 * ms);
        CHECK(!auri_ticket_is_held(&ticket, &ticket));
        auri_ticket_destroy(&ticket);
    }
    auri_ticket_init(&ticket);
    CHECK_OK(auri_ticket_take(&ticket, &ticket, 0, NULL));
    auri_ticket_leave(&ticket, &ticket, 0);
    CHECK_OK(auri_ticket_take(&ticket, "other", 0, NULL)); /* nobody in line: at once */
    auri_ticket_destroy(&ticket);
}

/* The first in line goes away while the holder is away: the next one has to look. */
TEST(the_next_in_line_takes_over_as_well) {
    asker first;
    asker second;
    auri_ticket_init(&ticket);
    CHECK_OK(auri_ticket_take(&ticket, &ticket, 0, NULL));
    auri_ticket_leave(&ticket, &ticket, 150 * ms);
    start(&first, 50 * ms);
    start(&second, long_ns);
    finish(&first);
    finish(&second);
    CHECK_STATUS(first.status, AUR_TIMEOUT);
    CHECK_OK(second.status);
    auri_ticket_destroy(&ticket);
}

static bool count_down(void *context) {
    CHECK(pthread_mutex_trylock(&ticket.lock) == 0); /* nobody else uses it */
    pthread_mutex_unlock(&ticket.lock);
    return --*(int *)context > 0;
}

/* The watch is asked again and again, without the lock; who is called off leaves the line. */
TEST(a_wait_is_called_off_by_its_watch) {
    int left = 3;
    const auri_watch watch = {count_down, &left};
    asker other;
    auri_ticket_init(&ticket);
    CHECK_OK(auri_ticket_take(&ticket, &ticket, 0, NULL));
    const uint64_t begin = now_ns();
    start_watched(&other, long_ns, &watch);
    finish(&other);
    CHECK_STATUS(other.status, AUR_INTERRUPTED);
    CHECK_EQ_I64(left, 0);
    CHECK(now_ns() - begin >= 3 * AURI_TICKET_WATCH_NS && now_ns() - begin < 30000 * ms);
    CHECK(ticket.first == NULL && auri_ticket_is_held(&ticket, &ticket));
    auri_ticket_destroy(&ticket);
}

/* Only the one that is meant, at once, and only while it waits. */
TEST(a_wait_is_called_off_from_outside) {
    asker first;
    asker second;
    auri_ticket_init(&ticket);
    CHECK_OK(auri_ticket_take(&ticket, &ticket, 0, NULL));
    auri_ticket_interrupt(&ticket, &second);
    auri_ticket_interrupt(&ticket, &ticket);
    start(&first, long_ns);
    start(&second, long_ns);
    auri_ticket_interrupt(&ticket, &second);
    finish(&second);
    CHECK_STATUS(second.status, AUR_INTERRUPTED);
    auri_ticket_give_up(&ticket, &ticket);
    finish(&first);
    CHECK_OK(first.status);
    auri_ticket_destroy(&ticket);
}

/* ---- many threads ---- */

static uint64_t inside; /* guarded by the ticket alone */

static void *run(void *context) {
    uint64_t *random = context;
    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t kind = harness_random_next(random) % 8;
        if (auri_ticket_take(&ticket, context, kind == 0 ? 20000 : long_ns, NULL) != AUR_OK)
            continue;
        inside++;
        if (kind == 1) {
            auri_ticket_leave(&ticket, context, harness_random_next(random) % 50000);
            if (auri_ticket_take(&ticket, context, 0, NULL) != AUR_OK)
                continue;
            inside++;
        }
        auri_ticket_give_up(&ticket, context);
    }
    return NULL;
}

/* What only the holder touches needs no other lock (the race detector looks), and nobody hangs. */
TEST(only_one_is_inside) {
    pthread_t threads[THREADS];
    uint64_t seeds[THREADS];
    auri_ticket_init(&ticket);
    inside = 0;
    for (int at = 0; at < THREADS; at++) {
        seeds[at] = random_u64();
        CHECK(pthread_create(&threads[at], NULL, run, &seeds[at]) == 0);
    }
    for (int at = 0; at < THREADS; at++)
        CHECK(pthread_join(threads[at], NULL) == 0);
    CHECK(inside > ROUNDS && inside <= 2 * THREADS * ROUNDS);
    CHECK(ticket.first == NULL && ticket.last == NULL);
    auri_ticket_destroy(&ticket);
}
