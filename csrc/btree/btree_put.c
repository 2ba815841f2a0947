/*
 * Put, and the splits that make room for it.
 *
 * A full leaf is split in the middle by bytes; at the right edge of the tree it is left full, and
 * the new key begins the next leaf, so that ascending loads fill their pages. The separator that
 * goes up is the shortest prefix of the right side's first key that is above the left side's last.
 * The root never moves: when it is full its cells go to a new child first.
 */
#include "btree/btree_private.h"

/* A separator on its way up; keys in pages move while it is used. */
typedef struct separator {
    uint32_t length;
    uint8_t bytes[AUR_KEY_BYTES_MAX];
} separator;

static void copy_key(separator *to, auri_key key) {
    to->length = key.length;
    if (key.length > 0) {
        memcpy(to->bytes, key.bytes, key.length);
    }
}

/* Shortest key that is above `left` and not above `right`. Precondition: left < right. */
static void shortest_between(auri_key left, auri_key right, separator *out) {
    uint32_t common = 0;
    while (common < left.length && common < right.length &&
           left.bytes[common] == right.bytes[common]) {
        common++;
    }
    right.length = common < right.length ? common + 1 : right.length;
    copy_key(out, right);
}

/* First cell of the right half: where the sides come closest to equal bytes, so that the larger one
 * is at most half a cell above the middle. Neither is empty. Precondition: at least two cells. */
static uint32_t middle_by_bytes(const uint8_t *page, uint32_t page_bytes) {
    const uint32_t used = aur_page_used_bytes(page, page_bytes);
    const uint32_t slots = aur_page_slots(page);
    uint32_t left = 0;
    for (uint32_t middle = 1; middle < slots; middle++) {
        uint32_t length;
        (void)aur_page_cell(page, middle - 1, &length);
        left += length + AUR_CELL_HEADER_BYTES + AUR_SLOT_BYTES;
        (void)aur_page_cell(page, middle, &length);
        /* With one more cell the left side would be further above than it is below now. */
        if (2 * left + length + AUR_CELL_HEADER_BYTES + AUR_SLOT_BYTES > used) {
            return middle;
        }
    }
    return slots - 1;
}

/* Moves the root's cells into a new child, so that the child can be split. */
static aur_status deepen(aur_writer *writer, const aur_tree *tree, auri_path *path,
                         aur_error *error) {
    aur_page_ref *root = &path->node[0].ref;
    const uint8_t level = aur_page_level(root->page);
    const enum aur_page_type type = level == 0 ? AUR_PAGE_LEAF : AUR_PAGE_INNER;
    aur_page_ref child = {NULL, NULL};
    aur_page_id child_id;
    if (path->depth == AUR_TREE_DEPTH_MAX) {
        return auri_node_corrupt(root->page, "the tree is too deep", error);
    }
    aur_status status = aur_space_allocate(writer->space, writer->mtr, 1, &child_id, error);
    if (status == AUR_OK) {
        status = aur_mtr_format(writer->mtr, child_id, type, level, tree->table,
                                aur_page_link(root->page), &child, error);
    }
    if (status == AUR_OK) {
        status = auri_node_append_cells(writer, root->page, 0, aur_page_slots(root->page), &child,
                                        error);
    }
    if (status == AUR_OK) {
        status =
            auri_node_reformat(writer, root, AUR_PAGE_INNER, (uint8_t)(level + 1), child_id, error);
    }
    if (status != AUR_OK) {
        aur_buffer_unpin(writer->mtr->buffer, &child);
        return status;
    }
    memmove(&path->node[1], &path->node[0], path->depth * sizeof path->node[0]);
    path->depth++;
    path->node[1].ref = child;
    path->node[0].position = 0;
    return AUR_OK;
}

/* Formats the right half of node `index`: the cells from `first` on move there. */
static aur_status move_right(aur_writer *writer, const aur_tree *tree, auri_path *path,
                             uint32_t index, uint32_t first, uint64_t link, aur_page_ref *right_out,
                             aur_page_id *right_id_out, aur_error *error) {
    const uint8_t *left = path->node[index].ref.page;
    const uint8_t level = aur_page_level(left);
    const enum aur_page_type type = level == 0 ? AUR_PAGE_LEAF : AUR_PAGE_INNER;
    aur_status status = aur_space_allocate(writer->space, writer->mtr, 1, right_id_out, error);
    if (status == AUR_OK) {
        status = aur_mtr_format(writer->mtr, *right_id_out, type, level, tree->table, link,
                                right_out, error);
    }
    if (status == AUR_OK) {
        status = auri_node_append_cells(writer, left, first, aur_page_slots(left) - first,
                                        right_out, error);
    }
    return status;
}

/* Goes on with the right half at node `index`, or lets go of it. */
static void choose_side(aur_writer *writer, auri_path *path, uint32_t index, aur_page_ref *right,
                        bool go_right, uint32_t moved) {
    if (go_right) {
        const aur_page_ref left = path->node[index].ref;
        path->node[index].ref = *right;
        path->node[index].position -= moved;
        path->node[index - 1].position++;
        *right = left;
    }
    aur_buffer_unpin(writer->mtr->buffer, right);
}

static aur_status insert_child(aur_writer *writer, const aur_tree *tree, auri_path *path,
                               uint32_t level, const separator *key, aur_page_id child,
                               aur_error *error);

/* Splits the inner node at `level`: one cell's key goes up, its child becomes the right half's
 * leftmost. Nodes are named by level because the path gets longer when the root is full. */
static aur_status split_inner(aur_writer *writer, const aur_tree *tree, auri_path *path,
                              uint32_t level, aur_error *error) {
    aur_status status = AUR_OK;
    aur_page_ref right = {NULL, NULL};
    aur_page_id right_id;
    aur_page_id link;
    separator up;
    auri_key key;
    if (path->depth - 1 == level) {
        status = deepen(writer, tree, path, error);
        if (status != AUR_OK) {
            return status;
        }
    }
    uint32_t index = path->depth - 1 - level;
    const uint8_t *page = path->node[index].ref.page;
    const uint32_t slots = aur_page_slots(page);
    if (slots < 2) {
        return auri_node_corrupt(page, "full with less than two cells", error);
    }
    const uint32_t middle = auri_path_is_rightmost(path, index + 1)
                                ? slots - 1
                                : middle_by_bytes(page, writer->mtr->page_bytes);
    if (!auri_inner_key(page, middle, &key)) {
        return auri_node_corrupt(page, "an inner cell breaks the format", error);
    }
    copy_key(&up, key);
    status = auri_inner_child(page, middle + 1, &link, error);
    if (status == AUR_OK) {
        status = move_right(writer, tree, path, index, middle + 1, link, &right, &right_id, error);
    }
    if (status == AUR_OK) {
        status =
            auri_node_delete_slots(writer, &path->node[index].ref, middle, slots - middle, error);
    }
    if (status == AUR_OK) {
        status = insert_child(writer, tree, path, level + 1, &up, right_id, error);
    }
    if (status != AUR_OK) {
        aur_buffer_unpin(writer->mtr->buffer, &right);
        return status;
    }
    index = path->depth - 1 - level;
    choose_side(writer, path, index, &right, path->node[index].position > middle, middle + 1);
    return AUR_OK;
}

/* Enters a new child right of the one that the path goes through at `level`. */
static aur_status insert_child(aur_writer *writer, const aur_tree *tree, auri_path *path,
                               uint32_t level, const separator *key, aur_page_id child,
                               aur_error *error) {
    uint8_t cell[AUR_INNER_CELL_BYTES_MAX];
    const uint32_t cell_bytes = AUR_INNER_CELL_KEY_AT + key->length;
    uint32_t index = path->depth - 1 - level;
    if (!auri_node_has_room(path->node[index].ref.page, writer->mtr->page_bytes, cell_bytes)) {
        const aur_status status = split_inner(writer, tree, path, level, error);
        if (status != AUR_OK) {
            return status;
        }
        index = path->depth - 1 - level;
    }
    aur_put64(cell + AUR_INNER_CELL_CHILD_AT, child);
    memcpy(cell + AUR_INNER_CELL_KEY_AT, key->bytes, key->length);
    return aur_mtr_apply(writer->mtr, &path->node[index].ref, AUR_OP_INSERT,
                         (uint16_t)path->node[index].position, cell, cell_bytes, error);
}

/* Where the leaf is cut for a new `key`, and the separator of the two sides. */
static aur_status plan_leaf_split(const auri_path *path, uint32_t page_bytes, auri_key key,
                                  uint32_t *middle_out, separator *up, aur_error *error) {
    const uint32_t index = path->depth - 1;
    const uint8_t *page = path->node[index].ref.page;
    const uint32_t slots = aur_page_slots(page);
    auri_key left;
    auri_key right = key;
    if (slots < 2) {
        return auri_node_corrupt(page, "full with less than two cells", error);
    }
    *middle_out = slots;
    if (!auri_path_is_rightmost(path, index + 1)) {
        *middle_out = middle_by_bytes(page, page_bytes);
        if (!auri_leaf_key(page, *middle_out, &right)) {
            return auri_node_corrupt(page, "a leaf cell breaks the format", error);
        }
    }
    if (!auri_leaf_key(page, *middle_out - 1, &left) || auri_key_compare(left, right) >= 0) {
        return auri_node_corrupt(page, "leaf cells are out of order", error);
    }
    shortest_between(left, right, up);
    return AUR_OK;
}

static aur_status split_leaf(aur_writer *writer, const aur_tree *tree, auri_path *path,
                             auri_key key, aur_error *error) {
    aur_page_ref right = {NULL, NULL};
    aur_page_id right_id;
    uint32_t middle = 0;
    separator up;
    aur_status status = AUR_OK;
    if (path->depth == 1) {
        status = deepen(writer, tree, path, error);
    }
    if (status == AUR_OK) {
        status = plan_leaf_split(path, writer->mtr->page_bytes, key, &middle, &up, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    const uint32_t slots = aur_page_slots(path->node[path->depth - 1].ref.page);
    status = move_right(writer, tree, path, path->depth - 1, middle, 0, &right, &right_id, error);
    if (status == AUR_OK) {
        status = auri_node_delete_slots(writer, &path->node[path->depth - 1].ref, middle,
                                        slots - middle, error);
    }
    if (status == AUR_OK) {
        status = insert_child(writer, tree, path, 1, &up, right_id, error);
    }
    if (status != AUR_OK) {
        aur_buffer_unpin(writer->mtr->buffer, &right);
        return status;
    }
    const bool go_right = auri_key_compare(key, (auri_key){up.bytes, up.length}) >= 0;
    choose_side(writer, path, path->depth - 1, &right, go_right, middle);
    return AUR_OK;
}

aur_status auri_leaf_make_room(aur_writer *writer, const aur_tree *tree, auri_path *path,
                               auri_key key, uint32_t cell_bytes, aur_error *error) {
    if (auri_node_has_room(path->node[path->depth - 1].ref.page, writer->mtr->page_bytes,
                           cell_bytes)) {
        return AUR_OK;
    }
    return split_leaf(writer, tree, path, key, error);
}

/* Builds the leaf cell in space->cell, writing a long value to overflow pages first. */
static aur_status build_cell(aur_writer *writer, const aur_tree *tree, auri_key key,
                             const uint8_t *value, uint64_t value_bytes, uint32_t *cell_bytes_out,
                             aur_error *error) {
    uint8_t *cell = writer->space->cell;
    uint8_t reference[AUR_REFERENCE_BYTES];
    aur_page_id first = 0;
    if (auri_is_inline(writer->mtr->page_bytes, key.length, value_bytes)) {
        auri_put_inline(cell, key, value, value_bytes);
        *cell_bytes_out = AUR_LEAF_CELL_KEY_AT + key.length + (uint32_t)value_bytes;
        return AUR_OK;
    }
    const aur_status status = auri_overflow_write(writer, tree, value, value_bytes, &first, error);
    if (status != AUR_OK) {
        return status;
    }
    aur_put64(reference + AUR_REFERENCE_LENGTH_AT, value_bytes);
    aur_put64(reference + AUR_REFERENCE_PAGE_AT, first);
    auri_put_inline(cell, key, reference, sizeof reference);
    aur_put16(cell + AUR_LEAF_CELL_HEAD_AT, (uint16_t)(key.length | AUR_LEAF_CELL_REFERENCE));
    *cell_bytes_out = AUR_LEAF_CELL_KEY_AT + key.length + AUR_REFERENCE_BYTES;
    return AUR_OK;
}

/* Number of equal bytes that both begin with. */
static uint32_t common_head(const uint8_t *left, const uint8_t *right, uint32_t length) {
    const uint32_t word = (uint32_t)sizeof(uint64_t);
    uint32_t at = 0;
    while (at + word <= length && aur_get64(left + at) == aur_get64(right + at)) {
        at += word;
    }
    while (at < length && left[at] == right[at]) {
        at++;
    }
    return at;
}

/* Number of equal bytes that both end with. */
static uint32_t common_tail(const uint8_t *left, const uint8_t *right, uint32_t length) {
    const uint32_t word = (uint32_t)sizeof(uint64_t);
    uint32_t rest = length;
    while (rest >= word && aur_get64(left + rest - word) == aur_get64(right + rest - word)) {
        rest -= word;
    }
    while (rest > 0 && left[rest - 1] == right[rest - 1]) {
        rest--;
    }
    return length - rest;
}

/* Overwrites the value of a cell, in place: the redo has what lies between the first byte that
 * changes and the last. */
static aur_status patch_value(aur_writer *writer, aur_page_ref *leaf, uint32_t slot,
                              const uint8_t *old, uint32_t key_bytes, uint32_t cell_bytes,
                              aur_error *error) {
    uint8_t *body = writer->space->body;
    const uint8_t *cell = writer->space->cell;
    uint32_t from = AUR_LEAF_CELL_KEY_AT + key_bytes;
    from += common_head(old + from, cell + from, cell_bytes - from);
    const uint32_t to = cell_bytes - common_tail(old + from, cell + from, cell_bytes - from);
    aur_put16(body, (uint16_t)from);
    memcpy(body + sizeof(uint16_t), cell + from, to - from);
    return aur_mtr_apply(writer->mtr, leaf, AUR_OP_PATCH_CELL, (uint16_t)slot, body,
                         (uint32_t)sizeof(uint16_t) + to - from, error);
}

/* Exchanges the cell that the path found for the one in space->cell, the shortest way. When the
 * leaf has no room for it the old cell is deleted and *is_done_out is false: the caller inserts. */
static aur_status exchange_cell(aur_writer *writer, auri_path *path, uint32_t key_bytes,
                                uint32_t cell_bytes, bool *is_done_out, aur_error *error) {
    aur_page_ref *leaf = &path->node[path->depth - 1].ref;
    const uint32_t slot = path->node[path->depth - 1].position;
    const uint8_t *cell = writer->space->cell;
    uint32_t old_bytes;
    const uint8_t *old = aur_page_cell(leaf->page, slot, &old_bytes);
    *is_done_out = true;
    if (old_bytes == cell_bytes && aur_get16(old) == aur_get16(cell)) {
        return patch_value(writer, leaf, slot, old, key_bytes, cell_bytes, error);
    }
    if (cell_bytes <= aur_page_free_bytes(leaf->page, writer->mtr->page_bytes) + old_bytes) {
        return aur_mtr_apply(writer->mtr, leaf, AUR_OP_REPLACE, (uint16_t)slot, cell, cell_bytes,
                             error);
    }
    *is_done_out = false;
    return auri_node_delete_slots(writer, leaf, slot, 1, error);
}

/* Frees the pages of the value that the path found. */
static aur_status free_old_value(aur_writer *writer, const auri_path *path, aur_error *error) {
    const uint8_t *page = path->node[path->depth - 1].ref.page;
    auri_leaf_cell old;
    if (!auri_leaf_cell_decode(page, path->node[path->depth - 1].position, &old)) {
        return auri_node_corrupt(page, "a leaf cell breaks the format", error);
    }
    return auri_overflow_free(writer, &old, error);
}

aur_status auri_path_put(aur_writer *writer, const aur_tree *tree, auri_path *path, bool found,
                         auri_key key, const uint8_t *value, uint64_t value_bytes,
                         aur_error *error) {
    uint32_t cell_bytes = 0;
    bool is_done = false;
    aur_status status = found ? free_old_value(writer, path, error) : AUR_OK;
    if (status == AUR_OK) {
        status = build_cell(writer, tree, key, value, value_bytes, &cell_bytes, error);
    }
    if (status == AUR_OK && found) {
        status = exchange_cell(writer, path, key.length, cell_bytes, &is_done, error);
    }
    if (status != AUR_OK || is_done) {
        return status;
    }
    status = auri_leaf_make_room(writer, tree, path, key, cell_bytes, error);
    if (status == AUR_OK) {
        status = aur_mtr_apply(writer->mtr, &path->node[path->depth - 1].ref, AUR_OP_INSERT,
                               (uint16_t)path->node[path->depth - 1].position, writer->space->cell,
                               cell_bytes, error);
    }
    return status;
}

aur_status auri_check_lengths(size_t key_bytes, uint64_t value_bytes, aur_error *error) {
    if (key_bytes <= AUR_KEY_BYTES_MAX && value_bytes <= AURI_VALUE_BYTES_MAX) {
        return AUR_OK;
    }
    return aur_fail(error, AUR_ERR_INVALID, "a key has up to %d bytes and a value up to 1 GiB",
                    AUR_KEY_BYTES_MAX);
}

aur_status aur_tree_put(aur_writer *writer, const aur_tree *tree, const uint8_t *key,
                        size_t key_bytes, const uint8_t *value, uint64_t value_bytes,
                        bool *inserted_out, aur_error *error) {
    const auri_key wanted = {key, (uint32_t)key_bytes};
    auri_path path;
    bool found = false;
    aur_status status = auri_check_lengths(key_bytes, value_bytes, error);
    if (status != AUR_OK) {
        return status;
    }
    status = auri_path_seek(writer, tree, wanted, &path, &found, error);
    if (status == AUR_OK) {
        status = auri_path_put(writer, tree, &path, found, wanted, value, value_bytes, error);
        *inserted_out = !found;
    }
    auri_path_release(writer, &path);
    return status;
}
