/*
 * Many writes in ascending order of keys, as a commit has them.
 *
 * The path stays where the last key went, and the next one climbs no higher than it must. New keys
 * that fall between the same two neighbours are a run: their cells are collected, and go to the
 * leaf as one record. A run ends at the next key that is there, at the end of the leaf, when the
 * leaf is full, and before anything else is done.
 */
#include "btree/btree_private.h"

typedef struct batch {
    aur_writer *writer;
    const aur_tree *tree;
    auri_path path; /* to where the newest key went; depth 0: nowhere yet */
    int64_t added;
    /* The run; its cells are in space->body, and go before the leaf's slot that the path names. */
    uint32_t run_cells;
    uint32_t run_bytes;
    uint32_t room; /* bytes that further cells and their slots may take */
    bool has_end;
    auri_key end; /* keys from here on do not belong to the run; on a page that the path pins */
} batch;

/* Gives the run to the leaf. */
static aur_status end_run(batch *many, aur_error *error) {
    const uint8_t *body = many->writer->space->body;
    if (many->run_cells == 0) {
        return AUR_OK;
    }
    const uint32_t skipped = many->run_cells == 1 ? (uint32_t)AUR_CELL_HEADER_BYTES : 0;
    const uint8_t op = many->run_cells == 1 ? AUR_OP_INSERT : AUR_OP_INSERT_MANY;
    const uint16_t slot = (uint16_t)many->path.node[many->path.depth - 1].position;
    many->run_cells = 0;
    return aur_mtr_apply(many->writer->mtr, &many->path.node[many->path.depth - 1].ref, op, slot,
                         body + skipped, many->run_bytes - skipped, error);
}

static void add_to_run(batch *many, const aur_tree_write *write, uint32_t cell_bytes) {
    uint8_t *cell = many->writer->space->body + many->run_bytes;
    const auri_key key = {write->key, (uint32_t)write->key_bytes};
    aur_put16(cell, (uint16_t)cell_bytes);
    auri_put_inline(cell + AUR_CELL_HEADER_BYTES, key, write->value, write->value_bytes);
    many->run_bytes += AUR_CELL_HEADER_BYTES + cell_bytes;
    many->room -= AUR_CELL_HEADER_BYTES + AUR_SLOT_BYTES + cell_bytes;
    many->run_cells++;
    many->added++;
}

/* The path has found where the key belongs, and that it is not there: a run begins. */
static aur_status begin_run(batch *many, const aur_tree_write *write, uint32_t cell_bytes,
                            aur_error *error) {
    const auri_key key = {write->key, (uint32_t)write->key_bytes};
    aur_status status =
        auri_leaf_make_room(many->writer, many->tree, &many->path, key, cell_bytes, error);
    if (status != AUR_OK) {
        return status;
    }
    const uint8_t *leaf = many->path.node[many->path.depth - 1].ref.page;
    const uint32_t slot = many->path.node[many->path.depth - 1].position;
    if (slot < aur_page_slots(leaf)) {
        many->has_end = true;
        if (!auri_leaf_key(leaf, slot, &many->end)) {
            return auri_node_corrupt(leaf, "a leaf cell breaks the format", error);
        }
    } else {
        status = auri_path_end(&many->path, &many->has_end, &many->end, error);
    }
    if (status == AUR_OK) {
        many->run_bytes = 0;
        many->room = aur_page_free_bytes(leaf, many->writer->mtr->page_bytes);
        add_to_run(many, write, cell_bytes);
    }
    return status;
}

static bool joins_run(const batch *many, auri_key key, uint64_t cell_bytes) {
    return many->run_cells > 0 &&
           cell_bytes + AUR_CELL_HEADER_BYTES + AUR_SLOT_BYTES <= many->room &&
           (!many->has_end || auri_key_compare_page(key, many->end) < 0);
}

static aur_status put(batch *many, const aur_tree_write *write, aur_error *error) {
    const auri_key key = {write->key, (uint32_t)write->key_bytes};
    bool found = false;
    aur_status status = auri_check_lengths(write->key_bytes, write->value_bytes, error);
    if (status != AUR_OK) {
        return status;
    }
    const bool is_inline =
        auri_is_inline(many->writer->mtr->page_bytes, key.length, write->value_bytes);
    const uint64_t cell_bytes = AUR_LEAF_CELL_KEY_AT + key.length + write->value_bytes;
    if (is_inline && joins_run(many, key, cell_bytes)) {
        add_to_run(many, write, (uint32_t)cell_bytes);
        return AUR_OK;
    }
    status = end_run(many, error);
    if (status == AUR_OK) {
        status = auri_path_move(many->writer, many->tree, key, &many->path, &found, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    if (is_inline && !found) {
        return begin_run(many, write, (uint32_t)cell_bytes, error);
    }
    many->added += !found;
    return auri_path_put(many->writer, many->tree, &many->path, found, key, write->value,
                         write->value_bytes, error);
}

/* Merges move more than the path follows, so it begins anew behind a delete. */
static aur_status remove_key(batch *many, const aur_tree_write *write, aur_error *error) {
    aur_status status = end_run(many, error);
    auri_path_release(many->writer, &many->path);
    if (status == AUR_OK) {
        status = aur_tree_delete(many->writer, many->tree, write->key, write->key_bytes, error);
        many->added -= status == AUR_OK;
    }
    return status == AUR_NOT_FOUND ? AUR_OK : status;
}

aur_status aur_tree_write_many(aur_writer *writer, const aur_tree *tree, aur_tree_next_write *next,
                               void *context, aur_error *error) {
    batch many = {.writer = writer, .tree = tree};
    aur_tree_write write;
    aur_status status = AUR_OK;
    while (status == AUR_OK && next(context, &write)) {
        status = write.is_delete ? remove_key(&many, &write, error) : put(&many, &write, error);
    }
    if (status == AUR_OK) {
        status = end_run(&many, error);
    }
    auri_path_release(writer, &many.path);
    if (status == AUR_OK && many.added != 0) {
        status = aur_tree_add_count(writer, tree, many.added, error);
    }
    return status;
}
