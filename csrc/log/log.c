/* The log: its life, mini-transactions, and what happens when VCL moves. */
#include "log/log_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "format/checksum.h"

enum {
    BOXCAR_BYTES_DEFAULT = 1 << 20,
    BOXCAR_BYTES_MAX = 2 << 20,
    INFLIGHT_BYTES_DEFAULT = 8 << 20,
    GROUP_CAPACITY_FIRST = 8,
};

/* A frame is never larger than its boxcar, and even an empty boxcar takes the largest record: it
 * fits. A boxcar has fewer frames than its header can count, because each takes at least a header
 * and a record. */
_Static_assert(BOXCAR_BYTES_MAX + AUR_PAGE_BYTES_MAX + AUR_FRAME_ALIGN <= AUR_FRAME_BYTES_MAX,
               "an open frame would outgrow the largest frame");
_Static_assert(BOXCAR_BYTES_MAX / (AUR_FRAME_BODY_AT + AUR_RECORD_BODY_AT) < UINT16_MAX,
               "a boxcar could touch more groups than a frame header counts");

void auri_log_lock(aur_log *log) { AUR_ASSERT(pthread_mutex_lock(&log->lock) == 0); }
void auri_log_unlock(aur_log *log) { AUR_ASSERT(pthread_mutex_unlock(&log->lock) == 0); }

void aur_log_default_options(aur_log_options *options) {
    memset(options, 0, sizeof *options);
    options->boxcar_bytes = BOXCAR_BYTES_DEFAULT;
    options->inflight_bytes = INFLIGHT_BYTES_DEFAULT;
    options->clock = aur_clock_system();
}

/* Forgets the boxcars that are complete, and counts their waiters as reached. Returns a mask of the
 * words to wake. */
static uint32_t land_flights(aur_log *log, aur_lsn vcl) {
    uint32_t landed = 0;
    while (log->flight_first < log->flight_end) {
        const auri_log_flight *flight = &log->flights[log->flight_first % AURI_LOG_FLIGHTS_MAX];
        const uint32_t word = (uint32_t)(log->flight_first % AURI_LOG_WORDS);
        if (flight->last_lsn > vcl) {
            break;
        }
        if (flight->last_cpl != 0) {
            atomic_store_explicit(&log->durable_time_us, flight->time_us, memory_order_relaxed);
        }
        log->flight_bytes -= flight->bytes;
        log->flight_first++;
        auri_wait_bump(&log->words[word]);
        landed |= UINT32_C(1) << word;
    }
    return landed;
}

/* Takes over the quorum's watermarks. Lock held. Returns a mask of the words to wake. */
static uint32_t take_watermarks(aur_log *log) {
    aur_watermarks now;
    uint32_t landed = 0;
    aur_quorum_watermarks(log->quorum, &now);
    if (now.vcl > atomic_load_explicit(&log->vcl, memory_order_relaxed)) {
        atomic_store_explicit(&log->vcl, now.vcl, memory_order_release);
        if (now.vdl > atomic_load_explicit(&log->vdl, memory_order_relaxed)) {
            atomic_store_explicit(&log->vdl, now.vdl, memory_order_release);
        }
        landed = land_flights(log, now.vcl);
        auri_wait_bump(&log->progress);
    }
    if (now.status != log->quorum_status) {
        log->quorum_status = now.status;
        auri_wait_bump_all(log);
        landed = UINT32_MAX;
    }
    return landed;
}

/* Runs in the thread that delivered the deciding acknowledgement. What was filling meanwhile leaves
 * first, so that the disks work while the waiters wake up. */
static void on_advance(void *context) {
    aur_log *log = context;
    auri_log_lock(log);
    const uint32_t landed = take_watermarks(log);
    const bool shipped = auri_boxcar_order(log);
    auri_log_unlock(log);
    if (shipped) {
        aur_quorum_flush(log->quorum);
    }
    for (uint32_t i = 0; i < AURI_LOG_WORDS; i++) {
        if ((landed >> i & 1) != 0) {
            auri_wait_wake(&log->words[i]);
        }
    }
    auri_wait_wake(&log->progress);
    if (log->on_news != NULL) {
        log->on_news(log->news_context);
    }
}

void aur_log_listen(aur_log *log, void (*on_news)(void *context), void *context) {
    auri_log_lock(log);
    log->on_news = on_news;
    log->news_context = context;
    auri_log_unlock(log);
}

size_t aur_log_boundaries(aur_log *log, aur_lsn *out, size_t capacity) {
    return aur_quorum_boundaries(log->quorum, out, capacity);
}

aur_status aur_log_create(const aur_log_options *options, aur_quorum *quorum, aur_log **log_out) {
    if (options->group_pages == 0 || options->clock.wall_us == NULL) {
        return AUR_ERR_INVALID;
    }
    aur_log *log = calloc(1, sizeof *log);
    if (log == NULL) {
        return AUR_ERR_MEMORY;
    }
    log->options = *options;
    if (log->options.boxcar_bytes == 0 || log->options.boxcar_bytes > BOXCAR_BYTES_MAX) {
        log->options.boxcar_bytes =
            log->options.boxcar_bytes == 0 ? BOXCAR_BYTES_DEFAULT : BOXCAR_BYTES_MAX;
    }
    if (log->options.inflight_bytes == 0) {
        log->options.inflight_bytes = INFLIGHT_BYTES_DEFAULT;
    }
    log->quorum = quorum;
    log->volume_seed = aur_volume_seed(options->volume_id);
    log->next_lsn = 1;
    log->failed = true;
    aur_error_clear(&log->failure);
    (void)aur_fail(&log->failure, AUR_ERR_INVALID, "the log has not been started");
    AUR_ASSERT(pthread_mutex_init(&log->lock, NULL) == 0);
    aur_quorum_listen(quorum, on_advance, log);
    *log_out = log;
    return AUR_OK;
}

void aur_log_destroy(aur_log *log) {
    if (log == NULL) {
        return;
    }
    aur_quorum_listen(log->quorum, NULL, NULL);
    auri_boxcar_drop(log);
    free(log->groups);
    free(log->touched);
    free((void *)log->sealed);
    free(log->lost);
    (void)pthread_mutex_destroy(&log->lock);
    free(log);
}

/* Room for `count` groups in the three arrays that have a place for each. Lock held. */
static aur_status reserve_groups(aur_log *log, uint32_t count) {
    uint32_t capacity = log->group_capacity == 0 ? GROUP_CAPACITY_FIRST : log->group_capacity;
    while (capacity < count) {
        capacity *= 2;
    }
    if (capacity == log->group_capacity) {
        return AUR_OK;
    }
    auri_open_frame *groups = realloc(log->groups, capacity * sizeof *groups);
    log->groups = groups != NULL ? groups : log->groups;
    uint32_t *touched = realloc(log->touched, capacity * sizeof *touched);
    log->touched = touched != NULL ? touched : log->touched;
    aur_frame **sealed = realloc((void *)log->sealed, capacity * sizeof *sealed);
    log->sealed = sealed != NULL ? sealed : log->sealed;
    if (groups == NULL || touched == NULL || sealed == NULL) {
        return AUR_ERR_MEMORY;
    }
    log->group_capacity = capacity;
    return AUR_OK;
}

static aur_status remember_lost(aur_log *log, const aur_log_start *start) {
    if (start->next_lsn == start->vdl + 1) {
        return AUR_OK;
    }
    auri_lost_range *grown = realloc(log->lost, (log->lost_count + 1) * sizeof *grown);
    if (grown == NULL) {
        return AUR_ERR_MEMORY;
    }
    log->lost = grown;
    log->lost[log->lost_count++] =
        (auri_lost_range){.first = start->vdl + 1, .last = start->next_lsn - 1};
    atomic_store_explicit(&log->lost_upto, start->next_lsn - 1, memory_order_release);
    return AUR_OK;
}

static void reset_to(aur_log *log, const aur_log_start *start) {
    auri_boxcar_drop(log);
    log->group_count = start->groups;
    for (uint32_t i = 0; i < start->groups; i++) {
        log->groups[i] = (auri_open_frame){.shipped_lsn = start->group_lsn[i]};
    }
    log->next_lsn = start->next_lsn;
    log->mtr_records = 0;
    log->epoch = start->epoch;
    log->newest_time_us = start->time_us;
    log->flight_first = log->flight_end;
    log->flight_bytes = 0;
    log->failed = false;
    atomic_store_explicit(&log->first_lsn, start->next_lsn, memory_order_relaxed);
    atomic_store_explicit(&log->durable_time_us, start->time_us, memory_order_relaxed);
    atomic_store_explicit(&log->vcl, start->vdl, memory_order_release);
    atomic_store_explicit(&log->head, start->vdl, memory_order_release);
    atomic_store_explicit(&log->vdl, start->vdl, memory_order_release);
    log->busy = false;
    log->is_ordered = false;
}

aur_status aur_log_start_at(aur_log *log, const aur_log_start *start, aur_error *error) {
    if (start->next_lsn <= start->vdl) {
        return aur_fail(error, AUR_ERR_INVALID, "the next LSN must be above the VDL");
    }
    auri_log_lock(log);
    aur_status status = reserve_groups(log, start->groups);
    if (status == AUR_OK) {
        status = remember_lost(log, start);
    }
    if (status == AUR_OK) {
        reset_to(log, start);
        (void)take_watermarks(log);
        auri_wait_bump_all(log);
    }
    auri_log_unlock(log);
    auri_wait_wake_all(log);
    if (status != AUR_OK) {
        return aur_fail(error, status, "no memory to start the log");
    }
    aur_quorum_set_epoch(log->quorum, start->epoch);
    return AUR_OK;
}

aur_status aur_log_add_group(aur_log *log) {
    auri_log_lock(log);
    const aur_status status = reserve_groups(log, log->group_count + 1);
    if (status == AUR_OK) {
        log->groups[log->group_count++] = (auri_open_frame){.shipped_lsn = 0};
    }
    auri_log_unlock(log);
    return status;
}

aur_status aur_log_begin(aur_log *log, aur_lsn *start_out, aur_error *error) {
    auri_log_lock(log);
    const aur_status status = auri_log_trouble(log, error);
    if (status == AUR_OK) {
        AUR_ASSERT(!log->busy);
        log->busy = true;
        log->mtr_number++;
        log->mtr_records = 0;
        *start_out = atomic_load_explicit(&log->head, memory_order_relaxed);
    }
    auri_log_unlock(log);
    return status;
}

/* A boxcar ends at a CPL or holds none, so of one that holds complete mini-transactions only those
 * are shipped while another is being appended. Lock held. */
static aur_status ship_inside_mtr(aur_log *log, aur_error *error) {
    if (log->open_cpl == 0 || log->mtr_records == 0) {
        auri_boxcar_ship(log);
    } else if (auri_boxcar_ship_before_mtr(log) != AUR_OK) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to ship the log");
    }
    return AUR_OK;
}

/* Ships the open boxcar, or the older part of it, to make room for another record, when what flies
 * allows it. */
static aur_status make_room(aur_log *log, aur_error *error) {
    aur_status status = AUR_OK;
    aur_quorum_keep_step(log->quorum);
    auri_log_lock(log);
    while (status == AUR_OK && !auri_boxcar_has_room(log)) {
        status = auri_log_await_progress(log, error);
    }
    if (status == AUR_OK && log->failed) {
        status = auri_log_trouble(log, error);
    }
    if (status == AUR_OK) {
        status = ship_inside_mtr(log, error);
    }
    auri_log_unlock(log);
    return status;
}

static bool above_limit(const aur_log *log) {
    const aur_lsn vcl = atomic_load_explicit(&log->vcl, memory_order_acquire);
    const aur_lsn before = atomic_load_explicit(&log->first_lsn, memory_order_relaxed) - 1;
    return log->next_lsn - 1 >= (vcl > before ? vcl : before) + AUR_LSN_ALLOCATION_LIMIT;
}

aur_status aur_log_append(aur_log *log, aur_record *record, aur_error *error) {
    /* It may turn out to be the one that gets the commit time. */
    const uint64_t bytes = (uint64_t)aur_record_bytes(record) + AUR_RECORD_TIME_BYTES;
    const uint64_t number = record->page_id / log->options.group_pages;
    aur_status status = AUR_OK;
    if (number >= log->group_count || record->body_bytes > AUR_PAGE_BYTES_MAX) {
        return aur_fail(error, AUR_ERR_INVALID, "a record of page %llu does not fit the volume",
                        (unsigned long long)record->page_id);
    }
    while (status == AUR_OK && log->open_records > 0 &&
           log->open_bytes + bytes > log->options.boxcar_bytes) {
        status = make_room(log, error);
    }
    while (status == AUR_OK && above_limit(log)) {
        status = aur_log_push(log, error);
    }
    if (status != AUR_OK) {
        return status;
    }
    record->lsn = log->next_lsn;
    if (!auri_boxcar_add(log, (uint32_t)number, record)) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a redo record");
    }
    log->next_lsn++;
    log->mtr_records++;
    return AUR_OK;
}

aur_lsn aur_log_end(aur_log *log) {
    auri_log_lock(log);
    AUR_ASSERT(log->busy);
    if (log->mtr_records > 0 && log->open_records > 0) {
        auri_boxcar_mark_cpl(log);
        atomic_store_explicit(&log->head, log->open_cpl, memory_order_release);
        log->counts.mini_transactions++;
        log->counts.records += log->mtr_records;
    }
    log->busy = false;
    if (log->is_ordered || log->open_bytes >= log->options.boxcar_bytes) {
        (void)auri_boxcar_order(log);
    }
    atomic_store_explicit(&log->rests, log->flight_first == log->flight_end, memory_order_relaxed);
    const aur_lsn head = atomic_load_explicit(&log->head, memory_order_relaxed);
    auri_log_unlock(log);
    return head;
}

void aur_log_ship(aur_log *log) {
    /* A boxcar that was in flight takes what was appended meanwhile along when it lands. */
    if (!atomic_load_explicit(&log->rests, memory_order_relaxed)) {
        return;
    }
    auri_log_lock(log);
    (void)auri_boxcar_order(log);
    auri_log_unlock(log);
}

/* Ships what may be shipped. Inside a mini-transaction that has a boxcar of its own its newest
 * record stays, to become the CPL. Lock held. */
static aur_status ship_for_push(aur_log *log, aur_error *error) {
    const bool inside = log->busy && log->mtr_records > 0;
    if (log->open_records == 0 || !auri_boxcar_has_room(log)) {
        return AUR_OK;
    }
    if (!inside || log->open_cpl != 0) {
        return ship_inside_mtr(log, error);
    }
    if (log->open_records > 1 && auri_boxcar_ship_before_newest(log) != AUR_OK) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to ship the log");
    }
    return AUR_OK;
}

aur_status aur_log_push(aur_log *log, aur_error *error) {
    auri_log_lock(log);
    const aur_lsn before = atomic_load_explicit(&log->vcl, memory_order_relaxed);
    aur_status status = auri_log_trouble(log, error);
    if (status == AUR_OK) {
        status = ship_for_push(log, error);
    }
    while (status == AUR_OK && log->flight_first < log->flight_end &&
           atomic_load_explicit(&log->vcl, memory_order_relaxed) == before) {
        status = auri_log_await_progress(log, error);
    }
    auri_log_unlock(log);
    return status;
}

void aur_log_fail(aur_log *log, const aur_error *why) {
    AUR_ASSERT(why->status != AUR_OK);
    auri_log_lock(log);
    if (!log->failed) {
        log->failed = true;
        log->failure = *why;
    }
    auri_wait_bump_all(log);
    auri_log_unlock(log);
    auri_wait_wake_all(log);
}

aur_status aur_log_failure(aur_log *log, aur_error *error) {
    aur_status status = AUR_OK;
    auri_log_lock(log);
    if (log->failed) {
        status = auri_log_trouble(log, error);
    }
    auri_log_unlock(log);
    return status;
}

aur_status aur_log_check(aur_log *log, aur_error *error) {
    auri_log_lock(log);
    const aur_status status = auri_log_trouble(log, error);
    auri_log_unlock(log);
    return status;
}

/* Lock held. */
static void raise_time(aur_log *log, uint64_t time_us) {
    if (time_us > log->newest_time_us) {
        log->newest_time_us = time_us;
    }
}

void aur_log_not_before(aur_log *log, uint64_t time_us) {
    auri_log_lock(log);
    raise_time(log, time_us);
    if (time_us > atomic_load_explicit(&log->durable_time_us, memory_order_relaxed)) {
        atomic_store_explicit(&log->durable_time_us, time_us, memory_order_relaxed);
    }
    auri_log_unlock(log);
}

aur_lsn aur_log_rewind_point(const aur_log *log) {
    const aur_lsn head = aur_log_head(log);
    return log->next_lsn == head + 1 ? head : log->next_lsn;
}

void aur_log_rewound(aur_log *log, aur_lsn at, uint64_t time_us) {
    auri_log_lock(log);
    AUR_ASSERT(!log->busy && log->open_records == 0 && log->flight_first == log->flight_end);
    AUR_ASSERT(at == aur_log_rewind_point(log) && aur_log_vdl(log) == aur_log_head(log));
    raise_time(log, time_us);
    log->next_lsn = at + 2;
    aur_quorum_rewound(log->quorum, at);
    atomic_store_explicit(&log->vcl, at + 1, memory_order_release);
    atomic_store_explicit(&log->head, at + 1, memory_order_release);
    atomic_store_explicit(&log->vdl, at + 1, memory_order_release);
    auri_log_unlock(log);
}

aur_lsn aur_log_moment(aur_log *log, aur_lsn lsn) {
    auri_log_lock(log);
    for (size_t i = 0; i < log->lost_count; i++) {
        if (lsn >= log->lost[i].first && lsn <= log->lost[i].last) {
            lsn = log->lost[i].first - 1;
        }
    }
    auri_log_unlock(log);
    return lsn;
}

aur_lsn aur_log_head(const aur_log *log) {
    return atomic_load_explicit(&log->head, memory_order_acquire);
}

aur_lsn aur_log_vdl(const aur_log *log) {
    return atomic_load_explicit(&log->vdl, memory_order_acquire);
}

aur_lsn aur_log_vcl(const aur_log *log) {
    return atomic_load_explicit(&log->vcl, memory_order_acquire);
}

uint64_t aur_log_time_us(const aur_log *log) {
    return atomic_load_explicit(&log->durable_time_us, memory_order_relaxed);
}

void aur_log_get_counts(aur_log *log, aur_log_counts *out) {
    auri_log_lock(log);
    *out = log->counts;
    auri_log_unlock(log);
}
