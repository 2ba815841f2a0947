/*
 * The right to write one database: one holder at a time. A holder that was refused because its view
 * was old keeps it for a moment, *idle*, until it comes back for it.
 *
 * A ticket that is free goes to whoever asks, because a thread that is running uses it at once,
 * while one that must first be woken leaves the database idle meanwhile; but once the first in line
 * has waited AURI_TICKET_PATIENCE_NS it is given in the order of asking. So nobody starves, and
 * each overtaking is bounded.
 *
 * Thread rule: any thread. Its lock is taken inside.
 */
#ifndef AUR_SQL_TICKET_H
#define AUR_SQL_TICKET_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Who was refused comes back for its ticket within microseconds, if at all. */
#define AURI_TICKET_GRACE_NS UINT64_C(5000000)

#define AURI_TICKET_PATIENCE_NS UINT64_C(10000000)

#define AURI_TICKET_TURN_NS UINT64_C(1000000)

/* A wait is looked after this often. */
#define AURI_TICKET_WATCH_NS UINT64_C(100000000)

/* Who is asked in the middle of a wait, without the ticket's lock, whether it goes on. */
typedef struct auri_watch {
    bool (*goes_on)(void *context);
    void *context;
} auri_watch;

typedef struct auri_ticket_waiter auri_ticket_waiter;

typedef struct auri_ticket {
    pthread_mutex_t lock;
    const void *holder; /* who has it: any address; NULL: nobody */
    bool is_idle;
    uint64_t idle_until_ns;
    uint64_t last_turn_ns; /* when it was given to one who had waited */
    auri_ticket_waiter *first;
    auri_ticket_waiter *last;
} auri_ticket;

void auri_ticket_init(auri_ticket *ticket);
void auri_ticket_destroy(auri_ticket *ticket);

/* Waits at most timeout_ns: AUR_OK, AUR_TIMEOUT. AUR_INTERRUPTED: `watch`, which may be NULL, has
 * called the wait off, or auri_ticket_interrupt has. */
aur_status auri_ticket_take(auri_ticket *ticket, const void *who, uint64_t timeout_ns,
                            const auri_watch *watch) AUR_CHECKED;
/* Ends the wait of `who`, if it waits now. */
void auri_ticket_interrupt(auri_ticket *ticket, const void *who);
void auri_ticket_give_up(auri_ticket *ticket, const void *who);

/* The holder goes away for a moment; who waits may take it after `grace_ns`. */
void auri_ticket_leave(auri_ticket *ticket, const void *who, uint64_t grace_ns);
/* Whether it is still the holder's, who takes it again when it has come back. */
bool auri_ticket_is_held(auri_ticket *ticket, const void *who);

#endif
