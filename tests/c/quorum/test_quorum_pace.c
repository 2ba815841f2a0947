/* A writer in a hurry waits for a copy whose background work is behind, but never long. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "quorum/quorum_fixture.h"
#include "quorum/quorum_private.h"

enum { PATIENCE_MS = 60000, STEP_MS = 100, TAIL_FRAMES = 16, BEHIND = 5 };

/* Where the storage worker stands still, while it is closed. */
typedef struct gate {
    atomic_bool closed;
    atomic_bool reached;
} gate;

static void pass(void *context, aur_retention *out) {
    gate *own = context;
    (void)out;
    atomic_store(&own->reached, true);
    while (atomic_load(&own->closed)) {
        usleep(1000);
    }
}

static void close_gate(gate *own) {
    atomic_store(&own->closed, true);
    atomic_store(&own->reached, false);
    for (int waited_ms = 0; !atomic_load(&own->reached); waited_ms++) {
        CHECK(waited_ms < PATIENCE_MS);
        usleep(1000);
    }
}

static void *open_soon(void *context) {
    usleep(20 * 1000);
    atomic_store(&((gate *)context)->closed, false);
    return NULL;
}

static void throttle(fixture *cluster) {
    auri_quorum_lock(cluster->quorum);
    cluster->quorum->groups[0]->copies[BEHIND].throttled = true;
    auri_quorum_unlock(cluster->quorum);
}

static bool is_throttled(fixture *cluster) {
    auri_quorum_lock(cluster->quorum);
    const bool throttled = cluster->quorum->groups[0]->copies[BEHIND].throttled;
    auri_quorum_unlock(cluster->quorum);
    return throttled;
}

/* Ships boxcars of one frame, and waits until all but one of the copies have them. */
static aur_lsn ship(fixture *cluster, aur_lsn next, uint32_t boxcars, aur_lsn *last) {
    const uint32_t records[] = {1};
    for (; boxcars > 0; boxcars--) {
        next = fixture_ship(cluster, next, records, true, last) + 1;
    }
    for (uint32_t copy = 0; copy < BEHIND; copy++) {
        for (int waited_ms = 0; fixture_scl(cluster, 0, copy) < next - 1; waited_ms++) {
            CHECK(waited_ms < PATIENCE_MS);
            usleep(1000);
        }
    }
    return next;
}

static uint64_t step_ms(fixture *cluster) {
    const uint64_t begin_ns = aur_monotonic_ns();
    aur_quorum_keep_step(cluster->quorum);
    return (aur_monotonic_ns() - begin_ns) / 1000000;
}

/* Whether a writer waits as long as it may. Asked several times, because a busy machine makes
 * anybody wait now and then. */
static bool waits(fixture *cluster) {
    for (int tries = 0; tries < 3; tries++) {
        if (step_ms(cluster) < STEP_MS) {
            return false;
        }
    }
    return true;
}

TEST(a_burst_keeps_in_step_with_copies) {
    fixture cluster;
    gate worker = {0};
    pthread_t opener;
    aur_lsn last[1] = {0};
    fixture_create(&cluster, AUR_DRIVE_THREADS, 6, 1, TAIL_FRAMES * AUR_FRAME_ALIGN, false);
    aur_quorum_set_retention(cluster.quorum, pass, &worker);
    fixture_start(&cluster, 0);
    aur_lsn next = ship(&cluster, 1, TAIL_FRAMES, last);
    CHECK(!waits(&cluster)); /* nobody is behind */

    close_gate(&worker);
    throttle(&cluster);
    next = ship(&cluster, next, TAIL_FRAMES / 4, last);
    CHECK(!waits(&cluster)); /* not far */
    next = ship(&cluster, next, TAIL_FRAMES / 2, last);
    CHECK(waits(&cluster)); /* far, and nothing can be done about it */
    CHECK(is_throttled(&cluster));

    CHECK(pthread_create(&opener, NULL, open_soon, &worker) == 0);
    for (int steps = 0; is_throttled(&cluster); steps++) {
        CHECK(steps < PATIENCE_MS / STEP_MS);
        (void)step_ms(&cluster);
    }
    CHECK(pthread_join(opener, NULL) == 0);
    for (int waited_ms = 0; fixture_scl(&cluster, 0, BEHIND) < next - 1; waited_ms++) {
        CHECK(waited_ms < PATIENCE_MS);
        usleep(1000);
    }

    close_gate(&worker);
    throttle(&cluster);
    (void)ship(&cluster, next, 2 * TAIL_FRAMES, last);
    CHECK(!waits(&cluster)); /* behind the tail: it catches up by itself */
    CHECK(is_throttled(&cluster));
    atomic_store(&worker.closed, false);
    fixture_destroy(&cluster);
}
