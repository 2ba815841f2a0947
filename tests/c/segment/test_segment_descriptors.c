/* A process that is out of file descriptors: like lack of memory that passes, and is nobody's
 * damage. */
#include <fcntl.h>
#include <sys/resource.h>

#include "../harness.h"
#include "volume_model.h"

enum { LIMIT = 200 };

static int held[LIMIT];
static unsigned held_count;

static void take_all(void) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = LIMIT;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int taken = dup(0); taken >= 0; taken = dup(0))
        held[held_count++] = taken;
    CHECK(errno == EMFILE);
}

static void give_back(unsigned count) {
    for (; count > 0 && held_count > 0; count--)
        CHECK(close(held[--held_count]) == 0);
}

static aur_disk *posix_disk(const char *name) {
    char path[600];
    aur_disk *disk;
    CHECK_OK(aur_disk_open_posix(temp_path(path, sizeof path, name), true, &disk, NULL));
    return disk;
}

static void check_whole(const volume_model *model, aur_segment *segment) {
    aur_segment_state state;
    aur_segment_get_state(segment, &state);
    CHECK_MSG(state.health == AUR_SEGMENT_OK, "%s", state.damage.message);
    CHECK_EQ_U64(state.scl, model->prev_lsn);
    model_check_all(model, segment, AUR_LSN_MAX);
}

/* An opening that leaves out what it cannot open would tell of an SCL that is too low. */
TEST(descriptors_that_run_out_while_a_segment_is_opened) {
    volume_model *model = model_create();
    aur_segment_options options;
    aur_disk *disk = posix_disk("opened");
    aur_segment *segment = model_segment(model, aur_disk_acquire(disk));
    unsigned refused = 0;
    model_options(&options);
    for (unsigned at = 0; at < 300; at++) {
        model->vdl = model_write(model, (uint32_t)(1 + random_below(20)))->header.last_lsn;
        if (at == 200) {
            model_ship(model, segment);
            model_work(segment);
        }
    }
    model_ship(model, segment);
    aur_segment_close(segment);
    aur_status status = AUR_ERR_MEMORY;
    for (unsigned free_ones = 0; status != AUR_OK; free_ones++) {
        take_all();
        give_back(free_ones);
        status = aur_segment_open(aur_disk_acquire(disk), NULL, &options, &segment, NULL);
        give_back(LIMIT);
        if (status != AUR_OK) {
            CHECK_STATUS(status, AUR_ERR_MEMORY);
            aur_disk_close(disk); /* the owner that the segment would have been */
            refused++;
        }
    }
    CHECK(refused > 5);
    check_whole(model, segment);
    aur_segment_close(segment);
    aur_disk_close(disk);
    model_destroy(model);
}

TEST(descriptors_that_run_out_while_a_segment_works) {
    volume_model *model = model_create();
    aur_error error;
    aur_lsn scl;
    aur_segment *segment = model_segment(model, posix_disk("works"));
    aur_error_clear(&error);
    take_all();
    CHECK_STATUS(aur_segment_check(segment, &error), AUR_ERR_MEMORY);
    CHECK_EQ_U64((uint64_t)error.system_errno, EMFILE);
    aur_status status = AUR_OK;
    while (status == AUR_OK) {
        model->vdl = model_write(model, 20)->header.last_lsn;
        status = aur_segment_append(segment, model->frames[model->frame_count - 1], &scl, &error);
    }
    CHECK_STATUS(status, AUR_ERR_MEMORY); /* there was no room for one more */
    CHECK_STATUS(aur_segment_work(segment, &error), AUR_ERR_MEMORY);
    CHECK_STATUS(aur_segment_compact(segment, &error), AUR_ERR_MEMORY);
    give_back(LIMIT);
    CHECK_OK(aur_segment_check(segment, &error));
    model_ship(model, segment);
    model_work(segment);
    CHECK_OK(aur_segment_compact(segment, &error));
    check_whole(model, segment);
    aur_segment_close(segment);
    model_destroy(model);
}
