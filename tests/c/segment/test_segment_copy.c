/* Rebuilding a copy, verification, and the look whether the files are still there. */
#include <errno.h>

#include "../harness.h"
#include "volume_model.h"

static aur_disk *posix_disk(const char *name) {
    char path[600];
    aur_disk *disk;
    aur_error error;
    aur_error_clear(&error);
    CHECK_OK(aur_disk_open_posix(temp_path(path, sizeof path, name), true, &disk, &error));
    return disk;
}

static aur_segment *build(volume_model *model, const char *name) {
    aur_segment *segment = model_segment(model, posix_disk(name));
    for (unsigned at = 0; at < 400; at++) {
        model->vdl = model_write(model, (uint32_t)(1 + random_below(20)))->header.last_lsn;
        if (at % 8 == 0 && at < 380) {
            model_ship(model, segment);
            model_work(segment);
        }
    }
    model_ship(model, segment);
    return segment;
}

static bool stop_half_way(void *context, uint64_t done_bytes, uint64_t total_bytes) {
    (void)context;
    return done_bytes < total_bytes / 2;
}

static bool count_progress(void *context, uint64_t done_bytes, uint64_t total_bytes) {
    uint64_t *last = context;
    CHECK(done_bytes > *last && done_bytes <= total_bytes);
    *last = done_bytes;
    return true;
}

TEST(segment_copy_holds_what_its_source_holds) {
    volume_model *model = model_create();
    aur_segment *source = build(model, "source");
    aur_segment_identity identity = model->identity;
    aur_segment_options options;
    aur_segment *copy;
    aur_segment_state state;
    aur_verify_counts counts;
    aur_error error;
    uint64_t last = 0;
    aur_error_clear(&error);
    model_options(&options);
    identity.copy = 4;
    aur_disk *target = posix_disk("target");
    CHECK_STATUS(aur_segment_copy(source, target, &identity, stop_half_way, NULL, &error),
                 AUR_TIMEOUT);
    CHECK_STATUS(aur_segment_open(target, &identity, &options, &copy, &error), AUR_NOT_FOUND);
    CHECK_OK(aur_segment_copy(source, target, &identity, count_progress, &last, &error));
    CHECK_STATUS(aur_segment_copy(source, target, &identity, NULL, NULL, &error), AUR_ERR_INVALID);
    CHECK_OK(aur_segment_open(target, &identity, &options, &copy, &error));
    aur_segment_get_state(copy, &state);
    CHECK_EQ_U64(state.scl, model->prev_lsn);
    CHECK_EQ_U64(state.identity.copy, 4);
    CHECK_EQ_U64(state.health, AUR_SEGMENT_OK);
    for (unsigned round = 0; round < 30; round++)
        model_check_all(model, copy, random_below(model->next_lsn + 1));
    CHECK_OK(aur_segment_verify(copy, NULL, NULL, &counts, &error));
    CHECK_EQ_U64(counts.damaged, 0);
    CHECK(counts.frames > 0 && counts.records > 0 && counts.files > 2);
    model_write(model, 10);
    model_ship(model, source);
    model_ship(model, copy);
    model_work(copy);
    model_check_all(model, copy, AUR_LSN_MAX);
    aur_segment_close(copy);
    aur_segment_close(source);
    model_destroy(model);
}

/* Else every later copy would be tried from the same source, however many sound ones there are. */
TEST(segment_that_is_copied_notes_its_damage) {
    volume_model *model = model_create();
    aur_segment *source = build(model, "rotten");
    aur_segment_identity identity = model->identity;
    aur_segment_state state;
    aur_error error;
    char path[600];
    char command[900];
    aur_error_clear(&error);
    snprintf(command, sizeof command,
             "for f in '%s'/layer-*; do printf 'rot rot rot' | "
             "dd of=\"$f\" bs=1 seek=$(($(stat -c %%s \"$f\") / 2)) conv=notrunc 2>/dev/null; done",
             temp_path(path, sizeof path, "rotten"));
    CHECK(system(command) == 0);
    identity.copy = 4;
    aur_disk *target = posix_disk("rotten copy");
    CHECK_STATUS(aur_segment_copy(source, target, &identity, NULL, NULL, &error), AUR_ERR_CORRUPT);
    aur_disk_close(target);
    aur_segment_get_state(source, &state);
    CHECK_EQ_U64(state.health, AUR_SEGMENT_DAMAGED);
    CHECK_EQ_U64((uint64_t)error.copy, model->identity.copy);
    aur_segment_close(source);
    model_destroy(model);
}

TEST(segment_notices_that_its_files_are_gone) {
    volume_model *model = model_create();
    aur_segment *segment = build(model, "gone");
    aur_segment_state state;
    aur_error error;
    char path[600];
    char command[700];
    aur_error_clear(&error);
    CHECK_OK(aur_segment_check(segment, &error));
    snprintf(command, sizeof command, "rm -r '%s'", temp_path(path, sizeof path, "gone"));
    CHECK(system(command) == 0);
    CHECK_STATUS(aur_segment_check(segment, &error), AUR_ERR_IO);
    aur_segment_get_state(segment, &state);
    CHECK_EQ_U64(state.health, AUR_SEGMENT_FAILED);
    aur_segment_close(segment);
    model_destroy(model);
}

TEST(segment_notices_a_truncated_layer) {
    volume_model *model = model_create();
    aur_segment *segment = build(model, "cut");
    aur_error error;
    char path[600];
    char command[700];
    aur_error_clear(&error);
    snprintf(command, sizeof command, "truncate -s 100 '%s'/layer-*",
             temp_path(path, sizeof path, "cut"));
    CHECK(system(command) == 0);
    CHECK_STATUS(aur_segment_check(segment, &error), AUR_ERR_IO);
    for (uint32_t page = 0; page < MODEL_PAGES; page++)
        model_check_page(model, segment, page, model->prev_lsn);
    aur_segment_close(segment);
    model_destroy(model);
}

/* Who may take a copy back as it is tells the two apart by the errno. */
TEST(segment_tells_a_damaged_manifest_from_one_that_is_away) {
    const struct {
        const char *hurt;
        int system_errno;
    } cases[] = {{"truncate -s 40 '%s'/manifest", EIO}, {"rm '%s'/manifest", 0}};
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        volume_model *model = model_create();
        char name[20];
        snprintf(name, sizeof name, "manifest %zu", at);
        aur_segment *segment = build(model, name);
        aur_error error;
        char path[600];
        char command[700];
        aur_error_clear(&error);
        snprintf(command, sizeof command, cases[at].hurt, temp_path(path, sizeof path, name));
        CHECK(system(command) == 0);
        CHECK_STATUS(aur_segment_check(segment, &error), AUR_ERR_IO);
        CHECK_EQ_U64(error.system_errno, cases[at].system_errno);
        aur_segment_close(segment);
        model_destroy(model);
    }
}

static void check_opening(const volume_model *model, const aur_segment_identity *expected,
                          aur_status wanted) {
    aur_segment_options options;
    aur_segment *segment;
    aur_error error;
    aur_disk *disk = posix_disk("identity");
    aur_error_clear(&error);
    model_options(&options);
    CHECK_STATUS(aur_segment_open(disk, expected, &options, &segment, &error), wanted);
    if (wanted == AUR_OK)
        aur_segment_close(segment);
    else
        aur_disk_close(disk);
    (void)model;
}

TEST(segment_refuses_to_open_another_volumes_directory) {
    volume_model *model = model_create();
    check_opening(model, &model->identity, AUR_NOT_FOUND);
    aur_segment_close(build(model, "identity"));
    check_opening(model, NULL, AUR_OK);
    check_opening(model, &model->identity, AUR_OK);
    aur_segment_identity other = model->identity;
    other.copy = 3;
    check_opening(model, &other, AUR_ERR_CORRUPT);
    other = model->identity;
    other.volume_id[3] ^= 1;
    check_opening(model, &other, AUR_ERR_CORRUPT);
    model_destroy(model);
}
