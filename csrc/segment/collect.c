/*
 * Which versions of a page a base part keeps (I7, docs/internals/history.md).
 *
 * The versions of one page come in the order of their LSNs; `page` holds the state that the last of
 * them left. Below the horizon only the newest version that each root sees is kept, as an image.
 * From the horizon on every version is kept: as its record, if the version that it builds on is
 * kept too, else as an image. Further images bound the chains, and the newest version always gets
 * one, so that reading it costs one block.
 *
 * A record that builds on another version than the last one belongs to another history than that:
 * the state it needs is read from the layers that are being compacted.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

enum { CHAIN_RECORDS_MAX = 16, CHAIN_PAGE_PARTS = 2 };

/* The newest version so far that a root sees. `page` has it once the version was superseded. */
typedef struct candidate {
    aur_lsn root;
    aur_lsn lsn;
    bool found;
    bool saved;
    uint8_t *page;
} candidate;

struct auri_collector {
    aur_segment *segment;
    const auri_view *view;
    uint32_t page_bytes;
    aur_lsn horizon;
    candidate *candidates;
    uint32_t candidate_count;
    aur_page_id page_id;
    uint8_t *page, *scratch, *image;
    bool in_page;
    aur_lsn page_lsn; /* of the state in `page`; 0: no version of the page has come yet */
    bool above;       /* versions above the horizon have come, the candidates are written */
    bool imaged;      /* the newest version needs no other record */
    uint32_t chain_records;
    size_t chain_bytes;
    size_t newest_bytes; /* of the record or image that holds the newest version alone */
};

size_t auri_segment_encode_image(const uint8_t *page, uint32_t page_bytes, aur_page_id page_id,
                                 aur_lsn lsn, uint8_t *out) {
    const aur_record record = {
        .op = AUR_OP_IMAGE,
        .flags = AUR_RECORD_INIT,
        .lsn = lsn,
        .page_id = page_id,
        .body_bytes = aur_page_image_body(page, page_bytes, out + AUR_RECORD_BODY_AT),
    };
    aur_record_encode(&record, out);
    return aur_record_bytes(&record);
}

aur_status auri_segment_collector_open(aur_segment *segment, const auri_view *view,
                                       auri_collector **collector_out, aur_error *error) {
    auri_roots roots = {0};
    *collector_out = NULL;
    auri_collector *collector = calloc(1, sizeof *collector);
    if (collector == NULL || auri_segment_roots(segment, view, &roots) != AUR_OK) {
        free(collector);
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for compacting");
    }
    const uint32_t page_bytes = segment->identity.page_bytes;
    collector->segment = segment;
    collector->view = view;
    collector->page_bytes = page_bytes;
    collector->horizon = roots.horizon;
    collector->page = malloc(page_bytes);
    collector->scratch = malloc(page_bytes);
    collector->image = malloc(AUR_RECORD_BODY_AT + (size_t)page_bytes + 4);
    collector->candidates = calloc(roots.count, sizeof *collector->candidates);
    bool complete = collector->page != NULL && collector->scratch != NULL &&
                    collector->image != NULL && collector->candidates != NULL;
    for (uint32_t at = 0; at < roots.count && complete; at++) {
        collector->candidates[at] = (candidate){.root = roots.lsns[at], .page = malloc(page_bytes)};
        collector->candidate_count++;
        complete = collector->candidates[at].page != NULL;
    }
    free(roots.lsns);
    if (!complete) {
        auri_segment_collector_close(collector);
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for compacting");
    }
    *collector_out = collector;
    return AUR_OK;
}

void auri_segment_collector_close(auri_collector *collector) {
    if (collector == NULL) {
        return;
    }
    for (uint32_t at = 0; at < collector->candidate_count; at++) {
        free(collector->candidates[at].page);
    }
    free(collector->candidates);
    free(collector->page);
    free(collector->scratch);
    free(collector->image);
    free(collector);
}

aur_lsn auri_segment_collector_horizon(const auri_collector *collector) {
    return collector->horizon;
}

aur_lsn auri_segment_collector_lowest_root(const auri_collector *collector) {
    return collector->candidates[0].root; /* they are ascending */
}

static bool is_common(const auri_collector *collector, aur_lsn lsn) {
    for (uint32_t at = 0; at < collector->candidate_count; at++) {
        const aur_lsn root = collector->candidates[at].root;
        if (lsn > root || !aur_history_visible(collector->view->rewinds,
                                               collector->view->rewind_count, root, lsn)) {
            return false;
        }
    }
    return true;
}

aur_lsn auri_segment_collector_common(const auri_collector *collector) {
    const auri_view *view = collector->view;
    aur_lsn common = 0;
    /* Histories part where a rewind goes back to, or they do not part at all. */
    for (uint32_t at = 0; at < view->rewind_count; at++) {
        const aur_lsn lsn = view->rewinds[at].to;
        common = lsn > common && is_common(collector, lsn) ? lsn : common;
    }
    const aur_lsn lowest = auri_segment_collector_lowest_root(collector);
    return is_common(collector, lowest) ? lowest : common;
}

/* ---- Writing ---- */

static aur_status put_image(auri_collector *collector, auri_layer_writer *writer,
                            const uint8_t *page, aur_lsn lsn, aur_error *error) {
    const size_t length = auri_segment_encode_image(page, collector->page_bytes, collector->page_id,
                                                    lsn, collector->image);
    aur_record record;
    size_t used;
    const aur_status status = aur_record_decode(collector->image, length, &record, &used);
    collector->imaged = true;
    collector->chain_records = 0;
    collector->chain_bytes = 0;
    collector->newest_bytes = length;
    return status == AUR_OK
               ? auri_segment_layer_writer_add(writer, &record, collector->image, length, error)
               : status;
}

static aur_status put_record(auri_collector *collector, auri_layer_writer *writer,
                             const aur_record *record, const uint8_t *bytes, size_t length,
                             aur_error *error) {
    collector->imaged = (record->flags & AUR_RECORD_INIT) != 0;
    if (collector->imaged) {
        collector->chain_records = 0;
        collector->chain_bytes = 0;
        collector->newest_bytes = length;
    } else {
        collector->chain_records++;
        collector->chain_bytes += length;
    }
    aur_status status = auri_segment_layer_writer_add(writer, record, bytes, length, error);
    if (status == AUR_OK && (collector->chain_records > CHAIN_RECORDS_MAX ||
                             collector->chain_bytes > collector->page_bytes / CHAIN_PAGE_PARTS)) {
        status = put_image(collector, writer, collector->page, record->lsn, error);
    }
    return status;
}

/* No root keeps this version. */
static void forget_candidates(auri_collector *collector, aur_lsn lsn) {
    for (uint32_t at = 0; at < collector->candidate_count; at++) {
        candidate *each = &collector->candidates[at];
        each->found = each->found && each->lsn != lsn;
    }
}

/* Writes the versions below the horizon that some root sees, each once. */
static aur_status put_candidates(auri_collector *collector, auri_layer_writer *writer,
                                 aur_error *error) {
    aur_lsn written = 0;
    aur_status status = AUR_OK;
    while (status == AUR_OK) {
        const candidate *next = NULL;
        for (uint32_t at = 0; at < collector->candidate_count; at++) {
            const candidate *each = &collector->candidates[at];
            if (each->found && each->lsn > written && (next == NULL || each->lsn < next->lsn)) {
                next = each;
            }
        }
        if (next == NULL) {
            break;
        }
        const uint8_t *page = next->saved ? next->page : collector->page;
        if (aur_page_type_of(page) == AUR_PAGE_FREE && written == 0) {
            /* Of a page that is free and was nothing before, nothing is kept. */
            forget_candidates(collector, next->lsn);
            continue;
        }
        written = next->lsn;
        status = put_image(collector, writer, page, written, error);
    }
    return status;
}

/* ---- Versions ---- */

static bool is_seen(const auri_collector *collector, const candidate *each, aur_lsn lsn) {
    return aur_history_visible(collector->view->rewinds, collector->view->rewind_count, each->root,
                               lsn);
}

/* `page` is about to become version `lsn`: candidates that do not see it keep the old state. */
static void save_candidates(auri_collector *collector, aur_lsn lsn) {
    for (uint32_t at = 0; at < collector->candidate_count; at++) {
        candidate *each = &collector->candidates[at];
        if (each->found && !each->saved && each->lsn == collector->page_lsn &&
            !is_seen(collector, each, lsn)) {
            memcpy(each->page, collector->page, collector->page_bytes);
            each->saved = true;
        }
    }
}

/* Whether some root sees a version below the horizon. One that none sees belongs to a history that
 * is past, and what it builds on may be gone. */
static bool is_seen_by_any(const auri_collector *collector, aur_lsn lsn) {
    for (uint32_t at = 0; at < collector->candidate_count; at++) {
        if (is_seen(collector, &collector->candidates[at], lsn)) {
            return true;
        }
    }
    return false;
}

static void choose_candidates(auri_collector *collector, aur_lsn lsn) {
    for (uint32_t at = 0; at < collector->candidate_count; at++) {
        candidate *each = &collector->candidates[at];
        if (is_seen(collector, each, lsn)) {
            each->lsn = lsn;
            each->found = true;
            each->saved = false;
        }
    }
}

static bool is_kept(const auri_collector *collector, aur_lsn lsn) {
    for (uint32_t at = 0; at < collector->candidate_count; at++) {
        if (collector->candidates[at].found && collector->candidates[at].lsn == lsn) {
            return true;
        }
    }
    return lsn > collector->horizon;
}

static aur_status apply(auri_collector *collector, const aur_record *record, aur_error *error) {
    aur_status status = AUR_OK;
    const bool init = (record->flags & AUR_RECORD_INIT) != 0;
    if (!init && record->page_prev_lsn != collector->page_lsn) {
        status = auri_segment_build_page(collector->segment, record->page_id, record->page_prev_lsn,
                                         collector->page, error);
        if (status == AUR_NOT_FOUND) {
            status = aur_fail(error, AUR_ERR_CORRUPT,
                              "page %llu lacks the version at LSN %llu, which a later one needs",
                              (unsigned long long)record->page_id,
                              (unsigned long long)record->page_prev_lsn);
        }
    }
    if (status == AUR_OK && aur_page_apply(collector->page, collector->page_bytes, record,
                                           collector->scratch) != AUR_OK) {
        status = aur_fail(error, AUR_ERR_CORRUPT, "a redo record does not fit page %llu",
                          (unsigned long long)record->page_id);
        aur_error_locate(error, -1, -1, "a layer", UINT64_MAX, record->lsn);
    }
    collector->page_lsn = record->lsn;
    return status;
}

static void begin_page(auri_collector *collector, aur_page_id page_id) {
    collector->page_id = page_id;
    collector->in_page = true;
    collector->page_lsn = 0;
    collector->above = false;
    collector->imaged = false;
    collector->chain_records = 0;
    collector->chain_bytes = 0;
    collector->newest_bytes = 0;
    for (uint32_t at = 0; at < collector->candidate_count; at++) {
        collector->candidates[at].found = false;
        collector->candidates[at].saved = false;
    }
}

/* A version at or below the horizon: the roots that see it choose it. */
static aur_status add_below(auri_collector *collector, const aur_record *record, aur_error *error) {
    if (!is_seen_by_any(collector, record->lsn)) {
        return AUR_OK;
    }
    save_candidates(collector, record->lsn);
    const aur_status status = apply(collector, record, error);
    choose_candidates(collector, record->lsn);
    return status;
}

aur_status auri_segment_collector_add(auri_collector *collector, auri_layer_writer *writer,
                                      const aur_record *record, const uint8_t *bytes, size_t length,
                                      aur_error *error) {
    aur_status status = AUR_OK;
    if (record->page_id != collector->page_id || !collector->in_page) {
        begin_page(collector, record->page_id);
    }
    if (record->lsn == collector->page_lsn) {
        return AUR_OK; /* an image that was added to the record before it: made anew where wanted */
    }
    if (record->lsn <= collector->horizon) {
        return add_below(collector, record, error);
    }
    if (!collector->above) {
        collector->above = true;
        status = put_candidates(collector, writer, error);
    }
    if (status == AUR_OK) {
        status = apply(collector, record, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    const bool whole = (record->flags & AUR_RECORD_INIT) != 0;
    return whole || is_kept(collector, record->page_prev_lsn)
               ? put_record(collector, writer, record, bytes, length, error)
               : put_image(collector, writer, collector->page, record->lsn, error);
}

aur_status auri_segment_collector_end_page(auri_collector *collector, auri_layer_writer *writer,
                                           aur_error *error) {
    aur_status status = AUR_OK;
    if (!collector->in_page) {
        return AUR_OK;
    }
    if (!collector->above) {
        status = put_candidates(collector, writer, error);
    } else if (!collector->imaged) {
        status = put_image(collector, writer, collector->page, collector->page_lsn, error);
    }
    auri_segment_layer_writer_live(writer, collector->newest_bytes);
    collector->in_page = false;
    return status;
}
