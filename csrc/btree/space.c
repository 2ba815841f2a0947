/*
 * Which pages are in use. Each group of pages has a bitmap, its second page; the meta page counts
 * the bitmaps. A run of pages is consecutive but for bitmap pages, which it steps over.
 *
 * The hints make the search for the lowest fit short: no group below `first_free` and no bit below
 * a group's `lowest` is free. They are filled from the bitmaps when first needed.
 */
#include <stdlib.h>

#include "btree/btree_private.h"

static const char META_MAGIC[8] = "AURMETA";
static const uint32_t FREE_UNKNOWN = UINT32_MAX;

aur_status aur_space_create(aur_buffer *buffer, uint32_t page_bytes, uint64_t page_limit,
                            aur_space **space_out) {
    aur_space *space = calloc(1, sizeof *space);
    if (space == NULL) {
        return AUR_ERR_MEMORY;
    }
    space->buffer = buffer;
    space->page_bytes = page_bytes;
    space->page_limit = page_limit;
    space->cell = malloc(page_bytes);
    space->body = malloc(page_bytes);
    if (space->cell == NULL || space->body == NULL) {
        aur_space_destroy(space);
        return AUR_ERR_MEMORY;
    }
    *space_out = space;
    return AUR_OK;
}

void aur_space_destroy(aur_space *space) {
    if (space != NULL) {
        free(space->cell);
        free(space->body);
        free(space->group);
        free(space);
    }
}

void aur_space_forget(aur_space *space) {
    space->is_loaded = false;
    space->groups = 0;
    space->extent = 0;
}

aur_status auri_meta_read(const uint8_t *page, uint32_t page_bytes, uint64_t *groups_out,
                          aur_error *error) {
    const uint8_t *payload = page + AUR_PAGE_BODY_AT;
    if (aur_page_type_of(page) != AUR_PAGE_META ||
        memcmp(payload + AUR_META_MAGIC_AT, META_MAGIC, sizeof META_MAGIC) != 0) {
        return auri_node_corrupt(page, "not the meta page", error);
    }
    if (aur_get32(payload + AUR_META_FORMAT_AT) != AUR_META_FORMAT) {
        return aur_fail(error, AUR_ERR_VERSION, "trees of format %u; this release knows %d",
                        aur_get32(payload + AUR_META_FORMAT_AT), AUR_META_FORMAT);
    }
    *groups_out = aur_get64(payload + AUR_META_BITMAPS_AT);
    if (aur_get32(payload + AUR_META_PAGE_BYTES_AT) != page_bytes || *groups_out == 0) {
        return auri_node_corrupt(page, "the meta page contradicts the volume", error);
    }
    return AUR_OK;
}

/* Makes room for the hints of `groups` groups; new ones are not known. */
static aur_status resize_hints(aur_space *space, uint64_t groups, aur_error *error) {
    if (groups > space->group_capacity) {
        const uint64_t most = space->page_limit / auri_space_group_pages(space->page_bytes) + 1;
        if (groups > most) {
            return aur_fail(error, AUR_ERR_CORRUPT, "the meta page counts %llu bitmaps of %llu",
                            (unsigned long long)groups, (unsigned long long)most);
        }
        const uint64_t wanted = groups + groups / 2 + 8;
        auri_space_group *group = realloc(space->group, wanted * sizeof *group);
        if (group == NULL) {
            return aur_fail(error, AUR_ERR_MEMORY, "no memory for the map of free pages");
        }
        space->group = group;
        space->group_capacity = wanted;
    }
    for (uint64_t at = space->groups; at < groups; at++) {
        space->group[at] = (auri_space_group){.free = FREE_UNKNOWN, .lowest = 0};
    }
    space->groups = groups;
    return AUR_OK;
}

static aur_status load(aur_space *space, aur_error *error) {
    aur_page_ref ref = {NULL, NULL};
    uint64_t groups;
    if (space->is_loaded) {
        return AUR_OK;
    }
    aur_status status = aur_buffer_pin_head(space->buffer, AUR_META_PAGE, &ref, error);
    if (status == AUR_NOT_FOUND) {
        return aur_fail(error, AUR_ERR_CORRUPT, "the meta page is missing");
    }
    if (status == AUR_OK) {
        status = auri_meta_read(ref.page, space->page_bytes, &groups, error);
    }
    if (status == AUR_OK) {
        status = resize_hints(space, groups, error);
    }
    aur_buffer_unpin(space->buffer, &ref);
    space->is_loaded = status == AUR_OK;
    space->first_free = 0;
    return status;
}

/* Pins a bitmap page, and counts it if its hints are not known yet. */
static aur_status pin_bitmap(aur_space *space, uint64_t group, aur_page_ref *ref_out,
                             aur_error *error) {
    const uint32_t bits = auri_space_group_pages(space->page_bytes);
    const aur_page_id page_id = group * bits + AUR_FIRST_BITMAP_PAGE;
    const aur_status status = aur_buffer_pin_head(space->buffer, page_id, ref_out, error);
    if (status == AUR_NOT_FOUND) {
        return aur_fail(error, AUR_ERR_CORRUPT, "bitmap page %llu is missing",
                        (unsigned long long)page_id);
    }
    if (status != AUR_OK) {
        return status;
    }
    if (aur_page_type_of(ref_out->page) != AUR_PAGE_BITMAP) {
        const aur_status corrupt = auri_node_corrupt(ref_out->page, "not a bitmap page", error);
        aur_buffer_unpin(space->buffer, ref_out);
        return corrupt;
    }
    if (space->group[group].free == FREE_UNKNOWN) {
        space->group[group].free = bits - auri_bitmap_count_set(ref_out->page, bits);
    }
    return AUR_OK;
}

/* Finds the lowest run of `count` free pages; it may reach into groups that do not exist yet. */
static aur_status find_run(aur_space *space, uint64_t count, auri_run *run, aur_error *error) {
    const uint32_t bits = auri_space_group_pages(space->page_bytes);
    *run = (auri_run){0, 0};
    for (uint64_t at = space->first_free; at < space->groups; at++) {
        auri_space_group *group = &space->group[at];
        if (group->free != 0) {
            aur_page_ref ref = {NULL, NULL};
            const aur_status status = pin_bitmap(space, at, &ref, error);
            if (status != AUR_OK) {
                return status;
            }
            if (group->lowest > 0) {
                run->length = 0; /* everything below is in use */
            }
            const bool found =
                auri_bitmap_extend_run(ref.page, bits, group->lowest, at * bits, count, run);
            aur_buffer_unpin(space->buffer, &ref);
            if (found) {
                return AUR_OK;
            }
        }
        if (group->free == 0) {
            run->length = 0;
            space->first_free += at == space->first_free;
        }
    }
    if (run->length == 0) {
        run->first = space->groups * bits;
    }
    return AUR_OK;
}

/* The part of a run that lies in one group. */
typedef struct piece {
    uint64_t group;
    uint32_t from; /* bits [from, to) */
    uint32_t to;
    uint32_t pages; /* of the run: not the bitmap page */
} piece;

static piece next_piece(uint32_t bits, aur_page_id first, uint64_t count) {
    piece part = {.group = first / bits, .from = (uint32_t)(first % bits)};
    const uint32_t own = part.from < AURI_BITMAP_OWN_BIT;
    const uint32_t room = bits - part.from - own;
    part.pages = count < room ? (uint32_t)count : room;
    part.to = part.from + part.pages + (part.pages > 1 ? own : 0);
    return part;
}

/* Formats the bitmap of the next group. */
static aur_status add_group(aur_space *space, aur_mtr *mtr, aur_error *error) {
    const uint64_t group = space->groups;
    const aur_page_id page_id =
        group * auri_space_group_pages(space->page_bytes) + AUR_FIRST_BITMAP_PAGE;
    aur_page_ref ref = {NULL, NULL};
    uint8_t groups[sizeof(uint64_t)];
    if (page_id >= space->page_limit) {
        return aur_fail(error, AUR_ERR_FULL, "the volume has reached its limit of %llu pages",
                        (unsigned long long)space->page_limit);
    }
    aur_status status = aur_mtr_format(mtr, page_id, AUR_PAGE_BITMAP, 0, 0, 0, &ref, error);
    if (status == AUR_OK) {
        status = auri_bitmap_change(mtr, &ref, AURI_BITMAP_OWN_BIT, AURI_BITMAP_OWN_BIT + 1, true,
                                    space->body, error);
    }
    aur_buffer_unpin(space->buffer, &ref);
    if (status == AUR_OK) {
        status = aur_buffer_pin_head(space->buffer, AUR_META_PAGE, &ref, error);
    }
    if (status == AUR_OK) {
        aur_put64(groups, group + 1);
        status = aur_mtr_apply(mtr, &ref, AUR_OP_PATCH, AUR_PAGE_BODY_AT + AUR_META_BITMAPS_AT,
                               groups, sizeof groups, error);
    }
    aur_buffer_unpin(space->buffer, &ref);
    space->extent = 0; /* its bitmap page may be the highest */
    return status == AUR_OK ? resize_hints(space, group + 1, error) : status;
}

/* Marks one piece and keeps the hints true. */
static aur_status mark(aur_space *space, aur_mtr *mtr, const piece *part, bool in_use,
                       aur_error *error) {
    aur_page_ref ref = {NULL, NULL};
    aur_status status = pin_bitmap(space, part->group, &ref, error);
    if (status == AUR_OK) {
        status = auri_bitmap_change(mtr, &ref, part->from, part->to, in_use, space->body, error);
        aur_buffer_unpin(space->buffer, &ref);
    }
    if (status != AUR_OK) {
        return status;
    }
    auri_space_group *group = &space->group[part->group];
    if (in_use) {
        group->free -= part->pages;
        group->lowest = part->from <= group->lowest ? part->to : group->lowest;
        return AUR_OK;
    }
    group->free += part->pages;
    group->lowest = part->from < group->lowest ? part->from : group->lowest;
    if (part->group < space->first_free) {
        space->first_free = part->group;
    }
    return AUR_OK;
}

/* Last page of a run. */
static aur_page_id last_of_run(uint32_t bits, aur_page_id first, uint64_t count) {
    /* Number the pages without bitmap pages, add, and number back. */
    const uint64_t in_group = first % bits;
    const uint64_t number =
        first / bits * (bits - 1) + in_group - (in_group > AURI_BITMAP_OWN_BIT) + count - 1;
    const uint64_t rest = number % (bits - 1);
    return number / (bits - 1) * bits + rest + (rest >= AURI_BITMAP_OWN_BIT);
}

aur_page_id aur_space_page_of_run(uint32_t page_bytes, aur_page_id first, uint64_t index) {
    return last_of_run(auri_space_group_pages(page_bytes), first, index + 1);
}

aur_status aur_space_allocate(aur_space *space, aur_mtr *mtr, uint64_t count,
                              aur_page_id *first_out, aur_error *error) {
    const uint32_t bits = auri_space_group_pages(space->page_bytes);
    auri_run run;
    aur_status status = load(space, error);
    if (status == AUR_OK) {
        status = find_run(space, count, &run, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    const aur_page_id last = last_of_run(bits, run.first, count);
    if (last >= space->page_limit) {
        return aur_fail(error, AUR_ERR_FULL, "no %llu free pages within the limit of %llu",
                        (unsigned long long)count, (unsigned long long)space->page_limit);
    }
    *first_out = run.first;
    while (status == AUR_OK && count > 0) {
        const piece part = next_piece(bits, run.first, count);
        if (part.group == space->groups) {
            status = add_group(space, mtr, error);
        }
        if (status == AUR_OK) {
            status = mark(space, mtr, &part, true, error);
        }
        run.first = (part.group + 1) * bits;
        count -= part.pages;
    }
    if (space->extent != 0 && last >= space->extent) {
        space->extent = last + 1;
    }
    return status;
}

/* Tells storage that nobody wants the pages' old content any more, so that it takes no room once
 * the moments that saw it are past. The pages leave the pool as soon as that is hardened. */
static aur_status clear_pages(aur_mtr *mtr, uint32_t bits, const piece *part, aur_error *error) {
    aur_status status = AUR_OK;
    for (uint32_t bit = part->from; bit < part->to && status == AUR_OK; bit++) {
        aur_page_ref ref = {NULL, NULL};
        if (bit == AURI_BITMAP_OWN_BIT) {
            continue;
        }
        status = aur_mtr_format(mtr, part->group * bits + bit, AUR_PAGE_FREE, 0, 0, 0, &ref, error);
        if (status == AUR_OK) {
            aur_buffer_unpin_streamed(mtr->buffer, &ref);
        }
    }
    return status;
}

aur_status aur_space_free(aur_space *space, aur_mtr *mtr, aur_page_id first, uint64_t count,
                          aur_error *error) {
    const uint32_t bits = auri_space_group_pages(space->page_bytes);
    aur_status status = load(space, error);
    if (status != AUR_OK) {
        return status;
    }
    const aur_page_id last = last_of_run(bits, first, count);
    if (first == AUR_META_PAGE || first % bits == AURI_BITMAP_OWN_BIT || last < first ||
        last / bits >= space->groups) {
        return aur_fail(error, AUR_ERR_CORRUPT, "pages %llu to %llu cannot be freed",
                        (unsigned long long)first, (unsigned long long)last);
    }
    while (status == AUR_OK && count > 0) {
        const piece part = next_piece(bits, first, count);
        status = mark(space, mtr, &part, false, error);
        if (status == AUR_OK) {
            status = clear_pages(mtr, bits, &part, error);
        }
        first = (part.group + 1) * bits;
        count -= part.pages;
    }
    space->extent = 0;
    return status;
}

aur_status aur_space_extent(aur_space *space, aur_page_id *end_out, aur_error *error) {
    const uint32_t bits = auri_space_group_pages(space->page_bytes);
    aur_page_ref ref = {NULL, NULL};
    aur_status status = load(space, error);
    if (status == AUR_OK && space->extent == 0) {
        /* The last group's bitmap page is itself in use, so no earlier group has to be asked. */
        status = pin_bitmap(space, space->groups - 1, &ref, error);
        if (status == AUR_OK) {
            space->extent = (space->groups - 1) * bits + auri_bitmap_end(ref.page, bits);
            aur_buffer_unpin(space->buffer, &ref);
        }
    }
    *end_out = space->extent;
    return status;
}

aur_status aur_space_used(aur_space *space, uint64_t *pages_out, aur_error *error) {
    const uint32_t bits = auri_space_group_pages(space->page_bytes);
    aur_status status = load(space, error);
    *pages_out = 0;
    for (uint64_t at = 0; status == AUR_OK && at < space->groups; at++) {
        aur_page_ref ref = {NULL, NULL};
        if (space->group[at].free == FREE_UNKNOWN) {
            status = pin_bitmap(space, at, &ref, error);
            aur_buffer_unpin(space->buffer, &ref);
        }
        *pages_out += bits - space->group[at].free;
    }
    return status;
}

/* Formats a page and writes its first payload bytes. */
static aur_status format_with(aur_mtr *mtr, aur_page_id page_id, enum aur_page_type type,
                              const uint8_t *payload, uint32_t payload_bytes, aur_error *error) {
    aur_page_ref ref = {NULL, NULL};
    aur_status status = aur_mtr_format(mtr, page_id, type, 0, 0, 0, &ref, error);
    if (status == AUR_OK) {
        status =
            aur_mtr_apply(mtr, &ref, AUR_OP_PATCH, AUR_PAGE_BODY_AT, payload, payload_bytes, error);
        aur_buffer_unpin(mtr->buffer, &ref);
    }
    return status;
}

static aur_status format_root(aur_mtr *mtr, aur_page_id page_id, uint32_t table, aur_error *error) {
    aur_page_ref ref = {NULL, NULL};
    const aur_status status = aur_mtr_format(mtr, page_id, AUR_PAGE_LEAF, 0, table, 0, &ref, error);
    if (status == AUR_OK) {
        aur_buffer_unpin(mtr->buffer, &ref);
    }
    return status;
}

aur_status aur_space_format(aur_mtr *mtr, aur_error *error) {
    uint8_t meta[AUR_META_BYTES];
    const uint8_t bits = 1 << AUR_META_PAGE | 1 << AUR_FIRST_BITMAP_PAGE |
                         1 << AUR_CATALOG_ROOT_PAGE | 1 << AUR_DEFAULT_ROOT_PAGE;
    memcpy(meta + AUR_META_MAGIC_AT, META_MAGIC, sizeof META_MAGIC);
    aur_put32(meta + AUR_META_FORMAT_AT, AUR_META_FORMAT);
    aur_put32(meta + AUR_META_PAGE_BYTES_AT, mtr->page_bytes);
    aur_put64(meta + AUR_META_BITMAPS_AT, 1);
    aur_status status = format_with(mtr, AUR_META_PAGE, AUR_PAGE_META, meta, sizeof meta, error);
    if (status == AUR_OK) {
        status = format_with(mtr, AUR_FIRST_BITMAP_PAGE, AUR_PAGE_BITMAP, &bits, 1, error);
    }
    if (status == AUR_OK) {
        status = format_root(mtr, AUR_CATALOG_ROOT_PAGE, AUR_CATALOG_TABLE, error);
    }
    if (status == AUR_OK) {
        status = format_root(mtr, AUR_DEFAULT_ROOT_PAGE, AUR_DEFAULT_TABLE, error);
    }
    return status;
}

uint64_t aur_space_with_bitmaps(uint32_t page_bytes, uint64_t pages) {
    return pages == 0 ? 0 : pages + pages / auri_space_group_pages(page_bytes) + 1;
}
