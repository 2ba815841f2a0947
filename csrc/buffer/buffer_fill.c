/*
 * Memory for slots that will be used soon.
 *
 * The system clears memory before it hands it out, and a virtual machine may have to get it from
 * its host first: a fifth of what the thread that fills a database does. So in a large pool another
 * thread asks for it, some huge pages ahead, and never for more than the budget or half of what is
 * in use. No promise: whoever is faster than that thread asks for itself, and failure does not
 * matter, as a page that has no memory yet gets it when it is touched.
 */
#include <sys/mman.h>

#include "base/thread.h"
#include "buffer/buffer_private.h"

enum {
    SLOTS_AT_ONCE = 16,   /* for who needs one now: a fault for each would take longer */
    STEP_BYTES = 2 << 20, /* for the thread: a huge page */
    AHEAD_BYTES = 16 << 20,
    USED_SHARE = 2, /* what is ahead takes at most one part in so many of what is in use */
};

#ifdef MADV_POPULATE_WRITE

static void populate(const auri_slab *slab, uint32_t page_bytes, uint32_t first, uint32_t count) {
    (void)madvise(slab->pages + (size_t)first * page_bytes, (size_t)count * page_bytes,
                  MADV_POPULATE_WRITE);
}

static uint32_t at_most(uint64_t value, uint64_t limit) {
    return (uint32_t)(value < limit ? value : limit);
}

/* Slots of the newest slab that should have memory by now. Lock held. */
static uint32_t goal_of(const auri_memory *memory) {
    const auri_slab *slab = memory->slabs;
    const uint64_t budget =
        memory->slots_max > memory->resident ? memory->slots_max - memory->resident : 0;
    const uint32_t ahead = at_most(AHEAD_BYTES / memory->page_bytes, memory->resident / USED_SHARE);
    return at_most(slab->slots, slab->slots_used + (uint64_t)at_most(ahead, budget));
}

/* Lock held, given up meanwhile. False: there is enough. */
static bool fill_step(auri_memory *memory) {
    auri_slab *slab = memory->slabs;
    if (slab == NULL || slab->slots_filled >= goal_of(memory)) {
        return false;
    }
    const uint32_t first = slab->slots_filled;
    const uint32_t count = at_most(STEP_BYTES / memory->page_bytes, slab->slots - first);
    (void)pthread_mutex_unlock(&memory->lock);
    populate(slab, memory->page_bytes, first, count);
    (void)pthread_mutex_lock(&memory->lock);
    if (slab->slots_filled < first + count) {
        slab->slots_filled = first + count;
    }
    return true;
}

static void *fill_main(void *argument) {
    auri_memory *memory = argument;
    auri_filler *filler = &memory->filler;
    (void)pthread_mutex_lock(&memory->lock);
    while (!filler->is_stopping) {
        if (!fill_step(memory)) {
            filler->is_waiting = true;
            (void)pthread_cond_wait(&filler->wanted, &memory->lock);
            filler->is_waiting = false;
        }
    }
    (void)pthread_mutex_unlock(&memory->lock);
    return NULL;
}

void auri_filler_start(auri_memory *memory) {
    auri_filler *filler = &memory->filler;
    if (filler->is_started || pthread_cond_init(&filler->wanted, NULL) != 0) {
        return;
    }
    filler->is_started = aur_thread_start(&filler->thread, fill_main, memory) == AUR_OK;
    if (!filler->is_started) {
        (void)pthread_cond_destroy(&filler->wanted);
    }
}

void auri_filler_stop(auri_memory *memory) {
    auri_filler *filler = &memory->filler;
    if (!filler->is_started) {
        return;
    }
    (void)pthread_mutex_lock(&memory->lock);
    filler->is_stopping = true;
    (void)pthread_cond_signal(&filler->wanted);
    (void)pthread_mutex_unlock(&memory->lock);
    (void)pthread_join(filler->thread, NULL);
    (void)pthread_cond_destroy(&filler->wanted);
}

void auri_filler_fill(auri_memory *memory) {
    auri_slab *slab = memory->slabs;
    auri_filler *filler = &memory->filler;
    if (slab->slots_used >= slab->slots_filled) {
        populate(slab, memory->page_bytes, slab->slots_used, SLOTS_AT_ONCE);
        slab->slots_filled = slab->slots_used + SLOTS_AT_ONCE;
    }
    if (filler->is_started && filler->is_waiting && slab->slots_filled < goal_of(memory)) {
        filler->is_waiting = false;
        (void)pthread_cond_signal(&filler->wanted);
    }
}

#else

void auri_filler_start(auri_memory *memory) { (void)memory; }

void auri_filler_stop(auri_memory *memory) { (void)memory; }

void auri_filler_fill(auri_memory *memory) { (void)memory; }

#endif
