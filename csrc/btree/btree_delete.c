/*
 * Delete, and what keeps the tree from hollowing out.
 *
 * A node that falls under a quarter of its page is merged with a sibling under the same parent when
 * both fit in one page; one that is empty is unlinked. Then the same question is asked one level
 * up. A root with a single child takes its place, so that the height follows the contents.
 */
#include "btree/btree_private.h"

/* Takes the child at `position` out of an inner node that has another one. */
static aur_status remove_child(aur_writer *writer, aur_page_ref *parent, uint32_t position,
                               aur_error *error) {
    if (position > 0) {
        return auri_node_delete_slots(writer, parent, position - 1, 1, error);
    }
    aur_page_id second;
    uint8_t link[sizeof second];
    aur_status status = auri_inner_child(parent->page, 1, &second, error);
    if (status == AUR_OK) {
        aur_put64(link, second);
        status = aur_mtr_apply(writer->mtr, parent, AUR_OP_PATCH, AUR_PAGE_LINK_AT, link,
                               sizeof link, error);
    }
    return status == AUR_OK ? auri_node_delete_slots(writer, parent, 0, 1, error) : status;
}

/* Frees node `index`, which holds nothing any more, and every ancestor that had no other child. The
 * root becomes an empty leaf. *index_out: the node that has lost a child. */
static aur_status unlink_node(aur_writer *writer, auri_path *path, uint32_t index,
                              uint32_t *index_out, aur_error *error) {
    for (; index > 0; index--) {
        aur_page_ref *parent = &path->node[index - 1].ref;
        const aur_page_id page_id = aur_page_number(path->node[index].ref.page);
        aur_status status = aur_space_free(writer->space, writer->mtr, page_id, 1, error);
        if (status == AUR_OK && aur_page_slots(parent->page) > 0) {
            *index_out = index - 1;
            return remove_child(writer, parent, path->node[index - 1].position, error);
        }
        if (status != AUR_OK) {
            return status;
        }
    }
    *index_out = 0;
    return auri_node_reformat(writer, &path->node[0].ref, AUR_PAGE_LEAF, 0, 0, error);
}

/* True iff the contents of two siblings, and for inner ones the separator between them, fit in one
 * page. */
static bool fit_together(const uint8_t *left, const uint8_t *right, uint32_t page_bytes,
                         auri_key between) {
    uint32_t needed = aur_page_used_bytes(right, page_bytes);
    if (aur_page_level(left) > 0) {
        needed += AUR_INNER_CELL_KEY_AT + between.length + AUR_CELL_HEADER_BYTES + AUR_SLOT_BYTES;
    }
    return needed <= aur_page_free_bytes(left, page_bytes);
}

/* Moves everything from `right` to `left`, takes `right` out of `parent` and frees it.
 * `position` is that of the right child. */
static aur_status merge(aur_writer *writer, aur_page_ref *parent, uint32_t position,
                        auri_key between, aur_page_ref *left, const uint8_t *right,
                        aur_error *error) {
    aur_status status = AUR_OK;
    if (aur_page_level(right) > 0) {
        uint8_t cell[AUR_INNER_CELL_BYTES_MAX];
        aur_put64(cell + AUR_INNER_CELL_CHILD_AT, aur_page_link(right));
        memcpy(cell + AUR_INNER_CELL_KEY_AT, between.bytes, between.length);
        status =
            aur_mtr_apply(writer->mtr, left, AUR_OP_INSERT, (uint16_t)aur_page_slots(left->page),
                          cell, AUR_INNER_CELL_KEY_AT + between.length, error);
    }
    if (status == AUR_OK) {
        status = auri_node_append_cells(writer, right, 0, aur_page_slots(right), left, error);
    }
    if (status == AUR_OK) {
        status = auri_node_delete_slots(writer, parent, position - 1, 1, error);
    }
    if (status == AUR_OK) {
        status = aur_space_free(writer->space, writer->mtr, aur_page_number(right), 1, error);
    }
    return status;
}

/* Merges node `index` with its right sibling, or with its left one if it is the last child. */
static aur_status try_merge(aur_writer *writer, const aur_tree *tree, auri_path *path,
                            uint32_t index, bool *merged_out, aur_error *error) {
    const aur_reader reader = auri_head_reader(writer->mtr);
    aur_page_ref *parent = &path->node[index - 1].ref;
    aur_page_ref *node = &path->node[index].ref;
    const uint32_t position = path->node[index - 1].position;
    const bool is_last = position == aur_page_slots(parent->page);
    const uint32_t right_position = is_last ? position : position + 1;
    aur_page_ref sibling = {NULL, NULL};
    auri_key between;
    aur_page_id sibling_id;
    *merged_out = false;
    if (aur_page_slots(parent->page) == 0) {
        return AUR_OK;
    }
    if (!auri_inner_key(parent->page, right_position - 1, &between)) {
        return auri_node_corrupt(parent->page, "an inner cell breaks the format", error);
    }
    aur_status status =
        auri_inner_child(parent->page, is_last ? position - 1 : position + 1, &sibling_id, error);
    if (status == AUR_OK) {
        status =
            auri_node_pin(&reader, tree, sibling_id, aur_page_level(node->page), &sibling, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    aur_page_ref *left = is_last ? &sibling : node;
    aur_page_ref *right = is_last ? node : &sibling;
    if (fit_together(left->page, right->page, writer->mtr->page_bytes, between)) {
        *merged_out = true;
        status = merge(writer, parent, right_position, between, left, right->page, error);
    }
    aur_buffer_unpin(writer->mtr->buffer, &sibling);
    return status;
}

/* Puts the root's only child in its place, as long as it has only one. */
static aur_status flatten(aur_writer *writer, const aur_tree *tree, aur_page_ref *root,
                          aur_error *error) {
    const aur_reader reader = auri_head_reader(writer->mtr);
    aur_status status = AUR_OK;
    while (status == AUR_OK && aur_page_level(root->page) > 0 && aur_page_slots(root->page) == 0) {
        const aur_page_id child_id = aur_page_link(root->page);
        const uint8_t level = (uint8_t)(aur_page_level(root->page) - 1);
        aur_page_ref child = {NULL, NULL};
        status = auri_node_pin(&reader, tree, child_id, level, &child, error);
        if (status == AUR_OK) {
            status = auri_node_reformat(writer, root, level == 0 ? AUR_PAGE_LEAF : AUR_PAGE_INNER,
                                        level, aur_page_link(child.page), error);
        }
        if (status == AUR_OK) {
            status = auri_node_append_cells(writer, child.page, 0, aur_page_slots(child.page), root,
                                            error);
        }
        aur_buffer_unpin(writer->mtr->buffer, &child);
        if (status == AUR_OK) {
            status = aur_space_free(writer->space, writer->mtr, child_id, 1, error);
        }
    }
    return status;
}

aur_status auri_path_shrink(aur_writer *writer, const aur_tree *tree, auri_path *path,
                            aur_error *error) {
    const uint32_t page_bytes = writer->mtr->page_bytes;
    uint32_t index = path->depth - 1;
    aur_status status = AUR_OK;
    bool go_on = true;
    if (index > 0 && aur_page_slots(path->node[index].ref.page) == 0) {
        status = unlink_node(writer, path, index, &index, error);
    }
    while (status == AUR_OK && go_on && index > 0) {
        go_on = aur_page_used_bytes(path->node[index].ref.page, page_bytes) <
                auri_payload_bytes(page_bytes) / 4;
        if (go_on) {
            status = try_merge(writer, tree, path, index, &go_on, error);
            index--;
        }
    }
    return status == AUR_OK ? flatten(writer, tree, &path->node[0].ref, error) : status;
}

static aur_status delete_at(aur_writer *writer, const aur_tree *tree, auri_path *path,
                            aur_error *error) {
    aur_page_ref *leaf = &path->node[path->depth - 1].ref;
    const uint32_t slot = path->node[path->depth - 1].position;
    auri_leaf_cell cell;
    if (!auri_leaf_cell_decode(leaf->page, slot, &cell)) {
        return auri_node_corrupt(leaf->page, "a leaf cell breaks the format", error);
    }
    aur_status status = auri_overflow_free(writer, &cell, error);
    if (status == AUR_OK) {
        status = auri_node_delete_slots(writer, leaf, slot, 1, error);
    }
    return status == AUR_OK ? auri_path_shrink(writer, tree, path, error) : status;
}

aur_status aur_tree_delete(aur_writer *writer, const aur_tree *tree, const uint8_t *key,
                           size_t key_bytes, aur_error *error) {
    const auri_key wanted = {key, (uint32_t)key_bytes};
    auri_path path;
    bool found = false;
    if (key_bytes > AUR_KEY_BYTES_MAX) {
        return AUR_NOT_FOUND;
    }
    aur_status status = auri_path_seek(writer, tree, wanted, &path, &found, error);
    if (status == AUR_OK) {
        status = found ? delete_at(writer, tree, &path, error) : AUR_NOT_FOUND;
    }
    auri_path_release(writer, &path);
    return status;
}
