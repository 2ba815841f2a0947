/*
 * A page as a test sees it: an array of cells, and the random operations that change it. What the
 * page format does with slots, heap and garbage must never show through.
 */
#ifndef AURORA_TESTS_FORMAT_PAGE_MODEL_H
#define AURORA_TESTS_FORMAT_PAGE_MODEL_H

#include "format/record.h"

typedef struct model_cell {
    uint8_t *bytes;
    uint32_t length;
} model_cell;

typedef struct page_model {
    uint32_t page_bytes;
    uint64_t link;
    uint64_t count;
    uint32_t cell_count;
    model_cell cells[AUR_PAGE_BYTES_MAX / 4];
} page_model;

/* A record whose body it owns: room for the longest body there is. */
typedef struct model_record {
    aur_record record;
    bool fits; /* what aur_page_apply must say of it */
    uint8_t body[AUR_PAGE_BYTES_MAX + 64];
} model_record;

/* A new model of an empty page. page_model_destroy frees it. */
page_model *page_model_create(uint32_t page_bytes);
void page_model_destroy(page_model *model);

/* Bytes that cells and slots take, by the format's rules. */
uint32_t page_model_used(const page_model *model);

/* A random change for the model's page, which holds `page_id` at `prev_lsn`. A few do not fit. */
void page_model_propose(const page_model *model, aur_page_id page_id, aur_lsn prev_lsn,
                        model_record *out);

/* Makes the change of a record that fits. */
void page_model_apply(page_model *model, const aur_record *record);

/* Fails the test unless `page` holds exactly what the model does. */
void page_model_compare(const page_model *model, const uint8_t *page);

#endif
