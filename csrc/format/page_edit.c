#include "format/page_edit.h"

#include <string.h>

#include "format/page_private.h"

bool auri_page_apply_edits(uint8_t *page, uint32_t page_bytes, const aur_record *record) {
    const uint8_t *edit = record->body;
    uint32_t left = record->body_bytes;
    if (aur_page_type_of(page) != AUR_PAGE_SQL) {
        return false;
    }
    while (left >= AUR_EDIT_BODY_AT) {
        const uint32_t to = aur_get16(edit + AUR_EDIT_TO_AT);
        const uint32_t length = aur_get16(edit + AUR_EDIT_LENGTH_AT);
        const bool is_move = edit[AUR_EDIT_KIND_AT] == AUR_EDIT_MOVE;
        const uint32_t body_bytes = is_move ? (uint32_t)sizeof(uint16_t) : length;
        if ((!is_move && edit[AUR_EDIT_KIND_AT] != AUR_EDIT_WRITE) || length == 0 ||
            to < AUR_PAGE_BODY_AT || to + length > page_bytes ||
            body_bytes > left - AUR_EDIT_BODY_AT) {
            return false;
        }
        const uint8_t *source = edit + AUR_EDIT_BODY_AT;
        if (is_move) {
            const uint32_t from = aur_get16(source);
            if (from < AUR_PAGE_BODY_AT || from + length > page_bytes) {
                return false;
            }
            source = page + from;
        }
        memmove(page + to, source, length);
        edit += AUR_EDIT_BODY_AT + body_bytes;
        left -= AUR_EDIT_BODY_AT + body_bytes;
    }
    return left == 0 && record->body_bytes > 0;
}
