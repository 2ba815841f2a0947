/*
 * Waiting for durability, and for room.
 *
 * Waiters sleep on futexes, one for each of the last boxcars, so the acknowledgement of a boxcar
 * wakes, with one system call, those whose commits it carried and nobody else; they leave without
 * taking a lock.
 */
#include "log/log_private.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

enum { PROGRESS_SLICE_NS = 500 * 1000 * 1000 };

/* Returns on a wake, a timeout, a signal, or when the word is no longer `seen`; callers look again.
 */
static void futex_wait(atomic_uint *word, unsigned seen, uint64_t timeout_ns) {
    const struct timespec relative = aur_timespec_of(timeout_ns);
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, &relative, NULL, 0);
}

static void futex_wake(atomic_uint *word) {
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void auri_wait_bump(auri_wait_word *word) {
    atomic_fetch_add_explicit(&word->value, 1, memory_order_release);
}

void auri_wait_wake(auri_wait_word *word) {
    if (atomic_load_explicit(&word->waiters, memory_order_acquire) > 0) {
        futex_wake(&word->value);
    }
}

void auri_wait_bump_all(aur_log *log) {
    for (uint32_t i = 0; i < AURI_LOG_WORDS; i++) {
        auri_wait_bump(&log->words[i]);
    }
    auri_wait_bump(&log->progress);
}

void auri_wait_wake_all(aur_log *log) {
    for (uint32_t i = 0; i < AURI_LOG_WORDS; i++) {
        auri_wait_wake(&log->words[i]);
    }
    auri_wait_wake(&log->progress);
}

aur_status auri_log_trouble(aur_log *log, aur_error *error) {
    if (log->failed) {
        if (error != NULL) {
            *error = log->failure;
        }
        return log->failure.status;
    }
    return log->quorum_status == AUR_OK ? AUR_OK : aur_quorum_explain(log->quorum, error);
}

aur_status auri_log_await_progress(aur_log *log, aur_error *error) {
    aur_status status = auri_log_trouble(log, error);
    if (status != AUR_OK) {
        return status;
    }
    const unsigned seen = atomic_load_explicit(&log->progress.value, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->progress.waiters, 1, memory_order_relaxed);
    auri_log_unlock(log);
    status = aur_quorum_help(log->quorum);
    if (status == AUR_WOULD_BLOCK) {
        futex_wait(&log->progress.value, seen, PROGRESS_SLICE_NS);
        status = AUR_OK;
    } else if (status == AUR_NOT_FOUND) {
        status = aur_fail(error, AUR_ERR_QUORUM, "no copy can complete the writes under way");
    }
    atomic_fetch_sub_explicit(&log->progress.waiters, 1, memory_order_relaxed);
    auri_log_lock(log);
    return status;
}

static bool was_lost(const aur_log *log, aur_lsn lsn) {
    for (size_t i = 0; i < log->lost_count; i++) {
        if (lsn >= log->lost[i].first && lsn <= log->lost[i].last) {
            return true;
        }
    }
    return false;
}

/* AUR_OK: durable. AUR_WOULD_BLOCK: not yet. Lock held. */
static aur_status judge(aur_log *log, aur_lsn lsn, aur_error *error) {
    if (was_lost(log, lsn)) {
        return aur_fail(error, AUR_ERR_QUORUM,
                        "LSN %" PRIu64
                        " was not durable when the writer lost its quorum or stopped, and a "
                        "recovery has dropped it: do the work again",
                        lsn);
    }
    if (atomic_load_explicit(&log->vdl, memory_order_relaxed) >= lsn) {
        return AUR_OK;
    }
    const aur_status status = auri_log_trouble(log, error);
    return status == AUR_OK ? AUR_WOULD_BLOCK : status;
}

/* The word that is woken when the LSN becomes durable: of the first boxcar in flight that reaches
 * it, or of the open one. Lock held. */
static auri_wait_word *word_of(aur_log *log, aur_lsn lsn) {
    uint64_t number = log->flight_first;
    while (number < log->flight_end && log->flights[number % AURI_LOG_FLIGHTS_MAX].last_cpl < lsn) {
        number++;
    }
    return &log->words[number % AURI_LOG_WORDS];
}

static bool is_durable(const aur_log *log, aur_lsn lsn) {
    /* In this order: a VDL beyond a lost range is published after the range. */
    const aur_lsn vdl = atomic_load_explicit(&log->vdl, memory_order_acquire);
    return vdl >= lsn && lsn > atomic_load_explicit(&log->lost_upto, memory_order_acquire);
}

/* Carries boxcars until the LSN is durable or the time is over; the first one is shipped, so that
 * everything is on board. Without the lock. */
static void carry(aur_log *log, aur_lsn lsn, uint64_t until_ns) {
    bool waits = true;
    while (waits && !is_durable(log, lsn)) {
        const uint64_t now_ns = aur_monotonic_ns();
        waits = now_ns < until_ns && aur_quorum_carry(log->quorum, until_ns - now_ns);
    }
    aur_quorum_leave(log->quorum);
}

static void sleep_until_landed(aur_log *log, aur_lsn lsn, uint64_t timeout_ns) {
    auri_wait_word *word = word_of(log, lsn);
    const unsigned seen = atomic_load_explicit(&word->value, memory_order_relaxed);
    atomic_fetch_add_explicit(&word->waiters, 1, memory_order_relaxed);
    auri_log_unlock(log);
    futex_wait(&word->value, seen, timeout_ns);
    atomic_fetch_sub_explicit(&word->waiters, 1, memory_order_relaxed);
}

aur_status aur_log_wait_durable(aur_log *log, aur_lsn lsn, uint64_t timeout_ns, aur_error *error) {
    uint64_t until_ns = 0;
    while (!is_durable(log, lsn)) {
        const uint64_t now_ns = aur_monotonic_ns();
        if (until_ns == 0) {
            until_ns = timeout_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + timeout_ns;
        }
        auri_log_lock(log);
        const aur_status status = judge(log, lsn, error);
        const bool boards = status == AUR_WOULD_BLOCK && !log->busy && auri_boxcar_may_leave(log) &&
                            now_ns < until_ns && aur_quorum_board(log->quorum);
        if (status == AUR_WOULD_BLOCK) {
            (void)auri_boxcar_order(log);
        }
        if (boards) {
            auri_log_unlock(log);
            carry(log, lsn, until_ns);
        } else if (status == AUR_WOULD_BLOCK && now_ns < until_ns) {
            sleep_until_landed(log, lsn, until_ns - now_ns);
        } else {
            auri_log_unlock(log);
            return status == AUR_WOULD_BLOCK ? AUR_TIMEOUT : status;
        }
    }
    return AUR_OK;
}
