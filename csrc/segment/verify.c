/*
 * Two looks at what is on disk: the cheap one asks whether the files are still there, the thorough
 * one reads every byte that counts. Both run beside appends and background work, so what they look
 * at is pinned, and a complaint about an extent counts only if the extent is still in use
 * afterwards.
 */
#include <errno.h>
#include <stdlib.h>

#include "segment/segment_private.h"

/* ---- Layers ---- */

static aur_status verify_header(const auri_layer *layer, aur_error *error) {
    uint8_t head[AUR_LAYER_BYTES];
    size_t length = 0;
    const aur_status status = aur_file_read(layer->file, 0, head, sizeof head, &length, error);
    if (status != AUR_OK) {
        return status;
    }
    if (length < sizeof head || memcmp(head + AUR_LAYER_MAGIC_AT, "AURLAYER", 8) != 0 ||
        aur_get64(head + AUR_LAYER_SUM_AT) != aur_checksum(head, AUR_LAYER_SUM_AT, 0) ||
        aur_get64(head + AUR_LAYER_NUMBER_AT) != layer->info.number ||
        memcmp(head + AUR_LAYER_VOLUME_AT, layer->info.origin, AUR_VOLUME_ID_BYTES) != 0) {
        return auri_segment_layer_damage(layer, 0, layer->info.first_lsn,
                                         "the header of the layer fails its checksum", error);
    }
    return AUR_OK;
}

static aur_status verify_records(auri_layer *layer, aur_verify_counts *counts, aur_error *error) {
    auri_cursor cursor;
    uint64_t records = 0;
    auri_segment_cursor_init(&cursor, layer);
    aur_status status = auri_segment_cursor_next(&cursor, error);
    while (status == AUR_OK && cursor.valid) {
        records++;
        status = auri_segment_cursor_next(&cursor, error);
    }
    if (status == AUR_OK && records != layer->info.records) {
        status = auri_segment_layer_damage(layer, 0, layer->info.first_lsn, "records are missing",
                                           error);
    }
    counts->records += records;
    auri_segment_cursor_free(&cursor);
    return status;
}

static aur_status count_commit(void *context, const aur_commit_mark *commit, aur_error *error) {
    uint64_t *count = context;
    (void)commit;
    (void)error;
    *count += 1;
    return AUR_OK;
}

static aur_status verify_commits(auri_layer *layer, aur_error *error) {
    uint64_t count = 0;
    const aur_status status =
        auri_segment_layer_commits(layer, 0, AUR_LSN_MAX, count_commit, &count, error);
    if (status == AUR_OK && count != layer->info.commits) {
        return auri_segment_layer_damage(layer, layer->commit_index.offset, layer->info.first_lsn,
                                         "commits are missing", error);
    }
    return status;
}

aur_status auri_segment_layer_verify(aur_disk *disk, const aur_segment_identity *identity,
                                     const auri_layer_info *info, aur_verify_counts *counts,
                                     aur_error *error) {
    auri_layer *layer;
    aur_error damage;
    aur_error_clear(&damage);
    aur_status status = auri_segment_layer_open(disk, identity, 0, info, &layer, &damage);
    if (status == AUR_OK) {
        status = damage.status;
    }
    if (status == AUR_OK && info->size_bytes > 0) {
        status = verify_header(layer, &damage);
        if (status == AUR_OK) {
            status = verify_records(layer, counts, &damage);
        }
        if (status == AUR_OK) {
            status = verify_commits(layer, &damage);
        }
    }
    if (status != AUR_OK && error != NULL) {
        *error = damage;
    }
    counts->files++;
    counts->bytes += info->size_bytes;
    auri_segment_layer_release(layer);
    return status;
}

/* ---- The thorough look ---- */

typedef struct verification {
    aur_segment *segment;
    void (*report)(void *context, const aur_error *damage);
    void *context;
    aur_verify_counts *counts;
} verification;

static void complain(const verification *run, aur_error *damage) {
    damage->group = (int32_t)run->segment->identity.group;
    damage->copy = (int32_t)run->segment->identity.copy;
    run->counts->damaged++;
    auri_segment_note_damage(run->segment, damage);
    if (run->report != NULL) {
        run->report(run->context, damage);
    }
}

static aur_status verify_manifest(const verification *run) {
    auri_manifest manifest;
    aur_error damage;
    aur_error_clear(&damage);
    const aur_status status = auri_segment_manifest_load(run->segment->disk, &manifest, &damage);
    run->counts->files++;
    if (status == AUR_ERR_MEMORY) {
        return status;
    }
    if (status == AUR_NOT_FOUND) {
        (void)aur_fail(&damage, AUR_ERR_IO, "the manifest is gone");
        aur_error_locate(&damage, -1, -1, "manifest", 0, UINT64_MAX);
    }
    if (status != AUR_OK) {
        complain(run, &damage);
    }
    auri_segment_manifest_free(&manifest);
    return AUR_OK;
}

static bool is_in_use(aur_segment *segment, const auri_extent *extent) {
    bool found = false;
    pthread_mutex_lock(&segment->lock);
    for (uint32_t at = 0; at < segment->log.count; at++) {
        found = found || segment->log.extents[at] == extent;
    }
    pthread_mutex_unlock(&segment->lock);
    return found;
}

static aur_status verify_frame(const verification *run, const auri_slot *slot, uint8_t *bytes,
                               const auri_extent *extent, aur_error *damage) {
    const size_t padded = aur_frame_padded(slot->frame->header.length);
    aur_frame_header header;
    size_t length = 0;
    aur_status status =
        aur_file_read(extent->file, slot->position.offset, bytes, padded, &length, damage);
    if (status != AUR_OK) {
        return status;
    }
    status = length < padded ? AUR_ERR_CORRUPT
                             : aur_frame_decode(bytes, padded, run->segment->volume_seed, &header);
    if (status == AUR_OK) {
        status = aur_frame_check_payload(bytes, &header, run->segment->volume_seed);
    }
    if (status == AUR_OK && header.last_lsn == slot->frame->header.last_lsn) {
        return AUR_OK;
    }
    return aur_fail(damage, AUR_ERR_CORRUPT, "a frame of the hot log fails its checksum");
}

static void verify_slot(const verification *run, const auri_slot *slot, uint8_t *bytes) {
    char name[AURI_NAME_BYTES];
    aur_error damage;
    aur_error_clear(&damage);
    pthread_mutex_lock(&run->segment->lock);
    auri_extent *extent = auri_segment_log_find(&run->segment->log, slot->position.sequence);
    pthread_mutex_unlock(&run->segment->lock);
    if (extent == NULL) {
        return; /* flushed meanwhile */
    }
    run->counts->frames++;
    run->counts->bytes += slot->frame->header.length;
    run->counts->records += slot->frame->header.records;
    const aur_status status = verify_frame(run, slot, bytes, extent, &damage);
    if (status != AUR_OK && is_in_use(run->segment, extent)) {
        auri_segment_extent_name(extent->sequence, name);
        aur_error_locate(&damage, -1, -1, name, slot->position.offset,
                         slot->frame->header.first_lsn);
        complain(run, &damage);
    }
    auri_segment_extent_release(extent);
}

static void verify_extent_header(const verification *run, auri_extent *extent) {
    char name[AURI_NAME_BYTES];
    aur_error damage;
    aur_error_clear(&damage);
    run->counts->files++;
    if (auri_segment_extent_check(extent, &run->segment->identity, &damage) != AUR_OK &&
        is_in_use(run->segment, extent)) {
        auri_segment_extent_name(extent->sequence, name);
        aur_error_locate(&damage, -1, -1, name, 0, UINT64_MAX);
        complain(run, &damage);
    }
}

/* References on all extents; NULL when out of memory. */
static auri_extent **pin_extents(aur_segment *segment, uint32_t *count_out) {
    pthread_mutex_lock(&segment->lock);
    const auri_log *log = &segment->log;
    auri_extent **extents = malloc(((size_t)log->count + 1) * sizeof(auri_extent *));
    *count_out = extents == NULL ? 0 : log->count;
    for (uint32_t at = 0; at < *count_out; at++) {
        extents[at] = auri_segment_extent_acquire(log->extents[at]);
    }
    pthread_mutex_unlock(&segment->lock);
    return extents;
}

static aur_status verify_log(const verification *run) {
    aur_segment *segment = run->segment;
    uint32_t extent_count;
    size_t slot_count = 0;
    uint8_t *bytes = aligned_alloc(AUR_FRAME_ALIGN, AUR_FRAME_BYTES_MAX);
    auri_extent **extents = pin_extents(segment, &extent_count);
    pthread_mutex_lock(&segment->lock);
    auri_slot *slots = auri_segment_hot_slots(segment, &slot_count);
    pthread_mutex_unlock(&segment->lock);
    const bool ready = bytes != NULL && extents != NULL && slots != NULL;
    for (uint32_t at = 0; at < extent_count; at++) {
        if (ready) {
            verify_extent_header(run, extents[at]);
        }
        auri_segment_extent_release(extents[at]);
    }
    for (size_t at = 0; at < slot_count && ready; at++) {
        verify_slot(run, &slots[at], bytes);
    }
    auri_segment_release_slots(slots, slot_count);
    free(extents);
    free(bytes);
    return ready ? AUR_OK : AUR_ERR_MEMORY;
}

aur_status aur_segment_verify(aur_segment *segment,
                              void (*report)(void *context, const aur_error *damage), void *context,
                              aur_verify_counts *counts_out, aur_error *error) {
    const verification run = {segment, report, context, counts_out};
    memset(counts_out, 0, sizeof *counts_out);
    aur_status status = verify_manifest(&run);
    auri_view *view = auri_segment_pin_view(segment);
    for (uint32_t at = 0; at < view->layer_count && status != AUR_ERR_MEMORY; at++) {
        aur_error damage;
        aur_error_clear(&damage);
        status = auri_segment_layer_verify(segment->disk, &segment->identity,
                                           &view->layers[at]->info, counts_out, &damage);
        if (status != AUR_OK && status != AUR_ERR_MEMORY) {
            complain(&run, &damage);
        }
    }
    auri_segment_view_release(view);
    if (status != AUR_ERR_MEMORY) {
        status = verify_log(&run);
    }
    return status == AUR_ERR_MEMORY ? aur_fail(error, status, "no memory for verification")
                                    : AUR_OK;
}

/* ---- The cheap look ---- */

static aur_status check_extents(aur_segment *segment, aur_error *error) {
    uint32_t count;
    aur_status status = AUR_OK;
    auri_extent **extents = pin_extents(segment, &count);
    for (uint32_t at = 0; at < count; at++) {
        if (status == AUR_OK) {
            status = aur_file_check(extents[at]->file, extents[at]->size_bytes, error);
            if (status != AUR_OK && !is_in_use(segment, extents[at])) {
                status = AUR_OK;
            }
        }
        auri_segment_extent_release(extents[at]);
    }
    free(extents);
    return extents == NULL ? aur_fail(error, AUR_ERR_MEMORY, "no memory for a check") : status;
}

static aur_status check_layers(aur_segment *segment, aur_error *error) {
    aur_status status = AUR_OK;
    auri_view *view = auri_segment_pin_view(segment);
    for (uint32_t at = 0; at < view->layer_count && status == AUR_OK; at++) {
        const auri_layer *layer = view->layers[at];
        /* One that was missing at open is known as damage. */
        if (layer->file != NULL) {
            status = aur_file_check(layer->file, layer->info.size_bytes, error);
        }
    }
    auri_segment_view_release(view);
    return status;
}

/* The directory must still lead to our manifest, or to a newer edition of it. */
static aur_status check_manifest(aur_segment *segment, aur_error *error) {
    auri_manifest manifest;
    pthread_mutex_lock(&segment->lock);
    const uint64_t edition = segment->manifest.edition;
    pthread_mutex_unlock(&segment->lock);
    const aur_status status = auri_segment_manifest_load(segment->disk, &manifest, error);
    const bool ours = status == AUR_OK && manifest.edition >= edition &&
                      memcmp(&manifest.identity, &segment->identity, sizeof manifest.identity) == 0;
    auri_segment_manifest_free(&manifest);
    if (status == AUR_ERR_MEMORY || ours) {
        return status;
    }
    const aur_status failed =
        aur_fail(error, AUR_ERR_IO, "the manifest of %s is %s", aur_disk_path(segment->disk),
                 status == AUR_ERR_CORRUPT ? "damaged" : "gone or was changed from outside");
    if (status == AUR_ERR_CORRUPT && error != NULL) {
        /* Unlike a folder that is away, it does not come back whole; and a compaction that is under
         * way may yet write a good one over it, for files that were damaged with it. */
        error->system_errno = EIO;
    }
    return failed;
}

aur_status aur_segment_check(aur_segment *segment, aur_error *error) {
    aur_error failure;
    aur_error_clear(&failure);
    aur_status status = auri_segment_writable(segment, error);
    if (status != AUR_OK) {
        return status;
    }
    status = check_manifest(segment, &failure);
    if (status == AUR_OK) {
        status = check_extents(segment, &failure);
    }
    if (status == AUR_OK) {
        status = check_layers(segment, &failure);
    }
    if (status == AUR_ERR_IO) {
        auri_segment_note_failure(segment, &failure);
    }
    if (status != AUR_OK && error != NULL) {
        *error = failure;
    }
    return status;
}
