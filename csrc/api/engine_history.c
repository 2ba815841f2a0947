/* The functions of <aurora/history.h>. */
#include <aurora/history.h>

#include "api/api_private.h"

aur_status aur_engine_view(aur_engine *engine, uint64_t lsn, aur_transaction **out,
                           aur_error *error) {
    return aur_transactions_view(engine->transactions, lsn, out, error);
}

void aur_engine_set_horizon(aur_engine *engine, uint64_t lsn) {
    aur_transactions_set_horizon(engine->transactions, lsn);
}

uint64_t aur_engine_horizon(aur_engine *engine) {
    return aur_transactions_horizon(engine->transactions);
}

size_t aur_engine_pins(aur_engine *engine, uint64_t below, uint64_t *out, size_t capacity) {
    return aur_transactions_pins(engine->transactions, below, out, capacity);
}

void auri_engine_retention(void *context, aur_retention *out) {
    const aur_engine *engine = context;
    out->count = aur_transactions_retained(engine->transactions, &out->horizon, &out->points);
}

/* ---- commits ---- */

static void give_mark(const aur_commit_mark *mark, uint64_t *lsn_out, uint64_t *time_out) {
    *lsn_out = mark->lsn;
    *time_out = mark->time_us;
}

aur_status aur_engine_commit_at_time(aur_engine *engine, uint64_t time_us, uint64_t *lsn_out,
                                     uint64_t *time_out, aur_error *error) {
    aur_commit_mark mark = {0};
    aur_status status = auri_engine_check(engine, error);
    if (status == AUR_OK) {
        status = aur_quorum_commit_at_time(engine->quorum, time_us, &mark, error);
    }
    give_mark(&mark, lsn_out, time_out);
    return status;
}

aur_status aur_engine_commit_at_lsn(aur_engine *engine, uint64_t lsn, uint64_t *lsn_out,
                                    uint64_t *time_out, aur_error *error) {
    aur_commit_mark mark = {0};
    aur_status status = auri_engine_check(engine, error);
    if (status == AUR_OK) {
        status = aur_quorum_commit_at_lsn(engine->quorum, lsn, &mark, error);
    }
    give_mark(&mark, lsn_out, time_out);
    return status;
}

aur_status aur_engine_count_commits(aur_engine *engine, uint64_t after, uint64_t upto,
                                    uint64_t *count_out, aur_error *error) {
    const aur_status status = auri_engine_check(engine, error);
    *count_out = 0;
    return status == AUR_OK
               ? aur_quorum_count_commits(engine->quorum, after, upto, count_out, error)
               : status;
}

/* ---- rewinds ---- */

aur_status aur_engine_hold(aur_engine *engine, uint64_t timeout_ns, uint64_t *lsn_out,
                           aur_error *error) {
    return aur_transactions_hold(engine->transactions, timeout_ns, lsn_out, error);
}

void aur_engine_release(aur_engine *engine) { aur_transactions_resume(engine->transactions); }

/* Whether the rewind is one of this moment. Held. */
static aur_status check_rewind(aur_engine *engine, const aur_rewind *rewind, aur_error *error) {
    const aur_lsn at = aur_log_rewind_point(engine->log);
    if (rewind->kind != AUR_REWIND_BACKTRACK || rewind->at != at || rewind->to > at) {
        return aur_fail(error, AUR_ERR_INVALID,
                        "a rewind from LSN %llu to LSN %llu: it must go back from LSN %llu",
                        (unsigned long long)rewind->at, (unsigned long long)rewind->to,
                        (unsigned long long)at);
    }
    aur_status status = auri_engine_check(engine, error);
    return status == AUR_OK ? aur_log_failure(engine->log, error) : status;
}

/* Segments may have recorded it or not: nobody writes into either history before it is known. */
static void leave_in_doubt(aur_engine *engine, aur_status status, const aur_error *cause) {
    aur_error why;
    aur_error_clear(&why);
    (void)aur_fail(&why, status == AUR_ERR_FENCED ? AUR_ERR_FENCED : AUR_ERR_QUORUM,
                   "a backtrack is in doubt until the volume has recovered in place: %.120s",
                   cause->message);
    aur_log_fail(engine->log, &why);
    auri_engine_ring(engine);
}

aur_status aur_engine_rewind(aur_engine *engine, const aur_rewind *rewind, aur_error *error) {
    aur_error cause;
    aur_error_clear(&cause);
    aur_status status = check_rewind(engine, rewind, error);
    if (status != AUR_OK) {
        return status;
    }
    status = aur_quorum_confirm_rewind(engine->quorum, rewind, &cause);
    if (status == AUR_OK && aur_buffer_rewind(engine->buffer, rewind) != AUR_OK) {
        status = aur_fail(&cause, AUR_ERR_MEMORY, "no memory for one more rewind");
    }
    if (status != AUR_OK) {
        leave_in_doubt(engine, status, &cause);
        if (error != NULL) {
            *error = cause;
        }
        return status;
    }
    /* From the top down: as soon as VDL has moved everybody reads the new history. */
    aur_transactions_rewound(engine->transactions, rewind->at);
    aur_log_rewound(engine->log, rewind->at, rewind->time_us);
    return AUR_OK;
}
