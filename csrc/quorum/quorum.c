/* Life of a quorum: groups and their copies, start and stop, replacement, and the lock that guards
 * it all. */
#include "quorum/quorum_private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/planted.h"

enum { BACKLOG_BYTES_DEFAULT = 8 << 20, GROUP_CAPACITY_FIRST = 4 };

void auri_quorum_lock(aur_quorum *quorum) { AUR_ASSERT(pthread_mutex_lock(&quorum->lock) == 0); }

void auri_quorum_unlock(aur_quorum *quorum) {
    const auri_wakes wakes = quorum->wakes;
    quorum->wakes = (auri_wakes){0};
    AUR_ASSERT(pthread_mutex_unlock(&quorum->lock) == 0);
    if (wakes.ring || wakes.ring_thread || wakes.lanes != 0) {
        quorum->transport->wake(quorum->transport, &wakes);
    }
}

void auri_quorum_announce(aur_quorum *quorum) {
    auri_quorum_lock(quorum);
    while (quorum->news && quorum->on_advance != NULL) {
        void (*on_advance)(void *) = quorum->on_advance;
        void *context = quorum->listener_context;
        quorum->news = false;
        quorum->announcing++;
        auri_quorum_unlock(quorum);
        on_advance(context);
        auri_quorum_lock(quorum);
        quorum->announcing--;
        if (quorum->announcing == 0) {
            pthread_cond_broadcast(&quorum->idle);
        }
    }
    auri_quorum_unlock(quorum);
}

aur_status auri_condition_create(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return AUR_ERR_MEMORY;
    }
    const bool created = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                         pthread_cond_init(condition, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    return created ? AUR_OK : AUR_ERR_MEMORY;
}

void auri_condition_wait(aur_quorum *quorum, pthread_cond_t *condition, uint64_t timeout_ns) {
    const struct timespec until = aur_timespec_of(aur_monotonic_ns() + timeout_ns);
    (void)pthread_cond_timedwait(condition, &quorum->lock, &until);
}

aur_status auri_thread_start(pthread_t *thread, void *(*body)(void *), void *argument) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int outcome = pthread_create(thread, NULL, body, argument);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return outcome == 0 ? AUR_OK : AUR_ERR_MEMORY;
}

static aur_status create_transport(aur_quorum *quorum) {
    aur_status status = AUR_NOT_FOUND;
    if (quorum->options.drive == AUR_DRIVE_MANUAL) {
        return AUR_OK;
    }
    if (quorum->options.drive == AUR_DRIVE_RING) {
        status = auri_transport_create_ring(quorum, &quorum->transport);
    }
    if (status == AUR_NOT_FOUND) {
        status = auri_transport_create_threads(quorum, &quorum->transport);
    }
    return status;
}

static aur_quorum_rule effective_write_rule(const aur_quorum_options *options) {
    aur_quorum_rule rule = aur_quorum_write_rule(options->copies);
    if (AUR_PLANTED(options->planted_bugs, AUR_BUG_ACK_AT_3) && rule.term[0].need > 1) {
        rule.term[0].need--;
    }
    return rule;
}

static bool options_are_valid(const aur_quorum_options *options) {
    return options->copies >= 1 && options->copies <= AUR_COPIES_MAX && options->group_pages > 0 &&
           options->drive >= AUR_DRIVE_RING && options->drive <= AUR_DRIVE_MANUAL;
}

aur_status aur_quorum_create(const aur_quorum_options *options, aur_quorum **quorum_out) {
    if (!options_are_valid(options)) {
        return AUR_ERR_INVALID;
    }
    aur_quorum *quorum = calloc(1, sizeof *quorum);
    if (quorum == NULL) {
        return AUR_ERR_MEMORY;
    }
    quorum->options = *options;
    if (quorum->options.backlog_bytes == 0) {
        quorum->options.backlog_bytes = BACKLOG_BYTES_DEFAULT;
    }
    quorum->write_rule = effective_write_rule(options);
    atomic_init(&quorum->redo_bytes, UINT64_MAX);
    AUR_ASSERT(pthread_mutex_init(&quorum->lock, NULL) == 0);
    AUR_ASSERT(auri_condition_create(&quorum->idle) == AUR_OK);
    AUR_ASSERT(auri_condition_create(&quorum->background.work_wake) == AUR_OK);
    AUR_ASSERT(auri_condition_create(&quorum->background.watch_wake) == AUR_OK);
    AUR_ASSERT(auri_condition_create(&quorum->background.round_changed) == AUR_OK);
    AUR_ASSERT(auri_condition_create(&quorum->background.resumed) == AUR_OK);
    const aur_status status = create_transport(quorum);
    if (status != AUR_OK) {
        aur_quorum_destroy(quorum);
        return status;
    }
    *quorum_out = quorum;
    return AUR_OK;
}

void aur_quorum_set_redo_bytes(aur_quorum *quorum, uint64_t bytes) {
    atomic_store_explicit(&quorum->redo_bytes, bytes, memory_order_relaxed);
}

void aur_quorum_listen(aur_quorum *quorum, void (*on_advance)(void *context), void *context) {
    auri_quorum_lock(quorum);
    quorum->on_advance = on_advance;
    quorum->listener_context = context;
    while (quorum->announcing > 0) {
        (void)pthread_cond_wait(&quorum->idle, &quorum->lock);
    }
    auri_quorum_unlock(quorum);
}

static void destroy_group(aur_quorum *quorum, auri_group *group) {
    auri_tail_clear(group);
    for (uint32_t i = 0; quorum->transport != NULL && i < quorum->options.copies; i++) {
        quorum->transport->remove_copy(quorum->transport, &group->copies[i]);
    }
    free(group->tail);
    free(group);
}

void aur_quorum_destroy(aur_quorum *quorum) {
    if (quorum == NULL) {
        return;
    }
    aur_quorum_stop(quorum);
    for (uint32_t i = 0; i < quorum->group_count; i++) {
        destroy_group(quorum, quorum->groups[i]);
    }
    if (quorum->transport != NULL) {
        quorum->transport->destroy(quorum->transport);
    }
    free(quorum->groups);
    free(quorum->flights);
    (void)pthread_cond_destroy(&quorum->background.work_wake);
    (void)pthread_cond_destroy(&quorum->background.watch_wake);
    (void)pthread_cond_destroy(&quorum->background.round_changed);
    (void)pthread_cond_destroy(&quorum->background.resumed);
    (void)pthread_cond_destroy(&quorum->idle);
    (void)pthread_mutex_destroy(&quorum->lock);
    free(quorum);
}

/* Takes over what a segment says of itself. A copy that failed stays failed (I10), except when it
 * had only fallen too far behind: a recovery may have brought it up since. */
static void adopt_state(auri_copy *copy, const aur_segment_state *state) {
    if (copy->failed && copy->failure.status == AUR_ERR_QUORUM) {
        copy->failed = false;
    }
    copy->blind = false;
    copy->scl = state->scl;
    copy->sent = state->scl;
    copy->position = copy->group->tail_first;
    copy->throttled = false;
    copy->no_room = false;
    copy->unjudged_bytes = 0;
    if (state->health == AUR_SEGMENT_FAILED) {
        aur_error why = state->damage;
        if (why.status == AUR_OK) {
            (void)aur_fail(&why, AUR_ERR_IO, "the segment takes no more frames");
        }
        auri_copy_fail(copy, &why);
    }
}

static void place_segment(auri_copy *copy, aur_segment *segment, const aur_segment_state *state) {
    aur_error missing;
    copy->segment = segment;
    copy->failed = false;
    copy->read_errors = 0;
    auri_copy_changed(copy);
    aur_error_clear(&copy->failure);
    aur_error_clear(&copy->damage);
    if (segment != NULL) {
        adopt_state(copy, state);
        return;
    }
    copy->scl = 0;
    copy->sent = 0;
    aur_error_clear(&missing);
    (void)aur_fail(&missing, AUR_ERR_IO, "this copy could not be opened or does not exist");
    auri_copy_fail(copy, &missing);
}

static aur_status create_group(aur_quorum *quorum, auri_group **group_out) {
    const uint32_t copies = quorum->options.copies;
    auri_group *group = calloc(1, sizeof *group + copies * sizeof group->copies[0]);
    aur_status status = AUR_OK;
    if (group == NULL) {
        return AUR_ERR_MEMORY;
    }
    group->quorum = quorum;
    group->number = quorum->group_count;
    for (uint32_t i = 0; i < copies && status == AUR_OK; i++) {
        group->copies[i].group = group;
        group->copies[i].index = i;
        if (quorum->transport != NULL) {
            status = quorum->transport->add_copy(quorum->transport, &group->copies[i]);
        }
    }
    if (status != AUR_OK) {
        destroy_group(quorum, group);
        return status;
    }
    *group_out = group;
    return AUR_OK;
}

static bool reserve_group(aur_quorum *quorum) {
    if (quorum->group_count < quorum->group_capacity) {
        return true;
    }
    const uint32_t capacity =
        quorum->group_capacity == 0 ? GROUP_CAPACITY_FIRST : quorum->group_capacity * 2;
    auri_group **grown = realloc(quorum->groups, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    quorum->groups = grown;
    quorum->group_capacity = capacity;
    return true;
}

static aur_status check_identity(aur_segment *segment, uint32_t group, uint32_t copy,
                                 aur_segment_state *state, aur_error *error) {
    if (segment == NULL) {
        return AUR_OK;
    }
    aur_segment_get_state(segment, state);
    if (state->identity.group != group || state->identity.copy != copy) {
        return aur_fail(error, AUR_ERR_INVALID,
                        "segment %u of group %u was given as %u of group %u", state->identity.copy,
                        state->identity.group, copy, group);
    }
    return AUR_OK;
}

aur_status aur_quorum_add_group(aur_quorum *quorum, aur_segment *const *segments,
                                aur_error *error) {
    const uint32_t copies = quorum->options.copies;
    auri_group *group = NULL;
    aur_status status = AUR_OK;
    aur_segment_state *states = calloc(copies, sizeof *states);
    if (states == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a protection group");
    }
    for (uint32_t i = 0; i < copies && status == AUR_OK; i++) {
        status = check_identity(segments[i], quorum->group_count, i, &states[i], error);
    }
    auri_quorum_lock(quorum);
    if (status == AUR_OK) {
        status = reserve_group(quorum) ? create_group(quorum, &group) : AUR_ERR_MEMORY;
        if (status != AUR_OK) {
            (void)aur_fail(error, status, "no memory for a protection group");
        }
    }
    if (status == AUR_OK) {
        for (uint32_t i = 0; i < copies; i++) {
            place_segment(&group->copies[i], segments[i], &states[i]);
        }
        quorum->groups[quorum->group_count++] = group;
        auri_watermarks_judge(quorum);
        auri_watermarks_advance(group);
    }
    auri_quorum_unlock(quorum);
    free(states);
    auri_quorum_announce(quorum);
    return status;
}

/* Without the lock, because a segment's state may have to wait for that segment. Nobody else
 * changes `groups` while the quorum is stopped. */
static aur_status read_states(aur_quorum *quorum) {
    for (uint32_t g = 0; g < quorum->group_count; g++) {
        for (uint32_t c = 0; c < quorum->options.copies; c++) {
            auri_copy *copy = &quorum->groups[g]->copies[c];
            aur_segment_state state;
            auri_quorum_lock(quorum);
            const bool pinned = auri_copy_pin(copy);
            auri_quorum_unlock(quorum);
            if (!pinned) {
                continue;
            }
            aur_segment_get_state(copy->segment, &state);
            auri_quorum_lock(quorum);
            adopt_state(copy, &state);
            auri_copy_unpin(copy);
            auri_quorum_unlock(quorum);
        }
    }
    return AUR_OK;
}

/* Gives every copy a chance to look for work. Lock held. */
static void enqueue_all(aur_quorum *quorum) {
    for (uint32_t g = 0; quorum->transport != NULL && g < quorum->group_count; g++) {
        for (uint32_t c = 0; c < quorum->options.copies; c++) {
            quorum->transport->enqueue(quorum->transport, &quorum->groups[g]->copies[c]);
        }
    }
}

void aur_quorum_set_epoch(aur_quorum *quorum, aur_epoch epoch) {
    auri_quorum_lock(quorum);
    if (epoch > quorum->epoch) {
        quorum->epoch = epoch;
        enqueue_all(quorum);
    }
    auri_quorum_unlock(quorum);
}

static void go(aur_quorum *quorum, aur_lsn vdl) {
    quorum->vcl = vdl;
    quorum->vdl = vdl;
    quorum->fenced = false;
    quorum->out_of_memory = false;
    quorum->running = true;
    quorum->news = true;
    auri_watermarks_judge(quorum);
    for (uint32_t g = 0; g < quorum->group_count; g++) {
        quorum->groups[g]->pgcl = 0;
        auri_watermarks_advance(quorum->groups[g]);
    }
    enqueue_all(quorum);
}

aur_status aur_quorum_start(aur_quorum *quorum, aur_lsn vdl, aur_error *error) {
    aur_status status = AUR_OK;
    aur_quorum_stop(quorum);
    if (quorum->transport != NULL) {
        status = quorum->transport->start(quorum->transport, error);
    }
    if (status == AUR_OK) {
        status = read_states(quorum);
    }
    auri_quorum_lock(quorum);
    if (status == AUR_OK) {
        go(quorum, vdl);
    }
    auri_quorum_unlock(quorum);
    if (status == AUR_OK && quorum->transport != NULL) {
        status = auri_background_start(quorum, error);
    }
    if (status != AUR_OK) {
        aur_quorum_stop(quorum);
        return status;
    }
    auri_quorum_announce(quorum);
    return AUR_OK;
}

static bool someone_writes(const aur_quorum *quorum) {
    for (uint32_t g = 0; g < quorum->group_count; g++) {
        for (uint32_t c = 0; c < quorum->options.copies; c++) {
            if (quorum->groups[g]->copies[c].writing > 0) {
                return true;
            }
        }
    }
    return false;
}

void aur_quorum_stop(aur_quorum *quorum) {
    auri_quorum_lock(quorum);
    if (quorum->running) {
        quorum->running = false;
        quorum->epoch = 0;
    }
    while (someone_writes(quorum)) {
        (void)pthread_cond_wait(&quorum->idle, &quorum->lock);
    }
    auri_quorum_unlock(quorum);
    if (quorum->transport != NULL) {
        quorum->transport->stop(quorum->transport);
        auri_background_stop(quorum);
    }
    auri_quorum_lock(quorum);
    for (uint32_t g = 0; g < quorum->group_count; g++) {
        auri_tail_clear(quorum->groups[g]);
    }
    quorum->flight_first = quorum->flight_end;
    quorum->flight_bytes = 0;
    auri_quorum_unlock(quorum);
}

static aur_status check_replacement(aur_quorum *quorum, const auri_group *group,
                                    aur_segment *segment, const aur_segment_state *state,
                                    aur_error *error) {
    aur_lsn newest = group->pgcl;
    if (segment == NULL || !quorum->running) {
        return AUR_OK;
    }
    if (group->tail_end > group->tail_first) {
        newest = auri_tail_entry_at(group, group->tail_end - 1)->frame->header.last_lsn;
    }
    if (state->scl > newest && state->scl > quorum->vdl) {
        return aur_fail(error, AUR_ERR_INVALID,
                        "the segment holds frames that this writer never sent: truncate it first");
    }
    return AUR_OK;
}

static auri_group *group_of(aur_quorum *quorum, uint32_t group, uint32_t copy) {
    return group < quorum->group_count && copy < quorum->options.copies ? quorum->groups[group]
                                                                        : NULL;
}

/* Waits until nobody uses the copy's segment, while keeping newcomers out. Lock held, released
 * while waiting. */
static void vacate(aur_quorum *quorum, auri_copy *copy) {
    while (copy->leaving) {
        (void)pthread_cond_wait(&quorum->idle, &quorum->lock);
    }
    copy->leaving = true;
    while (copy->users > 0) {
        (void)pthread_cond_wait(&quorum->idle, &quorum->lock);
    }
    copy->leaving = false;
    pthread_cond_broadcast(&quorum->idle);
}

aur_status aur_quorum_replace(aur_quorum *quorum, uint32_t group_number, uint32_t copy_number,
                              aur_segment *segment, aur_segment **old_out, aur_error *error) {
    aur_segment_state state;
    aur_status status = check_identity(segment, group_number, copy_number, &state, error);
    if (status != AUR_OK) {
        return status;
    }
    auri_quorum_lock(quorum);
    auri_group *group = group_of(quorum, group_number, copy_number);
    if (group == NULL) {
        status = aur_fail(error, AUR_ERR_INVALID, "there is no copy %u of group %u", copy_number,
                          group_number);
    } else {
        status = check_replacement(quorum, group, segment, &state, error);
    }
    if (status == AUR_OK) {
        auri_copy *copy = &group->copies[copy_number];
        vacate(quorum, copy);
        *old_out = copy->segment;
        place_segment(copy, segment, &state);
        auri_watermarks_judge(quorum);
        auri_watermarks_advance(group);
        if (quorum->transport != NULL && quorum->running) {
            quorum->transport->enqueue(quorum->transport, copy);
        }
    }
    auri_quorum_unlock(quorum);
    auri_quorum_announce(quorum);
    return status;
}

uint32_t aur_quorum_groups(aur_quorum *quorum) {
    auri_quorum_lock(quorum);
    const uint32_t count = quorum->group_count;
    auri_quorum_unlock(quorum);
    return count;
}

aur_status aur_quorum_copy_status(aur_quorum *quorum, uint32_t group_number, uint32_t copy_number,
                                  aur_copy_status *out) {
    auri_quorum_lock(quorum);
    auri_group *group = group_of(quorum, group_number, copy_number);
    if (group != NULL) {
        auri_copy *copy = &group->copies[copy_number];
        const bool lagging = auri_copy_lagging(copy);
        out->state = copy->failed ? AUR_COPY_FAILED : lagging ? AUR_COPY_LAGGING : AUR_COPY_OK;
        out->scl = copy->scl;
        out->queued_bytes = copy->failed ? 0 : auri_tail_bytes_from(group, copy->position);
        out->error = copy->failed ? copy->failure : copy->damage;
    }
    auri_quorum_unlock(quorum);
    return group == NULL ? AUR_ERR_INVALID : AUR_OK;
}

aur_status aur_quorum_step(aur_quorum *quorum, uint32_t group_number, uint32_t copy_number) {
    auri_quorum_lock(quorum);
    auri_group *group = group_of(quorum, group_number, copy_number);
    auri_quorum_unlock(quorum);
    if (group == NULL || quorum->transport != NULL) {
        return AUR_ERR_INVALID;
    }
    auri_copy_check(&group->copies[copy_number]);
    auri_quorum_lock(quorum);
    const bool worked = auri_copy_step(&group->copies[copy_number]);
    auri_quorum_unlock(quorum);
    return worked ? AUR_OK : AUR_NOT_FOUND;
}

aur_status aur_quorum_help(aur_quorum *quorum) {
    if (quorum->transport != NULL) {
        return AUR_WOULD_BLOCK;
    }
    const uint32_t groups = aur_quorum_groups(quorum);
    for (uint32_t g = 0; g < groups; g++) {
        for (uint32_t c = 0; c < quorum->options.copies; c++) {
            if (aur_quorum_step(quorum, g, c) == AUR_OK) {
                return AUR_OK;
            }
        }
    }
    return AUR_NOT_FOUND;
}
