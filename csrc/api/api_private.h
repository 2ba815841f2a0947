/* The engine's parts. */
#ifndef AUR_API_API_PRIVATE_H
#define AUR_API_API_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <aurora/engine.h>
#include <aurora/transaction.h>

#include "buffer/buffer.h"
#include "log/log.h"
#include "quorum/quorum.h"
#include "sql/sql.h"
#include "transaction/transaction.h"

struct aur_engine {
    aur_engine_options options;
    aur_quorum *quorum;
    aur_log *log;
    aur_buffer *buffer;
    aur_transactions *transactions;
    aur_sql *sql; /* NULL until somebody asks for it; under lock */

    /* Taken before the commit latch: one of add_group, replace, start and stop at a time. */
    pthread_mutex_t lock;
    atomic_bool is_closed;
    atomic_uint_least64_t cache_bytes;
    atomic_uint_least64_t epoch;
    atomic_uint_least64_t first_lsn; /* next_lsn of the newest start */

    /* What the event descriptor tells about, as it was seen last. */
    int event_descriptor;
    atomic_int seen_status;
    atomic_uint_least64_t seen_changes;
};

/* engine_news.c */
aur_status auri_engine_news_create(aur_engine *engine, aur_error *error) AUR_CHECKED;
void auri_engine_news_destroy(aur_engine *engine);
/* The log's listener: rings when the state of a copy or of the quorum has changed. */
void auri_engine_on_news(void *context);
void auri_engine_ring(void *context);

/* engine_history.c: what storage must retain, for its worker. */
void auri_engine_retention(void *context, aur_retention *out);

/* AUR_ERR_CLOSED after aur_engine_close. */
aur_status auri_engine_check(const aur_engine *engine, aur_error *error) AUR_CHECKED;

#endif
