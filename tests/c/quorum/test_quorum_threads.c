/*
 * The drives with threads, on real files: every boxcar becomes complete, reads and watermarks may
 * be asked from anywhere meanwhile, a copy whose folder disappears fails, and a replaced one
 * catches up. Meant for ThreadSanitizer as well.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "quorum/quorum_fixture.h"

enum { BOXCARS = 300, PATIENCE_MS = 60000 };

typedef struct observer {
    aur_quorum *quorum;
    atomic_bool stop;
    atomic_ullong calls;
} observer;

static void count_call(void *context) { atomic_fetch_add(&((observer *)context)->calls, 1); }

/* Watermarks never go back, whoever asks; a page that is complete can be read. */
static void *observe(void *argument) {
    observer *own = argument;
    uint8_t page[FIXTURE_PAGE_BYTES];
    aur_watermarks before = {0};
    while (!atomic_load(&own->stop)) {
        aur_watermarks now;
        aur_error error;
        aur_quorum_watermarks(own->quorum, &now);
        CHECK_LE_U64(before.vcl, now.vcl);
        CHECK_LE_U64(before.vdl, now.vdl);
        CHECK_LE_U64(now.vdl, now.vcl);
        before = now;
        if (now.vdl > 0) {
            CHECK_OK(aur_quorum_read_page(own->quorum, 1, now.vdl, page, &error));
            CHECK_LE_U64(aur_page_lsn(page), now.vdl);
        }
        usleep(200);
    }
    return NULL;
}

static void await(fixture *cluster, aur_lsn vdl) {
    aur_watermarks now;
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms++) {
        aur_quorum_watermarks(cluster->quorum, &now);
        if (now.vdl >= vdl) {
            return;
        }
        usleep(1000);
    }
    FAIL("VDL stands at %" PRIu64 ", expected %" PRIu64, now.vdl, vdl);
}

static void await_state(fixture *cluster, uint32_t group, uint32_t copy, uint32_t state) {
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms++) {
        if (fixture_copy_state(cluster, group, copy) == state) {
            return;
        }
        usleep(1000);
    }
    FAIL("copy %u of group %u does not come to state %u", copy, group, state);
}

static void await_scl(fixture *cluster, uint32_t group, uint32_t copy, aur_lsn lsn) {
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms++) {
        if (fixture_scl(cluster, group, copy) >= lsn) {
            return;
        }
        usleep(1000);
    }
    FAIL("copy %u of group %u does not reach LSN %" PRIu64, copy, group, lsn);
}

/* One copy builds layers, the others take them over: in the end all have the same. */
static void await_same_layers(fixture *cluster, uint32_t group) {
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms++) {
        aur_segment_state first;
        bool same = true;
        aur_segment_get_state(cluster->segments[group][0], &first);
        for (uint32_t copy = 1; copy < cluster->copies; copy++) {
            aur_segment_state state;
            aur_segment_get_state(cluster->segments[group][copy], &state);
            same = same && state.flushed_lsn == first.flushed_lsn && state.layers == first.layers &&
                   state.layer_bytes == first.layer_bytes;
        }
        if (same && first.layers > 0) {
            return;
        }
        usleep(1000);
    }
    FAIL("the copies of group %u do not come to the same layers", group);
}

static aur_lsn ship_many(fixture *cluster, aur_lsn next, uint32_t boxcars, aur_lsn *last) {
    for (uint32_t i = 0; i < boxcars; i++) {
        const uint32_t records[] = {1 + i % 3, i % 2};
        next = fixture_ship(cluster, next, records, true, last) + 1;
        if (i % 16 == 15) {
            await(cluster, next - 1 - i % 5);
        }
    }
    return next;
}

/* The background work may remove or make a file meanwhile. */
static void delete_folder(fixture *cluster, uint32_t group, uint32_t copy) {
    const char *folder = cluster->folders[group][copy];
    for (int attempt = 0; access(folder, F_OK) == 0; attempt++) {
        CHECK(attempt < PATIENCE_MS);
        (void)nftw(folder, harness_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

static void run(uint32_t drive, bool on_folders) {
    fixture cluster;
    observer watcher = {0};
    pthread_t thread;
    aur_lsn last[2] = {0, 0};
    fixture_create(&cluster, drive, 6, 2, 64 * AUR_FRAME_ALIGN, on_folders);
    watcher.quorum = cluster.quorum;
    aur_quorum_listen(cluster.quorum, count_call, &watcher);
    fixture_start(&cluster, 0);
    CHECK(pthread_create(&thread, NULL, observe, &watcher) == 0);

    aur_lsn next = ship_many(&cluster, 1, BOXCARS, last);
    await(&cluster, next - 1);
    CHECK_LE_U64(1, atomic_load(&watcher.calls));

    if (on_folders) {
        delete_folder(&cluster, 0, 1);
        await_state(&cluster, 0, 1, AUR_COPY_FAILED); /* though nothing is written */
    }
    next = ship_many(&cluster, next, BOXCARS, last);
    fixture_replace(&cluster, 0, 1);
    next = ship_many(&cluster, next, BOXCARS, last);
    await(&cluster, next - 1);
    for (uint32_t copy = 0; copy < 6; copy++) {
        await_scl(&cluster, 0, copy, last[0]);
        await_scl(&cluster, 1, copy, last[1]);
        await_state(&cluster, 0, copy, AUR_COPY_OK);
    }
    aur_quorum_stop(cluster.quorum);
    fixture_start(&cluster, next - 1);
    next = ship_many(&cluster, next, 20, last);
    await(&cluster, next - 1);
    atomic_store(&watcher.stop, true);
    CHECK(pthread_join(thread, NULL) == 0);
    fixture_destroy(&cluster);
}

TEST(one_thread_a_copy) { run(AUR_DRIVE_THREADS, true); }

TEST(one_ring_for_all_copies) { run(AUR_DRIVE_RING, true); }

TEST(ring_hands_files_without_descriptor_to_threads) { run(AUR_DRIVE_RING, false); }

TEST(copies_follow_the_one_that_builds_layers) {
    fixture cluster;
    observer watcher = {0};
    pthread_t thread;
    aur_lsn last[2] = {0, 0};
    fixture_small_layers = true;
    fixture_create(&cluster, AUR_DRIVE_RING, 6, 2, 64 * AUR_FRAME_ALIGN, true);
    watcher.quorum = cluster.quorum;
    fixture_start(&cluster, 0);
    CHECK(pthread_create(&thread, NULL, observe, &watcher) == 0);
    aur_lsn next = ship_many(&cluster, 1, BOXCARS, last);
    await_same_layers(&cluster, 0);
    await_same_layers(&cluster, 1);
    delete_folder(&cluster, 0, 0); /* the one that builds: another takes its place */
    await_state(&cluster, 0, 0, AUR_COPY_FAILED);
    next = ship_many(&cluster, next, 2 * BOXCARS, last);
    await(&cluster, next - 1);
    await_same_layers(&cluster, 1);
    aur_segment_state first;
    aur_segment_state state;
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms++) {
        aur_segment_get_state(cluster.segments[0][1], &first);
        aur_segment_get_state(cluster.segments[0][5], &state);
        if (first.flushed_lsn == state.flushed_lsn && first.layer_bytes == state.layer_bytes)
            break;
        usleep(1000);
    }
    CHECK_EQ_U64(first.layer_bytes, state.layer_bytes);
    aur_segment_get_state(cluster.segments[0][0], &state);
    CHECK(first.flushed_lsn > state.flushed_lsn);
    fixture_small_layers = false;
    atomic_store(&watcher.stop, true);
    CHECK(pthread_join(thread, NULL) == 0);
    fixture_destroy(&cluster);
}

/* A group that is added while the others work. */
TEST(groups_may_be_added_while_running) {
    static const uint32_t both[] = {1, 1};
    static const uint32_t first[] = {1};
    fixture cluster;
    aur_lsn last[2] = {0, 0};
    fixture_create(&cluster, AUR_DRIVE_RING, 3, 1, 64 * AUR_FRAME_ALIGN, true);
    fixture_start(&cluster, 0);
    aur_lsn next = fixture_ship(&cluster, 1, first, true, last) + 1;
    fixture_add_group(&cluster);
    CHECK_EQ_U64(aur_quorum_groups(cluster.quorum), 2);
    next = fixture_ship(&cluster, next, both, true, last) + 1;
    await(&cluster, next - 1);
    fixture_destroy(&cluster);
}

/* Nothing hangs when everything is gone: the loss is known without a write. */
TEST(deleting_three_copies_of_six_loses_the_write_quorum) {
    static const uint32_t one[] = {1};
    fixture cluster;
    aur_lsn last[1] = {0};
    aur_watermarks now;
    uint8_t page[FIXTURE_PAGE_BYTES];
    aur_error error;
    fixture_create(&cluster, AUR_DRIVE_RING, 6, 1, 64 * AUR_FRAME_ALIGN, true);
    fixture_start(&cluster, 0);
    await(&cluster, fixture_ship(&cluster, 1, one, true, last));
    for (uint32_t copy = 0; copy < 3; copy++) {
        delete_folder(&cluster, 0, copy);
        await_state(&cluster, 0, copy, AUR_COPY_FAILED);
    }
    aur_quorum_watermarks(cluster.quorum, &now);
    CHECK_STATUS(now.status, AUR_ERR_QUORUM);
    CHECK_OK(aur_quorum_read_page(cluster.quorum, 1, now.vdl, page, &error));
    fixture_ship(&cluster, 2, one, true, last);
    fixture_replace(&cluster, 0, 1);
    await(&cluster, 2);
    aur_quorum_watermarks(cluster.quorum, &now);
    CHECK_OK(now.status);
    fixture_destroy(&cluster);
}
