/* The tail of a group: the frames that are still to be sent to some copy. See quorum_private.h for
 * what may leave. */
#include "quorum/quorum_private.h"

#include <stdlib.h>

#include "base/assert.h"

enum { TAIL_CAPACITY_FIRST = 64 };

static auri_tail_entry *place(const auri_group *group, uint64_t sequence) {
    return &group->tail[sequence & (group->tail_capacity - 1)];
}

const auri_tail_entry *auri_tail_entry_at(const auri_group *group, uint64_t sequence) {
    AUR_DEBUG_ASSERT(sequence >= group->tail_first && sequence < group->tail_end);
    return place(group, sequence);
}

bool auri_tail_reserve(auri_group *group) {
    const uint64_t used = group->tail_end - group->tail_first;
    const uint64_t capacity = group->tail_capacity;
    if (used < capacity) {
        return true;
    }
    const uint64_t grown_capacity = capacity == 0 ? TAIL_CAPACITY_FIRST : capacity * 2;
    auri_tail_entry *grown = calloc(grown_capacity, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    for (uint64_t at = group->tail_first; at < group->tail_end; at++) {
        grown[at & (grown_capacity - 1)] = *place(group, at);
    }
    free(group->tail);
    group->tail = grown;
    group->tail_capacity = grown_capacity;
    return true;
}

void auri_tail_push(auri_group *group, aur_frame *frame, uint64_t flight) {
    group->total_bytes += aur_frame_padded(frame->header.length);
    *place(group, group->tail_end) =
        (auri_tail_entry){.frame = frame, .end_bytes = group->total_bytes, .flight = flight};
    group->tail_end++;
}

static void pop(auri_group *group) {
    auri_tail_entry *entry = place(group, group->tail_first);
    group->trimmed_bytes = entry->end_bytes;
    aur_frame_release(entry->frame);
    entry->frame = NULL;
    group->tail_first++;
}

/* The LSN that every healthy copy has been sent: frames up to it interest nobody any more. */
static aur_lsn sent_to_all(const auri_group *group) {
    aur_lsn lowest = AUR_LSN_MAX;
    for (uint32_t i = 0; i < group->quorum->options.copies; i++) {
        const auri_copy *copy = &group->copies[i];
        if (!copy->failed && copy->scl < lowest) {
            lowest = copy->scl;
        }
    }
    return lowest;
}

void auri_tail_trim(auri_group *group) {
    const aur_lsn sent = sent_to_all(group);
    while (group->tail_first < group->tail_complete) {
        const uint64_t bytes = group->total_bytes - group->trimmed_bytes;
        const bool wanted = place(group, group->tail_first)->frame->header.last_lsn > sent;
        if (wanted && bytes <= group->quorum->options.backlog_bytes) {
            break;
        }
        pop(group);
    }
}

void auri_tail_clear(auri_group *group) {
    while (group->tail_first < group->tail_end) {
        pop(group);
    }
    group->tail_complete = group->tail_end;
}

uint64_t auri_tail_bytes_from(const auri_group *group, uint64_t sequence) {
    if (sequence <= group->tail_first) {
        return group->total_bytes - group->trimmed_bytes;
    }
    return group->total_bytes - place(group, sequence - 1)->end_bytes;
}
