/*
 * A stream of records on one page. Whatever decodes must encode to the same bytes, and whatever
 * apply takes must leave a sound page. Page id and previous LSN are set right, so that the
 * operations behind them are reached.
 */
#include <string.h>

#include "base/assert.h"
#include "format/record.h"

enum { PAGE_BYTES = AUR_PAGE_BYTES_MIN };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_encoding(const aur_record *record, const uint8_t *bytes, size_t used) {
    static uint8_t encoded[AUR_RECORD_BYTES_MAX];
    aur_record_encode(record, encoded);
    AUR_ASSERT(used == aur_record_bytes(record));
    AUR_ASSERT(memcmp(encoded, bytes, used) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    uint8_t page[PAGE_BYTES] = {0};
    uint8_t scratch[PAGE_BYTES];
    aur_record record;
    size_t used;
    while (aur_record_decode(bytes, size, &record, &used) == AUR_OK) {
        check_encoding(&record, bytes, used);
        record.page_id = 1;
        record.page_prev_lsn = aur_page_lsn(page);
        if (aur_page_apply(page, PAGE_BYTES, &record, scratch) != AUR_OK) {
            break;
        }
        AUR_ASSERT(aur_page_check_structure(page, PAGE_BYTES) == AUR_OK);
        AUR_ASSERT(aur_page_lsn(page) == record.lsn);
        bytes += used;
        size -= used;
    }
    return 0;
}
