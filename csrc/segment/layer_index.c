/*
 * Index blocks. A read that finds its index block in memory costs one block of the disk, and saves
 * comparing a checksum over 5 KiB. They are 40 bytes for a page, so what a segment keeps is
 * bounded; those that come when there is no room are read each time, through the operating system's
 * cache. What is kept goes with its layer.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

void auri_segment_index_open(auri_layer *layer) {
    if (layer->kept_bytes != NULL && layer->root_count > 0) {
        layer->kept = calloc(layer->root_count, sizeof *layer->kept);
    }
}

static uint32_t block_bytes(const auri_layer *layer, uint32_t at) {
    auri_pointer pointer;
    auri_segment_pointer_decode(layer->root + (size_t)at * AUR_POINTER_BYTES, &pointer);
    return pointer.raw_bytes;
}

void auri_segment_index_close(auri_layer *layer) {
    for (uint32_t at = 0; layer->kept != NULL && at < layer->root_count; at++) {
        uint8_t *block = atomic_load_explicit(&layer->kept[at], memory_order_relaxed);
        if (block != NULL) {
            (void)atomic_fetch_sub_explicit(layer->kept_bytes, block_bytes(layer, at),
                                            memory_order_relaxed);
            free(block);
        }
    }
    free(layer->kept);
}

/* Keeps a copy, if there is room for it and nobody else was faster. */
static void keep(auri_layer *layer, uint32_t at, const uint8_t *entries, uint32_t length) {
    if (atomic_fetch_add_explicit(layer->kept_bytes, length, memory_order_relaxed) + length <=
        AURI_INDEX_BYTES_KEPT) {
        uint8_t *block = malloc(length);
        uint8_t *nothing = NULL;
        if (block != NULL) {
            memcpy(block, entries, length);
            if (atomic_compare_exchange_strong_explicit(&layer->kept[at], &nothing, block,
                                                        memory_order_release,
                                                        memory_order_relaxed)) {
                return;
            }
            free(block);
        }
    }
    (void)atomic_fetch_sub_explicit(layer->kept_bytes, length, memory_order_relaxed);
}

aur_status auri_segment_index_block(auri_layer *layer, uint32_t at, auri_block_buffer *buffer,
                                    const uint8_t **entries_out, uint32_t *count_out,
                                    aur_error *error) {
    auri_pointer pointer;
    auri_segment_pointer_decode(layer->root + (size_t)at * AUR_POINTER_BYTES, &pointer);
    *count_out = pointer.raw_bytes / AUR_POINTER_BYTES;
    if (layer->kept != NULL) {
        *entries_out = atomic_load_explicit(&layer->kept[at], memory_order_acquire);
        if (*entries_out != NULL) {
            return AUR_OK;
        }
    }
    const aur_status status = auri_segment_layer_read_block(layer, &pointer, buffer, error);
    *entries_out = buffer->raw;
    if (status == AUR_OK && layer->kept != NULL && pointer.raw_bytes > 0) {
        keep(layer, at, buffer->raw, pointer.raw_bytes);
    }
    return status;
}
