/* The writer's path through a tree, and the changes of nodes that put and delete share. */
#include "btree/btree_private.h"

/* Goes on from the last node of the path to the leaf. No deeper than the root's level, which is
 * below AUR_TREE_DEPTH_MAX: levels go down by one a step. */
static aur_status descend(aur_writer *writer, const aur_tree *tree, auri_key key, auri_path *path,
                          bool *found_out, aur_error *error) {
    const aur_reader reader = auri_head_reader(writer->mtr);
    aur_status status = AUR_OK;
    while (status == AUR_OK) {
        const uint32_t last = path->depth - 1;
        const uint8_t *page = path->node[last].ref.page;
        uint32_t *position = &path->node[last].position;
        const int level = aur_page_level(page) - 1;
        const auri_span span =
            last > 0 ? auri_inner_span(path->node[last - 1].ref.page, path->node[last - 1].position)
                     : AURI_SPAN_UNKNOWN;
        aur_page_id child = 0;
        if (level < 0) {
            const double part = auri_span_part(&span, key);
            auri_leaf_prefetch(page, part);
            auri_leaf_prefetch_room(page);
            return auri_leaf_search(page, key, part, position, found_out, error);
        }
        status = auri_inner_search(page, key, false, &span, position, error);
        if (status == AUR_OK) {
            status = auri_inner_child(page, *position, &child, error);
        }
        if (status == AUR_OK) {
            status = auri_node_pin(&reader, tree, child, level, &path->node[last + 1].ref, error);
            path->depth += status == AUR_OK;
        }
    }
    return status;
}

aur_status auri_path_seek(aur_writer *writer, const aur_tree *tree, auri_key key, auri_path *path,
                          bool *found_out, aur_error *error) {
    const aur_reader reader = auri_head_reader(writer->mtr);
    const aur_status status =
        auri_node_pin(&reader, tree, tree->root, AURI_ROOT_LEVEL_ANY, &path->node[0].ref, error);
    path->depth = status == AUR_OK;
    return status == AUR_OK ? descend(writer, tree, key, path, found_out, error) : status;
}

/* Unpins the nodes from `depth` on. */
static void cut(aur_writer *writer, auri_path *path, uint32_t depth) {
    while (path->depth > depth) {
        aur_buffer_unpin(writer->mtr->buffer, &path->node[--path->depth].ref);
    }
}

aur_status auri_path_move(aur_writer *writer, const aur_tree *tree, auri_key key, auri_path *path,
                          bool *found_out, aur_error *error) {
    if (path->depth == 0) {
        return auri_path_seek(writer, tree, key, path, found_out, error);
    }
    for (uint32_t at = 0; at + 1 < path->depth; at++) {
        const uint8_t *page = path->node[at].ref.page;
        auri_key end;
        if (path->node[at].position == aur_page_slots(page)) {
            continue;
        }
        if (!auri_inner_key(page, path->node[at].position, &end)) {
            return auri_node_corrupt(page, "an inner cell breaks the format", error);
        }
        if (auri_key_compare_page(key, end) >= 0) {
            cut(writer, path, at + 1);
        }
    }
    return descend(writer, tree, key, path, found_out, error);
}

aur_status auri_path_end(const auri_path *path, bool *has_end_out, auri_key *end_out,
                         aur_error *error) {
    *has_end_out = false;
    for (uint32_t at = path->depth - 1; at-- > 0;) {
        const uint8_t *page = path->node[at].ref.page;
        if (path->node[at].position < aur_page_slots(page)) {
            *has_end_out = true;
            return auri_inner_key(page, path->node[at].position, end_out)
                       ? AUR_OK
                       : auri_node_corrupt(page, "an inner cell breaks the format", error);
        }
    }
    return AUR_OK;
}

void auri_path_release(aur_writer *writer, auri_path *path) { cut(writer, path, 0); }

bool auri_path_is_rightmost(const auri_path *path, uint32_t index) {
    for (uint32_t at = 0; at < index; at++) {
        if (path->node[at].position != aur_page_slots(path->node[at].ref.page)) {
            return false;
        }
    }
    return true;
}

aur_status auri_node_reformat(aur_writer *writer, aur_page_ref *ref, enum aur_page_type type,
                              uint8_t level, uint64_t link, aur_error *error) {
    uint8_t body[AURI_FORMAT_BODY_BYTES];
    uint8_t count[sizeof(uint64_t)];
    const uint16_t arg = auri_format_body(type, level, aur_page_owner(ref->page), link, body);
    aur_put64(count, aur_page_count(ref->page));
    const aur_status status =
        aur_mtr_apply(writer->mtr, ref, AUR_OP_FORMAT, arg, body, sizeof body, error);
    if (status != AUR_OK) {
        return status;
    }
    return aur_mtr_apply(writer->mtr, ref, AUR_OP_PATCH, AUR_PAGE_COUNT_AT, count, sizeof count,
                         error);
}

aur_status auri_node_append_cells(aur_writer *writer, const uint8_t *from, uint32_t first,
                                  uint32_t count, aur_page_ref *to, aur_error *error) {
    uint8_t *body = writer->space->body;
    const uint32_t room = writer->mtr->page_bytes;
    uint32_t used = 0;
    for (uint32_t slot = first; slot < first + count; slot++) {
        uint32_t length;
        const uint8_t *cell = aur_page_cell(from, slot, &length);
        if (length + AUR_CELL_HEADER_BYTES > room - used) {
            return auri_node_corrupt(from, "its cells are longer than a page", error);
        }
        aur_put16(body + used, (uint16_t)length);
        memcpy(body + used + AUR_CELL_HEADER_BYTES, cell, length);
        used += AUR_CELL_HEADER_BYTES + length;
    }
    if (used == 0) {
        return AUR_OK;
    }
    return aur_mtr_apply(writer->mtr, to, AUR_OP_INSERT_MANY, (uint16_t)aur_page_slots(to->page),
                         body, used, error);
}

aur_status auri_node_delete_slots(aur_writer *writer, aur_page_ref *ref, uint32_t first,
                                  uint32_t count, aur_error *error) {
    uint8_t body[sizeof(uint16_t)];
    if (count == 0) {
        return AUR_OK;
    }
    aur_put16(body, (uint16_t)count);
    return aur_mtr_apply(writer->mtr, ref, AUR_OP_DELETE, (uint16_t)first, body, sizeof body,
                         error);
}
