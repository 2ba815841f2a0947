/*
 * Asks for memory before it is needed, so that it is waited for once and not line by line.
 */
#ifndef AUR_BASE_PREFETCH_H
#define AUR_BASE_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

enum { AUR_CACHE_LINE_BYTES = 64 };

/* Precondition: `bytes` begins a line, or its last line does not matter. */
static inline void aur_prefetch(const uint8_t *bytes, size_t length) {
    for (size_t at = 0; at < length; at += AUR_CACHE_LINE_BYTES) {
        __builtin_prefetch(bytes + at);
    }
}

/* What will be written: a store that waits for its line holds up the next locked instruction. */
static inline void aur_prefetch_for_write(const uint8_t *bytes, size_t length) {
    for (size_t at = 0; at < length; at += AUR_CACHE_LINE_BYTES) {
        __builtin_prefetch(bytes + at, 1);
    }
    if (length > 0) {
        __builtin_prefetch(bytes + length - 1, 1);
    }
}

#endif
