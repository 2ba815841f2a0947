/*
 * Finds the edits between two pages. First the runs of bytes that differ; then, in the longer ones,
 * stretches that stood elsewhere in the page before. Moves come first in the result, each from
 * bytes that no move before it has changed, so that all of them copy what was there before; writes
 * follow and put the rest in place.
 */
#include <string.h>

#include "format/page_edit.h"

enum {
    GAP_BYTES = 8,       /* equal bytes between two runs that are cheaper to write than to skip */
    MOVE_BYTES_MIN = 16, /* a shorter stretch is written */
    RUNS_MAX = 512,      /* with more of them an image is shorter */
    MOVES_MAX = 24,
    ANCHOR_BYTES = 12,
    WORD_BYTES = 8,
    ANCHORED_BYTES_MIN = 128, /* a shorter run is not worth a search of the whole page */
    ANCHORS_MAX = 12,         /* searches of the whole page */
};

typedef struct run {
    uint32_t from;
    uint32_t to;
} run;

typedef struct move {
    run to;
    uint32_t from;
} move;

typedef struct diff {
    const uint8_t *before;
    const uint8_t *after;
    uint32_t page_bytes;
    uint32_t run_count;
    uint32_t move_count;
    uint32_t anchors;
    int32_t distance; /* of the last move: the next one often goes as far */
    run runs[RUNS_MAX];
    move moves[MOVES_MAX];
} diff;

/* First offset from `at` on where the pages differ; page_bytes when they do not. */
static uint32_t next_difference(const diff *pages, uint32_t at) {
    while (at % sizeof(uint64_t) != 0 && at < pages->page_bytes &&
           pages->before[at] == pages->after[at]) {
        at++;
    }
    if (at % sizeof(uint64_t) == 0) {
        while (at < pages->page_bytes &&
               aur_get64(pages->before + at) == aur_get64(pages->after + at)) {
            at += (uint32_t)sizeof(uint64_t);
        }
        while (at < pages->page_bytes && pages->before[at] == pages->after[at]) {
            at++;
        }
    }
    return at;
}

static bool add_run(diff *pages, uint32_t from, uint32_t to) {
    if (pages->run_count == RUNS_MAX) {
        return false;
    }
    pages->runs[pages->run_count++] = (run){from, to};
    return true;
}

static bool find_runs(diff *pages) {
    uint32_t at = next_difference(pages, AUR_PAGE_BODY_AT);
    while (at < pages->page_bytes) {
        const uint32_t from = at;
        uint32_t to = at + 1;
        for (at = to; at < pages->page_bytes && at - to < GAP_BYTES; at++) {
            if (pages->before[at] != pages->after[at]) {
                to = at + 1;
            }
        }
        if (!add_run(pages, from, to)) {
            return false;
        }
        at = next_difference(pages, at);
    }
    return true;
}

/* The longest stretch of `within` whose bytes stood `distance` bytes before it. */
static run longest_match(const diff *pages, run within, int32_t distance) {
    run longest = {within.from, within.from};
    const int64_t first = (int64_t)AUR_PAGE_BODY_AT + distance;
    const int64_t last = (int64_t)pages->page_bytes + distance;
    uint32_t at = within.from < first ? (uint32_t)first : within.from;
    const uint32_t end = within.to > last ? (uint32_t)last : within.to;
    while (at < end) {
        const uint32_t from = at;
        while (at < end && pages->after[at] == pages->before[(int64_t)at - distance]) {
            at++;
        }
        if (at - from > longest.to - longest.from) {
            longest = (run){from, at};
        }
        at++;
    }
    return longest;
}

/* True iff no move so far writes into the bytes that this one would read. */
static bool reads_the_past(const diff *pages, uint32_t from, uint32_t length) {
    for (uint32_t at = 0; at < pages->move_count; at++) {
        const run *to = &pages->moves[at].to;
        if (from < to->to && to->from < from + length) {
            return false;
        }
    }
    return true;
}

/* Whether the bytes in the middle of a run stood `distance` bytes before: if a good part of it has
 * moved, they have. */
static bool is_likely(const diff *pages, run within, int32_t distance) {
    const int64_t middle = within.from + (within.to - within.from) / 2 - WORD_BYTES / 2;
    const int64_t from = middle - distance;
    return distance != 0 && from >= AUR_PAGE_BODY_AT && from + WORD_BYTES <= pages->page_bytes &&
           aur_get64(pages->after + middle) == aur_get64(pages->before + from);
}

static void try_distance(const diff *pages, run within, int32_t distance, move *best) {
    if (!is_likely(pages, within, distance)) {
        return;
    }
    const run found = longest_match(pages, within, distance);
    const uint32_t length = found.to - found.from;
    const uint32_t from = (uint32_t)((int64_t)found.from - distance);
    if (length >= MOVE_BYTES_MIN && length > best->to.to - best->to.from &&
        reads_the_past(pages, from, length)) {
        *best = (move){found, from};
    }
}

/* Where the bytes in the middle of a run stood before; 0: nowhere else. */
static int32_t anchored_distance(diff *pages, run within) {
    const uint32_t middle = within.from + (within.to - within.from - ANCHOR_BYTES) / 2;
    const uint8_t *payload = pages->before + AUR_PAGE_BODY_AT;
    if (pages->anchors == ANCHORS_MAX) {
        return 0;
    }
    pages->anchors++;
    const uint8_t *found =
        memmem(payload, pages->page_bytes - AUR_PAGE_BODY_AT, pages->after + middle, ANCHOR_BYTES);
    return found == NULL ? 0 : (int32_t)(middle - (uint32_t)(found - pages->before));
}

/* The best move into a run: pointers move by their own size, cells by any. */
static bool find_move(diff *pages, run within, move *best) {
    static const int32_t pointer_distances[] = {2, -2, 4, -4};
    *best = (move){{within.from, within.from}, 0};
    if (within.to - within.from < MOVE_BYTES_MIN || pages->move_count == MOVES_MAX) {
        return false;
    }
    try_distance(pages, within, pages->distance, best);
    for (size_t at = 0; at < sizeof pointer_distances / sizeof pointer_distances[0]; at++) {
        try_distance(pages, within, pointer_distances[at], best);
    }
    if (within.to - within.from >= ANCHORED_BYTES_MIN && best->to.to == best->to.from) {
        try_distance(pages, within, anchored_distance(pages, within), best);
    }
    return best->to.to > best->to.from;
}

/* Takes moves out of the runs; what is left of a run stays, in two parts at most. */
static bool find_moves(diff *pages) {
    uint32_t at = 0;
    while (at < pages->run_count) {
        const run whole = pages->runs[at];
        move best;
        if (!find_move(pages, whole, &best)) {
            at++;
            continue;
        }
        pages->distance = (int32_t)(best.to.from - best.from);
        pages->moves[pages->move_count++] = best;
        pages->runs[at] = (run){whole.from, best.to.from};
        if (best.to.to < whole.to && !add_run(pages, best.to.to, whole.to)) {
            return false;
        }
    }
    return true;
}

static uint32_t put_head(uint8_t *out, enum aur_edit_kind kind, run to) {
    out[AUR_EDIT_KIND_AT] = (uint8_t)kind;
    aur_put16(out + AUR_EDIT_TO_AT, (uint16_t)to.from);
    aur_put16(out + AUR_EDIT_LENGTH_AT, (uint16_t)(to.to - to.from));
    return AUR_EDIT_BODY_AT;
}

static uint32_t encoded_bytes(const diff *pages) {
    uint32_t bytes = pages->move_count * (AUR_EDIT_BODY_AT + (uint32_t)sizeof(uint16_t));
    for (uint32_t at = 0; at < pages->run_count; at++) {
        const uint32_t length = pages->runs[at].to - pages->runs[at].from;
        bytes += length == 0 ? 0 : AUR_EDIT_BODY_AT + length;
    }
    return bytes;
}

static void encode(const diff *pages, uint8_t *out) {
    for (uint32_t at = 0; at < pages->move_count; at++) {
        out += put_head(out, AUR_EDIT_MOVE, pages->moves[at].to);
        aur_put16(out, (uint16_t)pages->moves[at].from);
        out += sizeof(uint16_t);
    }
    for (uint32_t at = 0; at < pages->run_count; at++) {
        const run *part = &pages->runs[at];
        if (part->to > part->from) {
            out += put_head(out, AUR_EDIT_WRITE, *part);
            memcpy(out, pages->after + part->from, part->to - part->from);
            out += part->to - part->from;
        }
    }
}

uint32_t aur_page_diff(const uint8_t *before, const uint8_t *after, uint32_t page_bytes,
                       uint8_t *out, uint32_t capacity) {
    diff pages;
    pages.before = before;
    pages.after = after;
    pages.page_bytes = page_bytes;
    pages.run_count = 0;
    pages.move_count = 0;
    pages.anchors = 0;
    pages.distance = 0;
    if (!find_runs(&pages) || !find_moves(&pages)) {
        return UINT32_MAX;
    }
    const uint32_t bytes = encoded_bytes(&pages);
    if (bytes > capacity) {
        return UINT32_MAX;
    }
    encode(&pages, out);
    return bytes;
}
