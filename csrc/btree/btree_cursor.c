/*
 * Cursors. There are no sibling links: a cursor pins its path from the root and climbs it, so what
 * it sees is one read point's tree whatever the writer does meanwhile.
 *
 * A move that fails (I/O, AUR_WOULD_BLOCK) leaves the cursor where it was, so it can be repeated.
 */
#include "btree/btree_private.h"

/* A scan asks for cells this many steps ahead: after random inserts they lie in no order. */
enum { CELLS_AHEAD = 6 };

void aur_tree_cursor_open(aur_tree_cursor *cursor, const aur_reader *reader, const aur_tree *tree) {
    cursor->reader = *reader;
    cursor->tree = *tree;
    cursor->depth = 0;
}

/* Unpins the path from `depth` on down. */
static void cut(aur_tree_cursor *cursor, uint32_t depth) {
    while (cursor->depth > depth) {
        aur_buffer_unpin(cursor->reader.buffer, &cursor->path[--cursor->depth].ref);
    }
}

void aur_tree_cursor_close(aur_tree_cursor *cursor) { cut(cursor, 0); }

/* Where a descent goes. */
typedef struct descent {
    const auri_key *key; /* NULL: along the edge */
    bool backward;       /* to the last key below `key`, or along the right edge */
} descent;

/* Position in an inner page, or the entry of a leaf; *slot_out == slots: behind the last one. A
 * backward descent that finds nothing to the left in this leaf gives `slots` too. */
static aur_status choose(const uint8_t *page, const descent *to, uint32_t *slot_out,
                         aur_error *error) {
    const uint32_t slots = aur_page_slots(page);
    const bool is_leaf = aur_page_level(page) == 0;
    bool found;
    if (to->key == NULL) {
        *slot_out = to->backward ? slots : 0;
    } else {
        const aur_status status =
            is_leaf ? auri_leaf_search(page, *to->key, AURI_NOWHERE, slot_out, &found, error)
                    : auri_inner_search(page, *to->key, to->backward, &AURI_SPAN_UNKNOWN, slot_out,
                                        error);
        if (status != AUR_OK) {
            return status;
        }
    }
    if (is_leaf && to->backward) {
        *slot_out = *slot_out > 0 ? *slot_out - 1 : slots;
    }
    return AUR_OK;
}

/* Pins from `page_id` down to a leaf into `branch`. On failure nothing stays pinned. */
static aur_status descend(const aur_tree_cursor *cursor, aur_page_id page_id, int level,
                          const descent *to, aur_tree_cursor *branch, aur_error *error) {
    branch->reader = cursor->reader;
    branch->depth = 0;
    for (;;) {
        aur_page_ref *ref = &branch->path[branch->depth].ref;
        uint32_t *slot = &branch->path[branch->depth].slot;
        aur_status status =
            auri_node_pin(&cursor->reader, &cursor->tree, page_id, level, ref, error);
        if (status == AUR_OK) {
            branch->depth++;
            status = choose(ref->page, to, slot, error);
        }
        if (status == AUR_OK && aur_page_level(ref->page) == 0) {
            return AUR_OK;
        }
        if (status == AUR_OK) {
            level = aur_page_level(ref->page) - 1;
            status = auri_inner_child(ref->page, *slot, &page_id, error);
        }
        if (status != AUR_OK) {
            cut(branch, 0);
            return status;
        }
    }
}

/* Replaces the path below `depth` by `branch`, whose pins it takes over. */
static void graft(aur_tree_cursor *cursor, uint32_t depth, const aur_tree_cursor *branch) {
    cut(cursor, depth);
    for (uint32_t at = 0; at < branch->depth; at++) {
        cursor->path[cursor->depth++] = branch->path[at];
    }
}

static bool is_on_entry(const aur_tree_cursor *cursor) {
    const uint32_t leaf = cursor->depth - 1;
    return cursor->path[leaf].slot < aur_page_slots(cursor->path[leaf].ref.page);
}

/* Goes to the first entry of the next leaf, or the last one of the previous. At the end of the tree
 * the cursor is unpositioned: AUR_NOT_FOUND. */
static aur_status change_leaf(aur_tree_cursor *cursor, bool backward, aur_error *error) {
    const descent to = {.key = NULL, .backward = backward};
    aur_tree_cursor branch;
    do {
        uint32_t index = cursor->depth - 1;
        while (index > 0 && cursor->path[index - 1].slot ==
                                (backward ? 0 : aur_page_slots(cursor->path[index - 1].ref.page))) {
            index--;
        }
        if (index == 0) {
            cut(cursor, 0);
            return AUR_NOT_FOUND;
        }
        const uint8_t *parent = cursor->path[index - 1].ref.page;
        const uint32_t slot = cursor->path[index - 1].slot;
        const uint32_t wanted = backward ? slot - 1 : slot + 1;
        aur_page_id child;
        aur_status status = auri_inner_child(parent, wanted, &child, error);
        if (status == AUR_OK) {
            status = descend(cursor, child, aur_page_level(parent) - 1, &to, &branch, error);
        }
        if (status != AUR_OK) {
            return status;
        }
        cursor->path[index - 1].slot = wanted;
        graft(cursor, index, &branch);
    } while (!is_on_entry(cursor));
    return AUR_OK;
}

aur_status aur_tree_cursor_seek(aur_tree_cursor *cursor, const uint8_t *key, size_t key_bytes,
                                bool backward, aur_error *error) {
    /* Any longer key compares like its first bytes: it is above every key that it continues. */
    const auri_key wanted = {key, key_bytes <= AUR_KEY_BYTES_MAX ? (uint32_t)key_bytes
                                                                 : AUR_KEY_BYTES_MAX + 1};
    const descent to = {.key = key != NULL ? &wanted : NULL, .backward = backward};
    aur_tree_cursor branch;
    aur_status status =
        descend(cursor, cursor->tree.root, AURI_ROOT_LEVEL_ANY, &to, &branch, error);
    if (status != AUR_OK) {
        return status;
    }
    graft(cursor, 0, &branch);
    if (!is_on_entry(cursor)) {
        status = change_leaf(cursor, backward, error);
    }
    if (status != AUR_OK) {
        cut(cursor, 0); /* between two leaves there is no entry to stand on */
    }
    return status;
}

aur_status aur_tree_cursor_next(aur_tree_cursor *cursor, aur_error *error) {
    if (cursor->depth == 0) {
        return AUR_NOT_FOUND;
    }
    const uint32_t leaf = cursor->depth - 1;
    const uint8_t *page = cursor->path[leaf].ref.page;
    const uint32_t slots = aur_page_slots(page);
    const uint32_t slot = cursor->path[leaf].slot + 1;
    if (slot >= slots) {
        return change_leaf(cursor, false, error);
    }
    if (slot + CELLS_AHEAD < slots) {
        auri_prefetch_cell(page, slot + CELLS_AHEAD);
    }
    cursor->path[leaf].slot = slot;
    return AUR_OK;
}

aur_status aur_tree_cursor_previous(aur_tree_cursor *cursor, aur_error *error) {
    if (cursor->depth == 0) {
        return AUR_NOT_FOUND;
    }
    const uint32_t leaf = cursor->depth - 1;
    if (cursor->path[leaf].slot > 0) {
        const uint32_t slot = --cursor->path[leaf].slot;
        if (slot >= CELLS_AHEAD) {
            auri_prefetch_cell(cursor->path[leaf].ref.page, slot - CELLS_AHEAD);
        }
        return AUR_OK;
    }
    return change_leaf(cursor, true, error);
}

aur_status aur_tree_cursor_entry(aur_tree_cursor *cursor, const uint8_t **key_out,
                                 size_t *key_bytes_out, aur_value *value_out, aur_error *error) {
    if (cursor->depth == 0) {
        return AUR_NOT_FOUND;
    }
    const uint8_t *page = cursor->path[cursor->depth - 1].ref.page;
    auri_leaf_cell cell;
    if (!auri_leaf_cell_decode(page, cursor->path[cursor->depth - 1].slot, &cell)) {
        return auri_node_corrupt(page, "a leaf cell breaks the format", error);
    }
    *key_out = cell.key.bytes;
    *key_bytes_out = cell.key.length;
    if (value_out != NULL) {
        value_out->data = cell.value;
        value_out->length = cell.value_bytes;
        value_out->overflow = cell.overflow;
        value_out->table = cursor->tree.table;
        value_out->read_point = cursor->reader.read_point;
        value_out->ref = (aur_page_ref){NULL, NULL};
    }
    return AUR_OK;
}
