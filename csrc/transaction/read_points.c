#include "transaction/read_points_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void auri_read_points_init(auri_read_points *points) {
    memset(points, 0, sizeof *points);
    (void)pthread_mutex_init(&points->lock, NULL);
    (void)pthread_cond_init(&points->head_is_given_back, NULL);
}

void auri_read_points_destroy(auri_read_points *points) {
    AUR_ASSERT(points->distinct == 0);
    while (points->spare != NULL) {
        auri_point *next = points->spare->next;
        free(points->spare);
        points->spare = next;
    }
    (void)pthread_cond_destroy(&points->head_is_given_back);
    (void)pthread_mutex_destroy(&points->lock);
}

bool auri_read_points_claim_head(auri_read_points *points, const auri_point *own) {
    const uint64_t owned = own != NULL;
    (void)pthread_mutex_lock(&points->lock);
    points->head_is_claimed =
        points->references[AURI_POINT_READER] + points->references[AURI_POINT_WRITER] == owned;
    const bool claimed = points->head_is_claimed;
    (void)pthread_mutex_unlock(&points->lock);
    return claimed;
}

void auri_read_points_give_head_back(auri_read_points *points) {
    if (points->head_is_claimed) {
        points->head_is_claimed = false;
        (void)pthread_cond_broadcast(&points->head_is_given_back);
    }
}

void auri_read_points_await_head(auri_read_points *points) {
    while (points->head_is_claimed) {
        (void)pthread_cond_wait(&points->head_is_given_back, &points->lock);
    }
}

static auri_point *create_point(auri_read_points *points) {
    auri_point *point = points->spare;
    if (point != NULL) {
        points->spare = point->next;
        return point;
    }
    return malloc(sizeof *point);
}

/* Puts `point` behind `before` (NULL: first). */
static void link_point(auri_read_points *points, auri_point *point, auri_point *before) {
    auri_point **forward = before == NULL ? &points->first[point->kind] : &before->next;
    point->previous = before;
    point->next = *forward;
    *forward = point;
    if (point->next == NULL) {
        points->last[point->kind] = point;
    } else {
        point->next->previous = point;
    }
}

auri_point *auri_read_points_add(auri_read_points *points, enum auri_point_kind kind, aur_lsn lsn) {
    /* The list's end, but for a head that fell back to VDL after a loss of quorum. */
    auri_point *before = points->last[kind];
    while (before != NULL && before->lsn > lsn) {
        before = before->previous;
    }
    auri_point *point = before;
    if (point == NULL || point->lsn != lsn) {
        point = create_point(points);
        if (point == NULL) {
            return NULL;
        }
        *point = (auri_point){.lsn = lsn, .kind = kind};
        link_point(points, point, before);
        points->distinct++;
    }
    point->references++;
    points->references[kind]++;
    return point;
}

auri_point *auri_read_points_share(auri_read_points *points, auri_point *point) {
    point->references++;
    points->references[point->kind]++;
    return point;
}

void auri_read_points_remove(auri_read_points *points, auri_point *point) {
    if (point == NULL) {
        return;
    }
    points->references[point->kind]--;
    if (--point->references > 0) {
        return;
    }
    *(point->previous == NULL ? &points->first[point->kind] : &point->previous->next) = point->next;
    *(point->next == NULL ? &points->last[point->kind] : &point->next->previous) = point->previous;
    points->distinct--;
    point->next = points->spare;
    points->spare = point;
}

aur_lsn auri_read_points_lowest(const auri_read_points *points, enum auri_point_kind kind) {
    return points->first[kind] == NULL ? AUR_LSN_MAX : points->first[kind]->lsn;
}

size_t auri_read_points_below(const auri_read_points *points, aur_lsn below, aur_lsn *out,
                              size_t capacity) {
    const auri_point *reader = points->first[AURI_POINT_READER];
    const auri_point *writer = points->first[AURI_POINT_WRITER];
    size_t count = 0;
    while (reader != NULL || writer != NULL) {
        const aur_lsn reader_lsn = reader == NULL ? AUR_LSN_MAX : reader->lsn;
        const aur_lsn writer_lsn = writer == NULL ? AUR_LSN_MAX : writer->lsn;
        const aur_lsn lowest = reader_lsn < writer_lsn ? reader_lsn : writer_lsn;
        if (lowest >= below) {
            break;
        }
        if (count < capacity) {
            out[count] = lowest;
        }
        count++;
        reader = reader != NULL && reader_lsn == lowest ? reader->next : reader;
        writer = writer != NULL && writer_lsn == lowest ? writer->next : writer;
    }
    return count;
}

bool auri_read_points_has(const auri_read_points *points, aur_lsn lsn) {
    for (int kind = 0; kind < AURI_POINT_KINDS; kind++) {
        const auri_point *point = points->first[kind];
        while (point != NULL && point->lsn < lsn) {
            point = point->next;
        }
        if (point != NULL && point->lsn == lsn) {
            return true;
        }
    }
    return false;
}
