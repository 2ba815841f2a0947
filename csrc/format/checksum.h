/* XXH3-64 with a seed. The seed ties bytes to their place or their volume, so that a block written
 * to the wrong place, or one of another volume, fails its checksum. */
#ifndef AUR_FORMAT_CHECKSUM_H
#define AUR_FORMAT_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include <aurora/export.h>

AUR_API uint64_t aur_checksum(const void *bytes, size_t length, uint64_t seed);

/* The same over bytes that come in parts. Owned by the caller of create; NULL when out of memory.
 */
typedef struct aur_checksum_stream aur_checksum_stream;
aur_checksum_stream *aur_checksum_stream_create(uint64_t seed);
void aur_checksum_stream_add(aur_checksum_stream *stream, const void *bytes, size_t length);
uint64_t aur_checksum_stream_sum(const aur_checksum_stream *stream);
void aur_checksum_stream_destroy(aur_checksum_stream *stream);

/* Seed that identifies a volume: a fold of its 16-byte id. */
AUR_API uint64_t aur_volume_seed(const uint8_t volume_id[16]);

#endif
