/*
 * Merging: when a tier has `merge_fanout` layers, they become one of the next tier. A merge runs in
 * steps of a few MiB, so that flushes come in between; its inputs stay in use until its output is
 * named in the manifest, and a crash before that leaves nothing but a file that the next open
 * removes.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "segment/segment_private.h"

enum { STEP_BYTES = 4 << 20 };

struct auri_merge {
    auri_builder *builder;
    auri_cursor *inputs;
    uint32_t input_count;
};

static void merge_free(auri_merge *merge) {
    if (merge == NULL) {
        return;
    }
    for (uint32_t at = 0; at < merge->input_count; at++) {
        auri_segment_cursor_free(&merge->inputs[at]);
    }
    auri_segment_builder_close(merge->builder);
    free(merge->inputs);
    free(merge);
}

void auri_segment_merge_abort(aur_segment *segment) {
    merge_free(segment->merge);
    segment->merge = NULL;
}

/* Begins to merge `count` layers of the view from `first` on into one of `tier`. */
static aur_status begin(aur_segment *segment, const auri_view *view, uint32_t first, uint32_t count,
                        uint32_t tier, aur_error *error) {
    auri_merge *merge = calloc(1, sizeof *merge);
    if (merge == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a merge");
    }
    merge->inputs = calloc(count, sizeof *merge->inputs);
    aur_status status =
        merge->inputs != NULL ? AUR_OK : aur_fail(error, AUR_ERR_MEMORY, "no memory for a merge");
    if (status == AUR_OK) {
        for (; merge->input_count < count; merge->input_count++) {
            auri_segment_cursor_init(&merge->inputs[merge->input_count],
                                     view->layers[first + merge->input_count]);
        }
        status = auri_segment_builder_open(segment, tier, &merge->builder, error);
    }
    for (uint32_t at = 0; at < merge->input_count && status == AUR_OK; at++) {
        status = auri_segment_cursor_next(&merge->inputs[at], error);
    }
    if (status != AUR_OK) {
        merge_free(merge);
        return status;
    }
    segment->merge = merge;
    return AUR_OK;
}

/* An image stands behind the record whose state it holds. */
static bool precedes(const aur_record *left, const aur_record *right) {
    if (left->page_id != right->page_id) {
        return left->page_id < right->page_id;
    }
    if (left->lsn != right->lsn) {
        return left->lsn < right->lsn;
    }
    return left->op != AUR_OP_IMAGE && right->op == AUR_OP_IMAGE;
}

static auri_cursor *next_input(auri_merge *merge) {
    auri_cursor *chosen = NULL;
    for (uint32_t at = 0; at < merge->input_count; at++) {
        auri_cursor *input = &merge->inputs[at];
        if (input->valid && (chosen == NULL || precedes(&input->record, &chosen->record))) {
            chosen = input;
        }
    }
    return chosen;
}

/* Finds the place of the inputs in the list of layers; flushes may have put newer ones before them.
 */
static uint32_t find_inputs(const auri_view *view, const auri_merge *merge) {
    uint32_t first = 0;
    while (view->layers[first] != merge->inputs[0].layer) {
        first++;
        AUR_ASSERT(first < view->layer_count);
    }
    return first;
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

/* Puts `output` in the place of the inputs, in the draft and in a new view. */
static auri_view *replace_inputs(const aur_segment *segment, auri_manifest *draft,
                                 auri_layer *output) {
    const auri_view *old = segment->view;
    const auri_merge *merge = segment->merge;
    const uint32_t first = find_inputs(old, merge);
    const uint32_t behind = old->layer_count - first - merge->input_count;
    auri_layer **layers = malloc(((size_t)old->layer_count + 1) * sizeof(auri_layer *));
    if (layers == NULL) {
        return NULL;
    }
    memcpy(layers, old->layers, first * sizeof(auri_layer *));
    layers[first] = output;
    memcpy(layers + first + 1, old->layers + first + merge->input_count,
           behind * sizeof(auri_layer *));
    draft->layers[first] = output->info;
    memmove(draft->layers + first + 1, draft->layers + first + merge->input_count,
            behind * sizeof *draft->layers);
    draft->layer_count = first + 1 + behind;
    auri_view *view =
        auri_segment_view_create(layers, draft->layer_count, draft->rewinds, draft->rewind_count);
    free(layers);
    return view;
}

static aur_status publish(aur_segment *segment, auri_layer *output, aur_error *error) {
    const auri_merge *merge = segment->merge;
    auri_manifest draft;
    if (reserve_obsolete(segment, merge->input_count) != AUR_OK) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for the list of layers");
    }
    pthread_mutex_lock(&segment->manifest_lock);
    aur_status status = auri_segment_draft(segment, &draft, error);
    if (status == AUR_OK) {
        auri_view *view = replace_inputs(segment, &draft, output);
        if (view == NULL) {
            auri_segment_manifest_free(&draft);
            status = aur_fail(error, AUR_ERR_MEMORY, "no memory for the list of layers");
        } else {
            status = auri_segment_install(segment, &draft, view, false, error);
        }
    }
    pthread_mutex_unlock(&segment->manifest_lock);
    for (uint32_t at = 0; at < merge->input_count && status == AUR_OK; at++) {
        segment->obsolete[segment->obsolete_count++] =
            auri_segment_layer_acquire(merge->inputs[at].layer);
    }
    return status;
}

static aur_status finish(aur_segment *segment, aur_error *error) {
    auri_layer *output = NULL;
    aur_status status = auri_segment_builder_finish(segment->merge->builder, &output, error);
    if (status == AUR_OK) {
        status = publish(segment, output, error);
    }
    auri_segment_layer_release(output);
    auri_segment_merge_abort(segment);
    return status;
}

/* Goes on with the merge for `budget` bytes of output. *finished_out: its output is in the
 * manifest. */
static aur_status advance(aur_segment *segment, uint64_t budget, bool *finished_out,
                          aur_error *error) {
    auri_merge *merge = segment->merge;
    const uint64_t start = auri_segment_builder_bytes(merge->builder);
    aur_status status = AUR_OK;
    *finished_out = false;
    while (status == AUR_OK && auri_segment_builder_bytes(merge->builder) - start < budget) {
        auri_cursor *input = next_input(merge);
        if (input == NULL) {
            *finished_out = true;
            return finish(segment, error);
        }
        status = auri_segment_builder_add(merge->builder, &input->record, input->bytes,
                                          input->length, error);
        if (status == AUR_OK) {
            status = auri_segment_cursor_next(input, error);
        }
    }
    if (status != AUR_OK) {
        auri_segment_merge_abort(segment);
    }
    return status;
}

/* Looks for a tier that is full: its layers are neighbours, as lower tiers are newer. */
static aur_status choose(aur_segment *segment, aur_error *error) {
    pthread_mutex_lock(&segment->lock);
    auri_view *view = auri_segment_view_acquire(segment->view);
    pthread_mutex_unlock(&segment->lock);
    aur_status status = AUR_NOT_FOUND;
    for (uint32_t first = 0; first < view->layer_count && status == AUR_NOT_FOUND;) {
        const uint32_t tier = view->layers[first]->info.tier;
        uint32_t count = 0;
        while (first + count < view->layer_count &&
               view->layers[first + count]->info.tier == tier) {
            count++;
        }
        if (count >= segment->options.merge_fanout && count > 1) {
            status = begin(segment, view, first, count, tier + 1, error);
        }
        first += count;
    }
    auri_segment_view_release(view);
    return status;
}

aur_status auri_segment_merge_step(aur_segment *segment, aur_error *error) {
    bool finished;
    if (segment->merge == NULL) {
        const aur_status status = choose(segment, error);
        if (status != AUR_OK) {
            return status;
        }
    }
    return advance(segment, STEP_BYTES, &finished, error);
}

aur_status auri_segment_merge_all(aur_segment *segment, aur_error *error) {
    aur_status status = AUR_OK;
    bool finished = false;
    auri_segment_merge_abort(segment);
    pthread_mutex_lock(&segment->lock);
    auri_view *view = auri_segment_view_acquire(segment->view);
    pthread_mutex_unlock(&segment->lock);
    const uint32_t count = view->layer_count;
    if (count > 1) {
        const uint32_t oldest = view->layers[count - 1]->info.tier;
        status = begin(segment, view, 0, count, oldest > 0 ? oldest : 1, error);
    }
    auri_segment_view_release(view);
    if (count > 1 && status == AUR_OK) {
        status = advance(segment, UINT64_MAX, &finished, error);
    }
    return status;
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
    return AUR_NOT_FOUND;
}
