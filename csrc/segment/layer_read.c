/*
 * Reading a layer. Footer, root and bitmap are loaded at the first read and kept; data blocks are
 * read each time, through the operating system's cache. Nothing is used before its
 * checksum, which stands in the pointer that led to it, has been compared.
 */
#include <stdlib.h>

#include <zstd.h>

#include "base/planted.h"
#include "segment/segment_private.h"

aur_status auri_segment_layer_damage(const auri_layer *layer, uint64_t offset, aur_lsn lsn,
                                     const char *what, aur_error *error) {
    const aur_status status = aur_fail(error, AUR_ERR_CORRUPT, "%s", what);
    aur_error_locate(error, (int32_t)layer->identity.group, (int32_t)layer->identity.copy,
                     layer->name, offset, lsn);
    return status;
}

void auri_segment_pointer_decode(const uint8_t in[AUR_POINTER_BYTES], auri_pointer *pointer) {
    pointer->first_page = aur_get64(in + AUR_POINTER_FIRST_PAGE_AT);
    pointer->first_lsn = aur_get64(in + AUR_POINTER_FIRST_LSN_AT);
    pointer->offset = aur_get64(in + AUR_POINTER_OFFSET_AT);
    pointer->stored_bytes = aur_get32(in + AUR_POINTER_STORED_AT);
    pointer->raw_bytes = aur_get32(in + AUR_POINTER_RAW_AT);
    pointer->sum = aur_get64(in + AUR_POINTER_SUM_AT);
}

aur_status auri_segment_layer_open(aur_disk *disk, const aur_segment_identity *identity,
                                   uint32_t planted_bugs, const auri_layer_info *info,
                                   auri_layer **layer_out, aur_error *error) {
    uint64_t size = 0;
    *layer_out = NULL;
    auri_layer *layer = calloc(1, sizeof *layer);
    if (layer == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a layer");
    }
    atomic_init(&layer->references, 1);
    atomic_init(&layer->loaded, false);
    pthread_mutex_init(&layer->load_lock, NULL);
    layer->info = *info;
    layer->identity = *identity;
    layer->volume_seed = aur_volume_seed(info->origin);
    layer->planted_bugs = planted_bugs;
    auri_segment_layer_name(info->number, layer->name);
    if (info->size_bytes == 0) {
        atomic_init(&layer->loaded, true); /* nothing is retained: nothing to load */
        *layer_out = layer;
        return AUR_OK;
    }
    aur_status status = aur_disk_open_file(disk, layer->name, AUR_FILE_READ, &layer->file, error);
    if (status == AUR_OK) {
        status = aur_file_size(layer->file, &size, error);
    } else {
        layer->file = NULL;
    }
    if (status == AUR_OK && size != info->size_bytes) {
        status = AUR_NOT_FOUND;
    }
    /* The segment opens all the same, and reads that need the layer fail: `error` is how it tells.
     */
    if (status == AUR_NOT_FOUND) {
        status = auri_segment_layer_damage(layer, 0, info->first_lsn,
                                           "the layer is missing or cut off", error);
    }
    if (status == AUR_ERR_MEMORY) {
        auri_segment_layer_release(layer);
        return status;
    }
    *layer_out = layer;
    return AUR_OK;
}

aur_status auri_segment_layer_open_new(aur_segment *segment, const auri_layer_info *info,
                                       auri_layer **layer_out, aur_error *error) {
    aur_error damage;
    aur_error_clear(&damage);
    aur_status status = auri_segment_layer_open(
        segment->disk, &segment->identity, segment->options.planted_bugs, info, layer_out, &damage);
    if (status == AUR_OK && damage.status != AUR_OK) {
        auri_segment_layer_release(*layer_out);
        *layer_out = NULL;
        status = damage.status;
    }
    if (status == AUR_OK) {
        (*layer_out)->kept_bytes = &segment->kept_index_bytes;
    }
    return status == AUR_OK
               ? AUR_OK
               : aur_fail(error, status, "a layer that was just written cannot be opened");
}

auri_layer *auri_segment_layer_acquire(auri_layer *layer) {
    atomic_fetch_add_explicit(&layer->references, 1, memory_order_relaxed);
    return layer;
}

void auri_segment_layer_release(auri_layer *layer) {
    if (layer == NULL ||
        atomic_fetch_sub_explicit(&layer->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (layer->file != NULL) {
        aur_file_close(layer->file);
    }
    auri_segment_layer_release(layer->successor);
    auri_segment_index_close(layer);
    pthread_mutex_destroy(&layer->load_lock);
    free(layer->root);
    free(layer->bitmap);
    free(layer);
}

/* ---- Blocks ---- */

void auri_segment_block_buffer_free(auri_block_buffer *buffer) {
    free(buffer->raw);
    free(buffer->stored);
    ZSTD_freeDCtx(buffer->unpacker);
    memset(buffer, 0, sizeof *buffer);
}

static aur_status reserve(uint8_t **bytes, size_t *capacity, size_t wanted) {
    if (*capacity >= wanted && *bytes != NULL) {
        return AUR_OK;
    }
    free(*bytes);
    *capacity = wanted < AURI_BLOCK_RAW_BYTES ? AURI_BLOCK_RAW_BYTES : wanted;
    *bytes = malloc(*capacity);
    if (*bytes == NULL) {
        *capacity = 0;
        return AUR_ERR_MEMORY;
    }
    return AUR_OK;
}

static aur_status unpack(const auri_layer *layer, const auri_pointer *pointer,
                         auri_block_buffer *buffer, aur_error *error) {
    if (buffer->unpacker == NULL) {
        buffer->unpacker = ZSTD_createDCtx();
    }
    if (buffer->unpacker == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for decompression");
    }
    const size_t length = ZSTD_decompressDCtx(buffer->unpacker, buffer->raw, pointer->raw_bytes,
                                              buffer->stored, pointer->stored_bytes);
    if (ZSTD_isError(length) || length != pointer->raw_bytes) {
        return auri_segment_layer_damage(layer, pointer->offset, pointer->first_lsn,
                                         "a block does not decompress", error);
    }
    return AUR_OK;
}

aur_status auri_segment_layer_read_block(auri_layer *layer, const auri_pointer *pointer,
                                         auri_block_buffer *buffer, aur_error *error) {
    size_t length = 0;
    if (layer->file == NULL) {
        return auri_segment_layer_damage(layer, pointer->offset, pointer->first_lsn,
                                         "the layer is missing", error);
    }
    if (pointer->raw_bytes > AURI_BLOCK_BYTES_MAX || pointer->stored_bytes > pointer->raw_bytes ||
        pointer->offset > layer->info.size_bytes ||
        pointer->stored_bytes > layer->info.size_bytes - pointer->offset) {
        return auri_segment_layer_damage(layer, pointer->offset, pointer->first_lsn,
                                         "a block lies outside of the layer", error);
    }
    const bool packed = pointer->stored_bytes < pointer->raw_bytes;
    aur_status status = reserve(&buffer->raw, &buffer->raw_capacity, pointer->raw_bytes);
    if (status == AUR_OK && packed) {
        status = reserve(&buffer->stored, &buffer->stored_capacity, pointer->stored_bytes);
    }
    if (status != AUR_OK) {
        return aur_fail(error, status, "no memory for a block of %u bytes", pointer->raw_bytes);
    }
    uint8_t *stored = packed ? buffer->stored : buffer->raw;
    status =
        aur_file_read(layer->file, pointer->offset, stored, pointer->stored_bytes, &length, error);
    if (status != AUR_OK) {
        aur_error_locate(error, (int32_t)layer->identity.group, (int32_t)layer->identity.copy,
                         layer->name, pointer->offset, pointer->first_lsn);
        return status;
    }
    const uint64_t seed =
        auri_segment_layer_seed(layer->volume_seed, layer->info.number, pointer->offset);
    if (length < pointer->stored_bytes ||
        (aur_checksum(stored, length, seed) != pointer->sum &&
         !AUR_PLANTED(layer->planted_bugs, AUR_BUG_NO_CHECKSUM))) {
        return auri_segment_layer_damage(layer, pointer->offset, pointer->first_lsn,
                                         "a block fails its checksum", error);
    }
    return packed ? unpack(layer, pointer, buffer, error) : AUR_OK;
}

/* ---- Footer, root, bitmap ---- */

static void decode_reference(const uint8_t *in, aur_lsn lsn, auri_pointer *pointer) {
    uint8_t whole[AUR_POINTER_BYTES] = {0};
    memcpy(whole + AUR_POINTER_OFFSET_AT, in, AUR_POINTER_BYTES - AUR_POINTER_OFFSET_AT);
    auri_segment_pointer_decode(whole, pointer);
    pointer->first_lsn = lsn;
}

/* The manifest holds the footer's checksum, so a footer of another layer or an older one shows. */
static aur_status read_footer(auri_layer *layer, uint8_t foot[AUR_FOOTER_BYTES], aur_error *error) {
    const auri_layer_info *info = &layer->info;
    const uint64_t offset = info->size_bytes - AUR_FOOTER_BYTES;
    size_t length = 0;
    if (layer->file == NULL || info->size_bytes < AUR_LAYER_BYTES + AUR_FOOTER_BYTES) {
        return auri_segment_layer_damage(layer, 0, info->first_lsn, "the layer is missing", error);
    }
    const aur_status status =
        aur_file_read(layer->file, offset, foot, AUR_FOOTER_BYTES, &length, error);
    if (status != AUR_OK) {
        aur_error_locate(error, (int32_t)layer->identity.group, (int32_t)layer->identity.copy,
                         layer->name, offset, info->first_lsn);
        return status;
    }
    const uint64_t seed = auri_segment_layer_seed(layer->volume_seed, info->number, 0);
    if (length < AUR_FOOTER_BYTES ||
        aur_checksum(foot, AUR_FOOTER_SUM_AT, seed) != info->footer_sum ||
        aur_get64(foot + AUR_FOOTER_SUM_AT) != info->footer_sum) {
        return auri_segment_layer_damage(layer, offset, info->first_lsn,
                                         "the footer fails its checksum", error);
    }
    return AUR_OK;
}

static aur_status load(auri_layer *layer, aur_error *error) {
    uint8_t foot[AUR_FOOTER_BYTES];
    auri_block_buffer root = {0};
    auri_block_buffer bitmap = {0};
    auri_pointer pointer;
    const auri_layer_info *info = &layer->info;
    aur_status status = read_footer(layer, foot, error);
    if (status == AUR_OK) {
        decode_reference(foot + AUR_FOOTER_ROOT_AT, info->first_lsn, &pointer);
        status = auri_segment_layer_read_block(layer, &pointer, &root, error);
    }
    if (status == AUR_OK) {
        layer->root_count = pointer.raw_bytes / AUR_POINTER_BYTES;
        decode_reference(foot + AUR_FOOTER_BITMAP_AT, info->first_lsn, &pointer);
        status = auri_segment_layer_read_block(layer, &pointer, &bitmap, error);
    }
    if (status == AUR_OK && info->records > 0 &&
        pointer.raw_bytes < (info->last_page - info->first_page) / 8 + 1) {
        status = auri_segment_layer_damage(layer, pointer.offset, info->first_lsn,
                                           "the page bitmap is too short", error);
    }
    if (status == AUR_OK) {
        decode_reference(foot + AUR_FOOTER_COMMITS_AT, info->first_lsn, &layer->commit_index);
        layer->root = root.raw;
        layer->bitmap = bitmap.raw;
        layer->bitmap_bytes = pointer.raw_bytes;
        auri_segment_index_open(layer);
        root.raw = NULL;
        bitmap.raw = NULL;
    }
    auri_segment_block_buffer_free(&root);
    auri_segment_block_buffer_free(&bitmap);
    return status;
}

aur_status auri_segment_layer_load(auri_layer *layer, aur_error *error) {
    aur_status status = AUR_OK;
    if (atomic_load_explicit(&layer->loaded, memory_order_acquire)) {
        return AUR_OK;
    }
    pthread_mutex_lock(&layer->load_lock);
    if (!atomic_load_explicit(&layer->loaded, memory_order_relaxed)) {
        status = load(layer, error);
        if (status == AUR_OK) {
            atomic_store_explicit(&layer->loaded, true, memory_order_release);
        }
    }
    pthread_mutex_unlock(&layer->load_lock);
    return status;
}

/* ---- One page's records ---- */

static bool has_page(const auri_layer *layer, aur_page_id page_id) {
    const uint64_t bit = page_id - layer->info.first_page;
    return (layer->bitmap[bit / 8] >> (bit % 8) & 1) != 0;
}

bool auri_segment_layer_has_pages(const auri_layer *layer, aur_page_id first, aur_page_id end) {
    const auri_layer_info *info = &layer->info;
    if (info->records == 0 || end <= info->first_page || first > info->last_page) {
        return false;
    }
    const aur_page_id from = first > info->first_page ? first : info->first_page;
    const aur_page_id upto = end - 1 < info->last_page ? end - 1 : info->last_page;
    for (aur_page_id page_id = from; page_id <= upto; page_id++) {
        const uint64_t bit = page_id - info->first_page;
        if (bit % 8 == 0 && layer->bitmap[bit / 8] == 0 && page_id + 7 <= upto) {
            page_id += 7;
        } else if (has_page(layer, page_id)) {
            return true;
        }
    }
    return false;
}

uint32_t auri_segment_last_before(const uint8_t *pointers, uint32_t count, aur_page_id page_id,
                                  aur_lsn lsn) {
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        auri_pointer pointer;
        auri_segment_pointer_decode(pointers + (size_t)middle * AUR_POINTER_BYTES, &pointer);
        if (pointer.first_page < page_id ||
            (pointer.first_page == page_id && pointer.first_lsn <= lsn)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Keeps the block that chain->data holds for as long as the chain lives. */
static aur_status keep_block(auri_chain *chain) {
    if (chain->block_count == chain->block_capacity) {
        const uint32_t capacity = chain->block_capacity == 0 ? 8 : chain->block_capacity * 2;
        uint8_t **grown = realloc(chain->blocks, capacity * sizeof *grown);
        if (grown == NULL) {
            return AUR_ERR_MEMORY;
        }
        chain->blocks = grown;
        chain->block_capacity = capacity;
    }
    chain->blocks[chain->block_count++] = chain->data.raw;
    chain->data.raw = NULL;
    chain->data.raw_capacity = 0;
    return AUR_OK;
}

/* Adds the wanted records that stand in block[from, to), newest first. Records stand oldest first,
 * so their places are found on the way up and visited on the way down. */
static aur_status add_records(const auri_layer *layer, const uint8_t *block, uint32_t length,
                              uint64_t offset, auri_chain *chain, aur_error *error) {
    aur_status status = AUR_OK;
    uint32_t count = 0;
    uint32_t *places = malloc((length / AUR_RECORD_BODY_AT + 1) * sizeof *places);
    if (places == NULL) {
        return AUR_ERR_MEMORY;
    }
    for (uint32_t at = 0; at < length;) {
        aur_record record;
        size_t used;
        if (aur_record_decode(block + at, length - at, &record, &used) != AUR_OK) {
            free(places);
            return auri_segment_layer_damage(layer, offset, UINT64_MAX, "a record does not decode",
                                             error);
        }
        if (record.page_id > chain->page_id) {
            break;
        }
        if (record.page_id == chain->page_id && record.lsn > chain->floor &&
            auri_segment_chain_wants(chain, record.lsn)) {
            places[count++] = at;
        }
        at += (uint32_t)used;
    }
    while (count > 0 && !chain->complete && status == AUR_OK) {
        const uint8_t *bytes = block + places[--count];
        status = auri_segment_chain_add(chain, bytes, layer, offset,
                                        (bytes[AUR_RECORD_FLAGS_AT] & AUR_RECORD_INIT) != 0);
    }
    free(places);
    return status;
}

/* Goes back through the data blocks of the index block at `index` in the root. *more_out: the
 * page's records may go on before it. */
static aur_status collect_index_block(auri_layer *layer, uint32_t index, auri_chain *chain,
                                      bool *more_out, aur_error *error) {
    const uint8_t *entries = NULL;
    uint32_t count = 0;
    aur_status status =
        auri_segment_index_block(layer, index, &chain->index, &entries, &count, error);
    if (status != AUR_OK) {
        return status;
    }
    uint32_t at = auri_segment_last_before(entries, count, chain->page_id, chain->read_point);
    for (; at > 0 && *more_out && !chain->complete && status == AUR_OK; at--) {
        auri_pointer data;
        auri_segment_pointer_decode(entries + (size_t)(at - 1) * AUR_POINTER_BYTES, &data);
        status = auri_segment_layer_read_block(layer, &data, &chain->data, error);
        if (status == AUR_OK) {
            const uint8_t *block = chain->data.raw;
            status = keep_block(chain);
            if (status == AUR_OK) {
                status = add_records(layer, block, data.raw_bytes, data.offset, chain, error);
            }
        }
        *more_out = data.first_page == chain->page_id;
    }
    return status;
}

/* Whether its place among pages and moments lets the layer have the page at a read point. */
static bool may_have(const auri_layer *layer, aur_page_id page_id, aur_lsn read_point) {
    const auri_layer_info *info = &layer->info;
    return info->records > 0 && info->first_lsn <= read_point && page_id >= info->first_page &&
           page_id <= info->last_page;
}

aur_status auri_segment_layer_collect(auri_layer *layer, auri_chain *chain, aur_error *error) {
    if (!may_have(layer, chain->page_id, chain->read_point)) {
        return AUR_OK;
    }
    aur_status status = auri_segment_layer_load(layer, error);
    if (status != AUR_OK || !has_page(layer, chain->page_id)) {
        return status;
    }
    bool more = true;
    uint32_t at =
        auri_segment_last_before(layer->root, layer->root_count, chain->page_id, chain->read_point);
    for (; at > 0 && more && !chain->complete && status == AUR_OK; at--) {
        status = collect_index_block(layer, at - 1, chain, &more, error);
    }
    return status;
}

void auri_segment_layer_will_read(auri_layer *layer, aur_page_id page_id, aur_lsn read_point) {
    auri_block_buffer buffer = {0};
    const uint8_t *entries = NULL;
    uint32_t count = 0;
    if (!may_have(layer, page_id, read_point) || layer->file == NULL ||
        auri_segment_layer_load(layer, NULL) != AUR_OK || !has_page(layer, page_id)) {
        return;
    }
    const uint32_t root =
        auri_segment_last_before(layer->root, layer->root_count, page_id, read_point);
    if (root > 0 &&
        auri_segment_index_block(layer, root - 1, &buffer, &entries, &count, NULL) == AUR_OK) {
        const uint32_t at = auri_segment_last_before(entries, count, page_id, read_point);
        if (at > 0) {
            auri_pointer data;
            auri_segment_pointer_decode(entries + (size_t)(at - 1) * AUR_POINTER_BYTES, &data);
            aur_file_will_read(layer->file, data.offset, data.stored_bytes);
        }
    }
    auri_segment_block_buffer_free(&buffer);
}
