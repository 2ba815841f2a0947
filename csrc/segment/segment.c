/* Create, close, state and health of a segment, and the one place where a manifest is installed. */
#include "segment/segment.h"

#include <stdlib.h>

#include "base/assert.h"
#include "segment/segment_private.h"

void aur_segment_default_options(aur_segment_options *options) {
    *options = (aur_segment_options){
        .extent_bytes = 8 << 20,
        .memtable_bytes = 2 << 20,
        .merge_fanout = 16,
        .delta_bytes = 64 << 20,
        .part_bytes = 32 << 20,
        .planted_bugs = 0,
    };
}

/* ---- Create and close ---- */

static aur_status check_identity(const aur_segment_identity *identity, aur_error *error) {
    const uint32_t page_bytes = identity->page_bytes;
    if (page_bytes < AUR_PAGE_BYTES_MIN || page_bytes > AUR_PAGE_BYTES_MAX ||
        (page_bytes & (page_bytes - 1)) != 0) {
        return aur_fail(error, AUR_ERR_INVALID, "page size %u is not a power of two from %d to %d",
                        page_bytes, AUR_PAGE_BYTES_MIN, AUR_PAGE_BYTES_MAX);
    }
    if (identity->group_pages == 0 || identity->group_pages > AURI_GROUP_PAGES_MAX) {
        return aur_fail(error, AUR_ERR_INVALID, "a protection group has 1 to %d pages, not %llu",
                        AURI_GROUP_PAGES_MAX, (unsigned long long)identity->group_pages);
    }
    if (identity->copy >= identity->copies) {
        return aur_fail(error, AUR_ERR_INVALID, "copy %u of %u", identity->copy, identity->copies);
    }
    return AUR_OK;
}

aur_status aur_segment_create(aur_disk *disk, const aur_segment_identity *identity, aur_epoch epoch,
                              aur_lsn base_lsn, aur_error *error) {
    auri_manifest manifest;
    auri_extent *extent = NULL;
    aur_status status = check_identity(identity, error);
    if (status != AUR_OK) {
        return status;
    }
    status = auri_segment_manifest_load(disk, &manifest, NULL);
    auri_segment_manifest_free(&manifest);
    if (status != AUR_NOT_FOUND) {
        return aur_fail(error, AUR_ERR_INVALID, "%s holds a segment already", aur_disk_path(disk));
    }
    status = auri_segment_remove_files(disk, error);
    if (status == AUR_OK) {
        status =
            auri_segment_extent_create(disk, identity, 1, AURI_FIRST_EXTENT_BYTES, &extent, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    auri_segment_extent_release(extent);
    auri_segment_reserve(disk);
    /* The manifest comes last: without it there is no segment. */
    manifest = (auri_manifest){
        .identity = *identity,
        .edition = 1,
        .epoch = epoch,
        .base_lsn = base_lsn,
        .flushed_lsn = base_lsn,
        .proven_scl = base_lsn,
        .vdl = base_lsn,
        .replay = {.sequence = 1, .offset = AURI_EXTENT_HEADER_BYTES},
        .next_layer = 1,
    };
    return auri_segment_manifest_store(disk, &manifest, error);
}

/* Best effort: with the SCL on record, the next open can tell damage at the log's end from a torn
 * tail. */
static void record_scl(aur_segment *segment) {
    auri_manifest draft;
    pthread_mutex_lock(&segment->manifest_lock);
    if (segment->health != AUR_SEGMENT_FAILED && segment->scl > segment->manifest.proven_scl &&
        auri_segment_draft(segment, &draft, NULL) == AUR_OK &&
        auri_segment_install(segment, &draft, NULL, false, NULL) != AUR_OK) {
        AUR_DEBUG_ASSERT(segment->health == AUR_SEGMENT_FAILED);
    }
    pthread_mutex_unlock(&segment->manifest_lock);
}

void auri_segment_free(aur_segment *segment) {
    for (uint32_t at = 0; at < segment->pending_count; at++) {
        aur_frame_release(segment->pending[at].frame);
    }
    for (uint32_t at = 0; at < segment->log.count; at++) {
        auri_segment_extent_release(segment->log.extents[at]);
    }
    for (uint32_t at = 0; at < segment->obsolete_count; at++) {
        auri_segment_layer_release(segment->obsolete[at]);
    }
    for (uint32_t at = 0; at < segment->unpacker_count; at++) {
        auri_block_buffer holder = {.unpacker = segment->unpackers[at]};
        auri_segment_block_buffer_free(&holder);
    }
    free(segment->pending);
    free(segment->log.extents);
    free(segment->obsolete);
    free(segment->leftovers);
    free(segment->points);
    auri_segment_memtable_release(segment->active);
    auri_segment_memtable_release(segment->frozen);
    auri_segment_view_release(segment->view);
    auri_segment_manifest_free(&segment->manifest);
    pthread_mutex_destroy(&segment->work_lock);
    pthread_mutex_destroy(&segment->manifest_lock);
    pthread_mutex_destroy(&segment->lock);
    free(segment);
}

void aur_segment_close(aur_segment *segment) {
    if (segment == NULL) {
        return;
    }
    aur_disk *disk = segment->disk;
    auri_segment_merge_abort(segment);
    auri_segment_compact_abort(segment);
    record_scl(segment);
    auri_segment_free(segment);
    aur_disk_close(disk);
}

/* ---- State and health ---- */

static uint64_t memory_bytes(const aur_segment *segment) {
    uint64_t bytes = auri_segment_memtable_bytes(segment->active);
    if (segment->frozen != NULL) {
        bytes += auri_segment_memtable_bytes(segment->frozen);
    }
    for (uint32_t at = 0; at < segment->view->layer_count; at++) {
        const auri_layer *layer = segment->view->layers[at];
        if (atomic_load_explicit(&layer->loaded, memory_order_acquire)) {
            bytes += layer->bitmap_bytes + (uint64_t)layer->root_count * AUR_POINTER_BYTES;
        }
    }
    return bytes + atomic_load_explicit(&segment->kept_index_bytes, memory_order_relaxed);
}

/* Adds up what the layers hold. Deltas count as history: what of them is live is live in the base
 * too, or will be when they are compacted. */
static void add_layers(const auri_manifest *manifest, aur_lsn horizon, aur_segment_state *state) {
    for (uint32_t at = 0; at < manifest->layer_count; at++) {
        const auri_layer_info *info = &manifest->layers[at];
        state->layer_bytes += info->size_bytes;
        state->live_bytes += info->live_bytes;
        state->delta_bytes += info->kind == AURI_LAYER_DELTA ? info->size_bytes : 0;
        state->deltas += info->kind == AURI_LAYER_DELTA;
        if (info->kind == AURI_LAYER_BASE) {
            state->horizon = info->horizon > state->horizon ? info->horizon : state->horizon;
            state->garbage_bytes += auri_segment_garbage_bytes(info, horizon, info->lowest_root);
        }
    }
    state->history_bytes = state->layer_bytes - state->live_bytes;
}

static uint64_t base_progress(const auri_manifest *manifest) {
    uint64_t parts = 0;
    double sum = 0;
    for (uint32_t at = 0; at < manifest->layer_count; at++) {
        const auri_layer_info *info = &manifest->layers[at];
        if (info->kind == AURI_LAYER_BASE) {
            parts++;
            sum += (double)info->complete_lsn + (double)info->horizon;
        }
    }
    return parts == 0 ? 0 : (uint64_t)(sum / (double)parts);
}

void aur_segment_get_state(aur_segment *segment, aur_segment_state *state_out) {
    pthread_mutex_lock(&segment->lock);
    *state_out = (aur_segment_state){
        .identity = segment->identity,
        .epoch = segment->manifest.epoch,
        .scl = segment->scl,
        .vdl = segment->vdl,
        .flushed_lsn = segment->manifest.flushed_lsn,
        .log_start = auri_segment_log_start(segment),
        .health = segment->health,
        .layers = segment->manifest.layer_count,
        .log_bytes = segment->log.bytes,
        .memory_bytes = memory_bytes(segment),
        .unflushed_bytes = segment->active->padded_bytes,
        .damage = segment->damage,
    };
    add_layers(&segment->manifest, segment->horizon, state_out);
    state_out->base_progress = base_progress(&segment->manifest);
    if (segment->frozen != NULL) {
        state_out->unflushed_bytes += segment->frozen->padded_bytes;
    }
    pthread_mutex_unlock(&segment->lock);
}

bool aur_segment_is_sound(aur_segment *segment, aur_segment_progress *progress_out) {
    pthread_mutex_lock(&segment->lock);
    const bool is_sound = segment->health == AUR_SEGMENT_OK;
    progress_out->base = base_progress(&segment->manifest);
    progress_out->flushed = segment->manifest.flushed_lsn;
    pthread_mutex_unlock(&segment->lock);
    return is_sound;
}

/* A failure replaces damage as the thing to tell, because it is what stops the segment. */
static void note(aur_segment *segment, const aur_error *error, uint32_t health) {
    pthread_mutex_lock(&segment->lock);
    if (segment->health < health) {
        segment->health = health;
        segment->damage = *error;
        segment->damage.group = (int32_t)segment->identity.group;
        segment->damage.copy = (int32_t)segment->identity.copy;
    }
    pthread_mutex_unlock(&segment->lock);
}

void auri_segment_note_failure(aur_segment *segment, const aur_error *error) {
    note(segment, error, AUR_SEGMENT_FAILED);
}

void auri_segment_note_damage(aur_segment *segment, const aur_error *error) {
    note(segment, error, AUR_SEGMENT_DAMAGED);
}

void aur_segment_fail(aur_segment *segment, const aur_error *why) {
    auri_segment_note_failure(segment, why);
}

aur_status auri_segment_writable(aur_segment *segment, aur_error *error) {
    aur_status status = AUR_OK;
    pthread_mutex_lock(&segment->lock);
    if (segment->health == AUR_SEGMENT_FAILED) {
        if (error != NULL) {
            *error = segment->damage;
        }
        status = segment->damage.status < AUR_OK ? segment->damage.status : AUR_ERR_IO;
    }
    pthread_mutex_unlock(&segment->lock);
    return status;
}

/* ---- Manifest ---- */

aur_status auri_segment_draft(aur_segment *segment, auri_manifest *draft_out, aur_error *error) {
    const aur_status status = auri_segment_manifest_copy(&segment->manifest, draft_out);
    draft_out->proven_scl = AUR_LSN_MAX;
    return status == AUR_OK ? AUR_OK : aur_fail(error, status, "no memory for a manifest");
}

/* Where the oldest frame above `flushed_lsn` rests; where the next will, when there is none. Holds
 * `lock`. */
static auri_log_position replay_position(const aur_segment *segment, aur_lsn flushed_lsn) {
    const auri_log *log = &segment->log;
    if (segment->frozen != NULL && segment->frozen->limit > flushed_lsn) {
        return segment->frozen->slots[0].position;
    }
    const auri_memtable *active = segment->active;
    for (uint32_t at = 0; at < active->slot_count; at++) {
        if (active->slots[at].frame->header.last_lsn > flushed_lsn) {
            return active->slots[at].position;
        }
    }
    if (segment->pending_count > 0) {
        return segment->pending[0].position;
    }
    if (log->active != NULL) {
        return (auri_log_position){log->active->sequence, log->active->used_bytes};
    }
    return (auri_log_position){log->floor + 1, AURI_EXTENT_HEADER_BYTES};
}

aur_status auri_segment_install(aur_segment *segment, auri_manifest *next, auri_view *view,
                                bool flushed, aur_error *error) {
    aur_error failure;
    auri_memtable *dropped = NULL;
    aur_error_clear(&failure);
    pthread_mutex_lock(&segment->lock);
    next->edition++;
    next->proven_scl = segment->scl < next->proven_scl ? segment->scl : next->proven_scl;
    next->vdl = segment->vdl;
    next->next_layer = segment->next_layer;
    next->replay = replay_position(segment, next->flushed_lsn);
    pthread_mutex_unlock(&segment->lock);

    const aur_status status = auri_segment_manifest_store(segment->disk, next, &failure);
    if (status != AUR_OK) {
        if (status != AUR_ERR_MEMORY) {
            auri_segment_note_failure(segment, &failure);
        }
        if (error != NULL) {
            *error = failure;
        }
        auri_segment_manifest_free(next);
        auri_segment_view_release(view);
        return status;
    }
    pthread_mutex_lock(&segment->lock);
    auri_manifest old = segment->manifest;
    segment->manifest = *next;
    if (view != NULL) {
        auri_view *replaced = segment->view;
        segment->view = view;
        view = replaced;
    }
    if (flushed) {
        dropped = segment->frozen;
        segment->frozen = NULL;
    }
    pthread_mutex_unlock(&segment->lock);
    auri_segment_manifest_free(&old);
    auri_segment_view_release(view);
    auri_segment_memtable_release(dropped);
    return AUR_OK;
}
