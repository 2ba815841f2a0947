#include "sql/ticket.h"

#include "base/clock.h"

struct auri_ticket_waiter {
    auri_ticket_waiter *next;
    const void *who;
    uint64_t since_ns;
    bool is_called; /* told that the ticket is free, and has not looked yet */
    bool is_interrupted;
    pthread_cond_t is_given;
};

void auri_ticket_init(auri_ticket *ticket) {
    *ticket = (auri_ticket){.holder = NULL};
    (void)pthread_mutex_init(&ticket->lock, NULL);
}

void auri_ticket_destroy(auri_ticket *ticket) { (void)pthread_mutex_destroy(&ticket->lock); }

static void enqueue(auri_ticket *ticket, auri_ticket_waiter *waiter) {
    if (ticket->last == NULL) {
        ticket->first = waiter;
    } else {
        ticket->last->next = waiter;
    }
    ticket->last = waiter;
}

static void dequeue(auri_ticket *ticket, auri_ticket_waiter *waiter) {
    auri_ticket_waiter *before = NULL;
    for (auri_ticket_waiter *at = ticket->first; at != waiter; at = at->next) {
        before = at;
    }
    if (before == NULL) {
        ticket->first = waiter->next;
    } else {
        before->next = waiter->next;
    }
    if (ticket->last == waiter) {
        ticket->last = before;
    }
}

/* Whether it is the turn of the first in line, and of nobody else. Locked. */
static bool is_owed(const auri_ticket *ticket, uint64_t now) {
    return ticket->first != NULL && now - ticket->first->since_ns >= AURI_TICKET_PATIENCE_NS &&
           now - ticket->last_turn_ns >= AURI_TICKET_TURN_NS;
}

static bool is_deserted(const auri_ticket *ticket, uint64_t now) {
    return ticket->holder == NULL || (ticket->is_idle && now >= ticket->idle_until_ns);
}

static void give(auri_ticket *ticket, const void *who) {
    ticket->holder = who;
    ticket->is_idle = false;
}

static void wait_until(auri_ticket *ticket, auri_ticket_waiter *waiter, uint64_t until_ns) {
    const struct timespec until = aur_timespec_of(until_ns);
    (void)pthread_cond_timedwait(&waiter->is_given, &ticket->lock, &until);
}

/* Wakes the first in line, who looks whether it is theirs. Locked. */
static void wake_first(auri_ticket *ticket) {
    if (ticket->first != NULL && !ticket->first->is_called) {
        ticket->first->is_called = true;
        (void)pthread_cond_signal(&ticket->first->is_given);
    }
}

static void init_condition(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

static uint64_t earlier(uint64_t left, uint64_t right) { return left < right ? left : right; }

/* Keeps its place in line meanwhile, and may be given the ticket. Locked, but for the question. */
static void ask(auri_ticket *ticket, auri_ticket_waiter *waiter, const auri_watch *watch) {
    (void)pthread_mutex_unlock(&ticket->lock);
    const bool goes_on = watch->goes_on(watch->context);
    (void)pthread_mutex_lock(&ticket->lock);
    waiter->is_interrupted = waiter->is_interrupted || !goes_on;
}

/* Until it is given, deserted in front of the first, called off, or the time is over. Locked. */
static void stand_in_line(auri_ticket *ticket, auri_ticket_waiter *waiter, uint64_t until,
                          const auri_watch *watch) {
    uint64_t now = waiter->since_ns;
    uint64_t asked_ns = now;
    while (ticket->holder != waiter->who && now < until && !waiter->is_interrupted) {
        if (ticket->first == waiter && is_deserted(ticket, now)) {
            give(ticket, waiter->who);
            break;
        }
        waiter->is_called = false;
        uint64_t wake_ns = ticket->is_idle ? earlier(ticket->idle_until_ns, until) : until;
        wake_ns = watch != NULL ? earlier(asked_ns + AURI_TICKET_WATCH_NS, wake_ns) : wake_ns;
        wait_until(ticket, waiter, wake_ns);
        now = aur_monotonic_ns();
        if (watch != NULL && now - asked_ns >= AURI_TICKET_WATCH_NS && now < until) {
            ask(ticket, waiter, watch);
            now = aur_monotonic_ns();
            asked_ns = now;
        }
    }
}

/* Locked. */
static aur_status await(auri_ticket *ticket, const void *who, uint64_t timeout_ns,
                        const auri_watch *watch) {
    auri_ticket_waiter waiter = {.who = who, .since_ns = aur_monotonic_ns()};
    init_condition(&waiter.is_given);
    enqueue(ticket, &waiter);
    stand_in_line(ticket, &waiter, waiter.since_ns + timeout_ns, watch);
    dequeue(ticket, &waiter);
    if (ticket->is_idle || ticket->holder == NULL) {
        wake_first(ticket); /* another is first now, and has to look what that means */
    }
    (void)pthread_cond_destroy(&waiter.is_given);
    if (ticket->holder == who) {
        return AUR_OK;
    }
    return waiter.is_interrupted ? AUR_INTERRUPTED : AUR_TIMEOUT;
}

aur_status auri_ticket_take(auri_ticket *ticket, const void *who, uint64_t timeout_ns,
                            const auri_watch *watch) {
    aur_status status = AUR_OK;
    (void)pthread_mutex_lock(&ticket->lock);
    const uint64_t now = aur_monotonic_ns();
    if (ticket->holder == who || (is_deserted(ticket, now) && !is_owed(ticket, now))) {
        give(ticket, who);
    } else {
        status = timeout_ns == 0 ? AUR_TIMEOUT : await(ticket, who, timeout_ns, watch);
    }
    (void)pthread_mutex_unlock(&ticket->lock);
    return status;
}

void auri_ticket_interrupt(auri_ticket *ticket, const void *who) {
    (void)pthread_mutex_lock(&ticket->lock);
    for (auri_ticket_waiter *at = ticket->first; at != NULL; at = at->next) {
        if (at->who == who) {
            at->is_interrupted = true;
            (void)pthread_cond_signal(&at->is_given);
        }
    }
    (void)pthread_mutex_unlock(&ticket->lock);
}

void auri_ticket_give_up(auri_ticket *ticket, const void *who) {
    (void)pthread_mutex_lock(&ticket->lock);
    if (ticket->holder == who) {
        const uint64_t now = aur_monotonic_ns();
        const bool is_turn = is_owed(ticket, now);
        give(ticket, is_turn ? ticket->first->who : NULL);
        ticket->last_turn_ns = is_turn ? now : ticket->last_turn_ns;
        wake_first(ticket);
    }
    (void)pthread_mutex_unlock(&ticket->lock);
}

void auri_ticket_leave(auri_ticket *ticket, const void *who, uint64_t grace_ns) {
    (void)pthread_mutex_lock(&ticket->lock);
    if (ticket->holder == who) {
        ticket->is_idle = true;
        ticket->idle_until_ns = aur_monotonic_ns() + grace_ns;
        wake_first(ticket); /* so that it waits no longer than that */
    }
    (void)pthread_mutex_unlock(&ticket->lock);
}

bool auri_ticket_is_held(auri_ticket *ticket, const void *who) {
    (void)pthread_mutex_lock(&ticket->lock);
    const bool is_held = ticket->holder == who;
    (void)pthread_mutex_unlock(&ticket->lock);
    return is_held;
}
