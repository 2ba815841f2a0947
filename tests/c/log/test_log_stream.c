/*
 * Random mini-transactions over several groups, with tiny boxcars, pushes, steps in any order and
 * copies that fail and are replaced. Afterwards the frames that the segments hold are read back and
 * compared with what was appended: every record once, in order, CPL flags exactly at the ends of
 * mini-transactions, with times that never go back, frames linked by group, and boxcars that are
 * contiguous and end at a CPL or hold none.
 */
#include "log/ending.h"
#include "quorum/quorum_fixture.h"

enum { RECORDS_MAX = 6000, HISTORIES = 12 };

typedef struct expected_record {
    aur_page_id page_id;
    uint32_t body_bytes;
    bool cpl;
} expected_record;

typedef struct history {
    fixture cluster;
    aur_log *log;
    expected_record records[RECORDS_MAX + 1]; /* by LSN */
    aur_lsn last;
    aur_lsn volume_last[RECORDS_MAX + 1]; /* of the boxcar that holds the record */
    aur_lsn volume_first[RECORDS_MAX + 1];
    bool found[RECORDS_MAX + 1];
    uint64_t times[RECORDS_MAX + 1]; /* of commits, as found in the frames */
    uint64_t clock_us;
} history;

/* A clock that stands still at times, and jumps in both directions. */
static uint64_t unsteady_clock(void *context) {
    history *h = context;
    h->clock_us += random_below(3);
    if (random_below(20) == 0) {
        h->clock_us = random_below(2 * h->clock_us + 10);
    }
    return h->clock_us;
}

static void create_history(history *h, uint32_t groups) {
    static const aur_lsn group_lsn[FIXTURE_GROUPS_MAX] = {0};
    aur_log_options options;
    aur_error error;
    fixture_create(&h->cluster, AUR_DRIVE_MANUAL, 6, groups, 16 * AUR_FRAME_ALIGN, false);
    aur_log_default_options(&options);
    memcpy(options.volume_id, fixture_volume_id, sizeof options.volume_id);
    options.page_bytes = FIXTURE_PAGE_BYTES;
    options.group_pages = FIXTURE_GROUP_PAGES;
    options.clock = (aur_clock){.context = h, .wall_us = unsteady_clock};
    options.boxcar_bytes = 500 + random_below(12000);
    options.inflight_bytes = 4096 + random_below(60000);
    CHECK_OK(aur_log_create(&options, h->cluster.quorum, &h->log));
    fixture_start(&h->cluster, 0);
    const aur_log_start start = {
        .epoch = 1, .next_lsn = 1, .groups = groups, .group_lsn = group_lsn};
    CHECK_OK(aur_log_start_at(h->log, &start, &error));
}

static void append_random(history *h) {
    static const uint8_t body[FIXTURE_PAGE_BYTES] = {0};
    const uint64_t pages = (uint64_t)h->cluster.groups * FIXTURE_GROUP_PAGES;
    aur_record record = {.op = AUR_OP_INSERT,
                         .page_id = random_below(pages),
                         .body = body,
                         .body_bytes = (uint32_t)random_below(random_below(10) == 0 ? 3000 : 100)};
    aur_error error;
    CHECK_OK(aur_log_append(h->log, &record, &error));
    CHECK_EQ_U64(record.lsn, h->last + 1);
    h->last = record.lsn;
    h->records[record.lsn] = (expected_record){record.page_id, record.body_bytes, false};
}

static void run_mini_transaction(history *h) {
    const uint64_t records = random_below(random_below(8) == 0 ? 200 : 6);
    aur_lsn start;
    aur_error error;
    CHECK_OK(aur_log_begin(h->log, &start, &error));
    CHECK_EQ_U64(start, h->last);
    for (uint64_t i = 0; i < records; i++) {
        append_random(h);
        if (random_below(20) == 0) {
            CHECK_OK(aur_log_push(h->log, &error));
        }
        (void)fixture_try(&h->cluster, (uint32_t)random_below(h->cluster.groups),
                          (uint32_t)random_below(6));
    }
    h->records[h->last].cpl = h->records[h->last].cpl || records > 0;
    CHECK_EQ_U64(end_and_ship(h->log), h->last);
}

static void check_record(history *h, const aur_record *record, const aur_frame_header *header) {
    CHECK(record->lsn >= 1 && record->lsn <= h->last);
    const expected_record *expected = &h->records[record->lsn];
    CHECK(!h->found[record->lsn]);
    h->found[record->lsn] = true;
    CHECK_EQ_U64(record->page_id, expected->page_id);
    CHECK_EQ_U64(record->body_bytes, expected->body_bytes);
    CHECK(((record->flags & AUR_RECORD_CPL) != 0) == expected->cpl);
    CHECK_EQ_U64(record->page_id / FIXTURE_GROUP_PAGES, header->group);
    h->volume_first[record->lsn] = header->volume_first;
    h->volume_last[record->lsn] = header->volume_last;
    h->times[record->lsn] = record->time_us;
    if (expected->cpl) {
        CHECK_LE_U64(record->lsn, header->last_cpl);
        CHECK_LE_U64(record->time_us, header->time_us);
    } else if (record->lsn == header->volume_last) {
        CHECK_EQ_U64(header->last_cpl, 0);
    }
}

static void check_frame(history *h, const aur_frame *frame, uint32_t group) {
    const aur_frame_header *header = &frame->header;
    aur_frame_header decoded;
    size_t at = AUR_FRAME_BODY_AT;
    CHECK_OK(aur_frame_decode(frame->bytes, header->length, aur_volume_seed(fixture_volume_id),
                              &decoded));
    CHECK_OK(aur_frame_check_payload(frame->bytes, &decoded, aur_volume_seed(fixture_volume_id)));
    CHECK_EQ_U64(decoded.group, group);
    CHECK_EQ_MEM(&decoded.first_lsn, &header->first_lsn, sizeof decoded.first_lsn);
    for (uint32_t i = 0; i < header->records; i++) {
        aur_record record;
        size_t used = 0;
        CHECK_OK(aur_record_decode(frame->bytes + at, header->length - at, &record, &used));
        CHECK(i > 0 || record.lsn == header->first_lsn);
        CHECK(i + 1 < header->records || record.lsn == header->last_lsn);
        check_record(h, &record, header);
        at += used;
    }
    CHECK_EQ_U64(at, header->length);
}

static void check_group(history *h, uint32_t group, uint32_t copy) {
    const aur_lsn scl = fixture_scl(&h->cluster, group, copy);
    aur_lsn at = 0;
    uint64_t time_us = 0;
    while (at < scl) {
        aur_frame *frame = NULL;
        aur_error error;
        CHECK_OK(aur_segment_next_frame(h->cluster.segments[group][copy], at, &frame, &error));
        CHECK_EQ_U64(frame->header.prev_lsn, at);
        CHECK_LE_U64(time_us, frame->header.time_us);
        time_us = frame->header.time_us;
        at = frame->header.last_lsn;
        check_frame(h, frame, group);
        aur_frame_release(frame);
    }
}

static void check_boxcars(history *h) {
    aur_lsn first = 1;
    while (first <= h->last) {
        const aur_lsn last = h->volume_last[first];
        for (aur_lsn lsn = first; lsn <= last; lsn++) {
            CHECK(h->found[lsn]);
            CHECK_EQ_U64(h->volume_first[lsn], first);
            CHECK_EQ_U64(h->volume_last[lsn], last);
        }
        first = last + 1;
    }
}

static void check_times(const history *h) {
    uint64_t newest_us = 0;
    for (aur_lsn lsn = 1; lsn <= h->last; lsn++) {
        if (h->records[lsn].cpl) {
            CHECK_LE_U64(newest_us, h->times[lsn]);
            newest_us = h->times[lsn];
        }
    }
    CHECK_EQ_U64(newest_us, aur_log_time_us(h->log));
}

static void run_history(uint32_t groups) {
    history *h = calloc(1, sizeof *h);
    CHECK(h != NULL);
    create_history(h, groups);
    while (h->last + 250 < RECORDS_MAX && random_below(400) != 0) {
        run_mini_transaction(h);
        if (random_below(40) == 0) {
            fixture_replace(&h->cluster, (uint32_t)random_below(groups), (uint32_t)random_below(6));
        }
    }
    fixture_settle(&h->cluster);
    CHECK_EQ_U64(aur_log_vdl(h->log), h->last);
    CHECK_EQ_U64(aur_log_vcl(h->log), h->last);
    for (uint32_t group = 0; group < groups; group++) {
        check_group(h, group, (uint32_t)random_below(6));
    }
    check_boxcars(h);
    check_times(h);
    aur_log_destroy(h->log);
    fixture_destroy(&h->cluster);
    free(h);
}

TEST(segments_hold_exactly_what_was_appended) {
    for (uint32_t i = 0; i < HISTORIES; i++) {
        run_history(1 + i % FIXTURE_GROUPS_MAX);
    }
}
