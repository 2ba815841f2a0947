/*
 * What readers pin: the list of layers with the rewinds, immutable and counted; and how one list
 * takes the place of another. The order of the manifest is kept here and nowhere else.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

static int compare_layers(const void *left, const void *right) {
    const auri_layer_info *a = &(*(auri_layer *const *)left)->info;
    const auri_layer_info *b = &(*(auri_layer *const *)right)->info;
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    if (a->kind == AURI_LAYER_BASE) {
        return (a->first_page > b->first_page) - (a->first_page < b->first_page);
    }
    return (a->complete_lsn < b->complete_lsn) - (a->complete_lsn > b->complete_lsn);
}

auri_view *auri_segment_view_create(auri_layer *const *layers, uint32_t layer_count,
                                    const aur_rewind *rewinds, uint32_t rewind_count) {
    auri_view *view = calloc(1, sizeof *view);
    if (view == NULL) {
        return NULL;
    }
    view->layers = calloc((size_t)layer_count + 1, sizeof *view->layers);
    view->rewinds = calloc((size_t)rewind_count + 1, sizeof *view->rewinds);
    if (view->layers == NULL || view->rewinds == NULL) {
        free(view->layers);
        free(view->rewinds);
        free(view);
        return NULL;
    }
    atomic_init(&view->references, 1);
    view->layer_count = layer_count;
    view->rewind_count = rewind_count;
    for (uint32_t at = 0; at < layer_count; at++) {
        view->layers[at] = auri_segment_layer_acquire(layers[at]);
        view->delta_count += layers[at]->info.kind == AURI_LAYER_DELTA;
        view->base_count += layers[at]->info.kind == AURI_LAYER_BASE;
    }
    qsort(view->layers, layer_count, sizeof(auri_layer *), compare_layers);
    for (uint32_t at = 0; at < rewind_count; at++) {
        view->rewinds[at] = rewinds[at];
    }
    return view;
}

auri_view *auri_segment_view_acquire(auri_view *view) {
    atomic_fetch_add_explicit(&view->references, 1, memory_order_relaxed);
    return view;
}

void auri_segment_view_release(auri_view *view) {
    if (view == NULL ||
        atomic_fetch_sub_explicit(&view->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (uint32_t at = 0; at < view->layer_count; at++) {
        auri_segment_layer_release(view->layers[at]);
    }
    free(view->layers);
    free(view->rewinds);
    free(view);
}

auri_view *auri_segment_pin_view(aur_segment *segment) {
    pthread_mutex_lock(&segment->lock);
    auri_view *view = auri_segment_view_acquire(segment->view);
    pthread_mutex_unlock(&segment->lock);
    return view;
}

auri_layer *auri_segment_view_part(const auri_view *view, aur_page_id page_id) {
    auri_layer *const *parts = view->layers + view->delta_count;
    uint32_t low = 0;
    uint32_t high = view->base_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (parts[middle]->info.first_page <= page_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? NULL : parts[low - 1];
}

aur_page_id auri_segment_view_part_end(const auri_view *view, uint32_t index,
                                       const aur_segment_identity *identity) {
    return index + 1 < view->base_count
               ? view->layers[view->delta_count + index + 1]->info.first_page
               : ((aur_page_id)identity->group + 1) * identity->group_pages;
}

/* ---- Replacing a view ---- */

static bool is_among(const auri_layer *layer, auri_layer *const *layers, uint32_t count) {
    for (uint32_t at = 0; at < count; at++) {
        if (layers[at] == layer) {
            return true;
        }
    }
    return false;
}

/* The added layer that has the same file; NULL: none. */
static auri_layer *find_successor(const auri_layer *layer, const auri_layer_change *change) {
    for (uint32_t at = 0; at < change->added_count; at++) {
        if (change->added[at]->info.number == layer->info.number) {
            return change->added[at];
        }
    }
    return NULL;
}

bool auri_segment_has_number(aur_segment *segment, uint64_t number) {
    bool found = false;
    auri_view *view = auri_segment_pin_view(segment);
    for (uint32_t at = 0; at < view->layer_count && !found; at++) {
        found = view->layers[at]->info.number == number && view->layers[at]->info.size_bytes > 0;
    }
    for (uint32_t at = 0; at < segment->obsolete_count && !found; at++) {
        found = segment->obsolete[at]->info.number == number;
    }
    auri_segment_view_release(view);
    return found;
}

void auri_segment_claim_number(aur_segment *segment, uint64_t number) {
    uint32_t kept = 0;
    for (uint32_t at = 0; at < segment->leftover_count; at++) {
        if (segment->leftovers[at] != number) {
            segment->leftovers[kept++] = segment->leftovers[at];
        }
    }
    segment->leftover_count = kept;
}

/* Layers that are taken over count too. */
static void note_numbers(aur_segment *segment, const auri_layer_change *change) {
    pthread_mutex_lock(&segment->lock);
    for (uint32_t at = 0; at < change->added_count; at++) {
        const uint64_t count = change->added[at]->info.number >> AURI_NUMBER_MIX_BITS;
        segment->next_layer = count >= segment->next_layer ? count + 1 : segment->next_layer;
    }
    pthread_mutex_unlock(&segment->lock);
}

/* Room for `count` more layers that wait to be removed. */
static aur_status reserve_obsolete(aur_segment *segment, uint32_t count) {
    const uint32_t wanted = segment->obsolete_count + count;
    if (wanted <= segment->obsolete_capacity) {
        return AUR_OK;
    }
    auri_layer **grown = realloc(segment->obsolete, 2 * (size_t)wanted * sizeof(auri_layer *));
    if (grown == NULL) {
        return AUR_ERR_MEMORY;
    }
    segment->obsolete = grown;
    segment->obsolete_capacity = 2 * wanted;
    return AUR_OK;
}

/* The view after the change. NULL: out of memory. */
static auri_view *changed_view(const auri_view *old, const auri_layer_change *change) {
    uint32_t count = 0;
    auri_layer **layers =
        malloc(((size_t)old->layer_count + change->added_count + 1) * sizeof(auri_layer *));
    if (layers == NULL) {
        return NULL;
    }
    for (uint32_t at = 0; at < old->layer_count; at++) {
        if (!is_among(old->layers[at], change->removed, change->removed_count)) {
            layers[count++] = old->layers[at];
        }
    }
    for (uint32_t at = 0; at < change->added_count; at++) {
        layers[count++] = change->added[at];
    }
    auri_view *view = auri_segment_view_create(layers, count, old->rewinds, old->rewind_count);
    free(layers);
    return view;
}

/* How many of the oldest rewinds hide nothing any more: no layer or frame has a record in (to, at],
 * because every part has what is that old and was collected since, with no root below it. */
static uint32_t count_spent(const auri_view *view) {
    aur_lsn clean = view->base_count == 0 ? 0 : AUR_LSN_MAX;
    uint32_t spent = 0;
    for (uint32_t at = 0; at < view->base_count; at++) {
        const auri_layer_info *info = &view->layers[view->delta_count + at]->info;
        const aur_lsn lowest =
            info->lowest_root < info->complete_lsn ? info->lowest_root : info->complete_lsn;
        clean = lowest < clean ? lowest : clean;
    }
    while (spent + AURI_REWINDS_KEPT < view->rewind_count && view->rewinds[spent].at < clean) {
        spent++;
    }
    return spent;
}

/* Takes them out of the draft and of the view, which nobody has seen yet. */
static void drop_spent(auri_manifest *draft, auri_view *view) {
    const uint32_t spent = count_spent(view);
    view->rewind_count -= spent;
    draft->rewind_count -= spent;
    memmove(view->rewinds, view->rewinds + spent, view->rewind_count * sizeof *view->rewinds);
    memmove(draft->rewinds, draft->rewinds + spent, draft->rewind_count * sizeof *draft->rewinds);
}

/* The draft's list of layers becomes that of the view. */
static aur_status list_layers(auri_manifest *draft, const auri_view *view) {
    auri_layer_info *layers = calloc((size_t)view->layer_count + 1, sizeof *layers);
    if (layers == NULL) {
        return AUR_ERR_MEMORY;
    }
    for (uint32_t at = 0; at < view->layer_count; at++) {
        layers[at] = view->layers[at]->info;
    }
    free(draft->layers);
    draft->layers = layers;
    draft->layer_count = view->layer_count;
    return AUR_OK;
}

aur_status auri_segment_keep_tail(aur_segment *segment, aur_lsn flushed_lsn) {
    auri_memtable *table = segment->active;
    uint32_t first = 0;
    while (first < table->slot_count && table->slots[first].frame->header.last_lsn <= flushed_lsn) {
        first++;
    }
    auri_memtable *tail = auri_segment_memtable_tail(table, first);
    if (tail == NULL) {
        return AUR_ERR_MEMORY;
    }
    segment->active = tail;
    auri_segment_memtable_release(table);
    return AUR_OK;
}

/* After the change is durable: what was in memory and is in layers now goes. */
static aur_status drop_flushed(aur_segment *segment, aur_lsn flushed_lsn) {
    pthread_mutex_lock(&segment->lock);
    const aur_status status = auri_segment_keep_tail(segment, flushed_lsn);
    pthread_mutex_unlock(&segment->lock);
    return status;
}

static void retire(aur_segment *segment, const auri_layer_change *change) {
    for (uint32_t at = 0; at < change->removed_count; at++) {
        auri_layer *layer = change->removed[at];
        auri_layer *successor = find_successor(layer, change);
        if (layer->info.size_bytes == 0) {
            continue;
        }
        if (successor != NULL) {
            layer->successor = auri_segment_layer_acquire(successor);
        } else {
            segment->obsolete[segment->obsolete_count++] = auri_segment_layer_acquire(layer);
        }
    }
}

aur_status auri_segment_publish(aur_segment *segment, const auri_layer_change *change,
                                aur_error *error) {
    auri_manifest draft;
    auri_view *view = NULL;
    if (reserve_obsolete(segment, change->removed_count) != AUR_OK) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for the list of layers");
    }
    note_numbers(segment, change);
    pthread_mutex_lock(&segment->manifest_lock);
    aur_status status = auri_segment_draft(segment, &draft, error);
    if (status == AUR_OK) {
        view = changed_view(segment->view, change);
        status = view == NULL ? AUR_ERR_MEMORY : list_layers(&draft, view);
        if (status != AUR_OK) {
            auri_segment_manifest_free(&draft);
            auri_segment_view_release(view);
            status = aur_fail(error, status, "no memory for the list of layers");
        }
    }
    if (status == AUR_OK) {
        drop_spent(&draft, view);
        draft.flushed_lsn = change->flushed_lsn > 0 ? change->flushed_lsn : draft.flushed_lsn;
        status = auri_segment_install(segment, &draft, view, change->drops_frozen, error);
    }
    /* Without the memory for it the frames stay a while: readers pass over what layers hold, and
     * the next flush tries again. */
    if (status == AUR_OK && change->drops_flushed) {
        const aur_status dropped = drop_flushed(segment, change->flushed_lsn);
        (void)dropped;
    }
    pthread_mutex_unlock(&segment->manifest_lock);
    if (status == AUR_OK) {
        retire(segment, change);
    }
    return status;
}

/* Removes a file that was left by a crash between writing a layer and naming it, or naming its
 * successor and removing it. Here and not at open, because a file system that discards what it
 * frees takes long for it. Where it cannot be removed (a read-only directory) it does no harm. */
static aur_status remove_leftover(aur_segment *segment) {
    if (segment->leftover_count == 0) {
        return AUR_NOT_FOUND;
    }
    char name[AURI_NAME_BYTES];
    auri_segment_layer_name(segment->leftovers[--segment->leftover_count], name);
    const aur_status removed = aur_disk_remove(segment->disk, name, NULL);
    (void)removed;
    return AUR_OK;
}

aur_status auri_segment_remove_obsolete(aur_segment *segment, aur_error *error) {
    for (uint32_t at = 0; at < segment->obsolete_count; at++) {
        auri_layer *layer = segment->obsolete[at];
        /* Nobody can come by a new reference, as no view holds the layer: one means ours alone. */
        if (atomic_load_explicit(&layer->references, memory_order_acquire) == 1) {
            char name[AURI_NAME_BYTES];
            auri_segment_layer_name(layer->info.number, name);
            auri_segment_layer_release(layer);
            segment->obsolete[at] = segment->obsolete[--segment->obsolete_count];
            const aur_status status = aur_disk_remove(segment->disk, name, error);
            return status == AUR_NOT_FOUND ? AUR_OK : status;
        }
    }
    return remove_leftover(segment);
}
