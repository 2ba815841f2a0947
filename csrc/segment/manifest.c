/*
 * The manifest: the one file of a segment that is replaced atomically. It names the layers; the hot
 * log's extents describe themselves, so that taking a new extent into use writes no manifest.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

enum { SUM_BYTES = 8, MANIFEST_BYTES_MAX = 16 << 20, RESERVE_BYTES = 64 << 10 };

static const char MAGIC[8] = {'A', 'U', 'R', 'M', 'A', 'N', 'I', 'F'};
static const char NAME[] = "manifest";
static const char RESERVE[] = "reserve";

void auri_segment_manifest_free(auri_manifest *manifest) {
    free(manifest->rewinds);
    free(manifest->layers);
    manifest->rewinds = NULL;
    manifest->layers = NULL;
    manifest->rewind_count = 0;
    manifest->layer_count = 0;
}

/* One place more than needed, so that the caller may add one. */
static aur_status allocate_lists(auri_manifest *manifest) {
    manifest->rewinds = calloc((size_t)manifest->rewind_count + 1, sizeof *manifest->rewinds);
    manifest->layers = calloc((size_t)manifest->layer_count + 1, sizeof *manifest->layers);
    if (manifest->rewinds == NULL || manifest->layers == NULL) {
        auri_segment_manifest_free(manifest);
        return AUR_ERR_MEMORY;
    }
    return AUR_OK;
}

aur_status auri_segment_manifest_copy(const auri_manifest *from, auri_manifest *to) {
    *to = *from;
    const aur_status status = allocate_lists(to);
    if (status != AUR_OK) {
        return status;
    }
    if (from->rewind_count > 0) {
        memcpy(to->rewinds, from->rewinds, from->rewind_count * sizeof *to->rewinds);
    }
    if (from->layer_count > 0) {
        memcpy(to->layers, from->layers, from->layer_count * sizeof *to->layers);
    }
    return AUR_OK;
}

static void encode_head(const auri_manifest *manifest, uint32_t length, uint8_t *out) {
    const aur_segment_identity *identity = &manifest->identity;
    memcpy(out + AUR_MANIFEST_MAGIC_AT, MAGIC, sizeof MAGIC);
    aur_put32(out + AUR_MANIFEST_VERSION_AT, AUR_SEGMENT_FORMAT);
    aur_put32(out + AUR_MANIFEST_LENGTH_AT, length);
    memcpy(out + AUR_MANIFEST_VOLUME_AT, identity->volume_id, AUR_VOLUME_ID_BYTES);
    aur_put32(out + AUR_MANIFEST_GROUP_AT, identity->group);
    aur_put32(out + AUR_MANIFEST_COPY_AT, identity->copy);
    aur_put32(out + AUR_MANIFEST_PAGE_BYTES_AT, identity->page_bytes);
    aur_put32(out + AUR_MANIFEST_COPIES_AT, identity->copies);
    aur_put64(out + AUR_MANIFEST_GROUP_PAGES_AT, identity->group_pages);
    aur_put64(out + AUR_MANIFEST_EDITION_AT, manifest->edition);
    aur_put64(out + AUR_MANIFEST_EPOCH_AT, manifest->epoch);
    aur_put64(out + AUR_MANIFEST_BASE_AT, manifest->base_lsn);
    aur_put64(out + AUR_MANIFEST_FLUSHED_AT, manifest->flushed_lsn);
    aur_put64(out + AUR_MANIFEST_PROVEN_AT, manifest->proven_scl);
    aur_put64(out + AUR_MANIFEST_VDL_AT, manifest->vdl);
    aur_put64(out + AUR_MANIFEST_REPLAY_SEQUENCE_AT, manifest->replay.sequence);
    aur_put64(out + AUR_MANIFEST_REPLAY_OFFSET_AT, manifest->replay.offset);
    aur_put64(out + AUR_MANIFEST_NEXT_LAYER_AT, manifest->next_layer);
    aur_put32(out + AUR_MANIFEST_REWINDS_AT, manifest->rewind_count);
    aur_put32(out + AUR_MANIFEST_LAYERS_AT, manifest->layer_count);
}

static void encode_rewind(const aur_rewind *rewind, uint8_t *out) {
    aur_put64(out + AUR_REWOUND_FROM_AT, rewind->at);
    aur_put64(out + AUR_REWOUND_TO_AT, rewind->to);
    aur_put64(out + AUR_REWOUND_EPOCH_AT, rewind->epoch);
    aur_put64(out + AUR_REWOUND_TIME_AT, rewind->time_us);
    aur_put64(out + AUR_REWOUND_LOST_AT, rewind->lost_commits);
    aur_put32(out + AUR_REWOUND_KIND_AT, rewind->kind);
    aur_put32(out + AUR_REWOUND_KIND_AT + 4, 0);
    memcpy(out + AUR_REWOUND_WHO_AT, rewind->who, AUR_REWIND_WHO_BYTES);
}

static void encode_layer(const auri_layer_info *layer, uint8_t *out) {
    aur_put64(out + AUR_LISTED_NUMBER_AT, layer->number);
    aur_put64(out + AUR_LISTED_SIZE_AT, layer->size_bytes);
    aur_put64(out + AUR_LISTED_RECORDS_AT, layer->records);
    aur_put64(out + AUR_LISTED_FIRST_LSN_AT, layer->first_lsn);
    aur_put64(out + AUR_LISTED_LAST_LSN_AT, layer->last_lsn);
    aur_put64(out + AUR_LISTED_FIRST_PAGE_AT, layer->first_page);
    aur_put64(out + AUR_LISTED_LAST_PAGE_AT, layer->last_page);
    aur_put64(out + AUR_LISTED_FOOTER_SUM_AT, layer->footer_sum);
    aur_put64(out + AUR_LISTED_FILE_SUM_AT, layer->file_sum);
    aur_put64(out + AUR_LISTED_COMPLETE_AT, layer->complete_lsn);
    aur_put64(out + AUR_LISTED_HORIZON_AT, layer->horizon);
    aur_put64(out + AUR_LISTED_LOWEST_ROOT_AT, layer->lowest_root);
    aur_put64(out + AUR_LISTED_LIVE_AT, layer->live_bytes);
    aur_put64(out + AUR_LISTED_COMMITS_AT, layer->commits);
    aur_put64(out + AUR_LISTED_FIRST_TIME_AT, layer->first_time_us);
    aur_put64(out + AUR_LISTED_LAST_TIME_AT, layer->last_time_us);
    memcpy(out + AUR_LISTED_ORIGIN_AT, layer->origin, AUR_VOLUME_ID_BYTES);
    aur_put32(out + AUR_LISTED_KIND_AT, layer->kind);
    aur_put32(out + AUR_LISTED_TIER_AT, layer->tier);
}

void auri_segment_reserve(aur_disk *disk) {
    aur_file *file = NULL;
    if (aur_disk_open_file(disk, RESERVE, AUR_FILE_READ, &file, NULL) == AUR_OK) {
        aur_file_close(file);
        return;
    }
    const aur_status created = aur_disk_create(disk, RESERVE, RESERVE_BYTES, NULL);
    (void)created; /* without it only a full disk cannot be recovered on */
}

/* On a full disk the reserve gives its room to the new manifest, and takes that of the old one. */
static aur_status replace(aur_disk *disk, const uint8_t *bytes, size_t length, aur_error *error) {
    const aur_status status = aur_disk_replace(disk, NAME, bytes, length, error);
    if (status != AUR_ERR_FULL || aur_disk_remove(disk, RESERVE, NULL) != AUR_OK) {
        return status;
    }
    aur_error_clear(error);
    const aur_status replaced = aur_disk_replace(disk, NAME, bytes, length, error);
    auri_segment_reserve(disk);
    return replaced;
}

aur_status auri_segment_manifest_store(aur_disk *disk, const auri_manifest *manifest,
                                       aur_error *error) {
    const size_t length = AUR_MANIFEST_BODY_AT +
                          (size_t)manifest->rewind_count * AUR_REWOUND_BYTES +
                          (size_t)manifest->layer_count * AUR_LISTED_BYTES + SUM_BYTES;
    if (length > MANIFEST_BYTES_MAX) {
        return aur_fail(error, AUR_ERR_FULL, "the manifest would hold %u layers",
                        manifest->layer_count);
    }
    uint8_t *bytes = malloc(length);
    if (bytes == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a manifest of %zu bytes", length);
    }
    encode_head(manifest, (uint32_t)length, bytes);
    uint8_t *out = bytes + AUR_MANIFEST_BODY_AT;
    for (uint32_t at = 0; at < manifest->rewind_count; at++, out += AUR_REWOUND_BYTES) {
        encode_rewind(&manifest->rewinds[at], out);
    }
    for (uint32_t at = 0; at < manifest->layer_count; at++, out += AUR_LISTED_BYTES) {
        encode_layer(&manifest->layers[at], out);
    }
    aur_put64(out, aur_checksum(bytes, length - SUM_BYTES, 0));
    const aur_status status = replace(disk, bytes, length, error);
    free(bytes);
    return status;
}

static aur_status damaged(aur_error *error, const char *what) {
    const aur_status status = aur_fail(error, AUR_ERR_CORRUPT, "the manifest %s", what);
    aur_error_locate(error, -1, -1, NAME, 0, UINT64_MAX);
    return status;
}

static void decode_head(const uint8_t *in, auri_manifest *manifest) {
    aur_segment_identity *identity = &manifest->identity;
    memcpy(identity->volume_id, in + AUR_MANIFEST_VOLUME_AT, AUR_VOLUME_ID_BYTES);
    identity->group = aur_get32(in + AUR_MANIFEST_GROUP_AT);
    identity->copy = aur_get32(in + AUR_MANIFEST_COPY_AT);
    identity->page_bytes = aur_get32(in + AUR_MANIFEST_PAGE_BYTES_AT);
    identity->copies = aur_get32(in + AUR_MANIFEST_COPIES_AT);
    identity->group_pages = aur_get64(in + AUR_MANIFEST_GROUP_PAGES_AT);
    manifest->edition = aur_get64(in + AUR_MANIFEST_EDITION_AT);
    manifest->epoch = aur_get64(in + AUR_MANIFEST_EPOCH_AT);
    manifest->base_lsn = aur_get64(in + AUR_MANIFEST_BASE_AT);
    manifest->flushed_lsn = aur_get64(in + AUR_MANIFEST_FLUSHED_AT);
    manifest->proven_scl = aur_get64(in + AUR_MANIFEST_PROVEN_AT);
    manifest->vdl = aur_get64(in + AUR_MANIFEST_VDL_AT);
    manifest->replay.sequence = aur_get64(in + AUR_MANIFEST_REPLAY_SEQUENCE_AT);
    manifest->replay.offset = aur_get64(in + AUR_MANIFEST_REPLAY_OFFSET_AT);
    manifest->next_layer = aur_get64(in + AUR_MANIFEST_NEXT_LAYER_AT);
    manifest->rewind_count = aur_get32(in + AUR_MANIFEST_REWINDS_AT);
    manifest->layer_count = aur_get32(in + AUR_MANIFEST_LAYERS_AT);
}

static void decode_rewind(const uint8_t *in, aur_rewind *rewind) {
    rewind->at = aur_get64(in + AUR_REWOUND_FROM_AT);
    rewind->to = aur_get64(in + AUR_REWOUND_TO_AT);
    rewind->epoch = aur_get64(in + AUR_REWOUND_EPOCH_AT);
    rewind->time_us = aur_get64(in + AUR_REWOUND_TIME_AT);
    rewind->lost_commits = aur_get64(in + AUR_REWOUND_LOST_AT);
    rewind->kind = aur_get32(in + AUR_REWOUND_KIND_AT);
    memcpy(rewind->who, in + AUR_REWOUND_WHO_AT, AUR_REWIND_WHO_BYTES);
}

static void decode_layer(const uint8_t *in, auri_layer_info *layer) {
    layer->number = aur_get64(in + AUR_LISTED_NUMBER_AT);
    layer->size_bytes = aur_get64(in + AUR_LISTED_SIZE_AT);
    layer->records = aur_get64(in + AUR_LISTED_RECORDS_AT);
    layer->first_lsn = aur_get64(in + AUR_LISTED_FIRST_LSN_AT);
    layer->last_lsn = aur_get64(in + AUR_LISTED_LAST_LSN_AT);
    layer->first_page = aur_get64(in + AUR_LISTED_FIRST_PAGE_AT);
    layer->last_page = aur_get64(in + AUR_LISTED_LAST_PAGE_AT);
    layer->footer_sum = aur_get64(in + AUR_LISTED_FOOTER_SUM_AT);
    layer->file_sum = aur_get64(in + AUR_LISTED_FILE_SUM_AT);
    layer->complete_lsn = aur_get64(in + AUR_LISTED_COMPLETE_AT);
    layer->horizon = aur_get64(in + AUR_LISTED_HORIZON_AT);
    layer->lowest_root = aur_get64(in + AUR_LISTED_LOWEST_ROOT_AT);
    layer->live_bytes = aur_get64(in + AUR_LISTED_LIVE_AT);
    layer->commits = aur_get64(in + AUR_LISTED_COMMITS_AT);
    layer->first_time_us = aur_get64(in + AUR_LISTED_FIRST_TIME_AT);
    layer->last_time_us = aur_get64(in + AUR_LISTED_LAST_TIME_AT);
    memcpy(layer->origin, in + AUR_LISTED_ORIGIN_AT, AUR_VOLUME_ID_BYTES);
    layer->kind = aur_get32(in + AUR_LISTED_KIND_AT);
    layer->tier = aur_get32(in + AUR_LISTED_TIER_AT);
}

static int compare_numbers(const void *left, const void *right) {
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Whether no two layers name the same file. AUR_ERR_CORRUPT, AUR_ERR_MEMORY. */
static aur_status check_numbers(const auri_manifest *manifest) {
    uint64_t *numbers = malloc(((size_t)manifest->layer_count + 1) * sizeof *numbers);
    uint32_t count = 0;
    aur_status status = AUR_OK;
    if (numbers == NULL) {
        return AUR_ERR_MEMORY;
    }
    for (uint32_t at = 0; at < manifest->layer_count; at++) {
        if (manifest->layers[at].size_bytes > 0) {
            numbers[count++] = manifest->layers[at].number;
        }
    }
    qsort(numbers, count, sizeof *numbers, compare_numbers);
    for (uint32_t at = 1; at < count; at++) {
        status = numbers[at] == numbers[at - 1] ? AUR_ERR_CORRUPT : status;
    }
    free(numbers);
    return status;
}

/* What the checksum cannot tell: whether a later reader may rely on the numbers. */
static bool is_sound(const auri_manifest *manifest) {
    const aur_segment_identity *identity = &manifest->identity;
    if (identity->page_bytes < AUR_PAGE_BYTES_MIN || identity->page_bytes > AUR_PAGE_BYTES_MAX ||
        identity->group_pages == 0 || identity->group_pages > AURI_GROUP_PAGES_MAX) {
        return false;
    }
    const aur_page_id first = (aur_page_id)identity->group * identity->group_pages;
    for (uint32_t at = 0; at < manifest->layer_count; at++) {
        const auri_layer_info *layer = &manifest->layers[at];
        const bool has_kind =
            layer->kind >= AURI_LAYER_DELTA && layer->kind <= AURI_LAYER_CHRONICLE;
        const bool has_file = layer->size_bytes > 0;
        if (!has_kind || layer->last_lsn < layer->first_lsn ||
            layer->live_bytes > layer->size_bytes ||
            (!has_file && (layer->kind != AURI_LAYER_BASE || layer->records > 0))) {
            return false;
        }
        if (layer->kind != AURI_LAYER_CHRONICLE &&
            (layer->first_page < first || layer->last_page < layer->first_page ||
             layer->last_page - first >= identity->group_pages)) {
            return false;
        }
    }
    for (uint32_t at = 0; at < manifest->rewind_count; at++) {
        const aur_rewind *rewind = &manifest->rewinds[at];
        if (rewind->to > rewind->at || (at > 0 && rewind->at < manifest->rewinds[at - 1].at)) {
            return false;
        }
    }
    const auri_log_position *replay = &manifest->replay;
    return manifest->flushed_lsn >= manifest->base_lsn && replay->sequence > 0 &&
           replay->offset % AUR_FRAME_ALIGN == 0 && replay->offset <= INT64_MAX;
}

static aur_status decode(const uint8_t *bytes, size_t length, auri_manifest *manifest,
                         aur_error *error) {
    if (length < AUR_MANIFEST_BODY_AT + SUM_BYTES || memcmp(bytes, MAGIC, sizeof MAGIC) != 0) {
        return damaged(error, "is not one");
    }
    if (aur_get64(bytes + length - SUM_BYTES) != aur_checksum(bytes, length - SUM_BYTES, 0) ||
        aur_get32(bytes + AUR_MANIFEST_LENGTH_AT) != length) {
        return damaged(error, "fails its checksum");
    }
    if (aur_get32(bytes + AUR_MANIFEST_VERSION_AT) != AUR_SEGMENT_FORMAT) {
        return aur_fail(error, AUR_ERR_VERSION,
                        "the segment has format version %u, this release reads %d",
                        aur_get32(bytes + AUR_MANIFEST_VERSION_AT), AUR_SEGMENT_FORMAT);
    }
    decode_head(bytes, manifest);
    const uint64_t wanted = AUR_MANIFEST_BODY_AT +
                            (uint64_t)manifest->rewind_count * AUR_REWOUND_BYTES +
                            (uint64_t)manifest->layer_count * AUR_LISTED_BYTES + SUM_BYTES;
    if (wanted != length) {
        return damaged(error, "has lists that do not fit its length");
    }
    const aur_status status = allocate_lists(manifest);
    if (status != AUR_OK) {
        return aur_fail(error, status, "no memory for the manifest");
    }
    const uint8_t *in = bytes + AUR_MANIFEST_BODY_AT;
    for (uint32_t at = 0; at < manifest->rewind_count; at++, in += AUR_REWOUND_BYTES) {
        decode_rewind(in, &manifest->rewinds[at]);
    }
    for (uint32_t at = 0; at < manifest->layer_count; at++, in += AUR_LISTED_BYTES) {
        decode_layer(in, &manifest->layers[at]);
    }
    const aur_status numbers = check_numbers(manifest);
    if (numbers != AUR_OK || !is_sound(manifest)) {
        auri_segment_manifest_free(manifest);
        return numbers == AUR_ERR_MEMORY ? aur_fail(error, numbers, "no memory for the manifest")
                                         : damaged(error, "holds values out of range");
    }
    return AUR_OK;
}

aur_status auri_segment_manifest_load(aur_disk *disk, auri_manifest *manifest, aur_error *error) {
    aur_file *file = NULL;
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    size_t length = 0;
    memset(manifest, 0, sizeof *manifest);
    aur_status status = aur_disk_open_file(disk, NAME, AUR_FILE_READ, &file, error);
    if (status != AUR_OK) {
        return status;
    }
    status = aur_file_size(file, &size, error);
    if (status != AUR_OK) {
        goto done;
    }
    if (size > MANIFEST_BYTES_MAX) {
        status = damaged(error, "is too long");
        goto done;
    }
    bytes = malloc((size_t)size + 1);
    if (bytes == NULL) {
        status = aur_fail(error, AUR_ERR_MEMORY, "no memory for the manifest");
        goto done;
    }
    status = aur_file_read(file, 0, bytes, (size_t)size, &length, error);
    if (status == AUR_OK) {
        status = decode(bytes, length, manifest, error);
    }
done:
    free(bytes);
    aur_file_close(file);
    return status;
}
