/* Watermarks and the life of single copies, step by step in the MANUAL drive. */
#include "base/planted.h"
#include "quorum/quorum_fixture.h"

enum { BACKLOG = 1 << 20 };

static aur_watermarks watermarks(fixture *cluster) {
    aur_watermarks now;
    aur_quorum_watermarks(cluster->quorum, &now);
    return now;
}

static void step(fixture *cluster, uint32_t group, uint32_t copy) {
    CHECK_OK(aur_quorum_step(cluster->quorum, group, copy));
}

/* SIGMOD 2018, figure 3: group 0 has the odd LSNs and is complete to 103, group 1 the even ones and
 * is complete to 104; 105 and 106 are not. VCL is 104, not the smaller PGCL. */
TEST(vcl_is_not_the_smallest_pgcl) {
    static const uint32_t odd[] = {1, 0};
    static const uint32_t even[] = {0, 1};
    fixture cluster;
    aur_lsn last[2] = {0, 0};
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 2, BACKLOG, false);
    fixture_start(&cluster, 100);
    for (aur_lsn lsn = 101; lsn <= 106; lsn++) {
        CHECK_EQ_U64(fixture_ship(&cluster, lsn, lsn % 2 == 1 ? odd : even, true, last), lsn);
    }
    for (uint32_t copy = 0; copy < 4; copy++) {
        step(&cluster, 0, copy);
        step(&cluster, 0, copy);
        step(&cluster, 1, copy);
        step(&cluster, 1, copy);
    }
    CHECK_EQ_U64(watermarks(&cluster).vcl, 104);
    CHECK_EQ_U64(watermarks(&cluster).vdl, 104);
    for (uint32_t copy = 0; copy < 6; copy++) {
        (void)fixture_try(&cluster, 1, copy); /* 106 reaches its quorum, 105 does not */
    }
    CHECK_EQ_U64(watermarks(&cluster).vcl, 104);
    fixture_settle(&cluster);
    CHECK_EQ_U64(watermarks(&cluster).vcl, 106);
    CHECK_EQ_U64(watermarks(&cluster).boxcars_in_flight, 0);
    fixture_destroy(&cluster);
}

TEST(vdl_is_the_highest_cpl_up_to_vcl) {
    static const uint32_t three[] = {3};
    fixture cluster;
    aur_lsn last[1] = {0};
    aur_lsn boundaries[8];
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 1, BACKLOG, false);
    fixture_start(&cluster, 0);
    CHECK_EQ_U64(fixture_ship(&cluster, 1, three, true, last), 3);
    CHECK_EQ_U64(fixture_ship(&cluster, 4, three, false, last), 6);
    CHECK_EQ_U64(fixture_ship(&cluster, 7, three, true, last), 9);
    CHECK_EQ_U64(aur_quorum_boundaries(cluster.quorum, boundaries, 8), 3);
    CHECK(boundaries[0] == 0 && boundaries[1] == 3 && boundaries[2] == 9);
    for (uint32_t copy = 0; copy < 4; copy++) {
        CHECK_EQ_U64(watermarks(&cluster).vcl, 0);
        step(&cluster, 0, copy);
    }
    CHECK_EQ_U64(watermarks(&cluster).vdl, 3);
    for (uint32_t copy = 0; copy < 4; copy++) {
        step(&cluster, 0, copy);
    }
    CHECK_EQ_U64(watermarks(&cluster).vcl, 6);
    CHECK_EQ_U64(watermarks(&cluster).vdl, 3);
    CHECK_EQ_U64(aur_quorum_boundaries(cluster.quorum, boundaries, 1), 2);
    fixture_settle(&cluster);
    CHECK_EQ_U64(watermarks(&cluster).vdl, 9);
    fixture_destroy(&cluster);
}

TEST(a_failed_copy_gets_nothing_more_and_its_loss_is_told_when_it_decides) {
    static const uint32_t one[] = {1};
    fixture cluster;
    aur_lsn last[1] = {0};
    aur_copy_status status;
    aur_error error;
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 1, BACKLOG, false);
    fixture_start(&cluster, 0);
    for (uint32_t copy = 0; copy < 3; copy++) {
        CHECK_OK(watermarks(&cluster).status);
        aur_faulty_set_dead(cluster.disks[0][copy], true);
        fixture_ship(&cluster, copy + 1, one, true, last);
        fixture_settle(&cluster);
        CHECK_EQ_U64(fixture_copy_state(&cluster, 0, copy), AUR_COPY_FAILED);
    }
    CHECK_STATUS(watermarks(&cluster).status, AUR_ERR_QUORUM);
    CHECK_EQ_U64(watermarks(&cluster).vdl, 2);
    aur_error_clear(&error);
    CHECK_STATUS(aur_quorum_explain(cluster.quorum, &error), AUR_ERR_QUORUM);
    CHECK(strstr(error.message, "3 healthy copies of 6") != NULL);
    CHECK_OK(aur_quorum_copy_status(cluster.quorum, 0, 1, &status));
    CHECK(status.error.status != AUR_OK && status.error.copy == 1);

    /* The disk works again, but the copy does not come back by itself (I10). */
    aur_faulty_set_dead(cluster.disks[0][1], false);
    fixture_settle(&cluster);
    CHECK_EQ_U64(fixture_copy_state(&cluster, 0, 1), AUR_COPY_FAILED);

    /* A replaced copy brings the quorum back, catches up and completes what was in flight. */
    fixture_replace(&cluster, 0, 1);
    CHECK_OK(watermarks(&cluster).status);
    CHECK_EQ_U64(fixture_copy_state(&cluster, 0, 1), AUR_COPY_LAGGING);
    fixture_settle(&cluster);
    CHECK_EQ_U64(watermarks(&cluster).vdl, 3);
    CHECK_EQ_U64(fixture_scl(&cluster, 0, 1), 3);
    CHECK_EQ_U64(fixture_copy_state(&cluster, 0, 1), AUR_COPY_OK);
    fixture_destroy(&cluster);
}

TEST(a_copy_past_the_backlog_lags_and_catches_up_from_a_peer) {
    static const uint32_t one[] = {1};
    enum { FRAMES = 40, BACKLOG_FRAMES = 8 };
    fixture cluster;
    aur_lsn last[1] = {0};
    aur_copy_status status;
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 1, BACKLOG_FRAMES * AUR_FRAME_ALIGN, false);
    fixture_start(&cluster, 0);
    for (aur_lsn lsn = 1; lsn <= FRAMES; lsn++) {
        fixture_ship(&cluster, lsn, one, true, last);
        for (uint32_t copy = 0; copy < 5; copy++) {
            step(&cluster, 0, copy);
        }
        CHECK_EQ_U64(fixture_copy_state(&cluster, 0, 5),
                     lsn <= BACKLOG_FRAMES ? AUR_COPY_OK : AUR_COPY_LAGGING);
    }
    CHECK_OK(aur_quorum_copy_status(cluster.quorum, 0, 5, &status));
    CHECK_LE_U64(status.queued_bytes, BACKLOG_FRAMES * AUR_FRAME_ALIGN);
    CHECK_EQ_U64(watermarks(&cluster).vdl, FRAMES);
    for (aur_lsn lsn = 1; lsn <= FRAMES; lsn++) {
        step(&cluster, 0, 5);
        CHECK_EQ_U64(fixture_scl(&cluster, 0, 5), lsn);
    }
    CHECK_EQ_U64(fixture_copy_state(&cluster, 0, 5), AUR_COPY_OK);
    CHECK_STATUS(aur_quorum_step(cluster.quorum, 0, 5), AUR_NOT_FOUND);
    fixture_destroy(&cluster);
}

/* What is not complete stays at hand whatever the backlog, or nobody could ever complete it. */
TEST(an_incomplete_frame_is_never_dropped) {
    static const uint32_t one[] = {1};
    fixture cluster;
    aur_lsn last[1] = {0};
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 1, 2 * AUR_FRAME_ALIGN, false);
    fixture_start(&cluster, 0);
    for (aur_lsn lsn = 1; lsn <= 30; lsn++) {
        fixture_ship(&cluster, lsn, one, true, last);
        step(&cluster, 0, 0);
    }
    fixture_replace(&cluster, 0, 0); /* the only one that had them */
    fixture_settle(&cluster);
    CHECK_EQ_U64(watermarks(&cluster).vdl, 30);
    CHECK_EQ_U64(fixture_scl(&cluster, 0, 0), 30);
    fixture_destroy(&cluster);
}

TEST(a_newer_epoch_fences_the_whole_quorum) {
    static const uint32_t one[] = {1};
    fixture cluster;
    aur_lsn last[1] = {0};
    aur_error error;
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 1, BACKLOG, false);
    fixture_start(&cluster, 0);
    CHECK_OK(aur_segment_set_epoch(cluster.segments[0][4], 2, &error));
    fixture_ship(&cluster, 1, one, true, last);
    step(&cluster, 0, 4);
    CHECK_STATUS(watermarks(&cluster).status, AUR_ERR_FENCED);
    fixture_settle(&cluster);
    CHECK_EQ_U64(watermarks(&cluster).vdl, 0);
    CHECK_STATUS(aur_quorum_explain(cluster.quorum, &error), AUR_ERR_FENCED);
    fixture_destroy(&cluster);
}

/* I4 by the back door: a copy that promised a newer epoch must not be filled from its peers by the
 * old writer. */
TEST(a_fenced_writer_cannot_complete_a_write_by_catching_up) {
    static const uint32_t one[] = {1};
    fixture cluster;
    aur_lsn last[1] = {0};
    aur_error error;
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 1, BACKLOG, false);
    fixture_start(&cluster, 0);
    fixture_ship(&cluster, 1, one, true, last);
    for (uint32_t copy = 0; copy < 4; copy++) {
        step(&cluster, 0, copy);
    }
    fixture_replace(&cluster, 0, 5);
    CHECK_OK(aur_segment_set_epoch(cluster.segments[0][5], 2, &error));
    step(&cluster, 0, 5);
    CHECK_STATUS(watermarks(&cluster).status, AUR_ERR_FENCED);
    CHECK_EQ_U64(fixture_scl(&cluster, 0, 5), 0);
    fixture_destroy(&cluster);
}

TEST(a_copy_that_nobody_can_serve_must_be_rebuilt) {
    static const uint32_t one[] = {1};
    fixture cluster;
    aur_lsn last[1] = {0};
    aur_copy_status status;
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 1, BACKLOG, false);
    fixture_start(&cluster, 0);
    last[0] = 7; /* frames before this one were never stored anywhere */
    fixture_ship(&cluster, 8, one, true, last);
    fixture_settle(&cluster);
    CHECK_STATUS(watermarks(&cluster).status, AUR_ERR_QUORUM);
    CHECK_OK(aur_quorum_copy_status(cluster.quorum, 0, 2, &status));
    CHECK_EQ_U64(status.state, AUR_COPY_FAILED);
    CHECK(strstr(status.error.message, "rebuild") != NULL);
    fixture_destroy(&cluster);
}

TEST(missing_copies_count_as_failed_and_misplaced_ones_are_refused) {
    fixture cluster;
    aur_segment *segments[6];
    aur_segment *old = NULL;
    aur_error error;
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 1, BACKLOG, false);
    memcpy(segments, cluster.segments[0], sizeof segments);
    CHECK_STATUS(aur_quorum_add_group(cluster.quorum, segments, &error), AUR_ERR_INVALID);
    CHECK_STATUS(aur_quorum_replace(cluster.quorum, 0, 1, segments[2], &old, &error),
                 AUR_ERR_INVALID);
    CHECK_STATUS(aur_quorum_replace(cluster.quorum, 1, 1, segments[1], &old, &error),
                 AUR_ERR_INVALID);
    fixture_start(&cluster, 0);
    for (uint32_t copy = 0; copy < 3; copy++) {
        CHECK_OK(watermarks(&cluster).status);
        CHECK_OK(aur_quorum_replace(cluster.quorum, 0, copy, NULL, &old, &error));
        CHECK(old == segments[copy]);
        aur_segment_close(old);
        cluster.segments[0][copy] = NULL;
    }
    CHECK_STATUS(watermarks(&cluster).status, AUR_ERR_QUORUM);
    fixture_destroy(&cluster);
}

static void count_call(void *context) { (*(int *)context)++; }

TEST(the_listener_hears_of_progress_and_of_loss) {
    static const uint32_t one[] = {1};
    fixture cluster;
    aur_lsn last[1] = {0};
    int calls = 0;
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 1, BACKLOG, false);
    aur_quorum_listen(cluster.quorum, count_call, &calls);
    fixture_start(&cluster, 0);
    const int at_start = calls;
    fixture_ship(&cluster, 1, one, true, last);
    for (uint32_t copy = 0; copy < 3; copy++) {
        step(&cluster, 0, copy);
    }
    CHECK_EQ_I64(calls, at_start);
    step(&cluster, 0, 3);
    CHECK_EQ_I64(calls, at_start + 1);
    for (uint32_t copy = 0; copy < 3; copy++) {
        aur_faulty_set_dead(cluster.disks[0][copy], true);
    }
    fixture_ship(&cluster, 2, one, true, last);
    fixture_settle(&cluster);
    CHECK_EQ_I64(calls, at_start + 4); /* one for each copy; the third one's is the loss as well */
    aur_quorum_listen(cluster.quorum, NULL, NULL);
    fixture_destroy(&cluster);
}

/* Reads go to one copy that has everything, and to another when that one cannot. */
TEST(pages_are_read_from_a_copy_that_is_far_enough) {
    static const uint32_t one[] = {1};
    fixture cluster;
    aur_lsn last[1] = {0};
    uint8_t page[FIXTURE_PAGE_BYTES];
    aur_error error;
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 1, BACKLOG, false);
    fixture_start(&cluster, 0);
    fixture_ship(&cluster, 1, one, true, last);
    for (uint32_t copy = 2; copy < 6; copy++) {
        step(&cluster, 0, copy);
    }
    CHECK_OK(aur_quorum_read_page(cluster.quorum, 1, 1, page, &error));
    CHECK_EQ_U64(aur_page_lsn(page), 1);
    CHECK_STATUS(aur_quorum_read_page(cluster.quorum, 2, 1, page, &error), AUR_NOT_FOUND);
    CHECK_STATUS(aur_quorum_read_page(cluster.quorum, FIXTURE_GROUP_PAGES + 1, 1, page, &error),
                 AUR_NOT_FOUND);
    for (uint32_t copy = 2; copy < 6; copy++) {
        aur_segment *old = NULL;
        CHECK_OK(aur_quorum_read_page(cluster.quorum, 1, AUR_LSN_MAX, page, &error));
        CHECK_OK(aur_quorum_replace(cluster.quorum, 0, copy, NULL, &old, &error));
        aur_segment_close(old);
        cluster.segments[0][copy] = NULL;
    }
    CHECK_STATUS(aur_quorum_read_page(cluster.quorum, 1, 1, page, &error), AUR_ERR_QUORUM);
    fixture_destroy(&cluster);
}

TEST(a_restart_forgets_what_was_in_flight_and_starts_at_the_given_vdl) {
    static const uint32_t one[] = {1};
    fixture cluster;
    aur_lsn last[1] = {0};
    fixture_create(&cluster, AUR_DRIVE_MANUAL, 6, 1, BACKLOG, false);
    fixture_start(&cluster, 0);
    fixture_ship(&cluster, 1, one, true, last);
    fixture_settle(&cluster);
    fixture_ship(&cluster, 2, one, true, last);
    CHECK_EQ_U64(watermarks(&cluster).boxcars_in_flight, 1);
    CHECK_LE_U64(1, watermarks(&cluster).bytes_in_flight);
    aur_quorum_stop(cluster.quorum);
    CHECK_EQ_U64(watermarks(&cluster).boxcars_in_flight, 0);
    CHECK_EQ_U64(watermarks(&cluster).bytes_in_flight, 0);
    fixture_start(&cluster, 1);
    fixture_settle(&cluster);
    CHECK_EQ_U64(watermarks(&cluster).vcl, 1);
    last[0] = 1;
    fixture_ship(&cluster, 50, one, true, last);
    fixture_settle(&cluster);
    CHECK_EQ_U64(watermarks(&cluster).vdl, 50);
    fixture_destroy(&cluster);
}
