/*
 * Manifests that somebody made up, with good checksums: whatever stands in them, opening, reading
 * and background work end with a status (I9). Run it under the sanitizers too.
 */
#include <stdlib.h>

#include "../harness.h"
#include "base/endian.h"
#include "format/checksum.h"
#include "segment/segment_format.h"
#include "volume_model.h"

enum { MANIFEST_BYTES_MAX = 1 << 16, ROUNDS = 600 };

typedef struct made_up {
    uint8_t bytes[MANIFEST_BYTES_MAX];
    size_t length;
} made_up;

static void read_manifest(aur_disk *disk, made_up *manifest) {
    aur_file *file;
    CHECK_OK(aur_disk_open_file(disk, "manifest", AUR_FILE_READ, &file, NULL));
    CHECK_OK(
        aur_file_read(file, 0, manifest->bytes, sizeof manifest->bytes, &manifest->length, NULL));
    CHECK(manifest->length < sizeof manifest->bytes);
    aur_file_close(file);
}

static void write_manifest(aur_disk *disk, made_up *manifest) {
    uint8_t *sum = manifest->bytes + manifest->length - 8;
    aur_put64(sum, aur_checksum(manifest->bytes, manifest->length - 8, 0));
    CHECK_OK(aur_disk_replace(disk, "manifest", manifest->bytes, manifest->length, NULL));
}

/* Copies a file of one disk to another; both are in memory. */
typedef struct duplication {
    aur_disk *from, *to;
} duplication;

static bool duplicate_file(void *context, const char *name, uint64_t size_bytes) {
    const duplication *run = context;
    aur_file *file;
    size_t length;
    uint8_t *bytes = malloc(size_bytes + 1);
    CHECK(bytes != NULL);
    CHECK_OK(aur_disk_open_file(run->from, name, AUR_FILE_READ, &file, NULL));
    CHECK_OK(aur_file_read(file, 0, bytes, size_bytes, &length, NULL));
    CHECK_OK(aur_disk_replace(run->to, name, bytes, length, NULL));
    aur_file_close(file);
    free(bytes);
    return true;
}

static aur_disk *duplicate(aur_disk *from) {
    duplication run = {.from = from};
    CHECK_OK(aur_disk_open_memory(&run.to));
    CHECK_OK(aur_disk_list(from, duplicate_file, &run, NULL));
    return run.to;
}

static aur_status open_on(aur_disk *disk, aur_segment **segment_out) {
    aur_segment_options options;
    model_options(&options);
    return aur_segment_open(aur_disk_acquire(disk), NULL, &options, segment_out, NULL);
}

/* A disk with a segment of deltas, base parts, a chronicle, a rewind and a hot log. */
static void build(volume_model *model, aur_disk *disk) {
    aur_segment *segment = model_segment(model, aur_disk_acquire(disk));
    model->keeps_bytes = true;
    for (unsigned step = 0; step < 12; step++) {
        for (unsigned frames = 0; frames < 40; frames++)
            model->vdl = model_write(model, (uint32_t)(1 + random_below(12)))->header.last_lsn;
        model_ship(model, segment);
        model_work(segment);
        if (step == 6) {
            aur_rewind rewind = model_rewind(model, model->vdl / 2);
            CHECK_OK(aur_segment_rewind(segment, &rewind, NULL));
            model->vdl = rewind.at + 1;
        }
    }
    aur_segment_close(segment);
}

static void ignore(aur_status status) { (void)status; }

static void use(aur_segment *segment) {
    uint8_t page[MODEL_PAGE_BYTES];
    aur_verify_counts counts;
    aur_segment_state state;
    aur_commit_mark mark;
    uint64_t count;
    aur_retention retention = {.horizon = random_below(4000)};
    aur_segment_get_state(segment, &state);
    if (state.identity.page_bytes > sizeof page)
        return;
    ignore(aur_segment_retain(segment, &retention));
    for (uint32_t at = 0; at < MODEL_PAGES; at++) {
        const aur_lsn lsn = random_below(2) == 0 ? AUR_LSN_MAX : random_below(4000);
        ignore(
            aur_segment_read_page(segment, MODEL_GROUP * MODEL_GROUP_PAGES + at, lsn, page, NULL));
    }
    ignore(aur_segment_commit_at_time(segment, random_below(4000), &mark, NULL));
    ignore(aur_segment_count_commits(segment, random_below(4000), AUR_LSN_MAX, &count, NULL));
    ignore(aur_segment_check(segment, NULL));
    ignore(aur_segment_verify(segment, NULL, NULL, &counts, NULL));
    for (unsigned units = 0; units < 40 && aur_segment_work(segment, NULL) == AUR_OK; units++) {
    }
    ignore(aur_segment_compact(segment, NULL));
}

static void change(made_up *manifest) {
    static const uint64_t VALUES[] = {0, 1, 2, 63, 64, 4096, UINT32_MAX, INT64_MAX, UINT64_MAX};
    const size_t room = (manifest->length - 8 - AUR_MANIFEST_GROUP_AT) / 4;
    uint8_t *place = manifest->bytes + AUR_MANIFEST_GROUP_AT + 4 * random_below(room - 1);
    switch (random_below(3)) {
    case 0:
        aur_put32(place, (uint32_t)VALUES[random_below(sizeof VALUES / sizeof *VALUES)]);
        break;
    case 1:
        aur_put64(place, VALUES[random_below(sizeof VALUES / sizeof *VALUES)]);
        break;
    default:
        aur_put64(place, aur_get64(place) + random_below(64) - 32);
    }
}

TEST(hostile_manifests_end_with_a_status) {
    volume_model *model = model_create();
    aur_disk *original;
    unsigned opened = 0;
    CHECK_OK(aur_disk_open_memory(&original));
    build(model, original);
    for (unsigned round = 0; round < ROUNDS; round++) {
        static made_up manifest;
        aur_segment *segment;
        aur_disk *disk = duplicate(original);
        read_manifest(disk, &manifest);
        for (uint64_t changes = 1 + random_below(3); changes > 0; changes--)
            change(&manifest);
        write_manifest(disk, &manifest);
        if (open_on(disk, &segment) == AUR_OK) {
            opened++;
            use(segment);
            aur_segment_close(segment);
        } else {
            aur_disk_close(disk); /* the owner that the segment would have been */
        }
        aur_disk_close(disk);
    }
    CHECK(opened > ROUNDS / 10);
    aur_disk_close(original);
    model_destroy(model);
}

/* Only a base part may have no file, and then it has no records. */
TEST(hostile_layers_without_a_file_are_refused) {
    static made_up manifest;
    volume_model *model = model_create();
    aur_disk *disk;
    aur_segment *segment;
    CHECK_OK(aur_disk_open_memory(&disk));
    build(model, disk);
    read_manifest(disk, &manifest);
    uint8_t *rewinds = manifest.bytes + AUR_MANIFEST_BODY_AT;
    uint8_t *layers =
        rewinds + (size_t)AUR_REWOUND_BYTES * aur_get32(manifest.bytes + AUR_MANIFEST_REWINDS_AT);
    CHECK(aur_get32(manifest.bytes + AUR_MANIFEST_LAYERS_AT) > 0);
    CHECK(aur_get64(layers + AUR_LISTED_RECORDS_AT) > 0);
    aur_put64(layers + AUR_LISTED_SIZE_AT, 0);
    aur_put64(layers + AUR_LISTED_LIVE_AT, 0);
    write_manifest(disk, &manifest);
    CHECK_STATUS(open_on(disk, &segment), AUR_ERR_CORRUPT);
    aur_disk_close(disk);
    aur_disk_close(disk);
    model_destroy(model);
}

static bool find_log_end(void *context, const char *name, uint64_t size_bytes) {
    uint64_t *end = context;
    if (strncmp(name, "log-", 4) == 0 && size_bytes > *end)
        *end = size_bytes;
    return true;
}

/* Where the log goes on must be a place of a frame, and in the extent: one may have been cut. */
TEST(hostile_replay_positions_lead_to_no_other_place) {
    static made_up manifest;
    static const uint64_t NO_PLACES[] = {1, AUR_FRAME_ALIGN + 8, UINT64_MAX - AUR_FRAME_ALIGN + 1};
    volume_model *model = model_create();
    aur_disk *disk;
    aur_segment *segment;
    uint64_t before = 0;
    uint64_t after = 0;
    CHECK_OK(aur_disk_open_memory(&disk));
    build(model, disk);
    read_manifest(disk, &manifest);
    for (size_t at = 0; at < sizeof NO_PLACES / sizeof *NO_PLACES; at++) {
        aur_put64(manifest.bytes + AUR_MANIFEST_REPLAY_OFFSET_AT, NO_PLACES[at]);
        write_manifest(disk, &manifest);
        CHECK_STATUS(open_on(disk, &segment), AUR_ERR_CORRUPT);
        aur_disk_close(disk); /* the owner that the segment would have been */
    }
    CHECK_OK(aur_disk_list(disk, find_log_end, &before, NULL));
    aur_put64(manifest.bytes + AUR_MANIFEST_REPLAY_OFFSET_AT, before + AUR_FRAME_ALIGN);
    write_manifest(disk, &manifest);
    CHECK_OK(open_on(disk, &segment));
    model->prev_lsn = model->vdl;
    aur_lsn scl;
    ignore(aur_segment_append(segment, model_write(model, 2), &scl, NULL));
    aur_segment_close(segment);
    CHECK_OK(aur_disk_list(disk, find_log_end, &after, NULL));
    CHECK_EQ_U64(after, before);
    aur_disk_close(disk);
    model_destroy(model);
}
