/* Random operations on pages of every size, against an array of cells; and what every replay must
 * give. */
#include "../harness.h"
#include "format/record.h"
#include "page_model.h"

enum { STEPS = 3000, PAGE_ID = 77, LINK = 5, OWNER = 9 };

static void format_page(uint8_t *page, uint32_t page_bytes, aur_lsn lsn) {
    uint8_t body[12];
    uint8_t scratch[AUR_PAGE_BYTES_MAX];
    const aur_record record = {.op = AUR_OP_FORMAT,
                               .flags = AUR_RECORD_INIT,
                               .arg = AUR_PAGE_INNER | 3 << 8,
                               .lsn = lsn,
                               .page_id = PAGE_ID,
                               .body = body,
                               .body_bytes = sizeof body};
    aur_put32(body, OWNER);
    aur_put64(body + 4, LINK);
    CHECK_OK(aur_page_apply(page, page_bytes, &record, scratch));
}

/* The image of `page`, sent as a record and applied to noise, gives the same bytes. */
static void check_image(const uint8_t *page, uint32_t page_bytes) {
    static uint8_t copy[AUR_PAGE_BYTES_MAX];
    static uint8_t scratch[AUR_PAGE_BYTES_MAX];
    static uint8_t body[AUR_PAGE_BYTES_MAX + 4];
    const aur_record record = {.op = AUR_OP_IMAGE,
                               .flags = AUR_RECORD_INIT,
                               .lsn = aur_page_lsn(page),
                               .page_id = PAGE_ID,
                               .body = body,
                               .body_bytes = aur_page_image_body(page, page_bytes, body)};
    memset(copy, 0xee, sizeof copy);
    CHECK_OK(aur_page_apply(copy, page_bytes, &record, scratch));
    CHECK_EQ_MEM(copy, page, page_bytes);
}

/* Sends a record as bytes and applies what arrives. */
static void replay(uint8_t *page, uint32_t page_bytes, const aur_record *record) {
    static uint8_t bytes[AUR_RECORD_BYTES_MAX];
    static uint8_t scratch[AUR_PAGE_BYTES_MAX];
    aur_record arrived;
    size_t used;
    aur_record_encode(record, bytes);
    CHECK_OK(aur_record_decode(bytes, aur_record_bytes(record), &arrived, &used));
    CHECK_EQ_U64(used, aur_record_bytes(record));
    memset(scratch, (int)random_below(256), sizeof scratch);
    CHECK_OK(aur_page_apply(page, page_bytes, &arrived, scratch));
}

static void run_model(uint32_t page_bytes) {
    static uint8_t page[AUR_PAGE_BYTES_MAX];
    static uint8_t replica[AUR_PAGE_BYTES_MAX];
    static uint8_t before[AUR_PAGE_BYTES_MAX];
    static uint8_t scratch[AUR_PAGE_BYTES_MAX];
    static model_record change;
    page_model *model = page_model_create(page_bytes);
    memset(page, 0xaa, sizeof page);
    memset(replica, 0xbb, sizeof replica);
    format_page(page, page_bytes, 1);
    format_page(replica, page_bytes, 1);
    model->link = LINK;
    for (int step = 0; step < STEPS; step++) {
        page_model_propose(model, PAGE_ID, aur_page_lsn(page), &change);
        if (!change.fits) {
            memcpy(before, page, page_bytes);
            CHECK_STATUS(aur_page_apply(page, page_bytes, &change.record, scratch),
                         AUR_ERR_CORRUPT);
            memcpy(page, before, page_bytes);
            continue;
        }
        CHECK_OK(aur_page_apply(page, page_bytes, &change.record, scratch));
        CHECK_EQ_U64(aur_page_lsn(page), change.record.lsn);
        page_model_apply(model, &change.record);
        replay(replica, page_bytes, &change.record);
        if (step % 16 == 0) {
            page_model_compare(model, page);
            check_image(page, page_bytes);
        }
        CHECK(memcmp(page, replica, page_bytes) == 0);
    }
    CHECK_EQ_U64(aur_page_owner(page), OWNER);
    CHECK_EQ_U64(aur_page_level(page), 3);
    page_model_destroy(model);
}

TEST(random_operations_on_4_KiB_pages_follow_the_model) { run_model(4096); }
TEST(random_operations_on_8_KiB_pages_follow_the_model) { run_model(8192); }
TEST(random_operations_on_16_KiB_pages_follow_the_model) { run_model(16384); }
TEST(random_operations_on_32_KiB_pages_follow_the_model) { run_model(32768); }
TEST(random_operations_on_64_KiB_pages_follow_the_model) { run_model(65536); }
