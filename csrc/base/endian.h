/* Little-endian encode and decode at any alignment. Compilers turn each into one load or store. */
#ifndef AUR_BASE_ENDIAN_H
#define AUR_BASE_ENDIAN_H

#include <stdint.h>
#include <string.h>

static inline uint16_t aur_swap16(uint16_t v) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap16(v);
#else
    return v;
#endif
}
static inline uint32_t aur_swap32(uint32_t v) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap32(v);
#else
    return v;
#endif
}
static inline uint64_t aur_swap64(uint64_t v) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(v);
#else
    return v;
#endif
}

static inline uint16_t aur_get16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return aur_swap16(v);
}
static inline uint32_t aur_get32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return aur_swap32(v);
}
static inline uint64_t aur_get64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return aur_swap64(v);
}
static inline void aur_put16(uint8_t *p, uint16_t v) {
    v = aur_swap16(v);
    memcpy(p, &v, sizeof v);
}
static inline void aur_put32(uint8_t *p, uint32_t v) {
    v = aur_swap32(v);
    memcpy(p, &v, sizeof v);
}
static inline void aur_put64(uint8_t *p, uint64_t v) {
    v = aur_swap64(v);
    memcpy(p, &v, sizeof v);
}

#endif
