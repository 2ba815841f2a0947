/* The past of a volume: views of it, what of it must be kept, and standing still while history is
 * made to go on from it. */
#include "transaction/transaction_private.h"

static const uint64_t NS_PER_SECOND = 1000000000u;

/* ---- views ---- */

aur_status aur_transactions_view(aur_transactions *transactions, aur_lsn lsn,
                                 aur_transaction **transaction_out, aur_error *error) {
    auri_read_points *points = &transactions->points;
    *transaction_out = NULL;
    const aur_status status = auri_check_open(transactions, error);
    if (status != AUR_OK) {
        return status;
    }
    const aur_lsn vdl = aur_log_vdl(transactions->options.log);
    if (lsn > vdl) {
        return aur_fail(error, AUR_ERR_INVALID,
                        "LSN %llu lies in the future: the newest moment that can be viewed is %llu",
                        (unsigned long long)lsn, (unsigned long long)vdl);
    }
    lsn = aur_log_moment(transactions->options.log, lsn);
    (void)pthread_mutex_lock(&points->lock);
    const aur_lsn horizon = points->horizon;
    const bool is_retained = lsn >= horizon || auri_read_points_has(points, lsn);
    if (is_retained) {
        *transaction_out = auri_transaction_open(transactions, true, lsn);
    }
    (void)pthread_mutex_unlock(&points->lock);
    if (!is_retained) {
        return aur_fail(error, AUR_ERR_SNAPSHOT,
                        "LSN %llu is no longer retained: the oldest moment is LSN %llu",
                        (unsigned long long)lsn, (unsigned long long)horizon);
    }
    return *transaction_out != NULL ? AUR_OK
                                    : aur_fail(error, AUR_ERR_MEMORY, "no memory to begin a view");
}

/* ---- what is retained ---- */

void aur_transactions_set_horizon(aur_transactions *transactions, aur_lsn lsn) {
    auri_read_points *points = &transactions->points;
    lsn = aur_log_moment(transactions->options.log, lsn);
    (void)pthread_mutex_lock(&points->lock);
    /* Whoever begins under this lock reads at VDL or above. */
    const aur_lsn vdl = aur_log_vdl(transactions->options.log);
    lsn = lsn < vdl ? lsn : vdl;
    if (lsn > points->horizon) {
        points->horizon = lsn;
    }
    (void)pthread_mutex_unlock(&points->lock);
}

aur_lsn aur_transactions_horizon(aur_transactions *transactions) {
    auri_read_points *points = &transactions->points;
    (void)pthread_mutex_lock(&points->lock);
    const aur_lsn horizon = points->horizon;
    (void)pthread_mutex_unlock(&points->lock);
    return horizon;
}

size_t aur_transactions_pins(aur_transactions *transactions, aur_lsn below, aur_lsn *out,
                             size_t capacity) {
    auri_read_points *points = &transactions->points;
    (void)pthread_mutex_lock(&points->lock);
    const size_t count = auri_read_points_below(points, below, out, capacity);
    (void)pthread_mutex_unlock(&points->lock);
    return count;
}

size_t aur_transactions_retained(aur_transactions *transactions, aur_lsn *horizon_out,
                                 const aur_lsn **points_out) {
    auri_read_points *points = &transactions->points;
    auri_lsn_list *pinned = &transactions->pinned;
    bool has_room = true;
    (void)pthread_mutex_lock(&points->lock);
    while (has_room &&
           auri_read_points_below(points, points->horizon, NULL, 0) > pinned->capacity) {
        const size_t wanted = points->distinct;
        (void)pthread_mutex_unlock(&points->lock);
        has_room = auri_lsn_list_reserve(pinned, wanted);
        (void)pthread_mutex_lock(&points->lock);
    }
    /* Without memory what was told before is told again: every point that is registered below that
     * horizon was registered then. */
    if (has_room) {
        transactions->pinned_horizon = points->horizon;
        pinned->count =
            auri_read_points_below(points, points->horizon, pinned->items, pinned->capacity);
    }
    (void)pthread_mutex_unlock(&points->lock);
    *horizon_out = transactions->pinned_horizon;
    *points_out = pinned->items;
    return pinned->count;
}

/* ---- standing still ---- */

struct timespec auri_realtime_after(uint64_t ns) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(ns / NS_PER_SECOND);
    until.tv_nsec += (long)(ns % NS_PER_SECOND);
    if (until.tv_nsec >= (long)NS_PER_SECOND) {
        until.tv_sec++;
        until.tv_nsec -= (long)NS_PER_SECOND;
    }
    return until;
}

/* The latch within a time. */
static aur_status take_latch(aur_transactions *transactions, uint64_t timeout_ns) {
    const struct timespec until = auri_realtime_after(timeout_ns);
    return pthread_mutex_timedlock(&transactions->latch, &until) == 0 ? AUR_OK : AUR_TIMEOUT;
}

/* Whether a rewind can be made now; waits until everything is durable. Latch held. */
static aur_status settle(aur_transactions *transactions, uint64_t timeout_ns, aur_error *error) {
    aur_log *log = transactions->options.log;
    aur_status status = auri_check_open(transactions, error);
    if (status == AUR_OK) {
        status = aur_log_check(log, error);
    }
    return status == AUR_OK ? aur_log_wait_durable(log, aur_log_head(log), timeout_ns, error)
                            : status;
}

aur_status aur_transactions_hold(aur_transactions *transactions, uint64_t timeout_ns,
                                 aur_lsn *lsn_out, aur_error *error) {
    aur_status status = auri_check_open(transactions, error);
    if (status == AUR_OK) {
        status = take_latch(transactions, timeout_ns);
    }
    if (status != AUR_OK) {
        return status;
    }
    status = settle(transactions, timeout_ns, error);
    if (status != AUR_OK) {
        aur_transactions_resume(transactions);
        return status;
    }
    *lsn_out = aur_log_rewind_point(transactions->options.log);
    return AUR_OK;
}
