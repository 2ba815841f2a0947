/* Point reads. */
#include "btree/btree_private.h"

/* Pins the leaf that holds or would hold `key`, and no other page; and tells where it is expected
 * there. */
static aur_status pin_leaf(const aur_reader *reader, const aur_tree *tree, auri_key key,
                           aur_page_ref *ref_out, double *part_out, aur_error *error) {
    auri_span span = AURI_SPAN_UNKNOWN;
    aur_status status =
        auri_node_pin(reader, tree, tree->root, AURI_ROOT_LEVEL_ANY, ref_out, error);
    while (status == AUR_OK && aur_page_level(ref_out->page) > 0) {
        uint32_t position;
        aur_page_id child;
        status = auri_inner_search(ref_out->page, key, false, &span, &position, error);
        if (status == AUR_OK) {
            status = auri_inner_child(ref_out->page, position, &child, error);
        }
        const int level = aur_page_level(ref_out->page) - 1;
        if (status == AUR_OK) {
            span = auri_inner_span(ref_out->page, position);
        }
        aur_buffer_unpin(reader->buffer, ref_out);
        if (status == AUR_OK) {
            status = auri_node_pin(reader, tree, child, level, ref_out, error);
        }
    }
    *part_out = auri_span_part(&span, key);
    return status;
}

void auri_value_hand_out(const aur_reader *reader, const aur_tree *tree, const auri_leaf_cell *cell,
                         aur_page_ref *ref, aur_value *value_out) {
    *value_out = (aur_value){
        .data = cell->value,
        .length = cell->value_bytes,
        .overflow = cell->overflow,
        .table = tree->table,
        .read_point = reader->read_point,
    };
    if (cell->value != NULL) {
        value_out->ref = *ref;
        *ref = (aur_page_ref){NULL, NULL};
    }
}

aur_status aur_tree_get(const aur_reader *reader, const aur_tree *tree, const uint8_t *key,
                        size_t key_bytes, aur_value *value_out, aur_error *error) {
    const auri_key wanted = {key, (uint32_t)key_bytes};
    aur_page_ref leaf = {NULL, NULL};
    auri_leaf_cell cell;
    double part;
    uint32_t slot;
    bool found;
    if (key_bytes > AUR_KEY_BYTES_MAX) {
        return AUR_NOT_FOUND;
    }
    aur_status status = pin_leaf(reader, tree, wanted, &leaf, &part, error);
    if (status != AUR_OK) {
        return status;
    }
    auri_leaf_prefetch(leaf.page, part);
    status = auri_leaf_search(leaf.page, wanted, part, &slot, &found, error);
    if (status == AUR_OK && !found) {
        status = AUR_NOT_FOUND;
    }
    if (status == AUR_OK && value_out != NULL) {
        if (auri_leaf_cell_decode(leaf.page, slot, &cell)) {
            auri_value_hand_out(reader, tree, &cell, &leaf, value_out);
        } else {
            status = auri_node_corrupt(leaf.page, "a leaf cell breaks the format", error);
        }
    }
    aur_buffer_unpin(reader->buffer, &leaf);
    return status;
}

void aur_tree_will_read(const aur_reader *reader, const aur_tree *tree, const uint8_t *key,
                        size_t key_bytes, aur_page_id *announced) {
    const auri_key wanted = {key, (uint32_t)key_bytes};
    aur_page_id page_id = tree->root;
    int level = AURI_ROOT_LEVEL_ANY;
    auri_span span = AURI_SPAN_UNKNOWN;
    aur_status status;
    do {
        aur_page_ref ref = {NULL, NULL};
        uint32_t position;
        status = auri_node_pin(reader, tree, page_id, level, &ref, NULL);
        if (status != AUR_OK) {
            return;
        }
        level = aur_page_level(ref.page) - 1;
        if (level >= 0) {
            status = auri_inner_search(ref.page, wanted, false, &span, &position, NULL);
        }
        if (level >= 0 && status == AUR_OK) {
            span = auri_inner_span(ref.page, position);
            status = auri_inner_child(ref.page, position, &page_id, NULL);
        }
        aur_buffer_unpin(reader->buffer, &ref);
    } while (status == AUR_OK && level > 0);
    if (status == AUR_OK && level == 0 && page_id != *announced) {
        *announced = page_id;
        aur_buffer_will_pin(reader->buffer, page_id);
    }
}

void aur_value_release(const aur_reader *reader, aur_value *value) {
    aur_buffer_unpin(reader->buffer, &value->ref);
}

aur_status aur_tree_count(const aur_reader *reader, const aur_tree *tree, uint64_t *count_out,
                          aur_error *error) {
    aur_page_ref root = {NULL, NULL};
    const aur_status status =
        auri_node_pin(reader, tree, tree->root, AURI_ROOT_LEVEL_ANY, &root, error);
    if (status == AUR_OK) {
        *count_out = aur_page_count(root.page);
        aur_buffer_unpin(reader->buffer, &root);
    }
    return status;
}

/* The key at which a page of the tree ends. */
typedef struct page_end {
    bool is_set; /* else with the tree */
    uint8_t *key;
    size_t key_bytes;
} page_end;

/* Steps from an inner node to the child that holds `key`. */
static aur_status step_down(const uint8_t *page, auri_key key, aur_page_id *child_out,
                            page_end *end, aur_error *error) {
    uint32_t position;
    aur_status status = auri_inner_search(page, key, false, &AURI_SPAN_UNKNOWN, &position, error);
    if (status == AUR_OK) {
        status = auri_inner_child(page, position, child_out, error);
    }
    if (status != AUR_OK || position == aur_page_slots(page)) {
        return status;
    }
    auri_key separator;
    if (!auri_inner_key(page, position, &separator) || auri_key_compare_page(key, separator) >= 0) {
        return auri_node_corrupt(page, "a separator is not above the keys before it", error);
    }
    memcpy(end->key, separator.bytes, separator.length);
    end->key_bytes = separator.length;
    end->is_set = true;
    return AUR_OK;
}

aur_status aur_tree_page_end(const aur_reader *reader, const aur_tree *tree, const uint8_t *key,
                             size_t key_bytes, uint8_t *end_out, size_t *end_bytes_out,
                             aur_error *error) {
    /* A longer key compares like its first bytes, as in a seek. */
    const auri_key wanted = {key, key_bytes <= AUR_KEY_BYTES_MAX ? (uint32_t)key_bytes
                                                                 : AUR_KEY_BYTES_MAX + 1};
    page_end end = {.is_set = false, .key = end_out};
    aur_page_id page_id = tree->root;
    int level = AURI_ROOT_LEVEL_ANY;
    aur_status status;
    do {
        aur_page_ref ref;
        status = auri_node_pin(reader, tree, page_id, level, &ref, error);
        if (status == AUR_OK) {
            level = aur_page_level(ref.page) - 1;
            if (level >= 0) {
                status = step_down(ref.page, wanted, &page_id, &end, error);
            }
            aur_buffer_unpin(reader->buffer, &ref);
        }
    } while (status == AUR_OK && level >= 0);
    if (status != AUR_OK && status != AUR_ERR_CORRUPT) {
        return status;
    }
    *end_bytes_out = end.key_bytes;
    return end.is_set ? AUR_OK : AUR_NOT_FOUND;
}
