/* The writer's path through a tree, and the changes of nodes that put and delete share. */
#include "btree/btree_private.h"

aur_status auri_path_seek(aur_writer *writer, const aur_tree *tree, auri_key key, auri_path *path,
                          bool *found_out, aur_error *error) {
    const aur_reader reader = auri_head_reader(writer->mtr);
    aur_page_id page_id = tree->root;
    int level = AURI_ROOT_LEVEL_ANY;
    double expected = AURI_EXPECT_NOTHING;
    path->depth = 0;
    for (;;) {
        aur_page_ref *ref = &path->node[path->depth].ref;
        uint32_t *position = &path->node[path->depth].position;
        aur_status status = auri_node_pin(&reader, tree, page_id, level, ref, error);
        if (status != AUR_OK) {
            return status;
        }
        /* No deeper than the root's level, which is below AUR_TREE_DEPTH_MAX: levels go down by
         * one a step. */
        path->depth++;
        level = aur_page_level(ref->page) - 1;
        if (level < 0) {
            auri_leaf_prefetch(ref->page, expected);
            return auri_leaf_search(ref->page, key, expected, position, found_out, error);
        }
        status = auri_inner_search(ref->page, key, false, position, error);
        if (status == AUR_OK) {
            status = auri_inner_child(ref->page, *position, &page_id, error);
        }
        if (status != AUR_OK) {
            return status;
        }
        expected = level == 0 ? auri_inner_expect(ref->page, *position, key) : expected;
    }
}

void auri_path_release(aur_writer *writer, auri_path *path) {
    while (path->depth > 0) {
        aur_buffer_unpin(writer->mtr->buffer, &path->node[--path->depth].ref);
    }
}

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
