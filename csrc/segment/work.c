/* What runs in the background: one unit at a time, the most urgent first. */
#include <stdlib.h>

#include "segment/segment_private.h"

/* A write that failed fails the segment; damage that was met is noted. Lack of memory is neither.
 */
static aur_status judge(aur_segment *segment, aur_status status, const aur_error *failure,
                        aur_error *error) {
    if (status == AUR_ERR_CORRUPT) {
        auri_segment_note_damage(segment, failure);
    } else if (status == AUR_ERR_IO || status == AUR_ERR_FULL) {
        auri_segment_note_failure(segment, failure);
    }
    if (status < AUR_OK && error != NULL) {
        *error = *failure;
    }
    return status;
}

/* Merges first: they are small, and a read looks into fewer layers after each. */
static aur_status rearrange(aur_segment *segment, auri_patience patience, aur_error *error) {
    if (segment->merge_blocked) {
        return AUR_NOT_FOUND;
    }
    aur_status status = auri_segment_merge_step(segment, error);
    if (status == AUR_NOT_FOUND) {
        status = auri_segment_compact_step(segment, NULL, patience, error);
    }
    /* Inputs that are damaged do not get better: nothing is tried again until reopened. */
    segment->merge_blocked = status == AUR_ERR_CORRUPT;
    return status;
}

/* Log extents first, because the append path waits when none is ready; then what frees memory. */
static aur_status work(aur_segment *segment, aur_error *error) {
    aur_status status = auri_segment_log_maintain(segment, error);
    if (status == AUR_NOT_FOUND) {
        status = auri_segment_flush(segment, false, error);
    }
    if (status == AUR_NOT_FOUND) {
        status = auri_segment_remove_obsolete(segment, error);
    }
    return status == AUR_NOT_FOUND ? rearrange(segment, AURI_BUSY, error) : status;
}

aur_status aur_segment_work(aur_segment *segment, aur_error *error) {
    aur_error failure;
    aur_error_clear(&failure);
    if (auri_segment_writable(segment, NULL) != AUR_OK) {
        return AUR_NOT_FOUND;
    }
    pthread_mutex_lock(&segment->work_lock);
    const aur_status status = work(segment, &failure);
    pthread_mutex_unlock(&segment->work_lock);
    return judge(segment, status, &failure, error);
}

/* Whether the memtable should go into layers although it is small: so that the log can shrink, or
 * the base. */
static bool is_worth_flushing(aur_segment *segment) {
    auri_view *view = auri_segment_pin_view(segment);
    pthread_mutex_lock(&segment->lock);
    const uint64_t bytes = segment->active->payload_bytes;
    pthread_mutex_unlock(&segment->lock);
    const bool worth = auri_segment_is_worth_idle_work(segment, view, bytes);
    auri_segment_view_release(view);
    return worth || aur_segment_log_is_large(segment);
}

static aur_status tidy(aur_segment *segment, enum aur_tidying tidying, aur_error *error) {
    const bool builds = tidying != AUR_TIDY_LOG;
    aur_status status = auri_segment_log_trim(segment, error);
    if (status == AUR_NOT_FOUND && builds &&
        (tidying == AUR_TIDY_FLUSH || is_worth_flushing(segment))) {
        status = auri_segment_flush(segment, true, error);
    }
    if (status == AUR_NOT_FOUND) {
        status = auri_segment_remove_obsolete(segment, error);
    }
    return status == AUR_NOT_FOUND && builds ? rearrange(segment, AURI_IDLE, error) : status;
}

bool aur_segment_has_space(aur_segment *segment, uint32_t copies) {
    /* A part that grew to its limit, and the one that takes its place. */
    const uint64_t wanted = 2 * segment->options.part_bytes;
    return aur_disk_free_bytes(segment->disk) / copies >= wanted;
}

/* What can wait is no reason to fail: without space it is left until something was appended. */
static aur_status tidy_with_space(aur_segment *segment, enum aur_tidying tidying,
                                  aur_error *error) {
    pthread_mutex_lock(&segment->lock);
    const aur_lsn scl = segment->scl;
    pthread_mutex_unlock(&segment->lock);
    if (scl == segment->untidy_scl) {
        return AUR_NOT_FOUND;
    }
    const aur_status status = tidy(segment, tidying, error);
    if (status != AUR_ERR_FULL) {
        return status;
    }
    segment->untidy_scl = scl;
    return AUR_NOT_FOUND;
}

aur_status aur_segment_tidy(aur_segment *segment, enum aur_tidying tidying, aur_error *error) {
    aur_error failure;
    aur_error_clear(&failure);
    if (auri_segment_writable(segment, NULL) != AUR_OK) {
        return AUR_NOT_FOUND;
    }
    pthread_mutex_lock(&segment->work_lock);
    const aur_status status = tidy_with_space(segment, tidying, &failure);
    pthread_mutex_unlock(&segment->work_lock);
    return judge(segment, status, &failure, error);
}

/* What was left over goes first: the leader may have a layer of the same name. */
static aur_status follow(aur_segment *segment, aur_segment *leader, aur_error *error) {
    aur_status status = auri_segment_log_maintain(segment, error);
    if (status == AUR_NOT_FOUND) {
        status = auri_segment_remove_obsolete(segment, error);
    }
    return status == AUR_NOT_FOUND ? auri_segment_follow(segment, leader, error) : status;
}

aur_status aur_segment_follow(aur_segment *segment, aur_segment *leader, aur_error *error) {
    aur_error failure;
    aur_error_clear(&failure);
    if (auri_segment_writable(segment, NULL) != AUR_OK) {
        return AUR_NOT_FOUND;
    }
    pthread_mutex_lock(&segment->work_lock);
    const aur_status status = follow(segment, leader, &failure);
    pthread_mutex_unlock(&segment->work_lock);
    if (auri_segment_is_source_of(leader, &failure)) {
        auri_segment_note_damage(leader, &failure); /* not this segment's: another one leads then */
        return AUR_NOT_FOUND;
    }
    return judge(segment, status, &failure, error);
}

/* Everything that VDL covers goes into layers, and with what there is then the goal is set. */
static aur_status set_goal(aur_segment *segment, auri_goal *goal, aur_error *error) {
    aur_status status = AUR_OK;
    auri_segment_merge_abort(segment);
    auri_segment_compact_abort(segment);
    /* What an earlier flush has left frozen, and the rest. Not what is written meanwhile: with a
     * busy writer that would have no end. */
    for (uint32_t flushes = 0; flushes < 2 && status == AUR_OK; flushes++) {
        status = auri_segment_flush(segment, true, error);
    }
    if (status < AUR_OK) {
        return status;
    }
    auri_roots roots;
    auri_view *view = auri_segment_pin_view(segment);
    status = auri_segment_roots(segment, view, &roots);
    auri_segment_view_release(view);
    if (status != AUR_OK) {
        return aur_fail(error, status, "no memory for the list of moments");
    }
    pthread_mutex_lock(&segment->lock);
    *goal = (auri_goal){segment->manifest.flushed_lsn, roots.horizon, roots.lsns[0]};
    pthread_mutex_unlock(&segment->lock);
    free(roots.lsns);
    return AUR_OK;
}

/* The lock is given up between the steps, so that flushes come in between. */
static aur_status compact(aur_segment *segment, aur_error *error) {
    auri_goal goal;
    pthread_mutex_lock(&segment->work_lock);
    aur_status status = set_goal(segment, &goal, error);
    pthread_mutex_unlock(&segment->work_lock);
    while (status == AUR_OK) {
        pthread_mutex_lock(&segment->work_lock);
        status = auri_segment_writable(segment, error);
        if (status == AUR_OK) {
            status = auri_segment_remove_obsolete(segment, error);
        }
        if (status == AUR_NOT_FOUND) {
            status = auri_segment_compact_step(segment, &goal, AURI_BUSY, error);
        }
        pthread_mutex_unlock(&segment->work_lock);
    }
    return status == AUR_NOT_FOUND ? AUR_OK : status;
}

aur_status aur_segment_compact(aur_segment *segment, aur_error *error) {
    aur_error failure;
    aur_error_clear(&failure);
    const aur_status status = auri_segment_writable(segment, error);
    return status == AUR_OK ? judge(segment, compact(segment, &failure), &failure, error) : status;
}
