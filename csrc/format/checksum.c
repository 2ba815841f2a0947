#include "format/checksum.h"

#define XXH_INLINE_ALL
#include "xxhash.h"

#include "format/types.h"

uint64_t aur_checksum(const void *bytes, size_t length, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, length, seed);
}

uint64_t aur_volume_seed(const uint8_t volume_id[16]) {
    return aur_checksum(volume_id, AUR_VOLUME_ID_BYTES, 0);
}
