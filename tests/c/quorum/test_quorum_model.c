/*
 * Random histories in the MANUAL drive against a brute-force model: boxcars over several groups,
 * steps in any order, disks that die or fail their writes, copies that are taken away or replaced
 * by empty ones, small backlogs.
 *
 * The model knows only what the segments themselves say they have stored. At every moment
 *   I1  VCL is no higher than the last boxcar up to which, at some time, a write quorum of each
 * group had everything, I3  VCL and VDL never go back, and VDL is the highest CPL up to VCL, the
 * quorum is lost exactly when some group has too few healthy copies; and once every failed copy was
 * replaced, all copies hold everything and VCL is the last LSN.
 */
#include "quorum/quorum_fixture.h"

enum { BOXCARS_MAX = 160, ACTIONS = 700, HISTORIES = 30 };

typedef struct model_boxcar {
    aur_lsn last, cpl;
    aur_lsn group_last[FIXTURE_GROUPS_MAX]; /* 0: not touched */
} model_boxcar;

typedef struct model {
    fixture cluster;
    uint32_t need;
    model_boxcar boxcars[BOXCARS_MAX];
    uint32_t boxcar_count;
    aur_lsn next;
    aur_lsn chain[FIXTURE_GROUPS_MAX];
    aur_lsn reached[FIXTURE_GROUPS_MAX]; /* what a write quorum of segments had at some time */
    bool doomed[FIXTURE_GROUPS_MAX][FIXTURE_COPIES_MAX];
    bool ever_doomed;
    aur_watermarks now;
} model;

static int descending(const void *left, const void *right) {
    const aur_lsn a = *(const aur_lsn *)left;
    const aur_lsn b = *(const aur_lsn *)right;
    return a < b ? 1 : a > b ? -1 : 0;
}

static aur_lsn stored(model *m, uint32_t group, uint32_t copy) {
    return m->cluster.segments[group][copy] == NULL ? 0 : fixture_scl(&m->cluster, group, copy);
}

static void look_at_segments(model *m) {
    for (uint32_t group = 0; group < m->cluster.groups; group++) {
        aur_lsn scl[FIXTURE_COPIES_MAX];
        for (uint32_t copy = 0; copy < m->cluster.copies; copy++) {
            scl[copy] = stored(m, group, copy);
        }
        qsort(scl, m->cluster.copies, sizeof scl[0], descending);
        if (scl[m->need - 1] > m->reached[group]) {
            m->reached[group] = scl[m->need - 1];
        }
    }
}

static aur_lsn highest_vcl(const model *m) {
    aur_lsn vcl = 0;
    for (uint32_t i = 0; i < m->boxcar_count; i++) {
        for (uint32_t group = 0; group < m->cluster.groups; group++) {
            if (m->boxcars[i].group_last[group] > m->reached[group]) {
                return vcl;
            }
        }
        vcl = m->boxcars[i].last;
    }
    return vcl;
}

static aur_lsn cpl_up_to(const model *m, aur_lsn vcl) {
    aur_lsn cpl = 0;
    for (uint32_t i = 0; i < m->boxcar_count && m->boxcars[i].last <= vcl; i++) {
        cpl = m->boxcars[i].cpl > cpl ? m->boxcars[i].cpl : cpl;
    }
    return cpl;
}

static uint32_t failed_copies(model *m, uint32_t group) {
    uint32_t failed = 0;
    for (uint32_t copy = 0; copy < m->cluster.copies; copy++) {
        failed += fixture_copy_state(&m->cluster, group, copy) == AUR_COPY_FAILED;
    }
    return failed;
}

static void check(model *m) {
    const aur_watermarks before = m->now;
    bool lost = false;
    look_at_segments(m);
    aur_quorum_watermarks(m->cluster.quorum, &m->now);
    CHECK_LE_U64(before.vcl, m->now.vcl);
    CHECK_LE_U64(before.vdl, m->now.vdl);
    CHECK_LE_U64(m->now.vcl, highest_vcl(m));
    CHECK_EQ_U64(m->now.vdl, cpl_up_to(m, m->now.vcl));
    if (!m->ever_doomed) {
        CHECK_EQ_U64(m->now.vcl, highest_vcl(m));
    }
    for (uint32_t group = 0; group < m->cluster.groups; group++) {
        lost = lost || failed_copies(m, group) > m->cluster.copies - m->need;
    }
    CHECK_STATUS(m->now.status, lost ? AUR_ERR_QUORUM : AUR_OK);
}

static void ship(model *m) {
    uint32_t records[FIXTURE_GROUPS_MAX] = {0};
    if (m->boxcar_count == BOXCARS_MAX) {
        return;
    }
    for (uint32_t group = 0; group < m->cluster.groups; group++) {
        records[group] = random_below(2) == 0 ? 0 : 1 + (uint32_t)random_below(5);
    }
    records[random_below(m->cluster.groups)] = 1;
    model_boxcar *boxcar = &m->boxcars[m->boxcar_count++];
    const bool cpl = random_below(4) != 0;
    boxcar->last = fixture_ship(&m->cluster, m->next, records, cpl, m->chain);
    boxcar->cpl = cpl ? boxcar->last : 0;
    for (uint32_t group = 0; group < m->cluster.groups; group++) {
        boxcar->group_last[group] = records[group] > 0 ? m->chain[group] : 0;
    }
    m->next = boxcar->last + 1;
}

/* Whether the group would keep a copy that has everything complete, and lose no more than one too
 * many. */
static bool may_doom(model *m, uint32_t group, uint32_t victim) {
    uint32_t doomed = 1;
    bool keeper = false;
    for (uint32_t copy = 0; copy < m->cluster.copies; copy++) {
        if (copy == victim) {
            continue;
        }
        doomed += m->doomed[group][copy];
        keeper = keeper || (!m->doomed[group][copy] && stored(m, group, copy) >= m->reached[group]);
    }
    return keeper && !m->doomed[group][victim] && doomed <= m->cluster.copies - m->need + 1;
}

static void doom(model *m) {
    static const aur_fault_rates broken = {.sync_error_ppm = 1000000};
    const uint32_t group = (uint32_t)random_below(m->cluster.groups);
    const uint32_t copy = (uint32_t)random_below(m->cluster.copies);
    aur_error error;
    look_at_segments(m);
    if (!may_doom(m, group, copy)) {
        return;
    }
    m->doomed[group][copy] = true;
    m->ever_doomed = true;
    switch (random_below(3)) {
    case 0:
        aur_faulty_set_dead(m->cluster.disks[group][copy], true);
        break;
    case 1:
        aur_faulty_set_rates(m->cluster.disks[group][copy], &broken);
        break;
    default: {
        aur_segment *old = NULL;
        CHECK_OK(aur_quorum_replace(m->cluster.quorum, group, copy, NULL, &old, &error));
        aur_segment_close(old);
        m->cluster.segments[group][copy] = NULL;
    }
    }
}

static void heal(model *m, uint32_t group, uint32_t copy) {
    if (m->doomed[group][copy]) {
        fixture_replace(&m->cluster, group, copy);
        m->doomed[group][copy] = false;
    }
}

static void act(model *m) {
    const uint64_t choice = random_below(100);
    const uint32_t group = (uint32_t)random_below(m->cluster.groups);
    const uint32_t copy = (uint32_t)random_below(m->cluster.copies);
    if (choice < 20) {
        ship(m);
    } else if (choice < 96) {
        (void)fixture_try(&m->cluster, group, copy);
    } else if (choice < 98) {
        doom(m);
    } else {
        heal(m, group, copy);
    }
}

static void finish(model *m) {
    for (uint32_t group = 0; group < m->cluster.groups; group++) {
        for (uint32_t copy = 0; copy < m->cluster.copies; copy++) {
            heal(m, group, copy);
        }
    }
    fixture_settle(&m->cluster);
    check(m);
    CHECK_EQ_U64(m->now.vcl, m->next - 1);
    CHECK_EQ_U64(m->now.boxcars_in_flight, 0);
    CHECK_EQ_U64(m->now.bytes_in_flight, 0);
    for (uint32_t group = 0; group < m->cluster.groups; group++) {
        for (uint32_t copy = 0; copy < m->cluster.copies; copy++) {
            CHECK_EQ_U64(stored(m, group, copy), m->chain[group]);
            CHECK_EQ_U64(fixture_copy_state(&m->cluster, group, copy), AUR_COPY_OK);
        }
    }
}

static void run_history(uint32_t copies, uint32_t groups) {
    model *m = calloc(1, sizeof *m);
    CHECK(m != NULL);
    const uint64_t backlog = (1 + random_below(30)) * AUR_FRAME_ALIGN;
    m->need = copies / 2 + 1;
    m->next = 1;
    fixture_create(&m->cluster, AUR_DRIVE_MANUAL, copies, groups, backlog, false);
    fixture_start(&m->cluster, 0);
    for (uint32_t i = 0; i < ACTIONS; i++) {
        act(m);
        check(m);
    }
    finish(m);
    fixture_destroy(&m->cluster);
    free(m);
}

TEST(watermarks_never_exceed_what_segments_hold) {
    static const uint32_t copies[] = {6, 6, 3, 4, 1};
    for (uint32_t i = 0; i < HISTORIES; i++) {
        run_history(copies[i % 5], 1 + i % 3);
    }
}
