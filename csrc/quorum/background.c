/*
 * Threads beside the write path, in the RING and THREADS drives.
 *
 * The storage worker runs the segments' background work one after the other, woken when much was
 * appended and every WORK_TICK otherwise; it never delays an acknowledgement. One copy of a group
 * builds layers, and the others take them over; while much is appended helpers do that for several
 * copies at a time, because it is mostly waiting for the disk. The watch looks every
 * WATCH_TICK whether the files of each segment are still there, so that a copy that was deleted
 * under a running database is known to have failed soon, also when nothing is written and while the
 * worker is busy.
 */
#include "base/clock.h"
#include "quorum/quorum_private.h"
#include "segment/frame_memory.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

enum {
    WORK_TICK_NS = 100 * 1000 * 1000,
    WATCH_TICK_NS = 150 * 1000 * 1000,
    WORK_WAKE_BYTES = 256 << 10, /* appended per copy before the worker is woken early */
    RESUME_EIGHTHS = 5,          /* of the log that a copy may have in no layer */
    QUIET_ROUNDS = 50, /* so many without an append, mostly a tick each: time to tidy up */
};

#define TRIM_NS UINT64_C(5000000000)

void auri_background_stored(auri_copy *copy, uint64_t bytes) {
    aur_quorum *quorum = copy->group->quorum;
    auri_background *background = &quorum->background;
    background->unworked_bytes += bytes;
    const uint64_t enough = (uint64_t)WORK_WAKE_BYTES * quorum->options.copies;
    if (background->work_sleeping && (copy->throttled || background->unworked_bytes > enough)) {
        background->work_sleeping = false;
        pthread_cond_signal(&background->work_wake);
    }
}

/* The copy may go on when the backlog is small again, or when there is nothing that the worker
 * could do about it: records above the VDL cannot be flushed, and a huge mini-transaction must not
 * wait for itself. */
static void resume(auri_copy *copy, bool worked) {
    aur_quorum *quorum = copy->group->quorum;
    aur_segment_state state;
    aur_segment_get_state(copy->segment, &state);
    if (worked && state.unflushed_bytes > auri_copy_unflushed_limit(copy) / 8 * RESUME_EIGHTHS) {
        return;
    }
    auri_quorum_lock(quorum);
    copy->throttled = false;
    pthread_cond_broadcast(&quorum->background.resumed);
    quorum->transport->enqueue(quorum->transport, copy);
    auri_quorum_unlock(quorum);
}

static void fail_if_dead(auri_copy *copy, const aur_error *error) {
    aur_quorum *quorum = copy->group->quorum;
    aur_segment_state state;
    aur_segment_get_state(copy->segment, &state);
    if (state.health != AUR_SEGMENT_FAILED) {
        return;
    }
    auri_quorum_lock(quorum);
    auri_copy_fail(copy, error);
    auri_quorum_unlock(quorum);
    auri_quorum_announce(quorum);
}

/* The copy that builds the group's layers: a sound one whose layers are furthest, and among those
 * the one that reads prefer, whose memtable has an index. NULL: none is sound. Lock held. */
static auri_copy *choose_leader(auri_group *group) {
    const uint32_t copies = group->quorum->options.copies;
    auri_copy *leader = NULL;
    aur_segment_progress furthest = {0};
    for (uint32_t at = 0; at < copies; at++) {
        auri_copy *copy = &group->copies[(group->number + at) % copies];
        aur_segment_progress progress;
        if (copy->failed || copy->segment == NULL || copy->leaving) {
            continue;
        }
        if (aur_segment_is_sound(copy->segment, &progress) &&
            (leader == NULL || aur_segment_is_further(&progress, &furthest))) {
            leader = copy;
            furthest = progress;
        }
    }
    return leader;
}

/* Whether every copy of the group is in service and has everything, and nothing was appended for a
 * while. Lock held. */
static bool is_quiet(const auri_group *group) {
    bool quiet = group->quorum->background.quiet_rounds >= QUIET_ROUNDS;
    for (uint32_t at = 0; at < group->quorum->options.copies; at++) {
        const auri_copy *copy = &group->copies[at];
        quiet &= copy->segment != NULL && !copy->failed && !copy->leaving &&
                 copy->scl == group->copies[0].scl;
    }
    return quiet;
}

/* A copy whose log is large can make it small once what is in it is in layers, which only the
 * leader builds; on a disk that is nearly full nobody does, as what can wait must not use it up. */
static aur_status tidy_up(auri_copy *copy, const auri_copy *leader, aur_error *error) {
    auri_group *group = copy->group;
    const bool builds =
        leader == NULL && aur_segment_has_space(copy->segment, group->quorum->options.copies);
    const enum aur_tidying tidying = !builds                ? AUR_TIDY_LOG
                                     : group->has_large_log ? AUR_TIDY_FLUSH
                                                            : AUR_TIDY_LAYERS;
    const aur_status status = aur_segment_tidy(copy->segment, tidying, error);
    group->has_large_log =
        (leader != NULL && group->has_large_log) || aur_segment_log_is_large(copy->segment);
    return status;
}

static aur_status work(auri_copy *copy, const auri_copy *leader, bool tidies, aur_error *error) {
    const aur_status status = leader == NULL
                                  ? aur_segment_work(copy->segment, error)
                                  : aur_segment_follow(copy->segment, leader->segment, error);
    return status == AUR_NOT_FOUND && tidies ? tidy_up(copy, leader, error) : status;
}

/* One unit of work for one copy: of its own (`leader` is NULL), or to follow the leader, who is
 * pinned. True when there may be more. Lock held, released meanwhile. */
static bool work_once(auri_copy *copy, auri_copy *leader, const aur_retention *retention) {
    aur_quorum *quorum = copy->group->quorum;
    const aur_lsn vdl = quorum->vdl;
    const bool throttled = copy->throttled;
    const bool tidies = is_quiet(copy->group);
    aur_error error;
    if (copy->failed || !auri_copy_pin(copy)) {
        return false;
    }
    auri_quorum_unlock(quorum);
    aur_error_clear(&error);
    aur_segment_set_vdl(copy->segment, vdl);
    aur_status status = aur_segment_retain(copy->segment, retention);
    if (status == AUR_OK) {
        status = work(copy, leader, tidies, &error);
    }
    if (status != AUR_OK && status != AUR_NOT_FOUND) {
        fail_if_dead(copy, &error);
    }
    if (throttled) {
        resume(copy, status == AUR_OK);
    }
    auri_quorum_lock(quorum);
    auri_copy_unpin(copy);
    return status == AUR_OK;
}

/* The next copy of the round that somebody has to work on; NULL when there is none. Lock held. */
static auri_copy *next_of_round(auri_round *round) {
    const aur_quorum *quorum = round->group->quorum;
    while (round->next < quorum->options.copies && !quorum->background.stopping) {
        auri_copy *copy = &round->group->copies[round->next++];
        if (copy != round->leader) {
            return copy;
        }
    }
    return NULL;
}

/* Takes part in a round until all its copies are taken. Lock held, released meanwhile. */
static void take_part(auri_round *round) {
    auri_background *background = &round->group->quorum->background;
    auri_copy *copy;
    while ((copy = next_of_round(round)) != NULL) {
        round->busy++;
        const bool more = work_once(copy, round->leader, round->retention);
        round->more |= more;
        round->busy--;
    }
    if (round->busy == 0) {
        pthread_cond_broadcast(&background->round_changed);
    }
}

/* One unit for each copy of a group: the leader's work first, then the others follow. Without a
 * leader each works by itself. Lock held, released meanwhile. */
static bool work_group(auri_group *group, const aur_retention *retention) {
    auri_background *background = &group->quorum->background;
    auri_copy *leader = choose_leader(group);
    auri_round round = {.group = group, .leader = leader, .retention = retention};
    if (leader != NULL && !auri_copy_pin(leader)) {
        return false;
    }
    if (leader != NULL) {
        round.more = work_once(leader, NULL, retention);
    }
    if (background->quiet_rounds == 0) {
        background->round = &round;
        pthread_cond_broadcast(&background->round_changed);
    }
    take_part(&round);
    while (round.busy > 0) {
        (void)pthread_cond_wait(&background->round_changed, &group->quorum->lock);
    }
    background->round = NULL;
    if (leader != NULL) {
        auri_copy_unpin(leader);
    }
    return round.more;
}

static void *help_main(void *argument) {
    aur_quorum *quorum = argument;
    auri_background *background = &quorum->background;
    auri_quorum_lock(quorum);
    while (!background->stopping) {
        auri_round *round = background->round;
        if (round != NULL && round->next < quorum->options.copies) {
            take_part(round);
        } else {
            (void)pthread_cond_wait(&background->round_changed, &quorum->lock);
        }
    }
    auri_quorum_unlock(quorum);
    return NULL;
}

/* What must be retained, from whoever knows; everything, when nobody says. */
static aur_retention ask_retention(aur_quorum *quorum) {
    aur_retention retention = {0};
    if (quorum->retention_source != NULL) {
        void (*source)(void *context, aur_retention *out) = quorum->retention_source;
        void *context = quorum->retention_context;
        auri_quorum_unlock(quorum);
        source(context, &retention);
        auri_quorum_lock(quorum);
    }
    return retention;
}

/* One unit for each copy. Lock held, released meanwhile: groups may be added, never removed. */
static bool work_round(aur_quorum *quorum) {
    bool more = false;
    const bool quiet = quorum->background.unworked_bytes == 0;
    quorum->background.quiet_rounds = quiet ? quorum->background.quiet_rounds + 1 : 0;
    quorum->background.unworked_bytes = 0;
    for (uint32_t g = 0; g < quorum->group_count && !quorum->background.stopping; g++) {
        const aur_retention retention = ask_retention(quorum);
        more |= work_group(quorum->groups[g], &retention);
    }
    return more;
}

/* What flushes and merges leave in the heap would count against a memory budget that nobody gave
 * us. To be done seldom: of a heap with holes it takes thousands of system calls, each of which
 * stops the other processors, and whoever allocates waits. Lock held, released meanwhile. */
static void give_memory_back(aur_quorum *quorum) {
    auri_quorum_unlock(quorum);
    aur_frame_memory_release_spares();
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
    auri_quorum_lock(quorum);
}

static void *work_main(void *argument) {
    aur_quorum *quorum = argument;
    auri_background *background = &quorum->background;
    bool owes = false; /* something was done since memory was given back */
    uint64_t trimmed_ns = aur_monotonic_ns();
    auri_quorum_lock(quorum);
    while (!background->stopping) {
        const bool worked = work_round(quorum);
        owes |= worked;
        if (owes && aur_monotonic_ns() - trimmed_ns >= TRIM_NS) {
            give_memory_back(quorum);
            trimmed_ns = aur_monotonic_ns();
            owes = false;
        }
        if (!worked && !background->stopping) {
            background->work_sleeping = true;
            auri_condition_wait(quorum, &background->work_wake, WORK_TICK_NS);
            background->work_sleeping = false;
        }
    }
    auri_quorum_unlock(quorum);
    return NULL;
}

static void watch_round(aur_quorum *quorum) {
    for (uint32_t g = 0; g < quorum->group_count; g++) {
        for (uint32_t c = 0; c < quorum->options.copies && !quorum->background.stopping; c++) {
            auri_copy *copy = &quorum->groups[g]->copies[c];
            auri_quorum_unlock(quorum);
            auri_copy_check(copy);
            auri_quorum_lock(quorum);
        }
    }
}

static void *watch_main(void *argument) {
    aur_quorum *quorum = argument;
    auri_quorum_lock(quorum);
    while (!quorum->background.stopping) {
        watch_round(quorum);
        if (!quorum->background.stopping) {
            auri_condition_wait(quorum, &quorum->background.watch_wake, WATCH_TICK_NS);
        }
    }
    auri_quorum_unlock(quorum);
    return NULL;
}

aur_status auri_background_start(aur_quorum *quorum, aur_error *error) {
    auri_background *background = &quorum->background;
    background->stopping = false;
    background->work_started =
        auri_thread_start(&background->work_thread, work_main, quorum) == AUR_OK;
    background->watch_started =
        auri_thread_start(&background->watch_thread, watch_main, quorum) == AUR_OK;
    /* Whoever cannot be started is not missed: the worker does what nobody helps with. Of the
     * copies one leads, and the worker takes one. */
    while (background->helpers < AURI_HELPERS && background->helpers + 2 < quorum->options.copies &&
           auri_thread_start(&background->helper_threads[background->helpers], help_main, quorum) ==
               AUR_OK) {
        background->helpers++;
    }
    if (!background->work_started || !background->watch_started) {
        return aur_fail(error, AUR_ERR_MEMORY, "the storage threads could not be started");
    }
    return AUR_OK;
}

void auri_background_stop(aur_quorum *quorum) {
    auri_background *background = &quorum->background;
    auri_quorum_lock(quorum);
    background->stopping = true;
    const uint32_t helpers = background->helpers;
    background->helpers = 0;
    pthread_cond_broadcast(&background->work_wake);
    pthread_cond_broadcast(&background->watch_wake);
    pthread_cond_broadcast(&background->round_changed);
    auri_quorum_unlock(quorum);
    /* The worker waits for those who help it, so it goes first. */
    if (background->work_started) {
        (void)pthread_join(background->work_thread, NULL);
    }
    if (background->watch_started) {
        (void)pthread_join(background->watch_thread, NULL);
    }
    for (uint32_t at = 0; at < helpers; at++) {
        (void)pthread_join(background->helper_threads[at], NULL);
    }
    background->work_started = false;
    background->watch_started = false;
}
