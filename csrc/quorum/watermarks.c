/*
 * Shipping, and the counting of acknowledgements into PGCL, VCL and VDL.
 *
 * A boxcar counts down the groups that still lack a write quorum for its frame. Boxcars are
 * completed strictly in order: VCL is the last LSN before the lowest one that is not complete
 * (SIGMOD 2018, 2.3, figure 3: PGCLs 103 and 104 give VCL 104, not 103).
 */
#include "quorum/quorum_private.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/planted.h"

enum { FLIGHT_CAPACITY_FIRST = 64 };

static auri_flight *flight_at(const aur_quorum *quorum, uint64_t sequence) {
    return &quorum->flights[sequence & (quorum->flight_capacity - 1)];
}

bool auri_flights_reserve(aur_quorum *quorum) {
    const uint64_t capacity = quorum->flight_capacity;
    if (quorum->flight_end - quorum->flight_first < capacity) {
        return true;
    }
    const uint64_t grown_capacity = capacity == 0 ? FLIGHT_CAPACITY_FIRST : capacity * 2;
    auri_flight *grown = calloc(grown_capacity, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    for (uint64_t at = quorum->flight_first; at < quorum->flight_end; at++) {
        grown[at & (grown_capacity - 1)] = *flight_at(quorum, at);
    }
    free(quorum->flights);
    quorum->flights = grown;
    quorum->flight_capacity = grown_capacity;
    return true;
}

/* The highest LSN that a write quorum of healthy copies has. Failed ones do not count: their files
 * may be gone. */
static aur_lsn reached_by_quorum(const auri_group *group) {
    const uint32_t copies = group->quorum->options.copies;
    aur_lsn reached = 0;
    for (uint32_t i = 0; i < copies; i++) {
        const aur_lsn candidate = group->copies[i].scl;
        uint64_t members = 0;
        if (group->copies[i].failed || candidate <= reached) {
            continue;
        }
        for (uint32_t j = 0; j < copies; j++) {
            if (!group->copies[j].failed && group->copies[j].scl >= candidate) {
                members |= UINT64_C(1) << j;
            }
        }
        if (aur_quorum_met(&group->quorum->write_rule, members)) {
            reached = candidate;
        }
    }
    return reached;
}

static void move_to(aur_quorum *quorum, const auri_flight *flight) {
    if (flight->last_lsn > quorum->vcl) {
        quorum->vcl = flight->last_lsn;
        quorum->news = true;
    }
    if (flight->last_cpl > quorum->vdl) {
        quorum->vdl = flight->last_cpl;
    }
}

void auri_watermarks_fence_if_taken(aur_quorum *quorum) {
    if (!quorum->fenced && quorum->options.is_ours != NULL &&
        !quorum->options.is_ours(quorum->options.owner)) {
        quorum->fenced = true;
        auri_watermarks_judge(quorum);
    }
}

/* Who took the volume meanwhile may have read the log before this was in it: it is asked for only
 * now that it is. */
static void complete_flights(aur_quorum *quorum) {
    bool is_asked = false;
    while (quorum->flight_first < quorum->flight_end) {
        const auri_flight *flight = flight_at(quorum, quorum->flight_first);
        if (flight->remaining != 0) {
            break;
        }
        if (!is_asked) {
            auri_watermarks_fence_if_taken(quorum);
            is_asked = true;
        }
        if (quorum->fenced) {
            break;
        }
        move_to(quorum, flight);
        quorum->flight_bytes -= flight->bytes;
        quorum->flight_first++;
    }
}

void auri_watermarks_advance(auri_group *group) {
    aur_quorum *quorum = group->quorum;
    const aur_lsn reached = reached_by_quorum(group);
    if (reached > group->pgcl) {
        group->pgcl = reached;
    }
    while (group->tail_complete < group->tail_end) {
        const auri_tail_entry *entry = auri_tail_entry_at(group, group->tail_complete);
        if (entry->frame->header.last_lsn > group->pgcl) {
            break;
        }
        auri_flight *flight = flight_at(quorum, entry->flight);
        flight->remaining--;
        group->tail_complete++;
        if (flight->remaining == 0 &&
            AUR_PLANTED(quorum->options.planted_bugs, AUR_BUG_VDL_PAST_HOLE)) {
            move_to(quorum, flight);
        }
    }
    complete_flights(quorum);
    auri_tail_trim(group);
}

uint64_t auri_group_healthy(const auri_group *group) {
    uint64_t healthy = 0;
    for (uint32_t i = 0; i < group->quorum->options.copies; i++) {
        if (!group->copies[i].failed) {
            healthy |= UINT64_C(1) << i;
        }
    }
    return healthy;
}

static const auri_group *group_without_quorum(const aur_quorum *quorum) {
    for (uint32_t i = 0; i < quorum->group_count; i++) {
        if (!aur_quorum_met(&quorum->write_rule, auri_group_healthy(quorum->groups[i]))) {
            return quorum->groups[i];
        }
    }
    return NULL;
}

void auri_watermarks_judge(aur_quorum *quorum) {
    aur_status status = AUR_OK;
    if (quorum->fenced) {
        status = AUR_ERR_FENCED;
    } else if (quorum->out_of_memory || group_without_quorum(quorum) != NULL) {
        status = AUR_ERR_QUORUM;
    }
    if (status != quorum->status) {
        quorum->status = status;
        quorum->news = true;
    }
}

static bool reserve(aur_quorum *quorum, const aur_boxcar *boxcar) {
    for (uint32_t i = 0; i < boxcar->frame_count; i++) {
        AUR_ASSERT(boxcar->frames[i]->header.group < quorum->group_count);
        if (!auri_tail_reserve(quorum->groups[boxcar->frames[i]->header.group])) {
            return false;
        }
    }
    return auri_flights_reserve(quorum);
}

static void forget(const aur_boxcar *boxcar) {
    for (uint32_t i = 0; i < boxcar->frame_count; i++) {
        aur_frame_release(boxcar->frames[i]);
    }
}

static void queue(aur_quorum *quorum, const aur_boxcar *boxcar) {
    auri_flight *flight = flight_at(quorum, quorum->flight_end);
    *flight = (auri_flight){.last_lsn = boxcar->last_lsn,
                            .last_cpl = boxcar->last_cpl,
                            .remaining = boxcar->frame_count};
    for (uint32_t i = 0; i < boxcar->frame_count; i++) {
        auri_group *group = quorum->groups[boxcar->frames[i]->header.group];
        flight->bytes += aur_frame_padded(boxcar->frames[i]->header.length);
        auri_tail_push(group, boxcar->frames[i], quorum->flight_end);
        for (uint32_t copy = 0; quorum->transport != NULL && copy < quorum->options.copies;
             copy++) {
            quorum->transport->enqueue(quorum->transport, &group->copies[copy]);
        }
    }
    quorum->flight_bytes += flight->bytes;
    quorum->flight_end++;
}

void aur_quorum_submit(aur_quorum *quorum, aur_boxcar *boxcar) {
    AUR_ASSERT(boxcar->frame_count > 0);
    auri_quorum_lock(quorum);
    auri_watermarks_fence_if_taken(quorum); /* nothing is written into logs that are another's */
    if (!quorum->running || quorum->out_of_memory || quorum->fenced) {
        forget(boxcar);
    } else if (!reserve(quorum, boxcar)) {
        forget(boxcar);
        quorum->out_of_memory = true;
        auri_watermarks_judge(quorum);
    } else {
        queue(quorum, boxcar);
    }
    auri_quorum_unlock(quorum);
}

void aur_quorum_flush(aur_quorum *quorum) {
    if (quorum->transport != NULL) {
        quorum->transport->flush(quorum->transport);
    }
}

bool aur_quorum_board(aur_quorum *quorum) {
    auri_transport *transport = quorum->transport;
    return transport != NULL && transport->board != NULL && transport->board(transport);
}

bool aur_quorum_carry(aur_quorum *quorum, uint64_t timeout_ns) {
    return quorum->transport->carry(quorum->transport, timeout_ns);
}

void aur_quorum_leave(aur_quorum *quorum) { quorum->transport->leave(quorum->transport); }

void aur_quorum_watermarks(aur_quorum *quorum, aur_watermarks *out) {
    auri_quorum_lock(quorum);
    out->vcl = quorum->vcl;
    out->vdl = quorum->vdl;
    out->boxcars_in_flight = quorum->flight_end - quorum->flight_first;
    out->bytes_in_flight = quorum->flight_bytes;
    out->changes = quorum->changes;
    out->status = quorum->status;
    auri_quorum_unlock(quorum);
}

size_t aur_quorum_boundaries(aur_quorum *quorum, aur_lsn *out, size_t capacity) {
    size_t count = 0;
    auri_quorum_lock(quorum);
    if (count < capacity) {
        out[count] = quorum->vdl;
    }
    count++;
    for (uint64_t at = quorum->flight_first; at < quorum->flight_end; at++) {
        const aur_lsn cpl = flight_at(quorum, at)->last_cpl;
        if (cpl <= quorum->vdl) {
            continue;
        }
        if (count < capacity) {
            out[count] = cpl;
        }
        count++;
    }
    auri_quorum_unlock(quorum);
    return count;
}

static const aur_error *first_failure(const auri_group *group) {
    for (uint32_t i = 0; i < group->quorum->options.copies; i++) {
        if (group->copies[i].failed) {
            return &group->copies[i].failure;
        }
    }
    return NULL;
}

static void explain_loss(aur_quorum *quorum, aur_error *error) {
    const auri_group *group = group_without_quorum(quorum);
    if (group == NULL) {
        (void)aur_fail(error, AUR_ERR_QUORUM,
                       "memory ran out while the log was shipped: reopen the database");
        return;
    }
    const aur_error *why = first_failure(group);
    (void)aur_fail(error, AUR_ERR_QUORUM,
                   "protection group %u has %d healthy copies of %u and a write needs %u: rebuild "
                   "the failed copies, reads go on (first failure: %.90s)",
                   group->number, __builtin_popcountll(auri_group_healthy(group)),
                   quorum->options.copies, quorum->write_rule.term[0].need,
                   why == NULL ? "unknown" : why->message);
    if (error != NULL) {
        error->group = (int32_t)group->number;
    }
}

aur_status aur_quorum_explain(aur_quorum *quorum, aur_error *error) {
    auri_quorum_lock(quorum);
    const aur_status status = quorum->status;
    if (status == AUR_ERR_FENCED) {
        (void)aur_fail(error, AUR_ERR_FENCED,
                       "a newer writer has taken over the volume, or its LOCK file was removed: "
                       "reopen the database");
    } else if (status != AUR_OK) {
        explain_loss(quorum, error);
    }
    auri_quorum_unlock(quorum);
    return status;
}
