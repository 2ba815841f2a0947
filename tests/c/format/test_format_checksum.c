/* Checksums are part of the format: these values were computed by another implementation of XXH3.
 */
#include "../harness.h"
#include "format/checksum.h"

TEST(checksums_are_xxh3_with_a_seed) {
    CHECK_EQ_U64(aur_checksum("", 0, 0), UINT64_C(0x2d06800538d394c2));
    CHECK_EQ_U64(aur_checksum("aurora", 6, 0), UINT64_C(0x7922d31910baaed0));
    CHECK_EQ_U64(aur_checksum("aurora", 6, 77), UINT64_C(0x701ee7a89b295a55));
}

TEST(long_inputs_take_the_same_path_everywhere) {
    uint8_t bytes[4096];
    for (size_t at = 0; at < sizeof bytes; at++)
        bytes[at] = (uint8_t)(at * 31 + 7);
    CHECK_EQ_U64(aur_checksum(bytes, sizeof bytes, 12), UINT64_C(0x431cc47da1f0cbc5));
    CHECK_EQ_U64(aur_checksum(bytes, 200, 12), UINT64_C(0xe982e56223a787b2));
}

TEST(a_volume_seed_is_the_checksum_of_its_id) {
    const uint8_t volume_id[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    CHECK_EQ_U64(aur_volume_seed(volume_id), UINT64_C(0x8355e3a6f61770db));
}
