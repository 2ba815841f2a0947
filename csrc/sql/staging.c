#include "sql/staging.h"

#include <stdlib.h>
#include <string.h>

#include "format/checksum.h"

enum { PAGES_MIN = 32, PAGES_KEPT = 1024 };

void auri_staging_init(auri_staging *staging) {
    memset(staging, 0, sizeof *staging);
    auri_spool_init(&staging->spool);
}

static void free_pages(auri_staging *staging) {
    free(staging->pages);
    free(staging->slots);
    staging->pages = NULL;
    staging->slots = NULL;
    staging->capacity = 0;
    staging->slot_mask = 0;
}

void auri_staging_destroy(auri_staging *staging) {
    free_pages(staging);
    auri_spool_destroy(&staging->spool);
}

void auri_staging_clear(auri_staging *staging) {
    if (staging->count == 0) {
        return;
    }
    staging->count = 0;
    auri_spool_truncate(&staging->spool, 0);
    if (staging->capacity > PAGES_KEPT) {
        free_pages(staging);
    } else {
        memset(staging->slots, 0, (staging->slot_mask + 1) * sizeof *staging->slots);
    }
}

/* The slot of a page, or the free one where it belongs. */
static uint32_t *find_slot(const auri_staging *staging, uint32_t page) {
    uint32_t at = (page * UINT32_C(2654435761)) & staging->slot_mask;
    while (staging->slots[at] != 0 && staging->pages[staging->slots[at] - 1].page != page) {
        at = (at + 1) & staging->slot_mask;
    }
    return &staging->slots[at];
}

/* Room for one more; the table is at most half full. */
static bool reserve(auri_staging *staging) {
    if (staging->count < staging->capacity) {
        return true;
    }
    const uint32_t capacity = staging->capacity == 0 ? PAGES_MIN : staging->capacity * 2;
    auri_staged *pages = realloc(staging->pages, capacity * sizeof *pages);
    if (pages == NULL) {
        return false;
    }
    staging->pages = pages;
    uint32_t *slots = calloc((size_t)capacity * 2, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    free(staging->slots);
    staging->slots = slots;
    staging->slot_mask = capacity * 2 - 1;
    staging->capacity = capacity;
    for (uint32_t at = 0; at < staging->count; at++) {
        *find_slot(staging, pages[at].page) = at + 1;
    }
    return true;
}

const auri_staged *auri_staging_find(const auri_staging *staging, uint32_t page) {
    if (staging->count == 0) {
        return NULL;
    }
    const uint32_t slot = *find_slot(staging, page);
    return slot == 0 ? NULL : &staging->pages[slot - 1];
}

aur_status auri_staging_put(auri_staging *staging, uint32_t page, uint8_t op, const uint8_t *body,
                            uint32_t bytes, aur_error *error) {
    if (!reserve(staging)) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a transaction's changes");
    }
    uint32_t *slot = find_slot(staging, page);
    const bool is_new = *slot == 0;
    const uint32_t at = is_new ? staging->count : *slot - 1;
    auri_staged *staged = &staging->pages[at];
    /* Redo that fits the room of what it replaces takes its place. */
    const bool stays = !is_new && bytes <= staged->room;
    const uint64_t offset = stays ? staged->offset : staging->spool.size;
    const uint32_t room = stays ? staged->room : bytes;
    const aur_status status = auri_spool_write(&staging->spool, offset, body, bytes, error);
    if (status == AUR_OK) {
        const bool is_at_hand = auri_spool_peek(&staging->spool, offset, bytes) != NULL;
        *staged = (auri_staged){page, op, bytes, room, offset, 0};
        staged->checksum = is_at_hand ? 0 : aur_checksum(body, bytes, page);
        *slot = at + 1;
        staging->count += is_new;
    }
    return status;
}

aur_status auri_staging_body(auri_staging *staging, const auri_staged *staged, uint8_t *room,
                             const uint8_t **body_out, aur_error *error) {
    *body_out = auri_spool_peek(&staging->spool, staged->offset, staged->bytes);
    if (*body_out != NULL) {
        return AUR_OK;
    }
    *body_out = room;
    const aur_status status =
        auri_spool_read(&staging->spool, staged->offset, room, staged->bytes, error);
    if (status == AUR_OK && aur_checksum(room, staged->bytes, staged->page) != staged->checksum) {
        return aur_fail(error, AUR_ERR_CORRUPT,
                        "a temporary file does not hold what a transaction has put into it");
    }
    return status;
}
