/* The open boxcar: one open frame for each group that it touches, sealed together when it is
 * shipped. */
#include "log/log_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { FRAME_BYTES_FIRST = AUR_FRAME_ALIGN };

static uint32_t larger(uint32_t left, uint32_t right) { return left > right ? left : right; }

/* Exchanges the frame's buffer for one of another capacity. */
static bool resize(auri_open_frame *open, uint64_t capacity) {
    aur_frame *resized = aur_frame_create((uint32_t)capacity);
    if (resized == NULL) {
        return false;
    }
    memcpy(resized->bytes, open->frame->bytes, open->length);
    aur_frame_release(open->frame);
    open->frame = resized;
    return true;
}

static bool open_frame(aur_log *log, uint32_t group, uint32_t bytes) {
    auri_open_frame *open = &log->groups[group];
    open->frame = aur_frame_create(larger(AUR_FRAME_BODY_AT + bytes, open->expected_bytes));
    if (open->frame == NULL) {
        return false;
    }
    open->length = AUR_FRAME_BODY_AT;
    open->records = 0;
    open->last_lsn = open->shipped_lsn;
    log->touched[log->touched_count++] = group;
    log->open_bytes += AUR_FRAME_BODY_AT;
    return true;
}

/* Twice as much as before, but no more than a boxcar takes unless more is needed. */
static uint64_t grown(const aur_log *log, const auri_open_frame *open, uint64_t needed) {
    const uint64_t full = log->options.boxcar_bytes + AUR_FRAME_ALIGN;
    const uint64_t doubled = (uint64_t)open->frame->capacity * 2;
    const uint64_t wanted = doubled < full ? doubled : full;
    return needed > wanted ? needed : wanted;
}

/* Room for `bytes` more in the group's open frame; NULL when out of memory. */
static uint8_t *reserve(aur_log *log, uint32_t group, uint32_t bytes) {
    auri_open_frame *open = &log->groups[group];
    if (open->frame == NULL && !open_frame(log, group, bytes)) {
        return NULL;
    }
    const uint64_t needed = (uint64_t)open->length + bytes;
    if (needed > open->frame->capacity && !resize(open, grown(log, open, needed))) {
        return NULL;
    }
    return open->frame->bytes + open->length;
}

static void set_mark(auri_open_frame *open, uint64_t mtr, aur_lsn first_lsn) {
    open->mark_mtr = mtr;
    open->mark_length = open->length;
    open->mark_records = open->records;
    open->mark_last_lsn = open->last_lsn;
    open->mark_first_lsn = first_lsn;
}

bool auri_boxcar_add(aur_log *log, uint32_t group, const aur_record *record) {
    const uint32_t bytes = aur_record_bytes(record);
    auri_open_frame *open = &log->groups[group];
    uint8_t *place = reserve(log, group, bytes + AUR_RECORD_TIME_BYTES);
    if (place == NULL) {
        return false;
    }
    aur_record_encode(record, place);
    if (open->mark_mtr != log->mtr_number) {
        set_mark(open, log->mtr_number, record->lsn);
    }
    log->newest_group = group;
    log->newest_bytes = bytes;
    log->newest_before_lsn = open->last_lsn;
    if (open->records++ == 0) {
        open->first_lsn = record->lsn;
    }
    if (log->open_records++ == 0) {
        log->open_first = record->lsn;
    }
    open->length += bytes;
    open->last_lsn = record->lsn;
    log->open_bytes += bytes;
    return true;
}

static uint64_t commit_time_us(aur_log *log) {
    const uint64_t now_us = log->options.clock.wall_us(log->options.clock.context);
    if (now_us > log->newest_time_us) {
        log->newest_time_us = now_us;
    }
    return log->newest_time_us;
}

void auri_boxcar_mark_cpl(aur_log *log) {
    auri_open_frame *open = &log->groups[log->newest_group];
    uint8_t *record = open->frame->bytes + open->length - log->newest_bytes;
    AUR_DEBUG_ASSERT(open->length + AUR_RECORD_TIME_BYTES <= open->frame->capacity);
    record[AUR_RECORD_FLAGS_AT] |= AUR_RECORD_CPL;
    aur_put32(record + AUR_RECORD_LENGTH_AT, log->newest_bytes + AUR_RECORD_TIME_BYTES);
    aur_put64(record + log->newest_bytes, commit_time_us(log));
    open->length += AUR_RECORD_TIME_BYTES;
    log->open_bytes += AUR_RECORD_TIME_BYTES;
    log->open_cpl = open->last_lsn;
}

/* Segments keep frames until they are flushed, so a frame that is mostly empty is exchanged for a
 * small one. */
static void fit(auri_open_frame *open) {
    const size_t padded = aur_frame_padded(open->length);
    if (open->frame->capacity > 2 * padded) {
        (void)resize(open, padded); /* without memory the large one does as well */
    }
    const uint32_t halved = open->expected_bytes / 2;
    open->expected_bytes = padded > halved ? (uint32_t)padded : halved;
}

static aur_frame *seal(aur_log *log, uint32_t group, aur_frame_header *header) {
    auri_open_frame *open = &log->groups[group];
    fit(open);
    aur_frame *frame = open->frame;
    header->group = group;
    header->length = open->length;
    header->records = open->records;
    header->prev_lsn = open->shipped_lsn;
    header->first_lsn = open->first_lsn;
    header->last_lsn = open->last_lsn;
    memset(frame->bytes + open->length, 0, aur_frame_padded(open->length) - open->length);
    aur_frame_seal(frame->bytes, header, log->volume_seed);
    frame->header = *header;
    open->shipped_lsn = open->last_lsn;
    open->frame = NULL;
    return frame;
}

static void reset(aur_log *log) {
    log->touched_count = 0;
    log->open_records = 0;
    log->open_bytes = 0;
    log->open_cpl = 0;
}

void auri_boxcar_ship(aur_log *log) {
    AUR_ASSERT(log->open_records > 0);
    AUR_ASSERT(log->flight_end - log->flight_first < AURI_LOG_FLIGHTS_MAX);
    aur_frame_header header = {.epoch = log->epoch,
                               .volume_first = log->open_first,
                               .volume_last = log->open_first + log->open_records - 1,
                               .last_cpl = log->open_cpl,
                               .vdl = atomic_load_explicit(&log->vdl, memory_order_relaxed),
                               .time_us = log->newest_time_us,
                               .groups = (uint16_t)log->touched_count};
    auri_log_flight *flight = &log->flights[log->flight_end % AURI_LOG_FLIGHTS_MAX];
    *flight = (auri_log_flight){
        .last_lsn = header.volume_last, .last_cpl = header.last_cpl, .time_us = header.time_us};
    for (uint32_t i = 0; i < log->touched_count; i++) {
        log->sealed[i] = seal(log, log->touched[i], &header);
        flight->bytes += aur_frame_padded(header.length);
    }
    aur_boxcar boxcar = {.first_lsn = header.volume_first,
                         .last_lsn = header.volume_last,
                         .last_cpl = header.last_cpl,
                         .frame_count = log->touched_count,
                         .frames = log->sealed};
    log->flight_end++;
    log->flight_bytes += flight->bytes;
    log->counts.boxcars++;
    log->counts.bytes += flight->bytes;
    reset(log);
    aur_quorum_submit(log->quorum, &boxcar);
}

/* Whether part of the frame stays behind its mark. */
static bool stays(const aur_log *log, const auri_open_frame *open) {
    return open->mark_mtr == log->mtr_number && open->mark_length < open->length;
}

/* Copies what stays of each frame that is to be cut in two. A frame that stays whole needs no copy.
 */
static bool copy_kept(aur_log *log) {
    for (uint32_t i = 0; i < log->touched_count; i++) {
        auri_open_frame *open = &log->groups[log->touched[i]];
        const uint32_t bytes = open->length - open->mark_length;
        if (!stays(log, open) || open->mark_records == 0) {
            continue;
        }
        const uint32_t needed = AUR_FRAME_BODY_AT + bytes + AUR_RECORD_TIME_BYTES;
        open->kept = aur_frame_create(larger(needed, open->expected_bytes));
        if (open->kept == NULL) {
            return false;
        }
        memcpy(open->kept->bytes + AUR_FRAME_BODY_AT, open->frame->bytes + open->mark_length,
               bytes);
    }
    return true;
}

static void drop_kept(aur_log *log) {
    for (uint32_t i = 0; i < log->touched_count; i++) {
        auri_open_frame *open = &log->groups[log->touched[i]];
        if (open->kept != NULL) {
            aur_frame_release(open->kept);
            open->kept = NULL;
        }
    }
}

/* Puts the kept part of a group into the next boxcar, whose counts are the caller's. */
static void reopen(aur_log *log, uint32_t group, uint32_t bytes, uint32_t records,
                   aur_lsn last_lsn) {
    auri_open_frame *open = &log->groups[group];
    open->frame = open->kept;
    open->kept = NULL;
    open->length = AUR_FRAME_BODY_AT;
    open->records = 0;
    open->last_lsn = open->shipped_lsn;
    set_mark(open, log->mtr_number, open->mark_first_lsn);
    open->length += bytes;
    open->records = records;
    open->first_lsn = open->mark_first_lsn;
    open->last_lsn = last_lsn;
    log->touched[log->touched_count++] = group;
    log->open_bytes += open->length;
}

typedef struct kept_part {
    uint32_t group, bytes, records;
    aur_lsn last_lsn;
} kept_part;

/* Cuts each frame at its mark. Notes in `parts` what stays; returns how many. */
static uint32_t cut(aur_log *log, kept_part *parts) {
    uint32_t part_count = 0;
    uint32_t left_count = 0;
    for (uint32_t i = 0; i < log->touched_count; i++) {
        const uint32_t group = log->touched[i];
        auri_open_frame *open = &log->groups[group];
        if (stays(log, open)) {
            parts[part_count++] = (kept_part){.group = group,
                                              .bytes = open->length - open->mark_length,
                                              .records = open->records - open->mark_records,
                                              .last_lsn = open->last_lsn};
            if (open->mark_records == 0) {
                open->kept = open->frame;
                open->frame = NULL;
                continue;
            }
            open->length = open->mark_length;
            open->records = open->mark_records;
            open->last_lsn = open->mark_last_lsn;
        }
        log->touched[left_count++] = group;
    }
    log->touched_count = left_count;
    return part_count;
}

static aur_status ship_before_marks(aur_log *log, uint64_t kept_records) {
    kept_part *parts = calloc(log->touched_count, sizeof *parts);
    if (parts == NULL || !copy_kept(log)) {
        drop_kept(log);
        free(parts);
        return AUR_ERR_MEMORY;
    }
    const uint32_t part_count = cut(log, parts);
    log->open_records -= kept_records;
    auri_boxcar_ship(log);
    for (uint32_t i = 0; i < part_count; i++) {
        reopen(log, parts[i].group, parts[i].bytes, parts[i].records, parts[i].last_lsn);
    }
    log->open_first = log->next_lsn - kept_records;
    log->open_records = kept_records;
    free(parts);
    return AUR_OK;
}

aur_status auri_boxcar_ship_before_mtr(aur_log *log) {
    return ship_before_marks(log, log->mtr_records);
}

aur_status auri_boxcar_ship_before_newest(aur_log *log) {
    auri_open_frame *open = &log->groups[log->newest_group];
    log->mtr_number++; /* the older marks are void; the mini-transaction has shipped all that they
                          kept */
    set_mark(open, log->mtr_number, open->last_lsn);
    open->mark_length -= log->newest_bytes;
    open->mark_records--;
    open->mark_last_lsn = log->newest_before_lsn;
    return ship_before_marks(log, 1);
}

void auri_boxcar_drop(aur_log *log) {
    for (uint32_t i = 0; i < log->touched_count; i++) {
        auri_open_frame *open = &log->groups[log->touched[i]];
        aur_frame_release(open->frame);
        open->frame = NULL;
    }
    reset(log);
}

bool auri_boxcar_has_room(const aur_log *log) {
    const uint64_t count = log->flight_end - log->flight_first;
    if (count == 0) {
        return true;
    }
    return count < AURI_LOG_FLIGHTS_MAX &&
           log->flight_bytes + log->open_bytes <= log->options.inflight_bytes;
}

bool auri_boxcar_may_leave(const aur_log *log) {
    const uint64_t flying = log->flight_end - log->flight_first;
    const bool full = log->open_bytes >= log->options.boxcar_bytes;
    return !log->failed && log->open_records > 0 &&
           (flying == 0 || (full && auri_boxcar_has_room(log)));
}

bool auri_boxcar_order(aur_log *log) {
    log->is_ordered = log->busy;
    const bool leaves = !log->busy && auri_boxcar_may_leave(log);
    if (leaves) {
        auri_boxcar_ship(log);
    }
    return leaves;
}
