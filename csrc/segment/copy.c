/*
 * Copies of a segment: the same copy of its group rebuilt, or a segment of another volume, a clone.
 * Layers first, then the frames that no layer holds, then the manifest; one that is cut short
 * leaves files that the next one replaces, and no segment. What there is at the moment of a pin is
 * copied, and the source goes on meanwhile.
 *
 * A rebuild copies layers byte for byte. That may take longer than the logs of its peers reach
 * back, so what the source got meanwhile is copied behind it, which is less each time, until the
 * rest is small: the copy can then catch up by frames. Layers that the source has replaced since
 * stay behind, until the target's first opening removes them.
 *
 * A clone links layers where the disks can, and seals the frames anew, as they are another volume's
 * from now on.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

enum {
    CHUNK_BYTES = 1 << 20,
    LAYER_CHUNK_BYTES = 256 << 10, /* so that commits do not wait long behind one on the disk */
    ROUNDS_MAX = 16,               /* of layers that came meanwhile */
    REST_BYTES = 4 << 20,          /* a log reaches back as far at least */
};

struct aur_segment_snapshot {
    aur_segment *source;
    auri_manifest manifest;
    auri_view *view;
    auri_slot *slots;
    size_t slot_count;
    _Atomic(bool) has_linked;
};

typedef struct copy_run {
    aur_segment_snapshot *snapshot;
    auri_view *placed; /* whose layers the target has already; one reference, or NULL */
    aur_disk *target;
    const aur_segment_identity *identity;
    bool (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);
    void *context;
    uint64_t done_bytes, total_bytes;
    uint8_t *chunk;
    auri_manifest manifest; /* what the target's will say */
    aur_frame **frames;     /* one reference each */
    size_t frame_count;
    bool links;
} copy_run;

/* ---- Snapshots ---- */

void aur_segment_unpin(aur_segment_snapshot *snapshot) {
    if (snapshot == NULL) {
        return;
    }
    auri_segment_manifest_free(&snapshot->manifest);
    auri_segment_release_slots(snapshot->slots, snapshot->slot_count);
    auri_segment_view_release(snapshot->view);
    free(snapshot);
}

aur_status aur_segment_pin(aur_segment *segment, aur_segment_snapshot **snapshot_out,
                           aur_error *error) {
    *snapshot_out = NULL;
    aur_segment_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a snapshot of a segment");
    }
    snapshot->source = segment;
    atomic_init(&snapshot->has_linked, false);
    pthread_mutex_lock(&segment->lock);
    const aur_status status = auri_segment_manifest_copy(&segment->manifest, &snapshot->manifest);
    snapshot->view = auri_segment_view_acquire(segment->view);
    snapshot->slots = auri_segment_hot_slots(segment, &snapshot->slot_count);
    snapshot->manifest.proven_scl = segment->scl;
    snapshot->manifest.vdl = segment->vdl;
    snapshot->manifest.next_layer = segment->next_layer;
    pthread_mutex_unlock(&segment->lock);
    if (status != AUR_OK || snapshot->slots == NULL) {
        aur_segment_unpin(snapshot);
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a snapshot of a segment");
    }
    *snapshot_out = snapshot;
    return AUR_OK;
}

/* ---- Layers ---- */

static aur_status advance(void *context, uint64_t bytes, aur_error *error) {
    copy_run *run = context;
    run->done_bytes += bytes;
    if (run->progress != NULL && !run->progress(run->context, run->done_bytes, run->total_bytes)) {
        return aur_fail(error, AUR_TIMEOUT, "the copy was stopped");
    }
    return AUR_OK;
}

/* Copies the bytes and adds them up; *sum_out is then to be compared with what the manifest says.
 */
static aur_status copy_bytes(const auri_layer *layer, aur_file *file, uint64_t *sum_out,
                             aur_status (*advance_by)(void *context, uint64_t bytes,
                                                      aur_error *error),
                             void *context, aur_error *error) {
    aur_checksum_stream *sum = aur_checksum_stream_create(
        auri_segment_layer_seed(layer->volume_seed, layer->info.number, 0));
    uint8_t *chunk = aligned_alloc(AUR_DISK_BLOCK_BYTES, LAYER_CHUNK_BYTES);
    aur_status status = sum != NULL && chunk != NULL
                            ? AUR_OK
                            : aur_fail(error, AUR_ERR_MEMORY, "no memory for copying a layer");
    for (uint64_t at = 0; at < layer->info.size_bytes && status == AUR_OK;) {
        size_t length = 0;
        status = aur_file_read(layer->file, at, chunk, LAYER_CHUNK_BYTES, &length, error);
        if (status != AUR_OK) {
            aur_error_locate(error, (int32_t)layer->identity.group, (int32_t)layer->identity.copy,
                             layer->name, at, layer->info.first_lsn);
        } else if (length == 0) {
            status = auri_segment_layer_damage(layer, at, layer->info.first_lsn,
                                               "the layer is cut off", error);
        }
        if (status == AUR_OK) {
            aur_checksum_stream_add(sum, chunk, length);
            status = aur_file_write(file, at, chunk, length, error);
        }
        if (status == AUR_OK && advance_by != NULL) {
            status = advance_by(context, length, error);
        }
        at += length;
    }
    *sum_out = sum == NULL ? 0 : aur_checksum_stream_sum(sum);
    aur_checksum_stream_destroy(sum);
    free(chunk);
    return status == AUR_OK ? aur_file_sync(file, error) : status;
}

aur_status auri_segment_layer_copy(const auri_layer *layer, aur_disk *target,
                                   aur_status (*advance_by)(void *context, uint64_t bytes,
                                                            aur_error *error),
                                   void *context, aur_error *error) {
    aur_file *file = NULL;
    uint64_t sum;
    if (layer->file == NULL) {
        return auri_segment_layer_damage(layer, 0, layer->info.first_lsn, "the layer is missing",
                                         error);
    }
    aur_status status = aur_disk_remove(target, layer->name, error);
    if (status == AUR_OK || status == AUR_NOT_FOUND) {
        status = aur_disk_open_file(
            target, layer->name, AUR_FILE_WRITE | AUR_FILE_READ | AUR_FILE_UNCACHED, &file, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    status = copy_bytes(layer, file, &sum, advance_by, context, error);
    aur_file_close(file);
    if (status == AUR_OK && sum != layer->info.file_sum) {
        status = auri_segment_layer_damage(layer, 0, layer->info.first_lsn,
                                           "the layer fails its checksum", error);
    }
    return status;
}

bool auri_segment_is_source_of(const aur_segment *segment, const aur_error *failure) {
    return (failure->status == AUR_ERR_CORRUPT || failure->status == AUR_ERR_IO) &&
           failure->copy == (int32_t)segment->identity.copy;
}

/* Damage of the source is noted, so that the next copy is made from another one. */
static aur_status copy_layer(copy_run *run, const auri_layer *layer, aur_error *error) {
    aur_error failure;
    aur_error_clear(&failure);
    const aur_status status = auri_segment_layer_copy(layer, run->target, advance, run, &failure);
    if (auri_segment_is_source_of(run->snapshot->source, &failure)) {
        auri_segment_note_damage(run->snapshot->source, &failure);
    }
    if (status != AUR_OK && error != NULL) {
        *error = failure;
    }
    return status;
}

/* What was written is read back and verified, so damage on the way never becomes a copy's. */
static aur_status place_layer(copy_run *run, const auri_layer *layer, aur_error *error) {
    aur_verify_counts counts = {0};
    if (layer->info.size_bytes == 0) {
        return AUR_OK;
    }
    if (run->links) {
        const aur_status status = aur_disk_link(run->snapshot->source->disk, layer->name,
                                                run->target, layer->name, error);
        if (status != AUR_WOULD_BLOCK && status != AUR_NOT_FOUND) {
            return status == AUR_OK ? advance(run, layer->info.size_bytes, error) : status;
        }
        run->links = false; /* there are none, or the file was removed: it is open still */
    }
    const aur_status status = copy_layer(run, layer, error);
    return status == AUR_OK
               ? auri_segment_layer_verify(run->target, run->identity, &layer->info, &counts, error)
               : status;
}

/* ---- Frames ---- */

/* How many frames from `first` on go into one extent, and how large it is. */
static size_t plan_extent(const copy_run *run, size_t first, uint64_t *size_out) {
    uint64_t size = AURI_EXTENT_HEADER_BYTES;
    size_t at = first;
    for (; at < run->frame_count; at++) {
        const uint64_t padded = aur_frame_padded(run->frames[at]->header.length);
        if (at > first && size + padded > run->snapshot->source->options.extent_bytes) {
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
        const aur_frame *frame = run->frames[first];
        const uint8_t *bytes = frame->bytes;
        size_t length = aur_frame_padded(frame->header.length);
        if (length <= CHUNK_BYTES) {
            bytes = run->chunk;
            length = 0;
            for (; first < end; first++) {
                frame = run->frames[first];
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
    } while (first < run->frame_count && status == AUR_OK);
    return status;
}

/* ---- The whole ---- */

static aur_status no_memory(aur_error *error) {
    return aur_fail(error, AUR_ERR_MEMORY, "no memory for copying a segment");
}

/* A frame of another volume with the same records. NULL: out of memory. */
static aur_frame *seal_anew(const aur_frame *frame, uint64_t volume_seed) {
    aur_frame *sealed = aur_frame_create(frame->header.length);
    if (sealed != NULL) {
        memcpy(sealed->bytes, frame->bytes, frame->header.length);
        memset(sealed->bytes + frame->header.length, 0, sealed->capacity - frame->header.length);
        sealed->header = frame->header;
        aur_frame_seal(sealed->bytes, &sealed->header, volume_seed);
    }
    return sealed;
}

/* The frames up to `vdl`, sealed for the target's volume. */
static aur_status take_frames(copy_run *run, aur_lsn vdl, bool is_clone) {
    const aur_segment_snapshot *snapshot = run->snapshot;
    const uint64_t volume_seed = aur_volume_seed(run->identity->volume_id);
    run->frames = malloc((snapshot->slot_count + 1) * sizeof(aur_frame *));
    run->manifest.proven_scl = run->manifest.flushed_lsn;
    if (run->frames == NULL) {
        return AUR_ERR_MEMORY;
    }
    for (size_t at = 0; at < snapshot->slot_count; at++) {
        aur_frame *frame = snapshot->slots[at].frame;
        if (frame->header.last_lsn <= run->manifest.flushed_lsn) {
            continue;
        }
        if (frame->header.last_lsn > vdl) {
            break;
        }
        aur_frame *taken = is_clone ? seal_anew(frame, volume_seed) : aur_frame_acquire(frame);
        if (taken == NULL) {
            return AUR_ERR_MEMORY;
        }
        run->frames[run->frame_count++] = taken;
        run->manifest.proven_scl = frame->header.last_lsn;
        run->total_bytes += aur_frame_padded(frame->header.length);
    }
    return AUR_OK;
}

static aur_status check_target(const copy_run *run, bool is_clone, aur_error *error) {
    const aur_segment_identity *source = &run->snapshot->source->identity;
    const aur_segment_identity *target = run->identity;
    auri_manifest manifest;
    const bool same_volume = memcmp(source->volume_id, target->volume_id, AUR_VOLUME_ID_BYTES) == 0;
    if (same_volume == is_clone || source->group != target->group ||
        source->page_bytes != target->page_bytes || source->group_pages != target->group_pages ||
        target->copy >= target->copies) {
        return aur_fail(error, AUR_ERR_INVALID,
                        "a copy has the group and page size of its source, and its volume; a clone "
                        "has another volume");
    }
    const aur_status status = auri_segment_manifest_load(run->target, &manifest, NULL);
    auri_segment_manifest_free(&manifest);
    return status == AUR_NOT_FOUND ? AUR_OK
                                   : aur_fail(error, AUR_ERR_INVALID, "%s holds a segment already",
                                              aur_disk_path(run->target));
}

static aur_status prepare(copy_run *run, bool is_clone, aur_error *error) {
    const aur_status status = check_target(run, is_clone, error);
    if (status != AUR_OK) {
        return status;
    }
    run->chunk = aligned_alloc(AUR_FRAME_ALIGN, CHUNK_BYTES);
    return run->chunk == NULL ? no_memory(error) : auri_segment_remove_files(run->target, error);
}

/* What the target's manifest will say, and the frames up to `vdl`. */
static aur_status draft(copy_run *run, aur_lsn vdl, bool is_clone, aur_error *error) {
    aur_status status = auri_segment_manifest_copy(&run->snapshot->manifest, &run->manifest);
    if (status == AUR_OK) {
        status = take_frames(run, vdl, is_clone);
    }
    if (status != AUR_OK) {
        return no_memory(error);
    }
    run->manifest.identity = *run->identity;
    run->manifest.edition = 1;
    run->manifest.replay = (auri_log_position){.sequence = 1, .offset = AURI_EXTENT_HEADER_BYTES};
    return AUR_OK;
}

static bool is_placed(const copy_run *run, const auri_layer_info *info) {
    bool found = info->size_bytes == 0;
    for (uint32_t at = 0; run->placed != NULL && at < run->placed->layer_count && !found; at++) {
        found = auri_segment_same_layer(&run->placed->layers[at]->info, info);
    }
    return found;
}

/* Bytes of the layers that the target lacks. */
static uint64_t missing_bytes(const copy_run *run) {
    const auri_view *view = run->snapshot->view;
    uint64_t bytes = 0;
    for (uint32_t at = 0; at < view->layer_count; at++) {
        const auri_layer_info *info = &view->layers[at]->info;
        bytes += is_placed(run, info) ? 0 : info->size_bytes;
    }
    return bytes;
}

static aur_status place_layers(copy_run *run, aur_error *error) {
    auri_view *view = run->snapshot->view;
    aur_status status = AUR_OK;
    run->total_bytes += missing_bytes(run);
    for (uint32_t at = 0; at < view->layer_count && status == AUR_OK; at++) {
        if (!is_placed(run, &view->layers[at]->info)) {
            status = place_layer(run, view->layers[at], error);
        }
    }
    if (status == AUR_OK) {
        auri_segment_view_release(run->placed);
        run->placed = auri_segment_view_acquire(view);
    }
    return status;
}

/* Until what the source has got since is small, and its snapshot the run's. */
static aur_status place_most_layers(copy_run *run, aur_error *error) {
    aur_status status = AUR_OK;
    for (int round = 0; round < ROUNDS_MAX && status == AUR_OK && missing_bytes(run) > REST_BYTES;
         round++) {
        aur_segment_snapshot *newer = NULL;
        status = place_layers(run, error);
        if (status == AUR_OK) {
            status = aur_segment_pin(run->snapshot->source, &newer, error);
        }
        if (status == AUR_OK) {
            aur_segment_unpin(run->snapshot);
            run->snapshot = newer;
        }
    }
    return status;
}

/* The rest of the layers, the frames, and the manifest last. */
static aur_status complete(copy_run *run, aur_error *error) {
    aur_status status = place_layers(run, error);
    if (status == AUR_OK) {
        status = copy_log(run, error);
    }
    if (status == AUR_OK) {
        status = aur_disk_sync_directory(run->target, error);
    }
    if (status == AUR_OK) {
        auri_segment_reserve(run->target);
        status = auri_segment_manifest_store(run->target, &run->manifest, error);
    }
    return status;
}

static void clear(copy_run *run) {
    for (size_t at = 0; at < run->frame_count; at++) {
        aur_frame_release(run->frames[at]);
    }
    free(run->frames);
    free(run->chunk);
    auri_segment_manifest_free(&run->manifest);
    auri_segment_view_release(run->placed);
}

aur_status
aur_segment_copy(aur_segment *source, aur_disk *target, const aur_segment_identity *identity,
                 bool (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes),
                 void *context, aur_error *error) {
    copy_run run = {
        .target = target, .identity = identity, .progress = progress, .context = context};
    aur_status status = aur_segment_pin(source, &run.snapshot, error);
    if (status != AUR_OK) {
        return status;
    }
    status = prepare(&run, false, error);
    if (status == AUR_OK) {
        status = place_most_layers(&run, error);
    }
    if (status == AUR_OK) {
        status = draft(&run, AUR_LSN_MAX, false, error);
    }
    if (status == AUR_OK) {
        status = complete(&run, error);
    }
    clear(&run);
    aur_segment_unpin(run.snapshot);
    return status;
}

aur_status
aur_segment_clone(aur_segment_snapshot *snapshot, aur_disk *target,
                  const aur_segment_identity *identity, aur_lsn vdl, const aur_rewind *rewind,
                  bool (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes),
                  void *context, aur_error *error) {
    copy_run run = {.snapshot = snapshot,
                    .target = target,
                    .identity = identity,
                    .progress = progress,
                    .context = context,
                    .links = !atomic_exchange(&snapshot->has_linked, true)};
    aur_status status = AUR_OK;
    if (snapshot->manifest.flushed_lsn > vdl) {
        return aur_fail(
            error, AUR_ERR_INVALID, "LSN %llu is in layers, above the VDL %llu of the clone",
            (unsigned long long)snapshot->manifest.flushed_lsn, (unsigned long long)vdl);
    }
    status = prepare(&run, true, error);
    if (status == AUR_OK) {
        status = draft(&run, vdl, true, error);
    }
    if (status == AUR_OK) {
        run.manifest.vdl = vdl;
        if (rewind != NULL) { /* the copied list has a place more than it needs */
            run.manifest.rewinds[run.manifest.rewind_count++] = *rewind;
        }
        status = complete(&run, error);
    }
    clear(&run);
    return status;
}
