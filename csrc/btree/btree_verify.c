/* The whole tree, and the whole page space, against their rules. */
#include "btree/btree_private.h"
#include "btree/page_file.h"

typedef struct verification {
    const aur_reader *reader;
    const aur_tree *tree;
    aur_tree_check *check;
    uint64_t records;    /* of this tree */
    aur_page_ref bitmap; /* the last one asked, pinned */
} verification;

/* The keys that a subtree may hold: [lower, upper). NULL: no bound. */
typedef struct bounds {
    const auri_key *lower;
    const auri_key *upper;
} bounds;

static aur_status pin_plain(const aur_reader *reader, aur_page_id page_id, enum aur_page_type type,
                            aur_page_ref *ref_out, aur_error *error) {
    const aur_status status = aur_buffer_pin(reader->buffer, page_id, reader->read_point,
                                             reader->cached_only, ref_out, error);
    if (status == AUR_NOT_FOUND) {
        return aur_fail(error, AUR_ERR_CORRUPT, "page %llu is missing",
                        (unsigned long long)page_id);
    }
    if (status == AUR_OK && aur_page_type_of(ref_out->page) != type) {
        const aur_status corrupt = auri_node_corrupt(ref_out->page, "has the wrong type", error);
        aur_buffer_unpin(reader->buffer, ref_out);
        return corrupt;
    }
    return status;
}

/* Enters a page as seen. False when it had been seen before, or lies beyond the map. */
static bool enter_seen(aur_tree_check *check, aur_page_id page_id) {
    if (check->seen == NULL) {
        return true;
    }
    if (page_id >= check->seen_bits) {
        return false;
    }
    const uint8_t bit = (uint8_t)(1u << page_id % 8);
    const bool is_new = (check->seen[page_id / 8] & bit) == 0;
    check->seen[page_id / 8] |= bit;
    return is_new;
}

/* A page of the tree: it must be marked in use, and be reached once. */
static aur_status claim(verification *run, aur_page_id page_id, aur_error *error) {
    const aur_reader *reader = run->reader;
    const uint32_t bits = auri_space_group_pages(reader->page_bytes);
    const aur_page_id bitmap_id = page_id / bits * bits + AUR_FIRST_BITMAP_PAGE;
    if (run->bitmap.page == NULL || aur_page_number(run->bitmap.page) != bitmap_id) {
        aur_buffer_unpin(reader->buffer, &run->bitmap);
        const aur_status status =
            pin_plain(reader, bitmap_id, AUR_PAGE_BITMAP, &run->bitmap, error);
        if (status != AUR_OK) {
            return status;
        }
    }
    if (!auri_bitmap_get(run->bitmap.page, (uint32_t)(page_id % bits))) {
        return aur_fail(error, AUR_ERR_CORRUPT, "page %llu is used by table %u but marked free",
                        (unsigned long long)page_id, run->tree->table);
    }
    if (!enter_seen(run->check, page_id)) {
        return aur_fail(error, AUR_ERR_CORRUPT, "page %llu is reached twice, or out of range",
                        (unsigned long long)page_id);
    }
    run->check->pages++;
    return AUR_OK;
}

/* Keys of a page ascend within its bounds. `previous`: of the slot before, NULL for the first. */
static aur_status check_key(const uint8_t *page, const auri_key *key, const auri_key *previous,
                            const bounds *within, aur_error *error) {
    if (previous != NULL && auri_key_compare(*previous, *key) >= 0) {
        return auri_node_corrupt(page, "keys are out of order", error);
    }
    if ((within->lower != NULL && auri_key_compare(*key, *within->lower) < 0) ||
        (within->upper != NULL && auri_key_compare(*key, *within->upper) >= 0)) {
        return auri_node_corrupt(page, "holds a key that belongs elsewhere", error);
    }
    return AUR_OK;
}

/* An auri_overflow_visit. */
static aur_status claim_overflow(void *context, const uint8_t *payload, uint32_t payload_bytes,
                                 aur_page_id page_id, aur_error *error) {
    (void)payload;
    (void)payload_bytes;
    return claim(context, page_id, error);
}

static aur_status verify_leaf(verification *run, const uint8_t *page, const bounds *within,
                              aur_error *error) {
    const uint32_t slots = aur_page_slots(page);
    auri_leaf_cell cell;
    auri_key previous;
    aur_status status = AUR_OK;
    for (uint32_t slot = 0; status == AUR_OK && slot < slots; slot++) {
        if (!auri_leaf_cell_decode(page, slot, &cell)) {
            return auri_node_corrupt(page, "a leaf cell breaks the format", error);
        }
        status = check_key(page, &cell.key, slot > 0 ? &previous : NULL, within, error);
        if (status == AUR_OK && cell.value == NULL) {
            status = auri_overflow_walk(run->reader, run->tree->table, cell.overflow,
                                        cell.value_bytes, claim_overflow, run, error);
        }
        previous = cell.key;
        run->records++;
    }
    return status;
}

static aur_status verify_node(verification *run, aur_page_id page_id, int level,
                              const bounds *within, aur_error *error);

static aur_status verify_inner(verification *run, const uint8_t *page, const bounds *within,
                               aur_error *error) {
    const uint32_t slots = aur_page_slots(page);
    auri_key lower;
    auri_key upper;
    aur_status status = AUR_OK;
    for (uint32_t position = 0; status == AUR_OK && position <= slots; position++) {
        bounds below = *within;
        aur_page_id child;
        if (position > 0) {
            lower = upper;
            below.lower = &lower;
        }
        if (position < slots) {
            if (!auri_inner_key(page, position, &upper)) {
                return auri_node_corrupt(page, "an inner cell breaks the format", error);
            }
            status = check_key(page, &upper, position > 0 ? &lower : NULL, within, error);
            below.upper = &upper;
        }
        if (status == AUR_OK) {
            status = auri_inner_child(page, position, &child, error);
        }
        if (status == AUR_OK) {
            status = verify_node(run, child, aur_page_level(page) - 1, &below, error);
        }
    }
    return status;
}

/* As deep as the tree, which is at most AUR_TREE_DEPTH_MAX. */
static aur_status verify_node(verification *run, aur_page_id page_id, int level,
                              const bounds *within, aur_error *error) {
    aur_page_ref ref = {NULL, NULL};
    aur_status status = claim(run, page_id, error);
    if (status == AUR_OK) {
        status = auri_node_pin(run->reader, run->tree, page_id, level, &ref, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    if (aur_page_level(ref.page) > 0) {
        status = verify_inner(run, ref.page, within, error);
    } else if (level != AURI_ROOT_LEVEL_ANY && aur_page_slots(ref.page) == 0) {
        status = auri_node_corrupt(ref.page, "an empty leaf was not unlinked", error);
    } else {
        status = verify_leaf(run, ref.page, within, error);
    }
    aur_buffer_unpin_once(run->reader->buffer, &ref);
    return status;
}

aur_status aur_tree_verify(const aur_reader *reader, const aur_tree *tree, aur_tree_check *check,
                           aur_error *error) {
    verification run = {.reader = reader, .tree = tree, .check = check};
    const bounds all = {NULL, NULL};
    uint64_t count;
    aur_status status = verify_node(&run, tree->root, AURI_ROOT_LEVEL_ANY, &all, error);
    aur_buffer_unpin(reader->buffer, &run.bitmap);
    if (status == AUR_OK) {
        status = aur_tree_count(reader, tree, &count, error);
    }
    if (status == AUR_OK && count != run.records) {
        status = aur_fail(error, AUR_ERR_CORRUPT, "table %u counts %llu records but holds %llu",
                          tree->table, (unsigned long long)count, (unsigned long long)run.records);
    }
    check->records += run.records;
    return status;
}

/* Claims the pages of the extent that a cursor stands on. */
static aur_status claim_extent(verification *run, aur_tree_cursor *cursor, aur_error *error) {
    const uint8_t *key;
    size_t key_bytes;
    aur_value value;
    aur_status status = aur_tree_cursor_entry(cursor, &key, &key_bytes, &value, error);
    if (status == AUR_OK && (key_bytes != AUR_EXTENT_KEY_BYTES || value.data == NULL ||
                             value.length != AUR_MAP_EXTENT_BYTES)) {
        return aur_fail(error, AUR_ERR_CORRUPT, "the map of page file %u breaks the format",
                        run->tree->table);
    }
    for (uint32_t at = 0; at < AUR_EXTENT_PAGES && status == AUR_OK; at++) {
        const aur_page_id first = aur_get64(value.data + AUR_MAP_EXTENT_FIRST_AT);
        status = claim(run, aur_space_page_of_run(run->reader->page_bytes, first, at), error);
    }
    return status;
}

aur_status aur_page_file_verify(const aur_reader *reader, const aur_tree *map,
                                aur_tree_check *check, aur_error *error) {
    static const uint8_t first_extent[AUR_EXTENT_KEY_BYTES] = {0};
    verification run = {.reader = reader, .tree = map, .check = check};
    aur_tree_cursor cursor;
    aur_tree_cursor_open(&cursor, reader, map);
    aur_status status =
        aur_tree_cursor_seek(&cursor, first_extent, sizeof first_extent, false, error);
    while (status == AUR_OK) {
        status = claim_extent(&run, &cursor, error);
        if (status == AUR_OK) {
            status = aur_tree_cursor_next(&cursor, error);
        }
    }
    aur_tree_cursor_close(&cursor);
    aur_buffer_unpin(reader->buffer, &run.bitmap);
    return status == AUR_NOT_FOUND ? AUR_OK : status;
}

/* What one bitmap says against what was seen. */
static aur_status compare_bitmap(const uint8_t *page, uint32_t bits, aur_page_id base,
                                 const aur_tree_check *check, aur_error *error) {
    for (uint32_t bit = 0; bit < bits; bit++) {
        const aur_page_id page_id = base + bit;
        const bool is_seen =
            page_id < check->seen_bits && (check->seen[page_id / 8] >> page_id % 8 & 1) != 0;
        if (auri_bitmap_get(page, bit) != is_seen) {
            return aur_fail(error, AUR_ERR_CORRUPT, "page %llu is %s", (unsigned long long)page_id,
                            is_seen ? "used but marked free" : "marked in use but not used");
        }
    }
    return AUR_OK;
}

aur_status aur_space_verify(const aur_reader *reader, aur_tree_check *check, aur_error *error) {
    const uint32_t bits = auri_space_group_pages(reader->page_bytes);
    aur_page_ref ref = {NULL, NULL};
    uint64_t groups = 0;
    aur_status status = pin_plain(reader, AUR_META_PAGE, AUR_PAGE_META, &ref, error);
    if (status == AUR_OK) {
        status = auri_meta_read(ref.page, reader->page_bytes, &groups, error);
        aur_buffer_unpin(reader->buffer, &ref);
    }
    if (status == AUR_OK && !enter_seen(check, AUR_META_PAGE)) {
        status = aur_fail(error, AUR_ERR_CORRUPT, "a tree uses the meta page");
    }
    for (uint64_t group = 0; status == AUR_OK && group < groups; group++) {
        const aur_page_id page_id = group * bits + AUR_FIRST_BITMAP_PAGE;
        status = pin_plain(reader, page_id, AUR_PAGE_BITMAP, &ref, error);
        if (status == AUR_OK && !enter_seen(check, page_id)) {
            status = aur_fail(error, AUR_ERR_CORRUPT,
                              "a tree uses bitmap page %llu, or the map of "
                              "seen pages ends before it",
                              (unsigned long long)page_id);
        }
        if (status == AUR_OK && check->seen != NULL) {
            status = compare_bitmap(ref.page, bits, group * bits, check, error);
        }
        aur_buffer_unpin(reader->buffer, &ref);
    }
    return status;
}
