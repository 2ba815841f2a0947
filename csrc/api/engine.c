/* The life of an engine: its parts from the bottom up, service at a recovered point, and the end.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/api_private.h"

enum { REDO_SHARE = 3, REDO_BYTES_MAX = 32 << 20 };

static const uint64_t own_commit_slice_ns = UINT64_C(100000000);
static const uint64_t format_slice_ns = UINT64_C(100000000);

/* ---- what the buffer pool needs from below ---- */

static aur_status source_read_page(void *context, aur_page_id page_id, aur_lsn read_point,
                                   uint8_t *page, aur_error *error) {
    const aur_engine *engine = context;
    return aur_quorum_read_page(engine->quorum, page_id, read_point, page, error);
}

static void source_will_read(void *context, aur_page_id page_id, aur_lsn read_point) {
    const aur_engine *engine = context;
    aur_quorum_will_read(engine->quorum, page_id, read_point);
}

static aur_lsn source_hardened(void *context) {
    const aur_engine *engine = context;
    return aur_log_vcl(engine->log);
}

static aur_status source_harden(void *context, aur_error *error) {
    const aur_engine *engine = context;
    return aur_log_push(engine->log, error);
}

/* ---- create and destroy ---- */

/* Whoever removed the file of the lock, or put another in its place, let others in. */
static bool has_lock(void *context) {
    const aur_engine *engine = context;
    struct stat found;
    return fstat(engine->options.lock_descriptor, &found) != 0 || found.st_nlink > 0;
}

static aur_status create_quorum(aur_engine *engine) {
    const aur_engine_options *options = &engine->options;
    /* A file system that does not count names has nothing to tell. */
    const bool can_tell = options->lock_descriptor > 0 && has_lock(engine);
    const aur_quorum_options quorum_options = {
        .is_ours = can_tell ? has_lock : NULL,
        .owner = engine,
        .copies = options->copies,
        .drive = options->drive,
        .group_pages = options->group_pages,
        .page_bytes = options->page_bytes,
        .planted_bugs = options->planted_bugs,
    };
    const aur_status status = aur_quorum_create(&quorum_options, &engine->quorum);
    if (status == AUR_OK) {
        aur_quorum_set_retention(engine->quorum, auri_engine_retention, engine);
    }
    return status;
}

static aur_status create_log(aur_engine *engine) {
    const aur_engine_options *options = &engine->options;
    aur_log_options log_options;
    aur_log_default_options(&log_options);
    memcpy(log_options.volume_id, options->volume_id, sizeof log_options.volume_id);
    log_options.page_bytes = options->page_bytes;
    log_options.group_pages = options->group_pages;
    log_options.clock = options->wall_us == NULL
                            ? aur_clock_system()
                            : (aur_clock){options->clock_context, options->wall_us};
    const aur_status status = aur_log_create(&log_options, engine->quorum, &engine->log);
    if (status == AUR_OK) {
        aur_log_listen(engine->log, auri_engine_on_news, engine);
    }
    return status;
}

/* The part of the budget for redo that is not in layers yet: the frames, and an index of them. What
 * is left is for pages. */
static uint64_t redo_bytes(uint64_t cache_bytes) {
    const uint64_t share = cache_bytes / REDO_SHARE;
    return share < REDO_BYTES_MAX ? share : REDO_BYTES_MAX;
}

static aur_status create_buffer(aur_engine *engine) {
    const aur_page_source source = {
        .context = engine,
        .read_page = source_read_page,
        .hardened = source_hardened,
        .harden = source_harden,
        .will_read = source_will_read,
    };
    atomic_init(&engine->cache_bytes, engine->options.cache_bytes);
    const uint64_t budget_bytes = engine->options.cache_bytes;
    const uint64_t redo = redo_bytes(budget_bytes);
    aur_quorum_set_redo_bytes(engine->quorum, redo);
    return aur_buffer_create(engine->options.page_bytes, budget_bytes - redo, &source,
                             &engine->buffer);
}

static aur_status create_transactions(aur_engine *engine, aur_error *error) {
    const aur_engine_options *options = &engine->options;
    const bool is_manual = options->drive == AUR_ENGINE_DRIVE_MANUAL;
    const aur_transactions_options transaction_options = {
        .buffer = engine->buffer,
        .log = engine->log,
        .page_bytes = options->page_bytes,
        .group_pages = options->group_pages,
        .volume_pages = options->volume_pages,
        .read_volatile = options->read_volatile,
        .ungated = options->ungated,
        /* In the MANUAL drive nobody but the caller could bring the end of the wait about. */
        .wait_slice_ns = is_manual ? 0 : own_commit_slice_ns,
        .on_attention = auri_engine_ring,
        .listener_context = engine,
    };
    return aur_transactions_create(&transaction_options, &engine->transactions, error);
}

static aur_status create_parts(aur_engine *engine, aur_error *error) {
    aur_status status = auri_engine_news_create(engine, error);
    if (status != AUR_OK) {
        return status;
    }
    status = create_quorum(engine);
    if (status == AUR_OK) {
        status = create_log(engine);
    }
    if (status == AUR_OK) {
        status = create_buffer(engine);
    }
    if (status != AUR_OK) {
        return aur_fail(error, status, "the engine's parts could not be made: %s",
                        aur_status_text(status));
    }
    return create_transactions(engine, error);
}

static aur_status check_options(const aur_engine_options *options, aur_error *error) {
    const uint32_t page_bytes = options->page_bytes;
    const bool is_page_size = page_bytes >= AUR_PAGE_BYTES_MIN &&
                              page_bytes <= AUR_PAGE_BYTES_MAX &&
                              (page_bytes & (page_bytes - 1)) == 0;
    const bool is_drive =
        options->drive >= AUR_ENGINE_DRIVE_RING && options->drive <= AUR_ENGINE_DRIVE_MANUAL;
    const bool is_size = options->group_pages > 0 && options->volume_pages > 0 &&
                         options->copies > 0 && options->copies <= AUR_COPIES_MAX;
    if (!is_page_size || !is_drive || !is_size) {
        return aur_fail(error, AUR_ERR_INVALID,
                        "engine options: page_bytes %u (a power of two from %d to %d), copies %u "
                        "(1 to %d), drive %u, group_pages %llu, volume_pages %llu",
                        page_bytes, AUR_PAGE_BYTES_MIN, AUR_PAGE_BYTES_MAX, options->copies,
                        AUR_COPIES_MAX, options->drive, (unsigned long long)options->group_pages,
                        (unsigned long long)options->volume_pages);
    }
    return AUR_OK;
}

aur_status aur_engine_create(const aur_engine_options *options, aur_engine **engine_out,
                             aur_error *error) {
    aur_status status = check_options(options, error);
    if (status != AUR_OK) {
        return status;
    }
    aur_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for an engine");
    }
    engine->options = *options;
    engine->event_descriptor = -1;
    (void)pthread_mutex_init(&engine->lock, NULL);
    status = create_parts(engine, error);
    if (status != AUR_OK) {
        aur_engine_destroy(engine);
        return status;
    }
    *engine_out = engine;
    return AUR_OK;
}

void aur_engine_destroy(aur_engine *engine) {
    if (engine == NULL) {
        return;
    }
    if (engine->quorum != NULL) {
        aur_quorum_stop(engine->quorum); /* from here on nobody calls the log */
    }
    if (engine->sql != NULL) {
        aur_sql_close(engine->sql);
        aur_sql_release(engine->sql);
    }
    aur_transactions_destroy(engine->transactions);
    aur_buffer_destroy(engine->buffer);
    aur_log_destroy(engine->log);
    aur_quorum_destroy(engine->quorum);
    auri_engine_news_destroy(engine);
    (void)pthread_mutex_destroy(&engine->lock);
    free(engine);
}

aur_status auri_engine_check(const aur_engine *engine, aur_error *error) {
    if (atomic_load_explicit(&engine->is_closed, memory_order_acquire)) {
        return aur_fail(error, AUR_ERR_CLOSED, "the database is closed");
    }
    return AUR_OK;
}

/* ---- groups and copies ---- */

aur_status aur_engine_add_group(aur_engine *engine, aur_segment *const *segments, uint32_t copies,
                                aur_error *error) {
    if (copies != engine->options.copies) {
        return aur_fail(error, AUR_ERR_INVALID, "%u segments for a group of %u copies", copies,
                        engine->options.copies);
    }
    aur_status status = auri_engine_check(engine, error);
    if (status != AUR_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&engine->lock);
    aur_transactions_pause(engine->transactions);
    status = aur_quorum_add_group(engine->quorum, segments, error);
    if (status == AUR_OK) {
        status = aur_log_add_group(engine->log);
    }
    if (status == AUR_OK) {
        aur_transactions_add_group(engine->transactions);
    }
    aur_transactions_resume(engine->transactions);
    (void)pthread_mutex_unlock(&engine->lock);
    return status;
}

aur_status aur_engine_replace(aur_engine *engine, uint32_t group, uint32_t copy,
                              aur_segment *segment, aur_segment **old_out, aur_error *error) {
    aur_segment *old = NULL;
    (void)pthread_mutex_lock(&engine->lock);
    const aur_status status = aur_quorum_replace(engine->quorum, group, copy, segment, &old, error);
    (void)pthread_mutex_unlock(&engine->lock);
    if (old_out != NULL) {
        *old_out = old;
    }
    return status;
}

/* ---- service ---- */

/* A new volume's first mini-transaction, durable before anybody hears of the volume. Paused. */
static aur_status format_volume(aur_engine *engine, aur_lsn *lsn_out, aur_error *error) {
    const aur_status status = aur_transactions_format(engine->transactions, lsn_out, error);
    if (status == AUR_OK && engine->options.drive == AUR_ENGINE_DRIVE_MANUAL) {
        aur_log_ship(engine->log);
        *lsn_out = 0; /* its caller steps and waits */
    }
    return status;
}

static aur_status wait_formatted(aur_engine *engine, aur_lsn lsn, aur_error *error) {
    aur_status status = AUR_TIMEOUT;
    while (status == AUR_TIMEOUT) {
        status = aur_log_wait_durable(engine->log, lsn, format_slice_ns, error);
    }
    return status;
}

/* No commit may be before the newest one, nor before a backtrack that was made since. */
static uint64_t newest_time_us(const aur_engine_start_point *start) {
    uint64_t time_us = start->time_us;
    for (uint32_t at = 0; at < start->rewind_count; at++) {
        const aur_rewind *rewind = &start->rewinds[at];
        if (rewind->kind == AUR_REWIND_BACKTRACK && rewind->time_us > time_us) {
            time_us = rewind->time_us;
        }
    }
    return time_us;
}

/* Sets every part to the recovered point, from the top down, then lets the lowest go on. Paused. */
static aur_status start_parts(aur_engine *engine, const aur_engine_start_point *start,
                              aur_error *error) {
    const aur_log_start log_start = {
        .epoch = start->epoch,
        .vdl = start->vdl,
        .next_lsn = start->next_lsn,
        .time_us = newest_time_us(start),
        .groups = start->groups,
        .group_lsn = start->group_lsn,
    };
    aur_status status =
        aur_buffer_restart(engine->buffer, start->vdl, start->rewinds, start->rewind_count);
    if (status != AUR_OK) {
        return aur_fail(error, status, "no memory for the list of rewinds");
    }
    aur_transactions_restart(engine->transactions, start->vdl);
    status = aur_log_start_at(engine->log, &log_start, error);
    if (status != AUR_OK) {
        return status;
    }
    aur_transactions_restarted(engine->transactions);
    return aur_quorum_start(engine->quorum, start->vdl, error);
}

/* Recovery looks at frames that are in no layer yet; the newest commit may be older than those.
 * When no copy can tell, the start point's time has to do. */
static void learn_commit_time(aur_engine *engine, aur_lsn vdl) {
    aur_commit_mark newest;
    if (aur_quorum_commit_at_lsn(engine->quorum, vdl, &newest, NULL) == AUR_OK) {
        aur_log_not_before(engine->log, newest.time_us);
    }
}

aur_status aur_engine_start(aur_engine *engine, const aur_engine_start_point *start,
                            aur_error *error) {
    aur_lsn formatted = 0;
    aur_status status = auri_engine_check(engine, error);
    if (status != AUR_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&engine->lock);
    aur_transactions_pause(engine->transactions);
    status = start_parts(engine, start, error);
    if (status == AUR_OK) {
        atomic_store_explicit(&engine->epoch, start->epoch, memory_order_release);
        atomic_store_explicit(&engine->first_lsn, start->next_lsn, memory_order_release);
        if (start->vdl == 0) {
            status = format_volume(engine, &formatted, error);
        } else {
            learn_commit_time(engine, start->vdl);
        }
    }
    aur_transactions_resume(engine->transactions);
    (void)pthread_mutex_unlock(&engine->lock);
    return status == AUR_OK && formatted > 0 ? wait_formatted(engine, formatted, error) : status;
}

static void fail_log(aur_engine *engine, aur_status status, const char *message) {
    aur_error why;
    aur_error_clear(&why);
    (void)aur_fail(&why, status, "%s", message);
    aur_log_fail(engine->log, &why);
}

void aur_engine_stop(aur_engine *engine) {
    /* First the log, without waiting for anybody: a commit that waits for room gives up, and with
     * it the lock below comes free. */
    fail_log(engine, AUR_ERR_QUORUM, "the engine is stopped for a recovery in place");
    (void)pthread_mutex_lock(&engine->lock);
    aur_quorum_stop(engine->quorum);
    (void)pthread_mutex_unlock(&engine->lock);
}

void aur_engine_close(aur_engine *engine) {
    if (atomic_exchange_explicit(&engine->is_closed, true, memory_order_acq_rel)) {
        return;
    }
    aur_transactions_close(engine->transactions);
    fail_log(engine, AUR_ERR_CLOSED, "the database is closed");
    auri_engine_ring(engine);
}

aur_status aur_engine_step(aur_engine *engine, uint32_t group, uint32_t copy) {
    return aur_quorum_step(engine->quorum, group, copy);
}

void aur_engine_ship(aur_engine *engine) { aur_log_ship(engine->log); }

aur_status aur_engine_wait_durable(aur_engine *engine, uint64_t lsn, uint64_t timeout_ns,
                                   aur_error *error) {
    const aur_status status = auri_engine_check(engine, error);
    return status == AUR_OK ? aur_log_wait_durable(engine->log, lsn, timeout_ns, error) : status;
}

void aur_engine_set_cache_bytes(aur_engine *engine, uint64_t cache_bytes) {
    atomic_store_explicit(&engine->cache_bytes, cache_bytes, memory_order_relaxed);
    aur_quorum_set_redo_bytes(engine->quorum, redo_bytes(cache_bytes));
    aur_buffer_set_budget(engine->buffer, cache_bytes - redo_bytes(cache_bytes));
}
