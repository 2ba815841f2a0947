/* The epoch promise and the list of rewinds, both durable before they take effect in memory; and
 * what of history is retained. */
#include <stdlib.h>

#include "segment/segment_private.h"

static aur_status refuse_epoch(const aur_segment *segment, aur_epoch epoch, aur_error *error) {
    return aur_fail(error, AUR_ERR_FENCED, "epoch %llu is fenced: the segment promised %llu",
                    (unsigned long long)epoch, (unsigned long long)segment->manifest.epoch);
}

/* Frames in flight belong to the writer that has just been fenced: their ends will say so, and the
 * next frame links to what was acknowledged. */
static void forget_in_flight(aur_segment *segment) {
    pthread_mutex_lock(&segment->lock);
    segment->chain_lsn = segment->scl;
    pthread_mutex_unlock(&segment->lock);
}

aur_status aur_segment_set_epoch(aur_segment *segment, aur_epoch epoch, aur_error *error) {
    aur_status status = auri_segment_writable(segment, error);
    if (status != AUR_OK) {
        return status;
    }
    pthread_mutex_lock(&segment->manifest_lock);
    if (epoch < segment->manifest.epoch) {
        status = refuse_epoch(segment, epoch, error);
    } else if (epoch > segment->manifest.epoch) {
        auri_manifest draft;
        status = auri_segment_draft(segment, &draft, error);
        if (status == AUR_OK) {
            draft.epoch = epoch;
            status = auri_segment_install(segment, &draft, NULL, false, error);
        }
        if (status == AUR_OK) {
            forget_in_flight(segment);
        }
    }
    pthread_mutex_unlock(&segment->manifest_lock);
    return status;
}

void aur_segment_set_vdl(aur_segment *segment, aur_lsn vdl) {
    pthread_mutex_lock(&segment->lock);
    if (vdl > segment->vdl) {
        segment->vdl = vdl;
    }
    pthread_mutex_unlock(&segment->lock);
}

/* ---- What is retained ---- */

aur_status aur_segment_retain(aur_segment *segment, const aur_retention *retention) {
    aur_lsn *points = malloc((retention->count + 1) * sizeof *points);
    if (points == NULL) {
        return AUR_ERR_MEMORY;
    }
    if (retention->count > 0) {
        memcpy(points, retention->points, retention->count * sizeof *points);
    }
    pthread_mutex_lock(&segment->lock);
    if (retention->horizon >= segment->horizon) {
        aur_lsn *old = segment->points;
        segment->points = points;
        segment->point_count = retention->count;
        segment->horizon = retention->horizon;
        points = old;
    }
    pthread_mutex_unlock(&segment->lock);
    free(points);
    return AUR_OK;
}

bool auri_segment_is_collected(const aur_segment *segment, aur_lsn lsn, aur_lsn horizon) {
    size_t low = 0;
    size_t high = segment->point_count;
    if (lsn >= horizon) {
        return false;
    }
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (segment->points[middle] < lsn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == segment->point_count || segment->points[low] != lsn;
}

static int compare_lsns(const void *left, const void *right) {
    const aur_lsn a = *(const aur_lsn *)left;
    const aur_lsn b = *(const aur_lsn *)right;
    return (a > b) - (a < b);
}

aur_status auri_segment_roots(aur_segment *segment, const auri_view *view, auri_roots *roots_out) {
    pthread_mutex_lock(&segment->lock);
    const aur_lsn horizon = segment->horizon;
    aur_lsn *lsns = malloc((segment->point_count + view->rewind_count + 1) * sizeof *lsns);
    uint32_t count = 0;
    for (size_t at = 0; at < segment->point_count && lsns != NULL; at++) {
        if (segment->points[at] < horizon) {
            lsns[count++] = segment->points[at];
        }
    }
    pthread_mutex_unlock(&segment->lock);
    if (lsns == NULL) {
        return AUR_ERR_MEMORY;
    }
    /* Where histories that are retained branched off below the horizon. */
    for (uint32_t at = 0; at < view->rewind_count; at++) {
        if (view->rewinds[at].at >= horizon && view->rewinds[at].to < horizon) {
            lsns[count++] = view->rewinds[at].to;
        }
    }
    lsns[count++] = horizon;
    qsort(lsns, count, sizeof *lsns, compare_lsns);
    uint32_t distinct = 0;
    for (uint32_t at = 0; at < count; at++) {
        if (distinct == 0 || lsns[distinct - 1] != lsns[at]) {
            lsns[distinct++] = lsns[at];
        }
    }
    *roots_out = (auri_roots){.horizon = horizon, .lsns = lsns, .count = distinct};
    return AUR_OK;
}

/* Which share of the LSNs in (from, end] lies at or below `upto`. */
static double share_below(aur_lsn from, aur_lsn end, aur_lsn upto) {
    const aur_lsn last = upto < end ? upto : end;
    return last <= from ? 0.0 : (double)(last - from) / (double)(end - from);
}

uint64_t auri_segment_garbage_bytes(const auri_layer_info *part, aur_lsn horizon,
                                    aur_lsn lowest_root) {
    const uint64_t history = part->size_bytes - part->live_bytes;
    const double passed = share_below(part->horizon, part->complete_lsn, horizon);
    const double released = share_below(part->lowest_root, part->complete_lsn, lowest_root);
    return (uint64_t)((passed > released ? passed : released) * (double)history);
}

/* ---- Rewinds ---- */

size_t aur_segment_rewinds(aur_segment *segment, aur_rewind *out, size_t capacity) {
    pthread_mutex_lock(&segment->lock);
    const size_t count = segment->manifest.rewind_count;
    const size_t copied = count < capacity ? count : capacity;
    if (copied > 0) {
        memcpy(out, segment->manifest.rewinds, copied * sizeof *out);
    }
    pthread_mutex_unlock(&segment->lock);
    return count;
}

static bool drops(const aur_rewind *rewind, const aur_frame_header *header) {
    return rewind->kind == AUR_REWIND_TRUNCATION && header->epoch < rewind->epoch &&
           header->last_lsn > rewind->to && header->last_lsn <= rewind->at;
}

/* What the SCL will be. AUR_ERR_INVALID when the rewind would touch a layer or cut a frame in two:
 * a writer ends every boxcar at a CPL, or puts none into it, so that VDL never falls inside a
 * frame. */
static aur_status check_truncation(aur_segment *segment, const aur_rewind *rewind, aur_lsn *scl_out,
                                   aur_error *error) {
    aur_lsn layered = segment->manifest.flushed_lsn;
    aur_status status = AUR_OK;
    pthread_mutex_lock(&segment->lock);
    if (segment->frozen != NULL) {
        layered = segment->frozen->limit;
    }
    *scl_out = segment->scl;
    if (rewind->kind == AUR_REWIND_TRUNCATION) {
        if (layered > rewind->to && layered <= rewind->at) {
            status = aur_fail(error, AUR_ERR_INVALID,
                              "LSN %llu is in a layer and cannot be truncated to %llu",
                              (unsigned long long)layered, (unsigned long long)rewind->to);
        }
        *scl_out = layered;
        for (uint32_t at = 0; at < segment->active->slot_count; at++) {
            const aur_frame_header *header = &segment->active->slots[at].frame->header;
            if (!drops(rewind, header)) {
                *scl_out = header->last_lsn;
            } else if (header->first_lsn <= rewind->to && status == AUR_OK) {
                status = aur_fail(
                    error, AUR_ERR_INVALID, "a truncation to LSN %llu would cut frame %llu..%llu",
                    (unsigned long long)rewind->to, (unsigned long long)header->first_lsn,
                    (unsigned long long)header->last_lsn);
            }
        }
    }
    pthread_mutex_unlock(&segment->lock);
    return status;
}

static bool drops_any(const auri_memtable *table, const aur_rewind *rewind) {
    for (uint32_t at = table->slot_count; at > 0; at--) {
        if (drops(rewind, &table->slots[at - 1].frame->header)) {
            return true;
        }
    }
    return false;
}

/* Takes the dropped frames out of the memtable. Readers that pinned the old one keep it. A
 * truncation is made by a newer epoch, so nothing that is in flight counts any more. */
static aur_status drop_frames(aur_segment *segment, const aur_rewind *rewind, aur_error *error) {
    aur_status status = AUR_OK;
    if (rewind->kind != AUR_REWIND_TRUNCATION) {
        return AUR_OK;
    }
    pthread_mutex_lock(&segment->lock);
    auri_memtable *old = segment->active;
    if (!drops_any(old, rewind)) {
        segment->chain_lsn = segment->scl;
        pthread_mutex_unlock(&segment->lock);
        return AUR_OK;
    }
    auri_memtable *kept = auri_segment_memtable_create();
    aur_lsn scl = segment->frozen != NULL ? segment->frozen->limit : segment->manifest.flushed_lsn;
    if (kept == NULL) {
        status = AUR_ERR_MEMORY;
    }
    for (uint32_t at = 0; at < old->slot_count && status == AUR_OK; at++) {
        const auri_slot *slot = &old->slots[at];
        if (!drops(rewind, &slot->frame->header)) {
            status = auri_segment_memtable_add(kept, slot->frame, slot->position);
            scl = slot->frame->header.last_lsn;
        }
    }
    if (status == AUR_OK) {
        segment->active = kept;
        segment->scl = scl;
        segment->chain_lsn = scl;
        kept = old;
    }
    pthread_mutex_unlock(&segment->lock);
    auri_segment_memtable_release(kept);
    return status == AUR_OK ? AUR_OK
                            : aur_fail(error, status, "no memory for the index of the hot log");
}

/* Makes room for one more when there are very many: the oldest truncation goes, whose frames the
 * log has long overwritten. Backtracks hide what is kept, and cannot go. */
static aur_status make_room(auri_manifest *draft, uint32_t kind, aur_error *error) {
    uint32_t oldest = 0;
    if (draft->rewind_count < AURI_REWINDS_MAX) {
        return AUR_OK;
    }
    while (oldest < draft->rewind_count && draft->rewinds[oldest].kind != AUR_REWIND_TRUNCATION) {
        oldest++;
    }
    if (oldest == draft->rewind_count && kind == AUR_REWIND_TRUNCATION) {
        return AUR_OK; /* a recovery is never refused */
    }
    if (oldest == draft->rewind_count) {
        return aur_fail(error, AUR_ERR_FULL,
                        "%u rewinds are still retained: wait until the backtrack window has passed "
                        "them, or make it shorter",
                        draft->rewind_count);
    }
    draft->rewind_count--;
    memmove(draft->rewinds + oldest, draft->rewinds + oldest + 1,
            (draft->rewind_count - oldest) * sizeof *draft->rewinds);
    return AUR_OK;
}

/* Puts the rewind into its place by `at`. */
static void insert_rewind(auri_manifest *draft, const aur_rewind *rewind) {
    uint32_t at = draft->rewind_count++;
    for (; at > 0 && draft->rewinds[at - 1].at > rewind->at; at--) {
        draft->rewinds[at] = draft->rewinds[at - 1];
    }
    draft->rewinds[at] = *rewind;
}

static aur_status record_rewind(aur_segment *segment, const aur_rewind *rewind, aur_error *error) {
    auri_manifest draft;
    aur_lsn scl;
    aur_status status = check_truncation(segment, rewind, &scl, error);
    if (status == AUR_OK) {
        status = auri_segment_draft(segment, &draft, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    status = make_room(&draft, rewind->kind, error);
    if (status != AUR_OK) {
        auri_segment_manifest_free(&draft);
        return status;
    }
    insert_rewind(&draft, rewind);
    draft.epoch = rewind->epoch;
    draft.proven_scl = scl;
    auri_view *view = auri_segment_view_create(segment->view->layers, segment->view->layer_count,
                                               draft.rewinds, draft.rewind_count);
    if (view == NULL) {
        auri_segment_manifest_free(&draft);
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for the list of rewinds");
    }
    status = auri_segment_install(segment, &draft, view, false, error);
    return status == AUR_OK ? drop_frames(segment, rewind, error) : status;
}

/* AUR_OK: recorded already. AUR_NOT_FOUND: new. AUR_ERR_INVALID: contradicts one that is recorded.
 */
static aur_status find_rewind(const auri_manifest *manifest, const aur_rewind *rewind,
                              aur_error *error) {
    for (uint32_t at = 0; at < manifest->rewind_count; at++) {
        const aur_rewind *known = &manifest->rewinds[at];
        if (known->at == rewind->at) {
            const bool same = known->to == rewind->to && known->kind == rewind->kind;
            return same ? AUR_OK
                        : aur_fail(error, AUR_ERR_INVALID, "another rewind at LSN %llu is recorded",
                                   (unsigned long long)rewind->at);
        }
    }
    return AUR_NOT_FOUND;
}

/* Drops what a recorded truncation drops and memory still holds: none, unless memory ran out then.
 * A segment that has nothing of it is left as it is, frames in flight included. */
static aur_status drop_recorded(aur_segment *segment, const aur_rewind *rewind, aur_error *error) {
    pthread_mutex_lock(&segment->lock);
    const bool wanted = drops_any(segment->active, rewind);
    pthread_mutex_unlock(&segment->lock);
    return wanted ? drop_frames(segment, rewind, error) : AUR_OK;
}

aur_status aur_segment_rewind(aur_segment *segment, const aur_rewind *rewind, aur_error *error) {
    aur_status status = auri_segment_writable(segment, error);
    if (status != AUR_OK) {
        return status;
    }
    if (rewind->to > rewind->at ||
        (rewind->kind != AUR_REWIND_TRUNCATION && rewind->kind != AUR_REWIND_BACKTRACK)) {
        return aur_fail(error, AUR_ERR_INVALID,
                        "a rewind goes back from a higher LSN to a lower one");
    }
    pthread_mutex_lock(&segment->manifest_lock);
    status = find_rewind(&segment->manifest, rewind, error);
    if (status == AUR_OK) {
        status = drop_recorded(segment, rewind, error);
    } else if (status == AUR_NOT_FOUND) {
        status = rewind->epoch < segment->manifest.epoch
                     ? refuse_epoch(segment, rewind->epoch, error)
                     : record_rewind(segment, rewind, error);
    }
    pthread_mutex_unlock(&segment->manifest_lock);
    return status;
}
