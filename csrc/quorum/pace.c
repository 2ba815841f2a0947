/*
 * A writer in a hurry keeps in step with copies whose background work is behind. Without that,
 * those that the storage worker serves last in a long burst fall back until no other copy has what
 * they lack, and must be rebuilt whole, although nothing is wrong with them.
 *
 * It waits for nobody long: a copy that does not recover in that time falls behind the tail and
 * catches up by itself, and is not waited for any more (I8). Nor does a commit wait that is smaller
 * than a boxcar.
 */
#include "base/clock.h"
#include "quorum/quorum_private.h"

enum {
    STEP_NS = 100 * 1000 * 1000, /* for each full boxcar */
    BACKLOG_SHARE = 2,           /* a copy may lack this part of the tail before it is waited for */
};

static bool is_outrun(auri_copy *copy) {
    return copy->throttled && !copy->failed && !auri_copy_lagging(copy) &&
           auri_tail_bytes_from(copy->group, copy->position) >
               copy->group->quorum->options.backlog_bytes / BACKLOG_SHARE;
}

/* Lock held. */
static bool somebody_is_outrun(const aur_quorum *quorum) {
    for (uint32_t g = 0; g < quorum->group_count; g++) {
        for (uint32_t at = 0; at < quorum->options.copies; at++) {
            if (is_outrun(&quorum->groups[g]->copies[at])) {
                return true;
            }
        }
    }
    return false;
}

void aur_quorum_keep_step(aur_quorum *quorum) {
    if (quorum->transport == NULL) {
        return; /* nobody but the caller could help the copy */
    }
    auri_quorum_lock(quorum);
    if (somebody_is_outrun(quorum)) {
        const uint64_t end_ns = aur_monotonic_ns() + STEP_NS;
        uint64_t now_ns = end_ns - STEP_NS;
        while (now_ns < end_ns && quorum->running && somebody_is_outrun(quorum)) {
            auri_condition_wait(quorum, &quorum->background.resumed, end_ns - now_ns);
            now_ns = aur_monotonic_ns();
        }
    }
    auri_quorum_unlock(quorum);
}
