/*
 * Walking several layers as one: a heap of cursors by what comes next in each. Records of a page
 * mostly come in runs from one layer, which then costs two comparisons each, however many layers
 * there are.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

/* An image stands behind the record whose state it holds; of the same place in two layers, the
 * layer that was added first comes first. */
static bool precedes(const auri_union_place *left, const auri_union_place *right) {
    if (left->page_id != right->page_id) {
        return left->page_id < right->page_id;
    }
    if (left->lsn != right->lsn) {
        return left->lsn < right->lsn;
    }
    return left->input < right->input;
}

static void sift_down(auri_union *walked, uint32_t at) {
    const auri_union_place place = walked->heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= walked->live) {
            break;
        }
        if (child + 1 < walked->live && precedes(&walked->heap[child + 1], &walked->heap[child])) {
            child++;
        }
        if (!precedes(&walked->heap[child], &place)) {
            break;
        }
        walked->heap[at] = walked->heap[child];
        at = child;
    }
    walked->heap[at] = place;
}

aur_status auri_segment_union_open(auri_union *walked, uint32_t layers, aur_lsn floor,
                                   aur_page_id end_page, aur_error *error) {
    *walked = (auri_union){.floor = floor, .end_page = end_page};
    walked->layers = calloc((size_t)layers + 1, sizeof *walked->layers);
    walked->heap = calloc((size_t)layers + 1, sizeof *walked->heap);
    return walked->layers != NULL && walked->heap != NULL
               ? AUR_OK
               : aur_fail(error, AUR_ERR_MEMORY, "no memory for reading layers together");
}

void auri_segment_union_close(auri_union *walked) {
    for (uint32_t at = 0; at < walked->count; at++) {
        auri_segment_cursor_free(&walked->layers[at]);
    }
    free(walked->layers);
    free(walked->heap);
    *walked = (auri_union){0};
}

void auri_segment_union_add(auri_union *walked, auri_layer *layer) {
    auri_segment_cursor_init(&walked->layers[walked->count++], layer);
}

/* Passes over what deltas hold up to the floor. */
static aur_status pass_floor(const auri_union *walked, auri_cursor *input, aur_error *error) {
    const bool is_delta = input->layer->info.kind == AURI_LAYER_DELTA;
    aur_status status = AUR_OK;
    while (status == AUR_OK && is_delta && input->valid && input->record.lsn <= walked->floor) {
        status = auri_segment_cursor_next(input, error);
    }
    return status;
}

static auri_union_place place_of(const auri_union *walked, uint32_t input) {
    const aur_record *record = &walked->layers[input].record;
    return (auri_union_place){record->page_id, record->lsn, input};
}

static bool has_more(const auri_union *walked, const auri_cursor *input) {
    return input->valid && input->record.page_id < walked->end_page;
}

aur_status auri_segment_union_seek(auri_union *walked, aur_page_id first, aur_error *error) {
    walked->live = 0;
    for (uint32_t at = 0; at < walked->count; at++) {
        auri_cursor *input = &walked->layers[at];
        aur_status status = auri_segment_cursor_seek(input, first, error);
        if (status == AUR_OK) {
            status = pass_floor(walked, input, error);
        }
        if (status != AUR_OK) {
            return status;
        }
        if (has_more(walked, input)) {
            walked->heap[walked->live++] = place_of(walked, at);
        }
    }
    for (uint32_t at = walked->live / 2; at > 0; at--) {
        sift_down(walked, at - 1);
    }
    return AUR_OK;
}

const auri_cursor *auri_segment_union_first(const auri_union *walked) {
    return walked->live > 0 ? &walked->layers[walked->heap[0].input] : NULL;
}

aur_status auri_segment_union_next(auri_union *walked, aur_error *error) {
    const uint32_t at = walked->heap[0].input;
    auri_cursor *input = &walked->layers[at];
    aur_status status = auri_segment_cursor_next(input, error);
    if (status == AUR_OK) {
        status = pass_floor(walked, input, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    walked->heap[0] = has_more(walked, input) ? place_of(walked, at) : walked->heap[--walked->live];
    sift_down(walked, 0);
    return AUR_OK;
}
