/*
 * Point reads of several keys at once. All keys go down the tree level by level, and each step is
 * done for all of them before the next one: it asks for the memory that the next one looks at, so
 * the keys wait for it together.
 */
#include "btree/btree_private.h"

enum { CACHE_LINE_BYTES = 64 };

/* One key on its way down. */
typedef struct traveller {
    aur_tree_lookup *lookup;
    auri_key key;
    aur_page_id page_id; /* where it goes next */
    aur_page_ref ref;    /* where it is; no pin: on its way, or given up */
    double expected;
} traveller;

/* Chooses the child of an inner node, and begins to ask for it. False: the node is not sound. */
static bool go_down(const aur_reader *reader, const uint8_t *page, traveller *one) {
    uint32_t position;
    if (auri_inner_search(page, one->key, false, &position, NULL) != AUR_OK ||
        auri_inner_child(page, position, &one->page_id, NULL) != AUR_OK) {
        return false;
    }
    aur_buffer_prefetch_way(reader->buffer, one->page_id);
    if (aur_page_level(page) == 1) {
        one->expected = auri_inner_expect(page, position, one->key);
    }
    return true;
}

/* Pins for each of the travellers the page that it goes to. Returns how many are left: whoever
 * finds no such page in the pool has to ask alone. */
static size_t arrive(const aur_reader *reader, const aur_tree *tree, int level,
                     traveller *travellers, size_t count) {
    size_t left = 0;
    for (size_t at = 0; at < count; at++) {
        aur_buffer_prefetch(reader->buffer, travellers[at].page_id);
    }
    for (size_t at = 0; at < count; at++) {
        traveller *one = &travellers[at];
        if (auri_node_pin(reader, tree, one->page_id, level, &one->ref, NULL) != AUR_OK) {
            continue;
        }
        if (level == 0) {
            auri_leaf_prefetch(one->ref.page, one->expected);
        }
        travellers[left++] = *one;
    }
    return left;
}

static size_t leave(const aur_reader *reader, traveller *travellers, size_t count) {
    size_t left = 0;
    for (size_t at = 0; at < count; at++) {
        traveller *one = &travellers[at];
        const bool is_sound = go_down(reader, one->ref.page, one);
        aur_buffer_unpin(reader->buffer, &one->ref);
        if (is_sound) {
            travellers[left++] = *one;
        }
    }
    return left;
}

/* The rest of a value: its first line has been looked at with the key. */
static void prefetch_value(const auri_leaf_cell *cell) {
    for (uint64_t at = 0; cell->value != NULL && at < cell->value_bytes; at += CACHE_LINE_BYTES) {
        __builtin_prefetch(cell->value + at);
    }
}

/* Looks for the key in its leaf. Without a word in `status` it has to ask alone. */
static void search(const aur_reader *reader, const aur_tree *tree, traveller *one) {
    aur_tree_lookup *lookup = one->lookup;
    auri_leaf_cell cell;
    uint32_t slot;
    bool found;
    if (auri_leaf_search(one->ref.page, one->key, one->expected, &slot, &found, NULL) == AUR_OK) {
        if (!found) {
            lookup->status = AUR_NOT_FOUND;
        } else if (auri_leaf_cell_decode(one->ref.page, slot, &cell)) {
            prefetch_value(&cell);
            auri_value_hand_out(reader, tree, &cell, &one->ref, &lookup->value);
            lookup->status = AUR_OK;
        }
    }
    aur_buffer_unpin(reader->buffer, &one->ref);
}

/* Sends those off whose keys can be in a tree. */
static size_t depart(const aur_tree *tree, aur_tree_lookup *lookups, size_t count,
                     traveller *travellers) {
    size_t left = 0;
    for (size_t at = 0; at < count; at++) {
        aur_tree_lookup *lookup = &lookups[at];
        lookup->status = AUR_WOULD_BLOCK;
        if (lookup->key_bytes > AUR_KEY_BYTES_MAX) {
            lookup->status = AUR_NOT_FOUND;
            continue;
        }
        travellers[left++] = (traveller){.lookup = lookup,
                                         .key = {lookup->key, (uint32_t)lookup->key_bytes},
                                         .page_id = tree->root,
                                         .expected = AURI_EXPECT_NOTHING};
    }
    return left;
}

void aur_tree_get_many(const aur_reader *reader, const aur_tree *tree, aur_tree_lookup *lookups,
                       size_t count) {
    aur_reader cached = *reader;
    cached.cached_only = true;
    traveller travellers[AUR_TREE_LOOKUPS_MAX];
    aur_page_ref root = {NULL, NULL};
    count = depart(tree, lookups, count, travellers);
    if (auri_node_pin(&cached, tree, tree->root, AURI_ROOT_LEVEL_ANY, &root, NULL) != AUR_OK) {
        return;
    }
    /* The root is pinned once for all, unless it is the leaf in which they find their values. */
    int level = aur_page_level(root.page);
    if (level > 0) {
        size_t left = 0;
        for (size_t at = 0; at < count; at++) {
            if (go_down(&cached, root.page, &travellers[at])) {
                travellers[left++] = travellers[at];
            }
        }
        count = left;
        level--;
    }
    aur_buffer_unpin(cached.buffer, &root);
    for (; level > 0; level--) {
        count = arrive(&cached, tree, level, travellers, count);
        count = leave(&cached, travellers, count);
    }
    count = arrive(&cached, tree, 0, travellers, count);
    for (size_t at = 0; at < count; at++) {
        search(&cached, tree, &travellers[at]);
    }
}
