/*
 * The memtable: frames by reference and, for each page, its records from the newest to the oldest.
 *
 * Adding a frame costs one slot. Its records are indexed when somebody looks for one or builds a
 * layer, at one hash probe and one 24-byte entry each; room is reserved before the first entry is
 * written, so that a frame is indexed whole or not at all.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

enum { FIRST_SLOTS = 64, FIRST_ENTRIES = 512, FIRST_PAGES = 256 };

auri_memtable *auri_segment_memtable_create(void) {
    auri_memtable *table = calloc(1, sizeof *table);
    if (table != NULL) {
        atomic_init(&table->references, 1);
        table->limit = AUR_LSN_MAX;
    }
    return table;
}

auri_memtable *auri_segment_memtable_acquire(auri_memtable *table) {
    atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
    return table;
}

void auri_segment_memtable_release(auri_memtable *table) {
    if (table == NULL ||
        atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (uint32_t at = 0; at < table->held_count; at++) {
        aur_frame_release(table->slots[at].frame);
    }
    free(table->slots);
    free(table->entries);
    free(table->pages);
    free(table);
}

uint64_t auri_segment_memtable_bytes(const auri_memtable *table) {
    return table->padded_bytes + (uint64_t)table->slot_capacity * sizeof *table->slots +
           (uint64_t)table->entry_capacity * sizeof *table->entries +
           (uint64_t)table->page_capacity * sizeof *table->pages;
}

static uint32_t page_place(const auri_memtable *table, aur_page_id page_id) {
    const uint64_t mixed = page_id * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32) & (table->page_capacity - 1);
}

/* The place that holds the page, or the empty place where it belongs. The table is never full. */
static auri_page_entry *page_entry(const auri_memtable *table, aur_page_id page_id) {
    uint32_t at = page_place(table, page_id);
    while (table->pages[at].newest != 0 && table->pages[at].page_id != page_id) {
        at = (at + 1) & (table->page_capacity - 1);
    }
    return &table->pages[at];
}

uint32_t auri_segment_memtable_find(const auri_memtable *table, aur_page_id page_id) {
    return table->page_count == 0 ? 0 : page_entry(table, page_id)->newest;
}

static aur_status reserve_pages(auri_memtable *table, uint32_t records) {
    const uint64_t wanted = 2 * ((uint64_t)table->page_count + records);
    if (wanted <= table->page_capacity) {
        return AUR_OK;
    }
    uint64_t capacity = table->page_capacity == 0 ? FIRST_PAGES : table->page_capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    if (capacity > UINT32_MAX / 2) {
        return AUR_ERR_MEMORY;
    }
    auri_page_entry *fresh = calloc(capacity, sizeof *fresh);
    if (fresh == NULL) {
        return AUR_ERR_MEMORY;
    }
    auri_page_entry *old = table->pages;
    const uint32_t old_capacity = table->page_capacity;
    table->pages = fresh;
    table->page_capacity = (uint32_t)capacity;
    for (uint32_t at = 0; at < old_capacity; at++) {
        if (old[at].newest != 0) {
            *page_entry(table, old[at].page_id) = old[at];
        }
    }
    free(old);
    return AUR_OK;
}

static aur_status reserve_entries(auri_memtable *table, uint32_t records) {
    const uint64_t wanted = (uint64_t)table->entry_count + records;
    if (wanted <= table->entry_capacity) {
        return AUR_OK;
    }
    uint64_t capacity = table->entry_capacity == 0 ? FIRST_ENTRIES : table->entry_capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    if (capacity >= UINT32_MAX) {
        return AUR_ERR_MEMORY;
    }
    auri_entry *grown = realloc(table->entries, capacity * sizeof *grown);
    if (grown == NULL) {
        return AUR_ERR_MEMORY;
    }
    table->entries = grown;
    table->entry_capacity = (uint32_t)capacity;
    return AUR_OK;
}

static aur_status reserve_slot(auri_memtable *table) {
    if (table->slot_count < table->slot_capacity) {
        return AUR_OK;
    }
    const uint32_t capacity = table->slot_capacity == 0 ? FIRST_SLOTS : table->slot_capacity * 2;
    auri_slot *grown = realloc(table->slots, (size_t)capacity * sizeof *grown);
    if (grown == NULL) {
        return AUR_ERR_MEMORY;
    }
    table->slots = grown;
    table->slot_capacity = capacity;
    return AUR_OK;
}

aur_status auri_segment_check_records(aur_frame *frame, const aur_segment_identity *identity) {
    if (atomic_load_explicit(&frame->records_checked, memory_order_acquire) != 0) {
        return AUR_OK;
    }
    const aur_frame_header *header = &frame->header;
    size_t at = AUR_FRAME_BODY_AT;
    aur_lsn newest = header->prev_lsn;
    uint32_t count = 0;
    if (header->first_lsn <= header->prev_lsn || header->last_lsn < header->first_lsn) {
        return AUR_ERR_CORRUPT;
    }
    while (at < header->length) {
        aur_record record;
        size_t used;
        const aur_status status =
            aur_record_decode(frame->bytes + at, header->length - at, &record, &used);
        if (status != AUR_OK) {
            return status;
        }
        const bool foreign = record.page_id / identity->group_pages != identity->group;
        if (foreign || record.lsn <= newest || record.lsn < header->first_lsn ||
            record.lsn > header->last_lsn) {
            return AUR_ERR_CORRUPT;
        }
        newest = record.lsn;
        at += used;
        count++;
    }
    if (count == 0 || count != header->records) {
        return AUR_ERR_CORRUPT;
    }
    atomic_store_explicit(&frame->records_checked, 1, memory_order_release);
    return AUR_OK;
}

aur_status auri_segment_memtable_add(auri_memtable *table, aur_frame *frame,
                                     auri_log_position position) {
    const aur_status status = reserve_slot(table);
    if (status != AUR_OK) {
        return status;
    }
    table->slots[table->slot_count++] =
        (auri_slot){.frame = aur_frame_acquire(frame), .position = position};
    table->held_count = table->slot_count;
    table->payload_bytes += frame->header.length;
    table->padded_bytes += aur_frame_padded(frame->header.length);
    return AUR_OK;
}

static void index_frame(auri_memtable *table, uint32_t slot) {
    const aur_frame *frame = table->slots[slot].frame;
    uint32_t at = AUR_FRAME_BODY_AT;
    for (uint32_t left = frame->header.records; left > 0; left--) {
        const uint8_t *bytes = frame->bytes + at;
        const aur_page_id page_id = aur_get64(bytes + AUR_RECORD_PAGE_AT);
        auri_page_entry *page = page_entry(table, page_id);
        if (page->newest == 0) {
            page->page_id = page_id;
            table->page_count++;
        }
        table->entries[table->entry_count] = (auri_entry){
            .lsn = aur_get64(bytes + AUR_RECORD_LSN_AT),
            .slot = slot,
            .offset = at,
            .previous = page->newest,
            .flags = bytes[AUR_RECORD_FLAGS_AT],
        };
        page->newest = ++table->entry_count;
        at += aur_get32(bytes + AUR_RECORD_LENGTH_AT);
    }
}

aur_status auri_segment_memtable_index(auri_memtable *table) {
    while (table->indexed_count < table->slot_count) {
        const uint32_t records = table->slots[table->indexed_count].frame->header.records;
        aur_status status = reserve_entries(table, records);
        if (status == AUR_OK) {
            status = reserve_pages(table, records);
        }
        if (status != AUR_OK) {
            return status;
        }
        index_frame(table, table->indexed_count++);
    }
    return AUR_OK;
}

auri_memtable *auri_segment_memtable_tail(const auri_memtable *table, uint32_t first) {
    auri_memtable *tail = auri_segment_memtable_create();
    if (tail == NULL) {
        return NULL;
    }
    for (uint32_t at = first; at < table->slot_count; at++) {
        const auri_slot *slot = &table->slots[at];
        if (auri_segment_memtable_add(tail, slot->frame, slot->position) != AUR_OK) {
            auri_segment_memtable_release(tail);
            return NULL;
        }
    }
    return tail;
}

auri_slot *auri_segment_hot_slots(const aur_segment *segment, size_t *count_out) {
    const auri_memtable *tables[] = {segment->frozen, segment->active};
    const size_t frozen_count = segment->frozen == NULL ? 0 : segment->frozen->slot_count;
    auri_slot *slots = malloc((frozen_count + segment->active->slot_count + 1) * sizeof *slots);
    *count_out = 0;
    for (size_t table = 0; table < 2 && slots != NULL; table++) {
        for (uint32_t at = 0; tables[table] != NULL && at < tables[table]->slot_count; at++) {
            slots[*count_out] = tables[table]->slots[at];
            aur_frame_acquire(slots[(*count_out)++].frame);
        }
    }
    return slots;
}

void auri_segment_release_slots(auri_slot *slots, size_t count) {
    for (size_t at = 0; at < count; at++) {
        aur_frame_release(slots[at].frame);
    }
    free(slots);
}
