/* Nodes: what a page of a tree must look like, its cells, and searching among them. Every cell is
 * checked when it is looked at, because a page that is sound for `format` may hold any cells. */
#include "base/prefetch.h"
#include "btree/btree_private.h"

enum {
    STEPS_PREFETCHED = 3,
    PREFETCH_AT_LEAST = 4,
    WINDOW_SLOTS = 4,       /* to either side of where a key is expected in a leaf */
    INNER_WINDOW_SLOTS = 3, /* ... in an inner node, at the second try */
    AIM_AT_LEAST = 32,      /* slots; in a smaller inner node one more probe is no better */
    ROOM_BYTES = 128,       /* asked for at the heap's end for a cell to come */
};

/* Separators whose numbers are so far apart tell the keys of a leaf from each other. */
#define FINE_ENOUGH (UINT64_C(1) << 20)

aur_status auri_node_corrupt(const uint8_t *page, const char *what, aur_error *error) {
    if (error != NULL) {
        error->lsn = aur_page_lsn(page);
    }
    return aur_fail(error, AUR_ERR_CORRUPT, "page %llu: %s",
                    (unsigned long long)aur_page_number(page), what);
}

bool auri_leaf_cell_decode(const uint8_t *page, uint32_t slot, auri_leaf_cell *cell_out) {
    if (!auri_leaf_key(page, slot, &cell_out->key)) {
        return false;
    }
    uint32_t length;
    const uint8_t *cell = aur_page_cell(page, slot, &length);
    const uint8_t *value = cell_out->key.bytes + cell_out->key.length;
    const uint32_t rest = length - AUR_LEAF_CELL_KEY_AT - cell_out->key.length;
    if ((aur_get16(cell) & AUR_LEAF_CELL_REFERENCE) == 0) {
        cell_out->value = value;
        cell_out->value_bytes = rest;
        cell_out->overflow = 0;
        return true;
    }
    if (rest != AUR_REFERENCE_BYTES) {
        return false;
    }
    cell_out->value = NULL;
    cell_out->value_bytes = aur_get64(value + AUR_REFERENCE_LENGTH_AT);
    cell_out->overflow = aur_get64(value + AUR_REFERENCE_PAGE_AT);
    return cell_out->value_bytes > 0 && cell_out->value_bytes <= AURI_VALUE_BYTES_MAX;
}

/* A key without its first bytes. */
static auri_key key_from(auri_key key, uint32_t from) {
    const uint32_t start = from < key.length ? from : key.length;
    return (auri_key){key.bytes + start, key.length - start};
}

static auri_span span_behind_common(auri_key low, auri_key high) {
    const uint32_t shorter = low.length < high.length ? low.length : high.length;
    uint32_t common = 0;
    while (common < shorter && low.bytes[common] == high.bytes[common]) {
        common++;
    }
    return (auri_span){common, auri_page_key_number(key_from(low, common)),
                       auri_page_key_number(key_from(high, common))};
}

auri_span auri_inner_span(const uint8_t *page, uint32_t position) {
    auri_key low;
    auri_key high;
    if (position == 0 || position >= aur_page_slots(page) ||
        !auri_inner_key(page, position - 1, &low) || !auri_inner_key(page, position, &high)) {
        return AURI_SPAN_UNKNOWN;
    }
    /* Mostly the first bytes tell enough. */
    auri_span span = {0, auri_page_key_number(low), auri_page_key_number(high)};
    if (span.to <= span.from || span.to - span.from < FINE_ENOUGH) {
        span = span_behind_common(low, high);
    }
    return span.to > span.from && span.to - span.from > 1 ? span : AURI_SPAN_UNKNOWN;
}

double auri_span_part(const auri_span *span, auri_key key) {
    const uint64_t number = auri_key_number(key_from(key, span->common));
    /* Halves, because signed numbers convert quicker. */
    return number >= span->from && number < span->to
               ? (double)(int64_t)((number - span->from) / 2) /
                     (double)(int64_t)((span->to - span->from) / 2)
               : AURI_NOWHERE;
}

/* Asks for the cells that the next three steps of a binary search in [low, high) may look at. They
 * lie scattered over a page that is often in no cache, so waiting for them one after the other
 * would be most of the time of a point read. */
static void prefetch_steps(const uint8_t *page, uint32_t low, uint32_t high) {
    const uint32_t half = (low + high) / 2;
    const uint32_t quarter = (low + half) / 2;
    const uint32_t three_quarters = (half + 1 + high) / 2;
    auri_prefetch_cell(page, half);
    auri_prefetch_cell(page, quarter);
    auri_prefetch_cell(page, three_quarters);
    auri_prefetch_cell(page, (low + quarter) / 2);
    auri_prefetch_cell(page, (quarter + 1 + half) / 2);
    auri_prefetch_cell(page, (half + 1 + three_quarters) / 2);
    auri_prefetch_cell(page, (three_quarters + 1 + high) / 2);
}

/* Compares with the cell of one slot in [low, high), and cuts off what it rules out. */
static bool cut_at(const uint8_t *page, auri_key key, uint64_t number, uint32_t slot, uint32_t *low,
                   uint32_t *high) {
    auri_key at;
    if (!auri_leaf_key(page, slot, &at)) {
        return false;
    }
    const int order = auri_key_order(at, auri_page_key_number(at), key, number);
    *low = order < 0 ? slot + 1 : order == 0 ? slot : *low;
    *high = order < 0 ? *high : order == 0 ? slot + 1 : slot;
    return true;
}

/* Precondition: slots > 0, part >= 0. */
static uint32_t slot_at(uint32_t slots, double part) {
    const uint32_t wanted = (uint32_t)(part * slots);
    return wanted < slots ? wanted : slots - 1;
}

/* The slots in which a key is expected. */
typedef struct window {
    uint32_t from;
    uint32_t guess;
    uint32_t to; /* the last one */
} window;

/* Precondition: guess < slots. */
static window window_around(uint32_t guess, uint32_t slots, uint32_t reach) {
    return (window){.from = guess > reach ? guess - reach : 0,
                    .guess = guess,
                    .to = slots - 1 - guess > reach ? guess + reach : slots - 1};
}

static void prefetch_window(const uint8_t *page, window look) {
    for (uint32_t slot = look.from; slot <= look.to; slot++) {
        auri_prefetch_cell(page, slot);
    }
}

/* So when the keys are spread evenly memory is waited for once. */
void auri_leaf_prefetch(const uint8_t *page, double part) {
    const uint32_t slots = aur_page_slots(page);
    if (part >= 0 && slots > 0) {
        prefetch_window(page, window_around(slot_at(slots, part), slots, WINDOW_SLOTS));
    }
}

void auri_leaf_prefetch_room(const uint8_t *page) {
    const uint32_t heap = aur_get32(page + AUR_PAGE_HEAP_AT);
    if (heap >= ROOM_BYTES) {
        aur_prefetch_for_write(page + heap - ROOM_BYTES, ROOM_BYTES);
    }
}

/* Looks first where the key is expected. When keys are not spread evenly two comparisons are lost.
 */
static bool narrow(const uint8_t *page, auri_key key, uint64_t number, double part, uint32_t *low,
                   uint32_t *high) {
    const window look = window_around(slot_at(*high, part), *high, WINDOW_SLOTS);
    bool sound = cut_at(page, key, number, look.guess, low, high);
    if (sound && *low > look.guess && look.to > look.guess) {
        sound = cut_at(page, key, number, look.to, low, high);
    } else if (sound && *high <= look.guess && look.from < look.guess) {
        sound = cut_at(page, key, number, look.from, low, high);
    }
    return sound;
}

aur_status auri_leaf_search(const uint8_t *page, auri_key key, double part, uint32_t *slot_out,
                            bool *found_out, aur_error *error) {
    const uint64_t number = auri_key_number(key);
    uint32_t low = 0;
    uint32_t high = aur_page_slots(page);
    bool sound = true;
    *found_out = false;
    if (part >= 0 && high > 0) {
        sound = narrow(page, key, number, part, &low, &high);
    }
    for (uint32_t step = 0; sound && low < high; step++) {
        const uint32_t middle = (low + high) / 2;
        auri_key at;
        if (step % STEPS_PREFETCHED == 0 && high - low > PREFETCH_AT_LEAST) {
            prefetch_steps(page, low, high);
        }
        sound = auri_leaf_key(page, middle, &at);
        const int order = sound ? auri_key_order(at, auri_page_key_number(at), key, number) : 0;
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
            if (order == 0) {
                *found_out = sound;
                low = middle;
            }
        }
    }
    *slot_out = low;
    return sound ? AUR_OK : auri_node_corrupt(page, "a leaf cell breaks the format", error);
}

/* A search in an inner node: counts the cells whose keys are at or below `key` (limit 0: below it).
 * They are at least `low` and at most `high`. */
typedef struct inner_search {
    const uint8_t *page;
    auri_key key;
    uint64_t number; /* of the key */
    int limit;
    uint32_t low;
    uint32_t high;
} inner_search;

/* Compares with the cell of one slot in [low, high); false: it is not sound. */
static bool inner_cut(inner_search *search, uint32_t slot, auri_key *at) {
    if (!auri_inner_key(search->page, slot, at)) {
        return false;
    }
    const uint64_t number = auri_page_key_number(*at);
    if (auri_key_order(*at, number, search->key, search->number) < search->limit) {
        search->low = slot + 1;
    } else {
        search->high = slot;
    }
    return true;
}

/* Looks where the key is expected, then once more from what was found there: a large node that is
 * in no cache makes each step of a binary search wait for memory. */
static bool inner_narrow(inner_search *search, const auri_span *span, double part) {
    const uint32_t slots = search->high;
    const uint32_t guess = slot_at(slots, part);
    auri_key at;
    if (!inner_cut(search, guess, &at)) {
        return false;
    }
    const double reached = auri_span_part(span, at);
    if (reached < 0 || search->low == search->high) {
        return true;
    }
    const double better = guess + (part - reached) * slots;
    const uint32_t second = better < search->low    ? search->low
                            : better < search->high ? (uint32_t)better
                                                    : search->high - 1;
    const window look = window_around(second, slots, INNER_WINDOW_SLOTS);
    prefetch_window(search->page, look);
    bool sound = inner_cut(search, second, &at);
    if (sound && search->low <= look.to && look.to < search->high) {
        sound = inner_cut(search, look.to, &at);
    } else if (sound && search->low <= look.from && look.from < search->high) {
        sound = inner_cut(search, look.from, &at);
    }
    return sound;
}

aur_status auri_inner_search(const uint8_t *page, auri_key key, bool before, const auri_span *span,
                             uint32_t *position_out, aur_error *error) {
    inner_search search = {.page = page,
                           .key = key,
                           .number = auri_key_number(key),
                           .limit = before ? 0 : 1,
                           .low = 0,
                           .high = aur_page_slots(page)};
    const double part = search.high >= AIM_AT_LEAST ? auri_span_part(span, key) : AURI_NOWHERE;
    bool sound = part < 0 || inner_narrow(&search, span, part);
    while (sound && search.low < search.high) {
        auri_key at;
        sound = inner_cut(&search, (search.low + search.high) / 2, &at);
    }
    *position_out = search.low;
    return sound ? AUR_OK : auri_node_corrupt(page, "an inner cell breaks the format", error);
}

/* Halves what is left to one key; false: the cell is not sound. The sign decides, by arithmetic,
 * which no compiler turns into a branch: half of those would be foreseen wrongly, and end what is
 * done ahead for other keys. A key alone is better off with branches, because what is foreseen
 * rightly is done ahead for it. */
static bool inner_step(auri_inner_place *place) {
    const uint32_t half = (place->left + 1) / 2;
    auri_key at;
    if (!auri_inner_key(place->page, place->position + half - 1, &at)) {
        return false;
    }
    const uint64_t number = auri_page_key_number(at);
    const uint64_t distance = number / 2 - place->number / 2;
    uint32_t counted = 0 - (uint32_t)(distance >> 63);
    if (distance == 0) {
        counted = auri_key_order(at, number, place->key, place->number) <= 0 ? ~0u : 0;
    }
    place->position += half & counted;
    place->left -= half;
    return true;
}

void auri_inner_search_many(auri_inner_place *places, size_t count) {
    bool is_done = false;
    while (!is_done) {
        is_done = true;
        for (size_t at = 0; at < count; at++) {
            auri_inner_place *place = &places[at];
            if (place->left > 0) {
                is_done = false;
                place->is_broken = !inner_step(place);
                place->left = place->is_broken ? 0 : place->left;
            }
        }
    }
}

aur_status auri_inner_child(const uint8_t *page, uint32_t position, aur_page_id *child_out,
                            aur_error *error) {
    auri_key key;
    if (position == 0) {
        *child_out = aur_page_link(page);
        return AUR_OK;
    }
    if (!auri_inner_key(page, position - 1, &key)) {
        return auri_node_corrupt(page, "an inner cell breaks the format", error);
    }
    *child_out = aur_get64(key.bytes - AUR_INNER_CELL_KEY_AT);
    return AUR_OK;
}

/* NULL when the page is a node of this tree at this level, else what is wrong with it. */
static const char *node_fault(const uint8_t *page, const aur_tree *tree, int level) {
    const uint8_t type = aur_page_type_of(page);
    if (type != AUR_PAGE_LEAF && type != AUR_PAGE_INNER) {
        return "not a page of a tree";
    }
    if (aur_page_owner(page) != tree->table) {
        return "belongs to another table";
    }
    if ((type == AUR_PAGE_LEAF) != (aur_page_level(page) == 0)) {
        return "its type does not fit its level";
    }
    if (level == AURI_ROOT_LEVEL_ANY) {
        return aur_page_level(page) < AUR_TREE_DEPTH_MAX ? NULL : "the tree is too deep";
    }
    return aur_page_level(page) == level ? NULL : "stands at the wrong level";
}

aur_status auri_node_pin(const aur_reader *reader, const aur_tree *tree, aur_page_id page_id,
                         int level, aur_page_ref *ref_out, aur_error *error) {
    const aur_status status = aur_buffer_pin(reader->buffer, page_id, reader->read_point,
                                             reader->cached_only, ref_out, error);
    if (status == AUR_NOT_FOUND) {
        return aur_fail(error, AUR_ERR_CORRUPT, "page %llu of table %u is missing",
                        (unsigned long long)page_id, tree->table);
    }
    if (status != AUR_OK) {
        return status;
    }
    const char *fault = node_fault(ref_out->page, tree, level);
    if (fault != NULL) {
        const aur_status corrupt = auri_node_corrupt(ref_out->page, fault, error);
        aur_buffer_unpin(reader->buffer, ref_out);
        return corrupt;
    }
    return AUR_OK;
}
