/* One copy: what it has to do next, from the tail or from its peers, and what its outcome means. */
#include "quorum/quorum_private.h"

#include <inttypes.h>

#include "base/assert.h"

enum {
    BACKLOG_LOOK_BYTES = 1 << 20, /* appended between two looks at the backlog of work */
    DELTAS_MAX = 48, /* past this the copy waits for that work: reads get slower with each layer */
    /* Opening reads what is in no layer yet, of all copies from what may be one disk. */
    UNFLUSHED_BYTES_ALL = 30 << 20,
    UNFLUSHED_BYTES_LEAST = 5 << 20, /* however little memory there is for it */
};

bool auri_copy_pin(auri_copy *copy) {
    if (copy->segment == NULL || copy->leaving) {
        return false;
    }
    copy->users++;
    return true;
}

void auri_copy_unpin(auri_copy *copy) {
    AUR_DEBUG_ASSERT(copy->users > 0);
    copy->users--;
    if (copy->users == 0) {
        pthread_cond_broadcast(&copy->group->quorum->idle);
    }
}

static void find_place(auri_copy *copy) {
    const auri_group *group = copy->group;
    if (copy->position < group->tail_first) {
        copy->position = group->tail_first;
    }
    while (copy->position < group->tail_end &&
           auri_tail_entry_at(group, copy->position)->frame->header.last_lsn <= copy->sent) {
        copy->position++;
    }
}

bool auri_copy_lagging(auri_copy *copy) {
    find_place(copy);
    if (copy->position < copy->group->tail_end) {
        const aur_frame *frame = auri_tail_entry_at(copy->group, copy->position)->frame;
        return frame->header.prev_lsn > copy->sent;
    }
    return copy->group->pgcl > copy->sent;
}

enum auri_work auri_copy_take(auri_copy *copy, uint32_t limit, aur_frame **frame_out) {
    const aur_quorum *quorum = copy->group->quorum;
    if (!quorum->running || quorum->fenced || copy->failed || copy->throttled ||
        copy->writing >= limit) {
        return AURI_WORK_NONE;
    }
    const bool fetch = auri_copy_lagging(copy);
    if (fetch ? copy->writing > 0 || quorum->epoch == 0 : copy->position == copy->group->tail_end) {
        return AURI_WORK_NONE;
    }
    if (!auri_copy_pin(copy)) {
        return AURI_WORK_NONE;
    }
    copy->writing++;
    if (fetch) {
        return AURI_WORK_FETCH;
    }
    *frame_out = aur_frame_acquire(auri_tail_entry_at(copy->group, copy->position)->frame);
    copy->sent = (*frame_out)->header.last_lsn;
    copy->position++;
    return AURI_WORK_APPEND;
}

/* The next copy that may know what comes after `scl`: healthy ones first, then failed ones, whose
 * reads may go on. */
static auri_copy *next_peer(auri_copy *copy, uint64_t tried) {
    auri_copy *found = NULL;
    for (uint32_t i = 0; i < copy->group->quorum->options.copies; i++) {
        auri_copy *peer = &copy->group->copies[i];
        if (peer == copy || (tried >> i & 1) != 0 || peer->segment == NULL || peer->leaving ||
            peer->scl <= copy->scl) {
            continue;
        }
        if (found == NULL || (found->failed && !peer->failed)) {
            found = peer;
        }
    }
    return found;
}

aur_status auri_copy_fetch(auri_copy *copy, aur_frame **frame_out, aur_error *error) {
    aur_quorum *quorum = copy->group->quorum;
    aur_status status = AUR_NOT_FOUND;
    uint64_t tried = 0;
    auri_quorum_lock(quorum);
    const aur_lsn after = copy->scl;
    while (status != AUR_OK) {
        auri_copy *peer = next_peer(copy, tried);
        if (peer == NULL || !auri_copy_pin(peer)) {
            break;
        }
        tried |= UINT64_C(1) << peer->index;
        auri_quorum_unlock(quorum);
        status = aur_segment_next_frame(peer->segment, after, frame_out, error);
        auri_quorum_lock(quorum);
        auri_copy_unpin(peer);
    }
    auri_quorum_unlock(quorum);
    if (status == AUR_OK) {
        return AUR_OK;
    }
    return aur_fail(error, AUR_ERR_QUORUM,
                    "it lacks what follows LSN %" PRIu64
                    " and no other copy still has that in its log: rebuild it",
                    after);
}

void auri_copy_changed(auri_copy *copy) {
    copy->group->quorum->changes++;
    copy->group->quorum->news = true;
}

void auri_copy_fail(auri_copy *copy, const aur_error *why) {
    if (copy->failed) {
        return;
    }
    copy->failed = true;
    copy->failure = *why;
    copy->failure.group = (int32_t)copy->group->number;
    copy->failure.copy = (int32_t)copy->index;
    auri_copy_changed(copy);
    pthread_cond_broadcast(&copy->group->quorum->background.resumed);
    auri_watermarks_judge(copy->group->quorum);
    auri_tail_trim(copy->group);
}

/* A gap means that the segment has less than was believed: trust it, and let the copy catch up from
 * its peers. A segment that refuses a frame which links to its own SCL contradicts itself. */
static void settle_gap(auri_copy *copy, const aur_frame *frame, aur_lsn scl,
                       const aur_error *error) {
    if (scl >= frame->header.prev_lsn) {
        aur_error why = *error;
        (void)aur_fail(&why, AUR_ERR_CORRUPT,
                       "it refuses a frame that follows its last one: rebuild it");
        auri_copy_fail(copy, &why);
        return;
    }
    copy->scl = scl;
    copy->position = copy->group->tail_first;
}

static void settle_ok(auri_copy *copy, aur_lsn scl) {
    if (scl > copy->scl) {
        copy->scl = scl;
    }
    if (!copy->failed) {
        auri_watermarks_advance(copy->group);
    }
}

/* An append that was not acknowledged. The segment of a copy that catches up also refuses frames
 * that a truncation has dropped; that is the copy's trouble, and a newer epoch is everybody's. */
static void settle_refusal(auri_copy *copy, const aur_frame *frame, bool fetched, aur_status status,
                           const aur_error *error) {
    aur_quorum *quorum = copy->group->quorum;
    aur_segment_state state;
    aur_segment_get_state(copy->segment, &state);
    auri_quorum_lock(quorum);
    if (status == AUR_GAP) {
        settle_gap(copy, frame, state.scl, error);
    } else if (status == AUR_ERR_FENCED && (!fetched || state.epoch > quorum->epoch)) {
        quorum->fenced = true;
        auri_watermarks_judge(quorum);
    } else {
        auri_copy_fail(copy, error);
    }
    auri_quorum_unlock(quorum);
}

uint64_t auri_copy_unflushed_limit(const auri_copy *copy) {
    const aur_quorum *quorum = copy->group->quorum;
    const uint64_t share = UNFLUSHED_BYTES_ALL / quorum->options.copies;
    /* Beside the frames, which all copies share, one of them has an index of their records. */
    const uint64_t memory = atomic_load_explicit(&quorum->redo_bytes, memory_order_relaxed) / 4 * 3;
    if (share < memory) {
        return share;
    }
    return memory > UNFLUSHED_BYTES_LEAST ? memory : UNFLUSHED_BYTES_LEAST;
}

/* Whether background work is so far behind that the copy should wait for it. */
static bool is_behind(auri_copy *copy, const aur_frame *frame, aur_status status) {
    aur_segment_state state;
    if (status != AUR_OK || copy->group->quorum->transport == NULL) {
        return false;
    }
    copy->unjudged_bytes += aur_frame_padded(frame->header.length);
    if (copy->unjudged_bytes < BACKLOG_LOOK_BYTES) {
        return false;
    }
    copy->unjudged_bytes = 0;
    aur_segment_get_state(copy->segment, &state);
    return state.unflushed_bytes > auri_copy_unflushed_limit(copy) || state.deltas > DELTAS_MAX;
}

void auri_copy_settle(auri_copy *copy, aur_frame *frame, bool fetched, aur_status status,
                      aur_lsn scl, const aur_error *error) {
    aur_quorum *quorum = copy->group->quorum;
    const bool behind = is_behind(copy, frame, status);
    if (status != AUR_OK) {
        settle_refusal(copy, frame, fetched, status, error);
    }
    auri_quorum_lock(quorum);
    copy->writing--;
    copy->no_room = false;
    if (status == AUR_OK) {
        settle_ok(copy, scl);
    }
    if (copy->writing == 0) {
        copy->sent = copy->scl;
    }
    copy->throttled = copy->throttled || behind;
    if (quorum->transport != NULL) {
        if (frame != NULL) {
            auri_background_stored(copy, aur_frame_padded(frame->header.length));
        }
        quorum->transport->enqueue(quorum->transport, copy);
    }
    auri_copy_unpin(copy);
    auri_quorum_unlock(quorum);
    if (frame != NULL) {
        aur_frame_release(frame);
    }
}

void auri_copy_put_back(auri_copy *copy, aur_frame *frame) {
    aur_quorum *quorum = copy->group->quorum;
    auri_quorum_lock(quorum);
    copy->writing--;
    copy->sent = frame->header.prev_lsn;
    copy->position = copy->group->tail_first;
    copy->no_room = true;
    quorum->transport->enqueue(quorum->transport, copy);
    auri_copy_unpin(copy);
    auri_quorum_unlock(quorum);
    aur_frame_release(frame);
}

bool auri_copy_step(auri_copy *copy) {
    aur_quorum *quorum = copy->group->quorum;
    aur_frame *frame = NULL;
    aur_status status = AUR_OK;
    aur_lsn scl = 0;
    aur_error error;
    const enum auri_work work = auri_copy_take(copy, 1, &frame);
    if (work == AURI_WORK_NONE) {
        return false;
    }
    const aur_epoch epoch = quorum->epoch;
    auri_quorum_unlock(quorum);
    aur_error_clear(&error);
    if (work == AURI_WORK_FETCH) {
        status = auri_copy_fetch(copy, &frame, &error);
    }
    if (status == AUR_OK && work == AURI_WORK_FETCH) {
        status = aur_segment_fill(copy->segment, frame, epoch, &scl, &error);
    } else if (status == AUR_OK) {
        status = aur_segment_append(copy->segment, frame, &scl, &error);
    }
    auri_copy_settle(copy, frame, work == AURI_WORK_FETCH, status, scl, &error);
    auri_quorum_announce(quorum);
    auri_quorum_lock(quorum);
    return true;
}

void auri_copy_check(auri_copy *copy) {
    aur_quorum *quorum = copy->group->quorum;
    aur_error error;
    aur_error_clear(&error);
    auri_quorum_lock(quorum);
    auri_watermarks_fence_if_taken(quorum);
    if (quorum->fenced || copy->failed || !auri_copy_pin(copy)) {
        auri_quorum_unlock(quorum);
        auri_quorum_announce(quorum);
        return;
    }
    auri_quorum_unlock(quorum);
    const aur_status status = aur_segment_check(copy->segment, &error);
    auri_quorum_lock(quorum);
    if (status != AUR_OK && status != AUR_ERR_MEMORY) {
        auri_copy_fail(copy, &error);
    }
    auri_copy_unpin(copy);
    auri_quorum_unlock(quorum);
    auri_quorum_announce(quorum);
}
