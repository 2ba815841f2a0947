/*
 * Copies that take layers over from each other while the one that builds them changes: no file that
 * is in use is ever replaced or removed. And copies that share the frames which they find in their
 * logs.
 */
#include "../harness.h"
#include "disk/faulty.h"
#include "volume_model.h"

static aur_segment *open_on(aur_disk *disk, const aur_segment_identity *identity) {
    aur_segment_options options;
    aur_segment *segment;
    aur_error error;
    aur_error_clear(&error);
    model_options(&options);
    aur_status status =
        aur_segment_open(aur_disk_acquire(disk), identity, &options, &segment, &error);
    CHECK_MSG(status == AUR_OK, "%s", error.message);
    return segment;
}

static aur_segment *create_on(volume_model *model, uint32_t copy, aur_disk **disk_out) {
    CHECK_OK(aur_disk_open_memory(disk_out));
    model->identity.copy = copy;
    CHECK_OK(aur_segment_create(*disk_out, &model->identity, 1, 0, NULL));
    return open_on(*disk_out, &model->identity);
}

static void write_some(volume_model *model, unsigned frames) {
    for (; frames > 0; frames--)
        model->vdl = model_write(model, (uint32_t)(1 + random_below(12)))->header.last_lsn;
}

static void follow_as_far_as_possible(aur_segment *segment, aur_segment *leader) {
    aur_error error;
    aur_error_clear(&error);
    aur_status status = AUR_OK;
    while (status == AUR_OK)
        status = aur_segment_follow(segment, leader, &error);
    CHECK_MSG(status == AUR_NOT_FOUND, "%d %s", status, error.message);
}

static void follow(aur_segment *segment, aur_segment *leader) {
    aur_segment_state own;
    aur_segment_state wanted;
    follow_as_far_as_possible(segment, leader);
    aur_segment_get_state(segment, &own);
    aur_segment_get_state(leader, &wanted);
    CHECK_EQ_U64(own.flushed_lsn, wanted.flushed_lsn);
    CHECK_EQ_U64(own.layers, wanted.layers);
    CHECK_EQ_U64(own.layer_bytes, wanted.layer_bytes);
}

static void compact(aur_segment *segment) {
    aur_error error;
    aur_error_clear(&error);
    CHECK_MSG(aur_segment_compact(segment, &error) == AUR_OK, "%s", error.message);
}

static void check_sound(const volume_model *model, aur_segment *segment) {
    aur_verify_counts counts;
    aur_segment_state state;
    aur_error error;
    aur_error_clear(&error);
    CHECK_OK(aur_segment_verify(segment, NULL, NULL, &counts, &error));
    aur_segment_get_state(segment, &state);
    CHECK_MSG(counts.damaged == 0 && state.health == AUR_SEGMENT_OK, "%s", state.damage.message);
    model_check_all(model, segment, AUR_LSN_MAX);
    for (unsigned round = 0; round < 8; round++)
        model_check_all(model, segment, random_below(model->next_lsn));
}

/* The copy that builds layers is lost and rebuilt from one that took them over, and builds again:
 * its layers must not get the numbers of those it built before, which are still in use. */
TEST(peers_keep_layers_of_a_copy_that_was_rebuilt) {
    volume_model *model = model_create();
    aur_disk *disks[2];
    aur_segment *leader = create_on(model, 0, &disks[0]);
    aur_segment *peer = create_on(model, 1, &disks[1]);
    aur_error error;
    aur_error_clear(&error);
    for (unsigned round = 0; round < 20; round++) {
        write_some(model, 5 + (unsigned)random_below(40));
        model_ship(model, leader);
        model_ship(model, peer);
        model_work(leader);
        follow(peer, leader);
        aur_segment_close(leader);
        aur_disk_close(disks[0]);
        CHECK_OK(aur_disk_open_memory(&disks[0]));
        model->identity.copy = 0;
        CHECK_OK(aur_segment_copy(peer, disks[0], &model->identity, NULL, NULL, &error));
        leader = open_on(disks[0], &model->identity);
        check_sound(model, leader);
    }
    compact(leader);
    follow(peer, leader);
    check_sound(model, leader);
    check_sound(model, peer);
    aur_segment_close(leader);
    aur_segment_close(peer);
    aur_disk_close(disks[0]);
    aur_disk_close(disks[1]);
    model_destroy(model);
}

/* What was taken over from one copy is given up for what another has, which is further behind in
 * compacting, while somebody still reads the layers that are to come back. */
TEST(peers_wait_for_a_layer_that_waits_to_be_removed) {
    volume_model *model = model_create();
    aur_disk *disks[3];
    aur_segment *segments[3];
    aur_segment_snapshot *reader;
    aur_error error;
    aur_error_clear(&error);
    for (uint32_t copy = 0; copy < 3; copy++)
        segments[copy] = create_on(model, copy, &disks[copy]);
    write_some(model, 200);
    for (size_t copy = 0; copy < 3; copy++)
        model_ship(model, segments[copy]);
    compact(segments[0]);
    write_some(model, 60);
    for (size_t copy = 0; copy < 3; copy++)
        model_ship(model, segments[copy]);
    model_work(segments[0]);
    follow(segments[1], segments[0]);
    follow(segments[2], segments[0]);
    CHECK_OK(aur_segment_pin(segments[2], &reader, &error));
    compact(segments[1]);
    follow(segments[2], segments[1]); /* the old layers wait until the reader is done */
    CHECK_STATUS(aur_segment_follow(segments[2], segments[0], &error), AUR_NOT_FOUND);
    check_sound(model, segments[2]);
    aur_segment_unpin(reader);
    follow(segments[2], segments[0]);
    for (size_t copy = 0; copy < 3; copy++)
        check_sound(model, segments[copy]);
    for (size_t copy = 0; copy < 3; copy++) {
        aur_segment_close(segments[copy]);
        aur_disk_close(disks[copy]);
    }
    model_destroy(model);
}

/* A disk that cannot be read is the trouble of the copy on it. */
TEST(peers_outlive_a_leader_that_cannot_be_read) {
    volume_model *model = model_create();
    const aur_fault_rates unreadable = {.read_error_ppm = 1000000};
    aur_disk *disks[3];
    aur_disk *inner;
    aur_disk *target;
    aur_segment *segments[3];
    aur_segment_state state;
    aur_error error;
    aur_error_clear(&error);
    CHECK_OK(aur_disk_open_memory(&inner));
    CHECK_OK(aur_disk_open_faulty(inner, 1, &disks[0]));
    model->identity.copy = 0;
    CHECK_OK(aur_segment_create(disks[0], &model->identity, 1, 0, NULL));
    segments[0] = open_on(disks[0], &model->identity);
    for (uint32_t copy = 1; copy < 3; copy++)
        segments[copy] = create_on(model, copy, &disks[copy]);
    write_some(model, 200);
    for (size_t copy = 0; copy < 3; copy++)
        model_ship(model, segments[copy]);
    model_work(segments[0]);

    aur_faulty_set_rates(disks[0], &unreadable);
    follow_as_far_as_possible(segments[1], segments[0]);
    aur_segment_get_state(segments[0], &state);
    CHECK_EQ_U64(state.health, AUR_SEGMENT_DAMAGED);
    check_sound(model, segments[1]);

    CHECK_OK(aur_disk_open_memory(&target));
    model->identity.copy = 3;
    CHECK_STATUS(aur_segment_copy(segments[0], target, &model->identity, NULL, NULL, &error),
                 AUR_ERR_IO);
    aur_disk_close(target);

    model_work(segments[1]); /* the next one that builds */
    follow(segments[2], segments[1]);
    check_sound(model, segments[2]);
    for (size_t copy = 0; copy < 3; copy++) {
        aur_segment_close(segments[copy]);
        aur_disk_close(disks[copy]);
    }
    model_destroy(model);
}

/* Of the frames that both segments have: whether all are the same memory. */
static bool share_all(const volume_model *model, aur_segment *one, aur_segment *other,
                      size_t count) {
    bool all_shared = true;
    aur_lsn after_lsn = 0;
    for (size_t at = 0; at < count; at++) {
        aur_frame *frames[2];
        CHECK_OK(aur_segment_next_frame(one, after_lsn, &frames[0], NULL));
        CHECK_OK(aur_segment_next_frame(other, after_lsn, &frames[1], NULL));
        all_shared &= frames[0] == frames[1];
        after_lsn = frames[0]->header.last_lsn;
        CHECK_EQ_U64(after_lsn, model->frames[at]->header.last_lsn);
        aur_frame_release(frames[0]);
        aur_frame_release(frames[1]);
    }
    return all_shared;
}

/* Copies that are opened together have the redo in memory once; what is damaged in one copy's log
 * is not taken from another's. */
TEST(peers_share_the_frames_of_their_logs) {
    volume_model *model = model_create();
    aur_disk *disks[2];
    aur_segment *segments[2];
    aur_segment_state state;
    for (uint32_t copy = 0; copy < 2; copy++)
        segments[copy] = create_on(model, copy, &disks[copy]);
    for (unsigned at = 0; at < 10; at++)
        model->vdl = model_write(model, 2)->header.last_lsn;
    for (unsigned copy = 0; copy < 2; copy++) {
        model_ship(model, segments[copy]);
        aur_segment_close(segments[copy]);
    }
    for (uint32_t copy = 0; copy < 2; copy++) {
        model->identity.copy = copy;
        segments[copy] = open_on(disks[copy], &model->identity);
    }
    CHECK(share_all(model, segments[0], segments[1], model->frame_count));
    aur_segment_close(segments[0]);
    model_check_all(model, segments[1], AUR_LSN_MAX);

    model_change_byte(disks[0], "log-0000000000000001", 4096 * 5 + AUR_FRAME_BODY_AT + 8, 1);
    model->identity.copy = 0;
    segments[0] = open_on(disks[0], &model->identity);
    aur_segment_get_state(segments[0], &state);
    CHECK_EQ_U64(state.scl, model->frames[3]->header.last_lsn);
    CHECK(share_all(model, segments[0], segments[1], 4));
    model_check_all(model, segments[0], state.scl);
    for (unsigned copy = 0; copy < 2; copy++) {
        aur_segment_close(segments[copy]);
        aur_disk_close(disks[copy]);
    }
    model_destroy(model);
}

typedef struct seen {
    char layer[AUR_FILE_NAME_BYTES_MAX + 1]; /* one of them */
    unsigned layers;
    bool has_stray;
} seen;

static const char stray[] = "layer-00000000ffffffff";

static bool note_layer(void *context, const char *name, uint64_t size_bytes) {
    seen *own = context;
    (void)size_bytes;
    if (strcmp(name, stray) == 0) {
        own->has_stray = true;
    } else if (strncmp(name, "layer-", 6) == 0) {
        snprintf(own->layer, sizeof own->layer, "%s", name);
        own->layers++;
    }
    return true;
}

static seen look(aur_disk *disk) {
    seen found = {0};
    CHECK_OK(aur_disk_list(disk, note_layer, &found, NULL));
    return found;
}

/* Files that a crash left are removed by background work; one in whose place a layer was taken over
 * meanwhile is that layer. */
TEST(peers_remove_what_a_crash_left) {
    volume_model *model = model_create();
    aur_disk *disks[2];
    aur_segment *segments[2];
    static const uint8_t junk[100000] = {7};
    for (uint32_t copy = 0; copy < 2; copy++)
        segments[copy] = create_on(model, copy, &disks[copy]);
    write_some(model, 200);
    for (size_t copy = 0; copy < 2; copy++)
        model_ship(model, segments[copy]);
    model_work(segments[0]);
    const seen leaders = look(disks[0]);
    CHECK(leaders.layers > 0);
    aur_segment_close(segments[1]);
    CHECK_OK(aur_disk_replace(disks[1], stray, junk, sizeof junk, NULL));
    CHECK_OK(aur_disk_replace(disks[1], leaders.layer, junk, sizeof junk, NULL));
    model->identity.copy = 1;
    segments[1] = open_on(disks[1], &model->identity);
    CHECK(look(disks[1]).has_stray);
    model_ship(model, segments[1]);
    follow(segments[1], segments[0]);
    model_work(segments[1]);
    CHECK(!look(disks[1]).has_stray);
    CHECK_EQ_U64(look(disks[1]).layers, leaders.layers);
    check_sound(model, segments[1]);
    for (size_t copy = 0; copy < 2; copy++) {
        aur_segment_close(segments[copy]);
        aur_disk_close(disks[copy]);
    }
    model_destroy(model);
}
