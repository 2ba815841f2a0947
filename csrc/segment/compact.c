/*
 * Compacting: the deltas above a base part, and the part, become the part anew, in which only
 * retained versions are left (collect.c). Parts are compacted one at a time, the one that is
 * furthest behind first, so a unit of work and the space it takes meanwhile are bounded by a part,
 * not by the volume. When every part has what a delta layer holds, that layer goes, and its commits
 * go into a chronicle.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

enum {
    DELTA_SHARE = 3,                /* deltas may take one part in so many of what the base takes */
    IDLE_SHARE = 64,                /* while nothing is written, one part in so many is worth it */
    IDLE_LEAST = 32,                /* if it is not less than this part of a memtable */
    GARBAGE_SHARE = 4,              /* so may what could be collected, in a part */
    GARBAGE_SHARE_IDLE = 16,        /* in a part, while nothing is written */
    CHRONICLE_BYTES_SMALL = 1 << 20 /* the newest chronicle is written anew while it is smaller */
};

struct auri_compaction {
    auri_view *view;  /* one reference */
    auri_layer *part; /* one reference; NULL: there is no base yet */
    aur_page_id first_page, end_page;
    aur_lsn floor;        /* deltas up to here are in the part already */
    aur_lsn complete_lsn; /* and up to here will be */
    auri_union inputs;    /* the part, if there is one, and deltas */
    auri_collector *collector;
    auri_layer_writer *writer; /* of the output that grows now */
    aur_page_id writer_page;   /* where its range begins */
    aur_page_id page_id;       /* the page whose records come now */
    auri_layer **outputs;
    uint32_t output_count, output_capacity;
    bool stays; /* the part's file stays, and only its entry changes */
};

static void compaction_free(auri_compaction *compaction) {
    if (compaction == NULL) {
        return;
    }
    for (uint32_t at = 0; at < compaction->output_count; at++) {
        auri_segment_layer_release(compaction->outputs[at]);
    }
    auri_segment_union_close(&compaction->inputs);
    auri_segment_layer_writer_close(compaction->writer);
    auri_segment_collector_close(compaction->collector);
    auri_segment_layer_release(compaction->part);
    auri_segment_view_release(compaction->view);
    free(compaction->outputs);
    free(compaction);
}

/* Whether the output is the part itself, under a new entry. */
static bool is_part(const auri_compaction *compaction, const auri_layer *output) {
    return compaction->part != NULL && compaction->part->info.number == output->info.number;
}

/* Removes outputs that are in no manifest. After a manifest that could not be replaced for sure
 * they may be in it, and are left to the next open. */
static void remove_outputs(aur_segment *segment, const auri_compaction *compaction) {
    if (auri_segment_writable(segment, NULL) != AUR_OK) {
        return;
    }
    for (uint32_t at = 0; at < compaction->output_count; at++) {
        const auri_layer *output = compaction->outputs[at];
        if (output->info.size_bytes > 0 && !is_part(compaction, output)) {
            const aur_status removed = aur_disk_remove(segment->disk, output->name, NULL);
            (void)removed;
        }
    }
}

void auri_segment_compact_abort(aur_segment *segment) {
    if (segment->compaction != NULL) {
        remove_outputs(segment, segment->compaction);
    }
    compaction_free(segment->compaction);
    segment->compaction = NULL;
}

/* ---- What to compact ---- */

/* The moments that are retained now: each from `horizon` on, and none below `lowest_root`. */
typedef struct retained_span {
    aur_lsn horizon;
    aur_lsn lowest_root;
} retained_span;

static aur_status retained_now(aur_segment *segment, const auri_view *view, retained_span *out,
                               aur_error *error) {
    *out = (retained_span){0, 0};
    auri_roots roots;
    if (auri_segment_roots(segment, view, &roots) != AUR_OK) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for the list of moments");
    }
    *out = (retained_span){roots.horizon, roots.lsns[0]};
    free(roots.lsns);
    return AUR_OK;
}

/* Rewriting a part must be worth it; while nothing is written less is. */
static bool has_garbage(const auri_layer_info *part, const retained_span *now,
                        const auri_goal *goal, auri_patience patience) {
    if (goal != NULL) {
        return part->size_bytes > part->live_bytes &&
               (goal->horizon > part->horizon || goal->lowest_root > part->lowest_root);
    }
    const uint64_t share = patience == AURI_IDLE ? GARBAGE_SHARE_IDLE : GARBAGE_SHARE;
    return auri_segment_garbage_bytes(part, now->horizon, now->lowest_root) >
           part->size_bytes / share;
}

static uint64_t base_bytes_of(const auri_view *view) {
    uint64_t bytes = 0;
    for (uint32_t at = 0; at < view->base_count; at++) {
        bytes += view->layers[view->delta_count + at]->info.size_bytes;
    }
    return bytes;
}

bool auri_segment_is_worth_idle_work(const aur_segment *segment, const auri_view *view,
                                     uint64_t bytes) {
    return bytes > base_bytes_of(view) / IDLE_SHARE &&
           bytes > segment->options.memtable_bytes / IDLE_LEAST;
}

static bool too_many_deltas(const aur_segment *segment, const auri_view *view,
                            auri_patience patience) {
    uint64_t delta_bytes = 0;
    for (uint32_t at = 0; at < view->delta_count; at++) {
        delta_bytes += view->layers[at]->info.size_bytes;
    }
    if (patience == AURI_IDLE) {
        return auri_segment_is_worth_idle_work(segment, view, delta_bytes);
    }
    const uint64_t base_bytes = base_bytes_of(view);
    const uint64_t share = base_bytes / DELTA_SHARE;
    const uint64_t limit =
        share > segment->options.delta_bytes ? share : segment->options.delta_bytes;
    return delta_bytes > limit;
}

/* Up to where every part should have the deltas now; 0: where they are. */
static aur_lsn wanted_lsn(const aur_segment *segment, const auri_view *view, const auri_goal *goal,
                          auri_patience patience) {
    if (view->delta_count == 0) {
        return 0;
    }
    if (goal != NULL) {
        return goal->complete_lsn;
    }
    return too_many_deltas(segment, view, patience) ? view->layers[0]->info.complete_lsn : 0;
}

/* Index of the part to compact; base_count when there is none to be. */
static uint32_t choose_part(const auri_view *view, aur_lsn wanted, const retained_span *now,
                            const auri_goal *goal, auri_patience patience) {
    auri_layer *const *parts = view->layers + view->delta_count;
    uint32_t chosen = view->base_count;
    for (uint32_t at = 0; at < view->base_count; at++) {
        if (parts[at]->info.complete_lsn < wanted &&
            (chosen == view->base_count ||
             parts[at]->info.complete_lsn < parts[chosen]->info.complete_lsn)) {
            chosen = at;
        }
    }
    for (uint32_t at = 0; at < view->base_count && chosen == view->base_count; at++) {
        if (has_garbage(&parts[at]->info, now, goal, patience)) {
            chosen = at;
        }
    }
    return chosen;
}

/* ---- Beginning ---- */

/* Opens the inputs: what the part holds, and the deltas above it that have pages of its range, as
 * far as the part does not have what they hold. */
static aur_status open_inputs(auri_compaction *compaction, aur_error *error) {
    const auri_view *view = compaction->view;
    auri_union *inputs = &compaction->inputs;
    aur_status status = auri_segment_union_open(inputs, view->delta_count + 1, compaction->floor,
                                                compaction->end_page, error);
    if (status == AUR_OK && compaction->part != NULL && compaction->part->info.records > 0) {
        auri_segment_union_add(inputs, compaction->part);
    }
    for (uint32_t at = 0; at < view->delta_count && status == AUR_OK; at++) {
        auri_layer *delta = view->layers[at];
        if (delta->info.complete_lsn <= compaction->floor) {
            break;
        }
        status = auri_segment_layer_load(delta, error);
        if (status == AUR_OK &&
            auri_segment_layer_has_pages(delta, compaction->first_page, compaction->end_page)) {
            auri_segment_union_add(inputs, delta);
        }
    }
    return status == AUR_OK ? auri_segment_union_seek(inputs, compaction->first_page, error)
                            : status;
}

/* A part above which no delta has a page of it is the same up to a later LSN. */
static bool stays_as_it_is(const auri_compaction *compaction, const auri_goal *goal,
                           auri_patience patience) {
    const auri_layer *part = compaction->part;
    const uint32_t own = part != NULL && part->info.records > 0;
    const retained_span now = {auri_segment_collector_horizon(compaction->collector),
                               auri_segment_collector_lowest_root(compaction->collector)};
    return part != NULL && compaction->inputs.count == own &&
           !has_garbage(&part->info, &now, goal, patience);
}

static aur_status keep_output(auri_compaction *compaction, auri_layer *output) {
    if (compaction->output_count == compaction->output_capacity) {
        const uint32_t capacity =
            compaction->output_capacity == 0 ? 4 : compaction->output_capacity * 2;
        auri_layer **grown = realloc(compaction->outputs, capacity * sizeof(auri_layer *));
        if (grown == NULL) {
            return AUR_ERR_MEMORY;
        }
        compaction->outputs = grown;
        compaction->output_capacity = capacity;
    }
    compaction->outputs[compaction->output_count++] = output;
    return AUR_OK;
}

static aur_status open_output(aur_segment *segment, const auri_layer_info *info, aur_error *error) {
    auri_layer *output = NULL;
    aur_status status = auri_segment_layer_open_new(segment, info, &output, error);
    if (status == AUR_OK && keep_output(segment->compaction, output) != AUR_OK) {
        auri_segment_layer_release(output);
        status = aur_fail(error, AUR_ERR_MEMORY, "no memory for compacting");
    }
    return status;
}

static aur_status begin(aur_segment *segment, auri_view *view, uint32_t index,
                        const auri_goal *goal, auri_patience patience, aur_error *error) {
    auri_compaction *compaction = calloc(1, sizeof *compaction);
    if (compaction == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for compacting");
    }
    compaction->view = auri_segment_view_acquire(view);
    compaction->first_page = (aur_page_id)segment->identity.group * segment->identity.group_pages;
    compaction->end_page = auri_segment_view_part_end(view, index, &segment->identity);
    if (index < view->base_count) {
        compaction->part = auri_segment_layer_acquire(view->layers[view->delta_count + index]);
        compaction->first_page = compaction->part->info.first_page;
        compaction->floor = compaction->part->info.complete_lsn;
    }
    compaction->complete_lsn =
        view->delta_count > 0 ? view->layers[0]->info.complete_lsn : compaction->floor;
    compaction->writer_page = compaction->first_page;
    aur_status status = open_inputs(compaction, error);
    if (status == AUR_OK) {
        status =
            auri_segment_collector_open(segment, compaction->view, &compaction->collector, error);
    }
    if (status != AUR_OK) {
        compaction_free(compaction);
        return status;
    }
    compaction->stays = stays_as_it_is(compaction, goal, patience);
    segment->compaction = compaction;
    return AUR_OK;
}

/* ---- Going on ---- */

/* Ends the output that grows; one of which nothing is retained gets no file. */
static aur_status end_output(aur_segment *segment, aur_error *error) {
    auri_compaction *compaction = segment->compaction;
    auri_layer_info info = {
        .kind = AURI_LAYER_BASE,
        .first_page = compaction->writer_page,
        .last_page = compaction->writer_page,
        .complete_lsn = compaction->complete_lsn,
    };
    aur_status status = AUR_OK;
    memcpy(info.origin, segment->identity.volume_id, AUR_VOLUME_ID_BYTES);
    if (compaction->writer != NULL) {
        status = auri_segment_layer_writer_finish(compaction->writer, compaction->complete_lsn,
                                                  &info, error);
        auri_segment_layer_writer_close(compaction->writer);
        compaction->writer = NULL;
    }
    info.horizon = auri_segment_collector_horizon(compaction->collector);
    info.lowest_root = auri_segment_collector_lowest_root(compaction->collector);
    return status == AUR_OK ? open_output(segment, &info, error) : status;
}

/* The records of one page have all come; the next page may begin another output. */
static aur_status end_page(aur_segment *segment, aur_page_id next_page, aur_error *error) {
    auri_compaction *compaction = segment->compaction;
    if (compaction->writer == NULL) {
        return AUR_OK;
    }
    aur_status status =
        auri_segment_collector_end_page(compaction->collector, compaction->writer, error);
    if (status == AUR_OK && next_page < compaction->end_page &&
        auri_segment_layer_writer_bytes(compaction->writer) >= segment->options.part_bytes) {
        status = end_output(segment, error);
        compaction->writer_page = next_page;
    }
    return status;
}

static aur_status take_record(aur_segment *segment, const auri_cursor *input, aur_error *error) {
    auri_compaction *compaction = segment->compaction;
    aur_status status = AUR_OK;
    if (input->record.page_id != compaction->page_id) {
        status = end_page(segment, input->record.page_id, error);
        compaction->page_id = input->record.page_id;
    }
    if (status == AUR_OK && compaction->writer == NULL) {
        status = auri_segment_layer_writer_open(
            segment, AURI_LAYER_BASE, 0, compaction->writer_page, &compaction->writer, error);
    }
    if (status == AUR_OK) {
        status = auri_segment_collector_add(compaction->collector, compaction->writer,
                                            &input->record, input->bytes, input->length, error);
    }
    return status == AUR_OK ? auri_segment_union_next(&compaction->inputs, error) : status;
}

/* ---- Ending ---- */

/* What a chronicle takes over: commits after the history that all retained moments share, and the
 * newest one in it. */
typedef struct chronicle_run {
    auri_layer_writer *writer;
    aur_lsn common;
    aur_commit_mark anchor;
    bool has_anchor;
    uint64_t commits;
} chronicle_run;

static aur_status put_anchor(chronicle_run *run, aur_error *error) {
    if (!run->has_anchor) {
        return AUR_OK;
    }
    run->has_anchor = false;
    run->commits++;
    return auri_segment_layer_writer_commit(run->writer, &run->anchor, error);
}

static aur_status take_commit(void *context, const aur_commit_mark *commit, aur_error *error) {
    chronicle_run *run = context;
    if (commit->lsn <= run->common) {
        run->anchor = *commit;
        run->has_anchor = true;
        return AUR_OK;
    }
    aur_status status = put_anchor(run, error);
    if (status == AUR_OK) {
        run->commits++;
        status = auri_segment_layer_writer_commit(run->writer, commit, error);
    }
    return status;
}

/* Writes the commits of `removed` (newest first) into a chronicle; *output_out stays NULL when they
 * have none. */
static aur_status write_chronicle(aur_segment *segment, auri_layer *const *removed, uint32_t count,
                                  auri_layer **output_out, aur_error *error) {
    chronicle_run run = {.common = auri_segment_collector_common(segment->compaction->collector)};
    auri_layer_info info;
    aur_lsn complete_lsn = 0;
    aur_status status =
        auri_segment_layer_writer_open(segment, AURI_LAYER_CHRONICLE, 0, 0, &run.writer, error);
    for (uint32_t at = count; at > 0 && status == AUR_OK; at--) {
        complete_lsn = removed[at - 1]->info.complete_lsn;
        status =
            auri_segment_layer_commits(removed[at - 1], 0, AUR_LSN_MAX, take_commit, &run, error);
    }
    if (status == AUR_OK) {
        status = put_anchor(&run, error);
    }
    if (status == AUR_OK && run.commits > 0) {
        status = auri_segment_layer_writer_finish(run.writer, complete_lsn, &info, error);
        if (status == AUR_OK) {
            status = auri_segment_layer_open_new(segment, &info, output_out, error);
        }
    }
    auri_segment_layer_writer_close(run.writer);
    return status;
}

/* What every part has once the outputs are in place of the part. */
static aur_lsn lowest_complete(const auri_view *view, const auri_compaction *compaction) {
    aur_lsn lowest = compaction->complete_lsn;
    for (uint32_t at = 0; at < view->base_count; at++) {
        const auri_layer *part = view->layers[view->delta_count + at];
        if (part != compaction->part && part->info.complete_lsn < lowest) {
            lowest = part->info.complete_lsn;
        }
    }
    return lowest;
}

/* Lists what goes: the part, deltas that every part has, and, with them, a small chronicle that is
 * written anew and old ones that are not needed. Those whose commits the new chronicle takes over
 * stand together, newest first: *commits of them, from *first_commits on. */
static uint32_t list_removed(const auri_view *view, const auri_compaction *compaction,
                             auri_layer **removed, uint32_t *first_commits, uint32_t *commits) {
    const aur_lsn lowest = lowest_complete(view, compaction);
    const aur_lsn common = auri_segment_collector_common(compaction->collector);
    uint32_t count = 0;
    if (compaction->part != NULL) {
        removed[count++] = compaction->part;
    }
    *first_commits = count;
    for (uint32_t at = 0; at < view->delta_count; at++) {
        if (view->layers[at]->info.complete_lsn <= lowest) {
            removed[count++] = view->layers[at];
        }
    }
    *commits = count - *first_commits;
    const uint32_t chronicles = view->delta_count + view->base_count;
    for (uint32_t at = chronicles; at < view->layer_count && *commits > 0; at++) {
        const auri_layer_info *info = &view->layers[at]->info;
        const bool joins = at == chronicles && info->size_bytes < CHRONICLE_BYTES_SMALL;
        const bool is_past = at > chronicles && view->layers[at - 1]->info.first_lsn <= common;
        *commits += joins;
        if (joins || is_past) {
            removed[count++] = view->layers[at];
        }
    }
    return count;
}

static aur_status publish(aur_segment *segment, aur_error *error) {
    auri_compaction *compaction = segment->compaction;
    auri_view *view = auri_segment_pin_view(segment);
    auri_layer *chronicle = NULL;
    uint32_t first_commits;
    uint32_t commits;
    auri_layer **removed = malloc(((size_t)view->layer_count + 1) * sizeof(auri_layer *));
    aur_status status =
        removed != NULL ? AUR_OK : aur_fail(error, AUR_ERR_MEMORY, "no memory for compacting");
    if (status == AUR_OK) {
        const uint32_t count = list_removed(view, compaction, removed, &first_commits, &commits);
        if (commits > 0) {
            status = write_chronicle(segment, removed + first_commits, commits, &chronicle, error);
        }
        if (status == AUR_OK && chronicle != NULL &&
            keep_output(compaction, auri_segment_layer_acquire(chronicle)) != AUR_OK) {
            auri_segment_layer_release(chronicle);
            status = aur_fail(error, AUR_ERR_MEMORY, "no memory for compacting");
        }
        const auri_layer_change change = {.removed = removed,
                                          .removed_count = count,
                                          .added = compaction->outputs,
                                          .added_count = compaction->output_count};
        if (status == AUR_OK) {
            status = auri_segment_publish(segment, &change, error);
        }
        if (status == AUR_OK) {
            auri_segment_merge_abort_of(segment, removed, count);
        }
    }
    auri_segment_layer_release(chronicle);
    auri_segment_view_release(view);
    free(removed);
    return status;
}

/* The part under a new entry, which says that it is complete up to a later LSN. */
static aur_status keep_part(aur_segment *segment, aur_error *error) {
    auri_layer_info info = segment->compaction->part->info;
    info.complete_lsn = segment->compaction->complete_lsn;
    return open_output(segment, &info, error);
}

static aur_status finish(aur_segment *segment, aur_error *error) {
    aur_status status = AUR_OK;
    if (segment->compaction->stays) {
        status = keep_part(segment, error);
    } else {
        status = end_page(segment, segment->compaction->end_page, error);
        if (status == AUR_OK) {
            status = end_output(segment, error);
        }
    }
    if (status == AUR_OK) {
        status = publish(segment, error);
    }
    if (status == AUR_OK) {
        compaction_free(segment->compaction);
        segment->compaction = NULL;
    } else {
        auri_segment_compact_abort(segment);
    }
    return status;
}

/* Goes on with the compaction for a step's input. */
static aur_status advance(aur_segment *segment, aur_error *error) {
    auri_compaction *compaction = segment->compaction;
    uint64_t taken = 0;
    aur_status status = AUR_OK;
    if (compaction->stays) {
        return finish(segment, error);
    }
    while (status == AUR_OK && taken < AURI_STEP_BYTES) {
        const auri_cursor *input = auri_segment_union_first(&compaction->inputs);
        if (input == NULL) {
            return finish(segment, error);
        }
        taken += input->length;
        status = take_record(segment, input, error);
    }
    if (status != AUR_OK) {
        auri_segment_compact_abort(segment);
    }
    return status;
}

aur_status auri_segment_compact_step(aur_segment *segment, const auri_goal *goal,
                                     auri_patience patience, aur_error *error) {
    if (segment->compaction == NULL) {
        auri_view *view = auri_segment_pin_view(segment);
        retained_span now;
        aur_status status = retained_now(segment, view, &now, error);
        if (status == AUR_OK) {
            const aur_lsn wanted = wanted_lsn(segment, view, goal, patience);
            const uint32_t index = choose_part(view, wanted, &now, goal, patience);
            /* Without a base its only part is one that does not exist yet. */
            const bool is_first = view->base_count == 0 && wanted > 0;
            status = index < view->base_count || is_first
                         ? begin(segment, view, index, goal, patience, error)
                         : AUR_NOT_FOUND;
        }
        auri_segment_view_release(view);
        if (status != AUR_OK) {
            return status;
        }
    }
    return advance(segment, error);
}
