/* Mini-transactions, boxcars and waits, step by step in the MANUAL drive. */
#include "log/ending.h"
#include "quorum/quorum_fixture.h"

enum { BACKLOG = 1 << 20 };

typedef struct rig {
    fixture cluster;
    aur_log *log;
    uint64_t clock_us;
} rig;

static uint64_t rig_clock(void *context) { return ((rig *)context)->clock_us; }

static void start_log(rig *r, aur_lsn vdl, aur_lsn next_lsn) {
    aur_lsn group_lsn[FIXTURE_GROUPS_MAX] = {0};
    aur_error error;
    for (uint32_t group = 0; group < r->cluster.groups; group++) {
        group_lsn[group] = fixture_scl(&r->cluster, group, 0);
    }
    const aur_log_start start = {.epoch = 1,
                                 .vdl = vdl,
                                 .next_lsn = next_lsn,
                                 .time_us = 1000,
                                 .groups = r->cluster.groups,
                                 .group_lsn = group_lsn};
    CHECK_OK(aur_log_start_at(r->log, &start, &error));
}

static void create_rig(rig *r, uint32_t groups, uint64_t boxcar_bytes, uint64_t inflight_bytes) {
    aur_log_options options;
    memset(r, 0, sizeof *r);
    fixture_create(&r->cluster, AUR_DRIVE_MANUAL, 6, groups, BACKLOG, false);
    aur_log_default_options(&options);
    memcpy(options.volume_id, fixture_volume_id, sizeof options.volume_id);
    options.page_bytes = FIXTURE_PAGE_BYTES;
    options.group_pages = FIXTURE_GROUP_PAGES;
    options.boxcar_bytes = boxcar_bytes;
    options.inflight_bytes = inflight_bytes;
    options.clock = (aur_clock){.context = r, .wall_us = rig_clock};
    CHECK_OK(aur_log_create(&options, r->cluster.quorum, &r->log));
    fixture_start(&r->cluster, 0);
    start_log(r, 0, 1);
}

static void destroy_rig(rig *r) {
    aur_log_destroy(r->log);
    fixture_destroy(&r->cluster);
}

static aur_status try_append(rig *r, aur_page_id page, uint32_t body_bytes, aur_lsn *lsn_out) {
    static const uint8_t body[FIXTURE_PAGE_BYTES] = {0};
    aur_record record = {.op = body_bytes == 12 ? AUR_OP_FORMAT : AUR_OP_INSERT,
                         .flags = body_bytes == 12 ? AUR_RECORD_INIT : 0,
                         .arg = body_bytes == 12 ? AUR_PAGE_LEAF : 0,
                         .page_id = page,
                         .body = body,
                         .body_bytes = body_bytes};
    aur_error error;
    const aur_status status = aur_log_append(r->log, &record, &error);
    *lsn_out = record.lsn;
    return status;
}

static aur_lsn append(rig *r, aur_page_id page) {
    aur_lsn lsn;
    CHECK_OK(try_append(r, page, 12, &lsn));
    return lsn;
}

static aur_lsn begin(rig *r) {
    aur_lsn start;
    aur_error error;
    CHECK_OK(aur_log_begin(r->log, &start, &error));
    return start;
}

static aur_lsn commit_one(rig *r) {
    begin(r);
    append(r, 0);
    return end_and_ship(r->log);
}

static aur_status poll(rig *r, aur_lsn lsn) {
    aur_error error;
    return aur_log_wait_durable(r->log, lsn, 0, &error);
}

TEST(a_commit_is_durable_at_the_fourth_copy) {
    rig r;
    create_rig(&r, 1, 0, 0);
    CHECK_EQ_U64(begin(&r), 0);
    CHECK_EQ_U64(append(&r, 1), 1);
    CHECK_EQ_U64(append(&r, 2), 2);
    CHECK_EQ_U64(end_and_ship(r.log), 2);
    CHECK_EQ_U64(aur_log_head(r.log), 2);
    for (uint32_t copy = 0; copy < 4; copy++) {
        CHECK_STATUS(poll(&r, 2), AUR_TIMEOUT);
        CHECK_OK(aur_quorum_step(r.cluster.quorum, 0, copy));
    }
    CHECK_OK(poll(&r, 2));
    CHECK_EQ_U64(aur_log_vdl(r.log), 2);
    CHECK_EQ_U64(aur_log_vcl(r.log), 2);
    destroy_rig(&r);
}

static uint64_t boxcars(rig *r) {
    aur_log_counts counts;
    aur_log_get_counts(r->log, &counts);
    return counts.boxcars;
}

TEST(what_has_ended_leaves_when_somebody_asks_or_waits_for_it) {
    rig r;
    create_rig(&r, 1, 0, 0);
    begin(&r);
    append(&r, 0);
    const aur_lsn first = aur_log_end(r.log);
    CHECK_EQ_U64(boxcars(&r), 0);
    begin(&r);
    append(&r, 1);
    CHECK_STATUS(poll(&r, first), AUR_TIMEOUT); /* not in the middle of another one … */
    CHECK_EQ_U64(boxcars(&r), 0);
    append(&r, 2);
    const aur_lsn second = aur_log_end(r.log); /* … but then with it, unasked */
    CHECK_EQ_U64(boxcars(&r), 1);
    while (aur_quorum_help(r.cluster.quorum) == AUR_OK) {
    }
    CHECK_OK(poll(&r, second));
    begin(&r);
    append(&r, 3);
    CHECK_STATUS(poll(&r, aur_log_end(r.log)), AUR_TIMEOUT);
    CHECK_EQ_U64(boxcars(&r), 2);
    destroy_rig(&r);
}

TEST(a_mini_transaction_without_records_leaves_everything_as_it_was) {
    rig r;
    aur_log_counts counts;
    create_rig(&r, 1, 0, 0);
    const aur_lsn lsn = commit_one(&r);
    begin(&r);
    CHECK_EQ_U64(end_and_ship(r.log), lsn);
    aur_log_get_counts(r.log, &counts);
    CHECK_EQ_U64(counts.mini_transactions, 1);
    CHECK_EQ_U64(counts.boxcars, 1);
    destroy_rig(&r);
}

/* Group commit without a timer: the first leaves at once, the next ones together when it has
 * landed. */
TEST(what_fills_while_a_boxcar_flies_leaves_when_it_lands) {
    rig r;
    aur_log_counts counts;
    create_rig(&r, 1, 0, 0);
    for (int i = 0; i < 5; i++) {
        commit_one(&r);
    }
    aur_log_get_counts(r.log, &counts);
    CHECK_EQ_U64(counts.boxcars, 1);
    for (uint32_t copy = 0; copy < 4; copy++) {
        CHECK_OK(aur_quorum_step(r.cluster.quorum, 0, copy));
    }
    aur_log_get_counts(r.log, &counts);
    CHECK_EQ_U64(counts.boxcars, 2);
    CHECK_OK(poll(&r, 1));
    CHECK_STATUS(poll(&r, 2), AUR_TIMEOUT);
    fixture_settle(&r.cluster);
    CHECK_OK(poll(&r, 5));
    destroy_rig(&r);
}

TEST(nothing_is_sealed_inside_a_mini_transaction_by_the_acknowledgement) {
    rig r;
    create_rig(&r, 1, 0, 0);
    commit_one(&r);
    begin(&r);
    append(&r, 1);
    fixture_settle(&r.cluster);
    CHECK_EQ_U64(aur_log_vcl(r.log), 1);
    append(&r, 2);
    CHECK_EQ_U64(end_and_ship(r.log), 3);
    fixture_settle(&r.cluster);
    CHECK_OK(poll(&r, 3));
    destroy_rig(&r);
}

/* A mini-transaction of many boxcars: VCL moves, VDL does not until its end. In the MANUAL drive
 * append makes the progress that it waits for. */
TEST(a_big_mini_transaction_is_shipped_in_parts_and_is_durable_whole) {
    rig r;
    aur_log_counts counts;
    aur_lsn lsn = 0;
    create_rig(&r, 2, 16 << 10, 64 << 10);
    const aur_lsn before = commit_one(&r);
    begin(&r);
    for (int i = 0; i < 400; i++) {
        CHECK_OK(try_append(&r, (aur_page_id)(i % 2) * FIXTURE_GROUP_PAGES + 3, 1000, &lsn));
        CHECK_LE_U64(aur_log_vdl(r.log), before);
    }
    CHECK_LE_U64(before + 100, aur_log_vcl(r.log));
    CHECK_EQ_U64(end_and_ship(r.log), lsn);
    aur_log_get_counts(r.log, &counts);
    CHECK_LE_U64(20, counts.boxcars);
    fixture_settle(&r.cluster);
    CHECK_OK(poll(&r, lsn));
    CHECK_EQ_U64(aur_log_vdl(r.log), lsn);
    destroy_rig(&r);
}

TEST(push_makes_room_inside_a_mini_transaction) {
    rig r;
    aur_error error;
    create_rig(&r, 1, 0, 0);
    commit_one(&r); /* 1, flies */
    commit_one(&r); /* 2, waits in the open boxcar */
    begin(&r);
    append(&r, 1); /* 3 to 5 */
    append(&r, 2);
    append(&r, 3);
    CHECK_OK(aur_log_push(r.log, &error));
    CHECK_LE_U64(1, aur_log_vcl(r.log));
    CHECK_OK(aur_log_push(r.log, &error));
    CHECK_OK(aur_log_push(r.log, &error));
    CHECK_EQ_U64(aur_log_vcl(r.log), 4); /* all but the newest, which may be the CPL */
    CHECK_EQ_U64(aur_log_vdl(r.log), 2);
    CHECK_OK(aur_log_push(r.log, &error));
    CHECK_EQ_U64(aur_log_vcl(r.log), 4);
    CHECK_EQ_U64(end_and_ship(r.log), 5);
    fixture_settle(&r.cluster);
    CHECK_OK(poll(&r, 5));
    destroy_rig(&r);
}

TEST(a_lost_quorum_refuses_work_and_ends_waits_until_it_is_back) {
    rig r;
    aur_lsn start;
    aur_error error;
    create_rig(&r, 1, 0, 0);
    const aur_lsn durable = commit_one(&r);
    fixture_settle(&r.cluster);
    for (uint32_t copy = 0; copy < 3; copy++) {
        aur_faulty_set_dead(r.cluster.disks[0][copy], true);
    }
    const aur_lsn in_doubt = commit_one(&r);
    fixture_settle(&r.cluster);
    aur_error_clear(&error);
    CHECK_STATUS(aur_log_wait_durable(r.log, in_doubt, UINT64_MAX, &error), AUR_ERR_QUORUM);
    CHECK(strstr(error.message, "rebuild") != NULL);
    CHECK_STATUS(aur_log_begin(r.log, &start, &error), AUR_ERR_QUORUM);
    CHECK_OK(poll(&r, durable));
    fixture_replace(&r.cluster, 0, 2);
    fixture_settle(&r.cluster);
    CHECK_OK(poll(&r, in_doubt));
    commit_one(&r);
    destroy_rig(&r);
}

TEST(a_failed_log_says_why_until_it_is_started_again) {
    rig r;
    aur_error why;
    aur_error error;
    aur_lsn start;
    create_rig(&r, 1, 0, 0);
    const aur_lsn durable = commit_one(&r);
    fixture_settle(&r.cluster);
    begin(&r);
    const aur_lsn lost = append(&r, 1);
    aur_error_clear(&why);
    CHECK_STATUS(aur_fail(&why, AUR_ERR_MEMORY, "no memory in the middle"), AUR_ERR_MEMORY);
    aur_log_fail(r.log, &why);
    CHECK_STATUS(aur_log_failure(r.log, &error), AUR_ERR_MEMORY);
    CHECK_EQ_STR(error.message, "no memory in the middle");
    CHECK_STATUS(aur_log_begin(r.log, &start, &error), AUR_ERR_MEMORY);
    CHECK_STATUS(poll(&r, lost), AUR_ERR_MEMORY);
    CHECK_OK(poll(&r, durable));

    start_log(&r, durable, durable + 100);
    CHECK_OK(aur_log_failure(r.log, &error));
    CHECK_EQ_U64(aur_log_head(r.log), durable);
    const aur_lsn next = commit_one(&r);
    CHECK_EQ_U64(next, durable + 100);
    fixture_settle(&r.cluster);
    CHECK_OK(poll(&r, next));
    CHECK_OK(poll(&r, durable));
    /* I1: it is below VDL now, and still it was lost. */
    CHECK_STATUS(poll(&r, lost), AUR_ERR_QUORUM);
    destroy_rig(&r);
}

/* The commit time in the record that ends the newest frame of group 0, and in the frame's header.
 */
static void newest_times(rig *r, aur_lsn before, uint64_t *record_us, uint64_t *frame_us) {
    aur_frame *frame;
    aur_record record;
    aur_error error;
    size_t used = 0;
    CHECK_OK(aur_segment_next_frame(r->cluster.segments[0][0], before, &frame, &error));
    for (size_t at = AUR_FRAME_BODY_AT; at < frame->header.length; at += used) {
        CHECK_OK(aur_record_decode(frame->bytes + at, frame->header.length - at, &record, &used));
    }
    *record_us = record.time_us;
    *frame_us = frame->header.time_us;
    aur_frame_release(frame);
}

TEST(commit_times_never_go_back) {
    rig r;
    uint64_t record_us = 0;
    uint64_t frame_us = 0;
    create_rig(&r, 1, 0, 0);
    CHECK_EQ_U64(aur_log_time_us(r.log), 1000);
    r.clock_us = 5000;
    commit_one(&r);
    fixture_settle(&r.cluster);
    CHECK_EQ_U64(aur_log_time_us(r.log), 5000);
    r.clock_us = 10;
    const aur_lsn before = aur_log_head(r.log);
    commit_one(&r);
    fixture_settle(&r.cluster);
    CHECK_EQ_U64(aur_log_time_us(r.log), 5000);
    newest_times(&r, before, &record_us, &frame_us);
    CHECK_EQ_U64(record_us, 5000);
    CHECK_EQ_U64(frame_us, 5000);
    destroy_rig(&r);
}

static void record_rewind(rig *r, aur_lsn at, aur_lsn to, uint32_t copies) {
    const aur_rewind rewind = {.at = at, .to = to, .epoch = 1, .kind = AUR_REWIND_BACKTRACK};
    aur_error error;
    for (uint32_t group = 0; group < r->cluster.groups; group++) {
        for (uint32_t copy = 0; copy < copies; copy++) {
            CHECK_OK(aur_segment_rewind(r->cluster.segments[group][copy], &rewind, &error));
        }
    }
}

static aur_status confirm(rig *r, aur_lsn at, aur_lsn to) {
    const aur_rewind rewind = {.at = at, .to = to};
    aur_error error;
    return aur_quorum_confirm_rewind(r->cluster.quorum, &rewind, &error);
}

TEST(after_a_rewind_the_log_goes_on_behind_a_moment_without_a_record) {
    rig r;
    uint64_t record_us = 0;
    uint64_t frame_us = 0;
    create_rig(&r, 2, 0, 0);
    r.clock_us = 5000;
    const aur_lsn first = commit_one(&r);
    const aur_lsn second = commit_one(&r);
    fixture_settle(&r.cluster);
    CHECK_EQ_U64(aur_log_rewind_point(r.log), second);
    record_rewind(&r, second, first, 4);
    CHECK_OK(confirm(&r, second, first));
    aur_log_rewound(r.log, second, 9000);
    CHECK_EQ_U64(aur_log_head(r.log), second + 1);
    CHECK_EQ_U64(aur_log_vdl(r.log), second + 1);
    CHECK_EQ_U64(aur_log_vcl(r.log), second + 1);
    CHECK_OK(poll(&r, second + 1));
    CHECK_EQ_U64(begin(&r), second + 1);
    CHECK_EQ_U64(append(&r, 0), second + 2);
    CHECK_EQ_U64(end_and_ship(r.log), second + 2);
    fixture_settle(&r.cluster);
    CHECK_OK(poll(&r, second + 2));
    /* Nobody committed before the rewind what comes after it. */
    newest_times(&r, second, &record_us, &frame_us);
    CHECK_EQ_U64(record_us, 9000);
    /* The copies that had not recorded it do not count and are not asked any more. */
    CHECK_EQ_U64(fixture_copy_state(&r.cluster, 0, 3), AUR_COPY_OK);
    CHECK_EQ_U64(fixture_copy_state(&r.cluster, 0, 4), AUR_COPY_FAILED);
    CHECK_EQ_U64(fixture_copy_state(&r.cluster, 1, 5), AUR_COPY_FAILED);
    destroy_rig(&r);
}

TEST(a_rewind_without_a_write_quorum_is_not_confirmed) {
    rig r;
    create_rig(&r, 1, 0, 0);
    const aur_lsn first = commit_one(&r);
    const aur_lsn second = commit_one(&r);
    fixture_settle(&r.cluster);
    record_rewind(&r, second, first, 3);
    CHECK_STATUS(confirm(&r, second, first), AUR_ERR_QUORUM);
    destroy_rig(&r);
}

/* Rewinds come in the order of `at`, also when a recovery has just skipped LSNs. */
TEST(a_rewind_right_after_a_recovery_lies_above_what_that_skipped) {
    rig r;
    create_rig(&r, 1, 0, 0);
    const aur_lsn durable = commit_one(&r);
    fixture_settle(&r.cluster);
    start_log(&r, durable, durable + 100);
    CHECK_EQ_U64(aur_log_moment(r.log, durable), durable);
    CHECK_EQ_U64(aur_log_moment(r.log, durable + 99), durable);
    CHECK_EQ_U64(aur_log_moment(r.log, durable + 100), durable + 100);
    CHECK_EQ_U64(aur_log_rewind_point(r.log), durable + 100);
    record_rewind(&r, durable + 100, 0, 6);
    CHECK_OK(confirm(&r, durable + 100, 0));
    aur_log_rewound(r.log, durable + 100, 0);
    CHECK_EQ_U64(aur_log_vdl(r.log), durable + 101);
    CHECK_EQ_U64(aur_log_rewind_point(r.log), durable + 101);
    CHECK_EQ_U64(commit_one(&r), durable + 102);
    destroy_rig(&r);
}

TEST(commits_are_found_by_time_and_by_lsn) {
    rig r;
    aur_commit_mark mark;
    aur_error error;
    aur_lsn lsns[20];
    uint64_t count;
    create_rig(&r, 3, 0, 0);
    CHECK_STATUS(aur_quorum_commit_at_lsn(r.cluster.quorum, 100, &mark, &error), AUR_NOT_FOUND);
    for (uint32_t i = 0; i < 20; i++) {
        r.clock_us = 2000 + 10 * i;
        begin(&r);
        append(&r, (i % 3) * FIXTURE_GROUP_PAGES);
        append(&r, (i * i % 3) * FIXTURE_GROUP_PAGES);
        lsns[i] = end_and_ship(r.log);
        if (i < 19) {
            fixture_settle(&r.cluster);
        }
    }
    aur_quorum *quorum = r.cluster.quorum;
    CHECK_STATUS(aur_quorum_commit_at_time(quorum, 1999, &mark, &error), AUR_NOT_FOUND);
    for (uint32_t i = 0; i < 19; i++) {
        CHECK_OK(aur_quorum_commit_at_time(quorum, 2000 + 10 * i + i % 10, &mark, &error));
        CHECK(mark.lsn == lsns[i] && mark.time_us == 2000 + 10 * i);
        CHECK_OK(aur_quorum_commit_at_lsn(quorum, lsns[i] + (i < 18), &mark, &error));
        CHECK(mark.lsn == lsns[i] && mark.time_us == 2000 + 10 * i);
        CHECK_OK(aur_quorum_count_commits(quorum, lsns[i], UINT64_MAX, &count, &error));
        CHECK_EQ_U64(count, 18 - i);
    }
    /* What is not durable is not told. */
    CHECK_OK(aur_quorum_step(quorum, 19 % 3, 0));
    CHECK_OK(aur_quorum_commit_at_time(quorum, UINT64_MAX, &mark, &error));
    CHECK_EQ_U64(mark.lsn, lsns[18]);
    CHECK_OK(aur_quorum_commit_at_lsn(quorum, UINT64_MAX, &mark, &error));
    CHECK_EQ_U64(mark.lsn, lsns[18]);
    destroy_rig(&r);
}

TEST(a_record_outside_the_volume_is_refused) {
    rig r;
    aur_lsn lsn;
    create_rig(&r, 1, 0, 0);
    begin(&r);
    CHECK_STATUS(try_append(&r, FIXTURE_GROUP_PAGES, 12, &lsn), AUR_ERR_INVALID);
    fixture_add_group(&r.cluster);
    CHECK_OK(aur_log_add_group(r.log));
    CHECK_OK(try_append(&r, FIXTURE_GROUP_PAGES, 12, &lsn));
    lsn = end_and_ship(r.log);
    fixture_settle(&r.cluster);
    CHECK_OK(poll(&r, lsn));
    destroy_rig(&r);
}
