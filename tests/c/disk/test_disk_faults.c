/* Each fault of the faulty disk does what faulty.h says, and nothing else. */
#include "harness.h"

#include "disk/faulty.h"

enum {
    BLOCK_BYTES = AUR_DISK_BLOCK_BYTES,
    BLOCK_COUNT = 8,
    FILE_BYTES = BLOCK_BYTES * BLOCK_COUNT
};

static const aur_fault_rates no_faults;

/* A disk with one file of blocks that all have the value 'o', open for durable writes. */
typedef struct target {
    aur_disk *disk;
    aur_file *file;
    uint8_t *bytes; /* FILE_BYTES of 'n', block-aligned */
} target;

static void open_target(target *opened) {
    aur_disk *inner = NULL;
    CHECK_OK(aur_disk_open_memory(&inner));
    CHECK_OK(aur_disk_open_faulty(inner, random_u64(), &opened->disk));
    opened->bytes = aligned_alloc(BLOCK_BYTES, FILE_BYTES);
    CHECK(opened->bytes != NULL);
    memset(opened->bytes, 'o', FILE_BYTES);
    CHECK_OK(aur_disk_create(opened->disk, "f", FILE_BYTES, NULL));
    CHECK_OK(aur_disk_open_file(opened->disk, "f", AUR_FILE_READ | AUR_FILE_DURABLE, &opened->file,
                                NULL));
    CHECK_OK(aur_file_write(opened->file, 0, opened->bytes, FILE_BYTES, NULL));
    memset(opened->bytes, 'n', FILE_BYTES);
}

static void close_target(target *opened) {
    aur_file_close(opened->file);
    aur_disk_close(opened->disk);
    free(opened->bytes);
}

static void reopen(target *opened) {
    aur_file_close(opened->file);
    CHECK_OK(aur_disk_open_file(opened->disk, "f", AUR_FILE_READ | AUR_FILE_DURABLE, &opened->file,
                                NULL));
}

static void read_all(target *opened, uint8_t *bytes) {
    size_t count = 0;
    CHECK_OK(aur_file_read(opened->file, 0, bytes, FILE_BYTES, &count, NULL));
    CHECK_EQ_U64(count, FILE_BYTES);
}

/* Bits that differ between `bytes` and blocks of 'o', with 'n' in the block `written` (-1: in
 * none). */
static unsigned wrong_bits(const uint8_t *bytes, int written) {
    unsigned bits = 0;
    for (int at = 0; at < FILE_BYTES; at++) {
        const uint8_t expected = at / BLOCK_BYTES == written ? 'n' : 'o';
        bits += (unsigned)__builtin_popcount((unsigned)(bytes[at] ^ expected));
    }
    return bits;
}

TEST(a_lost_write_reports_success_and_changes_nothing) {
    static uint8_t bytes[FILE_BYTES];
    const aur_fault_rates rates = {.lost_write_ppm = 1000000};
    target opened;
    open_target(&opened);
    aur_faulty_set_rates(opened.disk, &rates);
    CHECK_OK(aur_file_write(opened.file, 2 * BLOCK_BYTES, opened.bytes, BLOCK_BYTES, NULL));
    aur_faulty_set_rates(opened.disk, &no_faults);
    read_all(&opened, bytes);
    CHECK_EQ_U64(wrong_bits(bytes, -1), 0);
    close_target(&opened);
}

TEST(a_misdirected_write_lands_at_one_other_block) {
    static uint8_t bytes[FILE_BYTES];
    const aur_fault_rates rates = {.misdirect_ppm = 1000000};
    target opened;
    open_target(&opened);
    aur_faulty_set_rates(opened.disk, &rates);
    CHECK_OK(aur_file_write(opened.file, 2 * BLOCK_BYTES, opened.bytes, BLOCK_BYTES, NULL));
    aur_faulty_set_rates(opened.disk, &no_faults);
    read_all(&opened, bytes);
    CHECK(bytes[2 * BLOCK_BYTES] == 'o');
    int landed = -1;
    for (int block = 0; block < BLOCK_COUNT; block++) {
        if (bytes[block * BLOCK_BYTES] == 'n')
            landed = block;
    }
    CHECK(landed >= 0);
    CHECK_EQ_U64(wrong_bits(bytes, landed), 0);
    close_target(&opened);
}

TEST(flips_change_one_bit_at_rest_or_on_the_way) {
    static uint8_t bytes[FILE_BYTES];
    const aur_fault_rates at_rest = {.flip_write_ppm = 1000000};
    const aur_fault_rates on_the_way = {.flip_read_ppm = 1000000};
    target opened;
    open_target(&opened);
    aur_faulty_set_rates(opened.disk, &on_the_way);
    read_all(&opened, bytes);
    CHECK_EQ_U64(wrong_bits(bytes, -1), 1);
    aur_faulty_set_rates(opened.disk, &no_faults);
    read_all(&opened, bytes);
    CHECK_EQ_U64(wrong_bits(bytes, -1), 0);
    aur_faulty_set_rates(opened.disk, &at_rest);
    CHECK_OK(aur_file_write(opened.file, BLOCK_BYTES, opened.bytes, BLOCK_BYTES, NULL));
    aur_faulty_set_rates(opened.disk, &no_faults);
    read_all(&opened, bytes);
    CHECK_EQ_U64(wrong_bits(bytes, 1), 1);
    CHECK_OK(aur_file_write(opened.file, BLOCK_BYTES, opened.bytes, BLOCK_BYTES, NULL));
    CHECK_OK(aur_faulty_flip(opened.disk, "f"));
    read_all(&opened, bytes);
    CHECK_EQ_U64(wrong_bits(bytes, 1), 1);
    CHECK_STATUS(aur_faulty_flip(opened.disk, "missing"), AUR_NOT_FOUND);
    CHECK_OK(aur_disk_create(opened.disk, "empty", 0, NULL));
    CHECK_STATUS(aur_faulty_flip(opened.disk, "empty"), AUR_NOT_FOUND);
    close_target(&opened);
}

TEST(a_failed_write_or_sync_is_final_for_its_handle) {
    static uint8_t bytes[FILE_BYTES];
    const aur_fault_rates writes = {.write_error_ppm = 1000000};
    const aur_fault_rates syncs = {.sync_error_ppm = 1000000};
    const aur_fault_rates reads = {.read_error_ppm = 1000000};
    aur_error error;
    size_t count = 0;
    target opened;
    open_target(&opened);
    for (unsigned round = 0; round < 2; round++) {
        aur_error_clear(&error);
        aur_faulty_set_rates(opened.disk, round == 0 ? &writes : &syncs);
        CHECK_STATUS(aur_file_write(opened.file, BLOCK_BYTES, opened.bytes, BLOCK_BYTES, &error),
                     AUR_ERR_IO);
        CHECK_EQ_STR(error.file, "memory/f");
        CHECK_EQ_U64(error.offset, BLOCK_BYTES);
        CHECK_EQ_I64(error.system_errno, EIO);
        aur_faulty_set_rates(opened.disk, &no_faults);
        CHECK_STATUS(aur_file_write(opened.file, 0, opened.bytes, BLOCK_BYTES, &error), AUR_ERR_IO);
        CHECK_STATUS(aur_file_sync(opened.file, &error), AUR_ERR_IO);
        read_all(&opened, bytes);
        for (int at = 0; at < FILE_BYTES; at++)
            CHECK(bytes[at] == 'o' || (bytes[at] == 'n' && at / BLOCK_BYTES == 1));
        reopen(&opened);
        CHECK_OK(aur_file_write(opened.file, 0, opened.bytes, 0, NULL));
    }
    aur_faulty_set_rates(opened.disk, &reads);
    CHECK_STATUS(aur_file_read(opened.file, 0, bytes, 1, &count, NULL), AUR_ERR_IO);
    aur_faulty_set_rates(opened.disk, &no_faults);
    CHECK_OK(aur_file_write(opened.file, BLOCK_BYTES, opened.bytes, BLOCK_BYTES, NULL));
    read_all(&opened, bytes);
    CHECK_EQ_U64(wrong_bits(bytes, 1), 0);
    close_target(&opened);
}

TEST(a_full_disk_refuses_what_does_not_fit) {
    target opened;
    open_target(&opened);
    aur_faulty_set_space(opened.disk, BLOCK_BYTES + 10);
    CHECK_OK(aur_file_write(opened.file, 0, opened.bytes, BLOCK_BYTES, NULL));
    CHECK_STATUS(aur_file_write(opened.file, 0, opened.bytes, BLOCK_BYTES, NULL), AUR_ERR_FULL);
    CHECK_STATUS(aur_disk_create(opened.disk, "g", 11, NULL), AUR_ERR_FULL);
    CHECK_OK(aur_disk_replace(opened.disk, "g", "0123456789", 10, NULL));
    CHECK_STATUS(aur_disk_replace(opened.disk, "g", "x", 1, NULL), AUR_ERR_FULL);
    aur_faulty_set_space(opened.disk, UINT64_MAX);
    CHECK_STATUS(aur_file_write(opened.file, 0, opened.bytes, BLOCK_BYTES, NULL), AUR_ERR_FULL);
    reopen(&opened);
    CHECK_OK(aur_file_write(opened.file, 0, opened.bytes, BLOCK_BYTES, NULL));
    close_target(&opened);
}

static bool visit_nothing(void *context, const char *name, uint64_t size_bytes) {
    (void)context;
    FAIL("a dead disk listed %s of %" PRIu64 " bytes", name, size_bytes);
}

TEST(a_dead_disk_fails_everything_until_it_is_revived) {
    static uint8_t bytes[FILE_BYTES];
    uint64_t size_bytes = 0;
    size_t count = 0;
    aur_file *other = NULL;
    target opened;
    open_target(&opened);
    aur_faulty_set_dead(opened.disk, true);
    CHECK_STATUS(aur_file_read(opened.file, 0, bytes, 1, &count, NULL), AUR_ERR_IO);
    CHECK_STATUS(aur_file_size(opened.file, &size_bytes, NULL), AUR_ERR_IO);
    CHECK_STATUS(aur_file_check(opened.file, 0, NULL), AUR_ERR_IO);
    CHECK_STATUS(aur_disk_open_file(opened.disk, "f", AUR_FILE_READ, &other, NULL), AUR_ERR_IO);
    CHECK_STATUS(aur_disk_create(opened.disk, "g", 1, NULL), AUR_ERR_IO);
    CHECK_STATUS(aur_disk_replace(opened.disk, "g", "x", 1, NULL), AUR_ERR_IO);
    CHECK_STATUS(aur_disk_rename(opened.disk, "f", "g", NULL), AUR_ERR_IO);
    CHECK_STATUS(aur_disk_remove(opened.disk, "f", NULL), AUR_ERR_IO);
    CHECK_STATUS(aur_disk_sync_directory(opened.disk, NULL), AUR_ERR_IO);
    CHECK_STATUS(aur_disk_list(opened.disk, visit_nothing, NULL, NULL), AUR_ERR_IO);
    aur_faulty_set_dead(opened.disk, false);
    read_all(&opened, bytes);
    CHECK_EQ_U64(wrong_bits(bytes, -1), 0);
    CHECK_OK(aur_file_write(opened.file, 0, opened.bytes, BLOCK_BYTES, NULL));
    close_target(&opened);
}

TEST(a_disk_lives_until_its_last_owner_closes_it) {
    static uint8_t bytes[FILE_BYTES];
    target opened;
    open_target(&opened);
    aur_disk *medium = aur_disk_acquire(opened.disk);
    aur_file_close(opened.file);
    aur_disk_close(opened.disk);
    opened.disk = medium;
    CHECK_OK(aur_disk_open_file(medium, "f", AUR_FILE_READ, &opened.file, NULL));
    read_all(&opened, bytes);
    CHECK_EQ_U64(wrong_bits(bytes, -1), 0);
    close_target(&opened);
}

TEST(a_removed_file_lives_on_for_its_handles_and_says_so) {
    static uint8_t bytes[FILE_BYTES];
    target opened;
    open_target(&opened);
    CHECK_OK(aur_file_check(opened.file, FILE_BYTES, NULL));
    CHECK_STATUS(aur_file_check(opened.file, FILE_BYTES + 1, NULL), AUR_ERR_IO);
    CHECK_OK(aur_disk_replace(opened.disk, "f", "new", 3, NULL));
    CHECK_STATUS(aur_file_check(opened.file, 0, NULL), AUR_ERR_IO);
    read_all(&opened, bytes);
    CHECK_EQ_U64(wrong_bits(bytes, -1), 0);
    reopen(&opened);
    CHECK_OK(aur_file_check(opened.file, 3, NULL));
    close_target(&opened);
}
