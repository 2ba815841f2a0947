/* When history goes on from an older moment (B5). */
#include <stdlib.h>
#include <string.h>

#include "buffer/buffer_private.h"

enum { REWINDS_AT_FIRST = 16 };

/* How many of the backtracks have at < point. Lock held. */
static size_t count_below(const auri_rewinds *rewinds, aur_lsn point) {
    size_t low = 0;
    size_t high = rewinds->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (rewinds->ats[middle] < point) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void auri_rewinds_around(auri_rewinds *rewinds, aur_lsn point, aur_lsn *first_out,
                         bool *is_newest_out) {
    (void)pthread_mutex_lock(&rewinds->lock);
    const size_t below = count_below(rewinds, point);
    *first_out = below == 0 ? 0 : rewinds->ats[below - 1] + 1;
    *is_newest_out = below == rewinds->count;
    (void)pthread_mutex_unlock(&rewinds->lock);
}

aur_lsn auri_rewinds_newest(auri_rewinds *rewinds) {
    (void)pthread_mutex_lock(&rewinds->lock);
    const aur_lsn newest = rewinds->count == 0 ? 0 : rewinds->ats[rewinds->count - 1];
    (void)pthread_mutex_unlock(&rewinds->lock);
    return newest;
}

/* Remembers one more backtrack. AUR_NOT_FOUND: it was not known. */
static aur_status learn(auri_rewinds *rewinds, aur_lsn at) {
    aur_status status = AUR_OK;
    (void)pthread_mutex_lock(&rewinds->lock);
    const size_t place = count_below(rewinds, at);
    const bool is_known = place < rewinds->count && rewinds->ats[place] == at;
    if (!is_known && rewinds->count == rewinds->capacity) {
        const size_t capacity = rewinds->capacity > 0 ? 2 * rewinds->capacity : REWINDS_AT_FIRST;
        aur_lsn *grown = realloc(rewinds->ats, capacity * sizeof *grown);
        if (grown == NULL) {
            status = AUR_ERR_MEMORY;
        } else {
            rewinds->ats = grown;
            rewinds->capacity = capacity;
        }
    }
    if (!is_known && status == AUR_OK) {
        memmove(&rewinds->ats[place + 1], &rewinds->ats[place],
                (rewinds->count - place) * sizeof *rewinds->ats);
        rewinds->ats[place] = at;
        rewinds->count++;
        status = AUR_NOT_FOUND;
    }
    (void)pthread_mutex_unlock(&rewinds->lock);
    return status;
}

typedef struct rewinding {
    aur_buffer *buffer;
    const aur_rewind *rewind;
} rewinding;

/* A head that did not change above `to` is what a read at `to` sees, and stays. */
static void end_head(void *context, aur_version *head) {
    const rewinding *run = context;
    if (head->first_lsn > run->rewind->to) {
        head->next_lsn = run->rewind->at + 1;
        head->used = false;
        auri_queue_push(&run->buffer->retained, &(auri_reminder){.page_id = head->page_id,
                                                                 .first_lsn = head->first_lsn,
                                                                 .limit = head->next_lsn});
    }
}

aur_status aur_buffer_rewind(aur_buffer *buffer, const aur_rewind *rewind) {
    rewinding run = {buffer, rewind};
    if (rewind->kind != AUR_REWIND_BACKTRACK) {
        return AUR_OK;
    }
    /* Before the walk: a read that comes in behind it knows that it brings no head. */
    const aur_status status = learn(&buffer->rewinds, rewind->at);
    if (status != AUR_NOT_FOUND) {
        return status;
    }
    for (size_t at = 0; at < AURI_PARTITIONS; at++) {
        auri_partition *partition = &buffer->partitions[at];
        (void)pthread_mutex_lock(&partition->lock);
        auri_partition_each_head(partition, end_head, &run);
        (void)pthread_mutex_unlock(&partition->lock);
    }
    return AUR_OK;
}

static void discard_above(aur_buffer *buffer, aur_lsn lsn) {
    auri_queue_clear(&buffer->fresh);
    auri_queue_clear(&buffer->retained);
    auri_queue_clear(&buffer->streamed);
    for (size_t at = 0; at < AURI_PARTITIONS; at++) {
        auri_partition *partition = &buffer->partitions[at];
        (void)pthread_mutex_lock(&partition->lock);
        partition->generation++;
        auri_partition_discard_above(partition, lsn, &buffer->memory);
        (void)pthread_mutex_unlock(&partition->lock);
    }
}

aur_status aur_buffer_restart(aur_buffer *buffer, aur_lsn lsn, const aur_rewind *rewinds,
                              size_t count) {
    aur_status status = AUR_OK;
    /* A backtrack that was in doubt when the quorum was lost may be among them. */
    for (size_t at = 0; at < count && status == AUR_OK; at++) {
        status = aur_buffer_rewind(buffer, &rewinds[at]);
    }
    if (status == AUR_OK) {
        discard_above(buffer, lsn);
    }
    return status;
}
