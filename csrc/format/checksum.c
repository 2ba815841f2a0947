#include "format/checksum.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include "xxhash.h"

#include "format/types.h"

uint64_t aur_checksum(const void *bytes, size_t length, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, length, seed);
}

struct aur_checksum_stream {
    XXH3_state_t state;
};

aur_checksum_stream *aur_checksum_stream_create(uint64_t seed) {
    const size_t size = (sizeof(aur_checksum_stream) + 63) & ~(size_t)63;
    aur_checksum_stream *stream = aligned_alloc(64, size); /* XXH3's state wants that */
    if (stream != NULL) {
        XXH3_INITSTATE(&stream->state);
        (void)XXH3_64bits_reset_withSeed(&stream->state, seed);
    }
    return stream;
}

void aur_checksum_stream_add(aur_checksum_stream *stream, const void *bytes, size_t length) {
    (void)XXH3_64bits_update(&stream->state, bytes, length);
}

uint64_t aur_checksum_stream_sum(const aur_checksum_stream *stream) {
    return XXH3_64bits_digest(&stream->state);
}

void aur_checksum_stream_destroy(aur_checksum_stream *stream) { free(stream); }

uint64_t aur_volume_seed(const uint8_t volume_id[16]) {
    return aur_checksum(volume_id, AUR_VOLUME_ID_BYTES, 0);
}
