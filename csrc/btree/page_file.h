/*
 * A page file: numbered pages that belong to one owner, for an engine that brings its own page
 * format (SQL). Its map is a tree of extents, runs of consecutive pages of the volume. Layout:
 * docs/format/sql.md.
 *
 * Whoever resizes it makes all pages up to the end: none is missing.
 *
 * Thread rule: as in btree.h.
 */
#ifndef AUR_BTREE_PAGE_FILE_H
#define AUR_BTREE_PAGE_FILE_H

#include "btree/btree.h"

enum {
    AUR_EXTENT_PAGES = 8,
    /* Key of an extent: its index, big-endian. */
    AUR_EXTENT_KEY_BYTES = 4,
    /* Value of an extent. */
    AUR_MAP_EXTENT_FIRST_AT = 0, /* u64 first page of the run */
    AUR_MAP_EXTENT_BYTES = 8,
    /* Value of the empty key. */
    AUR_MAP_SIZE_PAGES_AT = 0, /* u32 number of pages */
    AUR_MAP_SIZE_BYTES = 4,
};

_Static_assert(AUR_MAP_EXTENT_BYTES == AUR_MAP_EXTENT_FIRST_AT + 8, "extent");
_Static_assert(AUR_MAP_SIZE_BYTES == AUR_MAP_SIZE_PAGES_AT + 4, "page file");

static inline uint32_t aur_extent_of(uint32_t page) { return page / AUR_EXTENT_PAGES; }

/* Extents that so many pages take. */
static inline uint32_t aur_extents_of(uint32_t pages) {
    return pages / AUR_EXTENT_PAGES + (pages % AUR_EXTENT_PAGES > 0);
}

/* ---- reading ---- */

/* Number of pages. */
aur_status aur_page_file_size(const aur_reader *reader, const aur_tree *map, uint32_t *pages_out,
                              aur_error *error) AUR_CHECKED;

/* First page of an extent. AUR_NOT_FOUND. */
aur_status aur_page_file_find(const aur_reader *reader, const aur_tree *map, uint32_t extent,
                              aur_page_id *first_out, aur_error *error) AUR_CHECKED;

/* ---- writing, inside an MTR ---- */

/* After aur_tree_create: an empty file. */
aur_status aur_page_file_create(aur_writer *writer, const aur_tree *map,
                                aur_error *error) AUR_CHECKED;

/* Adds an extent that does not exist. The size stays. */
aur_status aur_page_file_extend(aur_writer *writer, const aur_tree *map, uint32_t extent,
                                aur_page_id *first_out, aur_error *error) AUR_CHECKED;

/* Sets the number of pages, and frees the extents that lie behind it wholly. */
aur_status aur_page_file_resize(aur_writer *writer, const aur_tree *map, uint32_t pages,
                                aur_error *error) AUR_CHECKED;

/* Frees every page, the map too. */
aur_status aur_page_file_drop(aur_writer *writer, const aur_tree *map,
                              aur_error *error) AUR_CHECKED;

/* Enters the pages of all extents into a check, beside aur_tree_verify of the map. */
aur_status aur_page_file_verify(const aur_reader *reader, const aur_tree *map,
                                aur_tree_check *check, aur_error *error) AUR_CHECKED;

#endif
