#include "page_model.h"

#include "../harness.h"

page_model *page_model_create(uint32_t page_bytes) {
    page_model *model = calloc(1, sizeof *model);
    CHECK(model != NULL);
    model->page_bytes = page_bytes;
    return model;
}

static void remove_cells(page_model *model, uint32_t first, uint32_t count) {
    for (uint32_t at = first; at < first + count; at++)
        free(model->cells[at].bytes);
    memmove(&model->cells[first], &model->cells[first + count],
            (model->cell_count - first - count) * sizeof model->cells[0]);
    model->cell_count -= count;
}

void page_model_destroy(page_model *model) {
    remove_cells(model, 0, model->cell_count);
    free(model);
}

uint32_t page_model_used(const page_model *model) {
    uint32_t used = 0;
    for (uint32_t at = 0; at < model->cell_count; at++)
        used += AUR_SLOT_BYTES + AUR_CELL_HEADER_BYTES + model->cells[at].length;
    return used;
}

static uint32_t capacity(const page_model *model) { return model->page_bytes - AUR_PAGE_BODY_AT; }

/* Mostly short cells, some that nearly fill the page. */
static uint32_t random_length(const page_model *model) {
    const uint64_t kind = random_below(16);
    if (kind == 0)
        return (uint32_t)random_below(capacity(model));
    return (uint32_t)random_below(kind < 4 ? 600 : 60);
}

static void propose_insert(const page_model *model, model_record *out) {
    const uint32_t length = random_length(model);
    out->record.op = AUR_OP_INSERT;
    out->record.arg = (uint16_t)random_below(model->cell_count + 1);
    out->record.body_bytes = length;
    random_bytes(out->body, length);
    out->fits =
        page_model_used(model) + AUR_SLOT_BYTES + AUR_CELL_HEADER_BYTES + length <= capacity(model);
}

static void propose_insert_many(const page_model *model, model_record *out) {
    const uint32_t count = 1 + (uint32_t)random_below(40);
    uint32_t body_bytes = 0;
    for (uint32_t at = 0; at < count; at++) {
        const uint32_t length = (uint32_t)random_below(80);
        aur_put16(out->body + body_bytes, (uint16_t)length);
        random_bytes(out->body + body_bytes + AUR_CELL_HEADER_BYTES, length);
        body_bytes += AUR_CELL_HEADER_BYTES + length;
    }
    out->record.op = AUR_OP_INSERT_MANY;
    out->record.arg = (uint16_t)random_below(model->cell_count + 1);
    out->record.body_bytes = body_bytes;
    out->fits = page_model_used(model) + AUR_SLOT_BYTES * count + body_bytes <= capacity(model);
}

static void propose_delete(const page_model *model, model_record *out) {
    const uint32_t first = (uint32_t)random_below(model->cell_count);
    const uint32_t most = model->cell_count - first;
    const uint32_t count = random_below(8) != 0 ? 1 : 1 + (uint32_t)random_below(most);
    out->record.op = AUR_OP_DELETE;
    out->record.arg = (uint16_t)first;
    out->record.body_bytes = 2;
    aur_put16(out->body, (uint16_t)count);
    out->fits = true;
}

static void propose_replace(const page_model *model, model_record *out) {
    const uint32_t slot = (uint32_t)random_below(model->cell_count);
    const uint32_t old_length = model->cells[slot].length;
    const uint32_t length =
        random_below(2) != 0 ? (uint32_t)random_below(old_length + 1) : random_length(model);
    out->record.op = AUR_OP_REPLACE;
    out->record.arg = (uint16_t)slot;
    out->record.body_bytes = length;
    random_bytes(out->body, length);
    out->fits = page_model_used(model) - old_length + length <= capacity(model);
}

static void propose_patch_cell(const page_model *model, model_record *out) {
    const uint32_t slot = (uint32_t)random_below(model->cell_count);
    const uint32_t from = (uint32_t)random_below(model->cells[slot].length + 1);
    const uint32_t count = (uint32_t)random_below(model->cells[slot].length - from + 1);
    out->record.op = AUR_OP_PATCH_CELL;
    out->record.arg = (uint16_t)slot;
    out->record.body_bytes = 2 + count;
    aur_put16(out->body, (uint16_t)from);
    random_bytes(out->body + 2, count);
    out->fits = true;
}

static void propose_patch(model_record *out) {
    const uint32_t from = AUR_PAGE_LINK_AT + (uint32_t)random_below(16);
    const uint32_t count = (uint32_t)random_below(AUR_PAGE_BODY_AT - from + 1);
    out->record.op = AUR_OP_PATCH;
    out->record.arg = (uint16_t)from;
    out->record.body_bytes = count;
    random_bytes(out->body, count);
    out->fits = true;
}

/* Spoils a change in one of the ways that a page must refuse whatever it holds. */
static void spoil(const page_model *model, model_record *out) {
    out->fits = false;
    switch (random_below(3)) {
    case 0:
        out->record.page_prev_lsn++;
        break;
    case 1:
        out->record.page_id++;
        break;
    default:
        out->record.arg = (uint16_t)(out->record.op == AUR_OP_PATCH ? AUR_PAGE_BODY_AT + 1
                                                                    : model->cell_count + 1);
        break;
    }
}

void page_model_propose(const page_model *model, aur_page_id page_id, aur_lsn prev_lsn,
                        model_record *out) {
    const uint64_t kind = random_below(100);
    out->record = (aur_record){.lsn = prev_lsn + 1 + random_below(5),
                               .page_id = page_id,
                               .page_prev_lsn = prev_lsn,
                               .body = out->body};
    if (kind < 45 || model->cell_count == 0)
        propose_insert(model, out);
    else if (kind < 55)
        propose_insert_many(model, out);
    else if (kind < 70)
        propose_delete(model, out);
    else if (kind < 85)
        propose_replace(model, out);
    else if (kind < 95)
        propose_patch_cell(model, out);
    else
        propose_patch(out);
    if (random_below(50) == 0)
        spoil(model, out);
}

static void set_cell(model_cell *cell, const uint8_t *bytes, uint32_t length) {
    uint8_t *copy = malloc(length + 1);
    CHECK(copy != NULL);
    memcpy(copy, bytes, length);
    free(cell->bytes);
    cell->bytes = copy;
    cell->length = length;
}

static void insert_cell(page_model *model, uint32_t slot, const uint8_t *bytes, uint32_t length) {
    memmove(&model->cells[slot + 1], &model->cells[slot],
            (model->cell_count - slot) * sizeof model->cells[0]);
    model->cells[slot] = (model_cell){0};
    set_cell(&model->cells[slot], bytes, length);
    model->cell_count++;
}

static void patch_header(page_model *model, const aur_record *record) {
    uint8_t fields[16];
    aur_put64(fields, model->link);
    aur_put64(fields + 8, model->count);
    memcpy(fields + (record->arg - AUR_PAGE_LINK_AT), record->body, record->body_bytes);
    model->link = aur_get64(fields);
    model->count = aur_get64(fields + 8);
}

void page_model_apply(page_model *model, const aur_record *record) {
    uint32_t slot = record->arg;
    switch (record->op) {
    case AUR_OP_INSERT:
        insert_cell(model, slot, record->body, record->body_bytes);
        break;
    case AUR_OP_INSERT_MANY:
        for (uint32_t at = 0; at < record->body_bytes;) {
            const uint32_t length = aur_get16(record->body + at);
            insert_cell(model, slot++, record->body + at + AUR_CELL_HEADER_BYTES, length);
            at += AUR_CELL_HEADER_BYTES + length;
        }
        break;
    case AUR_OP_DELETE:
        remove_cells(model, slot, aur_get16(record->body));
        break;
    case AUR_OP_REPLACE:
        set_cell(&model->cells[slot], record->body, record->body_bytes);
        break;
    case AUR_OP_PATCH_CELL:
        memcpy(model->cells[slot].bytes + aur_get16(record->body), record->body + 2,
               record->body_bytes - 2);
        break;
    case AUR_OP_PATCH:
        patch_header(model, record);
        break;
    default:
        FAIL("the model does not know operation %d", record->op);
    }
}

void page_model_compare(const page_model *model, const uint8_t *page) {
    CHECK_OK(aur_page_check_structure(page, model->page_bytes));
    CHECK_EQ_U64(aur_page_slots(page), model->cell_count);
    CHECK_EQ_U64(aur_page_link(page), model->link);
    CHECK_EQ_U64(aur_page_count(page), model->count);
    CHECK_EQ_U64(aur_page_used_bytes(page, model->page_bytes), page_model_used(model));
    CHECK_EQ_U64(aur_page_free_bytes(page, model->page_bytes),
                 capacity(model) - page_model_used(model));
    for (uint32_t slot = 0; slot < model->cell_count; slot++) {
        uint32_t length;
        const uint8_t *cell = aur_page_cell(page, slot, &length);
        CHECK_EQ_U64(length, model->cells[slot].length);
        CHECK_EQ_MEM(cell, model->cells[slot].bytes, length);
    }
}
