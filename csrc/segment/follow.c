/*
 * Taking over the layers that another copy of the group in this process has built, so that sorting,
 * compressing and collecting cost one copy's work (docs/decisions/0004). The file's checksum is
 * compared on the way; in a manifest a layer looks the same in every copy.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

/* What the leader has, as of one moment. */
typedef struct follow_run {
    auri_view *view; /* one reference */
    aur_lsn flushed_lsn;
    auri_layer **added; /* one reference each */
    uint32_t added_count;
    auri_layer **removed; /* of the follower's view */
    uint32_t removed_count;
} follow_run;

static auri_layer *find_layer(const auri_view *view, const auri_layer_info *info) {
    for (uint32_t at = 0; at < view->layer_count; at++) {
        const auri_layer_info *found = &view->layers[at]->info;
        if (auri_segment_same_layer(found, info) && found->complete_lsn == info->complete_lsn &&
            found->first_page == info->first_page && found->horizon == info->horizon) {
            return view->layers[at];
        }
    }
    return NULL;
}

static bool has_other_layers(const auri_view *own, const auri_view *leaders) {
    bool same = own->layer_count == leaders->layer_count;
    for (uint32_t at = 0; at < leaders->layer_count && same; at++) {
        same = find_layer(own, &leaders->layers[at]->info) != NULL;
    }
    return !same;
}

/* Whether the segment has the file, if perhaps under another entry. */
static bool has_file(const auri_view *view, const auri_layer_info *info) {
    for (uint32_t at = 0; at < view->layer_count; at++) {
        if (auri_segment_same_layer(&view->layers[at]->info, info)) {
            return true;
        }
    }
    return info->size_bytes == 0;
}

/* Whether both know the same rewinds, but for old ones that one of them has dropped. */
static bool same_rewinds(const auri_view *left, const auri_view *right) {
    const uint32_t fewer =
        left->rewind_count < right->rewind_count ? left->rewind_count : right->rewind_count;
    if (fewer < AURI_REWINDS_KEPT && left->rewind_count != right->rewind_count) {
        return false;
    }
    for (uint32_t at = 1; at <= fewer; at++) {
        const aur_rewind *of_left = &left->rewinds[left->rewind_count - at];
        const aur_rewind *of_right = &right->rewinds[right->rewind_count - at];
        if (of_left->at != of_right->at || of_left->to != of_right->to) {
            return false;
        }
    }
    return true;
}

/* Whether a layer that is to be taken over bears the number of another one that is here: its file
 * would take the other's place. */
static bool clashes(aur_segment *segment, const auri_view *own, const auri_view *leaders) {
    for (uint32_t at = 0; at < leaders->layer_count; at++) {
        const auri_layer_info *info = &leaders->layers[at]->info;
        if (!has_file(own, info) && auri_segment_has_number(segment, info->number)) {
            return true;
        }
    }
    return false;
}

/* Whether the follower may have the leader's layers: what they hold it must have acknowledged, or
 * its SCL would run ahead of what it was sent. */
static bool can_follow(aur_segment *segment, const auri_view *own, const follow_run *run) {
    pthread_mutex_lock(&segment->lock);
    const bool has_frames = segment->scl >= run->flushed_lsn;
    const bool is_behind = segment->manifest.flushed_lsn <= run->flushed_lsn &&
                           (segment->frozen == NULL || segment->frozen->limit <= run->flushed_lsn);
    pthread_mutex_unlock(&segment->lock);
    return has_frames && is_behind && same_rewinds(own, run->view) &&
           !clashes(segment, own, run->view);
}

static aur_status take_over(aur_segment *segment, const auri_view *own, auri_layer *layer,
                            auri_layer **taken_out, aur_error *error) {
    if (!has_file(own, &layer->info)) {
        const aur_status status = auri_segment_layer_copy(layer, segment->disk, NULL, NULL, error);
        if (status != AUR_OK) {
            return status;
        }
    }
    return auri_segment_layer_open_new(segment, &layer->info, taken_out, error);
}

/* Copies what is missing, and lists what is not needed any more. */
static aur_status gather(aur_segment *segment, const auri_view *own, follow_run *run,
                         aur_error *error) {
    aur_status status = AUR_OK;
    run->added = calloc((size_t)run->view->layer_count + 1, sizeof(auri_layer *));
    run->removed = calloc((size_t)own->layer_count + 1, sizeof(auri_layer *));
    if (run->added == NULL || run->removed == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for the list of layers");
    }
    for (uint32_t at = 0; at < run->view->layer_count && status == AUR_OK; at++) {
        auri_layer *layer = run->view->layers[at];
        if (find_layer(own, &layer->info) == NULL) {
            status = take_over(segment, own, layer, &run->added[run->added_count], error);
            run->added_count += status == AUR_OK;
        }
    }
    for (uint32_t at = 0; at < own->layer_count; at++) {
        if (find_layer(run->view, &own->layers[at]->info) == NULL) {
            run->removed[run->removed_count++] = own->layers[at];
        }
    }
    if (status == AUR_OK && run->added_count > 0) {
        status = aur_disk_sync_directory(segment->disk, error);
    }
    return status;
}

static void clear(follow_run *run) {
    for (uint32_t at = 0; at < run->added_count; at++) {
        auri_segment_layer_release(run->added[at]);
    }
    free(run->added);
    free(run->removed);
    auri_segment_view_release(run->view);
}

aur_status auri_segment_follow(aur_segment *segment, aur_segment *leader, aur_error *error) {
    follow_run run = {0};
    aur_status status = AUR_NOT_FOUND;
    pthread_mutex_lock(&leader->lock);
    run.view = auri_segment_view_acquire(leader->view);
    run.flushed_lsn = leader->manifest.flushed_lsn;
    pthread_mutex_unlock(&leader->lock);
    auri_view *own = auri_segment_pin_view(segment);
    if (has_other_layers(own, run.view) && can_follow(segment, own, &run)) {
        /* Work of its own would be overtaken. */
        auri_segment_merge_abort(segment);
        auri_segment_compact_abort(segment);
        status = gather(segment, own, &run, error);
    }
    if (status == AUR_OK) {
        const auri_layer_change change = {.removed = run.removed,
                                          .removed_count = run.removed_count,
                                          .added = run.added,
                                          .added_count = run.added_count,
                                          .flushed_lsn = run.flushed_lsn,
                                          .drops_frozen = true,
                                          .drops_flushed = true};
        status = auri_segment_publish(segment, &change, error);
    }
    auri_segment_view_release(own);
    clear(&run);
    return status;
}
