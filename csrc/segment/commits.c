/* When commits happened: their times stand in the records that end mini-transactions. */
#include "segment/segment_private.h"

typedef struct commit_scan {
    aur_lsn after; /* commits in (after, upto] with a time up to time_us are looked at */
    aur_lsn upto;
    uint64_t time_us;
    aur_commit_mark newest; /* LSN 0: none */
    uint64_t count;
} commit_scan;

static void scan_frame(commit_scan *scan, const aur_frame *frame) {
    if (frame->header.last_cpl == 0 || frame->header.last_lsn <= scan->after) {
        return;
    }
    for (size_t at = AUR_FRAME_BODY_AT; at < frame->header.length;) {
        const uint8_t *record = frame->bytes + at; /* checked when it was appended */
        const aur_lsn lsn = aur_get64(record + AUR_RECORD_LSN_AT);
        const uint64_t time_us = aur_record_commit_time(record);
        at += aur_get32(record + AUR_RECORD_LENGTH_AT);
        if ((record[AUR_RECORD_FLAGS_AT] & AUR_RECORD_CPL) != 0 && lsn > scan->after &&
            lsn <= scan->upto && time_us <= scan->time_us) {
            scan->newest = (aur_commit_mark){lsn, time_us};
            scan->count++;
        }
    }
}

static void scan_memtable(commit_scan *scan, const auri_memtable *table) {
    for (uint32_t at = 0; table != NULL && at < table->slot_count; at++) {
        scan_frame(scan, table->slots[at].frame);
    }
}

static void scan_segment(commit_scan *scan, aur_segment *segment) {
    pthread_mutex_lock(&segment->lock);
    scan_memtable(scan, segment->frozen);
    scan_memtable(scan, segment->active);
    pthread_mutex_unlock(&segment->lock);
}

static aur_status newest_of(commit_scan *scan, aur_segment *segment, aur_commit_mark *out) {
    scan_segment(scan, segment);
    *out = scan->newest;
    return scan->newest.lsn == 0 ? AUR_NOT_FOUND : AUR_OK;
}

aur_status aur_segment_commit_at_time(aur_segment *segment, uint64_t time_us, aur_commit_mark *out,
                                      aur_error *error) {
    commit_scan scan = {.upto = AUR_LSN_MAX, .time_us = time_us};
    (void)error;
    return newest_of(&scan, segment, out);
}

aur_status aur_segment_commit_at_lsn(aur_segment *segment, aur_lsn lsn, aur_commit_mark *out,
                                     aur_error *error) {
    commit_scan scan = {.upto = lsn, .time_us = UINT64_MAX};
    (void)error;
    return newest_of(&scan, segment, out);
}

aur_status aur_segment_count_commits(aur_segment *segment, aur_lsn after, aur_lsn upto,
                                     uint64_t *count_out, aur_error *error) {
    commit_scan scan = {.after = after, .upto = upto, .time_us = UINT64_MAX};
    (void)error;
    scan_segment(&scan, segment);
    *count_out = scan.count;
    return AUR_OK;
}
