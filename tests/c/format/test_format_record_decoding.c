/* Records as bytes: round trips, what the decoder refuses, and hostile records on sound and hostile
 * pages. */
#include "../harness.h"
#include "format/record.h"
#include "page_model.h"

enum { ROUNDS = 20000, PAGE_ID = 3 };

static aur_record random_record(uint8_t *body, uint32_t body_max) {
    aur_record record = {.op = (uint8_t)(AUR_OP_FORMAT + random_below(AUR_OP_LAST)),
                         .arg = (uint16_t)random_u64(),
                         .lsn = random_u64() | 2,
                         .page_id = random_u64(),
                         .body = body,
                         .body_bytes = (uint32_t)random_below(body_max + 1)};
    const bool is_init = record.op == AUR_OP_FORMAT || record.op == AUR_OP_IMAGE;
    record.flags =
        (uint8_t)((is_init ? AUR_RECORD_INIT : 0) | (random_below(2) != 0 ? AUR_RECORD_CPL : 0));
    record.page_prev_lsn = is_init ? 0 : random_below(record.lsn);
    record.time_us = (record.flags & AUR_RECORD_CPL) != 0 ? random_u64() : 0;
    random_bytes(body, record.body_bytes);
    return record;
}

TEST(records_survive_encoding) {
    uint8_t body[300];
    uint8_t bytes[AUR_RECORD_BODY_AT + sizeof body + AUR_RECORD_TIME_BYTES + 1];
    for (int round = 0; round < ROUNDS; round++) {
        const aur_record sent = random_record(body, sizeof body);
        aur_record got;
        size_t used;
        uint8_t *at = bytes + random_below(2); /* any alignment */
        aur_record_encode(&sent, at);
        CHECK_OK(aur_record_decode(at, aur_record_bytes(&sent), &got, &used));
        CHECK_EQ_U64(used, aur_record_bytes(&sent));
        CHECK(got.op == sent.op && got.flags == sent.flags && got.arg == sent.arg);
        CHECK(got.lsn == sent.lsn && got.page_id == sent.page_id);
        CHECK(got.page_prev_lsn == sent.page_prev_lsn && got.body_bytes == sent.body_bytes);
        CHECK_EQ_MEM(got.body, body, sent.body_bytes);
        CHECK_EQ_U64(got.time_us, sent.time_us);
        CHECK_EQ_U64(aur_record_commit_time(at), sent.time_us);
        CHECK_STATUS(aur_record_decode(at, used - 1, &got, &used), AUR_ERR_CORRUPT);
    }
}

TEST(a_body_in_place_is_left_alone) {
    uint8_t bytes[AUR_RECORD_BODY_AT + 4] = {0};
    const aur_record record = {.op = AUR_OP_INSERT, .lsn = 2, .body_bytes = 4};
    memcpy(bytes + AUR_RECORD_BODY_AT, "body", 4);
    aur_record_encode(&record, bytes);
    CHECK_EQ_MEM(bytes + AUR_RECORD_BODY_AT, "body", 4);
    CHECK_EQ_U64(aur_get32(bytes), sizeof bytes);
}

/* Decodes `record` after it was encoded and its length field replaced. */
static aur_status decode(const aur_record *record, uint32_t length_field) {
    static uint8_t bytes[AUR_RECORD_BYTES_MAX + 64];
    aur_record got;
    size_t used;
    aur_record_encode(record, bytes);
    aur_put32(bytes + AUR_RECORD_LENGTH_AT, length_field);
    return aur_record_decode(bytes, sizeof bytes, &got, &used);
}

TEST(headers_that_break_the_format_are_refused) {
    const aur_record sound = {.op = AUR_OP_INSERT, .lsn = 9, .page_prev_lsn = 8};
    aur_record bad = sound;
    CHECK_OK(decode(&sound, AUR_RECORD_BODY_AT));
    CHECK_OK(decode(&sound, AUR_RECORD_BYTES_MAX - AUR_RECORD_TIME_BYTES));
    CHECK_STATUS(decode(&sound, AUR_RECORD_BODY_AT - 1), AUR_ERR_CORRUPT);
    CHECK_STATUS(decode(&sound, AUR_RECORD_BYTES_MAX - AUR_RECORD_TIME_BYTES + 1), AUR_ERR_CORRUPT);
    CHECK_STATUS(decode(&sound, UINT32_MAX), AUR_ERR_CORRUPT);
    bad.flags = AUR_RECORD_CPL;
    CHECK_OK(decode(&bad, AUR_RECORD_BODY_AT + AUR_RECORD_TIME_BYTES));
    CHECK_OK(decode(&bad, AUR_RECORD_BYTES_MAX));
    CHECK_STATUS(decode(&bad, AUR_RECORD_BODY_AT + AUR_RECORD_TIME_BYTES - 1), AUR_ERR_CORRUPT);
    CHECK_STATUS(decode(&bad, AUR_RECORD_BYTES_MAX + 1), AUR_ERR_CORRUPT);
    bad = sound;
    bad.op = 0;
    CHECK_STATUS(decode(&bad, AUR_RECORD_BODY_AT), AUR_ERR_CORRUPT);
    bad.op = AUR_OP_LAST + 1;
    CHECK_STATUS(decode(&bad, AUR_RECORD_BODY_AT), AUR_ERR_CORRUPT);
    bad = sound;
    bad.flags = 4;
    CHECK_STATUS(decode(&bad, AUR_RECORD_BODY_AT), AUR_ERR_CORRUPT);
    bad.flags = AUR_RECORD_INIT;
    CHECK_STATUS(decode(&bad, AUR_RECORD_BODY_AT), AUR_ERR_CORRUPT);
    bad = sound;
    bad.page_prev_lsn = bad.lsn;
    CHECK_STATUS(decode(&bad, AUR_RECORD_BODY_AT), AUR_ERR_CORRUPT);
    bad = sound;
    bad.op = AUR_OP_IMAGE;
    bad.page_prev_lsn = 0;
    CHECK_STATUS(decode(&bad, AUR_RECORD_BODY_AT), AUR_ERR_CORRUPT);
    bad.flags = AUR_RECORD_INIT;
    CHECK_OK(decode(&bad, AUR_RECORD_BODY_AT));
    bad.page_prev_lsn = 1;
    CHECK_STATUS(decode(&bad, AUR_RECORD_BODY_AT), AUR_ERR_CORRUPT);
}

TEST(noise_is_decoded_without_harm) {
    for (int round = 0; round < ROUNDS; round++) {
        const size_t length = random_below(80);
        uint8_t *bytes = malloc(length + 1); /* exact, so that a sanitizer sees one byte too far */
        aur_record record;
        size_t used;
        CHECK(bytes != NULL);
        random_bytes(bytes, length);
        if (length >= AUR_RECORD_BODY_AT && random_below(2) != 0)
            aur_put32(bytes, (uint32_t)random_below(100));
        if (aur_record_decode(bytes + 0, length, &record, &used) == AUR_OK)
            CHECK(used <= length && used == aur_record_bytes(&record));
        free(bytes);
    }
}

/* An SQL page with noise in it. */
static void build_sql_page(uint8_t *page, uint32_t page_bytes) {
    memset(page, 0, page_bytes);
    aur_put64(page + AUR_PAGE_ID_AT, PAGE_ID);
    aur_put64(page + AUR_PAGE_LSN_AT, 1);
    page[AUR_PAGE_TYPE_AT] = AUR_PAGE_SQL;
    aur_put32(page + AUR_PAGE_HEAP_AT, page_bytes);
    random_bytes(page + AUR_PAGE_BODY_AT, random_below(page_bytes - AUR_PAGE_BODY_AT));
}

/* A page that the model filled, in `page`; or one for edits. */
static void build_page(uint8_t *page, uint32_t page_bytes, int steps) {
    static uint8_t scratch[AUR_PAGE_BYTES_MAX];
    static model_record step_change;
    if (random_below(8) == 0) {
        build_sql_page(page, page_bytes);
        return;
    }
    page_model *model = page_model_create(page_bytes);
    const uint8_t body[12] = {0};
    const aur_record record = {.op = AUR_OP_FORMAT,
                               .arg = AUR_PAGE_LEAF,
                               .lsn = 1,
                               .page_id = PAGE_ID,
                               .body = body,
                               .body_bytes = sizeof body};
    CHECK_OK(aur_page_apply(page, page_bytes, &record, scratch));
    while (steps-- > 0) {
        page_model_propose(model, PAGE_ID, aur_page_lsn(page), &step_change);
        if (!step_change.fits)
            continue;
        CHECK_OK(aur_page_apply(page, page_bytes, &step_change.record, scratch));
        page_model_apply(model, &step_change.record);
    }
    page_model_destroy(model);
}

/* An edit of the first bytes, as far as it has room. */
static void edit_head(uint8_t *body, uint32_t body_bytes) {
    const uint8_t head[] = {(uint8_t)(1 + random_below(2)),
                            (uint8_t)(50 + random_below(40)),
                            0,
                            (uint8_t)random_below(20),
                            0,
                            (uint8_t)(50 + random_below(40)),
                            0};
    memcpy(body, head, body_bytes < sizeof head ? body_bytes : sizeof head);
}

/* A record for `page` with a random operation and body; small numbers where offsets and counts
 * stand. */
static void hostile_record(const uint8_t *page, uint32_t page_bytes, aur_record *record,
                           uint8_t *body) {
    *record = random_record(body, random_below(4) != 0 ? 64 : page_bytes);
    if (aur_page_type_of(page) == AUR_PAGE_SQL && random_below(2) != 0) {
        record->op = AUR_OP_EDIT;
        edit_head(body, record->body_bytes);
    }
    record->page_id = PAGE_ID;
    record->page_prev_lsn = aur_page_lsn(page);
    if (random_below(4) != 0)
        record->arg = (uint16_t)random_below(64);
    if (record->op == AUR_OP_DELETE && random_below(4) != 0)
        record->body_bytes = 2;
    if (record->op == AUR_OP_IMAGE && random_below(2) != 0)
        record->body_bytes = aur_page_image_body(page, page_bytes, body);
    if (record->body_bytes >= 4 && record->op != AUR_OP_IMAGE && record->op != AUR_OP_EDIT &&
        random_below(4) != 0)
        aur_put32(body, (uint32_t)random_below(64));
    if (record->body_bytes > 0 && random_below(2) != 0)
        body[random_below(record->body_bytes)] ^= (uint8_t)(1u << random_below(8));
}

TEST(hostile_records_leave_sound_pages_sound) {
    static uint8_t body[AUR_PAGE_BYTES_MAX + 64];
    for (int round = 0; round < ROUNDS; round++) {
        const uint32_t page_bytes = (uint32_t)AUR_PAGE_BYTES_MIN << random_below(2);
        uint8_t *page = malloc(page_bytes);
        uint8_t *scratch = malloc(page_bytes);
        aur_record record;
        CHECK(page != NULL && scratch != NULL);
        build_page(page, page_bytes, (int)random_below(30));
        hostile_record(page, page_bytes, &record, body);
        if (aur_page_apply(page, page_bytes, &record, scratch) == AUR_OK)
            CHECK_OK(aur_page_check_structure(page, page_bytes));
        free(scratch);
        free(page);
    }
}

/* Pages that passed no check: the bytes may become nonsense, but nothing outside is touched. */
TEST(hostile_pages_are_changed_without_harm) {
    static uint8_t body[AUR_PAGE_BYTES_MAX + 64];
    for (int round = 0; round < ROUNDS; round++) {
        const uint32_t page_bytes = (uint32_t)AUR_PAGE_BYTES_MIN << random_below(2);
        uint8_t *page = malloc(page_bytes);
        uint8_t *scratch = malloc(page_bytes);
        aur_record record;
        CHECK(page != NULL && scratch != NULL);
        build_page(page, page_bytes, (int)random_below(60));
        for (uint64_t flips = 1 + random_below(8); flips > 0; flips--)
            page[24 + random_below(random_below(2) != 0 ? 60 : page_bytes - 24)] =
                (uint8_t)random_u64();
        for (int changes = 0; changes < 4; changes++) {
            hostile_record(page, page_bytes, &record, body);
            if (aur_page_apply(page, page_bytes, &record, scratch) != AUR_OK)
                break;
        }
        (void)aur_page_used_bytes(page, page_bytes);
        (void)!aur_page_check_structure(page, page_bytes);
        free(scratch);
        free(page);
    }
}
