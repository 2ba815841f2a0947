/*
 * A small cluster for tests of the quorum and of the log: groups of segments on memory disks behind
 * faulty wrappers, or on folders of the test's temporary one.
 */
#ifndef AURORA_TESTS_QUORUM_FIXTURE_H
#define AURORA_TESTS_QUORUM_FIXTURE_H

#include "disk/faulty.h"
#include "format/checksum.h"
#include "harness.h"
#include "quorum/quorum.h"

enum {
    FIXTURE_PAGE_BYTES = 4096,
    FIXTURE_GROUP_PAGES = 64,
    FIXTURE_COPIES_MAX = 6,
    FIXTURE_GROUPS_MAX = 4,
};

static const uint8_t fixture_volume_id[AUR_VOLUME_ID_BYTES] = {1, 2,  3,  4,  5,  6,  7,  8,
                                                               9, 10, 11, 12, 13, 14, 15, 16};

HARNESS_SHARED bool fixture_small_layers; /* so that little data makes layers */
HARNESS_SHARED uint32_t fixture_folders;  /* made by all fixtures of the process */

typedef struct fixture {
    uint32_t copies;
    uint32_t groups;
    bool on_folders;
    aur_quorum *quorum;
    aur_segment *segments[FIXTURE_GROUPS_MAX][FIXTURE_COPIES_MAX];
    aur_disk *disks[FIXTURE_GROUPS_MAX][FIXTURE_COPIES_MAX];
    char folders[FIXTURE_GROUPS_MAX][FIXTURE_COPIES_MAX][600];
} fixture;

/* A new empty segment; its disk is the segment's, and remembered for faults. */
HARNESS_SHARED aur_segment *fixture_segment(fixture *cluster, uint32_t group, uint32_t copy) {
    aur_segment_identity identity = {.group = group,
                                     .copy = copy,
                                     .page_bytes = FIXTURE_PAGE_BYTES,
                                     .copies = cluster->copies,
                                     .group_pages = FIXTURE_GROUP_PAGES};
    aur_segment_options options;
    aur_segment *segment = NULL;
    aur_disk *disk = NULL;
    aur_error error;
    memcpy(identity.volume_id, fixture_volume_id, sizeof identity.volume_id);
    if (cluster->on_folders) {
        char name[64];
        snprintf(name, sizeof name, "segment-%u", fixture_folders++);
        temp_path(cluster->folders[group][copy], sizeof cluster->folders[group][copy], name);
        CHECK_OK(aur_disk_open_posix(cluster->folders[group][copy], true, &disk, &error));
    } else {
        aur_disk *memory = NULL;
        CHECK_OK(aur_disk_open_memory(&memory));
        CHECK_OK(aur_disk_open_faulty(memory, random_u64(), &disk));
    }
    aur_segment_default_options(&options);
    options.extent_bytes = 1 << 20;
    if (fixture_small_layers) {
        options.memtable_bytes = 64 << 10;
        options.delta_bytes = 64 << 10;
    }
    CHECK_OK(aur_segment_create(disk, &identity, 1, 0, &error));
    CHECK_OK(aur_segment_open(disk, &identity, &options, &segment, &error));
    cluster->disks[group][copy] = disk;
    return segment;
}

HARNESS_SHARED void fixture_add_group(fixture *cluster) {
    const uint32_t group = cluster->groups++;
    aur_error error;
    CHECK(group < FIXTURE_GROUPS_MAX);
    for (uint32_t copy = 0; copy < cluster->copies; copy++) {
        cluster->segments[group][copy] = fixture_segment(cluster, group, copy);
    }
    CHECK_OK(aur_quorum_add_group(cluster->quorum, cluster->segments[group], &error));
}

HARNESS_SHARED void fixture_create(fixture *cluster, uint32_t drive, uint32_t copies,
                                   uint32_t groups, uint64_t backlog_bytes, bool on_folders) {
    const aur_quorum_options options = {.copies = copies,
                                        .drive = drive,
                                        .backlog_bytes = backlog_bytes,
                                        .group_pages = FIXTURE_GROUP_PAGES,
                                        .page_bytes = FIXTURE_PAGE_BYTES};
    memset(cluster, 0, sizeof *cluster);
    cluster->copies = copies;
    cluster->on_folders = on_folders;
    CHECK_OK(aur_quorum_create(&options, &cluster->quorum));
    while (cluster->groups < groups) {
        fixture_add_group(cluster);
    }
}

/* Starts the quorum at `vdl` in the name of a writer of epoch 1. */
HARNESS_SHARED void fixture_start(fixture *cluster, aur_lsn vdl) {
    aur_error error;
    CHECK_OK(aur_quorum_start(cluster->quorum, vdl, &error));
    aur_quorum_set_epoch(cluster->quorum, 1);
}

HARNESS_SHARED void fixture_destroy(fixture *cluster) {
    aur_quorum_destroy(cluster->quorum);
    for (uint32_t group = 0; group < cluster->groups; group++) {
        for (uint32_t copy = 0; copy < cluster->copies; copy++) {
            if (cluster->segments[group][copy] != NULL) {
                aur_segment_close(cluster->segments[group][copy]);
            }
        }
    }
}

/* Puts an empty segment at a place, and closes the old one. */
HARNESS_SHARED void fixture_replace(fixture *cluster, uint32_t group, uint32_t copy) {
    aur_segment *old = NULL;
    aur_segment *fresh = fixture_segment(cluster, group, copy);
    aur_error error;
    CHECK_OK(aur_quorum_replace(cluster->quorum, group, copy, fresh, &old, &error));
    if (old != NULL) {
        aur_segment_close(old);
    }
    cluster->segments[group][copy] = fresh;
}

HARNESS_SHARED aur_lsn fixture_scl(fixture *cluster, uint32_t group, uint32_t copy) {
    aur_segment_state state;
    aur_segment_get_state(cluster->segments[group][copy], &state);
    return state.scl;
}

HARNESS_SHARED uint32_t fixture_copy_state(fixture *cluster, uint32_t group, uint32_t copy) {
    aur_copy_status status;
    CHECK_OK(aur_quorum_copy_status(cluster->quorum, group, copy, &status));
    return status.state;
}

/* MANUAL: one step, if there is something to do. */
HARNESS_SHARED bool fixture_try(fixture *cluster, uint32_t group, uint32_t copy) {
    return aur_quorum_step(cluster->quorum, group, copy) == AUR_OK;
}

/* MANUAL: steps everybody in turn until nobody has work. */
HARNESS_SHARED void fixture_settle(fixture *cluster) {
    bool worked = true;
    while (worked) {
        worked = false;
        for (uint32_t group = 0; group < cluster->groups; group++) {
            for (uint32_t copy = 0; copy < cluster->copies; copy++) {
                worked |= fixture_try(cluster, group, copy);
            }
        }
    }
}

/* A sealed frame of `records` records with the LSNs first, first + 1, ... */
HARNESS_SHARED aur_frame *fixture_frame(uint32_t group, aur_lsn prev, aur_lsn first,
                                        uint32_t records, const aur_boxcar *boxcar, uint16_t groups,
                                        aur_epoch epoch) {
    static const uint8_t body[12] = {0};
    aur_record record = {.op = AUR_OP_FORMAT,
                         .flags = AUR_RECORD_INIT,
                         .arg = AUR_PAGE_LEAF,
                         .page_id = (aur_page_id)group * FIXTURE_GROUP_PAGES,
                         .body = body,
                         .body_bytes = sizeof body};
    const bool ends_mtr = first + records - 1 == boxcar->last_cpl;
    const uint32_t record_bytes = aur_record_bytes(&record);
    const uint32_t length = AUR_FRAME_BODY_AT + records * record_bytes +
                            (ends_mtr ? (uint32_t)AUR_RECORD_TIME_BYTES : 0);
    aur_frame *frame = aur_frame_create(length);
    CHECK(frame != NULL);
    memset(frame->bytes, 0, frame->capacity);
    for (uint32_t i = 0; i < records; i++) {
        record.lsn = first + i;
        record.page_id =
            (aur_page_id)group * FIXTURE_GROUP_PAGES + record.lsn % FIXTURE_GROUP_PAGES;
        record.flags = AUR_RECORD_INIT | (record.lsn == boxcar->last_cpl ? AUR_RECORD_CPL : 0);
        record.time_us = record.lsn;
        aur_record_encode(&record, frame->bytes + AUR_FRAME_BODY_AT + i * record_bytes);
    }
    frame->header = (aur_frame_header){.length = length,
                                       .records = records,
                                       .epoch = epoch,
                                       .prev_lsn = prev,
                                       .first_lsn = first,
                                       .last_lsn = first + records - 1,
                                       .volume_first = boxcar->first_lsn,
                                       .volume_last = boxcar->last_lsn,
                                       .last_cpl = boxcar->last_cpl,
                                       .time_us = first,
                                       .group = group,
                                       .groups = groups};
    aur_frame_seal(frame->bytes, &frame->header, aur_volume_seed(fixture_volume_id));
    return frame;
}

/* Ships a boxcar [first, first + sum - 1] with records[i] records for group i, in that order; 0
 * leaves the group out. It ends at a CPL if `cpl`. `last` holds the groups' chains and is moved on.
 * Returns its last LSN. */
HARNESS_SHARED aur_lsn fixture_ship(fixture *cluster, aur_lsn first, const uint32_t *records,
                                    bool cpl, aur_lsn *last) {
    aur_frame *frames[FIXTURE_GROUPS_MAX];
    aur_boxcar boxcar = {.first_lsn = first, .last_lsn = first - 1, .frames = frames};
    uint16_t groups = 0;
    aur_lsn at = first;
    for (uint32_t group = 0; group < cluster->groups; group++) {
        boxcar.last_lsn += records[group];
        groups = (uint16_t)(groups + (records[group] > 0));
    }
    boxcar.last_cpl = cpl ? boxcar.last_lsn : 0;
    for (uint32_t group = 0; group < cluster->groups; group++) {
        if (records[group] == 0) {
            continue;
        }
        frames[boxcar.frame_count++] =
            fixture_frame(group, last[group], at, records[group], &boxcar, groups, 1);
        at += records[group];
        last[group] = at - 1;
    }
    aur_quorum_submit(cluster->quorum, &boxcar);
    return boxcar.last_lsn;
}

#endif
