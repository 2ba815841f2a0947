/*
 * Pages and frames out. A page is its chain: the newest visible record at or below the read point,
 * and older ones down to one that needs no predecessor. The memtables have the newest part, the
 * layers the rest. What is read is pinned first, so no lock is held during I/O.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

bool auri_segment_chain_wants(const auri_chain *chain, aur_lsn lsn) {
    return lsn <= chain->read_point &&
           (chain->view->rewind_count == 0 ||
            aur_history_visible(chain->view->rewinds, chain->view->rewind_count, chain->read_point,
                                lsn));
}

aur_status auri_segment_chain_add(auri_chain *chain, const uint8_t *bytes, const auri_layer *layer,
                                  uint64_t offset, bool init) {
    if (chain->count == chain->capacity) {
        const uint32_t capacity = chain->capacity == 0 ? 64 : chain->capacity * 2;
        auri_link *grown = realloc(chain->links, capacity * sizeof *grown);
        if (grown == NULL) {
            return AUR_ERR_MEMORY;
        }
        chain->links = grown;
        chain->capacity = capacity;
    }
    chain->links[chain->count++] = (auri_link){.bytes = bytes, .layer = layer, .offset = offset};
    chain->complete = init;
    return AUR_OK;
}

static void chain_free(auri_chain *chain) {
    for (uint32_t at = 0; at < chain->block_count; at++) {
        free(chain->blocks[at]);
    }
    free(chain->blocks);
    free(chain->links);
    auri_segment_block_buffer_free(&chain->index);
    auri_segment_block_buffer_free(&chain->data);
}

/* Adds what a memtable has, from the newest record to the oldest; up to chain->floor layers have it
 * too. */
static aur_status collect_memtable(auri_memtable *table, auri_chain *chain) {
    aur_status status = auri_segment_memtable_index(table);
    uint32_t at = status == AUR_OK ? auri_segment_memtable_find(table, chain->page_id) : 0;
    while (at != 0 && !chain->complete && status == AUR_OK) {
        const auri_entry *entry = &table->entries[at - 1];
        if (entry->lsn <= table->limit && entry->lsn > chain->floor &&
            auri_segment_chain_wants(chain, entry->lsn)) {
            status = auri_segment_chain_add(chain, auri_segment_entry_bytes(table, entry), NULL, 0,
                                            (entry->flags & AUR_RECORD_INIT) != 0);
        }
        at = entry->previous;
    }
    return status;
}

/* What a read relies on while it runs. */
typedef struct pins {
    auri_memtable *active;
    auri_memtable *frozen;
    auri_view *view;
} pins;

/* A decompression context costs more to make than to use: the segment keeps a few. Holds `lock`. */
static void *take_unpacker(aur_segment *segment) {
    return segment->unpacker_count == 0 ? NULL : segment->unpackers[--segment->unpacker_count];
}

static void return_unpacker(aur_segment *segment, auri_chain *chain) {
    pthread_mutex_lock(&segment->lock);
    if (chain->data.unpacker != NULL && segment->unpacker_count < AURI_UNPACKERS) {
        segment->unpackers[segment->unpacker_count++] = chain->data.unpacker;
        chain->data.unpacker = NULL;
    }
    pthread_mutex_unlock(&segment->lock);
}

/* Whether versions of the page that the read may see were collected. Holds `lock`. */
static bool is_refused(const aur_segment *segment, const auri_chain *chain) {
    const auri_layer *part = auri_segment_view_part(chain->view, chain->page_id);
    return chain->retained_only && part != NULL &&
           auri_segment_is_collected(segment, chain->read_point, part->info.horizon);
}

/* Pins, and walks the memtables, whose index grows under the lock. */
static aur_status pin(aur_segment *segment, pins *pinned, auri_chain *chain) {
    pthread_mutex_lock(&segment->lock);
    pinned->active = auri_segment_memtable_acquire(segment->active);
    pinned->frozen =
        segment->frozen == NULL ? NULL : auri_segment_memtable_acquire(segment->frozen);
    pinned->view = auri_segment_view_acquire(segment->view);
    chain->view = pinned->view;
    chain->data.unpacker = take_unpacker(segment);
    chain->floor = segment->manifest.flushed_lsn;
    aur_status status =
        is_refused(segment, chain) ? AUR_ERR_SNAPSHOT : collect_memtable(pinned->active, chain);
    if (status == AUR_OK && !chain->complete && pinned->frozen != NULL) {
        status = collect_memtable(pinned->frozen, chain);
    }
    pthread_mutex_unlock(&segment->lock);
    return status;
}

static void unpin(pins *pinned) {
    auri_segment_memtable_release(pinned->active);
    auri_segment_memtable_release(pinned->frozen);
    auri_segment_view_release(pinned->view);
}

/* The deltas above the page's base part, and then that. */
static aur_status collect_layers(const auri_view *view, auri_chain *chain, aur_error *error) {
    auri_layer *part = auri_segment_view_part(view, chain->page_id);
    aur_status status = AUR_OK;
    chain->floor = part == NULL ? 0 : part->info.complete_lsn;
    for (uint32_t at = 0; at < view->delta_count && status == AUR_OK && !chain->complete; at++) {
        if (view->layers[at]->info.complete_lsn <= chain->floor) {
            break;
        }
        status = auri_segment_layer_collect(view->layers[at], chain, error);
    }
    if (part != NULL && status == AUR_OK && !chain->complete) {
        chain->floor = 0;
        status = auri_segment_layer_collect(part, chain, error);
    }
    return status;
}

static aur_status collect(aur_segment *segment, pins *pinned, auri_chain *chain, aur_error *error) {
    aur_status status = pin(segment, pinned, chain);
    if (status == AUR_OK && !chain->complete) {
        status = collect_layers(pinned->view, chain, error);
    }
    return status == AUR_ERR_MEMORY ? aur_fail(error, status, "no memory for a page's chain")
                                    : status;
}

static aur_status chain_damage(const aur_segment *segment, const auri_link *link, aur_lsn lsn,
                               const char *what, aur_error *error) {
    if (link->layer != NULL) {
        return auri_segment_layer_damage(link->layer, link->offset, lsn, what, error);
    }
    const aur_status status = aur_fail(error, AUR_ERR_CORRUPT, "%s", what);
    aur_error_locate(error, (int32_t)segment->identity.group, (int32_t)segment->identity.copy,
                     "the hot log", UINT64_MAX, lsn);
    return status;
}

/* Applies the links from the oldest to the newest. aur_page_apply checks that each record follows
 * the state that the one before it left, so a record that is missing shows. */
static aur_status apply(const aur_segment *segment, const auri_chain *chain, uint8_t *page,
                        aur_error *error) {
    const uint32_t page_bytes = segment->identity.page_bytes;
    uint8_t *scratch = malloc(page_bytes);
    aur_status status =
        scratch != NULL ? AUR_OK : aur_fail(error, AUR_ERR_MEMORY, "no memory for a page");
    for (uint32_t left = chain->count; left > 0 && status == AUR_OK; left--) {
        const auri_link *link = &chain->links[left - 1];
        aur_record record;
        size_t used;
        status = aur_record_decode(link->bytes, aur_get32(link->bytes), &record, &used);
        if (status == AUR_OK) {
            status = aur_page_apply(page, page_bytes, &record, scratch);
        }
        if (status != AUR_OK) {
            status = chain_damage(segment, link, aur_get64(link->bytes + AUR_RECORD_LSN_AT),
                                  "a redo record does not fit its page", error);
        }
    }
    free(scratch);
    return status;
}

/* Whether applying the newest record has looked at the whole page. */
static bool ends_with_image(const auri_chain *chain) {
    return chain->links[0].bytes[AUR_RECORD_OP_AT] == AUR_OP_IMAGE;
}

static aur_status build(aur_segment *segment, auri_chain *chain, uint8_t *page, aur_error *error) {
    pins pinned = {0};
    aur_status status = collect(segment, &pinned, chain, error);
    if (status == AUR_OK && chain->count == 0) {
        status = AUR_NOT_FOUND;
    } else if (status == AUR_OK && !chain->complete) {
        const auri_link *oldest = &chain->links[chain->count - 1];
        status = chain_damage(segment, oldest, aur_get64(oldest->bytes + AUR_RECORD_LSN_AT),
                              "the page's older records are missing", error);
    } else if (status == AUR_OK) {
        status = apply(segment, chain, page, error);
    }
    if (status == AUR_OK &&
        (aur_page_number(page) != chain->page_id ||
         (!ends_with_image(chain) &&
          aur_page_check_structure(page, segment->identity.page_bytes) != AUR_OK))) {
        status = chain_damage(segment, &chain->links[0],
                              aur_get64(chain->links[0].bytes + AUR_RECORD_LSN_AT),
                              "the page that the records build is broken", error);
    }
    return_unpacker(segment, chain);
    chain_free(chain);
    unpin(&pinned);
    return status;
}

aur_status auri_segment_build_page(aur_segment *segment, aur_page_id page_id, aur_lsn read_point,
                                   uint8_t *page, aur_error *error) {
    auri_chain chain = {.page_id = page_id, .read_point = read_point};
    return build(segment, &chain, page, error);
}

aur_status aur_segment_read_page(aur_segment *segment, aur_page_id page_id, aur_lsn read_point,
                                 uint8_t *page, aur_error *error) {
    if (page_id / segment->identity.group_pages != segment->identity.group) {
        return aur_fail(error, AUR_ERR_INVALID, "page %llu is not in group %u",
                        (unsigned long long)page_id, segment->identity.group);
    }
    auri_chain chain = {.page_id = page_id, .read_point = read_point, .retained_only = true};
    aur_error damage;
    aur_error_clear(&damage);
    const aur_status status = build(segment, &chain, page, &damage);
    if (status == AUR_ERR_SNAPSHOT) {
        return aur_fail(error, status,
                        "moment %llu is no longer retained: what only it saw was collected",
                        (unsigned long long)read_point);
    }
    if (status == AUR_ERR_CORRUPT || status == AUR_ERR_IO) {
        auri_segment_note_damage(segment, &damage);
    }
    if (status < AUR_OK && error != NULL) {
        *error = damage;
    }
    return status;
}

/* A page's records may stand in several layers. Down to its base part, which mostly has it whole,
 * all are announced: that is cheaper than a read that waits for one layer after the other. */
void aur_segment_will_read(aur_segment *segment, aur_page_id page_id, aur_lsn read_point) {
    auri_view *view = auri_segment_pin_view(segment);
    auri_layer *part = auri_segment_view_part(view, page_id);
    const aur_lsn floor = part == NULL ? 0 : part->info.complete_lsn;
    for (uint32_t at = 0; at < view->delta_count; at++) {
        if (view->layers[at]->info.complete_lsn <= floor) {
            break;
        }
        auri_segment_layer_will_read(view->layers[at], page_id, read_point);
    }
    if (part != NULL) {
        auri_segment_layer_will_read(part, page_id, read_point);
    }
    auri_segment_view_release(view);
}

/* The frame that links to `after_lsn`; NULL when this memtable has none. Chain order is LSN order.
 */
static aur_frame *find_frame(const auri_memtable *table, aur_lsn after_lsn) {
    uint32_t low = 0;
    uint32_t high = table->slot_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (table->slots[middle].frame->header.prev_lsn < after_lsn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == table->slot_count || table->slots[low].frame->header.prev_lsn != after_lsn) {
        return NULL;
    }
    return aur_frame_acquire(table->slots[low].frame);
}

aur_status aur_segment_next_frame(aur_segment *segment, aur_lsn after_lsn, aur_frame **frame_out,
                                  aur_error *error) {
    aur_status status = AUR_OK;
    *frame_out = NULL;
    pthread_mutex_lock(&segment->lock);
    if (after_lsn == segment->scl) {
        status = AUR_NOT_FOUND;
    } else if (after_lsn > segment->scl) {
        status = aur_fail(error, AUR_ERR_INVALID, "LSN %llu is above the SCL %llu",
                          (unsigned long long)after_lsn, (unsigned long long)segment->scl);
    } else {
        *frame_out = segment->frozen == NULL ? NULL : find_frame(segment->frozen, after_lsn);
        if (*frame_out == NULL) {
            *frame_out = find_frame(segment->active, after_lsn);
        }
        status = *frame_out == NULL ? AUR_GAP : AUR_OK;
    }
    pthread_mutex_unlock(&segment->lock);
    return status == AUR_GAP ? auri_segment_log_fetch(segment, after_lsn, frame_out, error)
                             : status;
}
