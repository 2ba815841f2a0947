/*
 * The buffer pool: versions of pages, within a memory budget. Pages are never written back: a page
 * that leaves the pool is materialized again by storage when it is wanted.
 *
 * Each page has a chain of versions, newest first; a version is valid for read points in
 * [first_lsn, next_lsn). A mini-transaction that changes a page makes a new version of it (later
 * changes by the same mini-transaction go into the same one), so readers at any read point at or
 * below the mini-transaction's start never see bytes move and take no latch on pages. Which of the
 * two versions keeps its place in memory is the pool's choice. When the mini-transaction has ended,
 * versions that no read point can want are freed. A mini-transaction that nobody reads beside makes
 * no copies: it takes the head, which is then valid from its start on only.
 *
 * B1  A version may be evicted when it is unpinned and its page LSN <= the source's hardened LSN
 *     (VCL): storage can give it back. Newer ones stay (Aurora, SIGMOD 2018, 3.1; the printed rule
 *     of SIGMOD 2017, 4.2.3 is reversed).
 * B2  Memory of all versions stays within the budget; when nothing can be evicted, the writer asks
 *     the source to harden more and waits; readers may overshoot by the few pages that they pin.
 * B3  A pinned version is neither freed nor changed.
 * B4  What is read from the source at the hardened LSN is the head: a page whose head is not in the
 *     pool has no newer record (B1). What is read at an older point is known to be valid up to that
 *     point and no further, because the version that follows it may not be in the pool. So a miss
 *     reads the head first, and a read point at which that is not valid yet reads a second time.
 *     One page is read by one thread at a time, and the writer waits for that read, so no head can
 *     be overtaken while it is on its way.
 * B5  What is read at a point is valid from its page LSN on, but not before the newest backtrack
 *     below the point: moments before that saw another history. A rewind at or above the point
 *     that was read means that the result is not the head.
 *
 * Thread rule: modify, create_page, publish, unpin_streamed, rewind and restart are the writer's,
 * under the commit latch; pin/unpin and the rest from any thread. Locks: none for a pin that a hint
 * serves (buffer_private.h), else one per hash partition, never two at once, never held while the
 * source reads or hardens; under it only the allocator's and that of the rewinds.
 */
#ifndef AUR_BUFFER_BUFFER_H
#define AUR_BUFFER_BUFFER_H

#include <stdbool.h>

#include "format/history.h"
#include "format/page.h"

typedef struct aur_buffer aur_buffer;
typedef struct aur_version aur_version;

/* What the pool needs from below, passed in at construction. */
typedef struct aur_page_source {
    void *context;
    /* Materializes a page at a read point into page_bytes of `page`, one that passed
     * aur_page_check_structure. AUR_NOT_FOUND: not written at that point. */
    aur_status (*read_page)(void *context, aur_page_id page_id, aur_lsn read_point, uint8_t *page,
                            aur_error *error);
    /* Everything at or below this LSN is at a write quorum. Called with a lock held: it only looks.
     */
    aur_lsn (*hardened)(void *context);
    /* Hardens more, waiting for it. Only called in the writer's thread. */
    aur_status (*harden)(void *context, aur_error *error);
    /* A read of the page at that point will follow, and may be prepared. NULL: there is no way. */
    void (*will_read)(void *context, aur_page_id page_id, aur_lsn read_point);
} aur_page_source;

/* A pinned version. `page` is valid and constant until unpinned (writer: until the next modify of
 * the same page by another mini-transaction). All zero: holds no pin. */
typedef struct aur_page_ref {
    uint8_t *page;
    aur_version *version;
} aur_page_ref;

/* AUR_ERR_MEMORY, AUR_ERR_INVALID (page size). `source` is copied; its context outlives the pool.
 */
aur_status aur_buffer_create(uint32_t page_bytes, uint64_t budget_bytes,
                             const aur_page_source *source, aur_buffer **buffer_out) AUR_CHECKED;
/* Frees all memory; no pin may be left. NULL is ignored. */
void aur_buffer_destroy(aur_buffer *buffer);

/* Pins the version that a read at `read_point` sees. `cached_only`: AUR_WOULD_BLOCK instead of
 * reading from the source. AUR_NOT_FOUND: the page does not exist at that point. Concurrent misses
 * of one page read it once. */
aur_status aur_buffer_pin(aur_buffer *buffer, aur_page_id page_id, aur_lsn read_point,
                          bool cached_only, aur_page_ref *ref_out, aur_error *error) AUR_CHECKED;
/* For pins that come in groups: what pinning a page looks at is asked for, so that it is there by
 * then. First the way to it for all pages of the group, then the pages. */
void aur_buffer_prefetch_way(const aur_buffer *buffer, aur_page_id page_id);
void aur_buffer_prefetch(const aur_buffer *buffer, aur_page_id page_id);
/* The head of the page is about to be pinned: what is not in the pool is announced to the source,
 * so that several pages can be on their way at once. */
void aur_buffer_will_pin(aur_buffer *buffer, aur_page_id page_id);

/* How often pages were read from the source so far. */
uint64_t aur_buffer_loads(const aur_buffer *buffer);

/* Gives the pin back and clears `ref`. A ref without a pin is ignored. */
void aur_buffer_unpin(aur_buffer *buffer, aur_page_ref *ref);

/* Unpins a page that is not expected to be wanted again soon, such as a piece of a long value: it
 * leaves the pool at once unless somebody else uses it or storage cannot give it back yet. */
void aur_buffer_unpin_once(aur_buffer *buffer, aur_page_ref *ref);

/* Writer: the same for a page that it has just written; it leaves the pool when it has hardened.
 * Asks the source to harden when such pages begin to fill the pool. */
void aur_buffer_unpin_streamed(aur_buffer *buffer, aur_page_ref *ref);

/* Writer: pins the newest version for reading (no read point: the head). */
aur_status aur_buffer_pin_head(aur_buffer *buffer, aur_page_id page_id, aur_page_ref *ref_out,
                               aur_error *error) AUR_CHECKED;

/* Writer: makes the head version writable for the mini-transaction that started at `start`, and
 * pins it. With `keeps_past` what it was stays in the pool, in a copy, when its first_lsn <= start;
 * without, only if somebody pins it: whoever wants it later asks the source. The caller then
 * applies records with LSNs > start to ref->page. `*ref` may hold a pin of the old head; it is
 * exchanged. */
aur_status aur_buffer_modify(aur_buffer *buffer, aur_page_id page_id, aur_lsn start,
                             bool keeps_past, aur_page_ref *ref, aur_error *error) AUR_CHECKED;

/* Writer: a fresh version for a page that is about to be formatted; nothing is read, its bytes are
 * unspecified. Pinned. */
aur_status aur_buffer_create_page(aur_buffer *buffer, aur_page_id page_id, aur_lsn start,
                                  aur_page_ref *ref_out, aur_error *error) AUR_CHECKED;

/* Writer: the mini-transaction has ended and head has moved. Frees the versions it superseded that
 * are not pinned and whose [first_lsn, next_lsn) holds none of `points` (ascending: snapshots in
 * use, and CPLs where VDL may come to stand); a pinned one goes with its last pin. Versions kept
 * for a point are looked at again by later calls. */
void aur_buffer_publish(aur_buffer *buffer, const aur_lsn *points, size_t count);

/* Writer: whether there are such versions at all; without, publish needs no points. */
bool aur_buffer_has_superseded(const aur_buffer *buffer);

/* Writer: history goes on from rewind->to, and the moments after rewind->at see it; nothing above
 * `at` has been written. A head that changed above `to` ends at `at` and is kept for the points
 * before. Truncations change nothing: no moment lies between their `to` and `at`, and what they
 * dropped is forgotten by a restart. AUR_ERR_MEMORY: nothing was done. */
aur_status aur_buffer_rewind(aur_buffer *buffer, const aur_rewind *rewind) AUR_CHECKED;

/* Writer, when service starts at `lsn`, perhaps after a loss of the volatile head: learns of all
 * rewinds there are, ascending by `at`, then forgets every version newer than `lsn`; what was valid
 * at `lsn` is head again. Versions that are pinned by readers stay readable for them.
 * AUR_ERR_MEMORY: to be called again. */
aur_status aur_buffer_restart(aur_buffer *buffer, aur_lsn lsn, const aur_rewind *rewinds,
                              size_t count) AUR_CHECKED;

/* Changes the budget; shrinking evicts and gives memory back to the operating system. */
void aur_buffer_set_budget(aur_buffer *buffer, uint64_t budget_bytes);
uint64_t aur_buffer_budget(aur_buffer *buffer);

typedef struct aur_buffer_counts {
    uint64_t budget_bytes, used_bytes, pages, versions, hits, misses, evictions;
} aur_buffer_counts;
void aur_buffer_get_counts(aur_buffer *buffer, aur_buffer_counts *out);

#endif
