#include "format/history.h"

/* How many of the first `count` rewinds have at < lsn. */
static size_t rewinds_below(const aur_rewind *rewinds, size_t count, aur_lsn lsn) {
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (rewinds[middle].at < lsn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool aur_history_visible(const aur_rewind *rewinds, size_t count, aur_lsn read_point, aur_lsn lsn) {
    while (lsn <= read_point) {
        const size_t older = rewinds_below(rewinds, count, read_point);
        if (older == 0 || lsn > rewinds[older - 1].at) {
            return true;
        }
        /* One rewind fewer each round, so even a list that goes forward (to > at) ends. */
        read_point = rewinds[older - 1].to;
        count = older - 1;
    }
    return false;
}

bool aur_history_truncated(const aur_rewind *rewinds, size_t count, aur_lsn lsn,
                           aur_epoch written_in) {
    for (size_t i = rewinds_below(rewinds, count, lsn); i < count; i++) {
        if (rewinds[i].kind == AUR_REWIND_TRUNCATION && rewinds[i].to < lsn &&
            rewinds[i].epoch > written_in) {
            return true;
        }
    }
    return false;
}
