/*
 * Telling the coordinator that something changed: an eventfd, so that no thread of ours ever calls
 * into Python.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "api/api_private.h"

aur_status auri_engine_news_create(aur_engine *engine, aur_error *error) {
    engine->event_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (engine->event_descriptor < 0) {
        return aur_fail_errno(error, errno, "eventfd", "creating the engine's event descriptor");
    }
    return AUR_OK;
}

void auri_engine_news_destroy(aur_engine *engine) {
    if (engine->event_descriptor >= 0) {
        (void)close(engine->event_descriptor);
    }
}

void auri_engine_ring(void *context) {
    aur_engine *engine = context;
    const uint64_t one = 1;
    /* It fails only when the counter is full, and then it is readable anyway. */
    const ssize_t written = write(engine->event_descriptor, &one, sizeof one);
    (void)written;
}

void aur_engine_drain(aur_engine *engine) {
    uint64_t count;
    const ssize_t got = read(engine->event_descriptor, &count, sizeof count);
    (void)got; /* nothing to read: nothing to drain */
}

int aur_engine_event_descriptor(aur_engine *engine) { return engine->event_descriptor; }

void auri_engine_on_news(void *context) {
    aur_engine *engine = context;
    aur_watermarks marks;
    aur_quorum_watermarks(engine->quorum, &marks);
    /* Each change is seen by some caller as a difference to what was seen before it; two callers
     * that overtake each other ring once too often at worst. */
    const bool status_changed = atomic_exchange_explicit(&engine->seen_status, (int)marks.status,
                                                         memory_order_acq_rel) != (int)marks.status;
    const bool copies_changed = atomic_exchange_explicit(&engine->seen_changes, marks.changes,
                                                         memory_order_acq_rel) != marks.changes;
    if (status_changed || copies_changed) {
        auri_engine_ring(engine);
    }
}
