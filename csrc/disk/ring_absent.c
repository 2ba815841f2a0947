/* A build without liburing: there is never a ring, and every caller has a way without one. */
#ifndef AUR_HAVE_URING

#include "base/assert.h"
#include "disk/ring.h"

aur_status aur_ring_create(unsigned depth, aur_ring **ring_out) {
    (void)depth;
    (void)ring_out;
    return AUR_NOT_FOUND;
}

void aur_ring_destroy(aur_ring *ring) { AUR_ASSERT(ring == NULL); }

aur_status aur_ring_submit(aur_ring *ring, aur_ring_write *const *writes, unsigned count) {
    (void)ring;
    (void)writes;
    (void)count;
    return AUR_NOT_FOUND;
}

unsigned aur_ring_reap(aur_ring *ring, aur_ring_write **done, unsigned capacity,
                       uint64_t timeout_ns, bool hears_wakes) {
    (void)ring;
    (void)done;
    (void)capacity;
    (void)timeout_ns;
    (void)hears_wakes;
    return 0;
}

void aur_ring_wake(aur_ring *ring) { AUR_ASSERT(ring == NULL); }

#endif
