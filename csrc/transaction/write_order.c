/*
 * The order in which a batch of puts finds its places quickest: that of its keys. Only their first
 * bytes are sorted, since nothing depends on it that the order is right to the end.
 *
 * A radix sort by the bytes that are not the same in all, from the last one on (Knuth, The Art of
 * Computer Programming 3, 5.2.5, algorithm R).
 */
#include "transaction/write_map_private.h"

enum { DIGITS = 8, DIGIT_VALUES = 256, DIGIT_BITS = 8 };

static unsigned digit_of(uint64_t prefix, int digit) {
    return (unsigned)(prefix >> (digit * DIGIT_BITS)) & (DIGIT_VALUES - 1);
}

static void sort_by_digit(const auri_turn *from, size_t count, int digit, auri_turn *to) {
    size_t place[DIGIT_VALUES] = {0};
    for (size_t at = 0; at < count; at++) {
        place[digit_of(from[at].prefix, digit)]++;
    }
    for (size_t value = 0, before = 0; value < DIGIT_VALUES; value++) {
        const size_t here = place[value];
        place[value] = before;
        before += here;
    }
    for (size_t at = 0; at < count; at++) {
        to[place[digit_of(from[at].prefix, digit)]++] = from[at];
    }
}

const auri_turn *auri_write_order(const aur_entry *entries, size_t count, auri_turn *turns,
                                  auri_turn *spare) {
    uint64_t differing = 0;
    bool is_ascending = true;
    for (size_t at = 0; at < count; at++) {
        turns[at] = (auri_turn){auri_key_prefix(entries[at].key, entries[at].key_bytes), at};
        differing |= turns[at].prefix ^ turns[0].prefix;
        is_ascending = is_ascending && turns[at].prefix >= turns[at == 0 ? 0 : at - 1].prefix;
    }
    for (int digit = 0; digit < DIGITS && !is_ascending; digit++) {
        if (digit_of(differing, digit) != 0) {
            sort_by_digit(turns, count, digit, spare);
            auri_turn *sorted = spare;
            spare = turns;
            turns = sorted;
        }
    }
    return turns;
}
