/* Trees as wholes: create, count, drop. */
#include <stdlib.h>

#include "btree/btree_private.h"

aur_status aur_tree_create(aur_writer *writer, uint32_t table, aur_tree *tree_out,
                           aur_error *error) {
    aur_page_ref root = {NULL, NULL};
    aur_status status = aur_space_allocate(writer->space, writer->mtr, 1, &tree_out->root, error);
    tree_out->table = table;
    if (status == AUR_OK) {
        status =
            aur_mtr_format(writer->mtr, tree_out->root, AUR_PAGE_LEAF, 0, table, 0, &root, error);
        aur_buffer_unpin(writer->mtr->buffer, &root);
    }
    return status;
}

aur_status aur_tree_add_count(aur_writer *writer, const aur_tree *tree, int64_t delta,
                              aur_error *error) {
    const aur_reader reader = auri_head_reader(writer->mtr);
    aur_page_ref root = {NULL, NULL};
    uint8_t count[sizeof(uint64_t)];
    aur_status status = auri_node_pin(&reader, tree, tree->root, AURI_ROOT_LEVEL_ANY, &root, error);
    if (status != AUR_OK) {
        return status;
    }
    const uint64_t before = aur_page_count(root.page);
    const uint64_t after = before + (uint64_t)delta;
    if (delta < 0 ? after > before : after < before) {
        status = auri_node_corrupt(root.page, "its record count does not match", error);
    } else {
        aur_put64(count, after);
        status = aur_mtr_apply(writer->mtr, &root, AUR_OP_PATCH, AUR_PAGE_COUNT_AT, count,
                               sizeof count, error);
    }
    aur_buffer_unpin(writer->mtr->buffer, &root);
    return status;
}

/* Pages on their way to be freed, collected so that neighbours go in one record. */
enum { BATCH_PAGES = 512 };
typedef struct dropping {
    aur_writer *writer;
    const aur_tree *tree;
    uint32_t count;
    aur_page_id pages[BATCH_PAGES];
} dropping;

static int compare_pages(const void *left, const void *right) {
    const aur_page_id a = *(const aur_page_id *)left;
    const aur_page_id b = *(const aur_page_id *)right;
    return a < b ? -1 : a > b;
}

static aur_status free_batch(dropping *drop, aur_error *error) {
    const uint32_t page_bytes = drop->writer->mtr->page_bytes;
    uint32_t at = 0;
    aur_status status = AUR_OK;
    qsort(drop->pages, drop->count, sizeof drop->pages[0], compare_pages);
    while (status == AUR_OK && at < drop->count) {
        uint32_t end = at + 1;
        while (end < drop->count &&
               drop->pages[end] == auri_space_next_page(page_bytes, drop->pages[end - 1])) {
            end++;
        }
        status = aur_space_free(drop->writer->space, drop->writer->mtr, drop->pages[at], end - at,
                                error);
        at = end;
    }
    drop->count = 0;
    return status;
}

static aur_status free_values(const dropping *drop, const uint8_t *leaf, aur_error *error) {
    const uint32_t slots = aur_page_slots(leaf);
    aur_status status = AUR_OK;
    for (uint32_t slot = 0; status == AUR_OK && slot < slots; slot++) {
        auri_leaf_cell cell;
        if (!auri_leaf_cell_decode(leaf, slot, &cell)) {
            return auri_node_corrupt(leaf, "a leaf cell breaks the format", error);
        }
        status = auri_overflow_free(drop->writer, &cell, error);
    }
    return status;
}

/* Drops a node and what is below it. As deep as the tree, which is at most AUR_TREE_DEPTH_MAX. */
static aur_status drop_node(dropping *drop, aur_page_id page_id, int level, aur_error *error) {
    const aur_reader reader = auri_head_reader(drop->writer->mtr);
    aur_page_ref ref = {NULL, NULL};
    aur_status status = auri_node_pin(&reader, drop->tree, page_id, level, &ref, error);
    if (status != AUR_OK) {
        return status;
    }
    if (aur_page_level(ref.page) == 0) {
        status = free_values(drop, ref.page, error);
    } else {
        const uint32_t slots = aur_page_slots(ref.page);
        for (uint32_t position = 0; status == AUR_OK && position <= slots; position++) {
            aur_page_id child;
            status = auri_inner_child(ref.page, position, &child, error);
            if (status == AUR_OK) {
                status = drop_node(drop, child, aur_page_level(ref.page) - 1, error);
            }
        }
    }
    aur_buffer_unpin_once(reader.buffer, &ref);
    if (status == AUR_OK && drop->count == BATCH_PAGES) {
        status = free_batch(drop, error);
    }
    drop->pages[drop->count++] = page_id;
    return status;
}

aur_status aur_tree_drop(aur_writer *writer, const aur_tree *tree, aur_error *error) {
    dropping drop = {.writer = writer, .tree = tree, .count = 0};
    const aur_status status = drop_node(&drop, tree->root, AURI_ROOT_LEVEL_ANY, error);
    return status == AUR_OK ? free_batch(&drop, error) : status;
}

uint64_t aur_tree_pages_needed(uint32_t page_bytes, uint64_t records, uint64_t value_bytes) {
    /* Each record may split its leaf, and its value's last overflow page may be part full. Splits
     * of inner nodes: one in three of the level below at most, because an inner node that is full
     * has at least three cells; in sum less than half. The root may gain a level, twice. */
    const uint64_t leaves = records;
    const uint64_t inner = records / 2 + 2 * AUR_TREE_DEPTH_MAX;
    const uint64_t overflow = auri_overflow_pages(page_bytes, value_bytes) + records;
    return aur_space_with_bitmaps(page_bytes, leaves + inner + overflow);
}
