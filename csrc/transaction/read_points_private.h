/*
 * The read points in use: which moments of the volume somebody may still read. What is registered
 * here keeps page versions in the pool and records in storage (I7), and so does the horizon:
 * storage is told both at once, and a view below the horizon begins only where a point is
 * registered already.
 *
 * A point is taken in one critical section with the reading of the head or of VDL, and a commit
 * looks at the points after it has moved the head: so a point is either seen by that commit or
 * lies at or after it. While a commit that found no point changes pages without keeping their past
 * (claim), the head can be read nowhere but there, and who wants to begin at it waits; VDL can
 * always be read, from storage.
 *
 * Thread rule: the lock is the caller's to take, because beginning a transaction does more under
 * it; functions say when they want it held.
 */
#ifndef AUR_TRANSACTION_READ_POINTS_PRIVATE_H
#define AUR_TRANSACTION_READ_POINTS_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "format/types.h"

/* Readers and writers apart: each kind's LSNs come in ascending order, so a new point goes to its
 * list's end at once; and commits ask for the oldest writer. */
enum auri_point_kind { AURI_POINT_READER = 0, AURI_POINT_WRITER = 1, AURI_POINT_KINDS = 2 };

/* One LSN that is read at, shared by all that read at it. */
typedef struct auri_point {
    aur_lsn lsn;
    uint64_t references;
    enum auri_point_kind kind;
    struct auri_point *previous;
    struct auri_point *next;
} auri_point;

typedef struct auri_read_points {
    pthread_mutex_t lock;
    pthread_cond_t head_is_given_back;
    bool head_is_claimed;
    auri_point *first[AURI_POINT_KINDS];
    auri_point *last[AURI_POINT_KINDS];
    auri_point *spare; /* points that were freed, for the next ones */
    uint64_t references[AURI_POINT_KINDS];
    uint64_t distinct;
    aur_lsn horizon; /* every moment from here on may be read, registered or not */
} auri_read_points;

void auri_read_points_init(auri_read_points *points);
/* Precondition: no point is registered. */
void auri_read_points_destroy(auri_read_points *points);

/* For the commit whose own point is `own` (NULL: it has none): true when nobody else has one. Until
 * it is given back nobody begins at the head. Takes the lock. */
bool auri_read_points_claim_head(auri_read_points *points, const auri_point *own);
/* Idempotent. Lock held. */
void auri_read_points_give_head_back(auri_read_points *points);
/* Waits until the head is not claimed. Lock held, released meanwhile. */
void auri_read_points_await_head(auri_read_points *points);

/* Registers one more reader of `lsn`. Lock held. NULL: out of memory. */
auri_point *auri_read_points_add(auri_read_points *points, enum auri_point_kind kind, aur_lsn lsn);

/* One more reference on a registered point, to be removed in its turn. Lock held. */
auri_point *auri_read_points_share(auri_read_points *points, auri_point *point);

/* Lock held. NULL is ignored. */
void auri_read_points_remove(auri_read_points *points, auri_point *point);

/* Lowest LSN of one kind, AUR_LSN_MAX when there is none. Lock held. */
aur_lsn auri_read_points_lowest(const auri_read_points *points, enum auri_point_kind kind);

/* Those below `below`, ascending, each LSN once: stores at most `capacity`, returns how many there
 * are, which is at most points->distinct. Lock held. */
size_t auri_read_points_below(const auri_read_points *points, aur_lsn below, aur_lsn *out,
                              size_t capacity);

/* Whether somebody reads at `lsn`. Lock held. */
bool auri_read_points_has(const auri_read_points *points, aur_lsn lsn);

#endif
