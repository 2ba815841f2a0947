/*
 * Rebuilding a copy: layers byte for byte, then the frames that no layer holds, then the manifest.
 * What the source has at the moment of the call is pinned; it goes on while it is copied. A rebuild
 * that is cut short leaves files that the next one replaces, and no segment.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

enum { CHUNK_BYTES = 1 << 20 };

typedef struct copy_run {
    aur_segment *source;
    aur_disk *target;
    const aur_segment_identity *identity;
    bool (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);
    void *context;
    uint64_t done_bytes, total_bytes;
    uint8_t *chunk;
    auri_manifest manifest; /* what the target's will say */
    auri_slot *slots;
    size_t slot_count;
    auri_view *view;
} copy_run;

static aur_status advance(copy_run *run, uint64_t bytes, aur_error *error) {
    run->done_bytes += bytes;
    if (run->progress != NULL && !run->progress(run->context, run->done_bytes, run->total_bytes)) {
        return aur_fail(error, AUR_TIMEOUT, "the rebuild was stopped");
    }
    return AUR_OK;
}

static aur_status check_target(const copy_run *run, aur_error *error) {
    const aur_segment_identity *source = &run->source->identity;
    const aur_segment_identity *target = run->identity;
    auri_manifest manifest;
    if (memcmp(source->volume_id, target->volume_id, AUR_VOLUME_ID_BYTES) != 0 ||
        source->group != target->group || source->page_bytes != target->page_bytes ||
        source->group_pages != target->group_pages || target->copy >= target->copies) {
        return aur_fail(error, AUR_ERR_INVALID,
                        "a copy has the volume, group and page size of its source");
    }
    const aur_status status = auri_segment_manifest_load(run->target, &manifest, NULL);
    auri_segment_manifest_free(&manifest);
    return status == AUR_NOT_FOUND ? AUR_OK
                                   : aur_fail(error, AUR_ERR_INVALID, "%s holds a segment already",
                                              aur_disk_path(run->target));
}

/* Everything the copy consists of, as of one moment. */
static aur_status pin(copy_run *run, aur_error *error) {
    aur_segment *source = run->source;
    pthread_mutex_lock(&source->lock);
    aur_status status = auri_segment_manifest_copy(&source->manifest, &run->manifest);
    run->view = auri_segment_view_acquire(source->view);
    run->slots = auri_segment_hot_slots(source, &run->slot_count);
    run->manifest.proven_scl = source->scl;
    run->manifest.vdl = source->vdl;
    pthread_mutex_unlock(&source->lock);
    run->chunk = aligned_alloc(AUR_FRAME_ALIGN, CHUNK_BYTES);
    if (status != AUR_OK || run->slots == NULL || run->chunk == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a rebuild");
    }
    run->manifest.identity = *run->identity;
    run->manifest.edition = 1;
    run->manifest.replay = (auri_log_position){.sequence = 1, .offset = AURI_EXTENT_HEADER_BYTES};
    for (uint32_t at = 0; at < run->manifest.layer_count; at++) {
        run->total_bytes += run->manifest.layers[at].size_bytes;
    }
    for (size_t at = 0; at < run->slot_count; at++) {
        run->total_bytes += aur_frame_padded(run->slots[at].frame->header.length);
    }
    return AUR_OK;
}

static void unpin(copy_run *run) {
    auri_segment_manifest_free(&run->manifest);
    auri_segment_release_slots(run->slots, run->slot_count);
    auri_segment_view_release(run->view);
    free(run->chunk);
}

static aur_status copy_bytes(copy_run *run, const auri_layer *layer, aur_file *file,
                             aur_error *error) {
    uint64_t at = 0;
    while (at < layer->info.size_bytes) {
        size_t length = 0;
        aur_status status = aur_file_read(layer->file, at, run->chunk, CHUNK_BYTES, &length, error);
        if (status == AUR_OK && length == 0) {
            status = auri_segment_layer_damage(layer, at, layer->info.first_lsn,
                                               "the layer is cut off", error);
        }
        if (status == AUR_OK) {
            status = aur_file_write(file, at, run->chunk, length, error);
        }
        if (status == AUR_OK) {
            status = advance(run, length, error);
        }
        if (status != AUR_OK) {
            return status;
        }
        at += length;
    }
    return aur_file_sync(file, error);
}

/* What was written is read back and verified, so damage of the source never becomes a copy's. */
static aur_status copy_layer(copy_run *run, const auri_layer *layer, aur_error *error) {
    aur_file *file = NULL;
    aur_verify_counts counts = {0};
    if (layer->file == NULL) {
        return auri_segment_layer_damage(layer, 0, layer->info.first_lsn, "the layer is missing",
                                         error);
    }
    aur_status status =
        aur_disk_open_file(run->target, layer->name, AUR_FILE_WRITE | AUR_FILE_READ, &file, error);
    if (status != AUR_OK) {
        return status;
    }
    status = copy_bytes(run, layer, file, error);
    aur_file_close(file);
    if (status == AUR_OK) {
        status = auri_segment_layer_verify(run->target, &run->source->identity, &layer->info,
                                           &counts, error);
    }
    return status;
}

/* How many frames from `first` on go into one extent, and how large it is. */
static size_t plan_extent(const copy_run *run, size_t first, uint64_t *size_out) {
    uint64_t size = AURI_EXTENT_HEADER_BYTES;
    size_t at = first;
    for (; at < run->slot_count; at++) {
        const uint64_t padded = aur_frame_padded(run->slots[at].frame->header.length);
        if (at > first && size + padded > run->source->options.extent_bytes) {
            break;
        }
        size += padded;
    }
    *size_out = size < AURI_FIRST_EXTENT_BYTES ? AURI_FIRST_EXTENT_BYTES : size;
    return at;
}

/* Writes the frames [first, end) behind each other, in large writes. */
static aur_status fill_extent(copy_run *run, auri_extent *extent, size_t first, size_t end,
                              aur_error *error) {
    uint64_t offset = AURI_EXTENT_HEADER_BYTES;
    aur_status status = AUR_OK;
    while (first < end && status == AUR_OK) {
        const aur_frame *frame = run->slots[first].frame;
        const uint8_t *bytes = frame->bytes;
        size_t length = aur_frame_padded(frame->header.length);
        if (length <= CHUNK_BYTES) {
            bytes = run->chunk;
            length = 0;
            for (; first < end; first++) {
                frame = run->slots[first].frame;
                const size_t padded = aur_frame_padded(frame->header.length);
                if (length + padded > CHUNK_BYTES) {
                    break;
                }
                memcpy(run->chunk + length, frame->bytes, padded);
                length += padded;
            }
        } else {
            first++;
        }
        status = aur_file_write(extent->file, offset, bytes, length, error);
        offset += length;
        if (status == AUR_OK) {
            status = advance(run, length, error);
        }
    }
    return status;
}

static aur_status copy_log(copy_run *run, aur_error *error) {
    aur_status status = AUR_OK;
    uint64_t sequence = 1;
    size_t first = 0;
    do {
        uint64_t size;
        auri_extent *extent;
        const size_t end = plan_extent(run, first, &size);
        status = auri_segment_extent_create(run->target, run->identity, sequence++, size, &extent,
                                            error);
        if (status == AUR_OK) {
            status = fill_extent(run, extent, first, end, error);
            auri_segment_extent_release(extent);
        }
        first = end;
    } while (first < run->slot_count && status == AUR_OK);
    return status;
}

aur_status
aur_segment_copy(aur_segment *source, aur_disk *target, const aur_segment_identity *identity,
                 bool (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes),
                 void *context, aur_error *error) {
    copy_run run = {.source = source,
                    .target = target,
                    .identity = identity,
                    .progress = progress,
                    .context = context};
    aur_status status = check_target(&run, error);
    if (status != AUR_OK) {
        return status;
    }
    status = pin(&run, error);
    if (status == AUR_OK) {
        status = auri_segment_remove_files(target, error);
    }
    for (uint32_t at = 0; at < run.view->layer_count && status == AUR_OK; at++) {
        status = copy_layer(&run, run.view->layers[at], error);
    }
    if (status == AUR_OK) {
        status = copy_log(&run, error);
    }
    if (status == AUR_OK) {
        status = aur_disk_sync_directory(target, error);
    }
    if (status == AUR_OK) {
        auri_segment_reserve(target);
        status = auri_segment_manifest_store(target, &run.manifest, error);
    }
    unpin(&run);
    return status;
}
