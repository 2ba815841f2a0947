/*
 * Committing from many threads in the drives with threads: every commit that was acknowledged is on
 * a write quorum, waiters are woken by their own boxcar, by a loss of quorum, by a fence and by a
 * failure, and nobody sleeps for ever. Meant for ThreadSanitizer as well.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "log/ending.h"
#include "quorum/quorum_fixture.h"

enum { THREADS = 8, COMMITS = 60, RECORDS_PER_COMMIT = 3 };

static const uint64_t patience_ns = UINT64_C(60000000000);

typedef struct rig {
    fixture cluster;
    aur_log *log;
    pthread_mutex_t latch; /* the commit latch */
    atomic_uint waiting;
    aur_lsn waits_for;
    aur_status ended_with;
} rig;

static void create_rig(rig *r, uint32_t drive, bool on_folders, uint32_t groups) {
    static const aur_lsn group_lsn[FIXTURE_GROUPS_MAX] = {0};
    aur_log_options options;
    aur_error error;
    memset(r, 0, sizeof *r);
    CHECK(pthread_mutex_init(&r->latch, NULL) == 0);
    fixture_create(&r->cluster, drive, 6, groups, 1 << 20, on_folders);
    aur_log_default_options(&options);
    memcpy(options.volume_id, fixture_volume_id, sizeof options.volume_id);
    options.page_bytes = FIXTURE_PAGE_BYTES;
    options.group_pages = FIXTURE_GROUP_PAGES;
    CHECK_OK(aur_log_create(&options, r->cluster.quorum, &r->log));
    CHECK_OK(aur_quorum_start(r->cluster.quorum, 0, &error));
    const aur_log_start start = {
        .epoch = 1, .next_lsn = 1, .groups = groups, .group_lsn = group_lsn};
    CHECK_OK(aur_log_start_at(r->log, &start, &error));
}

static void destroy_rig(rig *r) {
    aur_quorum_stop(r->cluster.quorum);
    aur_log_destroy(r->log);
    fixture_destroy(&r->cluster);
    CHECK(pthread_mutex_destroy(&r->latch) == 0);
}

static aur_lsn commit(rig *r, aur_page_id page) {
    static const uint8_t body[12] = {0};
    aur_lsn lsn;
    aur_error error;
    CHECK(pthread_mutex_lock(&r->latch) == 0);
    CHECK_OK(aur_log_begin(r->log, &lsn, &error));
    for (uint32_t i = 0; i < RECORDS_PER_COMMIT; i++) {
        aur_record record = {.op = AUR_OP_FORMAT,
                             .flags = AUR_RECORD_INIT,
                             .arg = AUR_PAGE_LEAF,
                             .page_id = page + i * FIXTURE_GROUP_PAGES %
                                                   (r->cluster.groups * FIXTURE_GROUP_PAGES),
                             .body = body,
                             .body_bytes = sizeof body};
        CHECK_OK(aur_log_append(r->log, &record, &error));
    }
    lsn = end_and_ship(r->log);
    CHECK(pthread_mutex_unlock(&r->latch) == 0);
    return lsn;
}

/* How many copies of each group hold everything that group has up to `lsn` is not visible from
 * outside; that the VDL is there is what an acknowledgement means. */
static void *commit_and_wait(void *argument) {
    rig *r = argument;
    for (uint32_t i = 0; i < COMMITS; i++) {
        aur_error error;
        const aur_lsn lsn = commit(r, i % FIXTURE_GROUP_PAGES);
        CHECK_OK(aur_log_wait_durable(r->log, lsn, patience_ns, &error));
        CHECK_LE_U64(lsn, aur_log_vdl(r->log));
        CHECK_LE_U64(aur_log_vdl(r->log), aur_log_vcl(r->log));
        CHECK_LE_U64(aur_log_vcl(r->log), aur_log_head(r->log));
    }
    return NULL;
}

static void run_committers(uint32_t drive, bool on_folders) {
    pthread_t threads[THREADS];
    rig r;
    aur_log_counts counts;
    create_rig(&r, drive, on_folders, 2);
    for (uint32_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, commit_and_wait, &r) == 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    aur_log_get_counts(r.log, &counts);
    CHECK_EQ_U64(counts.mini_transactions, THREADS * COMMITS);
    CHECK_EQ_U64(counts.records, THREADS * COMMITS * RECORDS_PER_COMMIT);
    CHECK_LE_U64(counts.boxcars, THREADS * COMMITS);
    CHECK_EQ_U64(aur_log_vdl(r.log), counts.records);
    destroy_rig(&r);
}

TEST(committers_over_one_thread_a_copy) { run_committers(AUR_DRIVE_THREADS, true); }

TEST(committers_over_a_ring) { run_committers(AUR_DRIVE_RING, true); }

TEST(committers_over_memory_disks) { run_committers(AUR_DRIVE_THREADS, false); }

/* One thread that does not wait streams through full boxcars and back-pressure. */
TEST(a_stream_without_waits_stays_within_its_bounds) {
    rig r;
    aur_error error;
    aur_lsn lsn = 0;
    create_rig(&r, AUR_DRIVE_RING, true, 1);
    for (uint32_t i = 0; i < 20000; i++) {
        aur_watermarks now;
        lsn = commit(&r, i % FIXTURE_GROUP_PAGES);
        if (i % 500 == 0) {
            aur_quorum_watermarks(r.cluster.quorum, &now);
            CHECK_LE_U64(now.bytes_in_flight, (8 << 20) + (1 << 20) + AUR_FRAME_ALIGN);
        }
    }
    CHECK_OK(aur_log_wait_durable(r.log, lsn, patience_ns, &error));
    destroy_rig(&r);
}

static void *wait_for_end(void *argument) {
    rig *r = argument;
    aur_error error;
    atomic_fetch_add(&r->waiting, 1);
    r->ended_with = aur_log_wait_durable(r->log, r->waits_for, patience_ns, &error);
    return NULL;
}

/* A waiter that sleeps when the bad news comes. The commit it waits for cannot complete: its LSN is
 * never issued. */
static aur_status status_of_sleeping_waiter(rig *r, void (*strike)(rig *r)) {
    pthread_t thread;
    r->waits_for = commit(r, 1) + 1000;
    CHECK(pthread_create(&thread, NULL, wait_for_end, r) == 0);
    while (atomic_load(&r->waiting) == 0) {
        usleep(1000);
    }
    usleep(20000);
    strike(r);
    CHECK(pthread_join(thread, NULL) == 0);
    return r->ended_with;
}

static void delete_three_folders(rig *r) {
    for (uint32_t copy = 0; copy < 3; copy++) {
        CHECK(nftw(r->cluster.folders[0][copy], harness_remove_entry, 16, FTW_DEPTH | FTW_PHYS) ==
              0);
    }
}

TEST(losing_the_quorum_wakes_the_waiters) {
    rig r;
    create_rig(&r, AUR_DRIVE_RING, true, 1);
    CHECK_STATUS(status_of_sleeping_waiter(&r, delete_three_folders), AUR_ERR_QUORUM);
    destroy_rig(&r);
}

static void fence(rig *r) {
    aur_error error;
    CHECK_OK(aur_segment_set_epoch(r->cluster.segments[0][0], 2, &error));
    (void)commit(r, 2);
}

TEST(a_fence_wakes_the_waiters) {
    rig r;
    create_rig(&r, AUR_DRIVE_RING, true, 1);
    CHECK_STATUS(status_of_sleeping_waiter(&r, fence), AUR_ERR_FENCED);
    destroy_rig(&r);
}

static void fail(rig *r) {
    aur_error why;
    aur_error_clear(&why);
    why.status = aur_fail(&why, AUR_ERR_MEMORY, "out of memory");
    aur_log_fail(r->log, &why);
}

TEST(a_failure_wakes_the_waiters) {
    rig r;
    create_rig(&r, AUR_DRIVE_THREADS, true, 1);
    CHECK_STATUS(status_of_sleeping_waiter(&r, fail), AUR_ERR_MEMORY);
    destroy_rig(&r);
}

TEST(a_wait_ends_after_its_time) {
    rig r;
    aur_error error;
    create_rig(&r, AUR_DRIVE_THREADS, false, 1);
    const aur_lsn lsn = commit(&r, 1);
    CHECK_STATUS(aur_log_wait_durable(r.log, lsn + 1000, 30000000, &error), AUR_TIMEOUT);
    CHECK_OK(aur_log_wait_durable(r.log, lsn, patience_ns, &error));
    destroy_rig(&r);
}
