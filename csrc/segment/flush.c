/*
 * Flush: the frames up to the known VDL leave the memtable for a layer of tier 0. Only what is
 * durable by quorum goes, so that no truncation ever touches a layer.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

/* Frames at the head of the memtable that VDL covers. Holds `lock`. */
static uint32_t count_flushable(const aur_segment *segment) {
    uint32_t low = 0;
    uint32_t high = segment->active->slot_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (segment->active->slots[middle].frame->header.last_lsn <= segment->vdl) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Frames hold memory by the padded length, layers by the payload: small frames count double at
 * most. */
static bool is_large(const auri_memtable *table, uint64_t limit) {
    return table->payload_bytes >= limit || table->padded_bytes >= 2 * limit;
}

/* Makes the first `count` frames of the active memtable the frozen one; the others go on in a new
 * one. The frozen one keeps its references on the others, for readers that pinned it. Holds `lock`.
 */
static aur_status freeze(aur_segment *segment, uint32_t count) {
    auri_memtable *table = segment->active;
    auri_memtable *tail = auri_segment_memtable_tail(table, count);
    if (tail == NULL) {
        return AUR_ERR_MEMORY;
    }
    table->limit = table->slots[count - 1].frame->header.last_lsn;
    table->slot_count = count;
    table->payload_bytes -= tail->payload_bytes;
    table->padded_bytes -= tail->padded_bytes;
    segment->frozen = table;
    segment->active = tail;
    return AUR_OK;
}

static int compare_pages(const void *left, const void *right) {
    const aur_page_id a = ((const auri_page_entry *)left)->page_id;
    const aur_page_id b = ((const auri_page_entry *)right)->page_id;
    return (a > b) - (a < b);
}

/* The frozen table's pages in order; the caller frees them. */
static auri_page_entry *sort_pages(const auri_memtable *table) {
    uint32_t count = 0;
    auri_page_entry *pages = malloc(((size_t)table->page_count + 1) * sizeof *pages);
    if (pages == NULL) {
        return NULL;
    }
    for (uint32_t at = 0; at < table->page_capacity; at++) {
        if (table->pages[at].newest != 0) {
            pages[count++] = table->pages[at];
        }
    }
    qsort(pages, count, sizeof *pages, compare_pages);
    return pages;
}

/* Adds one page's records, oldest first. `order` has room for all entries. */
static aur_status add_page(auri_layer_writer *writer, const auri_memtable *table, uint32_t newest,
                           uint32_t *order, aur_error *error) {
    uint32_t count = 0;
    for (uint32_t at = newest; at != 0; at = table->entries[at - 1].previous) {
        if (table->entries[at - 1].lsn <= table->limit) {
            order[count++] = at - 1;
        }
    }
    while (count > 0) {
        const uint8_t *bytes = auri_segment_entry_bytes(table, &table->entries[order[--count]]);
        aur_record record;
        size_t used;
        aur_status status = aur_record_decode(bytes, aur_get32(bytes), &record, &used);
        if (status == AUR_OK) {
            status = auri_segment_layer_writer_add(writer, &record, bytes, used, error);
        }
        if (status != AUR_OK) {
            return status;
        }
    }
    return AUR_OK;
}

/* Adds the commits of the frozen frames, which are in the order of their LSNs. */
static aur_status add_commits(auri_layer_writer *writer, const auri_memtable *table,
                              aur_error *error) {
    aur_status status = AUR_OK;
    for (uint32_t slot = 0; slot < table->slot_count; slot++) {
        const aur_frame *frame = table->slots[slot].frame;
        aur_commit_mark commit;
        for (size_t at = 0; status == AUR_OK && auri_segment_frame_commit(frame, &at, &commit);) {
            status = auri_segment_layer_writer_commit(writer, &commit, error);
        }
    }
    return status;
}

static aur_status write_records(auri_layer_writer *writer, const auri_memtable *table,
                                aur_error *error) {
    auri_page_entry *pages = sort_pages(table);
    uint32_t *order = malloc(((size_t)table->entry_count + 1) * sizeof *order);
    aur_status status = AUR_OK;
    if (pages == NULL || order == NULL) {
        status = aur_fail(error, AUR_ERR_MEMORY, "no memory for sorting the memtable");
    }
    for (uint32_t at = 0; at < table->page_count && status == AUR_OK; at++) {
        status = add_page(writer, table, pages[at].newest, order, error);
    }
    free(pages);
    free(order);
    return status;
}

/* Writes the frozen memtable as a layer, and opens it. */
static aur_status write_layer(aur_segment *segment, auri_layer **layer_out, aur_error *error) {
    const auri_memtable *table = segment->frozen;
    auri_layer_writer *writer = NULL;
    auri_layer_info info;
    aur_status status =
        auri_segment_layer_writer_open(segment, AURI_LAYER_DELTA, 0, 0, &writer, error);
    if (status == AUR_OK) {
        status = write_records(writer, table, error);
    }
    if (status == AUR_OK) {
        status = add_commits(writer, table, error);
    }
    if (status == AUR_OK) {
        status = auri_segment_layer_writer_finish(writer, table->limit, &info, error);
    }
    if (status == AUR_OK) {
        status = auri_segment_layer_open_new(segment, &info, layer_out, error);
    }
    auri_segment_layer_writer_close(writer);
    return status;
}

/* What a follow that ran out of memory left in the active memtable is in layers already. Holds
 * `lock`. */
static aur_status trim_active(aur_segment *segment) {
    auri_memtable *table = segment->active;
    const aur_lsn flushed_lsn = segment->manifest.flushed_lsn;
    if (table->slot_count == 0 || table->slots[0].frame->header.last_lsn > flushed_lsn) {
        return AUR_OK;
    }
    return auri_segment_keep_tail(segment, flushed_lsn);
}

/* Makes frames that VDL covers the frozen memtable, indexed. Holds `lock`. */
static aur_status prepare(aur_segment *segment, bool everything) {
    aur_status status = trim_active(segment);
    /* A frozen memtable is left over from a flush that ran out of memory: it is written first. */
    if (status == AUR_OK && segment->frozen == NULL) {
        const uint32_t count = count_flushable(segment);
        const bool wanted =
            everything || is_large(segment->active, segment->options.memtable_bytes);
        status = count > 0 && wanted ? freeze(segment, count) : AUR_NOT_FOUND;
    }
    if (status == AUR_OK) {
        status = auri_segment_memtable_index(segment->frozen);
    }
    return status;
}

aur_status auri_segment_flush(aur_segment *segment, bool everything, aur_error *error) {
    pthread_mutex_lock(&segment->lock);
    aur_status status = prepare(segment, everything);
    pthread_mutex_unlock(&segment->lock);
    if (status != AUR_OK) {
        return status == AUR_ERR_MEMORY ? aur_fail(error, status, "no memory for a memtable")
                                        : status;
    }
    auri_layer *layer = NULL;
    status = write_layer(segment, &layer, error);
    if (status == AUR_OK) {
        const auri_layer_change change = {
            .added = &layer,
            .added_count = 1,
            .flushed_lsn = segment->frozen->limit,
            .drops_frozen = true,
        };
        status = auri_segment_publish(segment, &change, error);
    }
    auri_segment_layer_release(layer);
    return status;
}
