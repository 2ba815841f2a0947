/* The buffer pool as a whole. */
#include "buffer/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "base/large_memory.h"
#include "buffer/buffer_private.h"

static bool is_page_size(uint32_t page_bytes) {
    return page_bytes >= AUR_PAGE_BYTES_MIN && page_bytes <= AUR_PAGE_BYTES_MAX &&
           (page_bytes & (page_bytes - 1)) == 0;
}

enum { HINTS_PER_SLOT = 2 };

static bool create_hints(aur_buffer *buffer) {
    uint64_t count = 1;
    while (count < HINTS_PER_SLOT * buffer->memory.slots_max) {
        count *= 2;
    }
    buffer->hint_mask = count - 1;
    buffer->hints =
        aur_large_map(count * sizeof *buffer->hints, auri_memory_is_huge(&buffer->memory));
    return buffer->hints != NULL;
}

static void destroy_hints(aur_buffer *buffer) {
    aur_large_unmap(buffer->hints, (buffer->hint_mask + 1) * sizeof *buffer->hints);
}

/* Opens memory and partitions; on failure closes what it opened. */
static aur_status open_parts(aur_buffer *buffer, uint64_t budget_bytes) {
    size_t opened = 0;
    aur_status status = auri_memory_open(&buffer->memory, buffer->page_bytes, budget_bytes);
    if (status != AUR_OK) {
        return status;
    }
    status = create_hints(buffer) ? AUR_OK : AUR_ERR_MEMORY;
    while (status == AUR_OK && opened < AURI_PARTITIONS) {
        status = auri_partition_open(&buffer->partitions[opened]);
        opened += status == AUR_OK;
    }
    if (status != AUR_OK) {
        while (opened > 0) {
            auri_partition_close(&buffer->partitions[--opened]);
        }
        destroy_hints(buffer);
        auri_memory_close(&buffer->memory);
    }
    return status;
}

aur_status aur_buffer_create(uint32_t page_bytes, uint64_t budget_bytes,
                             const aur_page_source *source, aur_buffer **buffer_out) {
    if (!is_page_size(page_bytes)) {
        return AUR_ERR_INVALID;
    }
    aur_buffer *buffer = aligned_alloc(_Alignof(aur_buffer), sizeof *buffer);
    if (buffer == NULL) {
        return AUR_ERR_MEMORY;
    }
    memset(buffer, 0, sizeof *buffer);
    buffer->page_bytes = page_bytes;
    buffer->source = *source;
    aur_status status =
        pthread_mutex_init(&buffer->rewinds.lock, NULL) == 0 ? AUR_OK : AUR_ERR_MEMORY;
    if (status == AUR_OK) {
        status = open_parts(buffer, budget_bytes);
        if (status != AUR_OK) {
            (void)pthread_mutex_destroy(&buffer->rewinds.lock);
        }
    }
    if (status != AUR_OK) {
        free(buffer);
        return status;
    }
    *buffer_out = buffer;
    return AUR_OK;
}

void aur_buffer_destroy(aur_buffer *buffer) {
    if (buffer == NULL) {
        return;
    }
    auri_queue_clear(&buffer->fresh);
    auri_queue_clear(&buffer->retained);
    auri_queue_clear(&buffer->streamed);
    for (size_t at = 0; at < AURI_PARTITIONS; at++) {
        auri_partition_close(&buffer->partitions[at]);
    }
    destroy_hints(buffer);
    auri_memory_close(&buffer->memory);
    free(buffer->rewinds.ats);
    (void)pthread_mutex_destroy(&buffer->rewinds.lock);
    free(buffer);
}

void aur_buffer_set_budget(aur_buffer *buffer, uint64_t budget_bytes) {
    auri_memory_set_budget(&buffer->memory, budget_bytes);
    while (auri_memory_is_over(&buffer->memory)) {
        bool blocked = false;
        aur_version *victim = auri_buffer_evict(buffer, &blocked);
        if (victim == NULL) {
            return; /* the rest is pinned or not hardened, and goes when later calls make room */
        }
        auri_memory_give(&buffer->memory, victim);
    }
}

uint64_t aur_buffer_budget(aur_buffer *buffer) {
    (void)pthread_mutex_lock(&buffer->memory.lock);
    const uint64_t budget_bytes = buffer->memory.budget_bytes;
    (void)pthread_mutex_unlock(&buffer->memory.lock);
    return budget_bytes;
}

void aur_buffer_get_counts(aur_buffer *buffer, aur_buffer_counts *out) {
    memset(out, 0, sizeof *out);
    for (size_t at = 0; at < AURI_PARTITIONS; at++) {
        auri_partition *partition = &buffer->partitions[at];
        (void)pthread_mutex_lock(&partition->lock);
        out->pages += partition->pages;
        out->versions += partition->versions;
        out->hits +=
            partition->hits + atomic_load_explicit(&partition->hinted, memory_order_relaxed);
        out->misses += partition->misses;
        out->evictions += partition->evictions;
        (void)pthread_mutex_unlock(&partition->lock);
    }
    auri_memory *memory = &buffer->memory;
    (void)pthread_mutex_lock(&memory->lock);
    out->budget_bytes = memory->budget_bytes;
    out->used_bytes = memory->resident * auri_memory_slot_cost(memory);
    (void)pthread_mutex_unlock(&memory->lock);
}
