/*
 * History over all groups: which copies know of a rewind, and when commits happened. A commit's
 * record is in one group only, so the groups' answers are put together; of each group one copy is
 * asked that has everything up to VDL.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "quorum/quorum_private.h"

/* ---- rewinds ---- */

/* AUR_OK, AUR_NOT_FOUND, AUR_ERR_MEMORY. */
static aur_status look_for_rewind(aur_segment *segment, const aur_rewind *rewind) {
    const size_t count = aur_segment_rewinds(segment, NULL, 0);
    aur_rewind *rewinds = calloc(count + 1, sizeof *rewinds);
    aur_status status = AUR_NOT_FOUND;
    if (rewinds == NULL) {
        return AUR_ERR_MEMORY;
    }
    /* It is the newest one, so it is not missed when others fall out meanwhile. */
    const size_t found = aur_segment_rewinds(segment, rewinds, count + 1);
    for (size_t at = 0; at < found && at < count + 1 && status != AUR_OK; at++) {
        if (rewinds[at].at == rewind->at && rewinds[at].to == rewind->to) {
            status = AUR_OK;
        }
    }
    free(rewinds);
    return status;
}

/* A copy that does not know of the rewind would go on with another history. */
static void blind(auri_copy *copy, const aur_rewind *rewind) {
    aur_error why;
    aur_error_clear(&why);
    (void)aur_fail(&why, AUR_ERR_QUORUM,
                   "it has not recorded that history goes on from LSN %" PRIu64
                   " after LSN %" PRIu64 ": reopen or rebuild it",
                   rewind->to, rewind->at);
    copy->blind = true;
    auri_copy_fail(copy, &why);
}

/* Lock held, released meanwhile. */
static aur_status confirm_copy(auri_copy *copy, const aur_rewind *rewind) {
    aur_quorum *quorum = copy->group->quorum;
    if (!auri_copy_pin(copy)) {
        return AUR_OK; /* nobody reads from it */
    }
    auri_quorum_unlock(quorum);
    const aur_status status = look_for_rewind(copy->segment, rewind);
    auri_quorum_lock(quorum);
    if (status == AUR_NOT_FOUND) {
        blind(copy, rewind);
    }
    auri_copy_unpin(copy);
    return status == AUR_NOT_FOUND ? AUR_OK : status;
}

aur_status aur_quorum_confirm_rewind(aur_quorum *quorum, const aur_rewind *rewind,
                                     aur_error *error) {
    aur_status status = AUR_OK;
    auri_quorum_lock(quorum);
    for (uint32_t g = 0; g < quorum->group_count; g++) {
        for (uint32_t c = 0; c < quorum->options.copies && status == AUR_OK; c++) {
            status = confirm_copy(&quorum->groups[g]->copies[c], rewind);
        }
    }
    const aur_status judged = quorum->status;
    auri_quorum_unlock(quorum);
    auri_quorum_announce(quorum);
    if (status != AUR_OK) {
        return aur_fail(error, status, "no memory to look for a rewind");
    }
    return judged == AUR_OK ? AUR_OK : aur_quorum_explain(quorum, error);
}

void aur_quorum_rewound(aur_quorum *quorum, aur_lsn at) {
    auri_quorum_lock(quorum);
    AUR_ASSERT(quorum->flight_first == quorum->flight_end && quorum->vdl <= at);
    quorum->vcl = at + 1;
    quorum->vdl = at + 1;
    auri_quorum_unlock(quorum);
}

void aur_quorum_set_retention(aur_quorum *quorum, void (*source)(void *context, aur_retention *out),
                              void *context) {
    auri_quorum_lock(quorum);
    quorum->retention_source = source;
    quorum->retention_context = context;
    auri_quorum_unlock(quorum);
}

/* ---- commits ---- */

enum query_kind { NEWEST_AT_TIME, NEWEST_AT_LSN, COUNT };

typedef struct commit_query {
    enum query_kind kind;
    uint64_t from; /* COUNT: after this LSN */
    uint64_t upto; /* a time, or an LSN */
    aur_commit_mark newest;
    uint64_t count;
} commit_query;

static aur_status ask_segment(aur_segment *segment, commit_query *query, aur_error *error) {
    switch (query->kind) {
    case NEWEST_AT_TIME:
        return aur_segment_commit_at_time(segment, query->upto, &query->newest, error);
    case NEWEST_AT_LSN:
        return aur_segment_commit_at_lsn(segment, query->upto, &query->newest, error);
    case COUNT:
        return aur_segment_count_commits(segment, query->from, query->upto, &query->count, error);
    }
    return AUR_ERR_INVALID;
}

/* A copy that has everything up to VDL and was not asked yet, sound ones first. */
static auri_copy *copy_to_ask(auri_group *group, uint64_t tried) {
    const aur_lsn vdl = group->quorum->vdl;
    const aur_lsn needed = vdl < group->pgcl ? vdl : group->pgcl;
    auri_copy *found = NULL;
    for (uint32_t i = 0; i < group->quorum->options.copies; i++) {
        auri_copy *copy = &group->copies[i];
        const bool may_answer = (tried >> i & 1) == 0 && copy->segment != NULL && !copy->leaving &&
                                !copy->blind && copy->scl >= needed;
        if (may_answer && (found == NULL || (found->failed && !copy->failed))) {
            found = copy;
        }
    }
    return found;
}

/* Lock held, released while a copy answers. */
static aur_status ask_group(auri_group *group, commit_query *query, aur_error *error) {
    aur_quorum *quorum = group->quorum;
    aur_status status = AUR_ERR_QUORUM;
    uint64_t tried = 0;
    (void)aur_fail(error, status, "no copy of protection group %u can tell its commits",
                   group->number);
    while (status != AUR_OK && status != AUR_NOT_FOUND) {
        auri_copy *copy = copy_to_ask(group, tried);
        if (copy == NULL) {
            return status;
        }
        tried |= UINT64_C(1) << copy->index;
        copy->users++;
        auri_quorum_unlock(quorum);
        status = ask_segment(copy->segment, query, error);
        auri_quorum_lock(quorum);
        auri_copy_unpin(copy);
    }
    return status;
}

/* Puts the answers of all groups together: the newest commit, or the sum. */
static aur_status ask_all(aur_quorum *quorum, commit_query *query, aur_error *error) {
    commit_query total = *query;
    aur_status status = AUR_OK;
    auri_quorum_lock(quorum);
    for (uint32_t g = 0; g < quorum->group_count && status >= AUR_OK; g++) {
        commit_query part = *query;
        status = ask_group(quorum->groups[g], &part, error);
        if (status == AUR_OK) {
            total.count += part.count;
            total.newest = part.newest.lsn > total.newest.lsn ? part.newest : total.newest;
        }
    }
    auri_quorum_unlock(quorum);
    *query = total;
    if (status < AUR_OK) {
        return status;
    }
    aur_error_clear(error);
    return query->kind == COUNT || query->newest.lsn > 0 ? AUR_OK : AUR_NOT_FOUND;
}

static aur_lsn vdl_of(aur_quorum *quorum) {
    auri_quorum_lock(quorum);
    const aur_lsn vdl = quorum->vdl;
    auri_quorum_unlock(quorum);
    return vdl;
}

static aur_lsn lower(aur_lsn left, aur_lsn right) { return left < right ? left : right; }

aur_status aur_quorum_commit_at_lsn(aur_quorum *quorum, aur_lsn lsn, aur_commit_mark *out,
                                    aur_error *error) {
    commit_query query = {.kind = NEWEST_AT_LSN, .upto = lower(lsn, vdl_of(quorum))};
    const aur_status status = ask_all(quorum, &query, error);
    *out = query.newest;
    return status;
}

aur_status aur_quorum_commit_at_time(aur_quorum *quorum, uint64_t time_us, aur_commit_mark *out,
                                     aur_error *error) {
    commit_query query = {.kind = NEWEST_AT_TIME, .upto = time_us};
    const aur_lsn vdl = vdl_of(quorum);
    const aur_status status = ask_all(quorum, &query, error);
    *out = query.newest;
    /* One that is not durable is not told. Times do not go back, so all before it are old enough.
     */
    return status == AUR_OK && out->lsn > vdl ? aur_quorum_commit_at_lsn(quorum, vdl, out, error)
                                              : status;
}

aur_status aur_quorum_count_commits(aur_quorum *quorum, aur_lsn after, aur_lsn upto,
                                    uint64_t *count_out, aur_error *error) {
    commit_query query = {.kind = COUNT, .from = after, .upto = lower(upto, vdl_of(quorum))};
    const aur_status status = ask_all(quorum, &query, error);
    *count_out = query.count;
    return status;
}
