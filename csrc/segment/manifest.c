/*
 * The manifest: the one file of a segment that is replaced atomically. It names the layers; the hot
 * log's extents describe themselves, so that taking a new extent into use writes no manifest.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

/* Byte places; docs/format/segment.md is normative. */
enum {
    MAGIC_AT = 0,   /* 8 bytes "AURMANIF" */
    VERSION_AT = 8, /* u32 */
    LENGTH_AT = 12, /* u32 bytes of the file */
    VOLUME_AT = 16, /* 16 bytes */
    GROUP_AT = 32,  /* u32 */
    COPY_AT = 36,   /* u32 */
    PAGE_BYTES_AT = 40,
    COPIES_AT = 44,
    GROUP_PAGES_AT = 48,
    EDITION_AT = 56,
    EPOCH_AT = 64,
    BASE_AT = 72,
    FLUSHED_AT = 80,
    PROVEN_AT = 88,
    VDL_AT = 96,
    REPLAY_SEQUENCE_AT = 104,
    REPLAY_OFFSET_AT = 112,
    NEXT_LAYER_AT = 120,
    REWIND_COUNT_AT = 128, /* u32 */
    LAYER_COUNT_AT = 132,  /* u32 */
    HEAD_BYTES = 136,
    REWIND_BYTES = 40,
    LAYER_BYTES = 72,
    SUM_BYTES = 8,
    MANIFEST_BYTES_MAX = 16 << 20,
};

static const char MAGIC[8] = {'A', 'U', 'R', 'M', 'A', 'N', 'I', 'F'};
static const char NAME[] = "manifest";

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
    memcpy(out + MAGIC_AT, MAGIC, sizeof MAGIC);
    aur_put32(out + VERSION_AT, AURI_FORMAT_VERSION);
    aur_put32(out + LENGTH_AT, length);
    memcpy(out + VOLUME_AT, identity->volume_id, AUR_VOLUME_ID_BYTES);
    aur_put32(out + GROUP_AT, identity->group);
    aur_put32(out + COPY_AT, identity->copy);
    aur_put32(out + PAGE_BYTES_AT, identity->page_bytes);
    aur_put32(out + COPIES_AT, identity->copies);
    aur_put64(out + GROUP_PAGES_AT, identity->group_pages);
    aur_put64(out + EDITION_AT, manifest->edition);
    aur_put64(out + EPOCH_AT, manifest->epoch);
    aur_put64(out + BASE_AT, manifest->base_lsn);
    aur_put64(out + FLUSHED_AT, manifest->flushed_lsn);
    aur_put64(out + PROVEN_AT, manifest->proven_scl);
    aur_put64(out + VDL_AT, manifest->vdl);
    aur_put64(out + REPLAY_SEQUENCE_AT, manifest->replay.sequence);
    aur_put64(out + REPLAY_OFFSET_AT, manifest->replay.offset);
    aur_put64(out + NEXT_LAYER_AT, manifest->next_layer);
    aur_put32(out + REWIND_COUNT_AT, manifest->rewind_count);
    aur_put32(out + LAYER_COUNT_AT, manifest->layer_count);
}

static void encode_rewind(const aur_rewind *rewind, uint8_t *out) {
    aur_put64(out, rewind->at);
    aur_put64(out + 8, rewind->to);
    aur_put64(out + 16, rewind->epoch);
    aur_put64(out + 24, rewind->time_us);
    aur_put32(out + 32, rewind->kind);
    aur_put32(out + 36, 0);
}

static void encode_layer(const auri_layer_info *layer, uint8_t *out) {
    aur_put64(out, layer->number);
    aur_put64(out + 8, layer->size_bytes);
    aur_put64(out + 16, layer->records);
    aur_put64(out + 24, layer->first_lsn);
    aur_put64(out + 32, layer->last_lsn);
    aur_put64(out + 40, layer->first_page);
    aur_put64(out + 48, layer->last_page);
    aur_put64(out + 56, layer->footer_sum);
    aur_put32(out + 64, layer->tier);
    aur_put32(out + 68, 0);
}

aur_status auri_segment_manifest_store(aur_disk *disk, const auri_manifest *manifest,
                                       aur_error *error) {
    const size_t length = HEAD_BYTES + (size_t)manifest->rewind_count * REWIND_BYTES +
                          (size_t)manifest->layer_count * LAYER_BYTES + SUM_BYTES;
    if (length > MANIFEST_BYTES_MAX) {
        return aur_fail(error, AUR_ERR_FULL, "the manifest would hold %u layers",
                        manifest->layer_count);
    }
    uint8_t *bytes = malloc(length);
    if (bytes == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a manifest of %zu bytes", length);
    }
    encode_head(manifest, (uint32_t)length, bytes);
    uint8_t *out = bytes + HEAD_BYTES;
    for (uint32_t at = 0; at < manifest->rewind_count; at++, out += REWIND_BYTES) {
        encode_rewind(&manifest->rewinds[at], out);
    }
    for (uint32_t at = 0; at < manifest->layer_count; at++, out += LAYER_BYTES) {
        encode_layer(&manifest->layers[at], out);
    }
    aur_put64(out, aur_checksum(bytes, length - SUM_BYTES, 0));
    const aur_status status = aur_disk_replace(disk, NAME, bytes, length, error);
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
    memcpy(identity->volume_id, in + VOLUME_AT, AUR_VOLUME_ID_BYTES);
    identity->group = aur_get32(in + GROUP_AT);
    identity->copy = aur_get32(in + COPY_AT);
    identity->page_bytes = aur_get32(in + PAGE_BYTES_AT);
    identity->copies = aur_get32(in + COPIES_AT);
    identity->group_pages = aur_get64(in + GROUP_PAGES_AT);
    manifest->edition = aur_get64(in + EDITION_AT);
    manifest->epoch = aur_get64(in + EPOCH_AT);
    manifest->base_lsn = aur_get64(in + BASE_AT);
    manifest->flushed_lsn = aur_get64(in + FLUSHED_AT);
    manifest->proven_scl = aur_get64(in + PROVEN_AT);
    manifest->vdl = aur_get64(in + VDL_AT);
    manifest->replay.sequence = aur_get64(in + REPLAY_SEQUENCE_AT);
    manifest->replay.offset = aur_get64(in + REPLAY_OFFSET_AT);
    manifest->next_layer = aur_get64(in + NEXT_LAYER_AT);
    manifest->rewind_count = aur_get32(in + REWIND_COUNT_AT);
    manifest->layer_count = aur_get32(in + LAYER_COUNT_AT);
}

static void decode_rewind(const uint8_t *in, aur_rewind *rewind) {
    rewind->at = aur_get64(in);
    rewind->to = aur_get64(in + 8);
    rewind->epoch = aur_get64(in + 16);
    rewind->time_us = aur_get64(in + 24);
    rewind->kind = aur_get32(in + 32);
}

static void decode_layer(const uint8_t *in, auri_layer_info *layer) {
    layer->number = aur_get64(in);
    layer->size_bytes = aur_get64(in + 8);
    layer->records = aur_get64(in + 16);
    layer->first_lsn = aur_get64(in + 24);
    layer->last_lsn = aur_get64(in + 32);
    layer->first_page = aur_get64(in + 40);
    layer->last_page = aur_get64(in + 48);
    layer->footer_sum = aur_get64(in + 56);
    layer->tier = aur_get32(in + 64);
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
        if (layer->first_page < first || layer->last_page < layer->first_page ||
            layer->last_page - first >= identity->group_pages ||
            layer->last_lsn < layer->first_lsn) {
            return false;
        }
    }
    return manifest->flushed_lsn >= manifest->base_lsn && manifest->replay.sequence > 0;
}

static aur_status decode(const uint8_t *bytes, size_t length, auri_manifest *manifest,
                         aur_error *error) {
    if (length < HEAD_BYTES + SUM_BYTES || memcmp(bytes, MAGIC, sizeof MAGIC) != 0) {
        return damaged(error, "is not one");
    }
    if (aur_get64(bytes + length - SUM_BYTES) != aur_checksum(bytes, length - SUM_BYTES, 0) ||
        aur_get32(bytes + LENGTH_AT) != length) {
        return damaged(error, "fails its checksum");
    }
    if (aur_get32(bytes + VERSION_AT) != AURI_FORMAT_VERSION) {
        return aur_fail(error, AUR_ERR_VERSION,
                        "the segment has format version %u, this release reads %d",
                        aur_get32(bytes + VERSION_AT), AURI_FORMAT_VERSION);
    }
    decode_head(bytes, manifest);
    const uint64_t wanted = HEAD_BYTES + (uint64_t)manifest->rewind_count * REWIND_BYTES +
                            (uint64_t)manifest->layer_count * LAYER_BYTES + SUM_BYTES;
    if (wanted != length) {
        return damaged(error, "has lists that do not fit its length");
    }
    const aur_status status = allocate_lists(manifest);
    if (status != AUR_OK) {
        return aur_fail(error, status, "no memory for the manifest");
    }
    const uint8_t *in = bytes + HEAD_BYTES;
    for (uint32_t at = 0; at < manifest->rewind_count; at++, in += REWIND_BYTES) {
        decode_rewind(in, &manifest->rewinds[at]);
    }
    for (uint32_t at = 0; at < manifest->layer_count; at++, in += LAYER_BYTES) {
        decode_layer(in, &manifest->layers[at]);
    }
    if (!is_sound(manifest)) {
        auri_segment_manifest_free(manifest);
        return damaged(error, "holds values out of range");
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
