/* What runs in the background: one unit at a time, the most urgent first. */
#include "segment/segment_private.h"

/* A write that failed fails the segment; damage that a merge met is noted. Lack of memory is
 * neither. */
static void judge(aur_segment *segment, aur_status status, const aur_error *error) {
    if (status == AUR_ERR_CORRUPT) {
        auri_segment_note_damage(segment, error);
    } else if (status == AUR_ERR_IO || status == AUR_ERR_FULL) {
        auri_segment_note_failure(segment, error);
    }
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
    if (status == AUR_NOT_FOUND && !segment->merge_blocked) {
        status = auri_segment_merge_step(segment, error);
        /* Inputs that are damaged do not get better: the merge is not tried again until reopened.
         */
        segment->merge_blocked = status == AUR_ERR_CORRUPT;
    }
    return status;
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
    if (status < AUR_OK) {
        judge(segment, status, &failure);
        if (error != NULL) {
            *error = failure;
        }
    }
    return status;
}

static aur_status compact(aur_segment *segment, aur_error *error) {
    aur_status status = AUR_OK;
    while (status == AUR_OK) {
        status = auri_segment_flush(segment, true, error);
    }
    if (status == AUR_NOT_FOUND) {
        status = auri_segment_merge_all(segment, error);
    }
    while (status == AUR_OK) {
        status = auri_segment_remove_obsolete(segment, error);
    }
    return status == AUR_NOT_FOUND ? AUR_OK : status;
}

aur_status aur_segment_compact(aur_segment *segment, aur_error *error) {
    aur_error failure;
    aur_error_clear(&failure);
    aur_status status = auri_segment_writable(segment, error);
    if (status != AUR_OK) {
        return status;
    }
    pthread_mutex_lock(&segment->work_lock);
    status = compact(segment, &failure);
    pthread_mutex_unlock(&segment->work_lock);
    if (status != AUR_OK) {
        judge(segment, status, &failure);
        if (error != NULL) {
            *error = failure;
        }
    }
    return status;
}
