#include "btree/page_file.h"

#include "btree/btree_private.h"

static const uint8_t size_key[1] = {0}; /* used with length 0 */

static void extent_key(uint32_t extent, uint8_t key[AUR_EXTENT_KEY_BYTES]) {
    aur_put32(key, __builtin_bswap32(extent));
}

static aur_status corrupt(const aur_tree *map, const char *what, aur_error *error) {
    return aur_fail(error, AUR_ERR_CORRUPT, "the map of page file %u %s", map->table, what);
}

/* ---- reading ---- */

aur_status aur_page_file_size(const aur_reader *reader, const aur_tree *map, uint32_t *pages_out,
                              aur_error *error) {
    aur_value value;
    aur_status status = aur_tree_get(reader, map, size_key, 0, &value, error);
    if (status == AUR_NOT_FOUND) {
        return corrupt(map, "has no size", error);
    }
    if (status != AUR_OK) {
        return status;
    }
    if (value.data == NULL || value.length != AUR_MAP_SIZE_BYTES) {
        status = corrupt(map, "has a size that breaks the format", error);
    } else {
        *pages_out = aur_get32(value.data + AUR_MAP_SIZE_PAGES_AT);
    }
    aur_value_release(reader, &value);
    return status;
}

static aur_status decode_extent(const aur_tree *map, const aur_value *value, aur_page_id *first_out,
                                aur_error *error) {
    if (value->data == NULL || value->length != AUR_MAP_EXTENT_BYTES) {
        return corrupt(map, "has an extent that breaks the format", error);
    }
    *first_out = aur_get64(value->data + AUR_MAP_EXTENT_FIRST_AT);
    return AUR_OK;
}

aur_status aur_page_file_find(const aur_reader *reader, const aur_tree *map, uint32_t extent,
                              aur_page_id *first_out, aur_error *error) {
    uint8_t key[AUR_EXTENT_KEY_BYTES];
    aur_value value;
    extent_key(extent, key);
    aur_status status = aur_tree_get(reader, map, key, sizeof key, &value, error);
    if (status == AUR_OK) {
        status = decode_extent(map, &value, first_out, error);
        aur_value_release(reader, &value);
    }
    return status;
}

/* ---- writing ---- */

static aur_status put_size(aur_writer *writer, const aur_tree *map, uint32_t pages, bool *is_new,
                           aur_error *error) {
    uint8_t value[AUR_MAP_SIZE_BYTES];
    aur_put32(value + AUR_MAP_SIZE_PAGES_AT, pages);
    return aur_tree_put(writer, map, size_key, 0, value, sizeof value, is_new, error);
}

aur_status aur_page_file_create(aur_writer *writer, const aur_tree *map, aur_error *error) {
    bool is_new;
    const aur_status status = put_size(writer, map, 0, &is_new, error);
    return status == AUR_OK ? aur_tree_add_count(writer, map, 1, error) : status;
}

aur_status aur_page_file_extend(aur_writer *writer, const aur_tree *map, uint32_t extent,
                                aur_page_id *first_out, aur_error *error) {
    uint8_t key[AUR_EXTENT_KEY_BYTES];
    uint8_t value[AUR_MAP_EXTENT_BYTES];
    bool is_new = false;
    aur_status status =
        aur_space_allocate(writer->space, writer->mtr, AUR_EXTENT_PAGES, first_out, error);
    if (status == AUR_OK) {
        extent_key(extent, key);
        aur_put64(value + AUR_MAP_EXTENT_FIRST_AT, *first_out);
        status = aur_tree_put(writer, map, key, sizeof key, value, sizeof value, &is_new, error);
    }
    if (status == AUR_OK && !is_new) {
        status = corrupt(map, "has an extent twice", error);
    }
    return status == AUR_OK ? aur_tree_add_count(writer, map, 1, error) : status;
}

/* Frees one extent of the head. AUR_NOT_FOUND. */
static aur_status free_extent(aur_writer *writer, const aur_tree *map, uint32_t extent,
                              aur_error *error) {
    const aur_reader head = auri_head_reader(writer->mtr);
    uint8_t key[AUR_EXTENT_KEY_BYTES];
    aur_page_id first = 0;
    aur_status status = aur_page_file_find(&head, map, extent, &first, error);
    if (status == AUR_OK) {
        status = aur_space_free(writer->space, writer->mtr, first, AUR_EXTENT_PAGES, error);
    }
    if (status == AUR_OK) {
        extent_key(extent, key);
        status = aur_tree_delete(writer, map, key, sizeof key, error);
    }
    return status;
}

/* Frees every extent from `extent` on that there is; there may be holes. */
static aur_status free_from(aur_writer *writer, const aur_tree *map, uint32_t extent, uint32_t end,
                            aur_error *error) {
    int64_t freed = 0;
    aur_status status = AUR_OK;
    for (; extent < end && status == AUR_OK; extent++) {
        status = free_extent(writer, map, extent, error);
        freed += status == AUR_OK;
        status = status == AUR_NOT_FOUND ? AUR_OK : status;
    }
    return status == AUR_OK && freed > 0 ? aur_tree_add_count(writer, map, -freed, error) : status;
}

aur_status aur_page_file_resize(aur_writer *writer, const aur_tree *map, uint32_t pages,
                                aur_error *error) {
    const aur_reader head = auri_head_reader(writer->mtr);
    uint32_t before = 0;
    bool is_new;
    aur_status status = aur_page_file_size(&head, map, &before, error);
    if (status != AUR_OK || pages == before) {
        return status;
    }
    status = put_size(writer, map, pages, &is_new, error);
    return status == AUR_OK
               ? free_from(writer, map, aur_extents_of(pages), aur_extents_of(before), error)
               : status;
}

aur_status aur_page_file_drop(aur_writer *writer, const aur_tree *map, aur_error *error) {
    const aur_status status = aur_page_file_resize(writer, map, 0, error);
    return status == AUR_OK ? aur_tree_drop(writer, map, error) : status;
}
