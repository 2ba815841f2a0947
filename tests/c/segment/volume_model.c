#include "volume_model.h"

#include "../harness.h"
#include "format/checksum.h"

volume_model *model_create(void) {
    volume_model *model = calloc(1, sizeof *model);
    CHECK(model != NULL);
    memset(model->identity.volume_id, 0x5a, AUR_VOLUME_ID_BYTES);
    model->identity.group = MODEL_GROUP;
    model->identity.copies = 6;
    model->identity.page_bytes = MODEL_PAGE_BYTES;
    model->identity.group_pages = MODEL_GROUP_PAGES;
    model->seed = aur_volume_seed(model->identity.volume_id);
    model->epoch = 1;
    model->next_lsn = 1;
    return model;
}

void model_destroy(volume_model *model) {
    for (size_t at = 0; at < model->frame_count; at++)
        aur_frame_release(model->frames[at]);
    for (size_t at = 0; at < MODEL_PAGES; at++) {
        for (size_t version = 0; version < model->pages[at].count; version++)
            free(model->pages[at].versions[version].bytes);
        free(model->pages[at].versions);
    }
    free(model->frames);
    free(model);
}

uint64_t model_page_sum(const uint8_t *page) {
    uint8_t body[MODEL_PAGE_BYTES + 4];
    uint32_t length = aur_page_image_body(page, MODEL_PAGE_BYTES, body);
    return aur_checksum(body, length, aur_page_lsn(page));
}

static void remember(const volume_model *model, model_page *page, aur_lsn lsn) {
    if (page->count == page->capacity) {
        page->capacity = page->capacity == 0 ? 64 : page->capacity * 2;
        page->versions = realloc(page->versions, page->capacity * sizeof *page->versions);
        CHECK(page->versions != NULL);
    }
    model_version *version = &page->versions[page->count++];
    *version = (model_version){lsn, model_page_sum(page->bytes), NULL};
    if (model->keeps_bytes) {
        version->bytes = malloc(MODEL_PAGE_BYTES);
        CHECK(version->bytes != NULL);
        memcpy(version->bytes, page->bytes, MODEL_PAGE_BYTES);
    }
}

/* A random operation that may or may not fit the page. */
static void random_operation(const model_page *page, aur_record *record, uint8_t *body) {
    uint32_t slots = page->exists ? aur_page_slots(page->bytes) : 0;
    record->body = body;
    record->flags = 0;
    record->arg = slots == 0 ? 0 : (uint16_t)random_below(slots);
    uint64_t choice = random_below(12);
    if (!page->exists || (choice == 0 && random_below(8) == 0)) {
        record->op = AUR_OP_FORMAT;
        record->flags = AUR_RECORD_INIT;
        record->arg = AUR_PAGE_LEAF;
        aur_put32(body, 7);
        aur_put64(body + 4, random_u64());
        record->body_bytes = 12;
    } else if (slots == 0 || choice < 7) {
        record->op = AUR_OP_INSERT;
        record->body_bytes = (uint32_t)(1 + random_below(60));
        random_bytes(body, record->body_bytes);
    } else if (choice < 9) {
        record->op = AUR_OP_REPLACE;
        record->body_bytes = (uint32_t)(1 + random_below(80));
        random_bytes(body, record->body_bytes);
    } else {
        record->op = AUR_OP_DELETE;
        record->body_bytes = 2;
        aur_put16(body, 1);
    }
}

/* Puts one random record for a random page at `out`; returns its bytes. */
static uint32_t write_record(volume_model *model, aur_lsn lsn, bool is_commit, uint8_t *out) {
    /* Half of the records go to two hot pages, whose chains get long. */
    uint32_t number = (uint32_t)random_below(random_below(2) == 0 ? 2 : MODEL_PAGES);
    model_page *page = &model->pages[number];
    uint8_t scratch[MODEL_PAGE_BYTES];
    uint8_t before[MODEL_PAGE_BYTES];
    uint8_t body[128];
    for (;;) {
        aur_record record;
        random_operation(page, &record, body);
        record.lsn = lsn;
        record.page_id = MODEL_GROUP * MODEL_GROUP_PAGES + number;
        record.page_prev_lsn = record.flags & AUR_RECORD_INIT ? 0 : aur_page_lsn(page->bytes);
        memcpy(before, page->bytes, sizeof before);
        if (aur_page_apply(page->bytes, MODEL_PAGE_BYTES, &record, scratch) == AUR_OK) {
            page->exists = true;
            remember(model, page, lsn);
            record.flags |= is_commit ? AUR_RECORD_CPL : 0;
            record.time_us = is_commit ? (model->time_us += random_below(3)) : 0;
            aur_record_encode(&record, out);
            return aur_record_bytes(&record);
        }
        /* It did not fit: make room by starting over. */
        memcpy(page->bytes, before, sizeof before);
        if (random_below(4) == 0)
            page->exists = false;
    }
}

aur_frame *model_write(volume_model *model, uint32_t records) {
    aur_frame *frame = aur_frame_create(AUR_FRAME_BODY_AT + records * 160);
    CHECK(frame != NULL);
    uint32_t length = AUR_FRAME_BODY_AT;
    aur_frame_header *header = &frame->header;
    header->prev_lsn = model->prev_lsn;
    model->next_lsn += random_below(3); /* LSNs of other groups */
    header->first_lsn = model->next_lsn;
    for (uint32_t at = 0; at < records; at++)
        length += write_record(model, model->next_lsn++, at + 1 == records, frame->bytes + length);
    header->last_lsn = model->next_lsn - 1;
    header->volume_first = header->first_lsn;
    header->volume_last = header->last_lsn;
    header->last_cpl = header->last_lsn;
    header->vdl = model->vdl;
    header->time_us = model->time_us;
    header->epoch = model->epoch;
    header->group = MODEL_GROUP;
    header->groups = 1;
    header->records = records;
    header->length = length;
    memset(frame->bytes + length, 0, frame->capacity - length);
    aur_frame_seal(frame->bytes, header, model->seed);
    model->prev_lsn = header->last_lsn;
    if (model->frame_count == model->frame_capacity) {
        model->frame_capacity = model->frame_capacity == 0 ? 64 : model->frame_capacity * 2;
        model->frames = realloc(model->frames, model->frame_capacity * sizeof *model->frames);
        CHECK(model->frames != NULL);
    }
    model->frames[model->frame_count++] = frame;
    return frame;
}

/* Builds the page anew from the frames that are left. */
static void replay_page(volume_model *model, uint32_t number) {
    model_page *page = &model->pages[number];
    uint8_t scratch[MODEL_PAGE_BYTES];
    page->exists = false;
    for (size_t at = 0; at < model->frame_count; at++) {
        const aur_frame *frame = model->frames[at];
        for (size_t offset = AUR_FRAME_BODY_AT; offset < frame->header.length;) {
            aur_record record;
            size_t used;
            CHECK_OK(aur_record_decode(frame->bytes + offset, frame->header.length - offset,
                                       &record, &used));
            if (record.page_id == MODEL_GROUP * MODEL_GROUP_PAGES + number) {
                CHECK_OK(aur_page_apply(page->bytes, MODEL_PAGE_BYTES, &record, scratch));
                page->exists = true;
            }
            offset += used;
        }
    }
}

void model_truncate(volume_model *model, aur_lsn to, aur_lsn at) {
    while (model->frame_count > 0 && model->frames[model->frame_count - 1]->header.last_lsn > to)
        aur_frame_release(model->frames[--model->frame_count]);
    model->prev_lsn =
        model->frame_count == 0 ? 0 : model->frames[model->frame_count - 1]->header.last_lsn;
    model->next_lsn = at + 1;
    for (uint32_t number = 0; number < MODEL_PAGES; number++) {
        model_page *page = &model->pages[number];
        while (page->count > 0 && page->versions[page->count - 1].lsn > to)
            page->count--;
        replay_page(model, number);
    }
}

const model_version *model_seen(const volume_model *model, uint32_t number, aur_lsn read_point) {
    const model_page *page = &model->pages[number];
    for (size_t at = page->count; at > 0; at--) {
        const model_version *version = &page->versions[at - 1];
        if (version->lsn <= read_point &&
            aur_history_visible(model->rewinds, model->rewind_count, read_point, version->lsn))
            return version;
    }
    return NULL;
}

aur_rewind model_rewind(volume_model *model, aur_lsn to) {
    CHECK(model->keeps_bytes && model->rewind_count < MODEL_REWINDS_MAX);
    aur_rewind rewind = {.at = model->next_lsn - 1,
                         .to = to,
                         .epoch = model->epoch,
                         .time_us = model->time_us,
                         .lost_commits = 7,
                         .kind = AUR_REWIND_BACKTRACK,
                         .who = "the model"};
    model->rewinds[model->rewind_count++] = rewind;
    model->next_lsn = rewind.at + 2;
    for (uint32_t number = 0; number < MODEL_PAGES; number++) {
        model_page *page = &model->pages[number];
        const model_version *seen = model_seen(model, number, rewind.at + 1);
        page->exists = seen != NULL;
        if (seen != NULL)
            memcpy(page->bytes, seen->bytes, MODEL_PAGE_BYTES);
    }
    return rewind;
}

bool model_check_page(const volume_model *model, aur_segment *segment, uint32_t number,
                      aur_lsn read_point) {
    const model_version *expected = model_seen(model, number, read_point);
    uint8_t bytes[MODEL_PAGE_BYTES];
    aur_error error;
    aur_error_clear(&error);
    if (read_point % 2 == 0) /* announced or not, the read is the same */
        aur_segment_will_read(segment, MODEL_GROUP * MODEL_GROUP_PAGES + number, read_point);
    aur_status status = aur_segment_read_page(segment, MODEL_GROUP * MODEL_GROUP_PAGES + number,
                                              read_point, bytes, &error);
    if (status == AUR_ERR_CORRUPT || status == AUR_ERR_IO) {
        CHECK(error.status == status && error.message[0] != '\0' && error.copy >= 0);
        return false;
    }
    if (expected == NULL) {
        CHECK_STATUS(status, AUR_NOT_FOUND);
        return true;
    }
    CHECK_MSG(status == AUR_OK, "page %u at %" PRIu64 ": %d %s", number, read_point, status,
              error.message);
    CHECK_EQ_U64(aur_page_lsn(bytes), expected->lsn);
    CHECK_MSG(model_page_sum(bytes) == expected->sum, "page %u at %" PRIu64 " has wrong bytes",
              number, read_point);
    return true;
}

void model_check_all(const volume_model *model, aur_segment *segment, aur_lsn read_point) {
    for (uint32_t number = 0; number < MODEL_PAGES; number++)
        CHECK_MSG(model_check_page(model, segment, number, read_point), "page %u is damaged",
                  number);
}

void model_options(aur_segment_options *options) {
    aur_segment_default_options(options);
    options->extent_bytes = 128 << 10;
    options->memtable_bytes = 24 << 10;
    options->merge_fanout = 3;
    options->delta_bytes = 32 << 10;
    options->part_bytes = 48 << 10;
}

aur_segment *model_segment(const volume_model *model, aur_disk *disk) {
    aur_segment_options options;
    aur_segment *segment;
    aur_error error;
    aur_error_clear(&error);
    model_options(&options);
    CHECK_OK(aur_segment_create(disk, &model->identity, 1, 0, &error));
    CHECK_OK(aur_segment_open(disk, &model->identity, &options, &segment, &error));
    return segment;
}

void model_ship(const volume_model *model, aur_segment *segment) {
    aur_segment_state state;
    aur_lsn scl;
    aur_error error;
    aur_error_clear(&error);
    aur_segment_get_state(segment, &state);
    for (size_t at = 0; at < model->frame_count; at++) {
        if (model->frames[at]->header.last_lsn > state.scl) {
            aur_status status =
                aur_segment_fill(segment, model->frames[at], state.epoch, &scl, &error);
            CHECK_MSG(status == AUR_OK, "append: %d %s", status, error.message);
            CHECK_EQ_U64(scl, model->frames[at]->header.last_lsn);
        }
    }
    aur_segment_set_vdl(segment, model->vdl);
}

static unsigned repeat(aur_segment *segment, bool tidy) {
    unsigned units = 0;
    for (;;) {
        aur_error error;
        aur_error_clear(&error);
        aur_status status = aur_segment_work(segment, &error);
        if (status == AUR_NOT_FOUND && tidy)
            status = aur_segment_tidy(segment, AUR_TIDY_LAYERS, &error);
        if (status == AUR_NOT_FOUND)
            return units;
        CHECK_MSG(status == AUR_OK, "work: %d %s", status, error.message);
        units++;
        CHECK(units < 10000);
    }
}

unsigned model_work(aur_segment *segment) { return repeat(segment, false); }

void model_tidy(aur_segment *segment) { repeat(segment, true); }

void model_change_byte(aur_disk *disk, const char *name, uint64_t offset, uint8_t mask) {
    aur_file *file;
    uint8_t byte;
    size_t length;
    CHECK_OK(aur_disk_open_file(disk, name, AUR_FILE_WRITE | AUR_FILE_READ, &file, NULL));
    CHECK_OK(aur_file_read(file, offset, &byte, 1, &length, NULL));
    byte ^= mask;
    CHECK_OK(aur_file_write(file, offset, &byte, 1, NULL));
    CHECK_OK(aur_file_sync(file, NULL));
    aur_file_close(file);
}
