/*
 * What the files of the tree share. Layout of cells and pages: docs/format/tree.md.
 *
 *   mini_transaction.c  records: logged and applied
 *   space.c             which pages are in use: allocation, hints
 *   space_bitmap.c      searching and changing the bits of one bitmap page
 *   btree_node.c        pinning and checking nodes, cells, searching
 *   btree_read.c        get, count
 *   btree_read_many.c   several gets at once
 *   btree_value.c       long values on overflow pages
 *   btree_cursor.c      scans both ways
 *   btree_path.c        the writer's way from the root to a leaf
 *   btree_put.c         put and splits
 *   btree_batch.c       many writes in the order of their keys
 *   btree_forecast.c    the pages that a batch of puts can take
 *   btree_delete.c      delete, merges, a root that shrinks
 *   btree_table.c       create, count, drop
 *   btree_verify.c      the whole tree against its rules
 *
 * A child position counts the children of an inner page from the left: 0 is the page's link, i > 0
 * is the child of cell i - 1, which holds keys from that cell's key on.
 */
#ifndef AUR_BTREE_BTREE_PRIVATE_H
#define AUR_BTREE_BTREE_PRIVATE_H

#include <string.h>

#include "btree/btree.h"
#include "btree/layout.h"

enum {
    AURI_FORMAT_BODY_BYTES = 12,
    AURI_ROOT_LEVEL_ANY = -1,
};

static const uint64_t AURI_VALUE_BYTES_MAX = UINT64_C(1) << 30;

/* ---- mini-transactions ---- */

/* Encodes the body of an AUR_OP_FORMAT record and returns its arg. */
static inline uint16_t auri_format_body(enum aur_page_type type, uint8_t level, uint32_t owner,
                                        uint64_t link, uint8_t body[AURI_FORMAT_BODY_BYTES]) {
    aur_put32(body, owner);
    aur_put64(body + sizeof owner, link);
    return (uint16_t)((uint32_t)type | (uint32_t)level << 8);
}

/* ---- space ---- */

/* The hints about one bitmap page. */
typedef struct auri_space_group {
    uint32_t free;   /* clear bits; UINT32_MAX until the bitmap has been counted */
    uint32_t lowest; /* no bit below it is clear */
} auri_space_group;

struct aur_space {
    aur_buffer *buffer;
    uint32_t page_bytes;
    uint64_t page_limit;
    bool is_loaded;      /* `groups` and `group` hold what the meta page says */
    uint64_t groups;     /* bitmap pages that exist */
    uint64_t first_free; /* no group below it has a clear bit */
    aur_page_id extent;  /* highest page in use + 1; 0: not known */
    auri_space_group *group;
    uint64_t group_capacity;
    /* Room that the writer's operations build records in; see the functions for which uses which.
     */
    uint8_t *cell; /* page_bytes: the leaf cell on its way into the tree */
    uint8_t *body; /* page_bytes + slack: the body of one record */
};

/* Pages that one bitmap page accounts for, itself included. */
static inline uint32_t auri_space_group_pages(uint32_t page_bytes) {
    return (page_bytes - AUR_PAGE_BODY_AT) * 8;
}
/* The page after `page_id` in a run: runs step over bitmap pages. */
static inline aur_page_id auri_space_next_page(uint32_t page_bytes, aur_page_id page_id) {
    const uint32_t group_pages = auri_space_group_pages(page_bytes);
    return (page_id + 1) % group_pages == AUR_FIRST_BITMAP_PAGE ? page_id + 2 : page_id + 1;
}

/* A bitmap page's own bit: it stays set for good, and runs pass over it. */
enum { AURI_BITMAP_OWN_BIT = AUR_FIRST_BITMAP_PAGE };

static inline bool auri_bitmap_get(const uint8_t *page, uint32_t bit) {
    return (page[AUR_PAGE_BODY_AT + bit / 8] >> (bit % 8) & 1) != 0;
}
uint32_t auri_bitmap_count_set(const uint8_t *page, uint32_t bits);
/* Position behind the last set bit, 0 when there is none. */
uint32_t auri_bitmap_end(const uint8_t *page, uint32_t bits);

/* A run of clear bits that may reach over several bitmap pages. */
typedef struct auri_run {
    aur_page_id first;
    uint64_t length; /* without bitmap pages */
} auri_run;
/* Walks one bitmap from bit `from` on: extends `run`, and starts it anew after every set bit. True
 * as soon as it is `wanted` long. `base` is the page of bit 0. */
bool auri_bitmap_extend_run(const uint8_t *page, uint32_t bits, uint32_t from, aur_page_id base,
                            uint64_t wanted, auri_run *run);
/* Sets or clears the bits [from, to), by one record; clearing spares the bitmap page's own bit.
 * `body` has room for the bytes. AUR_ERR_CORRUPT when one of them has the value already. */
aur_status auri_bitmap_change(aur_mtr *mtr, aur_page_ref *ref, uint32_t from, uint32_t to,
                              bool value, uint8_t *body, aur_error *error) AUR_CHECKED;

/* What the meta page says, checked. */
aur_status auri_meta_read(const uint8_t *page, uint32_t page_bytes, uint64_t *groups_out,
                          aur_error *error) AUR_CHECKED;

/* ---- nodes ---- */

/* A key by reference. */
typedef struct auri_key {
    const uint8_t *bytes;
    uint32_t length;
} auri_key;

/* Asks for the bytes of a cell before they are needed. Precondition: slot < number of slots. */
static inline void auri_prefetch_cell(const uint8_t *page, uint32_t slot) {
    __builtin_prefetch(page + aur_get16(page + AUR_PAGE_BODY_AT + AUR_SLOT_BYTES * slot));
}

/* A decoded leaf cell. */
typedef struct auri_leaf_cell {
    auri_key key;
    const uint8_t *value; /* NULL: on overflow pages */
    uint64_t value_bytes;
    aur_page_id overflow;
} auri_leaf_cell;

enum { AURI_KEY_NUMBER_BYTES = sizeof(uint64_t) };

/* First eight bytes of a key as a number that orders like them; zeros follow the end of a shorter
 * one. No byte of a short key is stored to be loaded again with others, which would take longer
 * than the rest of a comparison. */
static inline uint64_t auri_key_number(auri_key key) {
    enum { HALF_BYTES = AURI_KEY_NUMBER_BYTES / 2, HALF_BITS = 8 * HALF_BYTES };
    const uint32_t wanting =
        key.length < AURI_KEY_NUMBER_BYTES ? AURI_KEY_NUMBER_BYTES - key.length : 0;
    uint64_t number = 0;
    if (wanting == 0) {
        return __builtin_bswap64(aur_get64(key.bytes));
    }
    if (wanting <= HALF_BYTES) {
        const uint64_t head = __builtin_bswap32(aur_get32(key.bytes));
        const uint64_t tail = __builtin_bswap32(aur_get32(key.bytes + key.length - HALF_BYTES));
        return head << HALF_BITS | (tail << 8 * wanting & UINT32_MAX);
    }
    for (uint32_t at = 0; at < key.length; at++) {
        number = number << 8 | key.bytes[at];
    }
    return wanting < AURI_KEY_NUMBER_BYTES ? number << 8 * wanting : 0;
}

/* The same of a key on a page, without a branch for a short one, as separators often are: bytes in
 * front of it are read and dropped, and there are always the page's own. */
static inline uint64_t auri_page_key_number(auri_key key) {
    const uint32_t wanting =
        key.length < AURI_KEY_NUMBER_BYTES ? AURI_KEY_NUMBER_BYTES - key.length : 0;
    const uint64_t number = __builtin_bswap64(aur_get64(key.bytes - wanting));
    return wanting < AURI_KEY_NUMBER_BYTES ? number << 8 * wanting : 0;
}

/* The order of two keys whose numbers are known, which decide most comparisons. */
static inline int auri_key_order(auri_key left, uint64_t left_number, auri_key right,
                                 uint64_t right_number) {
    if (left_number != right_number) {
        return left_number < right_number ? -1 : 1;
    }
    /* The shorter of keys with equal numbers, one of them short, is the beginning of the other. */
    const uint32_t shorter = left.length < right.length ? left.length : right.length;
    const int order =
        shorter > AURI_KEY_NUMBER_BYTES ? memcmp(left.bytes, right.bytes, shorter) : 0;
    if (order != 0) {
        return order;
    }
    return left.length < right.length ? -1 : left.length > right.length;
}

static inline int auri_key_compare(auri_key left, auri_key right) {
    return auri_key_order(left, auri_key_number(left), right, auri_key_number(right));
}
/* Precondition: `at` lies on a page. */
static inline int auri_key_compare_page(auri_key key, auri_key at) {
    return auri_key_order(key, auri_key_number(key), at, auri_page_key_number(at));
}

/* Key of a cell; false when the cell breaks the format. The cell lies inside the page. */
static inline bool auri_leaf_key(const uint8_t *page, uint32_t slot, auri_key *key_out) {
    uint32_t length;
    const uint8_t *cell = aur_page_cell(page, slot, &length);
    const uint32_t key_bytes =
        length >= AUR_LEAF_CELL_KEY_AT ? aur_get16(cell) & ~(uint32_t)AUR_LEAF_CELL_REFERENCE : ~0u;
    key_out->bytes = cell + AUR_LEAF_CELL_KEY_AT;
    key_out->length = key_bytes;
    return key_bytes <= AUR_KEY_BYTES_MAX && key_bytes + AUR_LEAF_CELL_KEY_AT <= length;
}

static inline bool auri_inner_key(const uint8_t *page, uint32_t slot, auri_key *key_out) {
    uint32_t length;
    const uint8_t *cell = aur_page_cell(page, slot, &length);
    key_out->bytes = cell + AUR_INNER_CELL_KEY_AT;
    key_out->length =
        length - AUR_INNER_CELL_KEY_AT; /* wraps when too short, and is refused below */
    return key_out->length <= AUR_KEY_BYTES_MAX;
}

/* Whole cell; false when it breaks the format. */
bool auri_leaf_cell_decode(const uint8_t *page, uint32_t slot, auri_leaf_cell *cell_out);

/* Child at a position <= number of slots. AUR_ERR_CORRUPT. */
aur_status auri_inner_child(const uint8_t *page, uint32_t position, aur_page_id *child_out,
                            aur_error *error) AUR_CHECKED;

/* What an inner node says about the keys of a child: between which separators they lie, as numbers
 * of the bytes behind those that the separators have in common. */
typedef struct auri_span {
    uint32_t common;
    uint64_t from;
    uint64_t to; /* `from`: nothing is known */
} auri_span;

#define AURI_SPAN_UNKNOWN ((auri_span){0, 0, 0})
auri_span auri_inner_span(const uint8_t *page, uint32_t position);

/* The part of the way through a span, from 0 to below 1, at which a key lies: where in the child it
 * is expected if keys are spread evenly. */
#define AURI_NOWHERE (-1.0) /* outside, or nothing is known */
double auri_span_part(const auri_span *span, auri_key key);

/* Asks for the cells of a leaf around that place, ahead of the search. */
void auri_leaf_prefetch(const uint8_t *page, double part);
/* Asks for the place that a new cell of usual length gets. */
void auri_leaf_prefetch_room(const uint8_t *page);

/* First slot whose key is >= `key`; *found_out when it is equal. `part` makes it quick when it is
 * about right, and may be AURI_NOWHERE. AUR_ERR_CORRUPT. */
aur_status auri_leaf_search(const uint8_t *page, auri_key key, double part, uint32_t *slot_out,
                            bool *found_out, aur_error *error) AUR_CHECKED;
/* Position of the child that holds `key`; `before`: that holds the keys right below it. The node's
 * span makes it quick when keys are spread evenly, and may be unknown. AUR_ERR_CORRUPT. */
aur_status auri_inner_search(const uint8_t *page, auri_key key, bool before, const auri_span *span,
                             uint32_t *position_out, aur_error *error) AUR_CHECKED;

/* The state of a search in an inner node. */
typedef struct auri_inner_place {
    const uint8_t *page;
    uint32_t position; /* in the end, that of the child */
    uint32_t left;     /* cells behind it that may belong before it; 0: the end */
    auri_key key;
    uint64_t number; /* of the key */
    bool is_broken;  /* the node is not sound */
} auri_inner_place;
/* Searches with several keys, each in its node, step by step side by side: a step of one key waits
 * for memory while others are done. */
void auri_inner_search_many(auri_inner_place *places, size_t count);

/* Pins a node and proves that it is one of this tree at this level (AURI_ROOT_LEVEL_ANY: the root).
 * A missing page is AUR_ERR_CORRUPT. */
aur_status auri_node_pin(const aur_reader *reader, const aur_tree *tree, aur_page_id page_id,
                         int level, aur_page_ref *ref_out, aur_error *error) AUR_CHECKED;

/* Fails with AUR_ERR_CORRUPT, naming the page. */
aur_status auri_node_corrupt(const uint8_t *page, const char *what, aur_error *error);

/* Fills `value_out` with what was found in the leaf at `ref`, handing it the pin when the value is
 * inline. */
void auri_value_hand_out(const aur_reader *reader, const aur_tree *tree, const auri_leaf_cell *cell,
                         aur_page_ref *ref, aur_value *value_out);

/* ---- long values ---- */

/* Payload bytes of an overflow page; pages of a value. */
static inline uint32_t auri_payload_bytes(uint32_t page_bytes) {
    return page_bytes - AUR_PAGE_BODY_AT;
}
static inline uint64_t auri_overflow_pages(uint32_t page_bytes, uint64_t value_bytes) {
    const uint64_t payload = auri_payload_bytes(page_bytes);
    return (value_bytes + payload - 1) / payload;
}

/* True iff key and value together go into the leaf. A value no longer than a reference always
 * does: a reference would not be shorter. */
static inline bool auri_is_inline(uint32_t page_bytes, uint32_t key_bytes, uint64_t value_bytes) {
    const uint32_t quarter = auri_payload_bytes(page_bytes) / 4;
    const uint32_t cell_max = quarter - AUR_CELL_HEADER_BYTES - AUR_SLOT_BYTES;
    return value_bytes <= AUR_REFERENCE_BYTES ||
           value_bytes + key_bytes + AUR_LEAF_CELL_KEY_AT <= cell_max;
}

/* Writes a value to a new run of overflow pages. */
aur_status auri_overflow_write(aur_writer *writer, const aur_tree *tree, const uint8_t *value,
                               uint64_t value_bytes, aur_page_id *first_out,
                               aur_error *error) AUR_CHECKED;
/* Frees the run of a value; nothing happens for an inline one. */
aur_status auri_overflow_free(aur_writer *writer, const auri_leaf_cell *cell,
                              aur_error *error) AUR_CHECKED;

/* Called for each overflow page, in order. Anything but AUR_OK ends the walk. */
typedef aur_status (*auri_overflow_visit)(void *context, const uint8_t *payload,
                                          uint32_t payload_bytes, aur_page_id page_id,
                                          aur_error *error);
/* Walks the run of a value, checking every page. */
aur_status auri_overflow_walk(const aur_reader *reader, uint32_t table, aur_page_id first,
                              uint64_t value_bytes, auri_overflow_visit visit, void *context,
                              aur_error *error) AUR_CHECKED;

/* ---- the writer's path ---- */

/* Pins from the root down to a leaf. Positions of inner nodes are child positions, that of the
 * leaf is a slot. */
typedef struct auri_path {
    uint32_t depth;
    struct {
        aur_page_ref ref;
        uint32_t position;
    } node[AUR_TREE_DEPTH_MAX];
} auri_path;

/* A reader at the head, for the writer's own reads. */
static inline aur_reader auri_head_reader(const aur_mtr *mtr) {
    return (aur_reader){
        .buffer = mtr->buffer, .page_bytes = mtr->page_bytes, .read_point = AUR_LSN_MAX};
}

/* Descends to the leaf that holds or would hold `key`. Release in any case. */
aur_status auri_path_seek(aur_writer *writer, const aur_tree *tree, auri_key key, auri_path *path,
                          bool *found_out, aur_error *error) AUR_CHECKED;
/* The same from where the path is, climbing no higher than it must. Precondition: it is empty, or
 * was sought for a lower key and followed every change of the tree since. */
aur_status auri_path_move(aur_writer *writer, const aur_tree *tree, auri_key key, auri_path *path,
                          bool *found_out, aur_error *error) AUR_CHECKED;
/* The separator at which the keys of the path's leaf end, on a page that the path pins. */
aur_status auri_path_end(const auri_path *path, bool *has_end_out, auri_key *end_out,
                         aur_error *error) AUR_CHECKED;
void auri_path_release(aur_writer *writer, auri_path *path);
/* True iff nodes [0, index) lead along the right edge of the tree. */
bool auri_path_is_rightmost(const auri_path *path, uint32_t index);

/* Formats a page that exists as another kind of node, keeping its record count. */
aur_status auri_node_reformat(aur_writer *writer, aur_page_ref *ref, enum aur_page_type type,
                              uint8_t level, uint64_t link, aur_error *error) AUR_CHECKED;
/* Appends the cells [first, first + count) of one page to another. Uses space->body. */
aur_status auri_node_append_cells(aur_writer *writer, const uint8_t *from, uint32_t first,
                                  uint32_t count, aur_page_ref *to, aur_error *error) AUR_CHECKED;
aur_status auri_node_delete_slots(aur_writer *writer, aur_page_ref *ref, uint32_t first,
                                  uint32_t count, aur_error *error) AUR_CHECKED;
/* True iff one more cell of this length fits. */
static inline bool auri_node_has_room(const uint8_t *page, uint32_t page_bytes, uint32_t length) {
    return aur_page_free_bytes(page, page_bytes) >= length + AUR_CELL_HEADER_BYTES + AUR_SLOT_BYTES;
}

/* Splits until the leaf at the end of `path` has room for a cell of `key`, and moves the path
 * along. */
aur_status auri_leaf_make_room(aur_writer *writer, const aur_tree *tree, auri_path *path,
                               auri_key key, uint32_t cell_bytes, aur_error *error) AUR_CHECKED;
/* Puts a key where the path has or has not found it. */
aur_status auri_path_put(aur_writer *writer, const aur_tree *tree, auri_path *path, bool found,
                         auri_key key, const uint8_t *value, uint64_t value_bytes,
                         aur_error *error) AUR_CHECKED;
/* AUR_ERR_INVALID. */
aur_status auri_check_lengths(size_t key_bytes, uint64_t value_bytes, aur_error *error) AUR_CHECKED;
/* Writes the leaf cell of a value that goes into the leaf. */
static inline void auri_put_inline(uint8_t *cell, auri_key key, const uint8_t *value,
                                   uint64_t value_bytes) {
    aur_put16(cell + AUR_LEAF_CELL_HEAD_AT, (uint16_t)key.length);
    if (key.length > 0) {
        memcpy(cell + AUR_LEAF_CELL_KEY_AT, key.bytes, key.length);
    }
    if (value_bytes > 0) {
        memcpy(cell + AUR_LEAF_CELL_KEY_AT + key.length, value, (size_t)value_bytes);
    }
}
/* After a delete from the leaf at the end of `path`: merges and unlinks pages that have become too
 * empty. */
aur_status auri_path_shrink(aur_writer *writer, const aur_tree *tree, auri_path *path,
                            aur_error *error) AUR_CHECKED;

#endif
