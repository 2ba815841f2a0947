/*
 * A volume in memory for the tests of the tree: a log that keeps every record, a source that
 * replays them, a pool and the page space. It stands in for log, quorum and segments, is strict
 * where they are (a page is read only as of what has hardened), and lets tests say how far
 * hardening lags behind.
 */
#ifndef AURORA_TESTS_TREE_WORLD_H
#define AURORA_TESTS_TREE_WORLD_H

#include <pthread.h>

#include "btree/btree.h"
#include "harness.h"

typedef struct tree_world {
    uint32_t page_bytes;
    aur_log *log;
    aur_buffer *buffer;
    aur_space *space;
    uint8_t *scratch;
    aur_mtr mtr;
    aur_writer writer;
    aur_error error;
} tree_world;

/* `lag`: records that have not hardened when a mini-transaction ends. */
void world_open(tree_world *world, uint32_t page_bytes, uint64_t budget_bytes, uint64_t lag);
void world_close(tree_world *world);

void world_begin(tree_world *world);
/* Ends the mini-transaction and publishes with `points`. */
aur_lsn world_end(tree_world *world, const aur_lsn *points, size_t count);

aur_lsn world_head(const tree_world *world);
/* Pages read by the source so far. */
uint64_t world_reads(const tree_world *world);
aur_page_id world_last_read(const tree_world *world);
/* Bytes of the records so far. */
uint64_t world_redo_bytes(const tree_world *world);
/* Pages whose read was announced so far. */
uint64_t world_announcements(const tree_world *world);
aur_page_id world_last_announced(const tree_world *world);
/* Forgets every record above `lsn`, as a recovery does, in log, pool and space. */
void world_lose_above(tree_world *world, aur_lsn lsn);
/* From now on `damage` may change each page that is read. */
void world_damage(tree_world *world, void (*damage)(uint8_t *page, uint32_t page_bytes));
/* With `tolerate` the log takes records that do not fit its own, undamaged copies of the pages. */
void world_tolerate_damage(tree_world *world, bool tolerate);

static inline aur_reader world_reader(const tree_world *world, aur_lsn read_point) {
    return (aur_reader){
        .buffer = world->buffer, .page_bytes = world->page_bytes, .read_point = read_point};
}

/* Verifies `count` trees, the catalog and the default tree at a read point, and that they account
 * for every page. */
void world_verify(tree_world *world, aur_lsn read_point, const aur_tree *trees, size_t count);

/* `length` bytes that depend on `seed` only. */
void fill_value(uint64_t seed, uint8_t *out, uint64_t length);

#define CHECK_WORLD(world, expression)                                                             \
    do {                                                                                           \
        aur_status world_status = (expression);                                                    \
        if (world_status != AUR_OK)                                                                \
            FAIL("%s gave %d: %s", #expression, world_status, (world)->error.message);             \
    } while (0)

#endif
