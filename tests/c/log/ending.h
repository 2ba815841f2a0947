/* What nearly every test of the log does: end a mini-transaction, and let it leave. */
#ifndef AUR_TEST_LOG_ENDING_H
#define AUR_TEST_LOG_ENDING_H

#include "log/log.h"

static inline aur_lsn end_and_ship(aur_log *log) {
    const aur_lsn lsn = aur_log_end(log);
    aur_log_ship(log);
    return lsn;
}

#endif
