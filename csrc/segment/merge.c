/*
 * Merging: when a tier of deltas has `merge_fanout` layers, they become one of the next tier, so
 * that a read looks into few. All records are kept; collecting is left to compaction. A merge runs
 * in steps of a few MiB, so that flushes come in between; its inputs stay in use until its output
 * is named in the manifest, and a crash before that leaves nothing but a file that is removed
 * after the next open.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

struct auri_merge {
    auri_layer_writer *writer;
    auri_union inputs; /* newest first */
};

static void merge_free(auri_merge *merge) {
    if (merge == NULL) {
        return;
    }
    auri_segment_union_close(&merge->inputs);
    auri_segment_layer_writer_close(merge->writer);
    free(merge);
}

void auri_segment_merge_abort(aur_segment *segment) {
    merge_free(segment->merge);
    segment->merge = NULL;
}

static bool has_input(const auri_merge *merge, const auri_layer *layer) {
    for (uint32_t at = 0; at < merge->inputs.count; at++) {
        if (merge->inputs.layers[at].layer == layer) {
            return true;
        }
    }
    return false;
}

void auri_segment_merge_abort_of(aur_segment *segment, auri_layer *const *removed, uint32_t count) {
    for (uint32_t at = 0; at < count && segment->merge != NULL; at++) {
        if (has_input(segment->merge, removed[at])) {
            auri_segment_merge_abort(segment);
        }
    }
}

/* Begins to merge `count` layers of the view from `first` on into one of `tier`. */
static aur_status begin(aur_segment *segment, const auri_view *view, uint32_t first, uint32_t count,
                        uint32_t tier, aur_error *error) {
    auri_merge *merge = calloc(1, sizeof *merge);
    if (merge == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a merge");
    }
    aur_status status = auri_segment_union_open(&merge->inputs, count, 0, UINT64_MAX, error);
    if (status == AUR_OK) {
        for (uint32_t at = 0; at < count; at++) {
            auri_segment_union_add(&merge->inputs, view->layers[first + at]);
        }
        status = auri_segment_layer_writer_open(segment, AURI_LAYER_DELTA, tier, 0, &merge->writer,
                                                error);
    }
    if (status == AUR_OK) {
        status = auri_segment_union_seek(&merge->inputs, 0, error);
    }
    if (status != AUR_OK) {
        merge_free(merge);
        return status;
    }
    segment->merge = merge;
    return AUR_OK;
}

static aur_status take_commit(void *context, const aur_commit_mark *commit, aur_error *error) {
    return auri_segment_layer_writer_commit(context, commit, error);
}

/* The output takes the place of the inputs. */
static aur_status publish(aur_segment *segment, auri_layer *output, aur_error *error) {
    const auri_merge *merge = segment->merge;
    auri_layer **inputs = malloc(merge->inputs.count * sizeof(auri_layer *));
    if (inputs == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for the list of layers");
    }
    for (uint32_t at = 0; at < merge->inputs.count; at++) {
        inputs[at] = merge->inputs.layers[at].layer;
    }
    const auri_layer_change change = {.removed = inputs,
                                      .removed_count = merge->inputs.count,
                                      .added = &output,
                                      .added_count = 1};
    const aur_status status = auri_segment_publish(segment, &change, error);
    free(inputs);
    return status;
}

static aur_status finish(aur_segment *segment, aur_error *error) {
    const auri_merge *merge = segment->merge;
    const aur_lsn complete_lsn = merge->inputs.layers[0].layer->info.complete_lsn;
    auri_layer *output = NULL;
    auri_layer_info info;
    aur_status status = AUR_OK;
    for (uint32_t at = merge->inputs.count; at > 0 && status == AUR_OK; at--) {
        status = auri_segment_layer_commits(merge->inputs.layers[at - 1].layer, 0, AUR_LSN_MAX,
                                            take_commit, merge->writer, error);
    }
    if (status == AUR_OK) {
        status = auri_segment_layer_writer_finish(merge->writer, complete_lsn, &info, error);
    }
    if (status == AUR_OK) {
        status = auri_segment_layer_open_new(segment, &info, &output, error);
    }
    if (status == AUR_OK) {
        status = publish(segment, output, error);
    }
    auri_segment_layer_release(output);
    auri_segment_merge_abort(segment);
    return status;
}

/* Goes on with the merge for a step's output. */
static aur_status advance(aur_segment *segment, aur_error *error) {
    auri_merge *merge = segment->merge;
    const uint64_t start = auri_segment_layer_writer_bytes(merge->writer);
    aur_status status = AUR_OK;
    while (status == AUR_OK &&
           auri_segment_layer_writer_bytes(merge->writer) - start < AURI_STEP_BYTES) {
        const auri_cursor *input = auri_segment_union_first(&merge->inputs);
        if (input == NULL) {
            return finish(segment, error);
        }
        status = auri_segment_layer_writer_add(merge->writer, &input->record, input->bytes,
                                               input->length, error);
        if (status == AUR_OK) {
            status = auri_segment_union_next(&merge->inputs, error);
        }
    }
    if (status != AUR_OK) {
        auri_segment_merge_abort(segment);
    }
    return status;
}

/* Looks for a tier that is full: its layers are neighbours, as lower tiers are newer. */
static aur_status choose(aur_segment *segment, aur_error *error) {
    auri_view *view = auri_segment_pin_view(segment);
    aur_status status = AUR_NOT_FOUND;
    for (uint32_t first = 0; first < view->delta_count && status == AUR_NOT_FOUND;) {
        const uint32_t tier = view->layers[first]->info.tier;
        uint32_t count = 0;
        while (first + count < view->delta_count &&
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
    if (segment->merge == NULL) {
        const aur_status status = choose(segment, error);
        if (status != AUR_OK) {
            return status;
        }
    }
    return advance(segment, error);
}
