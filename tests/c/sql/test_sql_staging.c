/* Spools and staging against plain arrays: small ones that stay in memory, and big ones that go to
 * a file; and that nothing stays behind. */
#include <dirent.h>

#include "../harness.h"
#include "disk/faulty.h"
#include "format/record.h"
#include "sql/staging.h"

static const uint64_t memory_bytes = (uint64_t)AURI_SPOOL_CHUNKS * AURI_SPOOL_CHUNK_BYTES;

static aur_error error;

#define CHECK_DONE(expression)                                                                     \
    do {                                                                                           \
        const aur_status done = (expression);                                                      \
        if (done != AUR_OK)                                                                        \
            FAIL("%s gave %d: %s", #expression, (int)done, error.message);                         \
    } while (0)

/* ---- spool ---- */

typedef struct spool_model {
    uint8_t *bytes;
    uint8_t *is_written; /* what lies in a hole is unspecified */
    uint64_t size;
    uint64_t limit;
} spool_model;

static spool_model make_model(uint64_t limit) {
    spool_model model = {calloc(1, limit), calloc(1, limit), 0, limit};
    CHECK(model.bytes != NULL && model.is_written != NULL);
    return model;
}

static void free_model(spool_model *model) {
    free(model->bytes);
    free(model->is_written);
}

static void write_both(auri_spool *spool, spool_model *model, uint64_t offset, size_t length) {
    random_bytes(model->bytes + offset, length < 64 ? length : 64);
    for (size_t at = 64; at < length; at++)
        model->bytes[offset + at] = (uint8_t)(model->bytes[offset + at % 64] + at / 64);
    memset(model->is_written + offset, 1, length);
    CHECK_DONE(auri_spool_write(spool, offset, model->bytes + offset, length, &error));
    if (length > 0 && offset + length > model->size)
        model->size = offset + length;
    CHECK_EQ_U64(spool->size, model->size);
}

static void check_same(const spool_model *model, uint64_t offset, const uint8_t *got,
                       size_t length) {
    for (size_t at = 0; at < length; at++)
        CHECK_MSG(!model->is_written[offset + at] || got[at] == model->bytes[offset + at],
                  "byte %" PRIu64, offset + at);
}

static void read_both(auri_spool *spool, const spool_model *model, uint64_t offset, size_t length) {
    uint8_t *got = malloc(length + 1);
    CHECK(got != NULL);
    CHECK_DONE(auri_spool_read(spool, offset, got, length, &error));
    check_same(model, offset, got, length);
    const uint8_t *peeked = auri_spool_peek(spool, offset, length);
    if (peeked != NULL)
        check_same(model, offset, peeked, length);
    free(got);
}

/* Mostly around the places where something changes: ends of chunks, and the end of memory. */
static uint64_t random_offset(uint64_t limit) {
    const uint64_t kind = random_below(4);
    const uint64_t near = kind == 0 ? memory_bytes : AURI_SPOOL_CHUNK_BYTES * random_below(70);
    const uint64_t offset =
        kind < 2 ? near - (near < 200 ? 0 : 200) + random_below(400) : random_below(limit);
    return offset < limit ? offset : limit - 1;
}

TEST(spools_hold_what_was_written) {
    for (int run = 0; run < 4; run++) {
        auri_spool spool;
        spool_model model = make_model(run == 0 ? 100000 : memory_bytes + (1 << 20));
        auri_spool_init(&spool);
        for (int step = 0; step < 400; step++) {
            const uint64_t offset = random_offset(model.limit);
            const uint64_t most = model.limit - offset;
            uint64_t length = 1 + random_below(random_below(8) == 0 ? 300000 : 600);
            length = length < most ? length : most;
            if (random_below(3) != 0) {
                write_both(&spool, &model, offset, length);
            } else if (offset + length <= model.size) {
                read_both(&spool, &model, offset, length);
            } else if (random_below(4) == 0) {
                const uint64_t size = random_below(6) == 0 ? 0 : random_below(model.limit);
                auri_spool_truncate(&spool, size);
                model.size = size < model.size ? size : model.size;
                memset(model.is_written + model.size, 0, model.limit - model.size);
                CHECK_EQ_U64(spool.size, model.size);
            }
        }
        read_both(&spool, &model, 0, model.size);
        auri_spool_destroy(&spool);
        free_model(&model);
    }
}

static uint64_t count_files(const char *folder) {
    uint64_t count = 0;
    DIR *listed = opendir(folder);
    CHECK(listed != NULL);
    for (const struct dirent *entry = readdir(listed); entry != NULL; entry = readdir(listed))
        count += entry->d_name[0] != '.';
    closedir(listed);
    return count;
}

/* Its file has no name, memory is given back, and a folder that cannot be used is told. */
TEST(big_spools_leave_nothing_behind) {
    char folder[600];
    auri_spool spool;
    uint8_t bytes[100] = {1};
    temp_path(folder, sizeof folder, "spools");
    CHECK(mkdir(folder, 0700) == 0);
    CHECK(setenv("SQLITE_TMPDIR", folder, 1) == 0);
    auri_spool_init(&spool);
    CHECK_DONE(auri_spool_write(&spool, memory_bytes - 50, bytes, sizeof bytes, &error));
    CHECK(spool.file != NULL && spool.chunk[AURI_SPOOL_CHUNKS - 1] != NULL);
    CHECK_EQ_U64(count_files(folder), 0);
    CHECK(auri_spool_peek(&spool, memory_bytes - 50, 100) == NULL);
    CHECK(auri_spool_peek(&spool, memory_bytes - 50, 50) != NULL);
    auri_spool_truncate(&spool, 0);
    CHECK(spool.file == NULL && spool.disk == NULL);
    CHECK(spool.chunk[0] != NULL && spool.chunk[AURI_SPOOL_CHUNKS - 1] == NULL);
    CHECK_DONE(auri_spool_write(&spool, memory_bytes, bytes, sizeof bytes, &error));
    CHECK_EQ_U64(spool.size, memory_bytes + sizeof bytes);
    auri_spool_destroy(&spool);
    CHECK(unsetenv("SQLITE_TMPDIR") == 0);
}

/* ---- staging ---- */

enum { PAGES = 3000, BODY_MAX = 9000 };

typedef struct staged_model {
    bool is_there;
    uint8_t op;
    uint32_t bytes;
    uint64_t seed;
} staged_model;

static void fill(uint8_t *out, uint64_t seed, uint32_t bytes) {
    for (uint32_t at = 0; at < bytes; at += 8) {
        const uint64_t word = harness_random_next(&seed);
        memcpy(out + at, &word, bytes - at < 8 ? bytes - at : 8);
    }
}

static void check_staged(auri_staging *staging, const staged_model *model, uint32_t page) {
    static uint8_t room[BODY_MAX];
    static uint8_t expected[BODY_MAX];
    const auri_staged *staged = auri_staging_find(staging, page);
    CHECK((staged != NULL) == model->is_there);
    if (staged == NULL)
        return;
    CHECK_EQ_U64(staged->page, page);
    CHECK_EQ_U64(staged->op, model->op);
    CHECK_EQ_U64(staged->bytes, model->bytes);
    const uint8_t *body;
    CHECK_DONE(auri_staging_body(staging, staged, room, &body, &error));
    fill(expected, model->seed, model->bytes);
    CHECK_EQ_MEM(body, expected, model->bytes);
}

/* A page that is written again has the newest redo; so far that it leaves memory, and begun anew.
 */
TEST(staging_has_the_newest_redo_of_each_page) {
    static staged_model model[PAGES];
    static uint8_t body[BODY_MAX];
    auri_staging staging;
    auri_staging_init(&staging);
    for (int run = 0; run < 6; run++) {
        const uint32_t pages = run % 2 == 0 ? PAGES : 20;
        uint32_t count = 0;
        memset(model, 0, sizeof model);
        CHECK(auri_staging_find(&staging, 0) == NULL);
        for (int step = 0; step < (run == 0 ? 4000 : 1500); step++) {
            const uint32_t page = (uint32_t)random_below(pages);
            staged_model *known = &model[page];
            const uint8_t op = random_below(10) == 0 ? 0 : (uint8_t)(2 + 7 * random_below(2));
            count += !known->is_there;
            *known = (staged_model){
                .is_there = true,
                .op = op,
                .bytes =
                    op == 0 ? 0 : (uint32_t)random_below(random_below(4) == 0 ? BODY_MAX : 300),
                .seed = random_u64()};
            fill(body, known->seed, known->bytes);
            CHECK_DONE(auri_staging_put(&staging, page, op, body, known->bytes, &error));
            CHECK_EQ_U64(staging.count, count);
            const uint32_t other = (uint32_t)random_below(pages);
            check_staged(&staging, &model[other], other);
        }
        for (uint32_t page = 0; page < PAGES; page++)
            check_staged(&staging, &model[page], page);
        auri_staging_clear(&staging);
        CHECK_EQ_U64(staging.count, 0);
        CHECK_EQ_U64(staging.spool.size, 0);
    }
    auri_staging_destroy(&staging);
}

/* Redo that does not grow takes the place of the old: pages that are written over and over cost
 * nothing. */
TEST(a_page_that_is_written_often_takes_its_room_once) {
    static uint8_t body[BODY_MAX];
    auri_staging staging;
    auri_staging_init(&staging);
    for (int step = 0; step < 10000; step++)
        CHECK_DONE(auri_staging_put(&staging, 7, 9, body, 1000 - (uint32_t)step % 10, &error));
    CHECK_LE_U64(staging.spool.size, 100000);
    auri_staging_destroy(&staging);
}

/* ---- a disk that fails ---- */

enum { BEYOND = 1 << 20 };

/* A staging whose spool is past what stays in memory, with one page behind that. */
static void fill_beyond_memory(auri_staging *staging, aur_disk **disk_out) {
    aur_disk *inner;
    uint8_t body[BODY_MAX];
    memset(body, 7, sizeof body);
    CHECK_OK(aur_disk_open_memory(&inner));
    CHECK_OK(aur_disk_open_faulty(inner, random_u64(), disk_out));
    auri_staging_init(staging);
    staging->spool.disk = *disk_out;
    uint32_t page = 1;
    for (uint64_t bytes = 0; bytes < memory_bytes + BEYOND; bytes += sizeof body)
        CHECK_DONE(auri_staging_put(staging, page++, AUR_OP_IMAGE, body, sizeof body, &error));
    body[0] = 9;
    CHECK_DONE(auri_staging_put(staging, 0, AUR_OP_IMAGE, body, sizeof body, &error));
}

/* Errors of the temporary file are told, and bytes that it has changed are never used. */
TEST(a_failing_temporary_file_is_told) {
    static const struct {
        aur_fault_rates rates;
        aur_status on_read;
        aur_status on_write;
    } faults[] = {
        {{.read_error_ppm = 1000000}, AUR_ERR_IO, AUR_OK},
        {{.flip_read_ppm = 1000000}, AUR_ERR_CORRUPT, AUR_OK},
        {{.write_error_ppm = 1000000}, AUR_OK, AUR_ERR_IO},
    };
    uint8_t room[BODY_MAX];
    const uint8_t *body;
    for (size_t at = 0; at < sizeof faults / sizeof faults[0]; at++) {
        auri_staging staging;
        aur_disk *disk;
        fill_beyond_memory(&staging, &disk);
        aur_faulty_set_rates(disk, &faults[at].rates);
        CHECK_STATUS(
            auri_staging_body(&staging, auri_staging_find(&staging, 0), room, &body, &error),
            faults[at].on_read);
        CHECK_STATUS(auri_staging_put(&staging, 70000, AUR_OP_IMAGE, room, BODY_MAX, &error),
                     faults[at].on_write);
        auri_staging_destroy(&staging);
    }
}

TEST(a_full_temporary_folder_is_told) {
    auri_staging staging;
    aur_disk *disk;
    uint8_t body[BODY_MAX] = {0};
    fill_beyond_memory(&staging, &disk);
    aur_faulty_set_space(disk, 0);
    CHECK_STATUS(auri_staging_put(&staging, 70000, AUR_OP_IMAGE, body, BODY_MAX, &error),
                 AUR_ERR_FULL);
    auri_staging_destroy(&staging);
}
