/* What an engine tells about itself. */
#include <string.h>

#include "api/api_private.h"

uint32_t aur_engine_groups_wanted(aur_engine *engine) {
    return aur_transactions_groups_wanted(engine->transactions);
}

aur_status aur_engine_copy_status(aur_engine *engine, uint32_t group, uint32_t copy,
                                  aur_engine_copy *out) {
    aur_copy_status status;
    const aur_status outcome = aur_quorum_copy_status(engine->quorum, group, copy, &status);
    if (outcome == AUR_OK) {
        *out = (aur_engine_copy){
            .state = status.state,
            .scl = status.scl,
            .queued_bytes = status.queued_bytes,
            .error = status.error,
        };
    }
    return outcome;
}

/* What a write would get now. */
static aur_status write_status(aur_engine *engine) {
    aur_watermarks marks;
    aur_status status = auri_engine_check(engine, NULL);
    if (status == AUR_OK) {
        status = aur_log_failure(engine->log, NULL);
    }
    if (status == AUR_OK) {
        aur_quorum_watermarks(engine->quorum, &marks);
        status = marks.status;
    }
    return status;
}

void aur_engine_get_status(aur_engine *engine, aur_engine_status *out) {
    aur_buffer_counts buffer;
    aur_log_counts log;
    aur_transactions_counts transactions;
    memset(out, 0, sizeof *out);
    aur_transactions_get_counts(engine->transactions, &transactions);
    aur_buffer_get_counts(engine->buffer, &buffer);
    aur_log_get_counts(engine->log, &log);
    out->epoch = atomic_load_explicit(&engine->epoch, memory_order_acquire);
    out->vdl = aur_log_vdl(engine->log);
    out->vcl = aur_log_vcl(engine->log);
    out->head = aur_log_head(engine->log);
    /* A recovery skips LSNs: the first new one may be far above the head. */
    const uint64_t first = atomic_load_explicit(&engine->first_lsn, memory_order_acquire);
    out->next_lsn = out->head + 1 > first ? out->head + 1 : first;
    out->durable_time_us = aur_log_time_us(engine->log);
    out->groups = aur_quorum_groups(engine->quorum);
    out->write_status = (int32_t)write_status(engine);
    out->snapshots = transactions.snapshots;
    out->cache_budget_bytes = atomic_load_explicit(&engine->cache_bytes, memory_order_relaxed);
    out->cache_used_bytes = buffer.used_bytes;
    out->cache_hits = buffer.hits;
    out->cache_misses = buffer.misses;
    out->cache_evictions = buffer.evictions;
    out->commits = transactions.commits;
    out->conflicts = transactions.conflicts;
    out->records = log.records;
    out->boxcars = log.boxcars;
    out->log_bytes = log.bytes;
    out->pages_used = transactions.pages_used;
    out->pages_extent = transactions.pages_extent;
}

aur_status aur_engine_verify(aur_engine *engine, aur_engine_verified *out, aur_error *error) {
    return aur_transactions_verify(engine->transactions, out, error);
}
