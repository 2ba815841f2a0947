/*
 * Point reads of several keys at once. All keys go down the tree level by level, and each step is
 * done for all of them before the next one: it asks for the memory that the next one looks at, so
 * the keys wait for it together.
 */
#include "base/prefetch.h"
#include "btree/btree_private.h"

/* One key on its way down. */
typedef struct traveller {
    aur_tree_lookup *lookup;
    auri_key key;
    uint64_t number;     /* of the key */
    aur_page_id page_id; /* where it goes next */
    const uint8_t *page; /* where it is */
    aur_page_ref ref;    /* its pin; none in an inner root, which is pinned for all */
    double part;         /* where in its leaf it is expected */
} traveller;

/* Sends those off whose keys can be in a tree. */
static size_t depart(const aur_tree *tree, aur_tree_lookup *lookups, size_t count,
                     const uint8_t *root, traveller *travellers) {
    size_t left = 0;
    for (size_t at = 0; at < count; at++) {
        aur_tree_lookup *lookup = &lookups[at];
        const auri_key key = {lookup->key, (uint32_t)lookup->key_bytes};
        lookup->status = AUR_WOULD_BLOCK;
        if (lookup->key_bytes > AUR_KEY_BYTES_MAX) {
            lookup->status = AUR_NOT_FOUND;
            continue;
        }
        travellers[left++] = (traveller){.lookup = lookup,
                                         .key = key,
                                         .number = auri_key_number(key),
                                         .page_id = tree->root,
                                         .page = root,
                                         .part = AURI_NOWHERE};
    }
    return left;
}

/* Chooses for each the child of its inner node, and begins to ask for it. Returns how many are
 * left: whoever has met a node that is not sound has to ask alone. */
static size_t leave(const aur_reader *reader, int level, traveller *travellers, size_t count) {
    auri_inner_place places[AUR_TREE_LOOKUPS_MAX];
    size_t left = 0;
    for (size_t at = 0; at < count; at++) {
        const traveller *one = &travellers[at];
        places[at] = (auri_inner_place){.page = one->page,
                                        .left = aur_page_slots(one->page),
                                        .key = one->key,
                                        .number = one->number};
    }
    auri_inner_search_many(places, count);
    for (size_t at = 0; at < count; at++) {
        traveller *one = &travellers[at];
        const uint32_t position = places[at].position;
        const bool is_sound = !places[at].is_broken &&
                              auri_inner_child(one->page, position, &one->page_id, NULL) == AUR_OK;
        if (is_sound) {
            aur_buffer_prefetch_way(reader->buffer, one->page_id);
        }
        if (is_sound && level == 1) {
            const auri_span span = auri_inner_span(one->page, position);
            one->part = auri_span_part(&span, one->key);
        }
        aur_buffer_unpin(reader->buffer, &one->ref);
        if (is_sound) {
            travellers[left++] = *one;
        }
    }
    return left;
}

/* Pins for each the page that it goes to. Returns how many are left: whoever finds no such page in
 * the pool has to ask alone. */
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
        one->page = one->ref.page;
        if (level == 0) {
            auri_leaf_prefetch(one->page, one->part);
        }
        travellers[left++] = *one;
    }
    return left;
}

/* The rest of a value: its first line has been looked at with the key. */
static void prefetch_value(const auri_leaf_cell *cell) {
    if (cell->value != NULL) {
        aur_prefetch(cell->value, (size_t)cell->value_bytes);
    }
}

/* Looks for the key in its leaf. Without a word in `status` it has to ask alone. */
static void search(const aur_reader *reader, const aur_tree *tree, traveller *one) {
    aur_tree_lookup *lookup = one->lookup;
    auri_leaf_cell cell;
    uint32_t slot;
    bool found;
    if (auri_leaf_search(one->page, one->key, one->part, &slot, &found, NULL) == AUR_OK) {
        if (!found) {
            lookup->status = AUR_NOT_FOUND;
        } else if (auri_leaf_cell_decode(one->page, slot, &cell)) {
            prefetch_value(&cell);
            auri_value_hand_out(reader, tree, &cell, &one->ref, &lookup->value);
            lookup->status = AUR_OK;
        }
    }
    aur_buffer_unpin(reader->buffer, &one->ref);
}

void aur_tree_get_many(const aur_reader *reader, const aur_tree *tree, aur_tree_lookup *lookups,
                       size_t count) {
    aur_reader cached = *reader;
    cached.cached_only = true;
    traveller travellers[AUR_TREE_LOOKUPS_MAX];
    aur_page_ref root = {NULL, NULL};
    const aur_status status =
        auri_node_pin(&cached, tree, tree->root, AURI_ROOT_LEVEL_ANY, &root, NULL);
    count = depart(tree, lookups, count, root.page, travellers);
    if (status != AUR_OK) {
        return;
    }
    for (int level = aur_page_level(root.page); level > 0; level--) {
        count = leave(&cached, level, travellers, count);
        count = arrive(&cached, tree, level - 1, travellers, count);
    }
    if (aur_page_level(root.page) == 0) {
        count = arrive(&cached, tree, 0, travellers, count); /* a pin for each value */
    }
    for (size_t at = 0; at < count; at++) {
        search(&cached, tree, &travellers[at]);
    }
    aur_buffer_unpin(cached.buffer, &root);
}
