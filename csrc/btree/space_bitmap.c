/* The bits of one bitmap page: bit i, counted from the lowest bit of the first payload byte, is set
 * when page i of the group is in use. */
#include "btree/btree_private.h"

enum { WORD_BITS = 64 };

/* The 64 bits from `bit` on, which is a multiple of 64. Payloads are a multiple of 8 bytes. */
static uint64_t word_at(const uint8_t *page, uint32_t bit) {
    return aur_get64(page + AUR_PAGE_BODY_AT + bit / 8);
}

uint32_t auri_bitmap_count_set(const uint8_t *page, uint32_t bits) {
    uint32_t count = 0;
    for (uint32_t bit = 0; bit < bits; bit += WORD_BITS) {
        count += (uint32_t)__builtin_popcountll(word_at(page, bit));
    }
    return count;
}

uint32_t auri_bitmap_end(const uint8_t *page, uint32_t bits) {
    for (uint32_t end = bits; end > 0; end -= WORD_BITS) {
        const uint64_t word = word_at(page, end - WORD_BITS);
        if (word != 0) {
            return end - (uint32_t)__builtin_clzll(word);
        }
    }
    return 0;
}

static void add_to_run(auri_run *run, aur_page_id page_id, uint32_t count) {
    if (run->length == 0) {
        run->first = page_id;
    }
    run->length += count;
}

bool auri_bitmap_extend_run(const uint8_t *page, uint32_t bits, uint32_t from, aur_page_id base,
                            uint64_t wanted, auri_run *run) {
    uint32_t bit = from;
    while (bit < bits && run->length < wanted) {
        const bool is_word = bit % WORD_BITS == 0;
        if (is_word && word_at(page, bit) == UINT64_MAX) {
            run->length = 0;
            bit += WORD_BITS;
        } else if (is_word && word_at(page, bit) == 0) {
            add_to_run(run, base + bit, WORD_BITS);
            bit += WORD_BITS;
        } else {
            if (!auri_bitmap_get(page, bit)) {
                add_to_run(run, base + bit, 1);
            } else if (bit != AURI_BITMAP_OWN_BIT) {
                run->length = 0;
            }
            bit++;
        }
    }
    return run->length >= wanted;
}

aur_status auri_bitmap_change(aur_mtr *mtr, aur_page_ref *ref, uint32_t from, uint32_t to,
                              bool value, uint8_t *body, aur_error *error) {
    const uint32_t first_byte = from / 8;
    const uint32_t body_bytes = (to - 1) / 8 + 1 - first_byte;
    memcpy(body, ref->page + AUR_PAGE_BODY_AT + first_byte, body_bytes);
    for (uint32_t bit = from; bit < to; bit++) {
        const bool is_own = bit == AURI_BITMAP_OWN_BIT;
        if (is_own && auri_bitmap_get(ref->page, bit)) {
            continue;
        }
        if (auri_bitmap_get(ref->page, bit) == value) {
            return auri_node_corrupt(
                ref->page, value ? "a page in use was taken as free" : "a free page was freed",
                error);
        }
        body[bit / 8 - first_byte] ^= (uint8_t)(1u << bit % 8);
    }
    return aur_mtr_apply(mtr, ref, AUR_OP_PATCH, (uint16_t)(AUR_PAGE_BODY_AT + first_byte), body,
                         body_bytes, error);
}
