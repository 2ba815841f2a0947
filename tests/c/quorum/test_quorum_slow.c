/* A copy whose disk takes long to make a file slows nobody (I8). */
#include <unistd.h>

#include "base/clock.h"
#include "disk/disk_private.h"
#include "quorum/quorum_fixture.h"

enum { SLOW = 5, BOXCARS = 600, SLOW_S = 4, LONG_S = 3 };

static const auri_disk_operations *fast;

static aur_status create_slowly(aur_disk *disk, const char *name, uint64_t size_bytes,
                                aur_error *error) {
    sleep(SLOW_S);
    return fast->create(disk, name, size_bytes, error);
}

static aur_status reserve_slowly(aur_disk *disk, const char *name, uint64_t size_bytes,
                                 aur_error *error) {
    sleep(SLOW_S);
    return fast->reserve(disk, name, size_bytes, error);
}

/* Ships a boxcar and waits until it is durable. */
static aur_lsn commit(fixture *cluster, aur_lsn next, aur_lsn *last) {
    const uint32_t records[] = {1};
    const uint64_t begin_ns = aur_monotonic_ns();
    const aur_lsn end = fixture_ship(cluster, next, records, true, last);
    aur_watermarks now = {0};
    while (now.vdl < end) {
        aur_quorum_watermarks(cluster->quorum, &now);
        CHECK(aur_monotonic_ns() - begin_ns < LONG_S * AUR_NS_PER_SECOND);
        usleep(100);
    }
    return end + 1;
}

static void outgrow_the_log(uint32_t drive) {
    fixture cluster;
    aur_lsn last[FIXTURE_GROUPS_MAX] = {0};
    aur_lsn next = 1;
    fixture_create(&cluster, drive, 6, 1, 0, true);
    aur_disk *disk = cluster.disks[0][SLOW];
    fast = disk->operations;
    auri_disk_operations slow = *fast;
    slow.create = create_slowly;
    slow.reserve = reserve_slowly;
    disk->operations = &slow;
    fixture_start(&cluster, 0);
    for (uint32_t boxcar = 0; boxcar < BOXCARS; boxcar++) {
        next = commit(&cluster, next, last);
    }
    for (int waited_ms = 0; fixture_scl(&cluster, 0, SLOW) < next - 1; waited_ms++) {
        CHECK(waited_ms < 60000);
        usleep(1000);
    }
    CHECK(fixture_copy_state(&cluster, 0, SLOW) == AUR_COPY_OK);
    fixture_destroy(&cluster);
}

TEST(quorum_goes_on_while_a_log_is_given_room) {
    outgrow_the_log(AUR_DRIVE_RING);
    outgrow_the_log(AUR_DRIVE_THREADS);
}
