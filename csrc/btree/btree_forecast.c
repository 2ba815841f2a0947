/*
 * How many pages a batch of puts can take, found by looking where they go.
 *
 * Keys come in ascending order, so the path to the leaf moves from left to right, and what goes
 * into one node is known when the path leaves it. Then its splits are bounded, and each of them
 * puts a separator into the node above.
 *
 * A node that has room for all that comes does not split. Else the first split may come with the
 * first cell. It leaves two nodes of about half the bytes, the larger one by half a cell, so each
 * further split takes new bytes that fill one of them up, but for a cell: half a page less one and
 * a half cells. At the right edge of the tree nodes are left full, and the next one begins with the
 * new cell: there it takes a page less two cells.
 *
 * Deletes are not forecast: a merge, which may fill a node and so bring a split, has freed a page.
 */
#include "btree/btree_private.h"

static uint64_t cell_footprint(uint64_t cell_bytes) {
    return cell_bytes + AUR_CELL_HEADER_BYTES + AUR_SLOT_BYTES;
}

/* The first cell may split the node; each further split takes `fill` new bytes, and no fewer cells
 * than `fill_cells`. */
static uint64_t splits_by(auri_forecast_inflow inflow, int64_t fill, uint64_t fill_cells) {
    if (inflow.cells == 0) {
        return 0;
    }
    const uint64_t by_cells = (inflow.cells - 1) / fill_cells;
    const uint64_t by_bytes = fill > 0 ? inflow.bytes / (uint64_t)fill : by_cells;
    return 1 + (by_bytes < by_cells ? by_bytes : by_cells);
}

static uint64_t splits_of(const auri_forecast_node *node, uint32_t page_bytes) {
    const uint64_t payload = auri_payload_bytes(page_bytes);
    const uint64_t cell = node->cell_max;
    uint64_t splits = 0;
    if (node->used + node->inside.bytes > payload) {
        /* What the larger side of a split leaves free, to be filled but for the cell that does not
         * fit any more. Cells are not much longer than a quarter of a page. */
        const uint64_t free = (payload - cell) / 2;
        splits = splits_by(node->inside, (int64_t)free - (int64_t)cell, 1 + free / cell);
    }
    if (node->used + node->inside.bytes + node->edge.bytes > payload) {
        splits += splits_by(node->edge, (int64_t)payload - 2 * (int64_t)cell, payload / cell);
    }
    return splits;
}

static void know_cell(auri_forecast_node *node, uint64_t cell_bytes, uint64_t key_bytes) {
    node->cell_max = cell_bytes > node->cell_max ? cell_bytes : node->cell_max;
    node->key_max = key_bytes > node->key_max ? key_bytes : node->key_max;
}

static void flow_in(auri_forecast_node *node, bool at_edge, uint64_t cells, uint64_t bytes) {
    auri_forecast_inflow *inflow = at_edge ? &node->edge : &node->inside;
    inflow->cells += cells;
    inflow->bytes += bytes;
}

/* The separators of so many splits of nodes that hold keys up to `key_max` long. */
static void flow_up(auri_forecast_node *node, bool at_edge, uint64_t splits, uint64_t key_max) {
    const uint64_t cell = cell_footprint(AUR_INNER_CELL_KEY_AT + key_max);
    know_cell(node, cell, key_max);
    flow_in(node, at_edge, splits, splits * cell);
}

/* The path leaves the node of this level. */
static void close_node(aur_tree_forecast *forecast, uint32_t level) {
    const auri_forecast_node *node = &forecast->node[level];
    const uint64_t splits = splits_of(node, forecast->reader.page_bytes);
    forecast->pages += splits;
    if (splits > 0 && level < forecast->height) {
        flow_up(&forecast->node[level + 1], node->at_edge, splits, node->key_max);
    }
}

/* A root that splits moves to a new child first, and the separators begin a new level. */
static void close_root(aur_tree_forecast *forecast) {
    const auri_forecast_node *old = &forecast->node[forecast->height];
    const uint64_t key_max = old->key_max;
    uint64_t splits = splits_of(old, forecast->reader.page_bytes);
    forecast->pages += splits;
    while (splits > 0) {
        auri_forecast_node root = {.at_edge = true};
        flow_up(&root, false, splits, key_max);
        splits = splits_of(&root, forecast->reader.page_bytes);
        forecast->pages += 1 + splits;
    }
}

/* The path has come to another node: what is known of it before anything flows in. */
static aur_status open_node(auri_forecast_node *node, const uint8_t *page, uint32_t page_bytes,
                            bool at_edge, aur_error *error) {
    *node = (auri_forecast_node){.page_id = aur_page_number(page),
                                 .used = aur_page_used_bytes(page, page_bytes),
                                 .at_edge = at_edge};
    const uint32_t slots = aur_page_slots(page);
    for (uint32_t slot = 0; slot < slots; slot++) {
        auri_key key;
        uint32_t length;
        if (!(aur_page_level(page) == 0 ? auri_leaf_key(page, slot, &key)
                                        : auri_inner_key(page, slot, &key))) {
            return auri_node_corrupt(page, "a cell breaks the format", error);
        }
        (void)aur_page_cell(page, slot, &length);
        know_cell(node, cell_footprint(length), key.length);
    }
    return AUR_OK;
}

void aur_tree_forecast_begin(aur_tree_forecast *forecast, const aur_reader *reader,
                             const aur_tree *tree) {
    *forecast = (aur_tree_forecast){.reader = *reader};
    forecast->is_new = tree == NULL;
    if (tree != NULL) {
        forecast->tree = *tree;
    } else {
        forecast->pages = 1;
        forecast->node[0].at_edge = true;
    }
}

/* Follows the key one level down; `ref` comes and goes pinned. */
static aur_status step_down(aur_tree_forecast *forecast, auri_key key, aur_page_ref *ref,
                            bool *at_edge, aur_error *error) {
    const int level = aur_page_level(ref->page) - 1;
    uint32_t position;
    aur_page_id child;
    aur_status status =
        auri_inner_search(ref->page, key, false, &AURI_SPAN_UNKNOWN, &position, error);
    if (status == AUR_OK) {
        status = auri_inner_child(ref->page, position, &child, error);
    }
    *at_edge = *at_edge && position == aur_page_slots(ref->page);
    aur_buffer_unpin(forecast->reader.buffer, ref);
    return status == AUR_OK
               ? auri_node_pin(&forecast->reader, &forecast->tree, child, level, ref, error)
               : status;
}

/* Moves the path to the leaf of `key` and pins that leaf. */
static aur_status move_path(aur_tree_forecast *forecast, auri_key key, aur_page_ref *leaf,
                            aur_error *error) {
    bool at_edge = true;
    bool has_left = !forecast->has_path;
    aur_status status = auri_node_pin(&forecast->reader, &forecast->tree, forecast->tree.root,
                                      AURI_ROOT_LEVEL_ANY, leaf, error);
    if (status == AUR_OK && has_left) {
        forecast->height = aur_page_level(leaf->page);
        forecast->has_path = true;
    }
    while (status == AUR_OK) {
        const uint32_t level = aur_page_level(leaf->page);
        auri_forecast_node *node = &forecast->node[level];
        if (!has_left && node->page_id != aur_page_number(leaf->page)) {
            for (uint32_t below = 0; below <= level; below++) {
                close_node(forecast, below);
            }
            has_left = true;
        }
        if (has_left) {
            status = open_node(node, leaf->page, forecast->reader.page_bytes, at_edge, error);
        }
        if (level == 0 || status != AUR_OK) {
            break;
        }
        status = step_down(forecast, key, leaf, &at_edge, error);
    }
    return status;
}

aur_status aur_tree_forecast_put(aur_tree_forecast *forecast, const uint8_t *key, size_t key_bytes,
                                 uint64_t value_bytes, aur_error *error) {
    const uint32_t page_bytes = forecast->reader.page_bytes;
    const bool is_inline = auri_is_inline(page_bytes, (uint32_t)key_bytes, value_bytes);
    const auri_key wanted = {key, (uint32_t)key_bytes};
    auri_forecast_node *leaf = &forecast->node[0];
    const uint64_t cell = cell_footprint(AUR_LEAF_CELL_KEY_AT + key_bytes +
                                         (is_inline ? value_bytes : AUR_REFERENCE_BYTES));
    uint64_t growth = cell;
    bool at_edge = true;
    if (!is_inline) {
        const uint64_t run = auri_overflow_pages(page_bytes, value_bytes);
        forecast->pages += run;
        forecast->has_runs |= run > 1;
    }
    if (!forecast->is_new) {
        aur_page_ref ref = {NULL, NULL};
        uint32_t slot = 0;
        bool found = false;
        aur_status status = move_path(forecast, wanted, &ref, error);
        if (status == AUR_OK) {
            status = auri_leaf_search(ref.page, wanted, AURI_NOWHERE, &slot, &found, error);
        }
        if (status == AUR_OK && found) {
            uint32_t old;
            (void)aur_page_cell(ref.page, slot, &old);
            growth = cell > cell_footprint(old) ? cell - cell_footprint(old) : 0;
        }
        at_edge = status == AUR_OK && leaf->at_edge && slot == aur_page_slots(ref.page);
        aur_buffer_unpin(forecast->reader.buffer, &ref);
        if (status != AUR_OK) {
            return status;
        }
    }
    know_cell(leaf, cell, key_bytes);
    flow_in(leaf, at_edge, growth > 0, growth);
    return AUR_OK;
}

uint64_t aur_tree_forecast_end(aur_tree_forecast *forecast) {
    if (forecast->is_new || forecast->has_path) {
        for (uint32_t level = 0; level < forecast->height; level++) {
            close_node(forecast, level);
        }
        close_root(forecast);
    }
    return forecast->pages;
}
